"""A confusion matrix to click on: a cell lists the windows behind it, with thumbnails; one of them can be selected."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import traitlets
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image
from rslearn.dataset import Dataset, Window

from olmoearth_nb.errors import MissingStepError, UsageError
from olmoearth_nb.evaluation.classes import ClassResult
from olmoearth_nb.maps.imagery import ImageryView, colored, stretch_over
from olmoearth_nb.maps.labels import LabelView
from olmoearth_nb.maps.layers import hex_color
from olmoearth_nb.maps.live import LiveView, png_of, widget_library
from olmoearth_nb.maps.scores import confusion_shades, plot_result
from olmoearth_nb.maps.sheet import plot_window
from olmoearth_nb.store.dataset import imagery_layers

__all__ = ["ConfusionView", "WindowPictures"]

# More classes than these and a grid of buttons would be slow and hard to read: the commonest mistakes are listed.
_MOST_CLASSES, _MOST_MISTAKES = 16, 200
_THUMBNAIL = 96
_AT_ONCE = 12


@dataclass(frozen=True, kw_only=True)
class WindowPictures:
    """Pictures of windows.

    Attributes:
        dataset: Their dataset.
        windows: Group and name -> window.
        labels: Which labels; none if None.
        prediction: Which prediction; none if None.
    """

    dataset: Dataset
    windows: Mapping[tuple[str, str], Window]
    labels: LabelView | None = None
    prediction: LabelView | None = None

    def thumbnail(self, key: tuple[str, str]) -> bytes | None:
        """A small PNG of the imagery of a window; None where it has none.

        Args:
            key: Group and name.
        """
        view, window = ImageryView(), self.windows[key]
        if not imagery_layers(self.dataset) or not window.is_layer_completed(view.resolved(self.dataset)[0]):
            return None
        pixels = view.read(self.dataset, window)
        picture = Image.fromarray(colored(pixels, stretch_over([pixels], view.percentiles)))
        larger = max(1, round(_THUMBNAIL / max(picture.size)))
        picture = picture.resize((picture.width * larger, picture.height * larger), Image.Resampling.NEAREST)
        picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
        buffer = io.BytesIO()
        picture.save(buffer, format="png")
        return buffer.getvalue()

    def figure(self, key: tuple[str, str]) -> Figure | None:
        """All layers of a window beside each other; None where it has none.

        Args:
            key: Group and name.
        """
        try:
            return plot_window(self.dataset, self.windows[key], labels=self.labels, prediction=self.prediction)
        except MissingStepError:
            return None


class ConfusionView(LiveView):
    """The confusion matrix as buttons, the windows behind the chosen cell, and the chosen window.

    Args:
        result: What was measured.
        pictures: Pictures of its windows.

    Attributes:
        cell: Label and predicted class, or None; may be set.
        selected: Name of the selected window (``group/name`` where names are not unique), or None; may be set.
    """

    cell = traitlets.Tuple(traitlets.Unicode(), traitlets.Unicode(), default_value=None, allow_none=True)
    selected = traitlets.Unicode(None, allow_none=True)

    def __init__(self, result: ClassResult, pictures: WindowPictures) -> None:
        if not result.labelled or not result.matrix.any():
            raise UsageError("There is no confusion matrix.", expected="windows with labels", found="none")
        super().__init__()
        self.result, self._pictures = result, pictures
        names, groups = result.windows["name"].astype(str), result.windows["group"].astype(str)
        shown = names if names.is_unique else groups + "/" + names
        self._keys = dict(zip(shown, zip(groups, names, strict=True), strict=True))
        self._shown_as = dict(zip(result.windows.index, shown, strict=True))
        self._count = _AT_ONCE
        self._of_list: Mapping[str, Any] = {}
        self._of_detail: Mapping[str, Any] = {}
        self._entries: dict[str, Any] = {}
        widgets = widget_library()
        with self.owning():
            self.cells, matrix = self._make_matrix(widgets)
            self.list = widgets.VBox()
            self.detail = widgets.VBox()
            upper = widgets.HBox([matrix, self.list], layout={"align_items": "flex-start", "flex_flow": "row wrap"})
            self.root = widgets.VBox([upper, self.detail, self.message])
        self._show_cell()

    # ---- the matrix ------------------------------------------------------------------------------------------

    def _make_matrix(self, widgets: Any) -> tuple[dict[tuple[str, str], Any], Any]:
        classes = self.result.classes
        if len(classes) > _MOST_CLASSES:
            return {}, self._make_list(widgets)
        shades = confusion_shades(self.result.matrix)
        buttons = {}
        head = [_text(widgets, "label ↓ predicted →"), *(_text(widgets, name) for name in classes)]
        children = head
        for row, label in enumerate(classes):
            children.append(_text(widgets, label))
            for column, predicted in enumerate(classes):
                count = int(self.result.matrix[row, column])
                button = widgets.Button(
                    description=f"{count:,}" if count else "",
                    disabled=not count,
                    tooltip=f"{label} called {predicted}: {shades[row, column]:.1%} of the labels",
                    layout={"width": "auto", "min_width": "44px", "margin": "1px"},
                    style={"button_color": _blue(shades[row, column]), "text_color": _ink(shades[row, column])},
                )
                button.on_click(self._on_click_cell(label, predicted))
                buttons[label, predicted] = button
                children.append(button)
        columns = f"repeat({len(classes) + 1}, auto)"
        return buttons, widgets.GridBox(children, layout={"grid_template_columns": columns, "margin": "0 16px 0 0"})

    def _make_list(self, widgets: Any) -> Any:
        mistakes = self.result.matrix.copy()
        np.fill_diagonal(mistakes, 0)
        order = np.argsort(-mistakes, axis=None, kind="stable")[:_MOST_MISTAKES]
        options = []
        for row, column in zip(*np.unravel_index(order, mistakes.shape), strict=True):
            if mistakes[row, column]:
                label, predicted = self.result.classes[row], self.result.classes[column]
                options.append((f"{label} called {predicted}: {mistakes[row, column]:,}", (label, predicted)))
        chooser = widgets.Select(options=[("choose a mistake", None), *options], rows=16, layout={"width": "340px"})

        def choose(change: Any) -> None:
            with self.guarded():
                self.cell = change["new"]

        chooser.observe(choose, "value")
        return chooser

    def _on_click_cell(self, label: str, predicted: str) -> Callable[[Any], None]:
        def click(_button: Any) -> None:
            with self.guarded():
                self.cell = (label, predicted)

        return click

    @traitlets.validate("cell")
    def _known_cell(self, proposal: Any) -> tuple[str, str] | None:
        cell: tuple[str, str] | None = proposal["value"]
        if cell is not None:
            for name in cell:
                self.result.index_of(name)
        return cell

    @traitlets.observe("cell")
    def _cell_changed(self, change: Any) -> None:
        for cell, style in ((change["old"], ""), (change["new"], "2px solid #ff00c8")):
            if cell in self.cells:
                self.cells[cell].layout.border = style or None
        self._count = _AT_ONCE
        with self.guarded():
            self._show_cell()

    # ---- the windows behind a cell ---------------------------------------------------------------------------

    @property
    def behind(self) -> pd.DataFrame:
        """The windows behind the chosen cell, the largest count first; none without a cell."""
        return self.result.windows.iloc[:0] if self.cell is None else self.result.behind(*self.cell)

    def _show_cell(self) -> None:
        widgets, before, table = widget_library(), self._of_list, self.behind
        with self.owning() as self._of_list:
            self._entries = {}
            if self.cell is None:
                self.list.children = [_text(widgets, "Click on a cell to see the windows behind it.")]
            else:
                label, predicted = self.cell
                title = f"{label} called {predicted}: {len(table):,} windows"
                entries = [
                    self._make_entry(widgets, row, count) for row, count in table["count"][: self._count].items()
                ]
                grid = widgets.HBox(entries, layout={"flex_flow": "row wrap", "max_width": "520px"})
                self.list.children = [_text(widgets, title), grid, *self._make_more(widgets, len(table))]
        self.free(before)

    def _make_entry(self, widgets: Any, row: Any, count: int) -> Any:
        name = self._shown_as[row]
        picture = self._pictures.thumbnail(self._keys[name])
        size = {"width": f"{_THUMBNAIL}px"}
        image = [] if picture is None else [widgets.Image(value=picture, format="png", layout=size)]
        button = widgets.Button(description=f"{count:,}", tooltip=name, layout={**size, "margin": "0"})
        button.on_click(self._on_click_window(name))
        entry = widgets.VBox([*image, button], layout={"margin": "2px", "border": _frame(name == self.selected)})
        self._entries[name] = entry
        return entry

    def _make_more(self, widgets: Any, total: int) -> list[Any]:
        if total <= self._count:
            return []
        button = widgets.Button(description=f"more ({total - self._count:,})")

        def more(_button: Any) -> None:
            with self.guarded():
                self._count += _AT_ONCE
                self._show_cell()

        button.on_click(more)
        return [button]

    def _on_click_window(self, name: str) -> Callable[[Any], None]:
        def click(_button: Any) -> None:
            with self.guarded():
                self.selected = name

        return click

    @traitlets.validate("selected")
    def _known_window(self, proposal: Any) -> str | None:
        name: str | None = proposal["value"]
        if name is not None and name not in self._keys:
            raise UsageError("There is no such window in this evaluation.", found=repr(name))
        return name

    @traitlets.observe("selected")
    def _show_selected(self, change: Any) -> None:
        for name, entry in self._entries.items():
            entry.layout.border = _frame(name == change["new"])
        with self.guarded():
            widgets, before = widget_library(), self._of_detail
            with self.owning() as self._of_detail:
                self.detail.children = [] if change["new"] is None else self._make_detail(widgets, change["new"])
            self.free(before)

    def _make_detail(self, widgets: Any, name: str) -> Sequence[Any]:
        row = next(row for row, shown in self._shown_as.items() if shown == name)
        told = _text(widgets, f"{name}: {self.result.why(row)}")
        figure = self._pictures.figure(self._keys[name])
        if figure is None:
            return [told]
        value = html.escape(f"data:image/png;base64,{png_of(figure)}")
        return [told, widgets.HTML(f'<img src="{value}" style="max-width:100%">')]

    # ---- faces -----------------------------------------------------------------------------------------------

    def static(self) -> Figure:
        """The selected window if there is one, else confusion matrix and calibration."""
        chosen = None if self.selected is None else self._pictures.figure(self._keys[self.selected])
        return plot_result(self.result) if chosen is None else chosen

    def __repr__(self) -> str:
        chosen = "no cell" if self.cell is None else f"{self.cell[0]} called {self.cell[1]}"
        return f"Confusion matrix of {len(self.result.classes)} classes; {chosen}, window {self.selected or 'none'}"


def _text(widgets: Any, text: str) -> Any:
    return widgets.HTML(f'<span style="font-size:12px;line-height:1.3">{html.escape(text)}</span>')


def _frame(selected: bool) -> str:
    return "2px solid #ff00c8" if selected else "2px solid transparent"


def _blue(shade: float) -> str:
    red, green, blue = (round(255 * part) for part in colormaps["Blues"](0.9 * shade)[:3])
    return hex_color((red, green, blue))


def _ink(shade: float) -> str:
    return "#ffffff" if shade > 0.6 else "#222222"
