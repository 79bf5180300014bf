"""Where a map is: its projection and extent, which way north is, how long a metre is, where meridians cross its edges.

No drawing here: the same numbers serve a picture and a live map.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import rasterio.warp
import shapely
from pyproj import Geod
from rasterio.crs import CRS
from rslearn.utils.geometry import WGS84_PROJECTION, Projection
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import GeometryError
from olmoearth_nb.globe import Shapes, shape_array, transformed
from olmoearth_nb.lonlat import unwrap_antimeridian

__all__ = ["Bounds", "MapFrame", "Tick", "frame_around", "nice_step", "one_side"]

Bounds: TypeAlias = tuple[float, float, float, float]
"""Left, bottom, right, top in units of a CRS."""

Tick: TypeAlias = tuple[float, str]
"""Position on an edge of the map in CRS units, and what to write there."""

WGS84: CRS = WGS84_PROJECTION.crs
_WEB_MERCATOR = 3857
_GEOD = Geod(ellps="WGS84")
_MARGIN = 0.04
_SLIMMEST = 0.3
# A map of a single point shows about this much around it, degrees.
_LEAST_DEGREES = 0.0005
# Two to five of them on an edge.
_TICKS = 2


@dataclass(frozen=True)
class MapFrame:
    """The extent of a map.

    Attributes:
        crs: Projection of the map.
        bounds: Left, bottom, right, top in CRS units; a longitude may exceed 180.

    Example:
        >>> frame = MapFrame(CRS.from_epsg(4326), (8.0, 59.5, 9.0, 60.5))
        >>> round(frame.aspect, 2), round(frame.metres_per_unit / 1000)
        (2.0, 56)
    """

    crs: CRS
    bounds: Bounds

    @property
    def width(self) -> float:
        """CRS units from left to right."""
        return self.bounds[2] - self.bounds[0]

    @property
    def height(self) -> float:
        """CRS units from bottom to top."""
        return self.bounds[3] - self.bounds[1]

    @property
    def centre(self) -> tuple[float, float]:
        """The middle, CRS units."""
        left, bottom, right, top = self.bounds
        return (left + right) / 2, (bottom + top) / 2

    @property
    def aspect(self) -> float:
        """Length of a unit of y on the map, as a multiple of one of x: in degrees 1/cos(latitude), else 1."""
        if not self.crs.is_geographic:
            return 1.0
        return 1.0 / max(math.cos(math.radians(self.centre[1])), 0.01)

    @property
    def metres_per_unit(self) -> float:
        """Metres on the ground for a CRS unit from west to east, in the middle of the map."""
        x, y = self.centre
        step = self.width / 100
        (west, east), (south, north) = self._lonlat([x - step, x + step], [y, y])
        return float(_GEOD.inv(west, south, east, north)[2]) / (2 * step)

    @property
    def north(self) -> tuple[float, float]:
        """Direction of true north in the middle of the map: right and up, of length 1."""
        if self.crs.is_geographic or self.crs.to_epsg() == _WEB_MERCATOR:
            return 0.0, 1.0
        x, y = self.centre
        (lon,), (lat,) = self._lonlat([x], [y])
        step = 1e-4 if lat < 90 - 1e-3 else -1e-4
        xs, ys = rasterio.warp.transform(WGS84, self.crs, [lon], [lat + step])
        dx, dy = (xs[0] - x) * np.sign(step), (ys[0] - y) * np.sign(step)
        length = math.hypot(dx, dy) or 1.0
        return float(dx / length), float(dy / length)

    def meridians(self) -> list[Tick]:
        """Where meridians cross the lower edge."""
        left, bottom, right, _ = self.bounds
        along = np.linspace(left, right, 65)
        lon, _ = self._lonlat(along, np.full(65, bottom))
        return _ticks(along, np.unwrap(lon, period=360), _longitude)

    def parallels(self) -> list[Tick]:
        """Where parallels cross the left edge."""
        left, bottom, _, top = self.bounds
        along = np.linspace(bottom, top, 65)
        _, lat = self._lonlat(np.full(65, left), along)
        return _ticks(along, np.asarray(lat), _latitude)

    def from_lonlat(self, shapes: Shapes) -> Shapes:
        """Geometries in degrees, in units of the map.

        Args:
            shapes: Array of geometries; longitudes may exceed 180.
        """
        return _moved(shapes, WGS84, self.crs)

    def from_pixels(self, projection: Projection, shapes: Shapes) -> Shapes:
        """Geometries in pixels of a projection, in units of the map.

        Args:
            projection: CRS and resolution.
            shapes: Array of geometries.
        """
        resolution = np.array([projection.x_resolution, projection.y_resolution])
        return _moved(transformed(shapes, lambda xy: xy * resolution), projection.crs, self.crs)

    def _lonlat(self, xs: npt.ArrayLike, ys: npt.ArrayLike) -> tuple[list[float], list[float]]:
        places = np.asarray(xs, dtype=float).tolist(), np.asarray(ys, dtype=float).tolist()
        if self.crs.is_geographic:
            return places
        lon, lat = rasterio.warp.transform(self.crs, WGS84, *places)
        return lon, lat


def frame_around(shapes: Shapes) -> MapFrame:
    """A map in longitude and latitude around geometries, with some margin.

    Args:
        shapes: Array of geometries in degrees, on one side of the antimeridian (see :func:`one_side`).

    Raises:
        GeometryError: If there is none.
    """
    boxes = shapely.bounds(shapes)
    boxes = boxes[~np.isnan(boxes).any(axis=1)]
    if not len(boxes):
        raise GeometryError("There is nothing to draw a map of.", expected="at least one geometry")
    west, south = boxes[:, :2].min(axis=0).tolist()
    east, north = boxes[:, 2:].max(axis=0).tolist()
    shrink = max(math.cos(math.radians((south + north) / 2)), 0.01)
    # The same margin on all sides in metres, and more where the map would be a strip.
    tall, wide = north - south, (east - west) * shrink
    margin = max(_MARGIN * max(tall, wide), _LEAST_DEGREES)
    up, aside = (margin + max(0.0, (_SLIMMEST * other - own) / 2) for own, other in ((tall, wide), (wide, tall)))
    return MapFrame(
        WGS84, (west - aside / shrink, max(south - up, -90.0), east + aside / shrink, min(north + up, 90.0))
    )


def one_side(shapes: Sequence[BaseGeometry] | Shapes) -> Shapes:
    """Geometries around the antimeridian next to each other: those west of it get 360° added.

    Args:
        shapes: Geometries in degrees.
    """
    array = shape_array(list(shapes))
    together = shapely.GeometryCollection(array.tolist())
    moved = unwrap_antimeridian(together)
    return array if moved is together else shape_array(list(shapely.get_parts(moved)))


def nice_step(extent: float, parts: int) -> float:
    """The round number (1, 2 or 5 times a power of ten) that divides an extent into about so many parts.

    Args:
        extent: Above 0.
        parts: How many.

    Example:
        >>> nice_step(0.13, 4), nice_step(7200, 4)
        (0.02, 2000.0)
    """
    raw = extent / parts
    power = 10.0 ** math.floor(math.log10(raw))
    return float(max((factor for factor in (1, 2, 5) if factor * power <= raw * 1.001), default=1) * power)


def _moved(shapes: Shapes, source: CRS, target: CRS) -> Shapes:
    if source == target or not len(shapes):
        return shapes
    return transformed(
        shapes,
        lambda xy: np.column_stack(rasterio.warp.transform(source, target, *xy.T.tolist())[:2]) if len(xy) else xy,
    )


def _ticks(
    along: npt.NDArray[np.float64], degrees: npt.NDArray[np.float64], text: Callable[[float, int], str]
) -> list[Tick]:
    steps = np.diff(degrees)
    if not (np.isfinite(degrees).all() and ((steps > 0).all() or (steps < 0).all())):
        return []  # around a pole an edge meets a meridian twice, or none
    low, high = sorted((float(degrees[0]), float(degrees[-1])))
    step = nice_step(high - low, _TICKS)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    values = np.arange(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1) * step
    order = np.argsort(degrees)
    positions = np.interp(values, degrees[order], along[order]).tolist()
    return [(position, text(value, digits)) for position, value in zip(positions, values.tolist(), strict=True)]


def _longitude(value: float, digits: int) -> str:
    return _degrees((value + 180) % 360 - 180, "EW", digits)


def _latitude(value: float, digits: int) -> str:
    return _degrees(value, "NS", digits)


def _degrees(value: float, letters: str, digits: int) -> str:
    value = round(value, digits)
    letter = letters[value < 0] if value else ""
    return f"{abs(value):.{digits}f}°{letter}"
