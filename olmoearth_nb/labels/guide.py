"""Helpers that OlmoEarth Run has for window preparers, under its names.

Preparers of people's own import them under their old paths; see :mod:`olmoearth_nb.config.aliases`. A pixel is the one
that contains a point, and bounds are rounded as those of a :class:`LabeledWindow` are, on both sides of 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import rasterio.features
import shapely
from rasterio.crs import CRS
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import GeometryError
from olmoearth_nb.geometry import project, utm_projection_for
from olmoearth_nb.labels.rasterize import label_names
from olmoearth_nb.types import LabeledSTGeometry, RasterLabel, TimeRange, shape_of

__all__ = [
    "DEFAULT_NODATA_VALUE",
    "BoxBounds",
    "InconsistentUtmZoneError",
    "compute_window_bounds",
    "create_raster_labels_from_annotations",
    "create_window_geometry_from_point",
    "get_utm_crs_for_geometry",
    "project_geometry_to_crs",
    "rasterize_shapes_to_mask",
    "transform_geometries_to_pixel_coordinates",
]

DEFAULT_NODATA_VALUE = 255

Shapes = Sequence[tuple[BaseGeometry, int | float]]


class InconsistentUtmZoneError(GeometryError, ValueError):
    """The corners of a geometry lie in several UTM zones."""


class BoxBounds(NamedTuple):
    """Whole pixels, half-open; a plain tuple too, as in releases before 0.1."""

    minx: int
    miny: int
    maxx: int
    maxy: int

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.maxx - self.minx

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.maxy - self.miny

    def as_tuple(self) -> tuple[int, int, int, int]:
        """The four numbers."""
        return self.minx, self.miny, self.maxx, self.maxy


def project_geometry_to_crs(geometry: BaseGeometry, window_resolution: float, crs: Any) -> STGeometry:
    """A geometry in degrees, in pixels of a projection.

    Args:
        geometry: In WGS84.
        window_resolution: CRS units per pixel.
        crs: What rasterio takes for one.
    """
    target = Projection(CRS.from_user_input(crs), window_resolution, -window_resolution)
    return project(STGeometry(WGS84_PROJECTION, geometry, None), target)


def get_utm_crs_for_geometry(geometry: BaseGeometry, enforce_consistent: bool = False) -> Any:
    """The UTM or UPS zone of a geometry's centroid.

    Args:
        geometry: In WGS84.
        enforce_consistent: Refuse it if the corners of its bounds lie in several zones.

    Raises:
        InconsistentUtmZoneError: If they do.
    """
    crs = utm_projection_for(geometry, 1, -1).crs
    if enforce_consistent:
        west, south, east, north = geometry.bounds
        corners = (shapely.Point(x, y) for x in (west, east) for y in (south, north))
        others = {str(utm_projection_for(corner, 1, -1).crs) for corner in corners}
        if len(others) > 1:
            raise InconsistentUtmZoneError(
                "A geometry lies in several UTM zones.", expected="one", found=", ".join(sorted(others))
            )
    return crs


def compute_window_bounds(window_geometry: STGeometry) -> BoxBounds:
    """The bounds that a window of this extent has.

    Args:
        window_geometry: In pixels.
    """
    x0, y0, x1, y1 = (math.floor(value + 0.5) for value in shape_of(window_geometry).bounds)
    return BoxBounds(x0, y0, x1, y1)


def create_window_geometry_from_point(
    projected_point: STGeometry, window_buffer: int, time_range: TimeRange | None
) -> STGeometry:
    """The square of 2 * buffer + 1 pixels around the pixel that contains a point.

    Args:
        projected_point: In pixels.
        window_buffer: Pixels on each side.
        time_range: Of the window.
    """
    point = shape_of(projected_point).centroid
    x, y = math.floor(point.x), math.floor(point.y)
    box = shapely.box(x - window_buffer, y - window_buffer, x + window_buffer + 1, y + window_buffer + 1)
    return STGeometry(projected_point.projection, box, time_range)


def create_raster_labels_from_annotations(
    annotations: Sequence[LabeledSTGeometry],
    window_bounds: tuple[int, int, int, int],
    window_resolution: float,
    crs: Any,
    dtype: npt.DTypeLike = np.uint8,
    nodata_value: int = DEFAULT_NODATA_VALUE,
) -> list[RasterLabel]:
    """Annotations burnt into one raster a label name, later ones over earlier ones.

    Args:
        annotations: In WGS84.
        window_bounds: Extent of the rasters, whole pixels.
        window_resolution: CRS units per pixel.
        crs: Of the window.
        dtype: Of the rasters.
        nodata_value: Of pixels without an annotation; null labels are left out.
    """
    shapes = [
        shape_of(project_geometry_to_crs(shape_of(one.st_geometry), window_resolution, crs)) for one in annotations
    ]
    x0, y0, x1, y1 = window_bounds
    labels = []
    for key in label_names(annotations):
        values = [one.labels.get(key) for one in annotations]
        burnt = [(shape, value) for shape, value in zip(shapes, values, strict=True) if value is not None]
        moved = transform_geometries_to_pixel_coordinates(burnt, window_bounds)
        mask = rasterize_shapes_to_mask(x1 - x0, y1 - y0, moved, nodata_value, dtype)
        labels.append(RasterLabel(key=key, value=mask))
    return labels


def transform_geometries_to_pixel_coordinates(
    geometries: Shapes, window_bounds: tuple[int, int, int, int]
) -> list[tuple[BaseGeometry, int | float]]:
    """Geometries with their values, counted from a window's upper left corner.

    Args:
        geometries: In pixels of the projection.
        window_bounds: Of the window.
    """
    corner = tuple(window_bounds)[:2]
    return [(shapely.transform(shape, lambda xy: xy - corner), value) for shape, value in geometries]


def rasterize_shapes_to_mask(
    width: int,
    height: int,
    shape_labels: Shapes,
    nodata_value: int = DEFAULT_NODATA_VALUE,
    dtype: npt.DTypeLike = np.uint8,
) -> npt.NDArray[Any]:
    """Geometries with their values burnt into an array of shape (H, W), later ones over earlier ones.

    Args:
        width: Number of columns.
        height: Number of rows.
        shape_labels: Geometries, counted in pixels from the upper left corner, with the value of each.
        nodata_value: Of pixels that none covers.
        dtype: Of the array.
    """
    there = [(shape, value) for shape, value in shape_labels if not shape.is_empty]
    if not there:
        return np.full((height, width), nodata_value, dtype=dtype)
    burnt: npt.NDArray[Any] = rasterio.features.rasterize(
        there, out_shape=(height, width), fill=nodata_value, dtype=np.dtype(dtype)
    )
    return burnt
