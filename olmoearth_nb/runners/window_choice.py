"""Which window somebody means: by name, row, place or outline."""

from __future__ import annotations

import difflib
import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from rslearn.dataset import Dataset, Window
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import MissingStepError, StorageError, UsageError
from olmoearth_nb.geometry import pixel_bounds, project, utm_projection_for
from olmoearth_nb.types import PixelBounds, WindowSpec, shape_of

__all__ = ["Chosen", "Drawn", "choose_window"]

_EXPECTED = "a name, a row of runner.windows(), a window, a place (longitude, latitude) or a polygon in WGS84"
# Beyond this it is no window to look at; models take minutes and gigabytes for it.
_LARGEST = 2048
# Names of groups that windows of a trace are built in.
_GROUP = "trace"


@dataclass(frozen=True)
class Chosen:
    """A window that the dataset has."""

    window: Window


@dataclass(frozen=True)
class Drawn:
    """A window that the dataset does not have."""

    spec: WindowSpec


def choose_window(given: object, *, dataset: Dataset, table: Callable[[], gpd.GeoDataFrame]) -> Chosen | Drawn:
    """The window that is meant.

    Args:
        given: See :data:`_EXPECTED`.
        dataset: The dataset.
        table: Gives the windows table, for places and new windows.

    Raises:
        UsageError: If nothing is meant by it.
        MissingStepError: If there are no windows to take a size from.
    """
    match given:
        case str():
            return Chosen(_by_name(given, dataset, table))
        case Window():
            return Chosen(_by_key(str(given.group), str(given.name), dataset))
        case pd.Series() if {"group", "name"} <= set(given.index):
            return Chosen(_by_key(str(given["group"]), str(given["name"]), dataset))
        case pd.DataFrame() if {"group", "name"} <= set(given.columns):
            if len(given) != 1:
                raise UsageError("One window can be traced at a time.", expected="one row", found=f"{len(given)} rows")
            return Chosen(_by_key(str(given["group"].iloc[0]), str(given["name"].iloc[0]), dataset))
    outline = _shape(given)
    windows = table()
    if not len(windows):
        raise MissingStepError(
            "There is no window yet to take size and resolution from.",
            where=str(dataset.path),
            fix="Run the first step of the runner.",
        )
    if isinstance(outline, shapely.Point):
        key = _around(outline, windows)
        if key is not None:
            return Chosen(_by_key(*key, dataset))
    return Drawn(_spec(outline, windows))


# ---- windows of the dataset ----------------------------------------------------------------------------------------


def _by_name(given: str, dataset: Dataset, table: Callable[[], gpd.GeoDataFrame]) -> Window:
    group, _, name = given.rpartition("/")
    found = _load(dataset, name, group or None) if name else []
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"{len(found)} windows have the name {given!r}.",
            expected="group/name",
            found=", ".join(f"{window.group}/{window.name}" for window in found[:5]),
        )
    windows = table()
    names = [f"{one.group}/{one.name}" if group else str(one.name) for one in windows[["group", "name"]].itertuples()]
    near = difflib.get_close_matches(given, names, n=3, cutoff=0.3) or names[:3]
    raise UsageError(
        "There is no such window.",
        where=str(dataset.path),
        expected=f"one of {len(names):,} windows, {', '.join(map(repr, near))} say"
        if near
        else "a window; there is none",
        found=repr(given),
        fix="runner.windows() lists them.",
    )


def _by_key(group: str, name: str, dataset: Dataset) -> Window:
    found = _load(dataset, name, group)
    if not found:
        raise UsageError(
            "The window is not in this dataset.", where=str(dataset.path), found=f"{group}/{name}", expected=_EXPECTED
        )
    return found[0]


def _load(dataset: Dataset, name: str, group: str | None) -> list[Window]:
    with foreign_code(StorageError, "The window can't be read", where=f"window {name}"):
        found: list[Window] = dataset.load_windows(groups=None if group is None else [group], names=[name])
    return found


def _around(place: shapely.Point, windows: gpd.GeoDataFrame) -> tuple[str, str] | None:
    """Group and name of the window that a place lies in: of several the one in whose middle it lies most."""
    outlines = windows.geometry.to_numpy()
    inside = np.flatnonzero(shapely.intersects(outlines, place))
    if not len(inside):
        return None
    nearest = inside[np.argmin(shapely.distance(shapely.centroid(outlines[inside]), place))]
    row = windows.iloc[int(nearest)]
    return str(row["group"]), str(row["name"])


# ---- windows that are drawn ----------------------------------------------------------------------------------------


def _shape(given: object) -> BaseGeometry:
    outline: Any = given
    if isinstance(given, Mapping):
        content = given.get("geometry", given)
        with foreign_code(UsageError, "The GeoJSON can't be read"):
            outline = shape(content)
    elif isinstance(given, tuple | list) and len(given) == 2 and all(_is_number(value) for value in given):
        outline = shapely.Point(*given)
    if not isinstance(outline, BaseGeometry):
        raise UsageError("That is no window.", expected=_EXPECTED, found=repr(given)[:200])
    if outline.is_empty or not outline.is_valid or not _on_globe(outline):
        raise UsageError(
            "The place is not on the map.",
            expected="longitude -180..180, then latitude -90..90, in degrees",
            found=outline.wkt[:100],
        )
    return outline


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool) and math.isfinite(float(value))


def _on_globe(outline: BaseGeometry) -> bool:
    west, south, east, north = outline.bounds
    return west >= -180 and east <= 180 and south >= -90 and north <= 90


def _spec(outline: BaseGeometry, windows: gpd.GeoDataFrame) -> WindowSpec:
    """A window like its neighbours: with their resolution and time, and around a place with their size."""
    near = windows.iloc[int(np.argmin(shapely.distance(windows.geometry.to_numpy(), outline)))]
    projection = _projection(outline, str(near["crs"]), float(near["resolution"]))
    pixels = shape_of(project(STGeometry(WGS84_PROJECTION, outline, None), projection))
    if isinstance(outline, shapely.Point):
        size = int(near["x1"] - near["x0"]), int(near["y1"] - near["y0"])
        left, top = (math.floor(value - side / 2 + 0.5) for value, side in zip(pixels.bounds[:2], size, strict=True))
        bounds: PixelBounds = (left, top, left + size[0], top + size[1])
    else:
        bounds = pixel_bounds(pixels)
    width, height = bounds[2] - bounds[0], bounds[3] - bounds[1]
    if max(width, height) > _LARGEST:
        raise UsageError(
            "The polygon is too large for one window.",
            expected=f"at most {_LARGEST:,} pixels of {near['resolution']:g} wide and high",
            found=f"{width:,} x {height:,}",
        )
    times = near["start"], near["end"]
    return WindowSpec(
        name=f"drawn_{uuid.uuid4().hex[:8]}",
        group=_GROUP,
        projection=projection,
        bounds=bounds,
        time_range=None if pd.isna(times[0]) else (times[0].to_pydatetime(), times[1].to_pydatetime()),
        features=(),
    )


def _projection(outline: BaseGeometry, crs: str, resolution: float) -> Projection:
    near = Projection.deserialize({"crs": crs, "x_resolution": resolution, "y_resolution": -resolution})
    code = near.crs.to_epsg() or 0
    # Zones are named after the place; neighbours may lie in the next one.
    return utm_projection_for(outline, resolution, -resolution) if 32601 <= code <= 32760 else near
