"""How much imagery windows take, as far as ``dataset.json`` tells before anything is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
from rslearn.config import BandSetConfig, LayerConfig, LayerType, SpaceMode

from olmoearth_nb.types import PixelBounds, TimeRange

_MONTH = timedelta(days=30)

# Pixels along the side of a block of catalogued GeoTIFFs (Sentinel-2, Landsat): what is fetched is whole blocks.
_BLOCK = 512

__all__ = ["ImageryVolume", "LayerVolume", "imagery_volume", "images_of", "pixel_bytes", "stored_size"]

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LayerVolume:
    """An estimate of the imagery of one layer, for all windows together.

    Attributes:
        name: Of the layer.
        local: Whether it is read from local files, so that nothing is fetched.
        images: Images of windows: one for each window and date.
        rasters: Files that they become: one for each image and band set.
        reads: Bands of images that are read from the source, each for one window.
        total_bytes: Pixels × bands × bytes of the dtype × images, not compressed.
        fetched_bytes: The same in whole blocks of 512 × 512 pixels, which is what a catalogue sends; 0 if local.
    """

    name: str
    local: bool
    images: int
    rasters: int
    reads: int
    total_bytes: int
    fetched_bytes: int


@dataclass(frozen=True)
class ImageryVolume:
    """An estimate of the imagery of windows.

    Attributes:
        total_bytes: Pixels × bands × bytes of the dtype × images of all layers, not compressed.
        assumptions: How it was counted, layer by layer.
        layers: Each layer with a raster source.
    """

    total_bytes: int
    assumptions: tuple[str, ...]
    layers: tuple[LayerVolume, ...] = ()


def imagery_volume(
    windows: Sequence[tuple[PixelBounds, TimeRange | None]], layers: Mapping[str, LayerConfig]
) -> ImageryVolume:
    """Estimates the imagery of windows from above: every window gets as many images as its layers may have.

    Args:
        windows: Bounds and time range of each.
        layers: Those of ``dataset.json``; only those with a data source count.
    """
    boxes = np.array([bounds for bounds, _ in windows], dtype=np.int64).reshape(-1, 4)
    sizes = (boxes[:, 2:] - boxes[:, :2]).astype(np.float64)
    spans = [span for _, span in windows]
    volumes, lines = [], []
    for name, layer in layers.items():
        if layer.data_source is None:
            continue
        if layer.type != LayerType.RASTER:
            lines.append(f"{name}: vector, not counted")
            continue
        images = {span: images_of(layer, span) for span in dict.fromkeys(spans)}
        volumes.append(_layer_volume(name, layer, sizes, np.array([images[span] for span in spans], dtype=np.float64)))
        most = max(images.values(), default=1)
        lines.append(f"{name}: {_described(layer)}, {most} {'image' if most == 1 else 'images'} a window")
    return ImageryVolume(sum(one.total_bytes for one in volumes), tuple(lines), tuple(volumes))


def _layer_volume(name: str, layer: LayerConfig, sizes: Numbers, counts: Numbers) -> LayerVolume:
    total = fetched = 0.0
    for bands in layer.band_sets:
        stored = stored_size(bands, sizes)
        blocks = (stored / _BLOCK + 1).prod(axis=1)  # on average: a window lies anywhere across them
        total += float(stored.prod(axis=1) @ counts) * pixel_bytes(bands)
        fetched += float(blocks @ counts) * _BLOCK**2 * pixel_bytes(bands)
    local = _is_local(layer)
    images = round(float(counts.sum()))
    return LayerVolume(
        name=name,
        local=local,
        images=images,
        rasters=images * len(layer.band_sets),
        reads=images * sum(map(_bands, layer.band_sets)),
        total_bytes=round(total),
        fetched_bytes=0 if local else round(fetched),
    )


def _is_local(layer: LayerConfig) -> bool:
    """Whether a layer comes from files of this machine."""
    return layer.data_source is not None and layer.data_source.class_path.rpartition(".")[2].startswith("Local")


def stored_size(bands: BandSetConfig, sizes: Numbers) -> Numbers:
    """Width and height of the rasters of a band set.

    Args:
        bands: The band set.
        sizes: Width and height of windows, of shape (N, 2), in pixels of their projection.
    """
    if bands.spatial_size is None:
        return np.asarray(sizes * 2.0**bands.zoom_offset)
    return np.tile(np.array(bands.spatial_size, dtype=np.float64), (len(sizes), 1))


def _described(layer: LayerConfig) -> str:
    """``12 bands of uint16``; of several band sets, each."""
    return " + ".join(
        f"{count} {'band' if count == 1 else 'bands'} of {one.dtype.value}"
        for one in layer.band_sets
        for count in [_bands(one)]
    )


def _bands(bands: BandSetConfig) -> int:
    return len(bands.bands) or bands.num_bands or 1


def pixel_bytes(bands: BandSetConfig) -> int:
    """Bytes of a pixel with all bands of a band set.

    Args:
        bands: The band set.
    """
    return _bands(bands) * np.dtype(bands.dtype.get_numpy_dtype()).itemsize


def images_of(layer: LayerConfig, span: TimeRange | None) -> int:
    """How many images a window may have: the matches, or the periods that fit into its time range.

    Args:
        layer: The layer.
        span: The window's time range.
    """
    source = layer.data_source
    if source is None or source.query_config.space_mode == SpaceMode.SINGLE_COMPOSITE:
        return 1
    query, asked = source.query_config, source.get_request_time_range(span)
    # As rslearn has it where the older mode says no period.
    period = query.period_duration or (_MONTH if query.space_mode == SpaceMode.PER_PERIOD_MOSAIC else None)
    if period is None or asked is None:
        return query.max_matches
    periods = (asked[1] - asked[0]) // period
    return max(1, min(query.max_matches, periods))
