"""How much imagery windows take, as far as ``dataset.json`` tells before anything is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from rslearn.config import BandSetConfig, LayerConfig, LayerType, SpaceMode

from olmoearth_nb.types import PixelBounds, TimeRange

_MONTH = timedelta(days=30)

__all__ = ["ImageryVolume", "imagery_volume"]


@dataclass(frozen=True)
class ImageryVolume:
    """An estimate of the imagery of windows.

    Attributes:
        total_bytes: Pixels × bands × bytes of the dtype × images of all layers, not compressed.
        assumptions: How it was counted, layer by layer.
    """

    total_bytes: int
    assumptions: tuple[str, ...]


def imagery_volume(
    windows: Sequence[tuple[PixelBounds, TimeRange | None]], layers: Mapping[str, LayerConfig]
) -> ImageryVolume:
    """Estimates the imagery of windows from above: every window gets as many images as its layers may have.

    Args:
        windows: Bounds and time range of each.
        layers: Those of ``dataset.json``; only those with a data source count.
    """
    boxes = np.array([bounds for bounds, _ in windows], dtype=np.int64).reshape(-1, 4)
    pixels = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1).astype(np.float64)
    spans = [span for _, span in windows]
    total, lines = 0.0, []
    for name, layer in layers.items():
        if layer.data_source is None:
            continue
        if layer.type != LayerType.RASTER:
            lines.append(f"{name}: vector, not counted")
            continue
        images = {span: _images(layer, span) for span in dict.fromkeys(spans)}
        counts = np.array([images[span] for span in spans], dtype=np.float64)
        for bands in layer.band_sets:
            fixed = bands.spatial_size
            stored = pixels * 4.0**bands.zoom_offset if fixed is None else np.full(len(pixels), fixed[0] * fixed[1])
            total += float(stored @ counts) * _bytes(bands)
        most = max(images.values(), default=1)
        lines.append(f"{name}: {_described(layer)}, {most} {'image' if most == 1 else 'images'} a window")
    return ImageryVolume(round(total), tuple(lines))


def _described(layer: LayerConfig) -> str:
    """``12 bands of uint16``; of several band sets, each."""
    return " + ".join(
        f"{count} {'band' if count == 1 else 'bands'} of {one.dtype.value}"
        for one in layer.band_sets
        for count in [_bands(one)]
    )


def _bands(bands: BandSetConfig) -> int:
    return len(bands.bands) or bands.num_bands or 1


def _bytes(bands: BandSetConfig) -> int:
    return _bands(bands) * np.dtype(bands.dtype.get_numpy_dtype()).itemsize


def _images(layer: LayerConfig, span: TimeRange | None) -> int:
    """How many images a window may have: the matches, or the periods that fit into its time range."""
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
