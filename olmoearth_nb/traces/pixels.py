"""Where arrays of a trace have values, for checks."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import xarray as xr

from olmoearth_nb.traces.data import TraceData

__all__ = ["Array", "Mask", "empty_pixels", "input_layers", "is_empty", "on_grid", "plural"]

Array: TypeAlias = npt.NDArray[Any]
Mask: TypeAlias = npt.NDArray[np.bool_]


def is_empty(array: xr.DataArray) -> Mask:
    """Where an array has nodata or NaN, in its shape.

    Args:
        array: The array; ``nodata`` of its attributes counts.
    """
    values = array.values
    empty = np.isnan(values) if values.dtype.kind == "f" else np.zeros(values.shape, dtype=bool)
    nodata = array.attrs.get("nodata")
    return empty if nodata is None else empty | (values == nodata)


def input_layers(data: TraceData) -> dict[str, xr.DataArray]:
    """Raster layers that the model reads as inputs, by name: (time, band, y, x).

    Args:
        data: The trace.
    """
    return {
        name: layer.data
        for name, layer in data.layers.items()
        if layer.data is not None and layer.role != "label" and layer.data.size
    }


def empty_pixels(data: TraceData) -> Mask | None:
    """Pixels of the window at which no input has a value in any band at any time, (H, W); None without inputs.

    Args:
        data: The trace.
    """
    shape = data.window.shape
    masks = [on_grid(np.asarray(is_empty(layer).all(axis=(0, 1))), shape) for layer in input_layers(data).values()]
    found = [mask for mask in masks if mask is not None]
    return np.logical_and.reduce(found) if found else None


def on_grid(values: Array, shape: tuple[int, ...]) -> Array | None:
    """Values at the pixels of another grid over the same place: the nearest ones; None if one doesn't fit the other.

    Args:
        values: (..., h, w).
        shape: Height and width of the other grid.
    """
    for axis, size in zip((-2, -1), shape, strict=True):
        old = values.shape[axis]
        if not old or (size % old and old % size):
            return None
        values = np.take(values, (np.arange(size) * 2 + 1) * old // (2 * size), axis=axis)
    return values


def plural(number: int, noun: str) -> str:
    """A number with its noun.

    Args:
        number: How many.
        noun: In the singular.
    """
    return f"{number} {noun}{'s' * (number != 1)}"
