"""Pure functions on projections, pixel boxes and outlines; nothing here touches the disk.

Longitudes and latitudes are in degrees (WGS84), pixel coordinates are rslearn's (CRS units divided by the
resolution, y growing southwards).
"""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt
import pyproj
import shapely
from rasterio.crs import CRS
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import GeometryError
from olmoearth_nb.types import PixelBounds, shape_of

__all__ = [
    "WGS84_PROJECTION",
    "footprints_touching",
    "grid_indices",
    "pixel_bounds",
    "project",
    "unwrap_antimeridian",
    "utm_projection_for",
    "utm_ups_crs",
    "wgs84_outlines",
]

# The UTM/UPS limits that rslearn uses: 84 degrees north and 80 degrees south, each less a hair.
_UPS_NORTH_FROM = 84 - 1e-4
_UPS_SOUTH_FROM = -80 + 1e-4
_UPS_EPSG = (5041, 5042)
_HALF_GLOBE = 180.0


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
    if not (-_HALF_GLOBE <= lon <= _HALF_GLOBE and -90 <= lat <= 90):
        raise GeometryError(
            "A position is not on the globe.",
            expected="longitude -180..180 and latitude -90..90, in degrees",
            found=f"lon {lon}, lat {lat}",
        )
    if lat > _UPS_NORTH_FROM:
        return _crs(_UPS_EPSG[0])
    if lat < _UPS_SOUTH_FROM:
        return _crs(_UPS_EPSG[1])
    zone = max(1, math.ceil((lon + _HALF_GLOBE) / 6))
    return _crs((32600 if lat >= 0 else 32700) + zone)


def unwrap_antimeridian(shp: BaseGeometry) -> BaseGeometry:
    """Moves the western part of a geometry that lies on both sides of 180° next to its eastern part.

    A geometry wider than half the globe is taken to cross the antimeridian (GeoJSON, RFC 7946 3.1.9, has such
    geometries cut there). Vertices with negative longitude get 360° added, so that centroid and extent are
    those of the real area. Other geometries come back as they are.

    Args:
        shp: Geometry in WGS84 degrees.
    """
    west, _, east, _ = shp.bounds
    if not east - west > _HALF_GLOBE:
        return shp
    return shapely.transform(
        shp, lambda xy: np.column_stack([np.where(xy[:, 0] < 0, xy[:, 0] + 360, xy[:, 0]), xy[:, 1]])
    )


def utm_projection_for(shp: BaseGeometry, x_resolution: float, y_resolution: float) -> Projection:
    """The UTM/UPS projection of a geometry's centroid, at a resolution.

    Args:
        shp: Geometry in WGS84 degrees (see :func:`unwrap_antimeridian` for those across 180°).
        x_resolution: CRS units (metres) per pixel.
        y_resolution: The same in y, negative for north-up.
    """
    centroid = unwrap_antimeridian(shp).centroid
    lon = centroid.x - 360 if centroid.x > _HALF_GLOBE else centroid.x
    return Projection(utm_ups_crs(lon, centroid.y), x_resolution, y_resolution)


def project(geometry: STGeometry, projection: Projection) -> STGeometry:
    """Projects a geometry; one in WGS84 that crosses the antimeridian stays in one piece.

    Args:
        geometry: Any geometry.
        projection: Target projection.

    Raises:
        GeometryError: If the geometry has no finite coordinates there.
    """
    if geometry.projection == WGS84_PROJECTION and projection.crs != WGS84_PROJECTION.crs:
        geometry = STGeometry(geometry.projection, unwrap_antimeridian(shape_of(geometry)), geometry.time_range)
    result = geometry.to_projection(projection)
    shp = shape_of(result)
    if not shp.is_empty and not np.isfinite(shp.bounds).all():
        raise GeometryError(
            f"A geometry can't be projected to {projection.crs.to_string()}.",
            expected="a place where that projection is defined",
            found=f"bounds {shape_of(geometry).bounds}",
        )
    return result


def pixel_bounds(shp: BaseGeometry) -> PixelBounds:
    """Bounds of a geometry in whole pixels, rounded to the nearest, never empty.

    Args:
        shp: Geometry in pixel coordinates.

    Raises:
        GeometryError: If the geometry is empty.
    """
    if shp.is_empty:
        raise GeometryError("An empty geometry has no bounds.")
    x0, y0, x1, y1 = (int(v) for v in np.rint(shp.bounds))
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def grid_indices(low: float, high: float, size: float) -> range:
    """Whole numbers i of the grid cells ``i*size .. (i+1)*size`` that an interval touches.

    Both ends are half-open in the way of a grid: an interval that ends on a line does not touch the cell
    beyond; one without extent touches one cell.

    Args:
        low: Start of the interval.
        high: End of the interval, at least ``low``.
        size: Cell size in the same unit, above 0.

    Example:
        >>> list(grid_indices(-0.5, 2.0, 1.0))
        [-1, 0, 1]
    """
    first = math.floor(low / size)
    return range(first, max(math.ceil(high / size), first + 1))


def wgs84_outlines(projection: Projection, boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.object_]:
    """Outlines of pixel boxes in degrees, one polygon a box.

    Corners only, as rslearn projects them. A box across the antimeridian has longitudes above 180°.

    Args:
        projection: Projection of the boxes.
        boxes: Shape (N, 4): x0, y0, x1, y1 in pixels.

    Returns:
        Array of N shapely polygons.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    x = boxes[:, [2, 2, 0, 0]] * projection.x_resolution
    y = boxes[:, [1, 3, 3, 1]] * projection.y_resolution
    if projection.crs != WGS84_PROJECTION.crs:
        lon, lat = _to_wgs84(projection.crs.to_wkt()).transform(x, y)
    else:
        lon, lat = x, y
    wide = np.ptp(lon, axis=1, keepdims=True) > _HALF_GLOBE
    lon = np.where(wide & (lon < 0), lon + 360, lon)
    rings = np.stack([lon, lat], axis=-1)
    return np.asarray(shapely.polygons(rings), dtype=object)


@functools.lru_cache(maxsize=512)
def _to_wgs84(crs_wkt: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(crs_wkt, "EPSG:4326", always_xy=True)


def footprints_touching(outlines: npt.NDArray[np.object_], area: list[BaseGeometry]) -> npt.NDArray[np.bool_]:
    """Which outlines touch any geometry of an area, through one spatial index.

    Args:
        outlines: Geometries in degrees, longitudes up to 540° where they cross the antimeridian.
        area: Geometries in degrees, of any type.

    Returns:
        Booleans, one an outline.
    """
    parts = np.asarray([shp for shp in area if not shp.is_empty], dtype=object)
    touched = np.zeros(len(outlines), dtype=bool)
    if not len(parts) or not len(outlines):
        return touched
    tree = shapely.STRtree(parts)
    for shift in (0.0, -360.0, 360.0):
        todo = ~touched & _overlaps_globe(outlines, shift, tree)
        if todo.any():
            moved = _shifted(outlines[todo], shift)
            hits = tree.query(moved, predicate="intersects")[0]
            touched[np.flatnonzero(todo)[np.unique(hits)]] = True
    return touched


def _shifted(outlines: npt.NDArray[np.object_], degrees: float) -> npt.NDArray[np.object_]:
    return np.asarray(shapely.transform(outlines, lambda xy: xy + np.array([degrees, 0])), dtype=object)


def _overlaps_globe(outlines: npt.NDArray[np.object_], shift: float, tree: shapely.STRtree) -> npt.NDArray[np.bool_]:
    bounds = shapely.bounds(outlines)
    west, _, east, _ = shapely.total_bounds(tree.geometries)
    return np.asarray((bounds[:, 0] + shift <= east) & (bounds[:, 2] + shift >= west))
