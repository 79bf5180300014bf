"""What is kept of each sample of an evaluation, by kind of task; sums and counts, so that memory does not grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from rslearn.train.model_context import SampleMetadata
from rslearn.train.tasks import Task
from rslearn.train.tasks.classification import ClassificationTask
from rslearn.train.tasks.detection import DetectionTask
from rslearn.train.tasks.per_pixel_regression import PerPixelRegressionTask
from rslearn.train.tasks.per_pixel_timestep import PerPixelTimestepTask
from rslearn.train.tasks.regression import RegressionTask
from rslearn.train.tasks.segmentation import SegmentationTask
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection, R2Score
from torchmetrics.aggregation import MeanMetric
from torchmetrics.classification import (
    MulticlassF1Score,
    MulticlassJaccardIndex,
    MulticlassPrecision,
    MulticlassRecall,
)

from olmoearth_nb.evaluation.calibration import BINS, Calibration
from olmoearth_nb.evaluation.classes import ClassResult
from olmoearth_nb.evaluation.regression import ERRORS, SUMS, RegressionResult
from olmoearth_nb.evaluation.results import TaskResult
from olmoearth_nb.legend import Legend

__all__ = ["Measure", "class_names", "kind_of", "measure_of"]

_KINDS: tuple[tuple[type, str], ...] = (
    (PerPixelTimestepTask, "time step of each pixel"),
    (SegmentationTask, "segmentation"),
    (ClassificationTask, "classification"),
    (PerPixelRegressionTask, "per-pixel regression"),
    (RegressionTask, "regression"),
    (DetectionTask, "detection"),
)
# So many labels of a sample go into pictures.
_PAIRS = 64

Ints = npt.NDArray[np.int64]


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


def kind_of(task: Task) -> str:
    """The sort of a task in words.

    Args:
        task: Of rslearn or a custom one.
    """
    return next((kind for cls, kind in _KINDS if isinstance(task, cls)), type(task).__name__)


def measure_of(task: Task, rows: int, names: Sequence[str]) -> Measure:
    """What to keep of a task.

    Args:
        task: The task.
        rows: Number of windows.
        names: Of the classes, see :func:`class_names`.
    """
    match task:
        case SegmentationTask() | ClassificationTask():
            return _Classes(task, rows, names)
        case PerPixelRegressionTask() | RegressionTask():
            return _Values(task, rows)
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


class _Classes:
    """Classes, of pixels or of windows."""

    def __init__(self, task: SegmentationTask | ClassificationTask, rows: int, names: Sequence[str]) -> None:
        self.task = task
        self.names = tuple(names)
        size = len(self.names)
        options: dict[str, Any] = {"num_classes": size, "average": "none", "validate_args": False}
        self.metrics = MetricCollection(
            {
                "precision": MulticlassPrecision(**options),
                "recall": MulticlassRecall(**options),
                "f1": MulticlassF1Score(**options),
                "iou": MulticlassJaccardIndex(**options),
            }
        )
        self.labels, self.right, self.pixels = (np.zeros(rows, dtype=np.int64) for _ in range(3))
        self.entropy, self.confidence = np.zeros(rows), np.zeros(rows)
        self.predicted = np.zeros((rows, size), dtype=np.int64)
        self.cells: list[tuple[Ints, Ints, Ints]] = []
        self.bins = (np.zeros(BINS, dtype=np.int64), np.zeros(BINS), np.zeros(BINS, dtype=np.int64))

    def add(self, row: int, output: Any, target: Any, metadata: SampleMetadata) -> bool:
        """See :class:`Measure`."""
        if isinstance(self.task, PerPixelTimestepTask):
            output, target = output["probs"], output.get("targets")
        probs = output.float()
        inside = _inside(probs, metadata)
        probs = probs.flatten(1) if probs.ndim > 1 else probs[:, None]
        classes = probs.argmax(dim=0)
        confidence = probs.gather(0, classes[None])[0].cpu()
        entropy = torch.special.entr(probs).sum(dim=0).cpu()
        classes = classes.cpu()
        self.pixels[row] += int(inside.sum())
        self.entropy[row] += float(entropy[inside].double().sum())
        self.confidence[row] += float(confidence[inside].double().sum())
        self.predicted[row] += torch.bincount(classes[inside], minlength=len(self.names)).numpy()
        return target is not None and self._compare(row, classes, confidence, target)

    def _compare(self, row: int, predicted: torch.Tensor, confidence: torch.Tensor, target: Any) -> bool:
        label, valid = _labels(target, "class" if "class" in target else "classes")
        label, predicted, confidence = label[valid].long(), predicted[valid], confidence[valid]
        if not len(label):
            return False
        self.metrics.update(predicted, label)
        codes, counts = np.unique((label * len(self.names) + predicted).numpy(), return_counts=True)
        self.cells.append((np.full(len(codes), row), codes, counts))
        right = label == predicted
        self.labels[row] += len(label)
        self.right[row] += int(right.sum())
        # As torchmetrics' calibration error has its bins, which keeps every pixel in memory for them.
        edges = torch.linspace(0, 1, BINS + 1, dtype=confidence.dtype)
        places = (torch.bucketize(confidence, edges, right=True) - 1).clamp(0, BINS - 1)
        count, sums, correct = self.bins
        count += torch.bincount(places, minlength=BINS).numpy()
        sums += torch.bincount(places, weights=confidence.double(), minlength=BINS).numpy()
        correct += torch.bincount(places[right], minlength=BINS).numpy()
        return True

    def result(self, name: str, windows: pd.DataFrame, metrics: Mapping[str, float], *, labelled: bool) -> TaskResult:
        """See :class:`Measure`."""
        size = len(self.names)
        cells = self._cells()
        labels = np.zeros((len(windows), size), dtype=np.int64)
        np.add.at(labels, (cells["window"].to_numpy(), cells["label"].to_numpy()), cells["count"].to_numpy())
        table = windows.assign(labels=self.labels)
        if labelled:
            accuracy = _ratio(self.right, self.labels)
            table = table.assign(accuracy=accuracy, error=1 - accuracy)
        table = table.assign(entropy=_ratio(self.entropy, self.pixels), confidence=_ratio(self.confidence, self.pixels))
        if labelled:
            table["label"] = _commonest(labels, self.names)
        table["predicted"] = _commonest(self.predicted, self.names)
        shares = {"label": labels, "predicted": self.predicted} if labelled else {"predicted": self.predicted}
        columns = {
            f"{what} {one}": _ratio(counts[:, index], counts.sum(axis=1))
            for what, counts in shares.items()
            for index, one in enumerate(self.names)
        }
        return ClassResult(
            name=name,
            kind=kind_of(self.task),
            windows=pd.concat([table, pd.DataFrame(columns)], axis=1),
            metrics=metrics,
            labelled=labelled,
            classes=self.names,
            cells=cells,
            scores=self._scores(cells),
            calibration=Calibration(*self.bins),
        )

    def _cells(self) -> pd.DataFrame:
        rows, codes, counts = (
            (np.concatenate(part) for part in zip(*self.cells, strict=True))
            if self.cells
            else (np.zeros(0, dtype=np.int64) for _ in range(3))
        )
        table = pd.DataFrame({"window": rows, "code": codes, "count": counts})
        table = table.groupby(["window", "code"])["count"].sum().reset_index()
        label, predicted = np.divmod(table["code"].to_numpy(), len(self.names))
        return pd.DataFrame(
            {"window": table["window"], "label": label, "predicted": predicted, "count": table["count"]}
        )

    def _scores(self, cells: pd.DataFrame) -> pd.DataFrame:
        """Torchmetrics' scores; it has 0 for what is not defined."""
        size = len(self.names)
        if not len(cells):
            return pd.DataFrame(np.nan, index=list(self.names), columns=list(self.metrics))
        found = {name: value.double().numpy().copy() for name, value in self.metrics.compute().items()}
        labels = np.bincount(cells["label"], weights=cells["count"], minlength=size)
        predicted = np.bincount(cells["predicted"], weights=cells["count"], minlength=size)
        missing = {"precision": predicted == 0, "recall": labels == 0}
        for name, values in found.items():
            values[missing.get(name, labels + predicted == 0)] = np.nan
        return pd.DataFrame(found, index=list(self.names))


class _Values:
    """Measurements, of pixels or of windows."""

    def __init__(self, task: PerPixelRegressionTask | RegressionTask, rows: int) -> None:
        self.task = task
        self.metrics = MetricCollection(
            {
                "mae": MeanAbsoluteError(),
                "rmse": MeanSquaredError(squared=False),
                "r2": R2Score(),
            },
            compute_groups=False,
        )
        self.bias = MeanMetric()
        for metric in (*self.metrics.values(), self.bias):
            # Sums of squares of large labels need it.
            metric.set_dtype(torch.float64)
        self.sums = np.zeros((rows, len(SUMS)))
        self.pixels, self.predicted = np.zeros(rows, dtype=np.int64), np.zeros(rows)
        self.labelled_predicted = np.zeros(rows)
        self.zero: float | None = None
        self.pairs: list[npt.NDArray[np.float64]] = []

    def add(self, row: int, output: Any, target: Any, metadata: SampleMetadata) -> bool:
        """See :class:`Measure`."""
        output = output.cpu().double()  # not all devices have doubles
        if output.ndim == 3:
            output = output[0]
        inside = _inside(output, metadata)
        predicted = output.flatten() / self.task.scale_factor
        self.pixels[row] += int(inside.sum())
        self.predicted[row] += float(predicted[inside].sum())
        if target is None:
            return False
        label, valid = _labels(target, "value" if "value" in target else "values")
        label, predicted = label[valid].double() / self.task.scale_factor, predicted[valid]
        if not len(label):
            return False
        if self.zero is None:
            self.zero = float(label[0])
        error, moved = predicted - label, label - self.zero
        # None of these changes when both are moved, and sums of squares stay exact.
        self.metrics.update(predicted - self.zero, moved)
        self.bias.update(error)
        parts = (torch.ones_like(error), error, error.abs(), error**2, moved, moved**2)
        self.sums[row] += [float(part.sum()) for part in parts]
        self.labelled_predicted[row] += float(predicted.sum())
        step = -(-len(label) // _PAIRS)
        self.pairs.append(torch.stack([label, predicted], dim=1)[::step].numpy())
        return True

    def result(self, name: str, windows: pd.DataFrame, metrics: Mapping[str, float], *, labelled: bool) -> TaskResult:
        """See :class:`Measure`."""
        sums = pd.DataFrame(self.sums, columns=list(SUMS))
        n = self.sums[:, 0]
        table = windows.assign(labels=n.astype(np.int64))
        if labelled:
            table = table.assign(
                error=_ratio(sums["absolute"], n),
                rmse=np.sqrt(_ratio(sums["squared"], n)),
                bias=_ratio(sums["error"], n),
                label=_ratio(sums["label"], n) + (self.zero or 0.0),
                predicted=_ratio(self.labelled_predicted, n),
            )
        else:
            table = table.assign(predicted=_ratio(self.predicted, self.pixels))
        return RegressionResult(
            name=name,
            kind=kind_of(self.task),
            windows=table,
            metrics=metrics,
            labelled=labelled,
            sums=sums,
            errors=self._errors(sums),
            pairs=np.concatenate(self.pairs) if self.pairs else np.zeros((0, 2)),
        )

    def _errors(self, sums: pd.DataFrame) -> dict[str, float]:
        total = sums["n"].sum()
        if not total:
            return dict.fromkeys(ERRORS, float("nan"))
        same = float(sums["label_squared"].sum() - sums["label"].sum() ** 2 / total) <= 0
        found = {name: metric for name, metric in self.metrics.items() if name != "r2" or (total >= 2 and not same)}
        values = {name: float(metric.compute()) for name, metric in found.items()}
        values["bias"] = float(self.bias.compute())
        return {name: values.get(name, float("nan")) for name in ERRORS}


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


def _inside(output: torch.Tensor, metadata: SampleMetadata) -> torch.Tensor:
    """Which pixels of an output (..., H, W) lie in the window: crops may reach beyond it; shape (H * W,)."""
    if output.ndim < 2:
        return torch.ones(1, dtype=torch.bool)
    height, width = output.shape[-2:]
    x0, y0, x1, y1 = metadata.crop_bounds
    inside = torch.ones((height, width), dtype=torch.bool)
    if (height, width) == (y1 - y0, x1 - x0):
        left, top, right, bottom = metadata.window_bounds
        inside = torch.zeros((height, width), dtype=torch.bool)
        inside[max(top - y0, 0) : max(bottom - y0, 0), max(left - x0, 0) : max(right - x0, 0)] = True
    return inside.flatten()


def _labels(target: Mapping[str, Any], name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels and where they are valid, both flat."""
    label, valid = (
        one.get_hw_tensor() if hasattr(one, "get_hw_tensor") else one for one in (target[name], target["valid"])
    )
    return label.flatten().cpu(), valid.flatten().cpu() > 0


def _ratio(part: Any, whole: Any) -> npt.NDArray[np.float64]:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    ratio: npt.NDArray[np.float64] = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return ratio


def _commonest(counts: Ints, names: Sequence[str]) -> list[str | None]:
    return [names[int(row.argmax())] if row.any() else None for row in counts]
