"""Pictures of an evaluation: confusion matrix and calibration, or predicted against label."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from olmoearth_nb.errors import UsageError
from olmoearth_nb.evaluation.classes import ClassResult
from olmoearth_nb.evaluation.regression import RegressionResult
from olmoearth_nb.evaluation.results import TaskResult
from olmoearth_nb.maps.canvas import Picture, plain

__all__ = ["confusion_shades", "plot_result"]

_BLUE = "#2c6fbb"
# With more classes there is no room for numbers in the cells.
_MOST_NUMBERED, _MOST_NAMED, _LONGEST_NAME = 14, 40, 24


def plot_result(result: TaskResult) -> Figure:
    """What an evaluation found, as a picture.

    Args:
        result: Of a task with classes or with measurements.

    Raises:
        UsageError: If the task has no picture, or there are no labels.
    """
    if result.labelled and isinstance(result, ClassResult) and result.matrix.any():
        return _plot_classes(result)
    if result.labelled and isinstance(result, RegressionResult) and len(result.pairs):
        return _plot_values(result)
    raise UsageError(
        f"There is no picture of the task {result.name!r}.",
        expected="a task with classes or measurements, and labels",
        found=result.kind if result.labelled else "windows without labels",
    )


def confusion_shades(matrix: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """How dark the cells of a confusion matrix are: the share of the labels of a class, 0..1.

    Args:
        matrix: Shape (C, C): label, predicted.
    """
    totals = matrix.sum(axis=1, keepdims=True)
    shades: npt.NDArray[np.float64] = np.divide(matrix, totals, out=np.zeros(matrix.shape), where=totals > 0)
    return shades


def _plot_classes(result: ClassResult) -> Figure:
    side = min(max(2.6, 0.42 * len(result.classes) + 1.2), 8.0)
    figure = Picture(figsize=(side + 1.0 + 3.4, max(side + 0.4, 3.2)), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[side + 1.0, 3.2])
    _draw_matrix(left, result)
    _draw_calibration(right, result)
    return figure


def _draw_matrix(ax: Axes, result: ClassResult) -> None:
    shades, size = confusion_shades(result.matrix), len(result.classes)
    ax.imshow(shades, cmap="Blues", vmin=0, vmax=1)
    if size <= _MOST_NUMBERED:
        for (row, column), count in np.ndenumerate(result.matrix):
            if count:
                color = "white" if shades[row, column] > 0.6 else "#222222"
                ax.text(column, row, _compact(int(count)), ha="center", va="center", fontsize=7, color=color)
    if size <= _MOST_NAMED:
        names = [plain(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…") for name in result.classes]
        ax.set_xticks(range(size), names, rotation=90 if size > 6 else 45, ha="center" if size > 6 else "right")
        ax.set_yticks(range(size), names)
        ax.tick_params(axis="x", rotation_mode="default" if size > 6 else "anchor")
    ax.set_xlabel("predicted", fontsize=8)
    ax.set_ylabel("label", fontsize=8)
    ax.tick_params(labelsize=7, length=0)
    ax.set_title(plain(f"confusion: accuracy {result.accuracy}"), loc="left", fontsize=9)


def _compact(count: int) -> str:
    return f"{count:,}" if count < 10_000 else f"{count / 1000:,.0f}k" if count < 10_000_000 else f"{count / 1e6:,.0f}M"


def _draw_calibration(ax: Axes, result: ClassResult) -> None:
    table = result.calibration.table
    there = table[table["count"] > 0]
    width = 1 / len(table)
    ax.bar(there["from"], there["accuracy"], width=width, align="edge", color="#9ec4e8", edgecolor=_BLUE, linewidth=0.6)
    ax.plot([0, 1], [0, 1], color="#555555", linewidth=0.8, linestyle="--")
    ax.plot(there["confidence"], there["accuracy"], color=_BLUE, marker="o", markersize=3, linewidth=1)
    # Bins that hold next to nothing say next to nothing.
    shares = there["count"] / there["count"].sum()
    ax.bar(there["from"] + width / 4, 0.15 * shares, width=width / 2, align="edge", color="#d1711a")
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.set_aspect("equal")
    ax.set_xlabel("confidence (orange: share of labels)", fontsize=8)
    ax.set_ylabel("accuracy", fontsize=8)
    ax.tick_params(labelsize=7)
    ax.set_title(f"calibration error {result.calibration.error:.3f}", loc="left", fontsize=9)


def _plot_values(result: RegressionResult) -> Figure:
    figure = Picture(figsize=(7.4, 3.4), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    label, predicted = result.pairs.T
    ends = [float(result.pairs.min()), float(result.pairs.max())]
    style = {"s": 6, "alpha": max(0.08, min(0.7, 500 / len(label))), "color": _BLUE, "linewidths": 0}
    left.scatter(label, predicted, **style)
    left.plot(ends, ends, color="#555555", linewidth=0.8, linestyle="--")
    left.set_aspect("equal", adjustable="datalim")
    left.set_ylabel("predicted", fontsize=8)
    left.set_title(plain(f"R² {result.estimates['r2']}"), loc="left", fontsize=9)
    right.scatter(label, predicted - label, **style)
    right.axhline(0, color="#555555", linewidth=0.8, linestyle="--")
    right.set_ylabel("predicted - label", fontsize=8)
    right.set_title(plain(f"mean absolute error {result.estimates['mae']}"), loc="left", fontsize=9)
    for ax in (left, right):
        ax.set_xlabel("label", fontsize=8)
        ax.tick_params(labelsize=7)
        ax.grid(color="#dddddd", linewidth=0.5)
        ax.set_axisbelow(True)
    return figure
