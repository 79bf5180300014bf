"""Bars, lines and histograms of a trace, by matplotlib."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from olmoearth_nb.maps.canvas import plain, unit
from olmoearth_nb.maps.traced_panels import Bars, Histogram, Lines

__all__ = ["CHART_WIDTH", "MOST_BARS", "clipped", "draw_bars", "draw_histogram", "draw_lines", "ranked"]

CHART_WIDTH = 3.1
"""Inches of bars."""
MOST_BARS = 24
"""So many are drawn."""

_MOST_LINES = 14
_CHARACTERS_PER_INCH = 15
_GREY = "#555555"


def draw_histogram(ax: Axes, histogram: Histogram) -> None:
    """Values of the window over the range of the training windows.

    Args:
        ax: Where to draw.
        histogram: The values.
    """
    ax.set_yticks([])
    ax.spines[["top", "left", "right"]].set_visible(False)
    ax.spines["bottom"].set(color="#999999", linewidth=0.5)
    ax.tick_params(labelsize=5.5, length=2, colors=_GREY, pad=1)
    ends = [float(end) for end in histogram.usual or ()]
    if histogram.values.size:
        low, high = np.percentile(histogram.values, [0.5, 99.5]).tolist()
        ends += [low, high]
    if not ends:
        ax.set_xticks([])
        return
    low, high = min(ends), max(ends)
    room = (high - low) * 0.05 or max(abs(low) * 0.05, 0.5)
    ax.set_xlim(low - room, high + room)
    if histogram.usual is not None:
        ax.axvspan(*histogram.usual, color="#2c6fbb", alpha=0.18, linewidth=0)
    if histogram.values.size:
        ax.hist(histogram.values, bins=40, range=(low - room, high + room), color="#555555", histtype="stepfilled")
    ax.locator_params(axis="x", nbins=3)


def ranked(bars: Bars, most: int) -> list[int]:
    """Numbers of the bars that are shown: all if they are few; else the largest and the label's, largest first.

    Args:
        bars: The bars.
        most: How many.
    """
    if len(bars.names) <= most:
        return list(range(len(bars.names)))
    order = np.argsort(-np.nan_to_num(np.array(bars.values), nan=-np.inf), kind="stable")[:most].tolist()
    if bars.marked is not None and bars.marked not in order:
        order[-1] = bars.marked
    return [int(index) for index in order]


def draw_bars(ax: Axes, bars: Bars) -> None:
    """A bar for each name; of very many the largest.

    Args:
        ax: Where to draw.
        bars: The bars.
    """
    shown = ranked(bars, MOST_BARS)
    values = [bars.values[index] for index in shown]
    places = np.arange(len(shown))
    ax.barh(places, np.nan_to_num(values), color=[unit(bars.colors[index]) for index in shown], height=0.72)
    if bars.points is not None:
        for row in bars.points:
            ax.plot([row[index] for index in shown], places, "o", color="#222222", markersize=2, alpha=0.6)
    for at, value in zip(places, values, strict=True):
        text = f" {value:.3g}" if np.isfinite(value) else " none"
        end = max(np.nan_to_num(value), 0, *([] if bars.points is None else bars.points[:, shown[at]]))
        ax.annotate(text, (end, at), va="center", fontsize=6.5, color=_GREY, annotation_clip=False)
    names = [clipped(bars.names[index], 1.0) + (" ◂ label" if index == bars.marked else "") for index in shown]
    ax.set_yticks(places, [plain(name) for name in names])
    ax.set_ylim(len(shown) - 0.4, -0.6)
    if bars.limits is not None:
        ax.set_xlim(bars.limits)
    ax.axvline(0, color="#777777", linewidth=0.6)
    ax.tick_params(labelsize=6.5, length=2)
    ax.spines[["top", "right"]].set_visible(False)
    left_out = len(bars.names) - len(shown)
    title = bars.title + (f" ({left_out} smaller ones left out)" if left_out else "")
    ax.set_title(plain(clipped(title, CHART_WIDTH)), loc="left", fontsize=8, pad=2.5)


def draw_lines(ax: Axes, panel: Lines) -> None:
    """Lines with their names beside them.

    Args:
        ax: Where to draw.
        panel: The lines.
    """
    places = np.arange(len(panel.steps))
    few = len(places) <= 40
    for name, values, color in panel.lines[:_MOST_LINES]:
        ax.plot(
            places,
            values,
            "o-" if few else "-",
            color=unit(color),
            markersize=2.5,
            linewidth=1.1,
            label=plain(clipped(name, 0.9)),
        )
    step = max(1, -(-len(places) // (4 if max(map(len, panel.steps), default=0) > 6 else 8)))
    ax.set_xticks(places[::step], [plain(clipped(one, 0.8)) for one in panel.steps[::step]])
    ax.tick_params(labelsize=6.5, length=2)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(plain(clipped(panel.title, CHART_WIDTH)), loc="left", fontsize=8, pad=2.5)
    if len(panel.lines) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize=6.5, borderaxespad=0)


def clipped(text: str, inches: float) -> str:
    """A text that is not wider than some room; what is left out is the end.

    Args:
        text: One line.
        inches: The room.
    """
    most = max(int(inches * _CHARACTERS_PER_INCH), 4)
    return text if len(text) <= most else f"{text[: most - 1]}…"
