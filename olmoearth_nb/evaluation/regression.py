"""Measurements: errors with their intervals."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from olmoearth_nb.evaluation.intervals import BOOTSTRAP, Estimate, bootstrap
from olmoearth_nb.evaluation.results import TaskResult, number

__all__ = ["ERRORS", "SUMS", "RegressionResult", "errors_of"]

ERRORS = ("mae", "rmse", "bias", "r2")
"""Mean absolute error, root of the mean squared error, mean of predicted minus label, coefficient of determination."""

SUMS = ("n", "error", "absolute", "squared", "label", "label_squared")
"""What is added up over labels to get them; labels are taken relative to a fixed value, so that squares stay exact."""

Floats = npt.NDArray[np.float64]


def errors_of(sums: npt.ArrayLike) -> Floats:
    """The errors from sums over labels; NaN where they are not defined.

    R² is 1 - Σ(label - predicted)² / Σ(label - mean label)²; it needs two labels that differ.

    Args:
        sums: Shape (..., 6), see :data:`SUMS`.

    Returns:
        Shape (..., 4), see :data:`ERRORS`.

    Example:
        >>> errors_of([2, 1.0, 3.0, 5.0, 4.0, 10.0]).round(3).tolist()
        [1.5, 1.581, 0.5, -1.5]
    """
    n, error, absolute, squared, label, label_squared = np.moveaxis(np.asarray(sums, dtype=np.float64), -1, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = label_squared - label**2 / n
        # Below rounding errors of the sums, labels are all the same.
        spread = np.where(spread > 1e-9 * np.maximum(label_squared, 1e-300), spread, np.nan)
        return np.stack([absolute / n, np.sqrt(squared / n), error / n, 1 - squared / spread], axis=-1)


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class RegressionResult(TaskResult):
    """Measurements of pixels or of windows, in the unit of the labels.

    ``windows`` has besides: ``error`` (mean absolute error), ``rmse``, ``bias`` (predicted minus label), ``label`` and
    ``predicted`` (means over labels; without labels, of all pixels).

    Attributes:
        sums: One row for each of ``windows``, columns :data:`SUMS`.
        errors: :data:`ERRORS` by torchmetrics; NaN where not defined.
        pairs: Some labels and predictions for pictures, shape (N, 2).
    """

    sums: pd.DataFrame
    errors: Mapping[str, float]
    pairs: npt.NDArray[np.float64]

    @functools.cached_property
    def estimates(self) -> dict[str, Estimate]:
        """The errors with their 95% intervals by :data:`BOOTSTRAP`."""
        low, high = bootstrap(self.sums[self.sums["n"] > 0].to_numpy(), errors_of)
        return {name: Estimate(self.errors[name], low[i], high[i], BOOTSTRAP) for i, name in enumerate(ERRORS)}

    def headline(self) -> list[tuple[str, str]]:
        """The errors with their intervals."""
        if not self.labelled:
            return [("windows", f"{len(self.windows):,}"), ("mean predicted", number(self.windows["predicted"].mean()))]
        names = dict(zip(ERRORS, ("mean absolute error", "RMSE", "bias", "R²"), strict=True))
        labels = int(self.sums["n"].sum())
        shown = [(names[name], str(one)) for name, one in self.estimates.items()]
        return [*shown, ("labels", f"{labels:,} in {int((self.sums['n'] > 0).sum()):,} windows")]

    def notes(self) -> list[str]:
        """How the intervals were made."""
        labelled = int((self.sums["n"] > 0).sum())
        few = " These are few: take the intervals as a hint." if labelled < 20 else ""
        return [f"95% intervals: bootstrap over {labelled:,} windows.{few}"] if self.labelled else []

    def group_row(self, rows: pd.Index[int]) -> dict[str, float]:
        """The same numbers for some of the windows.

        Args:
            rows: Labels of rows of ``windows``.
        """
        if not self.labelled:
            return super().group_row(rows) | {"predicted": float(self.windows.loc[rows, "predicted"].mean())}
        found = errors_of(self.sums.loc[rows].sum().to_numpy())
        return super().group_row(rows) | dict(zip(ERRORS, found.tolist(), strict=True))

    def why(self, row: int) -> str:
        """What a window's labels and predictions are on average.

        Args:
            row: Row of ``windows``.
        """
        window: Any = self.windows.loc[row]
        if not self.labelled or not window["labels"]:
            return f"predicted {number(window['predicted'])} on average"
        said, meant = number(window["predicted"]), number(window["label"])
        return f"predicted {said} where the label says {meant}, on average of {int(window['labels']):,}"
