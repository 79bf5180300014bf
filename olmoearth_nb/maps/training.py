"""The course of a training."""

from __future__ import annotations

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
    names = list(dict.fromkeys(name for row in history for name in row if name not in _NOT_SHOWN))
    groups = {
        "loss": [name for name in names if "loss" in name],
        "metrics": [name for name in names if "loss" not in name],
    }
    shown = {title: curves for title, curves in groups.items() if curves}
    figure = Picture(figsize=(4.2 * len(shown), 2.8), dpi=100, layout="constrained")
    epochs = [row.get("epoch", index) for index, row in enumerate(history)]
    best = next((e for e, row in zip(epochs, history, strict=True) if monitor and row.get(monitor) == best_score), None)
    for ax, (title, curves) in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown.items(), strict=True):
        _draw_curves(ax, epochs, history, curves)
        if best is not None:
            ax.axvline(best, color="#555555", linewidth=0.8, linestyle=":", label=f"best {plain(monitor or '')}")
        ax.set_title(title, loc="left", fontsize=10)
        ax.legend(fontsize=7, frameon=False)
    return figure


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
