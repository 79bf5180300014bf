"""Classes: confusion matrix, scores by class, accuracy with its interval, calibration."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import sparse

from olmoearth_nb.errors import UsageError
from olmoearth_nb.evaluation.calibration import Calibration
from olmoearth_nb.evaluation.intervals import BOOTSTRAP, WILSON, Estimate, bootstrap, wilson
from olmoearth_nb.evaluation.results import TaskResult, number

__all__ = ["SCORES", "ClassResult", "class_scores"]

SCORES = ("precision", "recall", "f1", "iou")
"""Scores of a class."""

Floats = npt.NDArray[np.float64]


def class_scores(matrix: npt.ArrayLike) -> Floats:
    """Precision, recall, F1 and IoU of each class.

    With tp, fp, fn pixels of a class: tp / (tp + fp), tp / (tp + fn), 2 tp / (2 tp + fp + fn), tp / (tp + fp + fn).
    What would divide by zero is NaN: a class that is never predicted has no precision, one without a label has no
    recall, one that is neither has no score at all.

    Args:
        matrix: Counts, shape (..., C, C): label, predicted.

    Returns:
        Shape (..., 4, C).

    Example:
        >>> class_scores([[2, 1, 0], [0, 1, 0], [0, 0, 0]]).round(2).tolist()[3]
        [0.67, 0.5, nan]
    """
    counts = np.asarray(matrix, dtype=np.float64)
    right = np.diagonal(counts, axis1=-2, axis2=-1)
    labelled, predicted = counts.sum(axis=-1), counts.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack(
            [
                right / predicted,
                right / labelled,
                2 * right / (labelled + predicted),
                right / (labelled + predicted - right),
            ],
            axis=-2,
        )


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ClassResult(TaskResult):
    """Classes of pixels or of windows.

    ``windows`` has besides: ``accuracy``, ``error`` (share of labels that are wrong), ``entropy`` (nats, mean over all
    pixels), ``confidence``, ``label`` and ``predicted`` (the commonest class), and the share of each class,
    ``label <class>`` among labels and ``predicted <class>`` among all pixels.

    Attributes:
        classes: Their names.
        cells: ``window`` (row of ``windows``), ``label``, ``predicted`` (indices of classes), ``count``; by window.
        scores: :data:`SCORES` by torchmetrics, one row a class; NaN where not defined, see :func:`class_scores`.
        calibration: Confidence and accuracy.
    """

    classes: tuple[str, ...]
    cells: pd.DataFrame
    scores: pd.DataFrame
    calibration: Calibration

    @functools.cached_property
    def matrix(self) -> npt.NDArray[np.int64]:
        """The confusion matrix, shape (C, C): label, predicted."""
        return self.matrix_of(self.windows.index)

    def matrix_of(self, rows: pd.Index[int]) -> npt.NDArray[np.int64]:
        """The confusion matrix of some windows, shape (C, C): label, predicted.

        Args:
            rows: Labels of rows of ``windows``.
        """
        # They lie together: looking through all of them would be slow for many small groups.
        window = self.cells["window"].to_numpy()
        ends = zip(np.searchsorted(window, rows), np.searchsorted(window, rows, side="right"), strict=True)
        chosen = self.cells.iloc[np.concatenate([np.arange(0), *(np.arange(*pair) for pair in ends)])]
        matrix = np.zeros((len(self.classes), len(self.classes)), dtype=np.int64)
        np.add.at(matrix, (chosen["label"].to_numpy(), chosen["predicted"].to_numpy()), chosen["count"].to_numpy())
        return matrix

    @property
    def method(self) -> str:
        """How intervals are made: Wilson's where no window has more than one label, else by drawing windows."""
        return WILSON if (self.windows["labels"] <= 1).all() else BOOTSTRAP

    @functools.cached_property
    def accuracy(self) -> Estimate:
        """Share of labels that are predicted, with its 95% interval."""
        right, total = int(np.trace(self.matrix)), int(self.matrix.sum())
        if self.method == WILSON:
            return wilson(right, total)
        low, high = self._intervals[0][0], self._intervals[1][0]
        return Estimate(right / total if total else float("nan"), low, high, BOOTSTRAP)

    @functools.cached_property
    def mean_iou(self) -> Estimate:
        """Mean IoU of the classes that are labelled or predicted, with its 95% interval by :data:`BOOTSTRAP`."""
        value = float(self.scores["iou"].mean())
        return Estimate(value, self._intervals[0][1], self._intervals[1][1], BOOTSTRAP)

    @functools.cached_property
    def mean_f1(self) -> Estimate:
        """Mean F1 of the classes that are labelled or predicted, with its 95% interval by :data:`BOOTSTRAP`."""
        value = float(self.scores["f1"].mean())
        return Estimate(value, self._intervals[0][2], self._intervals[1][2], BOOTSTRAP)

    @functools.cached_property
    def estimates(self) -> dict[str, list[Estimate]]:
        """Each of :data:`SCORES` for each class, with its 95% interval."""
        low, high = (ends[3:].reshape(len(SCORES), -1) for ends in self._intervals)
        found = {
            name: [Estimate(*ends, BOOTSTRAP) for ends in zip(self.scores[name], low[i], high[i], strict=True)]
            for i, name in enumerate(SCORES)
        }
        if self.method == WILSON:
            # Of independent labels these two are shares; F1 and IoU are not.
            for name, totals in (("precision", self.matrix.sum(axis=0)), ("recall", self.matrix.sum(axis=1))):
                found[name] = [wilson(*pair) for pair in zip(np.diag(self.matrix), totals, strict=True)]
        return found

    @functools.cached_property
    def _intervals(self) -> tuple[Floats, Floats]:
        """Accuracy, mean IoU, mean F1, and the scores of the classes."""
        size = len(self.classes)
        places = pd.Series(range(len(self.windows)), index=self.windows.index)
        rows = places[self.cells["window"]].to_numpy()
        columns = self.cells["label"].to_numpy() * size + self.cells["predicted"].to_numpy()
        shape = (len(self.windows), size * size)
        counts = sparse.coo_array((self.cells["count"].to_numpy(), (rows, columns)), shape=shape)

        whole = class_scores(self.matrix)

        def statistic(sums: Floats) -> Floats:
            matrices = sums.reshape(-1, size, size)
            scores = class_scores(matrices)
            total = matrices.sum(axis=(1, 2))
            right = np.trace(matrices, axis1=1, axis2=2)
            accuracy = np.divide(right, total, out=np.full(len(sums), np.nan), where=total > 0)
            # A rare class that a draw misses keeps its value: a mean over fewer classes would be another number.
            kept = np.where(np.isfinite(scores), scores, whole)
            means = [_mean_defined(kept[:, SCORES.index(name)]) for name in ("iou", "f1")]
            return np.column_stack([accuracy, *means, scores.reshape(len(sums), -1)])

        # A window without a label would only make draws smaller.
        return bootstrap(counts.tocsr()[np.flatnonzero(self.windows["labels"] > 0)], statistic)

    def index_of(self, name: str | int) -> int:
        """The index of a class.

        Args:
            name: Its name, or the index itself.

        Raises:
            UsageError: If there is none.
        """
        if isinstance(name, str) and name in self.classes:
            return self.classes.index(name)
        if isinstance(name, int | np.integer) and 0 <= name < len(self.classes):
            return int(name)
        raise UsageError("There is no such class.", expected=", ".join(self.classes), found=repr(name))

    def behind(self, label: str | int, predicted: str | int) -> pd.DataFrame:
        """The windows behind a cell of the confusion matrix.

        Args:
            label: A class, by name or index.
            predicted: A class, by name or index.

        Returns:
            Rows of ``windows`` with ``count`` in front, the largest first.

        Raises:
            UsageError: If there is no such class.
        """
        wanted = (self.cells["label"] == self.index_of(label)) & (self.cells["predicted"] == self.index_of(predicted))
        cells = self.cells[wanted].sort_values(["count", "window"], ascending=[False, True], kind="stable")
        table = self.windows.loc[cells["window"]].copy()
        table.insert(0, "count", cells["count"].to_numpy())
        return table

    # ---- showing ---------------------------------------------------------------------------------------------

    def headline(self) -> list[tuple[str, str]]:
        """Accuracy and means with their intervals, calibration error, entropy."""
        entropy = number(float(self.windows["entropy"].mean()))
        if not self.labelled:
            return [("windows", f"{len(self.windows):,}"), ("mean entropy (nats)", entropy)]
        return [
            ("accuracy", str(self.accuracy)),
            ("mean IoU", str(self.mean_iou)),
            ("mean F1", str(self.mean_f1)),
            ("calibration error", number(self.calibration.error)),
            ("mean entropy (nats)", entropy),
            ("labels", f"{int(self.matrix.sum()):,} in {int((self.windows['labels'] > 0).sum()):,} windows"),
        ]

    def table(self) -> pd.DataFrame | None:
        """Precision, recall, F1 and IoU by class with intervals, numbers of labels and predictions."""
        if not self.labelled:
            return None
        columns = {name: [str(one) for one in self.estimates[name]] for name in SCORES}
        labels, predicted = self.matrix.sum(axis=1), self.matrix.sum(axis=0)
        return pd.DataFrame({"class": self.classes, **columns, "support": labels, "predicted": predicted})

    def notes(self) -> list[str]:
        """How the intervals were made."""
        if not self.labelled:
            return []
        labelled = int((self.windows["labels"] > 0).sum())
        if self.method == WILSON:
            return ["95% intervals: Wilson's, of F1, IoU and means by bootstrap over windows."]
        few = " These are few: take the intervals as a hint." if labelled < 20 else ""
        return [f"95% intervals: bootstrap over {labelled:,} windows, as pixels of a window are not independent.{few}"]

    def group_row(self, rows: pd.Index[int]) -> dict[str, float]:
        """The same numbers for some of the windows.

        Args:
            rows: Labels of rows of ``windows``.
        """
        chosen = self.windows.loc[rows]
        entropy = {"entropy": float(chosen["entropy"].mean())}
        if not self.labelled:
            return super().group_row(rows) | entropy
        matrix = self.matrix_of(rows)
        scores, total = class_scores(matrix), matrix.sum()
        means = {f"mean {name}": float(_mean_defined(scores[None, i])[0]) for i, name in ((3, "iou"), (2, "f1"))}
        accuracy = float(np.trace(matrix) / total) if total else float("nan")
        return super().group_row(rows) | {"accuracy": accuracy, **means} | entropy

    def why(self, row: int) -> str:
        """The commonest mistakes of a window, or what it hesitates between.

        Args:
            row: Row of ``windows``.
        """
        window: Any = self.windows.loc[row]
        if self.labelled and window["labels"] > 0:
            if window["labels"] == 1:
                called = "right" if window["accuracy"] == 1 else f"called {self._said(row)}"
                return f"{window['label']}, {called}; confidence {window['confidence']:.2f}"
            cells = self.cells[(self.cells["window"] == row) & (self.cells["label"] != self.cells["predicted"])]
            wrong = int(cells["count"].sum())
            if not wrong:
                return f"none of {int(window['labels']):,} labels is wrong; confidence {window['confidence']:.2f}"
            top = cells.sort_values("count", ascending=False, kind="stable").head(2)
            mistakes = ", ".join(
                f"{self.classes[label]} called {self.classes[predicted]} ({count:,})"
                for label, predicted, count in top[["label", "predicted", "count"]].itertuples(index=False)
            )
            return f"{wrong:,} of {int(window['labels']):,} labels wrong: {mistakes}"
        shares = sorted(((float(window[f"predicted {name}"]), name) for name in self.classes), reverse=True)
        said = ", ".join(f"{name} {share:.0%}" for share, name in shares[:2] if share > 0)
        return f"predicted {said}; confidence {window['confidence']:.2f}"

    def _said(self, row: int) -> str:
        """What the first label of a window was predicted as."""
        return self.classes[int(self.cells.loc[self.cells["window"] == row, "predicted"].iloc[0])]


def _mean_defined(scores: Floats) -> Floats:
    """Mean over the last axis without NaN; NaN where nothing is defined."""
    there = np.isfinite(scores)
    sums, counts = np.where(there, scores, 0.0).sum(axis=-1), there.sum(axis=-1)
    means: Floats = np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    return means
