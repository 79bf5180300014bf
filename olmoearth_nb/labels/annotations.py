"""Annotation files from any vector file: the two GeoJSON files that window preparation reads."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias, cast

import geopandas as gpd
import pandas as pd
import shapely
from pyproj import CRS
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import InputFileError, UsageError
from olmoearth_nb.geojson import (
    AnnotationCollection,
    AnnotationFeature,
    AnnotationProperties,
    TaskCollection,
    TaskFeature,
    write_collection,
)
from olmoearth_nb.labels.areas import TaskArea, drawn_areas, envelopes, group_envelopes, squares
from olmoearth_nb.labels.classes import class_numbers, plain_value
from olmoearth_nb.labels.rasterize import check_resolution, whole_number
from olmoearth_nb.labels.shapes import repaired
from olmoearth_nb.labels.sources import column_shapes, in_wgs84, name_of, read_vector, require_column
from olmoearth_nb.lonlat import normalise_lonlat
from olmoearth_nb.many import rarely_collected
from olmoearth_nb.tables import html_table, text_table
from olmoearth_nb.types import TimeRange

__all__ = ["ANNOTATIONS_NAME", "TASKS_NAME", "AnnotationFiles", "make_annotations", "time_range_of"]

TASKS_NAME = "annotation_task_features.geojson"
ANNOTATIONS_NAME = "annotation_features.geojson"

Moment: TypeAlias = datetime | date | str
"""ISO 8601 or a datetime; UTC if it has no zone."""

# Ids of tasks are hashes below this one, so that the same content has the same id everywhere.
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_OID, "olmoearth_nb annotation task")
_COLUMNS = ("label", "value", "annotations")
_MOST_SHOWN = 40


@dataclass(frozen=True, kw_only=True, repr=False)
class AnnotationFiles:
    """A pair of annotation files that was written; shows itself as a table of the classes.

    Attributes:
        tasks_path: The tasks.
        annotations_path: The annotations.
        label_name: Name of the label in ``oe_labels``.
        task_count: Number of tasks.
        annotation_count: Number of annotations.
        class_values: Class name -> value; empty if the class column has numbers.
        counts: Value -> number of annotations, ascending.
        left_out: Reason -> number of features that were left out for it.
    """

    tasks_path: Path
    annotations_path: Path
    label_name: str
    task_count: int
    annotation_count: int
    class_values: dict[str, int | float]
    counts: dict[int | float, int]
    left_out: dict[str, int]

    def _rows(self) -> list[tuple[str, object, int]]:
        names: dict[int | float, list[str]] = {}
        for name, value in self.class_values.items():
            names.setdefault(value, []).append(name)
        if len(self.counts) > _MOST_SHOWN:
            return [(self.label_name, f"{min(self.counts)} … {max(self.counts)}", self.annotation_count)]
        return [(", ".join(names.get(value, [self.label_name])), value, n) for value, n in self.counts.items()]

    def _summary(self) -> str:
        left_out = "".join(f", {count} left out ({reason})" for reason, count in self.left_out.items())
        return (
            f"{self.annotation_count} annotations in {self.task_count} tasks{left_out}; "
            f"{self.annotations_path.name} and {self.tasks_path.name} in {self.tasks_path.parent}"
        )

    def __repr__(self) -> str:
        return text_table(_COLUMNS, self._rows(), caption=self._summary())

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, self._rows(), caption=self._summary())


@rarely_collected()
def make_annotations(
    source: str | PathLike[str] | gpd.GeoDataFrame,
    out_dir: str | PathLike[str],
    *,
    class_column: str,
    start_time: Moment | pd.Series[Any],
    end_time: Moment | pd.Series[Any],
    task_column: str | None = None,
    task_size_pixels: int | None = None,
    resolution: float = 10.0,
    label_name: str = "label",
    class_values: Mapping[Any, int | float] | None = None,
    layer: str | None = None,
    crs: str | int | CRS | None = None,
) -> AnnotationFiles:
    """Writes tasks and annotations for window preparation from any vector file.

    Every feature becomes an annotation (a MultiPoint one for each of its points). What its task is:

    - ``task_column`` names a geometry column (or one of WKT text): its polygon; features with the same polygon share a
      task.
    - ``task_column`` names another column: features with the same value share a task, whose area is the envelope of
      them all.
    - ``task_size_pixels``: a square of that many pixels around the feature's centroid.
    - neither: the feature's own envelope, one pixel for a point.

    Envelopes and squares are whole pixels in the UTM/UPS zone of their centre, so that PolygonToRasterWindowPreparer
    makes windows of exactly these pixels; those that are the same are one task. Windows around points (the other
    preparers) need no area: there any choice does. Ids of tasks are hashes of their content: the same input gives the
    same files, byte by byte. Existing files of the two names are replaced.

    Args:
        source: Vector file in any CRS (GeoJSON, GeoPackage, Shapefile, zipped or not, GeoParquet) or a GeoDataFrame.
        out_dir: Folder for ``annotation_task_features.geojson`` and ``annotation_features.geojson``.
        class_column: Column of the classes or measurements. Numbers are kept, names get 0, 1, 2 … in sorted order.
        start_time: Start of the time of all tasks: ISO 8601 or a datetime; UTC if it has no zone. Or a series with one
            for each feature: features of the same area and time share a task.
        end_time: End of the time of all tasks, or of each feature.
        task_column: Column of the tasks.
        task_size_pixels: Width and height of the tasks, pixels.
        resolution: Metres per pixel of the windows to come.
        label_name: Name of the label in ``oe_labels``.
        class_values: Class -> value, if the values shall be others; has to have every class.
        layer: Layer of a file that has several.
        crs: CRS of a source that does not say which it has.

    Returns:
        What was written, and what was left out: features without geometry, class or task.

    Raises:
        InputFileError: If the source is missing or not readable, or a row of it can't be used.
        MissingDependencyError: If it is GeoParquet and pyarrow is not installed.
        StorageError: If the folder can't be written.
        UsageError: If arguments contradict each other.
    """
    _check_arguments(task_column, task_size_pixels, resolution)
    where = name_of(source)
    frame = read_vector(source, layer=layer, crs=crs)
    times = _times(start_time, end_time, len(frame))
    require_column(frame, class_column, role="class_column", where=where)
    values, names = class_numbers(frame[class_column], class_values, where=f"{where}, column {class_column!r}")
    shapes = _lonlat_shapes(frame.geometry, where)
    used = [None if value is None else shp for shp, value in zip(shapes, values, strict=True)]
    if task_size_pixels is not None:
        areas = squares(used, size=task_size_pixels, resolution=resolution, where=where)
    elif task_column is None:
        areas = envelopes(used, resolution=resolution, where=where)
    else:
        areas = _areas_of_column(frame, used, task_column, resolution, where)
    left_out = _left_out(shapes, used, areas)
    rows = [row for row in zip(areas, used, values, times, strict=True) if row[0] is not None and row[1] is not None]
    if not rows:
        found = ", ".join(f"{count} with {reason}" for reason, count in left_out.items()) or "no features at all"
        raise InputFileError("No feature can be used.", where=where, found=found)
    tasks, annotations = _collections(rows, label_name)
    out = Path(out_dir)
    write_collection(out / TASKS_NAME, tasks)
    write_collection(out / ANNOTATIONS_NAME, annotations)
    return AnnotationFiles(
        tasks_path=out / TASKS_NAME,
        annotations_path=out / ANNOTATIONS_NAME,
        label_name=label_name,
        task_count=len(tasks.features),
        annotation_count=len(annotations.features),
        class_values=names,
        counts=_counts(annotations, label_name),
        left_out=left_out,
    )


def _check_arguments(task_column: str | None, task_size_pixels: int | None, resolution: float) -> None:
    if task_column is not None and task_size_pixels is not None:
        raise UsageError("Tasks are made from a column or as squares, not both.", where="task_column, task_size_pixels")
    check_resolution(resolution, where="resolution", error=UsageError)
    if task_size_pixels is not None:
        whole_number(task_size_pixels, where="task_size_pixels", at_least=1, error=UsageError)


def _times(start: Moment | pd.Series[Any], end: Moment | pd.Series[Any], count: int) -> list[TimeRange]:
    """The time range of each feature."""
    if not isinstance(start, pd.Series) and not isinstance(end, pd.Series):
        return [time_range_of(start, end)] * count
    columns = [[*one] if isinstance(one, pd.Series) else [one] * count for one in (start, end)]
    if any(len(column) != count for column in columns):
        raise UsageError(
            "A series of times has one for each feature.",
            where="start_time, end_time",
            expected=f"{count} times",
            found=" and ".join(str(len(column)) for column in columns),
        )
    return [time_range_of(*pair) for pair in zip(*columns, strict=True)]


def time_range_of(start: Moment, end: Moment) -> TimeRange:
    """A time range that somebody gave, in UTC.

    Args:
        start: ISO 8601 or a datetime; UTC if it has no zone.
        end: The same.

    Raises:
        UsageError: If one is no time, or it ends before it starts.
    """
    times = _time(start, "start_time"), _time(end, "end_time")
    if times[0] > times[1]:
        raise UsageError(
            "The time range ends before it starts.",
            where="start_time, end_time",
            expected="start_time not after end_time",
            found=f"{times[0].isoformat()} and {times[1].isoformat()}",
        )
    return times


def _time(value: Moment, where: str) -> datetime:
    try:
        parsed = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError as error:
        raise UsageError(
            "Not a time.",
            where=where,
            expected="ISO 8601, such as 2024-02-24 or 2024-02-24T05:57:00Z",
            found=repr(value),
        ) from error
    if not isinstance(parsed, datetime):
        parsed = datetime.combine(parsed, time())
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def _lonlat_shapes(geometries: gpd.GeoSeries, where: str) -> list[BaseGeometry | None]:
    """Valid shapes in degrees, cut at the antimeridian, without heights; None where there is no geometry."""
    shapes: list[BaseGeometry | None] = []
    for row, shp in enumerate(in_wgs84(geometries, where=where)):
        if shp is None or shp.is_empty:
            shapes.append(None)
            continue
        if isinstance(shp, shapely.LinearRing):
            shp = shapely.LineString(shp)  # GeoJSON has none
        place = f"{where}, row {row}"
        shapes.append(repaired(normalise_lonlat(shapely.force_2d(shp), place), where=place))
    return shapes


def _areas_of_column(
    frame: gpd.GeoDataFrame, used: Sequence[BaseGeometry | None], column: str, resolution: float, where: str
) -> list[TaskArea | None]:
    require_column(frame, column, role="task_column", where=where)
    drawn = column_shapes(frame, column, where=where)
    if drawn is not None:
        shapes = [None if shp is None else area for shp, area in zip(used, drawn, strict=True)]
        return drawn_areas(shapes, where=f"{where}, column {column!r}")
    values = [plain_value(cell) for cell in frame[column]]
    groups = [None if value is None else str(value) for value in values]
    return group_envelopes(used, groups, resolution=resolution, where=where)


def _left_out(
    shapes: Sequence[BaseGeometry | None], used: Sequence[BaseGeometry | None], areas: Sequence[TaskArea | None]
) -> dict[str, int]:
    counts = {
        "no geometry": sum(shp is None for shp in shapes),
        "no class": sum(shp is not None and use is None for shp, use in zip(shapes, used, strict=True)),
        "no task": sum(use is not None and area is None for use, area in zip(used, areas, strict=True)),
    }
    return {reason: count for reason, count in counts.items() if count}


def _collections(
    rows: Iterable[tuple[Any, Any, Any, TimeRange]], label_name: str
) -> tuple[TaskCollection, AnnotationCollection]:
    tasks: dict[uuid.UUID, TaskFeature] = {}
    annotations = []
    for area, shp, value, time_range in rows:
        start, end = (moment.isoformat() for moment in time_range)
        task_id = uuid.uuid5(_NAMESPACE, json.dumps([area.key, start, end]))
        identity = {"oe_annotations_task_id": task_id}
        if task_id not in tasks:
            times = {"oe_start_time": start, "oe_end_time": end}
            tasks[task_id] = TaskFeature.model_validate(_feature(area.shp, identity | times))
        properties = identity | {"oe_labels": {label_name: value}}
        # Window preparers for points take single points; many programs write MultiPoints of one point.
        parts = shapely.get_parts(shp) if shp.geom_type == "MultiPoint" else [shp]
        annotations += [AnnotationFeature.model_validate(_feature(part, properties)) for part in parts]
    return (
        TaskCollection(type="FeatureCollection", features=list(tasks.values())),
        AnnotationCollection(type="FeatureCollection", features=annotations),
    )


def _feature(shp: BaseGeometry, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": mapping(shp), "properties": properties}


def _counts(annotations: AnnotationCollection, label_name: str) -> dict[int | float, int]:
    values = [cast(AnnotationProperties, feature.properties).oe_labels[label_name] for feature in annotations.features]
    return dict(sorted(Counter(value for value in values if value is not None).items()))
