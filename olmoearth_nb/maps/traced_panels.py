"""What a picture of a trace consists of: maps of pixels, bars and lines; drawn by matplotlib and by the explorer.

No widget library here. Maps cover the window whatever their resolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
import xarray as xr

from olmoearth_nb.colors import RGB
from olmoearth_nb.legend import RangeLegend
from olmoearth_nb.maps.style import Coloring, painted

__all__ = ["Bars", "Histogram", "Lines", "Mark", "Panel", "PixelMap", "centered", "colored_map", "numbers", "spread"]

Array: TypeAlias = npt.NDArray[Any]


@dataclass(frozen=True)
class Mark:
    """An object over a map.

    Attributes:
        shape: In pixels of the window, from its upper left corner.
        color: Of its outline.
        text: What is written beside it.
        dashed: Whether it is a label, not a prediction.
    """

    shape: shapely.Geometry
    color: RGB
    text: str = ""
    dashed: bool = False


@dataclass(frozen=True, eq=False)
class Histogram:
    """How often values occur.

    Attributes:
        values: All of them.
        usual: From where to where the middle 98% of the training windows' values lie, if that is known.
    """

    values: Array
    usual: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class PixelMap:
    """A picture of the window.

    Attributes:
        title: What it shows.
        rgba: (H, W, 4).
        caption: A line below: a date, a range.
        coloring: What its colours mean; None for imagery.
        marks: Objects on it.
        histogram: Of its values, to be drawn below.
    """

    title: str
    rgba: npt.NDArray[np.uint8]
    caption: str = ""
    coloring: Coloring | None = None
    marks: tuple[Mark, ...] = ()
    histogram: Histogram | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Bars:
    """A number for each of several names.

    Attributes:
        title: What they are.
        names: One for each bar.
        values: NaN where there is none.
        colors: One for each.
        marked: Number of the bar that is the label; None without one.
        limits: Ends of the axis; those of the values if None.
        points: Further values of each bar, (N, bars): one row a crop.
    """

    title: str
    names: tuple[str, ...]
    values: tuple[float, ...]
    colors: tuple[RGB, ...]
    marked: int | None = None
    limits: tuple[float, float] | None = None
    points: Array | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Lines:
    """Numbers along dates or bands.

    Attributes:
        title: What they are.
        steps: What they go along, as text.
        lines: Name, values (NaN where there is none) and colour of each.
    """

    title: str
    steps: tuple[str, ...]
    lines: tuple[tuple[str, tuple[float, ...], RGB], ...] = field(default=())


Panel: TypeAlias = PixelMap | Bars | Lines
"""A part of a picture."""


def colored_map(title: str, values: Array, coloring: Coloring, *, caption: str = "") -> PixelMap:
    """A map in the colours of classes or of a range.

    Args:
        title: What it shows.
        values: (H, W), NaN where there is nothing.
        coloring: What has which colour.
        caption: A line below.
    """
    return PixelMap(title=title, rgba=painted(values, coloring), caption=caption, coloring=coloring)


def numbers(array: xr.DataArray) -> npt.NDArray[np.float64]:
    """Values as float, NaN where there is none.

    Args:
        array: Of a trace; its ``nodata`` counts, and -1 in arrays of classes.
    """
    values = array.values.astype(np.float64)
    if "nodata" in array.attrs:
        values[values == float(array.attrs["nodata"])] = np.nan
    elif array.dtype == np.int64:
        values[values < 0] = np.nan
    return values


def spread(
    values: Array, name: str, *, colormap: str = "viridis", percentiles: Sequence[float] = (0, 100)
) -> RangeLegend:
    """Colours from the lowest value to the highest.

    Args:
        values: Any shape; NaN is left out.
        name: What they are.
        colormap: Of matplotlib.
        percentiles: What is lowest and what is highest.
    """
    known = values[np.isfinite(values)]
    low, high = np.percentile(known, percentiles).tolist() if known.size else (0.0, 1.0)
    return RangeLegend(name, None, low, high if high > low else low + (abs(low) * 1e-3 or 1.0), colormap)


def centered(values: Array, name: str) -> RangeLegend:
    """Colours around zero.

    Args:
        values: Any shape; NaN is left out.
        name: What they are.
    """
    sizes = np.abs(values[np.isfinite(values)])
    limit = float(np.percentile(sizes, 99)) if sizes.size else 0.0
    return RangeLegend(name, None, -(limit or 1.0), limit or 1.0, "RdBu_r")
