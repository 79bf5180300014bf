"""Burn labelled shapes into arrays, and refuse values that an array can't hold.

Coordinates are pixels of the window's projection. A polygon covers the pixels whose centre lies in it (GDAL's rule).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from rslearn.config import DType
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import ConfigError, GeometryError, InputFileError, OlmoEarthError
from olmoearth_nb.types import LabeledSTGeometry, PixelBounds

__all__ = ["burn", "check_nodata", "check_resolution", "check_value", "label_names", "resolve_dtype", "whole_number"]

# One band of this many pixels is 1 GiB of uint8 and no area that somebody annotates at once.
_MOST_PIXELS = 2**30


def label_names(annotations: Iterable[LabeledSTGeometry]) -> list[str]:
    """Names of the labels that any annotation has, in alphabetical order.

    Args:
        annotations: Annotations of a task; they need not have the same names.
    """
    return sorted({name for annotation in annotations for name in annotation.labels})


def resolve_dtype(dtype: str, *, where: str) -> np.dtype[Any]:
    """The data type that a configuration names, in any case (``INT32``, ``uint8``).

    Args:
        dtype: Name of one of rslearn's data types.
        where: Key of the configuration, for the error.

    Raises:
        ConfigError: If there is no such type.
    """
    try:
        return np.dtype(DType(str(dtype).lower()).get_numpy_dtype())
    except ValueError as error:
        raise ConfigError(
            "Not a data type for label rasters.",
            where=where,
            expected=f"one of {', '.join(DType)}",
            found=repr(dtype),
        ) from error


def whole_number(value: Any, *, where: str, at_least: int, error: type[OlmoEarthError] = ConfigError) -> int:
    """A whole number of a configuration or a call.

    Args:
        value: What was given.
        where: Key of the configuration, for the error.
        at_least: Smallest number allowed.
        error: Class of the error.

    Raises:
        OlmoEarthError: Of class ``error``, if it is not a whole number or too small.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < at_least:
        raise error(
            "Not a number that works here.",
            where=where,
            expected=f"a whole number, at least {at_least}",
            found=repr(value),
        )
    return int(value)


def check_resolution(value: Any, *, where: str, error: type[OlmoEarthError] = ConfigError) -> float:
    """A resolution of a configuration or a call, metres per pixel.

    Args:
        value: What was given.
        where: Key of the configuration, for the error.
        error: Class of the error.

    Raises:
        OlmoEarthError: Of class ``error``, if it is not a number above 0.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise error("Not a resolution.", where=where, expected="metres per pixel, above 0", found=repr(value))
    return float(value)


def check_nodata(nodata_value: Any, dtype: np.dtype[Any], *, where: str) -> int | float:
    """The nodata value, if an array of the type can hold it.

    Args:
        nodata_value: What was given; NaN is fine for float types.
        dtype: Type of the label rasters.
        where: Key of the configuration, for the error.

    Raises:
        ConfigError: If it is no number or does not fit.
    """
    is_number = isinstance(nodata_value, (int, float, np.number)) and not isinstance(nodata_value, bool)
    if not is_number or not (_fits(nodata_value, dtype) or (dtype.kind == "f" and math.isnan(nodata_value))):
        raise ConfigError(
            f"The nodata value does not fit a {dtype} raster.",
            where=where,
            expected=_range(dtype),
            found=repr(nodata_value),
        )
    return int(nodata_value) if dtype.kind in "iu" else float(nodata_value)


def check_value(value: int | float, dtype: np.dtype[Any], *, where: str) -> None:
    """Refuses a label value that would be changed in a raster; the nodata value itself means "not labelled".

    Args:
        value: Label value.
        dtype: Type of the label rasters.
        where: Task, annotation and label name, for the error.

    Raises:
        InputFileError: If the value is fractional in an integer raster, out of range or not a number.
    """
    if not _fits(value, dtype):
        raise InputFileError(
            f"The label's value does not fit a {dtype} raster.",
            where=where,
            expected=_range(dtype),
            found=repr(value),
            fix="Correct the annotation, or choose a window preparer and dtype that hold it.",
        )


def burn(
    shapes: Sequence[tuple[BaseGeometry, float]],
    bounds: PixelBounds,
    *,
    dtype: npt.DTypeLike = np.uint8,
    nodata_value: float,
    where: str,
) -> npt.NDArray[Any]:
    """Shapes burnt into an array, later ones over earlier ones.

    Args:
        shapes: Geometries in pixels with the value of each.
        bounds: Extent of the array, whole pixels, half-open.
        dtype: Type of the array.
        nodata_value: Value of pixels that no shape covers.
        where: The task, for the error.

    Returns:
        Array of shape (H, W).

    Raises:
        GeometryError: If the extent is too large for one array.
    """
    x0, y0, x1, y1 = bounds
    height, width = y1 - y0, x1 - x0
    if height * width > _MOST_PIXELS:
        raise GeometryError(
            f"An area of {width} x {height} pixels is too large for one label raster.",
            where=where,
            fix="Check window_resolution (metres per pixel), or annotate smaller tasks.",
        )
    moved = [(shapely.transform(shp, lambda xy: xy - (x0, y0)), value) for shp, value in shapes if not shp.is_empty]
    if not moved:
        return np.full((height, width), nodata_value, dtype=dtype)
    burnt: npt.NDArray[Any] = rasterio.features.rasterize(
        moved, out_shape=(height, width), fill=nodata_value, dtype=dtype
    )
    return burnt


def _fits(value: int | float, dtype: np.dtype[Any]) -> bool:
    # Comparisons only: a conversion of an integer of hundreds of digits to a float would fail.
    if dtype.kind == "f":
        largest = float(np.finfo(dtype).max)
        return -largest <= value <= largest
    limits = np.iinfo(dtype)
    return limits.min <= value <= limits.max and value == int(value)


def _range(dtype: np.dtype[Any]) -> str:
    if dtype.kind == "f":
        return "a finite number"
    limits = np.iinfo(dtype)
    return f"a whole number {limits.min}..{limits.max}"
