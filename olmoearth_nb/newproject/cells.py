"""Where windows of labels lie: squares of one grid for rasters, squares around points for values of a place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from rslearn.utils.geometry import Projection, STGeometry
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.geometry import WGS84_PROJECTION, project_all, shape_array, utm_projection_for
from olmoearth_nb.types import shape_of

__all__ = ["Piece", "cells_touched", "in_pixels", "pixel_squares"]

MOST_CELLS = 64
"""Windows that one feature gives at most: a large polygon would drown all others."""

# A country has millions of cells; every so many of them will do to choose from.
_MOST_LOOKED_AT = 100_000


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A feature in a cell of the grid.

    Attributes:
        row: Of the feature.
        zone: Projection of the cell, in pixels.
        column: Of the cell, counted from the zone's origin.
        line: Of the cell.
    """

    row: int
    zone: Projection
    column: int
    line: int

    def centre(self, size: int) -> tuple[float, float]:
        """Middle of the cell in pixels.

        Args:
            size: Width and height of a cell in pixels.
        """
        return (self.column + 0.5) * size, (self.line + 0.5) * size


def in_pixels(shapes: Iterable[BaseGeometry], resolution: float) -> list[tuple[Projection, BaseGeometry]]:
    """Shapes in pixels, each in the zone of its centroid.

    Args:
        shapes: Shapes in degrees.
        resolution: Metres per pixel.
    """
    shapes = list(shapes)
    zones: dict[str, Projection] = {}
    projections = []
    for shp in shapes:
        zone = utm_projection_for(shp, resolution, -resolution)
        projections.append(zones.setdefault(zone.crs.to_string(), zone))
    geometries = [STGeometry(WGS84_PROJECTION, shp, None) for shp in shapes]
    projected = project_all(geometries, projections)
    return [(zone, shape_of(one)) for zone, one in zip(projections, projected, strict=True)]


def pixel_squares(points: Sequence[BaseGeometry]) -> npt.NDArray[np.object_]:
    """The pixel that contains each point, as a square a little smaller than it: so it covers that pixel only.

    Args:
        points: Points in pixels.
    """
    low = np.floor(shapely.get_coordinates(shape_array(points)))
    return np.asarray(shapely.box(*(low + 0.1).T, *(low + 0.9).T), dtype=object)


def cells_touched(places: Sequence[tuple[Projection, BaseGeometry]], size: int) -> list[Piece]:
    """The cells of the grid that each shape touches, at most :data:`MOST_CELLS` of them, spread over it.

    Args:
        places: Shapes in pixels with their zone.
        size: Width and height of a cell in pixels.

    Returns:
        Pieces in order of the features.
    """
    pieces: list[Piece] = []
    for row, (zone, shp) in enumerate(places):
        if shp.is_empty:
            continue
        x0, y0, x1, y1 = shp.bounds
        columns = np.arange(np.floor(x0 / size), np.floor(x1 / size) + 1)
        lines = np.arange(np.floor(y0 / size), np.floor(y1 / size) + 1)
        step = max(1, math.ceil(math.sqrt(len(columns) * len(lines) / _MOST_LOOKED_AT)))
        found = np.stack(np.meshgrid(columns[::step], lines[::step]), axis=-1).reshape(-1, 2)
        if len(found) > 1:
            low = found * size
            found = found[shapely.intersects(shp, shapely.box(*low.T, *(low + size).T))]
        if len(found) > MOST_CELLS:
            found = found[np.linspace(0, len(found) - 1, MOST_CELLS).round().astype(int)]
        pieces += [Piece(row=row, zone=zone, column=int(column), line=int(line)) for column, line in found]
    return pieces
