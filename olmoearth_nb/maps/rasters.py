"""Rasters of windows as rslearn stores them: item groups, band sets, time steps; with nodata taken out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from rasterio.enums import Resampling
from rslearn.config import BandSetConfig, LayerConfig
from rslearn.dataset import Dataset, Window
from rslearn.utils.raster_array import RasterArray

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import StorageError, UsageError
from olmoearth_nb.maps.grid import Pixels

__all__ = ["Rasters", "completed_groups", "read_groups", "stacked", "where_of"]

Rasters: TypeAlias = list[tuple[BandSetConfig, RasterArray]]
"""The raster of each band set, (C, T, H, W)."""


def completed_groups(window: Window, layer: str) -> list[int]:
    """The item groups of a layer that are there, in order; a series is many of them, or one with many steps.

    Args:
        window: The window.
        layer: Name of the layer.
    """
    return sorted(group for name, group in window.list_completed_layers() if name == layer)


def read_groups(
    dataset: Dataset, window: Window, layer: str, bands: Sequence[str], groups: Sequence[int]
) -> list[Rasters]:
    """For each item group, the rasters of the band sets that have these bands.

    Args:
        dataset: The dataset.
        window: A window whose layer is there.
        layer: Name of a raster layer.
        bands: Names of bands, possibly of several band sets.
        groups: See :func:`completed_groups`.

    Raises:
        UsageError: If the layer has no such band.
        StorageError: If one can't be read.
    """
    homes = {band: band_set for band_set in reversed(dataset.layers[layer].band_sets) for band in band_set.bands}
    unknown = [band for band in bands if band not in homes]
    if unknown:
        raise UsageError(
            f"The layer {layer!r} has no band {', '.join(map(repr, unknown))}.", expected=f"some of {', '.join(homes)}"
        )
    band_sets = list({id(homes[band]): homes[band] for band in bands}.values())
    with foreign_code(StorageError, "A raster can't be read", where=where_of(window, layer)):
        return [[(one, _read_raster(window, layer, one, group)) for one in band_sets] for group in groups]


def _read_raster(window: Window, layer: str, band_set: BandSetConfig, group: int) -> RasterArray:
    raster_format = band_set.instantiate_raster_format()
    return window.data.read_raster(
        layer, list(band_set.bands), raster_format, group_idx=group, resampling=Resampling.nearest
    )


def stacked(
    config: LayerConfig, rasters: Rasters, step: int, bands: Sequence[str], *, nodata: float | None = None
) -> Pixels:
    """One time step of the rasters of a layer, nodata taken out.

    Args:
        config: The layer.
        rasters: See :func:`read_groups`.
        step: Which one, counted from 0 in these rasters.
        bands: Names of bands.
        nodata: What pixels without a value hold, where the layer does not say.

    Returns:
        Shape (C, H, W), NaN where all bands are nodata.
    """
    planes: dict[str, Pixels] = {}
    empty = np.ones(rasters[0][1].array.shape[2:], dtype=bool)
    for chosen, raster in rasters:
        fill = 0.0 if config.data_source is not None else None
        candidates = (raster.metadata.nodata_value, chosen.nodata_value, nodata, fill)
        absent = next((value for value in candidates if value is not None), None)
        for index, band in enumerate(chosen.bands):
            if band in bands and band not in planes:
                planes[band] = raster.array[index, step].astype(np.float32)
                empty &= _is_nodata(raster.array[index, step], absent)
    pixels = np.stack([planes[band] for band in bands])
    pixels[:, empty] = np.nan
    return pixels


def _is_nodata(plane: npt.NDArray[np.generic], nodata: float | None) -> npt.NDArray[np.bool_]:
    if nodata is None:
        return np.zeros(plane.shape, dtype=bool)
    return np.asarray(np.isnan(plane) if np.isnan(nodata) else plane == nodata, dtype=bool)


def where_of(window: Window, layer: str) -> str:
    """A layer of a window as errors name it.

    Args:
        window: The window.
        layer: Name of the layer.
    """
    return f"window {window.group}/{window.name}, layer {layer}"
