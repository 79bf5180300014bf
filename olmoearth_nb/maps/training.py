"""The course of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from olmoearth_nb.errors import MissingStepError
from olmoearth_nb.maps.canvas import Picture, plain, unit
from olmoearth_nb.maps.style import category_colors

__all__ = ["plot_training"]

# No curves: positions, and what changes by plan.
_NOT_SHOWN = {"epoch", "step", "seconds", "lr"}
_SPLITS = ("train_", "val_", "test_")


def plot_training(
    history: Sequence[Mapping[str, float]], *, monitor: str | None = None, best_score: float | None = None
) -> Figure:
    """Losses and metrics, epoch by epoch.

    Args:
        history: One mapping an epoch: ``epoch``, losses and metrics by name.
        monitor: The metric that decides which epoch is best.
        best_score: Its best value; the epoch that has it is marked.

    Raises:
        MissingStepError: If there is no epoch.
    """
    if not history:
        raise MissingStepError("There is no epoch to show yet.", fix="Call runner.fine_tune() first.")
    losses, metrics = _sorted_curves(history)
    groups = {"loss": losses, "metrics": metrics}
    shown = {title: curves for title, curves in groups.items() if curves}
    figure = Picture(figsize=(4.2 * len(shown), 2.8), dpi=100, layout="constrained")
    epochs = [row.get("epoch", index) for index, row in enumerate(history)]
    best = next((e for e, row in zip(epochs, history, strict=True) if _is_best(row, monitor, best_score)), None)
    for ax, (title, curves) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        _draw_curves(ax, epochs, history, curves)
        if best is not None:
            ax.axvline(best, color="#555555", linewidth=0.8, linestyle=":", label=f"best {plain(monitor or '')}")
        ax.set_title(title, loc="left", fontsize=10)
        ax.legend(fontsize=7, frameon=False)
    return figure


def _is_best(row: Mapping[str, float], monitor: str | None, best_score: float | None) -> bool:
    value = row.get(monitor) if monitor else None
    return value is not None and best_score is not None and math.isclose(value, best_score, rel_tol=1e-6)


def _sorted_curves(history: Sequence[Mapping[str, float]]) -> tuple[list[str], list[str]]:
    """Names of losses and of metrics, by split; of the training split rslearn logs only losses and their parts."""
    names = dict.fromkeys(name for row in history for name in row if name not in _NOT_SHOWN)
    ordered = sorted(names, key=lambda name: next((i for i, split in enumerate(_SPLITS) if name.startswith(split)), 9))
    parts = {name.removeprefix("train_") for name in ordered if name.startswith("train_")}
    is_loss = {name: "loss" in name or name.partition("_")[2] in parts for name in ordered}
    curves: dict[tuple[str, tuple[float | None, ...]], str] = {}
    for name in sorted(ordered, key=lambda name: "loss" not in name):
        # The only part of a loss is the loss.
        curves.setdefault((name.partition("_")[0], tuple(row.get(name) for row in history)), name)
    kept = set(curves.values())
    losses = [name for name in ordered if is_loss[name] and name in kept]
    return losses, [name for name in ordered if not is_loss[name]]


def _draw_curves(
    ax: Axes, epochs: Sequence[float], history: Sequence[Mapping[str, float]], curves: Sequence[str]
) -> None:
    splits = [name.partition("_")[0] for name in curves]
    colors = category_colors(splits)
    for name, split in zip(curves, splits, strict=True):
        # A curve alone of its split has the split's colour; several take matplotlib's in turn.
        color = unit(colors[split]) if splits.count(split) == 1 else None
        values = [row.get(name, float("nan")) for row in history]
        ax.plot(epochs, values, color=color, linewidth=1.4, marker="o", markersize=2.5, label=plain(name))
    ax.set_xlabel("epoch", fontsize=8)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.tick_params(labelsize=7, colors="#555555")
    ax.grid(color="#dddddd", linewidth=0.5)
    ax.spines[["top", "right"]].set_visible(False)
