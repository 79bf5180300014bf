"""Read exported annotations: tasks with everything that was labelled in them."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import cast

from rslearn.utils.geometry import WGS84_PROJECTION, STGeometry

from olmoearth_nb.errors import InputFileError
from olmoearth_nb.geojson import (
    AnnotationCollection,
    AnnotationProperties,
    TaskCollection,
    TaskProperties,
    feature_shape,
    read_annotation_features,
    read_task_features,
)
from olmoearth_nb.labels.shapes import repaired
from olmoearth_nb.tables import html_table, text_table
from olmoearth_nb.types import AnnotationTask, LabeledSTGeometry

__all__ = ["AnnotationTasks", "read_annotation_tasks"]

_COLUMNS = ("annotations", "number", "note")
_SHOWN_IDS = 5


@dataclass(frozen=True, kw_only=True, repr=False)
class AnnotationTasks:
    """What a pair of annotation files holds; shows itself as a table.

    Attributes:
        tasks: Tasks in the order of the file, each with its annotations in the order of theirs.
        unknown_tasks: Ids that annotations name and no task has -> number of those annotations; they are left out.
    """

    tasks: list[AnnotationTask]
    unknown_tasks: dict[uuid.UUID, int] = field(default_factory=dict)

    @property
    def task_count(self) -> int:
        """Number of tasks."""
        return len(self.tasks)

    @property
    def annotation_count(self) -> int:
        """Number of annotations that belong to a task."""
        return sum(len(task.annotations) for task in self.tasks)

    @property
    def left_out_count(self) -> int:
        """Number of annotations that are left out because their task is unknown."""
        return sum(self.unknown_tasks.values())

    @property
    def empty_tasks(self) -> list[uuid.UUID]:
        """Ids of the tasks without annotations; they give no windows."""
        return [task.task_id for task in self.tasks if not task.annotations]

    @property
    def label_counts(self) -> dict[str, int]:
        """Label name -> number of annotations with a value for it, in alphabetical order."""
        counts = Counter(
            name
            for task in self.tasks
            for annotation in task.annotations
            for name, value in annotation.labels.items()
            if value is not None
        )
        return dict(sorted(counts.items()))

    def _rows(self) -> list[tuple[str, int, str]]:
        rows = [("tasks", self.task_count, ""), ("annotations", self.annotation_count, "")]
        rows += [(f"label {name}", count, "") for name, count in self.label_counts.items()]
        if self.empty_tasks:
            rows.append(("tasks without annotations", len(self.empty_tasks), _shown(self.empty_tasks)))
        if self.unknown_tasks:
            note = f"their task is unknown: {_shown(list(self.unknown_tasks))}"
            rows.append(("annotations left out", self.left_out_count, note))
        return rows

    def __repr__(self) -> str:
        return text_table(_COLUMNS, self._rows())

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, self._rows())


def read_annotation_tasks(
    tasks_path: str | PathLike[str],
    annotations_path: str | PathLike[str],
    *,
    label_property: str | None = None,
) -> AnnotationTasks:
    """Reads annotation tasks and puts every annotation to its task.

    An annotation takes its task's time range. Self-intersecting polygons are repaired.

    Args:
        tasks_path: GeoJSON of the tasks (``annotation_task_features.geojson``).
        annotations_path: GeoJSON of the annotations (``annotation_features.geojson``).
        label_property: Name for the value of the older ``es_label``; ``label`` if None.

    Returns:
        The tasks, and which annotations were left out because no task has their id.

    Raises:
        InputFileError: If a file is missing or malformed, two tasks have the same id, or a polygon has no area.
    """
    tasks = _tasks_by_id(read_task_features(tasks_path), tasks_path)
    unknown = _add_annotations(
        tasks, read_annotation_features(annotations_path, label_property=label_property), annotations_path
    )
    return AnnotationTasks(tasks=list(tasks.values()), unknown_tasks=unknown)


def _tasks_by_id(collection: TaskCollection, path: str | PathLike[str]) -> dict[uuid.UUID, AnnotationTask]:
    tasks: dict[uuid.UUID, AnnotationTask] = {}
    indices: dict[uuid.UUID, int] = {}
    name = str(Path(path))
    for index, feature in enumerate(collection.features):
        properties = cast(TaskProperties, feature.properties)
        task_id = properties.oe_annotations_task_id
        where = f"{name}: features[{index}]"
        if task_id in tasks:
            raise InputFileError(
                "Two tasks have the same id.",
                where=f"{where}.properties.oe_annotations_task_id",
                expected="an id of its own for each task",
                found=f"{task_id}, which features[{indices[task_id]}] has too",
                fix="Remove one of them, or make one MultiPolygon of both.",
            )
        shp = repaired(feature_shape(feature), where=where)
        time_range = (properties.oe_start_time, properties.oe_end_time)
        indices[task_id] = index
        tasks[task_id] = AnnotationTask(
            task_id=task_id, task_st_geometry=STGeometry(WGS84_PROJECTION, shp, time_range), annotations=[]
        )
    return tasks


def _add_annotations(
    tasks: dict[uuid.UUID, AnnotationTask], collection: AnnotationCollection, path: str | PathLike[str]
) -> dict[uuid.UUID, int]:
    unknown: Counter[uuid.UUID] = Counter()
    name = str(Path(path))
    for index, feature in enumerate(collection.features):
        properties = cast(AnnotationProperties, feature.properties)
        task = tasks.get(properties.oe_annotations_task_id)
        if task is None:
            unknown[properties.oe_annotations_task_id] += 1
            continue
        shp = repaired(feature_shape(feature), where=f"{name}: features[{index}]")
        geometry = STGeometry(WGS84_PROJECTION, shp, task.task_st_geometry.time_range)
        task.annotations.append(LabeledSTGeometry(st_geometry=geometry, labels=properties.oe_labels))
    return dict(unknown)


def _shown(ids: list[uuid.UUID]) -> str:
    more = f" and {len(ids) - _SHOWN_IDS} more" if len(ids) > _SHOWN_IDS else ""
    return ", ".join(str(task_id) for task_id in ids[:_SHOWN_IDS]) + more
