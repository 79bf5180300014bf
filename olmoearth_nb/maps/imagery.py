"""Rasters of windows: read bands by name, stretch values to colours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rslearn.config import LayerConfig, LayerType
from rslearn.dataset import Dataset, Window

from olmoearth_nb.errors import UsageError
from olmoearth_nb.legend import RangeLegend
from olmoearth_nb.maps.grid import Pixels
from olmoearth_nb.maps.rasters import completed_groups, read_groups, stacked, where_of
from olmoearth_nb.store.dataset import imagery_layers

__all__ = [
    "ImageryView",
    "Stretch",
    "colored",
    "composite_of",
    "default_bands",
    "pick_layer",
    "read_bands",
    "stretch_over",
    "with_layer",
]

# Natural colours by the names that bands have in rslearn's data sources; the third set is that of Landsat 8 and 9,
# which B10 tells from the older ones.
_COMPOSITES = (
    (("R", "G", "B"), ()),
    (("B04", "B03", "B02"), ()),
    (("B4", "B3", "B2"), ("B10",)),
)


def pick_layer(dataset: Dataset, layer: str | None = None) -> str:
    """The raster layer that a picture shows.

    Args:
        dataset: The dataset.
        layer: Its name; the first layer of imagery if None.

    Raises:
        UsageError: If there is no such layer.
    """
    rasters = [name for name, config in dataset.layers.items() if config.type == LayerType.RASTER]
    choice = layer or next((name for name in imagery_layers(dataset) if name in rasters), None)
    if choice not in rasters:
        raise UsageError(
            f"The dataset has no raster layer {layer!r}." if layer else "The dataset has no layer of imagery.",
            expected=f"one of {', '.join(rasters)}" if rasters else "a raster layer in dataset.json",
        )
    return choice


def default_bands(config: LayerConfig) -> tuple[str, ...]:
    """Bands for a first look: natural colours where the names tell, else the first three (or the first) of the layer.

    Args:
        config: A raster layer.
    """
    return composite_of([band for band_set in config.band_sets for band in band_set.bands])


def composite_of(names: Sequence[str]) -> tuple[str, ...]:
    """Bands for a first look out of some bands, see :func:`default_bands`.

    Args:
        names: Names of bands.
    """
    for composite, witnesses in _COMPOSITES:
        if {*composite, *witnesses} <= set(names):
            return composite
    # Sensors number their bands from blue to red.
    return tuple(names[2::-1]) if len(names) >= 3 else tuple(names[:1])


def with_layer(windows: Iterable[Window], layer: str) -> list[Window]:
    """The windows whose layer has been written.

    Args:
        windows: Windows.
        layer: Name of the layer.
    """
    return [window for window in windows if window.is_layer_completed(layer)]


def read_bands(
    dataset: Dataset,
    window: Window,
    layer: str,
    bands: Sequence[str] | None = None,
    *,
    time_step: int = 0,
    nodata: float | None = None,
) -> Pixels:
    """Bands of a window's layer, on the window's pixels.

    A pixel is nothing where all the bands are nodata. Imagery that declares no nodata has 0 there, which rslearn
    fills in beyond the edge of an image.

    Args:
        dataset: The dataset.
        window: A window whose layer is there.
        layer: Name of a raster layer.
        bands: Names of bands, possibly of several band sets; the first band set if None.
        time_step: Which image of a series, counted from 0.
        nodata: What pixels without a value hold, where the layer does not say.

    Returns:
        Shape (C, H, W), NaN where there is nothing.

    Raises:
        UsageError: If the layer has no such band or time step.
        StorageError: If it can't be read.
    """
    config = dataset.layers[layer]
    wanted = list(bands or config.band_sets[0].bands)
    before = 0
    for group in completed_groups(window, layer):
        rasters = read_groups(dataset, window, layer, wanted, [group])[0]
        steps = rasters[0][1].array.shape[1]
        if time_step < before + steps:
            return stacked(config, rasters, time_step - before, wanted, nodata=nodata)
        before += steps
    raise UsageError(
        f"There is no time step {time_step}.",
        where=where_of(window, layer),
        expected=f"0 to {before - 1}" if before else "a built layer",
    )


@dataclass(frozen=True, kw_only=True)
class ImageryView:
    """How to show imagery.

    Attributes:
        layer: Name of the dataset layer; the first layer of imagery if None.
        bands: One band, or three as red, green and blue; see :func:`default_bands` if None.
        time_step: Which image of a series, counted from 0.
        percentiles: Of the valid pixels of a band: what becomes darkest and brightest.
        colormap: Name of a matplotlib colormap, for one band.
    """

    layer: str | None = None
    bands: str | Sequence[str] | None = None
    time_step: int = 0
    percentiles: tuple[float, float] = (2.0, 98.0)
    colormap: str = "gray"

    def resolved(self, dataset: Dataset) -> tuple[str, tuple[str, ...]]:
        """Name of the layer and of the bands.

        Args:
            dataset: The dataset.

        Raises:
            UsageError: If there is no such layer, or not one band or three.
        """
        layer = pick_layer(dataset, self.layer)
        if self.bands is None:
            return layer, default_bands(dataset.layers[layer])
        bands = (self.bands,) if isinstance(self.bands, str) else tuple(self.bands)
        if len(bands) not in (1, 3):
            raise UsageError("A picture has one band or three.", found=f"{len(bands)} bands")
        return layer, bands

    def read(self, dataset: Dataset, window: Window) -> Pixels:
        """The bands of a window, (1, H, W) or (3, H, W).

        Args:
            dataset: The dataset.
            window: A window whose layer is there.

        Raises:
            OlmoEarthError: As :func:`read_bands`.
        """
        layer, bands = self.resolved(dataset)
        return read_bands(dataset, window, layer, bands, time_step=self.time_step)


@dataclass(frozen=True)
class Stretch:
    """Which values of each band are dark and which are bright.

    Attributes:
        low: Darkest value of each band.
        high: Brightest value of each band.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def apply(self, pixels: Pixels) -> Pixels:
        """Values between 0 and 1; NaN stays.

        Args:
            pixels: Shape (C, H, W).
        """
        low, high = (np.array(ends, dtype=np.float32)[:, None, None] for ends in (self.low, self.high))
        return np.clip((pixels - low) / (high - low), 0, 1)


def stretch_over(pictures: Iterable[Pixels], percentiles: tuple[float, float] = (2.0, 98.0)) -> Stretch:
    """One stretch for several pictures, so that neighbours match.

    Args:
        pictures: Arrays of shape (C, H, W) with the same bands.
        percentiles: Of all valid pixels of a band: what becomes darkest and brightest.

    Raises:
        UsageError: If the percentiles are not in order.
    """
    if not 0 <= percentiles[0] < percentiles[1] <= 100:
        raise UsageError("The percentiles don't fit.", expected="0 <= low < high <= 100", found=str(percentiles))
    values = np.concatenate([picture.reshape(picture.shape[0], -1) for picture in pictures], axis=1)
    values = values[:, np.isfinite(values).any(axis=0)]
    if not values.shape[1]:
        return Stretch((0.0,) * len(values), (1.0,) * len(values))
    low, high = np.nanpercentile(values, percentiles, axis=1)
    high = np.where(high > low, high, low + 1)
    return Stretch(tuple(low.tolist()), tuple(high.tolist()))


def colored(pixels: Pixels, stretch: Stretch, *, colormap: str = "gray") -> npt.NDArray[np.uint8]:
    """A picture of one band, or of three as red, green and blue.

    Args:
        pixels: Shape (1, H, W) or (3, H, W).
        stretch: See :func:`stretch_over`.
        colormap: Name of a matplotlib colormap, for one band.

    Returns:
        Shape (H, W, 4): red, green, blue, alpha; transparent where there is nothing.

    Raises:
        UsageError: If there is no such colormap.
    """
    scaled = stretch.apply(pixels)
    if len(pixels) == 1:
        return RangeLegend("imagery", None, 0.0, 1.0, colormap).colors_of(scaled[0])
    there = np.isfinite(scaled).any(axis=0)
    rgb = np.nan_to_num(scaled, nan=0.0).transpose(1, 2, 0) * 255
    return np.dstack([rgb, there * 255.0]).round().astype(np.uint8)
