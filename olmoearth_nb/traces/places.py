"""Which pixels of a window are meant: one by its position or number, a region, or all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.features import geometry_mask
from rasterio.transform import Affine
from rslearn.utils.geometry import WGS84_PROJECTION, STGeometry
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import UsageError
from olmoearth_nb.traces.data import TraceWindow
from olmoearth_nb.types import shape_of

__all__ = ["Pixels", "Region", "pixels_of"]

Region: TypeAlias = BaseGeometry | npt.NDArray[np.bool_]
"""A polygon in longitude and latitude, or a mask (y, x) of the window."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """Some pixels of a window.

    Attributes:
        mask: Which, (y, x).
        text: Which, in words.
        everything: Whether all were asked for.
    """

    mask: npt.NDArray[np.bool_]
    text: str
    everything: bool = False

    @property
    def count(self) -> int:
        """How many."""
        return int(self.mask.sum())


def pixels_of(
    window: TraceWindow,
    *,
    at: tuple[float, float] | None = None,
    pixel: tuple[int, int] | None = None,
    region: Region | None = None,
) -> Pixels:
    """The pixels that are asked for; all of the window without a question.

    Args:
        window: The window.
        at: Longitude and latitude of a pixel.
        pixel: Row and column of a pixel, counted from 0; negative ones from the end.
        region: A polygon in longitude and latitude, of which the pixels count whose middle lies in it (those that it
            touches if there is none), or a mask of the window's shape.

    Raises:
        UsageError: If more than one is given, or none of it lies in the window.
    """
    where = f"window {window.group}/{window.name}"
    given = [name for name, value in (("at", at), ("pixel", pixel), ("region", region)) if value is not None]
    if len(given) > 1:
        raise UsageError("A place is said in one way.", where=where, found=" and ".join(given))
    if at is not None:
        return _at(window, at, where)
    if pixel is not None:
        return _pixel(window, pixel, where)
    if region is not None:
        return _region(window, region, where)
    return Pixels(np.ones(window.shape, dtype=bool), "all pixels", everything=True)


def _at(window: TraceWindow, at: tuple[float, float], where: str) -> Pixels:
    lon, lat = _pair(at, "at", "(longitude, latitude)", where)
    if not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise UsageError("Not a position on the globe.", where="at", expected="(longitude, latitude)", found=f"{at}")
    place = shape_of(STGeometry(WGS84_PROJECTION, shapely.Point(lon, lat), None).to_projection(window.projection))
    column, row = (int(np.floor(value)) - low for value, low in zip(place.coords[0], window.bounds[:2], strict=True))
    if not (0 <= row < window.shape[0] and 0 <= column < window.shape[1]):
        west, south, east, north = window.outline().total_bounds
        raise UsageError(
            "The position lies outside the window.",
            where=where,
            expected=f"longitude {west:.5f} to {east:.5f}, latitude {south:.5f} to {north:.5f}",
            found=f"{lon:.5f}, {lat:.5f}",
        )
    return _one(window, row, column)


def _pixel(window: TraceWindow, pixel: tuple[int, int], where: str) -> Pixels:
    row, column = _pair(pixel, "pixel", "(row, column)", where)
    height, width = window.shape
    if row != int(row) or column != int(column) or not (-height <= row < height and -width <= column < width):
        raise UsageError(
            "The window has no such pixel.",
            where=where,
            expected=f"row below {height}, column below {width}, counted from 0",
            found=f"{tuple(pixel)}",
        )
    return _one(window, int(row) % height, int(column) % width)


def _region(window: TraceWindow, region: Region, where: str) -> Pixels:
    if isinstance(region, BaseGeometry):
        mask = _inside(window, region)
        text = "region"
    else:
        mask = np.asarray(region)
        if mask.dtype != np.bool_ or mask.shape != window.shape:
            raise UsageError(
                "Not a region.",
                where=where,
                expected=f"a shapely polygon in longitude and latitude, or a mask of bool with shape {window.shape}",
                found=f"{type(region).__name__} of {mask.dtype} with shape {mask.shape}",
            )
        text = "mask"
    if not mask.any():
        raise UsageError("The region has no pixel of the window.", where=where, found=text)
    count = int(mask.sum())
    return Pixels(mask, f"{text} of {count} pixel{'s' * (count != 1)}")


def _inside(window: TraceWindow, region: BaseGeometry) -> npt.NDArray[np.bool_]:
    shape = shape_of(STGeometry(WGS84_PROJECTION, region, None).to_projection(window.projection))
    if shape.is_empty:
        return np.zeros(window.shape, dtype=bool)
    place = Affine.translation(window.bounds[0], window.bounds[1])
    mask: npt.NDArray[np.bool_] = geometry_mask([shape], window.shape, place, invert=True)
    return mask if mask.any() else geometry_mask([shape], window.shape, place, invert=True, all_touched=True)


def _one(window: TraceWindow, row: int, column: int) -> Pixels:
    mask = np.zeros(window.shape, dtype=bool)
    mask[row, column] = True
    return Pixels(mask, f"pixel in row {row}, column {column}")


def _pair(value: object, name: str, expected: str, where: str) -> tuple[float, float]:
    try:
        first, second = (float(part) for part in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} is two numbers.", where=where, expected=expected, found=repr(value)[:80]) from error
    return first, second
