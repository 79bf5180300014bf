"""What is kept of each sample of a task with measurements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from rslearn.train.model_context import SampleMetadata
from rslearn.train.tasks.per_pixel_regression import PerPixelRegressionTask
from rslearn.train.tasks.regression import RegressionTask
from torchmetrics import MeanAbsoluteError, MeanSquaredError, MetricCollection, R2Score
from torchmetrics.aggregation import MeanMetric

from olmoearth_nb.evaluation.regression import ERRORS, SUMS, RegressionResult
from olmoearth_nb.evaluation.results import TaskResult
from olmoearth_nb.model.tasks import inside_window, kind_of, ratio, valid_labels

__all__ = ["ValueMeasure"]

# So many labels of a sample go into pictures.
_PAIRS = 64


class ValueMeasure:
    """Measurements, of pixels or of windows; see :class:`olmoearth_nb.model.measures.Measure`.

    Args:
        task: The task.
        rows: Number of windows.
    """

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
        inside = inside_window(output, metadata)
        predicted = output.flatten() / self.task.scale_factor
        self.pixels[row] += int(inside.sum())
        self.predicted[row] += float(predicted[inside].sum())
        if target is None:
            return False
        label, valid = valid_labels(target, "value" if "value" in target else "values")
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
                error=ratio(sums["absolute"], n),
                rmse=np.sqrt(ratio(sums["squared"], n)),
                bias=ratio(sums["error"], n),
                label=ratio(sums["label"], n) + (self.zero or 0.0),
                predicted=ratio(self.labelled_predicted, n),
            )
        else:
            table = table.assign(predicted=ratio(self.predicted, self.pixels))
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
