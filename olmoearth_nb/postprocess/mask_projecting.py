"""Geometries and boxes from one CRS to another, for masks."""

from __future__ import annotations

import functools
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyproj
import shapely

__all__ = ["WGS84", "Floats", "Geometries", "box_outlines", "move_points", "move_shapes"]

Geometries: TypeAlias = npt.NDArray[np.object_]
Floats: TypeAlias = npt.NDArray[np.float64]

WGS84 = "EPSG:4326"
"""The CRS of GeoJSON."""

_EDGE_POINTS = 8


@functools.lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> pyproj.Transformer | None:
    """None where nothing moves."""
    if source == target or pyproj.CRS(source).equals(pyproj.CRS(target), ignore_axis_order=True):
        return None
    return pyproj.Transformer.from_crs(source, target, always_xy=True)


def move_points(x: Floats, y: Floats, source: str, target: str) -> tuple[Floats, Floats]:
    """Positions in another CRS, infinite where it is not defined.

    Args:
        x: Easting or longitude, any shape.
        y: Northing or latitude, the same shape.
        source: Their CRS, as WKT or by its authority.
        target: The CRS wanted.
    """
    transformer = _transformer(source, target)
    if transformer is None:
        return x, y
    moved_x, moved_y = transformer.transform(x, y)
    return np.asarray(moved_x), np.asarray(moved_y)


def move_shapes(shapes: Geometries, source: str, target: str) -> Geometries:
    """Geometries in another CRS, vertex by vertex.

    Args:
        shapes: Shape (N,).
        source: Their CRS, as WKT or by its authority.
        target: The CRS wanted.
    """
    if _transformer(source, target) is None:
        return shapes
    moved = shapely.transform(shapes, lambda xy: np.column_stack(move_points(xy[:, 0], xy[:, 1], source, target)))
    return np.asarray(moved, dtype=object)


def box_outlines(boxes: Floats) -> Geometries:
    """Polygons of boxes with points along their edges, so that they stay true to their shape elsewhere.

    Args:
        boxes: Shape (N, 4): two opposite corners each.
    """
    along = np.linspace(0, 1, _EDGE_POINTS, endpoint=False)
    none, all_ = np.zeros_like(along), np.ones_like(along)
    u = np.concatenate([along, all_, 1 - along, none])
    v = np.concatenate([none, along, all_, 1 - along])
    x = boxes[:, [0]] + (boxes[:, [2]] - boxes[:, [0]]) * u
    y = boxes[:, [1]] + (boxes[:, [3]] - boxes[:, [1]]) * v
    return np.asarray(shapely.polygons(np.stack([x, y], axis=-1)), dtype=object)
