"""Windows around annotated points: one pixel each, or a square with the label in its middle pixel.

The pixel of a point is the one that contains it (floor), on both sides of the equator and of a zone's origin.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import shapely
from rslearn.utils.geometry import Projection, STGeometry

from olmoearth_nb.errors import InputFileError
from olmoearth_nb.geometry import WGS84_PROJECTION, project, utm_ups_crs
from olmoearth_nb.labels.rasterize import (
    check_nodata,
    check_resolution,
    check_value,
    label_names,
    resolve_dtype,
    whole_number,
)
from olmoearth_nb.types import AnnotationTask, LabeledSTGeometry, LabeledWindow, RasterLabel, shape_of

if TYPE_CHECKING:
    from shapely.geometry import Point

__all__ = ["PointToPixelWindowPreparer", "PointToRasterWindowPreparer"]


class PointToPixelWindowPreparer:
    """One window of a single pixel for each annotated point, with a vector label.

    The label's geometry is the pixel's column and row, that is its north-western corner; the values are those of the
    annotation.

    Args:
        window_resolution: Metres per pixel in the UTM/UPS zone of the point.

    Raises:
        ConfigError: If the resolution is not above 0.

    Example:
        >>> PointToPixelWindowPreparer(window_resolution=10.0).window_resolution
        10.0
    """

    def __init__(self, window_resolution: float = 10.0) -> None:
        self.window_resolution = check_resolution(window_resolution, where=f"{type(self).__name__}.window_resolution")

    def prepare_labeled_windows(self, annotation_task: AnnotationTask) -> list[LabeledWindow[list[LabeledSTGeometry]]]:
        """Windows of a task, one a point; none if it has no annotations.

        Args:
            annotation_task: A task whose annotations are points.

        Raises:
            InputFileError: If an annotation is not a point.
        """
        return [self._window(annotation_task, index) for index in range(len(annotation_task.annotations))]

    def _window(self, task: AnnotationTask, index: int) -> LabeledWindow[list[LabeledSTGeometry]]:
        annotation = task.annotations[index]
        point = _point_of(annotation, where=_where(task, index))
        projection, x, y = _pixel_of(point, self.window_resolution)
        time_range = task.task_st_geometry.time_range
        label = STGeometry(projection, shapely.Point(x, y), time_range)
        return LabeledWindow(
            name=f"task_{task.task_id}_annotation_{index}_point_{point.x}_{point.y}",
            st_geometry=STGeometry(projection, shapely.box(x, y, x + 1, y + 1), time_range),
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
        return [self._window(annotation_task, index, names) for index in range(len(annotation_task.annotations))]

    def _window(self, task: AnnotationTask, index: int, names: list[str]) -> LabeledWindow[list[RasterLabel]]:
        where = _where(task, index)
        point = _point_of(task.annotations[index], where=where)
        projection, x, y = _pixel_of(point, self.window_resolution)
        buffer = self.window_buffer
        box = shapely.box(x - buffer, y - buffer, x + buffer + 1, y + buffer + 1)
        return LabeledWindow(
            name=f"task_{task.task_id}_point_{index}",
            st_geometry=STGeometry(projection, box, task.task_st_geometry.time_range),
            labels=[self._band(name, task.annotations[index].labels.get(name), where) for name in names],
        )

    def _band(self, name: str, value: float | None, where: str) -> RasterLabel:
        size = 2 * self.window_buffer + 1
        array = np.full((size, size), self.nodata_value, dtype=self.dtype)
        if value is not None:
            check_value(value, self.dtype, self.nodata_value, where=f"{where}, label {name!r}")
            array[self.window_buffer, self.window_buffer] = value
        return RasterLabel(key=name, value=array)


def _where(task: AnnotationTask, index: int) -> str:
    return f"task {task.task_id}, annotation {index}"


def _point_of(annotation: LabeledSTGeometry, *, where: str) -> Point:
    shp = shape_of(annotation.st_geometry)
    if not isinstance(shp, shapely.Point) or shp.is_empty:
        raise InputFileError(
            "This window preparer makes windows around points.",
            where=where,
            expected="a Point",
            found="an empty Point" if shp.is_empty else f"a {shp.geom_type}",
            fix="Use PolygonToRasterWindowPreparer for polygons, or annotate single points.",
        )
    return shp


def _pixel_of(point: Point, resolution: float) -> tuple[Projection, int, int]:
    projection = Projection(utm_ups_crs(point.x, point.y), resolution, -resolution)
    x, y = shape_of(project(STGeometry(WGS84_PROJECTION, point, None), projection)).bounds[:2]
    return projection, math.floor(x), math.floor(y)
