"""What is kept of each sample of an evaluation, by kind of task; sums and counts, so that memory does not grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from rslearn.train.model_context import SampleMetadata
from rslearn.train.tasks import Task
from rslearn.train.tasks.classification import ClassificationTask
from rslearn.train.tasks.detection import DetectionTask
from rslearn.train.tasks.per_pixel_regression import PerPixelRegressionTask
from rslearn.train.tasks.per_pixel_timestep import PerPixelTimestepTask
from rslearn.train.tasks.regression import RegressionTask
from rslearn.train.tasks.segmentation import SegmentationTask

from olmoearth_nb.evaluation.results import TaskResult
from olmoearth_nb.legend import Legend
from olmoearth_nb.model.measure_classes import ClassMeasure
from olmoearth_nb.model.measure_values import ValueMeasure
from olmoearth_nb.model.tasks import kind_of

__all__ = ["Measure", "class_names", "measure_of"]


class Measure(Protocol):
    """What is kept of the samples of a task."""

    def add(self, row: int, output: Any, target: Any, metadata: SampleMetadata) -> bool:
        """Adds a sample of a window.

        Args:
            row: The window's.
            output: What the model says.
            target: The label as the task has it; None without labels.
            metadata: Of the sample.

        Returns:
            Whether it has a label.
        """

    def result(self, name: str, windows: pd.DataFrame, metrics: Mapping[str, float], *, labelled: bool) -> TaskResult:
        """What was measured.

        Args:
            name: The task's name.
            windows: ``group`` and ``name`` of each row, and ``loss``.
            metrics: Those of the task.
            labelled: Whether labels were read.
        """


def measure_of(task: Task, rows: int, names: Sequence[str]) -> Measure:
    """What to keep of a task.

    Args:
        task: The task.
        rows: Number of windows.
        names: Of the classes, see :func:`class_names`.
    """
    match task:
        case SegmentationTask() | ClassificationTask():
            return ClassMeasure(task, rows, names)
        case PerPixelRegressionTask() | RegressionTask():
            return ValueMeasure(task, rows)
        case DetectionTask():
            return _Boxes(task, rows)
        case _:
            return _Anything(task, rows)


def class_names(task: Task, legend: Legend | None, property_name: str) -> tuple[str, ...]:
    """What the classes of a task are called: as the task says, else as the legend does, else their numbers.

    Args:
        task: The task.
        legend: The project's legend.
        property_name: Name of the task; its field of the legend, or the only one.
    """
    given: Sequence[str] | None = None
    match task:
        case ClassificationTask():
            given = task.classes
        case SegmentationTask():
            given = task.class_names or [str(index) for index in range(task.num_classes)]
    names = tuple(map(str, given or ()))
    fields = legend.classes if legend is not None else ()
    field = next((one for one in fields if one.property_name == property_name), fields[0] if len(fields) == 1 else None)
    if field is None or isinstance(task, PerPixelTimestepTask):
        return names
    labels = tuple(field.label_of(name) for name in names)
    # Names that are not told apart are of no use.
    return labels if len(set(labels)) == len(labels) else names


class _Boxes:
    """Objects: rslearn's metrics, and how many boxes there are."""

    def __init__(self, task: DetectionTask, rows: int) -> None:
        self.task = task
        self.boxes, self.found, self.valid = (np.zeros(rows, dtype=np.int64) for _ in range(3))

    def add(self, row: int, output: Any, target: Any, metadata: SampleMetadata) -> bool:  # noqa: ARG002
        """See :class:`Measure`."""
        self.found[row] += int((output["scores"] > self.task.score_threshold).sum())
        if target is None or not bool(target["valid"]):
            return False
        self.valid[row] += 1
        self.boxes[row] += len(target["boxes"])
        return True

    def result(self, name: str, windows: pd.DataFrame, metrics: Mapping[str, float], *, labelled: bool) -> TaskResult:
        """See :class:`Measure`."""
        table = windows.assign(labels=self.boxes, predicted=self.found)
        return TaskResult(name=name, kind=kind_of(self.task), windows=table, metrics=metrics, labelled=labelled)


class _Anything:
    """A task that is not known: its own metrics and the loss."""

    def __init__(self, task: Task, rows: int) -> None:
        self.task = task
        self.labels = np.zeros(rows, dtype=np.int64)

    def add(self, row: int, output: Any, target: Any, metadata: SampleMetadata) -> bool:  # noqa: ARG002
        """See :class:`Measure`."""
        self.labels[row] += target is not None
        return target is not None

    def result(self, name: str, windows: pd.DataFrame, metrics: Mapping[str, float], *, labelled: bool) -> TaskResult:
        """See :class:`Measure`."""
        table = windows.assign(labels=self.labels)
        return TaskResult(name=name, kind=kind_of(self.task), windows=table, metrics=metrics, labelled=labelled)
