"""Web Mercator (EPSG:3857), what web maps show: degrees to metres and back, and where pixels lie in it.

Pictures on a web map are stretched between corners given in degrees, linearly in this projection; so they have to be in
it. Around the antimeridian x goes on beyond 180°, as longitudes do in :mod:`olmoearth_nb.lonlat`.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import rasterio.warp
from rasterio.crs import CRS
from rslearn.utils.geometry import WGS84_PROJECTION, Projection

from olmoearth_nb.globe import Coordinates
from olmoearth_nb.maps.frame import Bounds
from olmoearth_nb.types import PixelBounds

__all__ = ["MERCATOR", "WORLD", "mercator_extent", "pixel_length", "to_lonlat", "to_mercator"]

MERCATOR: Final = CRS.from_epsg(3857)

_RADIUS = 6378137.0
WORLD: Final = 2 * math.pi * _RADIUS
"""Once around the globe, metres at the equator."""

# The map is a square: it ends here to the north and the south.
_LAST_LATITUDE = 85.0511287798066
_POINTS_AN_EDGE = 17


def to_mercator(lonlat: Coordinates) -> Coordinates:
    """Degrees -> metres of the projection; latitudes beyond the map's end at its edge.

    Args:
        lonlat: Shape (N, 2); longitudes may exceed 180.

    Example:
        >>> to_mercator(np.array([[180.0, 0.0]])).round().tolist()
        [[20037508.0, 0.0]]
    """
    lat = np.radians(np.clip(lonlat[:, 1], -_LAST_LATITUDE, _LAST_LATITUDE))
    return np.column_stack([np.radians(lonlat[:, 0]) * _RADIUS, np.arcsinh(np.tan(lat)) * _RADIUS])


def to_lonlat(xy: Coordinates) -> Coordinates:
    """Metres of the projection -> degrees.

    Args:
        xy: Shape (N, 2).
    """
    return np.column_stack([np.degrees(xy[:, 0] / _RADIUS), np.degrees(np.arctan(np.sinh(xy[:, 1] / _RADIUS)))])


def mercator_extent(projection: Projection, bounds: PixelBounds) -> Bounds:
    """Left, bottom, right, top of a pixel box on the map, its edges followed.

    Args:
        projection: Projection of the box.
        bounds: Whole pixels.
    """
    x0, y0, x1, y1 = bounds
    along = np.linspace(0, 1, _POINTS_AN_EDGE)
    x, y = x0 + along * (x1 - x0), y0 + along * (y1 - y0)
    edges = [(x, np.full_like(x, y0)), (x, np.full_like(x, y1)), (np.full_like(y, x0), y), (np.full_like(y, x1), y)]
    points = _on_map(projection, np.concatenate([np.column_stack(edge) for edge in edges]))
    (left, bottom), (right, top) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return left, bottom, right, top


def pixel_length(projection: Projection, bounds: PixelBounds) -> float:
    """The shorter side of a pixel in the middle of a box, in metres of the map.

    Args:
        projection: Projection of the box.
        bounds: Whole pixels.
    """
    x, y = (bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2
    corner, right, down = _on_map(projection, np.array([(x, y), (x + 1, y), (x, y + 1)]))
    return float(min(np.hypot(*(right - corner)), np.hypot(*(down - corner))))


def _on_map(projection: Projection, pixels: Coordinates) -> Coordinates:
    xy: Coordinates = pixels * np.array([projection.x_resolution, projection.y_resolution])
    crs = projection.crs
    if crs == MERCATOR:
        return xy
    if crs == WGS84_PROJECTION.crs:
        return to_mercator(xy)
    lonlat = np.column_stack(rasterio.warp.transform(crs, WGS84_PROJECTION.crs, *xy.T.tolist())[:2])
    moved = np.where(lonlat[:, 0] < 0, lonlat[:, 0] + 360.0, lonlat[:, 0])
    if np.ptp(lonlat[:, 0]) > 180.0 and np.ptp(moved) < np.ptp(lonlat[:, 0]):
        lonlat[:, 0] = moved
    return to_mercator(lonlat)
