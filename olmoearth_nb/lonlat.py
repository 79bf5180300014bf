"""Geometries in longitude and latitude, and the antimeridian, where 180° meets -180°.

GeoJSON has geometries cut there (RFC 7946, 3.1.9); :func:`normalise_lonlat` makes them so, and
:func:`unwrap_antimeridian` puts the parts next to each other again. :mod:`olmoearth_nb.geometry` has these under its
own name too.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import InputFileError

__all__ = ["antimeridian_sides", "jumps_antimeridian", "normalise_lonlat", "unwrap_antimeridian"]


def unwrap_antimeridian(shp: BaseGeometry) -> BaseGeometry:
    """Moves the western part of a geometry that lies on both sides of 180° next to its eastern part.

    GeoJSON has such geometries cut at the antimeridian (RFC 7946, 3.1.9): parts west of 0° get 360° added where
    that makes the whole narrower, so that centroid and extent are those of the real area. In a part with edges
    that jump across 180° the vertices with negative longitude get it. A band around the globe stays as it is.

    Args:
        shp: Geometry in WGS84 degrees.

    Returns:
        The moved geometry, or ``shp`` itself if it does not cross.

    Example:
        >>> cut = shapely.MultiPolygon([shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -179, 1)])
        >>> unwrap_antimeridian(cut).bounds
        (179.0, 0.0, 181.0, 1.0)
    """
    west, _, east, _ = shp.bounds
    if not east - west > 180.0:
        return shp
    shift = np.concatenate([_shifts(part) for part in _simple_parts(shp)])
    moved = shapely.transform(shp, lambda xy: np.column_stack([xy[:, 0] + shift, xy[:, 1]]))
    return moved if moved.bounds[2] - moved.bounds[0] < east - west else shp


def antimeridian_sides(shp: BaseGeometry) -> list[BaseGeometry]:
    """A geometry that was cut at the antimeridian as its eastern and western side; any other one alone.

    Args:
        shp: Geometry in WGS84 degrees, within -180..180.
    """
    if unwrap_antimeridian(shp) is shp:
        return [shp]
    parts = _simple_parts(shp)
    west = [part for part in parts if sum(part.bounds[::2]) < 0]
    east = [part for part in parts if sum(part.bounds[::2]) >= 0]
    return [shapely.GeometryCollection(side) for side in (east, west) if side]


def jumps_antimeridian(shp: BaseGeometry) -> bool:
    """Whether an edge leaps from one side of 180° to the other instead of being cut there.

    Args:
        shp: Geometry in WGS84 degrees.
    """
    return any(_jumps(part) for part in _simple_parts(shp))


def _simple_parts(shp: BaseGeometry) -> list[BaseGeometry]:
    """Points, lines and polygons, in the order of their coordinates."""
    if hasattr(shp, "geoms"):
        return [part for child in shp.geoms for part in _simple_parts(child)]
    return [] if shp.is_empty else [shp]


def _shifts(part: BaseGeometry) -> npt.NDArray[np.float64]:
    lon = shapely.get_coordinates(part)[:, 0]
    if _jumps(part):
        return np.where(lon < 0, 360.0, 0.0)
    return np.full(len(lon), 360.0 if lon.min() + lon.max() < 0 else 0.0)


def _jumps(part: BaseGeometry) -> bool:
    """Whether an edge leaps over 180°; one of exactly 360° belongs to a band around the globe."""
    rings = shapely.get_rings(part) if part.geom_type == "Polygon" else [part]
    steps = [np.abs(np.diff(shapely.get_coordinates(ring)[:, 0])) for ring in rings]
    return any(bool(((step > 180.0) & (step < 360)).any()) for step in steps)


def normalise_lonlat(shp: BaseGeometry, where: str) -> BaseGeometry:
    """A geometry within -180..180, cut at the antimeridian if it crosses it.

    Args:
        shp: Geometry in degrees.
        where: File and feature, for the error.

    Raises:
        InputFileError: If the geometry is empty, not finite or off the globe.
    """
    xy = shapely.get_coordinates(shp)
    # Heights are carried along, and one that is no number would be lost. Parts of a collection may have none.
    flat = not shapely.has_z(shp) and not isinstance(shp, shapely.GeometryCollection)
    parts = [] if flat else _simple_parts(shp)
    heights = [shapely.get_coordinates(part, include_z=True)[:, 2] for part in parts if part.has_z]
    if shp.is_empty or not all(np.isfinite(one).all() for one in (xy, *heights)):
        raise InputFileError(
            "The geometry is empty or has coordinates that are not numbers.", where=f"{where}.geometry"
        )
    (west, south), (east, north) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
    if south < -90 or north > 90 or west < -540 or east > 540:
        raise InputFileError(
            "The geometry is not on the globe.",
            where=f"{where}.geometry",
            expected="WGS84 positions [longitude, latitude] in degrees",
            found=f"bounds {tuple(round(v, 3) for v in (west, south, east, north))}",
            fix="GeoJSON has longitude first; projected coordinates must be converted to EPSG:4326.",
        )
    if west >= -180 and east <= 180 and not (east - west > 180 and jumps_antimeridian(shp)):
        return shp
    straight = unwrap_antimeridian(shp)
    if jumps_antimeridian(straight):
        return _around_pole(shp, where)
    return _cut(straight if straight.is_valid else shapely.make_valid(straight))


def _cut(shp: BaseGeometry) -> BaseGeometry:
    """What lies beyond 180° on either side, moved to where it belongs."""
    if isinstance(shp, shapely.GeometryCollection):
        return shapely.GeometryCollection([_cut(part) for part in shp.geoms])
    simple = shp.geom_type.removeprefix("Multi")
    if simple == "Point":
        return shapely.transform(shp, _wrapped)
    turns = (0.0, 360.0, -360.0)
    pieces = [shapely.intersection(shp, shapely.box(by - 180, -90, by + 180, 90)) for by in turns]
    moved = [_moved(piece, -by) for piece, by in zip(pieces, turns, strict=True)]
    parts = [part for piece in moved for part in _simple_parts(piece)]
    # Of a polygon that ends at 180° the next strip gets a line, which is left out.
    polygons = [part for part in parts if isinstance(part, shapely.Polygon)]
    lines = [part for part in parts if isinstance(part, shapely.LineString)]
    if simple == "Polygon":
        return polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)
    return lines[0] if len(lines) == 1 else shapely.MultiLineString(lines)


def _moved(shp: BaseGeometry, degrees: float) -> BaseGeometry:
    return shapely.transform(shp, lambda xy: xy + np.array([degrees, 0.0]))


def _wrapped(xy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lon = xy[:, 0]
    return np.column_stack([lon - 360.0 * (lon > 180) + 360.0 * (lon < -180), xy[:, 1]])


def _around_pole(shp: BaseGeometry, where: str) -> BaseGeometry:
    """A ring that goes once around the globe: the area up to the pole."""
    import antimeridian

    cutters: dict[str, Callable[[Any], BaseGeometry]] = {
        "Polygon": functools.partial(antimeridian.fix_polygon, great_circle=False),
        "MultiPolygon": functools.partial(antimeridian.fix_multi_polygon, great_circle=False),
        "LineString": functools.partial(antimeridian.fix_line_string, great_circle=False),
        "MultiLineString": functools.partial(antimeridian.fix_multi_line_string, great_circle=False),
    }
    if isinstance(shp, shapely.GeometryCollection):
        return shapely.GeometryCollection([normalise_lonlat(part, where) for part in shp.geoms])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return cutters[shp.geom_type](shp)
    except ValueError as error:
        raise InputFileError(
            f"The geometry crosses the antimeridian in a way that can't be cut: {error}.",
            where=f"{where}.geometry",
            fix="Cut it at longitude 180 into a MultiPolygon (RFC 7946, 3.1.9).",
        ) from error
