"""Windows around annotated points: one pixel each, or a square with the label in its middle pixel.

The pixel of a point is the one that contains it (floor), on both sides of the equator and of a zone's origin.
"""

from __future__ import annotations

import math
import uuid
from typing import NamedTuple

import numpy as np
import shapely
from rslearn.utils.geometry import Projection, STGeometry
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import InputFileError
from olmoearth_nb.globe import project_places, shape_array, utm_projection_at
from olmoearth_nb.labels.rasterize import (
    check_nodata,
    check_resolution,
    check_value,
    label_names,
    resolve_dtype,
    whole_number,
)
from olmoearth_nb.types import AnnotationTask, LabeledSTGeometry, LabeledWindow, RasterLabel, shape_of

__all__ = ["PointToPixelWindowPreparer", "PointToRasterWindowPreparer"]


class _Pixel(NamedTuple):
    projection: Projection
    x: int
    y: int


class PointToPixelWindowPreparer:
    """One window of a single pixel for each annotated point, with a vector label.

    The label's geometry is the pixel's column and row, that is its north-western corner; the values are those of the
    annotation.

    Args:
        window_resolution: Metres per pixel in the UTM/UPS zone of the point.
        window_buffer: Pixels on each side of the point's pixel that belong to the window too: it is then
            ``2 * window_buffer + 1`` pixels wide. 0 is what olmoearth-runner has.

    Raises:
        ConfigError: If the resolution is not above 0, or the buffer below it.

    Example:
        >>> PointToPixelWindowPreparer(window_resolution=10.0).window_resolution
        10.0
    """

    def __init__(self, window_resolution: float = 10.0, window_buffer: int = 0) -> None:
        name = type(self).__name__
        self.window_resolution = check_resolution(window_resolution, where=f"{name}.window_resolution")
        self.window_buffer = whole_number(window_buffer, where=f"{name}.window_buffer", at_least=0)

    def prepare_labeled_windows(self, annotation_task: AnnotationTask) -> list[LabeledWindow[list[LabeledSTGeometry]]]:
        """Windows of a task, one a point; none if it has no annotations.

        Args:
            annotation_task: A task whose annotations are points.

        Raises:
            InputFileError: If an annotation is not a point.
        """
        pixels = _pixels(annotation_task, self.window_resolution)
        return [self._window(annotation_task, index, pixel) for index, pixel in enumerate(pixels)]

    def window_name(self, task_id: uuid.UUID, index: int, lon: float, lat: float) -> str:
        """Name of the window of a point.

        Args:
            task_id: Id of its task.
            index: Its number in the task.
            lon: Degrees.
            lat: Degrees.
        """
        return f"task_{task_id}_annotation_{index}_point_{lon}_{lat}"

    def _window(self, task: AnnotationTask, index: int, pixel: _Pixel) -> LabeledWindow[list[LabeledSTGeometry]]:
        annotation = task.annotations[index]
        lon, lat = shape_of(annotation.st_geometry).bounds[:2]
        time_range = task.task_st_geometry.time_range
        before, after = self.window_buffer, self.window_buffer + 1
        box = shapely.box(pixel.x - before, pixel.y - before, pixel.x + after, pixel.y + after)
        label = STGeometry(pixel.projection, shapely.Point(pixel.x, pixel.y), time_range)
        return LabeledWindow(
            name=self.window_name(task.task_id, index, lon, lat),
            st_geometry=STGeometry(pixel.projection, box, time_range),
            labels=[LabeledSTGeometry(st_geometry=label, labels=annotation.labels)],
        )


class PointToRasterWindowPreparer:
    """One square window for each annotated point, with its labels in the middle pixel of a raster.

    There is a band for each label name of the task, in alphabetical order; a null label leaves its band empty. Other
    points of the task that lie in the window have windows of their own.

    Args:
        window_buffer: Pixels on each side of the point's pixel: windows are ``2 * window_buffer + 1`` pixels wide.
        window_resolution: Metres per pixel in the UTM/UPS zone of the point.
        dtype: Type of the rasters, a data type of rslearn in any case (``INT32``, ``float32``).
        nodata_value: Value of all other pixels.

    Raises:
        ConfigError: If an argument is out of range or ``nodata_value`` does not fit ``dtype``.

    Example:
        >>> PointToRasterWindowPreparer(window_buffer=31, dtype="INT32", nodata_value=9).dtype.name
        'int32'
    """

    def __init__(
        self,
        window_buffer: int,
        window_resolution: float = 10.0,
        dtype: str = "uint8",
        nodata_value: float = 255,
    ) -> None:
        name = type(self).__name__
        self.window_buffer = whole_number(window_buffer, where=f"{name}.window_buffer", at_least=0)
        self.window_resolution = check_resolution(window_resolution, where=f"{name}.window_resolution")
        self.dtype = resolve_dtype(dtype, where=f"{name}.dtype")
        self.nodata_value = check_nodata(nodata_value, self.dtype, where=f"{name}.nodata_value")

    def prepare_labeled_windows(self, annotation_task: AnnotationTask) -> list[LabeledWindow[list[RasterLabel]]]:
        """Windows of a task, one a point; none if it has no annotations.

        Args:
            annotation_task: A task whose annotations are points.

        Raises:
            InputFileError: If an annotation is not a point, or a value does not fit the raster.
        """
        names = label_names(annotation_task.annotations)
        pixels = _pixels(annotation_task, self.window_resolution)
        return [self._window(annotation_task, index, pixel, names) for index, pixel in enumerate(pixels)]

    def window_name(self, task_id: uuid.UUID, index: int, *_place: float) -> str:
        """Name of the window of a point.

        Args:
            task_id: Id of its task.
            index: Its number in the task.
        """
        return f"task_{task_id}_point_{index}"

    def _window(
        self, task: AnnotationTask, index: int, pixel: _Pixel, names: list[str]
    ) -> LabeledWindow[list[RasterLabel]]:
        before, after = self.window_buffer, self.window_buffer + 1
        box = shapely.box(pixel.x - before, pixel.y - before, pixel.x + after, pixel.y + after)
        return LabeledWindow(
            name=self.window_name(task.task_id, index),
            st_geometry=STGeometry(pixel.projection, box, task.task_st_geometry.time_range),
            labels=[self._band(name, task.annotations[index].labels.get(name), _where(task, index)) for name in names],
        )

    def _band(self, name: str, value: float | None, where: str) -> RasterLabel:
        size = 2 * self.window_buffer + 1
        array = np.full((size, size), self.nodata_value, dtype=self.dtype)
        if value is not None:
            check_value(value, self.dtype, where=f"{where}, label {name!r}")
            array[self.window_buffer, self.window_buffer] = value
        return RasterLabel(key=name, value=array)


def _where(task: AnnotationTask, index: int) -> str:
    return f"task {task.task_id}, annotation {index}"


def _pixels(task: AnnotationTask, resolution: float) -> list[_Pixel]:
    """The pixel that contains each annotation, in the zone of each (a task may lie in several)."""
    geometries = [annotation.st_geometry for annotation in task.annotations]
    for index, geometry in enumerate(geometries):
        _check_point(shape_of(geometry), where=_where(task, index))
    lonlat = shapely.get_coordinates(shape_array([shape_of(geometry) for geometry in geometries]))
    projections = [utm_projection_at(lon, lat, resolution, -resolution) for lon, lat in lonlat.tolist()]
    return [
        _Pixel(projection, math.floor(x), math.floor(y))
        for projection, (x, y) in zip(projections, project_places(lonlat, projections).tolist(), strict=True)
    ]


def _check_point(shp: BaseGeometry, *, where: str) -> None:
    if shp.geom_type != "Point" or shp.is_empty:
        raise InputFileError(
            "This window preparer makes windows around points.",
            where=where,
            expected="a Point",
            found="an empty Point" if shp.geom_type == "Point" else f"a {shp.geom_type}",
            fix="Use PolygonToRasterWindowPreparer for polygons, or annotate single points.",
        )
