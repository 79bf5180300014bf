"""Annotation files as a report needs them: everything that can be read, and why the rest can't.

Window preparation stops at the first fault of a file. A report has to name them all, so that files are read feature by
feature here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any, cast
from uuid import UUID

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry

from olmoearth_nb.geometry import equal_area
from olmoearth_nb.globe import Shapes, project_all, shape_array, utm_projection_for, utm_ups_crs
from olmoearth_nb.labels.report.features import AnnotationRow, Refused, TaskRow, read_annotation_rows, read_task_rows
from olmoearth_nb.labels.tasks import AnnotationTasks
from olmoearth_nb.types import AnnotationTask, LabeledSTGeometry, shape_of

__all__ = ["LabelFacts", "read_facts"]

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class LabelFacts:
    """Tasks and annotations of a project.

    Attributes:
        tasks: ``feature`` (its number in the file), ``task_id``, ``start``, ``end``, ``geometry`` in degrees.
        annotations: ``feature``, ``task_id``, ``task`` (row of ``tasks``; -1 if there is no such task), ``fault`` (why
            a geometry had to be repaired, or empty), ``geometry`` in degrees; their index counts from 0.
        values: For each annotation the value of each label, NaN for null.
        refused: What can't be used: file, feature, sort of fault, words.
        resolution: Metres a pixel.
    """

    tasks: gpd.GeoDataFrame
    annotations: gpd.GeoDataFrame
    values: pd.DataFrame
    refused: tuple[Refused, ...]
    resolution: float

    @cached_property
    def shapes(self) -> Shapes:
        """Geometries of the annotations, degrees."""
        return shape_array(list(self.annotations.geometry))

    @cached_property
    def equal_area(self) -> Shapes:
        """Geometries of the annotations in metres of a projection that keeps areas."""
        return equal_area(self.shapes)

    @cached_property
    def projections(self) -> list[Projection]:
        """UTM/UPS projection of each annotation's centre, equal ones the same object."""
        found: dict[int, Projection] = {}
        projections = []
        for shape, (lon, lat) in zip(self.shapes, self.centres.tolist(), strict=True):
            crs = utm_ups_crs((lon + 180) % 360 - 180 if lon > 180 else lon, lat)
            if id(crs) not in found:
                found[id(crs)] = utm_projection_for(shape, self.resolution, -self.resolution)
            projections.append(found[id(crs)])
        return projections

    @cached_property
    def centres(self) -> Numbers:
        """Longitude and latitude of the middle of each annotation, (N, 2)."""
        return np.asarray(shapely.get_coordinates(shapely.centroid(self.shapes)), dtype=np.float64).reshape(-1, 2)

    @cached_property
    def pixels(self) -> Shapes:
        """Geometries of the annotations in pixels of their UTM/UPS zone."""
        return self._projected(self.shapes, self.projections)

    def task_pixels(self, rows: npt.NDArray[np.int64]) -> Shapes:
        """The areas of the tasks of some annotations, in pixels of the annotations' zones.

        Args:
            rows: Annotations whose task is known.
        """
        shapes = list(self.tasks.geometry)
        keys = [(int(task), id(self.projections[row])) for row, task in zip(rows, self.task[rows], strict=True)]
        first = dict(zip(keys, rows.tolist(), strict=True))
        made = self._projected(
            shape_array([shapes[task] for task, _ in first]), [self.projections[row] for row in first.values()]
        )
        place = {key: index for index, key in enumerate(first)}
        return made[[place[key] for key in keys]]

    @staticmethod
    def _projected(shapes: Shapes, projections: Sequence[Projection]) -> Shapes:
        moved = project_all([STGeometry(WGS84_PROJECTION, one, None) for one in shapes], projections)
        return shape_array([shape_of(one) for one in moved])

    @cached_property
    def task(self) -> npt.NDArray[np.int64]:
        """For each annotation the row of its task, or -1."""
        return self.annotations["task"].to_numpy(dtype=np.int64)

    @cached_property
    def task_seconds(self) -> Numbers:
        """Start and end of each task, seconds since 1970, (N, 2); NaN where they can't be read."""
        cells = [[_seconds(one) for one in self.tasks[name]] for name in ("start", "end")]
        return np.array(cells, dtype=np.float64).T.reshape(-1, 2)

    @cached_property
    def seconds(self) -> Numbers:
        """Start and end of each annotation's task, seconds since 1970, (N, 2); NaN where there is none."""
        return np.vstack([self.task_seconds, [np.nan, np.nan]])[self.task]

    def frame(self, rows: Any, **columns: Any) -> gpd.GeoDataFrame:
        """Some annotations as a table, with their labels.

        Args:
            rows: Which ones.
            columns: Further columns.
        """
        chosen = self.annotations.iloc[rows]
        labels = self.values.iloc[rows].add_prefix("label_")
        table = pd.concat([chosen[["feature", "task_id"]], labels], axis=1).assign(**columns).reset_index(drop=True)
        return gpd.GeoDataFrame(table, geometry=list(chosen.geometry), crs=4326)

    @cached_property
    def usable(self) -> AnnotationTasks:
        """What window preparation gets once everything that it refuses has been left out."""
        tasks = [
            AnnotationTask(
                task_id=UUID(task_id), task_st_geometry=STGeometry(WGS84_PROJECTION, shape, time), annotations=[]
            )
            for task_id, shape, time in zip(self.tasks["task_id"], self.tasks.geometry, self._times(), strict=True)
        ]
        names = [str(name) for name in self.values.columns]
        rows = zip(self.task.tolist(), self.shapes, self.values.to_numpy().tolist(), strict=True)
        for row, shape, values in rows:
            if row < 0:
                continue
            task = tasks[row]
            labels = {
                name: int(value) if value.is_integer() else value
                for name, value in zip(names, values, strict=True)
                if value == value
            }
            geometry = STGeometry(WGS84_PROJECTION, shape, task.task_st_geometry.time_range)
            task.annotations.append(LabeledSTGeometry(st_geometry=geometry, labels=labels))
        return AnnotationTasks(tasks=tasks)

    def _times(self) -> list[Any]:
        pairs = zip(self.tasks["start"], self.tasks["end"], strict=True)
        return [None if start is None or end is None else (start, end) for start, end in pairs]


def read_facts(
    tasks_path: str | PathLike[str],
    annotations_path: str | PathLike[str],
    *,
    label_property: str | None = None,
    resolution: float = 10.0,
) -> LabelFacts:
    """Reads annotation files; features that can't be used are named, not raised.

    Args:
        tasks_path: GeoJSON of the tasks.
        annotations_path: GeoJSON of the annotations.
        label_property: Name for the value of the older ``es_label``; ``label`` if None.
        resolution: Metres a pixel.

    Raises:
        InputFileError: If a file is missing or no GeoJSON.
    """
    tasks, refused_tasks = read_task_rows(tasks_path)
    annotations, refused = read_annotation_rows(annotations_path, label_property or "label")
    places = {row.task_id: index for index, row in enumerate(tasks)}
    names = sorted({name for row in annotations for name in row.labels})
    values = [[row.labels.get(name) for name in names] for row in annotations]
    return LabelFacts(
        tasks=_frame(
            tasks,
            {
                "feature": lambda row: row.feature,
                "task_id": lambda row: row.task_id,
                "start": lambda row: row.start,
                "end": lambda row: row.end,
            },
        ),
        annotations=_frame(
            annotations,
            {
                "feature": lambda row: row.feature,
                "task_id": lambda row: row.task_id,
                "task": lambda row: places.get(row.task_id, -1),
                "fault": lambda row: row.fault,
            },
        ),
        values=pd.DataFrame(np.array(values, dtype=np.float64).reshape(len(annotations), len(names)), columns=names),
        refused=(*refused_tasks, *refused),
        resolution=resolution,
    )


def _frame(rows: Sequence[Any], columns: dict[str, Callable[[Any], object]]) -> gpd.GeoDataFrame:
    data = {name: pd.Series([cell(row) for row in rows], dtype=object) for name, cell in columns.items()}
    for name in ("feature", "task"):
        if name in data:
            data[name] = data[name].astype(np.int64)
    return gpd.GeoDataFrame(data, geometry=[cast(TaskRow | AnnotationRow, row).shape for row in rows], crs=4326)


def _seconds(time: Any) -> float:
    return float("nan") if time is None else float(time.timestamp())
