"""Features as annotations: pieces of cells for rasters, points for values of a place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from rslearn.utils.geometry import Projection
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.geometry import degrees_of, shape_array
from olmoearth_nb.labels.areas import squares
from olmoearth_nb.labels.rasterize import burn
from olmoearth_nb.labels.shapes import polygonal_part
from olmoearth_nb.newproject.cells import Piece, cells_touched, in_pixels, pixel_squares
from olmoearth_nb.newproject.places import Places
from olmoearth_nb.newproject.splits import WindowPlace
from olmoearth_nb.types import TimeRange

__all__ = ["point_annotations", "raster_annotations"]

# A line covers the pixels that it runs through.
_HALF_LINE = 0.5
# On the border of two zones a window can lie askew in its cell: only its outline is where a piece ends.
_MARGIN = 1


def raster_annotations(
    places: Places,
    values: Sequence[Any],
    times: Sequence[TimeRange | None],
    *,
    size: int,
    resolution: float,
    where: str,
) -> tuple[gpd.GeoDataFrame, list[WindowPlace]]:
    """A piece of each feature for each cell of the grid that it touches, and the windows that these cells are.

    Cells don't overlap, and a window has the labels of every feature in it. Points become their pixel, lines the pixels
    they run through. A piece ends with its cell; one that covers the centre of no pixel labels nothing and is left out.

    Args:
        places: Where the labels are.
        values: Value of each row of the source.
        times: Time of each row.
        size: Width and height of the windows in pixels.
        resolution: Metres per pixel.
        where: The source, for errors.
    """
    placed = in_pixels(places.shapes, resolution)
    # Projected, a polygon can fall apart into pieces and lines.
    shapes = [polygonal_part(shp) for shp in _areas([shp for _, shp in placed])]
    pieces = cells_touched([(zone, shp) for (zone, _), shp in zip(placed, shapes, strict=True)], size)
    clipped = [_clipped(shapes[piece.row], piece, size) for piece in pieces]
    kept = _with_pixels(clipped, pieces, size, where)
    pieces = [pieces[index] for index in kept]
    areas = _task_areas(pieces, size=size, resolution=resolution, where=where)
    outlines = _within(_degrees([piece.zone for piece in pieces], [clipped[index] for index in kept]), areas)
    there = [index for index, shp in enumerate(outlines) if not shp.is_empty]
    pieces = [pieces[index] for index in there]
    rows = [int(places.rows[piece.row]) for piece in pieces]
    frame = _frame([outlines[index] for index in there], rows, values, times)
    frame["task_area"] = [areas[index].wkt for index in there]
    return frame, _windows(pieces, frame, size)


def point_annotations(
    places: Places, values: Sequence[Any], times: Sequence[TimeRange | None], *, buffer: int, resolution: float
) -> tuple[gpd.GeoDataFrame, list[WindowPlace]]:
    """A point for each feature, and the windows around them.

    Args:
        places: Where the labels are; lines and polygons become a point inside.
        values: Value of each row of the source.
        times: Time of each row.
        buffer: Pixels of a window on each side of the point's.
        resolution: Metres per pixel.
    """
    points = [_point(shp) for shp in places.shapes]
    frame = _frame(points, places.rows.tolist(), values, times)
    windows = []
    for (zone, shp), value in zip(in_pixels(points, resolution), frame["value"], strict=True):
        x, y = np.floor(shapely.get_coordinates(shp)[0]).astype(int) - buffer
        windows.append(WindowPlace(crs=str(zone.crs), x=int(x), y=int(y), labels=_labels([value])))
    return frame, windows


def _areas(shapes: Sequence[BaseGeometry]) -> list[BaseGeometry]:
    """Polygons for all: points become their pixel, lines get a width."""
    areas = list(shapes)
    points = [index for index, shp in enumerate(shapes) if shp.geom_type == "Point"]
    for index, square in zip(points, pixel_squares([shapes[index] for index in points]), strict=True):
        areas[index] = square
    for index, shp in enumerate(shapes):
        if "Line" in shp.geom_type:
            areas[index] = shp.buffer(_HALF_LINE, cap_style="square")
    return areas


def _clipped(shp: BaseGeometry, piece: Piece, size: int) -> BaseGeometry:
    x, y = piece.column * size, piece.line * size
    box = (x - _MARGIN, y - _MARGIN, x + size + _MARGIN, y + size + _MARGIN)
    west, south, east, north = shp.bounds
    if box[0] <= west and box[1] <= south and east <= box[2] and north <= box[3]:
        return shp
    return polygonal_part(shapely.make_valid(shapely.intersection(shp, shapely.box(*box))))


def _with_pixels(shapes: Sequence[BaseGeometry], pieces: Sequence[Piece], size: int, where: str) -> list[int]:
    """Which shapes cover the centre of a pixel of their cell."""
    # Mostly it is the pixel of a point inside; only where it isn't all of them are looked at.
    centres = np.floor(shapely.get_coordinates(shapely.point_on_surface(shape_array(shapes)))) + 0.5
    low = np.array([(piece.column, piece.line) for piece in pieces]).reshape(-1, 2) * size
    sure = np.zeros(len(pieces), dtype=bool)
    there = np.flatnonzero(~shapely.is_empty(shape_array(shapes)))
    sure[there] = ((centres >= low[there]) & (centres < low[there] + size)).all(axis=1)
    sure[there] &= shapely.contains_xy(shape_array(shapes)[there], *centres.T)
    return [index for index, shp in enumerate(shapes) if sure[index] or _has_pixel(shp, pieces[index], size, where)]


def _has_pixel(shp: BaseGeometry, piece: Piece, size: int, where: str) -> bool:
    """Whether a shape covers the centre of a pixel of its cell."""
    if shp.is_empty:
        return False
    x, y = piece.column * size, piece.line * size
    west, south, east, north = shp.bounds
    # No more than the shape's own part of the cell.
    bounds = (
        max(x, math.floor(west)),
        max(y, math.floor(south)),
        min(x + size, math.ceil(east)),
        min(y + size, math.ceil(north)),
    )
    if bounds[0] >= bounds[2] or bounds[1] >= bounds[3]:
        return False
    return bool(burn([(shp, 1)], bounds, nodata_value=0, where=where).any())


def _within(shapes: Sequence[BaseGeometry], areas: Sequence[BaseGeometry]) -> list[BaseGeometry]:
    """Of each shape what lies in its area; those that lie inside stay as they are."""
    out = [polygonal_part(shp) for shp in shapes]
    beyond = np.flatnonzero(~shapely.covers(shape_array(areas), shape_array(out)))
    for index in beyond.tolist():
        out[index] = polygonal_part(shapely.make_valid(shapely.intersection(out[index], areas[index])))
    return out


def _degrees(zones: Sequence[Projection], shapes: Sequence[BaseGeometry]) -> list[BaseGeometry]:
    """Shapes in degrees, a zone at a time: one by one takes half a millisecond each."""
    groups: dict[str, list[int]] = {}
    for index, zone in enumerate(zones):
        groups.setdefault(zone.crs.to_string(), []).append(index)
    out: list[BaseGeometry] = list(shapes)
    for indices in groups.values():
        moved = degrees_of(zones[indices[0]], shape_array([shapes[index] for index in indices]))
        for index, shp in zip(indices, moved, strict=True):
            out[index] = shp
    return out


def _frame(
    shapes: Sequence[BaseGeometry], rows: Sequence[int], values: Sequence[Any], times: Sequence[TimeRange | None]
) -> gpd.GeoDataFrame:
    """A row for each shape, with value and time of its row of the source: only rows that have both are places."""
    spans = [span for row in rows if (span := times[row]) is not None]
    data = {
        "row": list(rows),
        "value": [values[row] for row in rows],
        "start": pd.Series([start for start, _ in spans], dtype=object),
        "end": pd.Series([end for _, end in spans], dtype=object),
    }
    return gpd.GeoDataFrame(data, geometry=shape_array(shapes), crs=4326)


def _task_areas(pieces: Sequence[Piece], *, size: int, resolution: float, where: str) -> list[BaseGeometry]:
    """The outline of each piece's cell; squares around the middle of a cell are exactly its pixels."""
    cells = {(piece.zone.crs.to_string(), piece.column, piece.line): piece for piece in pieces}
    centres = _degrees(
        [piece.zone for piece in cells.values()], [shapely.Point(piece.centre(size)) for piece in cells.values()]
    )
    areas = squares(centres, size=size, resolution=resolution, where=where)
    outlines = {key: area.shp for key, area in zip(cells, areas, strict=True) if area is not None}
    return [outlines[piece.zone.crs.to_string(), piece.column, piece.line] for piece in pieces]


def _windows(pieces: Sequence[Piece], frame: gpd.GeoDataFrame, size: int) -> list[WindowPlace]:
    """One window for each cell and time."""
    found: dict[Any, tuple[Piece, set[int]]] = {}
    for piece, value, start, end in zip(pieces, frame["value"], frame["start"], frame["end"], strict=True):
        key = (piece.zone.crs.to_string(), piece.column, piece.line, start, end)
        found.setdefault(key, (piece, set()))[1].update(_labels([value]))
    return [
        WindowPlace(crs=str(piece.zone.crs), x=piece.column * size, y=piece.line * size, labels=frozenset(labels))
        for piece, labels in found.values()
    ]


def _labels(values: Sequence[Any]) -> frozenset[int]:
    """Classes among values: measurements are none."""
    return frozenset(value for value in values if isinstance(value, int))


def _point(shp: BaseGeometry) -> BaseGeometry:
    return shp if shp.geom_type == "Point" else shapely.point_on_surface(shp)
