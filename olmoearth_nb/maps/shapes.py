"""Geometries on a map picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.path import Path as DrawnPath
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.colors import RGB
from olmoearth_nb.geojson import PredictionRequestCollection, feature_shape, read_request
from olmoearth_nb.globe import Shapes
from olmoearth_nb.maps.canvas import unit
from olmoearth_nb.maps.frame import MapFrame

__all__ = ["OUTLINE", "RequestSource", "ShapeStyle", "draw_shapes", "request_shapes"]

RequestSource: TypeAlias = str | PathLike[str] | PredictionRequestCollection
"""A request, or the file it lies in."""

# Smaller polygons (as a part of the map) become dots.
_LEAST_SIZE = 0.008
# shapely's numbers of geometry types: up to here points, lines, rings and polygons.
_LAST_SIMPLE_TYPE = 3


def request_shapes(request: RequestSource | None) -> list[BaseGeometry]:
    """Geometries of a request, in degrees.

    Args:
        request: The request, its file, or None for none.

    Raises:
        InputFileError: If the file can't be read.
    """
    if request is None:
        return []
    collection = read_request(request) if isinstance(request, str | PathLike) else request
    return [feature_shape(feature) for feature in collection.features]


@dataclass(frozen=True, kw_only=True)
class ShapeStyle:
    """How shapes are drawn.

    Attributes:
        opacity: Of what fills polygons; 0 draws outlines only.
        edge: Colour of all outlines; each shape's own if None.
        zorder: What is drawn above what.
    """

    opacity: float = 0.4
    edge: RGB | None = None
    zorder: float = 3.0


OUTLINE = ShapeStyle(opacity=0.0, zorder=4.0)
"""Outlines above everything else."""


def draw_shapes(
    ax: Axes, frame: MapFrame, shapes: Shapes, colors: Sequence[RGB], style: ShapeStyle | None = None
) -> None:
    """Draws geometries: filled outlines, lines, dots; polygons too small to be seen become dots.

    Args:
        ax: The map.
        frame: Its extent.
        shapes: Array of geometries in units of the map.
        colors: One for each.
        style: How.
    """
    style = style or ShapeStyle()
    parts, owner = _simple_parts(shapes)
    if not len(parts):
        return
    fills = np.array([unit(color) for color in colors])[owner]
    edges = fills if style.edge is None else np.broadcast_to(unit(style.edge), fills.shape)
    dimensions = shapely.get_dimensions(parts)
    boxes = shapely.bounds(parts)
    sizes = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    areas = (dimensions == 2) & (sizes >= _LEAST_SIZE * max(frame.width, frame.height))
    lines = dimensions == 1
    dots = ~areas & ~lines
    if areas.any():
        # Many outlines would hide what they enclose.
        width = float(np.clip(30 / np.sqrt(areas.sum() + 1), 0.2, 1.2))
        faces = np.column_stack([fills[areas], np.full(areas.sum(), style.opacity)])
        _add_paths(ax, parts[areas], facecolors=faces, edgecolors=edges[areas], linewidths=width, zorder=style.zorder)
    if lines.any():
        _add_paths(
            ax, parts[lines], facecolors="none", edgecolors=fills[lines], linewidths=1.5, zorder=style.zorder + 0.1
        )
    if dots.any():
        xy = shapely.get_coordinates(shapely.centroid(parts[dots]))
        size = float(np.clip(8000 / len(xy), 9, 30))
        ax.scatter(
            xy[:, 0], xy[:, 1], c=fills[dots], s=size, linewidths=0.4, edgecolors="white", zorder=style.zorder + 0.2
        )


def _add_paths(ax: Axes, parts: Shapes, **style: Any) -> None:
    ax.add_collection(PathCollection([_path(part) for part in parts], **style), autolim=False)


def _simple_parts(shapes: Shapes) -> tuple[Shapes, npt.NDArray[np.int64]]:
    """Points, lines and polygons, and the index of the geometry that each belongs to."""
    parts, owner = shapes, np.arange(len(shapes))
    while (shapely.get_type_id(parts) > _LAST_SIMPLE_TYPE).any():
        parts, index = shapely.get_parts(parts, return_index=True)
        owner = owner[index]
    there = ~(shapely.is_empty(parts) | shapely.is_missing(parts))
    return np.asarray(parts[there], dtype=object), owner[there]


def _path(part: BaseGeometry) -> DrawnPath:
    if part.geom_type != "Polygon":
        return DrawnPath(shapely.get_coordinates(part))
    rings = [DrawnPath(shapely.get_coordinates(ring), closed=True) for ring in shapely.get_rings(part)]
    return DrawnPath.make_compound_path(*rings)
