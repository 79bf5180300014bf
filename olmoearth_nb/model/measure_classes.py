"""What is kept of each sample of a task with classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from rslearn.train.model_context import SampleMetadata
from rslearn.train.tasks.classification import ClassificationTask
from rslearn.train.tasks.per_pixel_timestep import PerPixelTimestepTask
from rslearn.train.tasks.segmentation import SegmentationTask
from torchmetrics import MetricCollection
from torchmetrics.classification import (
    MulticlassF1Score,
    MulticlassJaccardIndex,
    MulticlassPrecision,
    MulticlassRecall,
)

from olmoearth_nb.evaluation.calibration import BINS, Calibration
from olmoearth_nb.evaluation.classes import ClassResult
from olmoearth_nb.evaluation.results import TaskResult
from olmoearth_nb.model.tasks import inside_window, kind_of, ratio, valid_labels

__all__ = ["ClassMeasure"]

Ints = npt.NDArray[np.int64]


class ClassMeasure:
    """Classes, of pixels or of windows; see :class:`olmoearth_nb.model.measures.Measure`.

    Args:
        task: The task.
        rows: Number of windows.
        names: Of the classes.
    """

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
        inside = inside_window(probs, metadata)
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
        label, valid = valid_labels(target, "class" if "class" in target else "classes")
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
            accuracy = ratio(self.right, self.labels)
            table = table.assign(accuracy=accuracy, error=1 - accuracy)
        table = table.assign(entropy=ratio(self.entropy, self.pixels), confidence=ratio(self.confidence, self.pixels))
        if labelled:
            table["label"] = _commonest(labels, self.names)
        table["predicted"] = _commonest(self.predicted, self.names)
        shares = {"label": labels, "predicted": self.predicted} if labelled else {"predicted": self.predicted}
        columns = {
            f"{what} {one}": ratio(counts[:, index], counts.sum(axis=1))
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


def _commonest(counts: Ints, names: Sequence[str]) -> list[str | None]:
    return [names[int(row.argmax())] if row.any() else None for row in counts]
