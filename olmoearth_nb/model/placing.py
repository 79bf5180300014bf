"""Importance of crops' pixels as arrays of the window: where crops overlap, what they contribute adds up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr

from olmoearth_nb.model.trace.frame import Frame
from olmoearth_nb.traces.data import TraceWindow
from olmoearth_nb.types import PixelBounds

__all__ = ["coordinates", "place"]

Array = npt.NDArray[Any]


def place(
    parts: Sequence[Array],
    bounds: Sequence[PixelBounds],
    window: TraceWindow,
    *,
    like: xr.DataArray,
    dims: tuple[str, ...] = ("time", "band", "y", "x"),
) -> xr.DataArray:
    """One array of the window, and of what crops have beyond it, out of one array a crop.

    Args:
        parts: (..., h, w) of each crop: its pixels, or finer or coarser ones.
        bounds: Where the crops lie.
        window: The window.
        like: The input as the model gets it, for its coordinates.
        dims: Names of the axes.

    Returns:
        0 where no crop is. Without coordinates where pixels have no place, because transforms have cut or padded them;
        several crops then lie along ``crop``.
    """
    coords = {name: value for name, value in coordinates(like).items() if set(value.dims) <= set(dims)}
    scale = _scale(parts, bounds) if "transform" in like.attrs else None
    if scale is None:
        if len(parts) == 1:
            return xr.DataArray(parts[0], dims=dims, coords=coords)
        return xr.DataArray(np.stack(parts), dims=("crop", *dims), coords=coords)
    lows = np.array([window.bounds, *bounds]).min(axis=0)
    highs = np.array([window.bounds, *bounds]).max(axis=0)
    x0, y0, x1, y1 = int(lows[0]), int(lows[1]), int(highs[2]), int(highs[3])
    shape = int((y1 - y0) * scale), int((x1 - x0) * scale)
    whole = np.zeros((*parts[0].shape[:-2], *shape), dtype=parts[0].dtype)
    for part, one in zip(parts, bounds, strict=True):
        top, left = int((one[1] - y0) * scale), int((one[0] - x0) * scale)
        whole[..., top : top + part.shape[-2], left : left + part.shape[-1]] += part
    return Frame((x0, y0, x1, y1), window.crs, window.resolution).raster(whole, dims, coords)


def coordinates(like: xr.DataArray) -> Mapping[str, xr.DataArray]:
    """Coordinates of bands and time steps.

    Args:
        like: An input.
    """
    return {str(name): one for name, one in like.coords.items() if set(one.dims) <= {"time", "band"} and one.dims}


def _scale(parts: Sequence[Array], bounds: Sequence[PixelBounds]) -> Fraction | None:
    """How many pixels of the arrays there are to one of the window; None if they don't lie on its pixels."""
    scales = {
        Fraction(size, high - low)
        for part, (x0, y0, x1, y1) in zip(parts, bounds, strict=True)
        for size, low, high in zip(part.shape[-2:], (y0, x0), (y1, x1), strict=True)
    }
    if len(scales) != 1:
        return None
    scale = scales.pop()
    corners = [value * scale for one in bounds for value in one]
    offsets = {(value - corners[0]).denominator for value in corners}
    return scale if 1 in (scale.numerator, scale.denominator) and offsets == {1} else None
