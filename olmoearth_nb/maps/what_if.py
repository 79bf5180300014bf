"""What a model says of a window before and after a change, in the colours of the legend."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from olmoearth_nb.errors import UsageError
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend, RangeLegend, fallback_colors
from olmoearth_nb.maps.canvas import Picture, add_key_of, add_legend, key_of, plain
from olmoearth_nb.maps.style import ClassColors, Coloring, coloring_of, painted
from olmoearth_nb.traces.data import TraceOutput
from olmoearth_nb.traces.difference import OutputDifference, output_difference

__all__ = ["output_legend", "plot_what_if"]

_SAME = (222, 226, 222, 255)
_PANEL = 2.6


def plot_what_if(before: TraceOutput, after: TraceOutput, *, title: str = "", legend: Legend | None = None) -> Figure:
    """Before, after and the difference beside each other; of classes the new class where it differs.

    Args:
        before: What the model says.
        after: What it says after the change.
        title: What the change is.
        legend: The project's legend; colours of our own without one.

    Raises:
        UsageError: If the task has nothing to draw.
    """
    difference = output_difference(before, after)
    figure = Picture(figsize=(3 * _PANEL + 1.4, _PANEL + 0.6), dpi=100, layout="constrained")
    figure.suptitle(plain(title), fontsize=9, x=0.01, ha="left")
    if before.prediction is not None and after.prediction is not None and before.prediction.ndim == 2:
        _draw_classes(figure, before, after, difference, legend)
    elif before.prediction is not None and before.probabilities is not None:
        _draw_bars(figure.subplots(), before, after, legend)
    elif before.values is not None and after.values is not None and before.values.ndim == 2:
        _draw_values(figure, before.values, after.values, difference, legend)
    else:
        raise UsageError(
            "There is no picture of this task.",
            where=f"task {before.task}",
            expected="classes, or a measurement of each pixel",
            found=before.kind,
        )
    return figure


def output_legend(output: TraceOutput, legend: Legend | None) -> ClassLegend:
    """Colours of the classes of an output by their index.

    Args:
        output: Of a task with classes.
        legend: The project's legend.
    """
    fields = legend.classes if legend is not None else ()
    field = next((one for one in fields if one.property_name == output.task), fields[0] if len(fields) == 1 else None)
    free = fallback_colors(range(len(output.classes)), avoid=[one.color for one in field.entries] if field else ())
    entries = []
    for index, name in enumerate(output.classes):
        known = None if field is None else (field.entry_of(name) or field.entry_of(index))
        entries.append(ClassEntry(index, name, free[index] if known is None else known.color))
    return ClassLegend(output.task, None, tuple(entries))


def _draw_classes(
    figure: Figure, before: TraceOutput, after: TraceOutput, difference: OutputDifference, legend: Legend | None
) -> None:
    axes = figure.subplots(1, 3)
    one, other = (_numbers(output.prediction) for output in (before, after))
    coloring = coloring_of(np.concatenate([one, other]), output_legend(before, legend))
    changed = np.nan_to_num(_numbers(difference.changed)) > 0
    marked = painted(other, coloring)
    marked[~changed & np.isfinite(other)] = _SAME
    pictures = (painted(one, coloring), painted(other, coloring), marked)
    titles = ("before", "after", f"new class where it differs: {difference.share:.1%}")
    for ax, picture, heading in zip(axes, pictures, titles, strict=True):
        ax.imshow(picture, interpolation="nearest")
        _bare(ax, heading)
    if isinstance(coloring, ClassColors):
        keys = [
            key_of(f"{coloring.labels[value]}  {_share(one, value)} → {_share(other, value)}", color)
            for value, color in coloring.colors.items()
        ]
        add_legend(axes[2], keys, title=before.task)


def _share(values: npt.NDArray[np.float64], value: object) -> str:
    known = np.isfinite(values).sum()
    share = float((values == value).sum() / known) if known else 0.0
    return f"{share:.0%}" if share >= 0.095 or share == 0 else f"{share:.1%}"


def _draw_values(
    figure: Figure, one: xr.DataArray, other: xr.DataArray, difference: OutputDifference, legend: Legend | None
) -> None:
    axes = figure.subplots(1, 3)
    ranges = legend.ranges if legend is not None else ()
    both = np.concatenate([one.values, other.values]).astype(np.float64)
    coloring: Coloring = ranges[0] if len(ranges) == 1 else _range(both)
    change = _numbers(difference.values)
    limit = float(np.nanmax(np.abs(change), initial=0.0)) or 1.0
    changes = RangeLegend("change", None, -limit, limit, "RdBu_r")
    for ax, values, colors, heading in (
        (axes[0], one.values, coloring, "before"),
        (axes[1], other.values, coloring, "after"),
        (axes[2], change, changes, f"change: mean {difference.mean_value:+.3g}"),
    ):
        ax.imshow(painted(values.astype(np.float64), colors), interpolation="nearest")
        _bare(ax, heading)
    add_key_of(axes[1], coloring, sheet=axes[:2].tolist())
    add_key_of(axes[2], changes)


def _range(values: npt.NDArray[np.float64]) -> RangeLegend:
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return RangeLegend("value", None, low, high if high > low else low + 1)


def _draw_bars(ax: Axes, before: TraceOutput, after: TraceOutput, legend: Legend | None) -> None:
    """Probabilities of the classes of a window."""
    if before.probabilities is None or after.probabilities is None:
        return
    colors = [tuple(part / 255 for part in entry.color) for entry in output_legend(before, legend).entries]
    places = np.arange(before.probabilities.size)
    own = colors if len(colors) == len(places) else "#2c6fbb"
    ax.bar(places - 0.2, before.probabilities.values, width=0.38, color=own, alpha=0.45)
    ax.bar(places + 0.2, after.probabilities.values, width=0.38, color=own)
    ax.set_xticks(places, [plain(str(name)) for name in before.probabilities["class"].values])
    ax.set(ylim=(0, 1))
    ax.tick_params(labelsize=7)
    ax.set_title("probability before (pale) and after", loc="left", fontsize=9)


def _numbers(array: xr.DataArray | None) -> npt.NDArray[np.float64]:
    """Values, NaN where there is no class."""
    values = np.zeros((0, 0)) if array is None else array.values.astype(np.float64)
    return np.where(values < 0, np.nan, values) if array is not None and array.dtype.kind in "iu" else values


def _bare(ax: Axes, title: str) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(plain(title), loc="left", fontsize=9)
