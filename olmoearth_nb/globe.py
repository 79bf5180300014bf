"""Places on the globe: UTM zones, projecting.

Longitudes and latitudes are in degrees (WGS84), pixel coordinates are rslearn's (CRS units divided by the
resolution, y growing southwards). :mod:`olmoearth_nb.geometry` has everything here under its own name too.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import rasterio.warp
import shapely
from rasterio.crs import CRS
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import GeometryError
from olmoearth_nb.lonlat import jumps_antimeridian, unwrap_antimeridian
from olmoearth_nb.types import shape_of

__all__ = [
    "WGS84_PROJECTION",
    "Coordinates",
    "Shapes",
    "centroids",
    "project",
    "project_all",
    "project_places",
    "projected_extent",
    "shape_array",
    "transformed",
    "utm_projection_at",
    "utm_projection_for",
    "utm_ups_crs",
    "valid_shapes",
]

Shapes: TypeAlias = npt.NDArray[np.object_]
"""Array of shapely geometries."""

Coordinates: TypeAlias = npt.NDArray[np.float64]
"""Shape (N, 2): x, y or longitude, latitude."""

# The UTM/UPS limits that rslearn uses: 84 degrees north and 80 degrees south, each less a hair.
_UPS_NORTH_FROM = 84 - 1e-4
_UPS_SOUTH_FROM = -80 + 1e-4
_UPS_EPSG = (5041, 5042)
_HALF_GLOBE = 180.0

# Beyond this a projection has left its domain (PROJ gives 1e23 m for one pole in the other's UPS).
_FARTHEST = 1e9

# Longer edges get vertices in between before they are projected: a straight line in degrees is a curve there, and the
# ring around a pole would collapse. Shorter edges are left alone, as rslearn does, so that names of windows (hashes of
# geometries) stay those that existing scratch folders have.
_LONGEST_EDGE_DEGREES = 1.5


@functools.lru_cache(maxsize=512)
def _crs(epsg: int) -> CRS:
    return CRS.from_epsg(epsg)


def utm_ups_crs(lon: float, lat: float) -> CRS:
    """The UTM zone, or UPS near the poles, of a place.

    Gives the answer of ``rslearn.utils.get_utm_ups_crs`` (which asks PROJ's database, some 90 ms a call)
    without asking: zones are half-open to the west, so 120° W belongs to the western zone 32610, 0° to 32630,
    180° to 32660 and -180° to 32601; the equator belongs to the north.

    Args:
        lon: Longitude in degrees, -180..180.
        lat: Latitude in degrees, -90..90.

    Raises:
        GeometryError: If the place is not on the globe.

    Example:
        >>> utm_ups_crs(-120.0, 45.0).to_epsg()
        32610
    """
    return _crs(_utm_ups_epsg(lon, lat))


def _utm_ups_epsg(lon: float, lat: float) -> int:
    if not (-_HALF_GLOBE <= lon <= _HALF_GLOBE and -90 <= lat <= 90):
        raise GeometryError(
            "A position is not on the globe.",
            expected="longitude -180..180 and latitude -90..90, in degrees",
            found=f"lon {lon}, lat {lat}",
        )
    if lat > _UPS_NORTH_FROM:
        return _UPS_EPSG[0]
    if lat < _UPS_SOUTH_FROM:
        return _UPS_EPSG[1]
    zone = max(1, math.ceil((lon + _HALF_GLOBE) / 6))
    return (32600 if lat >= 0 else 32700) + zone


def utm_projection_for(shp: BaseGeometry, x_resolution: float, y_resolution: float) -> Projection:
    """The UTM/UPS projection of a geometry's centroid, at a resolution.

    Args:
        shp: Geometry in WGS84 degrees; one across 180° may be cut there or go on beyond.
        x_resolution: CRS units (metres) per pixel.
        y_resolution: The same in y, negative for north-up.

    Raises:
        GeometryError: If the geometry is empty or not on the globe.
    """
    whole = unwrap_antimeridian(shp)
    if whole.is_empty:
        raise GeometryError("An empty geometry has no UTM zone.")
    lon, lat = centroids(shape_array([whole]))[0].tolist()
    return utm_projection_at(lon, lat, x_resolution, y_resolution)


def utm_projection_at(lon: float, lat: float, x_resolution: float, y_resolution: float) -> Projection:
    """The UTM/UPS projection of a place, at a resolution.

    Args:
        lon: Longitude in degrees, -180..180, or going on beyond 180.
        lat: Latitude in degrees, -90..90.
        x_resolution: CRS units (metres) per pixel.
        y_resolution: The same in y, negative for north-up.

    Raises:
        GeometryError: If the place is not on the globe.
    """
    epsg = _utm_ups_epsg(lon - 360 if lon > _HALF_GLOBE else lon, lat)
    return _projection(epsg, x_resolution, y_resolution)


def centroids(shapes: Shapes) -> Coordinates:
    """The centroids of geometries, which never lie outside their bounds.

    GEOS divides by the area: of a polygon whose halves cancel out, its result can be anywhere.

    Args:
        shapes: Geometries that are not empty, in any coordinates.
    """
    bounds = shapely.bounds(shapes)
    return np.clip(shapely.get_coordinates(shapely.centroid(shapes)), bounds[:, :2], bounds[:, 2:])


# One object for equal projections, so that geometries can be grouped by it. Typed: 10 and 10.0 are different names.
@functools.lru_cache(maxsize=512, typed=True)
def _projection(epsg: int, x_resolution: float, y_resolution: float) -> Projection:
    return Projection(_crs(epsg), x_resolution, y_resolution)


def project(geometry: STGeometry, projection: Projection) -> STGeometry:
    """Projects a geometry; edges of many degrees follow their course on the globe.

    Args:
        geometry: Any geometry; in WGS84 as GeoJSON has it, cut at the antimeridian.
        projection: Target projection.

    Raises:
        GeometryError: If the geometry is off the globe or outside of the projection's domain.
    """
    return project_all([geometry], [projection])[0]


def project_all(geometries: Sequence[STGeometry], projections: Sequence[Projection]) -> list[STGeometry]:
    """Projects many geometries at once: some microseconds each, where one alone takes a quarter of a millisecond.

    Args:
        geometries: As for :func:`project`.
        projections: One for each; the same object for those that go together.

    Raises:
        GeometryError: As :func:`project`.
    """
    out: list[STGeometry] = list(geometries)
    groups: dict[int, list[int]] = {}
    for index, (geometry, projection) in enumerate(zip(geometries, projections, strict=True)):
        if geometry.projection == WGS84_PROJECTION and projection.crs != WGS84_PROJECTION.crs:
            groups.setdefault(id(projection), []).append(index)
        else:
            out[index] = geometry.to_projection(projection)
    for indices in groups.values():
        projection = projections[indices[0]]
        shapes = _from_degrees(shape_array([shape_of(geometries[i]) for i in indices]), projection)
        for index, shp in zip(indices, shapes, strict=True):
            out[index] = STGeometry(projection, shp, geometries[index].time_range)
    return out


def project_places(lonlat: Coordinates, projections: Sequence[Projection]) -> Coordinates:
    """Projects places, each into its own projection.

    Args:
        lonlat: Degrees.
        projections: One for each; the same object for those that go together.

    Returns:
        Pixels of the projections.

    Raises:
        GeometryError: As :func:`project`.
    """
    groups: dict[int, list[int]] = {}
    for index, projection in enumerate(projections):
        groups.setdefault(id(projection), []).append(index)
    out = np.empty_like(lonlat)
    for indices in groups.values():
        projection = projections[indices[0]]
        out[indices] = _metres(lonlat[indices], projection) / (projection.x_resolution, projection.y_resolution)
    return out


def shape_array(shapes: Sequence[BaseGeometry] | Shapes) -> Shapes:
    """Geometries as an array of objects, collections not taken apart.

    Args:
        shapes: Any geometries; an array comes back as it is.
    """
    if isinstance(shapes, np.ndarray):
        return shapes
    array = np.empty(len(shapes), dtype=object)
    array[:] = shapes
    return array


def _from_degrees(shapes: Shapes, projection: Projection) -> Shapes:
    shapes = _with_short_edges(shapes)
    moved = valid_shapes(transformed(shapes, lambda xy: _metres(xy, projection)))
    resolution = np.array([projection.x_resolution, projection.y_resolution])
    return transformed(moved, lambda xy: xy / resolution)


def transformed(shapes: Shapes, function: Callable[[Coordinates], Coordinates]) -> Shapes:
    """Geometries with all coordinates moved by one call.

    Args:
        shapes: Array of geometries.
        function: Coordinates of shape (N, 2) to as many others.
    """
    return np.asarray(shapely.transform(shapes, function), dtype=object)


def _metres(xy: Coordinates, projection: Projection) -> Coordinates:
    """Degrees -> CRS units. By rasterio, as rslearn does it: another PROJ differs in the last bit, and so do names."""
    if not len(xy):
        return xy
    crs = projection.crs
    lon, lat = xy[:, 0], xy[:, 1]
    if not (np.abs(lat) <= 90).all() or not (np.abs(lon) <= 540).all():
        raise GeometryError(
            "A geometry is not on the globe.",
            expected="positions [longitude, latitude] in degrees",
            found=f"longitudes {lon.min():g} to {lon.max():g}, latitudes {lat.min():g} to {lat.max():g}",
        )
    with foreign_code(GeometryError, f"A geometry can't be projected to {crs.to_string()}"):
        out = np.column_stack(rasterio.warp.transform(WGS84_PROJECTION.crs, crs, lon.tolist(), lat.tolist())[:2])
    if not (np.abs(out) < _FARTHEST).all():
        raise GeometryError(
            f"A geometry can't be projected to {crs.to_string()}.",
            expected="a place where that projection is defined",
            found=f"longitudes {lon.min():g} to {lon.max():g}, latitudes {lat.min():g} to {lat.max():g}",
            fix="Choose another output_projection, or use_utm: true.",
        )
    return out


def _with_short_edges(shapes: Shapes) -> Shapes:
    bounds = shapely.bounds(shapes)
    long = (bounds[:, 2:] - bounds[:, :2]).max(axis=1) > _LONGEST_EDGE_DEGREES
    for index in np.flatnonzero(long):
        if not jumps_antimeridian(shapes[index]):
            shapes[index] = _segmentized(shapes[index], _LONGEST_EDGE_DEGREES)
    return shapes


def _segmentized(shp: BaseGeometry, step: float) -> BaseGeometry:
    # GEOS drops a part of a self-intersecting polygon when it adds vertices to it.
    return shapely.segmentize(shp if shp.is_valid else shapely.make_valid(shp), step)


def valid_shapes(shapes: Shapes) -> Shapes:
    """Geometries with the self-intersecting ones made valid.

    Args:
        shapes: Array of geometries.
    """
    invalid = ~shapely.is_valid(shapes)
    if not invalid.any():
        return shapes
    fixed = shapes.copy()
    fixed[invalid] = shapely.make_valid(shapes[invalid])
    return fixed


def projected_extent(shp: BaseGeometry, projection: Projection) -> tuple[float, float, float, float]:
    """Bounds in pixels of a geometry whose edges are straight in degrees.

    Such an edge is a curve in the projection and may bulge over its ends: that of a one-degree cell by up to 120 m.

    Args:
        shp: Geometry in WGS84 degrees, within -180..180.
        projection: Target projection.

    Raises:
        GeometryError: As :func:`project`.
    """
    resolution = np.array([projection.x_resolution, projection.y_resolution])
    if projection.crs == WGS84_PROJECTION.crs:
        xy = shapely.get_coordinates(shp) / resolution
    else:
        west, south, east, north = shp.bounds
        step = min(max((east - west) / 256, (north - south) / 256, 0.02), 0.25)
        xy = _metres(shapely.get_coordinates(_segmentized(shp, step)), projection) / resolution
    (x0, y0), (x1, y1) = xy.min(axis=0).tolist(), xy.max(axis=0).tolist()
    return x0, y0, x1, y1
