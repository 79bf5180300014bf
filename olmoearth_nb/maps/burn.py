"""Thousands of shapes as one picture: what a web map can still pan, in every setting and without internet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import shapely
from PIL import Image, ImageDraw

from olmoearth_nb.colors import RGB
from olmoearth_nb.globe import Shapes
from olmoearth_nb.maps.overlay import Overlay

__all__ = ["burnt"]

_MAX_PIXELS = 1600
# Shapes are at least so many pixels wide, and have an edge of their own from so many on.
_LEAST, _EDGED_FROM = 3, 6
_EDGE_ALPHA, _LEAST_FILL = 230, 0.35

_Rgba: TypeAlias = tuple[int, int, int, int]


def burnt(shapes: Shapes, colors: Sequence[RGB], *, fill: float, max_pixels: int = _MAX_PIXELS) -> Overlay:
    """Shapes as a picture, in their colours. Holes of polygons are filled.

    Args:
        shapes: At least one, in metres of Web Mercator.
        colors: One for each.
        fill: Opacity of what fills polygons; 0 for none, else at least what can be seen.
        max_pixels: Largest width and height.
    """
    left, bottom, right, top = shapely.total_bounds(shapes).tolist()
    length = max(right - left, top - bottom, 1.0) / (max_pixels - 2 * _LEAST)
    # So that what lies on the border has room.
    left, top = left - _LEAST * length, top + _LEAST * length
    width, height = (int(np.ceil(extent / length)) + _LEAST for extent in (right - left, top - bottom))
    in_pixels = shapely.transform(shapes, lambda xy: (xy - np.array([left, top])) / np.array([length, -length]))
    picture = Image.new("RGBA", (width, height))
    alpha = round(255 * max(fill, _LEAST_FILL)) if fill else 0
    _draw(picture, np.asarray(in_pixels, dtype=object), [(*color, alpha) for color in colors])
    return Overlay(np.asarray(picture), (left, top - height * length, left + width * length, top))


def _draw(picture: Image.Image, shapes: Shapes, fills: list[_Rgba]) -> None:
    draw = ImageDraw.Draw(picture)
    parts, owner = shapely.get_parts(shapes, return_index=True)
    there = ~(shapely.is_empty(parts) | shapely.is_missing(parts))
    parts, owner = parts[there], owner[there]
    boxes = shapely.bounds(parts)
    sizes = (boxes[:, 2:] - boxes[:, :2]).max(axis=1)
    small = sizes < _LEAST
    middle = np.floor((boxes[small, :2] + boxes[small, 2:]) / 2 - (_LEAST - 1) / 2 + 0.5)
    dots = np.column_stack([middle, middle + _LEAST - 1]).astype(int).tolist()
    for box, index in zip(dots, owner[small].tolist(), strict=True):
        draw.rectangle(box, fill=_edge(fills[index]))
    large, sizes, owner = parts[~small], sizes[~small], owner[~small]
    polygons = shapely.get_type_id(large) == shapely.GeometryType.POLYGON
    lines = large.copy()
    lines[polygons] = shapely.get_exterior_ring(large[polygons])
    xy, of = shapely.get_coordinates(lines, return_index=True)
    ends = np.searchsorted(of, np.arange(len(large) + 1)).tolist()
    for number, index in enumerate(owner.tolist()):
        course, fill = xy[ends[number] : ends[number + 1]].ravel().tolist(), fills[index]
        if polygons[number]:
            draw.polygon(course, fill=fill, outline=_edge(fill) if sizes[number] >= _EDGED_FROM else fill)
        else:
            draw.line(course, fill=_edge(fill), width=2)


def _edge(fill: _Rgba) -> _Rgba:
    return (*fill[:3], _EDGE_ALPHA)
