"""All layers of one window on a sheet: images with their dates, label, prediction, difference, confidence, classes.

Everything has its place in inches: a sheet is drawn whenever somebody steps to the next window, and leaving the
arrangement to matplotlib takes longer than the drawing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from rslearn.dataset import Dataset, Window

from olmoearth_nb.colors import RGB
from olmoearth_nb.errors import MissingStepError
from olmoearth_nb.legend import RangeLegend
from olmoearth_nb.maps.canvas import Picture, add_scale_bar, plain, unit
from olmoearth_nb.maps.detail import Difference, SharesRow, ValueLayer, WindowDetail, read_detail
from olmoearth_nb.maps.features import CONFIDENCE_COLORMAP, full_confidence
from olmoearth_nb.maps.imagery import ImageryView, colored
from olmoearth_nb.maps.labels import LabelView, WindowLabels
from olmoearth_nb.maps.panels import draw_window, draw_window_labels, window_frame
from olmoearth_nb.maps.series import Series, TimeStep
from olmoearth_nb.maps.style import Coloring

__all__ = ["SHEET_WIDTH", "SheetPlan", "draw_sheet", "plot_window"]

SHEET_WIDTH = 5.4
"""Inches."""

_COLUMNS, _THUMBNAILS = 3, 6
_GAP, _TITLE, _CAPTION, _HEADING = 0.1, 0.21, 0.33, 0.24
_ROW = 0.17
_MOST_ROWS = 24
# Slimmer and taller windows than this are shown smaller.
_TALLEST = 1.25
_SAME: RGB = (222, 226, 222)
_DIFFERENT: RGB = (200, 30, 60)
_DARK: RGB = (60, 60, 60)
_GREY = "#555555"
_DIVERGING = "RdBu_r"


def plot_window(
    dataset: Dataset,
    window: Window,
    *,
    labels: LabelView | None = None,
    prediction: LabelView | None = None,
    view: ImageryView | None = None,
) -> Figure:
    """All layers of a window: images with dates, label, prediction, difference, confidence and the shares of classes.

    Args:
        dataset: The dataset of the window.
        window: The window.
        labels: Which labels; none if None.
        prediction: Which prediction; none if None.
        view: Which imagery, and how; if None, each layer of imagery in its natural colours.

    Raises:
        MissingStepError: If the window has none of these layers.
    """
    detail = read_detail(dataset, window, labels=labels, prediction=prediction, view=view)
    if detail.is_empty:
        raise MissingStepError(
            "The window has nothing to show yet.",
            where=f"window {window.group}/{window.name}",
            fix="Build the dataset first.",
        )
    plan = SheetPlan(detail)
    figure = Picture(figsize=(SHEET_WIDTH, plan.height + _HEADING), dpi=100)
    figure.suptitle(plain(window.name), fontsize=9, x=0.0, y=1.0, ha="left", va="top")
    draw_sheet(figure, plan)
    return figure


@dataclass(frozen=True)
class _Panel:
    """One square of a sheet."""

    title: str
    caption: str
    draw: Callable[[Axes], object]


class SheetPlan:
    """What is on a sheet, and how high it is.

    Args:
        detail: What is known of the window; not empty.

    Attributes:
        detail: The same.
        height: Inches.
    """

    def __init__(self, detail: WindowDetail) -> None:
        self.detail = detail
        self.panels = _panels(detail)
        self.strips = [one for one in detail.series if len(one.steps) > 1]
        shares = detail.shares[:_MOST_ROWS]
        ranges = {id(one): one for one in detail.colorings if isinstance(one, RangeLegend)}
        self.keys = ([] if not shares else [shares]) + list(ranges.values())
        squares = len(self.panels) + len(self.keys)
        self.columns = min(_COLUMNS, squares)
        self.side = (SHEET_WIDTH - _GAP * (_COLUMNS - 1)) / _COLUMNS if self.columns == _COLUMNS else 2.4
        frame = window_frame(detail.window)
        self.tall = min(frame.height * frame.aspect / frame.width, _TALLEST) * self.side
        self.rows = self._row_heights(squares)
        self.thumbnail = (SHEET_WIDTH - _GAP * (_THUMBNAILS - 1)) / _THUMBNAILS
        self.thumbnail_tall = self.thumbnail * self.tall / self.side
        self.height = sum(self.rows) + sum(map(self.strip_height, self.strips))

    def _row_heights(self, squares: int) -> list[float]:
        heights = []
        for first in range(0, squares, self.columns):
            row = range(first, min(first + self.columns, squares))
            needed = [
                self._panel_height(self.panels[place])
                if place < len(self.panels)
                else _key_height(self.keys[place - len(self.panels)])
                for place in row
            ]
            heights.append(_TITLE + max(needed) + _GAP / 2)
        return heights

    def _panel_height(self, panel: _Panel) -> float:
        lines = panel.caption.count("\n") + bool(panel.caption)
        return self.tall + (0.06 + 0.14 * lines if lines else 0.04)

    def strip_height(self, series: Series) -> float:
        """Inches of a strip of thumbnails.

        Args:
            series: What is on it.
        """
        rows = -(-len(series.steps) // _THUMBNAILS)
        return _TITLE + rows * (self.thumbnail_tall + _CAPTION)


def _key_height(key: list[SharesRow] | RangeLegend) -> float:
    return 0.6 if isinstance(key, RangeLegend) else _ROW * (len(key) + 3)


def draw_sheet(figure: Figure, plan: SheetPlan, *, left: float = 0.0, bottom: float = 0.0) -> None:
    """Draws a sheet onto a figure.

    Args:
        figure: The figure.
        plan: What is on the sheet.
        left: Where it begins, in inches from the left.
        bottom: Where it ends, in inches from below.
    """
    width, height = figure.get_size_inches().tolist()

    def place(x: float, y: float, wide: float, tall: float) -> Axes:
        """Axes at inches from the upper left corner of the sheet."""
        up = bottom + plan.height - y - tall
        return figure.add_axes(((left + x) / width, up / height, wide / width, tall / height))

    y = 0.0
    squares = [*plan.panels, *plan.keys]
    for row, row_height in enumerate(plan.rows):
        for column, square in enumerate(squares[row * plan.columns : (row + 1) * plan.columns]):
            x = column * (plan.side + _GAP)
            if isinstance(square, _Panel):
                _draw_panel(place(x, y + _TITLE, plan.side, plan.tall), square)
            else:
                _draw_key(place(x, y, plan.side, row_height), square, plan.detail)
        y += row_height
    if plan.panels:
        add_scale_bar(figure.axes[-len(squares)], window_frame(plan.detail.window))
    for series in plan.strips:
        _draw_strip(plan, series, place, y)
        y += plan.strip_height(series)


def _panels(detail: WindowDetail) -> list[_Panel]:
    window = detail.window
    panels = [_image_panel(window, series) for series in detail.series]
    for one, coloring in zip(detail.values, detail.colorings, strict=True):
        panels.append(_Panel(one.title, "", _painter(window, one, coloring)))
    if detail.difference is not None:
        panels.append(_Panel("difference", detail.difference.summary, _difference_painter(window, detail.difference)))
    if detail.confidence is not None:
        panels.append(_confidence_panel(window, detail.confidence))
    return panels


def _image_panel(window: Window, series: Series) -> _Panel:
    # A strip of thumbnails says what each image is.
    first = series.steps[min(series.view.time_step, len(series.steps) - 1)] if series.steps else None
    caption = "" if first is None else _caption(first, 26)

    def draw(ax: Axes) -> None:
        if first is not None:
            _draw_image(ax, window, series, first)

    return _Panel(series.title, caption, draw)


def _draw_image(ax: Axes, window: Window, series: Series, step: TimeStep) -> None:
    draw_window(ax, window, colored(step.pixels, series.stretch, colormap=series.view.colormap))


def _painter(window: Window, one: ValueLayer, coloring: Coloring) -> Callable[[Axes], object]:
    return lambda ax: draw_window_labels(ax, window, one.found, coloring, edge=_DARK)


def _difference_painter(window: Window, difference: Difference) -> Callable[[Axes], object]:
    if not difference.of_classes:
        most = float(np.nanmax(np.abs(difference.values))) or 1.0
        scale = RangeLegend("difference", None, -most, most, _DIVERGING)
        return lambda ax: draw_window(ax, window, scale.colors_of(difference.values))
    rgba = np.zeros((*difference.values.shape, 4), dtype=np.uint8)
    for value, color in ((0, _SAME), (1, _DIFFERENT)):
        rgba[difference.values == value] = (*color, 255)
    return lambda ax: draw_window(ax, window, rgba)


def _confidence_panel(window: Window, found: WindowLabels) -> _Panel:
    numbers = [np.nan if value is None else value for value in found.all_values]
    values = np.array(numbers, dtype=np.float64)
    scale = RangeLegend(found.name, None, 0.0, full_confidence(values), CONFIDENCE_COLORMAP)
    mean = f"mean {np.nanmean(values):.3g} of {scale.max_value:g}" if np.isfinite(values).any() else ""
    return _Panel(
        f"confidence: {found.name}", mean, lambda ax: draw_window_labels(ax, window, found, scale, edge=_DARK)
    )


def _draw_panel(ax: Axes, panel: _Panel) -> None:
    panel.draw(ax)
    ax.set(xticks=[], yticks=[], anchor="NW")
    for spine in ax.spines.values():
        spine.set(color="#999999", linewidth=0.6)
    ax.set_title(plain(_cut(panel.title, 28)), fontsize=8.5, loc="left", pad=3)
    if panel.caption:
        ax.set_xlabel(plain(panel.caption), fontsize=7.5, color=_GREY, loc="left", labelpad=2, linespacing=1.15)


def _draw_strip(plan: SheetPlan, series: Series, place: Callable[..., Axes], top: float) -> None:
    left_out = f" of {series.count}" if series.count > len(series.steps) else ""
    for number, step in enumerate(series.steps):
        row, column = divmod(number, _THUMBNAILS)
        x = column * (plan.thumbnail + _GAP)
        y = top + _TITLE + row * (plan.thumbnail_tall + _CAPTION)
        ax = place(x, y, plan.thumbnail, plan.thumbnail_tall)
        _draw_panel(ax, _Panel("", _caption(step, 12) or f"image {number}", _image_painter(plan, series, step)))
        ax.xaxis.label.set_fontsize(6.5)
        if number == 0:
            title = f"{series.layer}: {len(series.steps)}{left_out} images"
            ax.set_title(plain(title), fontsize=8.5, loc="left", pad=3)


def _image_painter(plan: SheetPlan, series: Series, step: TimeStep) -> Callable[[Axes], object]:
    return lambda ax: _draw_image(ax, plan.detail.window, series, step)


def _draw_key(ax: Axes, key: list[SharesRow] | RangeLegend, detail: WindowDetail) -> None:
    if isinstance(key, RangeLegend):
        _draw_scale(ax, key, detail)
    else:
        _draw_shares(ax, key, detail)


def _draw_shares(ax: Axes, rows: Sequence[SharesRow], detail: WindowDetail) -> None:
    """A table of the classes, and a bar of them for label and prediction."""
    ax.set_axis_off()
    wide, tall = (size / 72 for size in _points(ax))
    ax.set(xlim=(0, wide), ylim=(tall, 0))
    names = ["label", "prediction"] if len(detail.values) == 2 else ["share"]
    heads = ["label", "pred."] if len(detail.values) == 2 else ["share"]
    columns = [wide - 0.06 - 0.42 * place for place in reversed(range(len(names)))]
    start = 0.66 if len(names) == 2 else 0.0
    y = _TITLE + _ROW / 2
    for place, name in enumerate(names):
        if start:
            ax.text(0, y, name, fontsize=7.5, color=_GREY, va="center")
        x = start
        for row in rows:
            length = row.shares[place] * (wide - 0.06 - start)
            ax.add_patch(Rectangle((x, y - 0.05), length, 0.1, facecolor=unit(row.color), edgecolor="none"))
            x += length
        y += _ROW
    for name, right in zip(heads, columns, strict=True):
        ax.text(right, y if start else 0.12, name, fontsize=7.5, color=_GREY, ha="right", va="center")
    y += _ROW if start else 0.0
    letters = int((columns[0] - 0.5) / 0.06)
    for row in rows:
        ax.add_patch(Rectangle((0, y - 0.05), 0.13, 0.1, facecolor=unit(row.color), edgecolor=_GREY, linewidth=0.4))
        ax.text(0.19, y, plain(_shortened(row.label, letters)), fontsize=7.5, va="center")
        for share, right in zip(row.shares, columns, strict=True):
            ax.text(right, y, _percent(share), fontsize=7.5, ha="right", va="center")
        y += _ROW
    if len(detail.shares) > len(rows):
        ax.text(0.19, y, f"… and {len(detail.shares) - len(rows)} more", fontsize=7.5, color=_GREY, va="center")


def _draw_scale(ax: Axes, scale: RangeLegend, detail: WindowDetail) -> None:
    """A colour bar, and the mean of each that it is for."""
    ax.set_axis_off()
    bar = ax.inset_axes((0.04, 1 - 0.42 * 72 / _points(ax)[1], 0.88, 0.12 * 72 / _points(ax)[1]))
    mappable = ScalarMappable(Normalize(scale.min_value, scale.max_value), colormaps[scale.colormap_name])
    ax.figure.colorbar(mappable, cax=bar, orientation="horizontal", extend="both")
    bar.tick_params(labelsize=6.5)
    bar.set_title(plain(scale.property_name), fontsize=8.5, loc="left", pad=3)
    lines = []
    for one, coloring in zip(detail.values, detail.colorings, strict=True):
        numbers = np.array([np.nan if value is None else value for value in one.found.all_values], dtype=np.float64)
        if coloring is scale and np.isfinite(numbers).any():
            lines.append(f"{one.title}: mean {np.nanmean(numbers):.3g}")
    bar.set_xlabel(plain("\n".join(lines)), fontsize=7.5, color=_GREY, loc="left")


def _points(ax: Axes) -> tuple[float, float]:
    """Size of axes in points, 1/72 inch."""
    box = ax.get_position()
    width, height = cast(Figure, ax.get_figure(root=True)).get_size_inches().tolist()
    return box.width * width * 72, box.height * height * 72


def _caption(step: TimeStep, letters: int) -> str:
    """Date and source item, a line each."""
    date = step.date if len(step.date) <= letters else step.date.replace(" to ", "\nto ")
    source = _cut(step.source, letters)
    return "\n".join(line for line in (date, source) if line)


def _cut(text: str, letters: int) -> str:
    """A long name without its middle: what tells names apart is at their ends."""
    text = " ".join(text.split())
    if len(text) <= letters:
        return text
    head = (letters - 1) // 2
    return f"{text[:head]}…{text[head + 1 - letters :]}"


def _shortened(text: str, letters: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _percent(share: float) -> str:
    if share == 0:
        return "–"
    return f"{share:.0%}" if share >= 0.095 else f"{share:.1%}" if share >= 0.001 else "<0.1%"
