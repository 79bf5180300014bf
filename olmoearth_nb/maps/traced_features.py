"""Feature maps as panels: three principal components as red, green and blue, or single channels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr

from olmoearth_nb.errors import UsageError
from olmoearth_nb.maps.traced_panels import Array, Lines, Panel, PixelMap, colored_map, spread

__all__ = ["channels_of", "feature_panels"]

_MOST_FITTED = 20_000
_MOST_PANELS = 64
_COLOR = (44, 111, 187)


def feature_panels(name: str, array: xr.DataArray, channel: int | None) -> list[Panel]:
    """What a module gave; tokens at places each as a map, with the same principal components for all of them.

    Args:
        name: Name of the module.
        array: (..., channel, y, x), or without a place.
        channel: Which one; the first three principal components if None.

    Raises:
        UsageError: If there is no such channel.
    """
    if not array.size:
        return []
    if array.dims[-2:] != ("y", "x"):
        return _without_place(name, array)
    values = array.values.astype(np.float64)
    maps = values.reshape(-1, *values.shape[-3:]) if values.ndim > 2 else values[None, None]
    titles = _titles(name, array)
    if channel is not None:
        if not 0 <= channel < maps.shape[1]:
            raise UsageError(
                "There is no such channel.", where=name, expected=f"0 to {maps.shape[1] - 1}", found=str(channel)
            )
        scale = spread(maps[:, channel], f"channel {channel}")
        return [colored_map(title, one[channel], scale) for title, one in zip(titles, maps, strict=False)]
    if maps.shape[1] < 3:
        scale = spread(maps, name)
        return [
            colored_map(f"{title} channel {at}", one[at], scale)
            for title, one in zip(titles, maps, strict=False)
            for at in range(maps.shape[1])
        ]
    colors, explained = _components(maps)
    text = f"{maps.shape[1]} channels; 3 components: {explained:.0%}"
    return [
        PixelMap(title=title, rgba=one, caption=text if at == 0 else "")
        for at, (title, one) in enumerate(zip(titles, colors, strict=False))
    ]


def channels_of(array: xr.DataArray) -> int:
    """How many channels a feature map has; 0 if it is none.

    Args:
        array: Of a trace.
    """
    return int(array.shape[-3]) if array.dims[-2:] == ("y", "x") and array.ndim > 2 else 0


def _titles(name: str, array: xr.DataArray) -> list[str]:
    count = int(np.prod(array.shape[:-3])) if array.ndim > 3 else 1
    if count == 1:
        return [name]
    what = array.dims[0] if array.ndim == 4 else "part"
    names = array[what].values if array.ndim == 4 and what in array.coords else np.arange(count)
    return [f"{what} {one}" for one in names[:_MOST_PANELS]]


def _components(maps: Array) -> tuple[npt.NDArray[np.uint8], float]:
    """Maps (N, C, h, w) in the colours of their first three components, and what part of the variance these have."""
    count, channels, height, width = maps.shape
    rows = maps.transpose(0, 2, 3, 1).reshape(-1, channels)
    there = np.isfinite(rows).all(axis=1)
    out = np.zeros((len(rows), 4), dtype=np.uint8)
    known = rows[there]
    explained = 1.0
    if len(known):
        middle = known.mean(axis=0)
        fitted = (known - middle)[:: max(1, len(known) // _MOST_FITTED)]
        _, sizes, axes = np.linalg.svd(fitted, full_matrices=False)
        # Of an axis and its opposite always the same one is taken.
        axes = axes[:3] * np.sign(axes[:3][np.arange(len(axes[:3])), np.abs(axes[:3]).argmax(axis=1)])[:, None]
        total = float((sizes**2).sum())
        explained = float((sizes[:3] ** 2).sum()) / total if total > 0 else 1.0
        scores = np.zeros((len(known), 3))
        scores[:, : len(axes)] = (known - middle) @ axes.T
        low, high = np.percentile(scores, [2, 98], axis=0)
        # Where nothing varies it is grey.
        scaled = np.where(high - low > 1e-12, (scores - low) / np.maximum(high - low, 1e-12), 0.5)
        out[there, :3] = (np.clip(scaled, 0, 1) * 255).round()
        out[there, 3] = 255
    return out.reshape(count, height, width, 4)[:_MOST_PANELS], explained


def _without_place(name: str, array: xr.DataArray) -> list[Panel]:
    """A line a row of what has channels only."""
    rows = array.values.astype(np.float64).reshape(-1, array.shape[-1])[:8]
    steps = tuple(map(str, range(array.shape[-1])))
    lines = tuple((f"{at}" if len(rows) > 1 else name, tuple(row.tolist()), _COLOR) for at, row in enumerate(rows))
    return [Lines(title=f"{name}: {array.shape[-1]} channels", steps=steps, lines=lines)]
