"""The parts of a browser of windows beside its map and table: the filters above, the detail to the right."""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd

from olmoearth_nb.maps.canvas import Picture
from olmoearth_nb.maps.detail import WindowDetail
from olmoearth_nb.maps.layers import hex_color
from olmoearth_nb.maps.live import widget_library
from olmoearth_nb.maps.sheet import SHEET_WIDTH, SheetPlan, draw_sheet
from olmoearth_nb.maps.style import category_colors
from olmoearth_nb.maps.widgets.filters import CLASS_COLUMN
from olmoearth_nb.maps.widgets.table import cell_text

__all__ = ["DetailPane", "FilterBar", "facts_of"]

# A list of more is too long to pick from, and to send.
_MOST_OPTIONS = 500
_DPI, _EDGE = 130, 0.03
_FACTS = ("partitions", "split", "state", CLASS_COLUMN)
_MUTED = "color:var(--jp-ui-font-color2,#666)"
_FONT = "font:12px/1.5 var(--jp-ui-font-family,sans-serif)"
_NAMES = {"label_class": "class"}
# To a dropdown, None means that nothing is picked.
_ALL = ""


class FilterBar:
    """What can be picked of each filter, and a text.

    Args:
        options: Filter -> what it can be, with the number of windows.
        set_filter: Called with a filter's name and its new value.
        read_classes: Called when the classes are asked for; None if they can't be had.

    Attributes:
        root: The widget.
    """

    def __init__(
        self,
        options: Mapping[str, Mapping[str, int]],
        set_filter: Callable[[str, str | None], object],
        read_classes: Callable[[], object] | None,
    ) -> None:
        widgets = widget_library()
        self._set_filter = set_filter
        self._pickers = {
            field: widgets.Dropdown(
                description=_NAMES.get(field, field),
                options=[("all", _ALL)],
                layout={"width": "200px", "display": "none"},
                style={"description_width": "58px"},
            )
            for field in options
        }
        self._text = widgets.Text(placeholder="search", layout={"width": "150px"}, continuous_update=True)
        self._classes = widgets.Button(
            description="read classes",
            tooltip="Reads the label or the prediction of each window, to filter by the class that most of it has",
            layout={"width": "110px", "display": "none" if read_classes is None else ""},
        )
        self.counts = widgets.HTML(layout={"margin": "0 0 0 8px"})
        for field, picker in self._pickers.items():
            picker.observe(lambda change, field=field: set_filter(field, change["new"] or None), "value")
            self.offer(field, options[field])
        self._text.observe(lambda change: set_filter("text", change["new"]), "value")
        if read_classes is not None:
            self._classes.on_click(lambda _: read_classes())
        self.root = widgets.HBox(
            [*self._pickers.values(), self._classes, self._text, self.counts],
            layout={"flex_flow": "row wrap", "align_items": "center", "overflow": "visible"},
        )

    def offer(self, field: str, options: Mapping[str, int]) -> None:
        """Says what a filter can be.

        Args:
            field: Its name.
            options: Value -> number of windows; the filter is hidden where there is nothing to choose from.
        """
        picker = self._pickers[field]
        if field == "label_class" and options:
            self._classes.layout.display = "none"
        if 1 < len(options) <= _MOST_OPTIONS:
            picker.options = [("all", _ALL), *((f"{name} ({count:,})", name) for name, count in options.items())]
            picker.layout.display = ""

    def show(self, field: str, value: str | None) -> None:
        """Shows what a filter is.

        Args:
            field: Its name.
            value: What it is; None for all, or where it was set to something that the list does not have.
        """
        if field == "text":
            self._text.value = value or ""
            return
        picker = self._pickers[field]
        picker.value = value if value in [option for _, option in picker.options] else _ALL


class DetailPane:
    """What is known of the selected window: facts as text, and its sheet as a picture.

    Args:
        step: Called with -1 or 1 to go to the window before or after.

    Attributes:
        root: The widget.
    """

    def __init__(self, step: Callable[[int], object]) -> None:
        widgets = widget_library()
        buttons = [
            widgets.Button(description=text, tooltip=tip, layout={"width": "92px"})
            for text, tip in [("‹ previous", "also left or k"), ("next ›", "also right or j")]
        ]
        for button, by in zip(buttons, (-1, 1), strict=True):
            button.on_click(lambda _, by=by: step(by))
        self.place = widgets.HTML()
        self.facts = widgets.HTML()
        # Its margins would make a pane of its width scroll.
        wide = {"width": "calc(100% - 8px)", "max_width": f"{SHEET_WIDTH * 110:.0f}px"}
        self.picture = widgets.Image(format="png", layout=wide)
        self.items = widgets.HTML()
        self.root = widgets.VBox(
            [
                widgets.HBox([*buttons, self.place], layout={"align_items": "center", "overflow": "visible"}),
                self.facts,
                self.picture,
                self.items,
            ]
        )
        self.clear()

    def clear(self, text: str = "Select a window on the map or in the table.") -> None:
        """Shows nothing but a line.

        Args:
            text: Plain text.
        """
        self.facts.value = f'<div style="{_FONT};{_MUTED}">{html.escape(text)}</div>'
        self._show_picture(b"")
        self.items.value = ""

    def show(self, facts: str, detail: WindowDetail | None) -> None:
        """Shows a window.

        Args:
            facts: What the table says of it, as HTML; see :func:`facts_of`.
            detail: What is known of it; None if that can't be read.
        """
        empty = detail is not None and detail.is_empty
        note = f'<div style="{_MUTED}">Nothing of it has been built yet.</div>' if empty else ""
        self.facts.value = f'<div style="{_FONT};overflow-wrap:anywhere">{facts}{note}</div>'
        self._show_picture(b"" if detail is None or empty else _png(detail))
        self.items.value = "" if detail is None else _items(detail)

    def _show_picture(self, png: bytes) -> None:
        self.picture.value = png
        self.picture.layout.display = "" if png else "none"


def facts_of(name: str, row: pd.Series[Any], extra: Sequence[str]) -> str:
    """What a windows table says of a window, as HTML; whatever comes from data is text there, never markup.

    Args:
        name: The window's name.
        row: Its row.
        extra: Further columns to show.
    """
    columns = [column for column in (*extra, *_FACTS) if cell_text(row.get(column))]
    chips = [_chip(column, cell_text(row[column])) for column in dict.fromkeys(columns)]
    times = dict.fromkeys(cell_text(row.get(column)) for column in ("start", "end"))
    lines = [f"<b>{html.escape(name)}</b>", " · ".join([*chips, *filter(None, [" to ".join(filter(None, times))])])]
    if cell_text(row.get("reason")):
        lines.append(f'<span style="color:#b00020">{html.escape(cell_text(row["reason"]))}</span>')
    return "<br>".join(line for line in lines if line)


def _chip(column: str, text: str) -> str:
    dot = ""
    if column in ("split", "state"):
        color = hex_color(category_colors([text])[text])
        dot = f'<span style="display:inline-block;width:9px;height:9px;background:{color};margin-right:4px"></span>'
    return f'<span style="{_MUTED}">{html.escape(column)}</span> {dot}{html.escape(text)}'


def _png(detail: WindowDetail) -> bytes:
    plan = SheetPlan(detail)
    figure = Picture(figsize=(SHEET_WIDTH + 2 * _EDGE, plan.height), dpi=_DPI)
    draw_sheet(figure, plan, left=_EDGE)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _items(detail: WindowDetail) -> str:
    """The source items with their whole names, to unfold."""
    rows = [(series.layer, step.date, ", ".join(step.items)) for series in detail.series for step in series.steps]
    if not any(items for *_, items in rows):
        return ""
    frame = pd.DataFrame(rows, columns=["layer", "date", "source items"])
    lines = "".join(
        f"<tr>{''.join(f'<td style=padding-right:10px>{html.escape(cell)}</td>' for cell in row)}</tr>"
        for row in frame.itertuples(index=False)
    )
    return (
        f'<details style="{_FONT};{_MUTED}"><summary style="cursor:pointer">source items</summary>'
        f'<table style="overflow-wrap:anywhere">{lines}</table></details>'
    )
