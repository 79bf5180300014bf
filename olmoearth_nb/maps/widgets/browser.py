"""The browser of windows: map, table and detail side by side, one window selected in all of them."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import geopandas as gpd
import traitlets
from matplotlib.figure import Figure

from olmoearth_nb.errors import GeometryError, OlmoEarthError, UsageError
from olmoearth_nb.maps.layers import Layer
from olmoearth_nb.maps.live import LiveView, widget_library
from olmoearth_nb.maps.preview import build_map
from olmoearth_nb.maps.widgets.filters import CLASS_COLUMN, Filters, WindowRows
from olmoearth_nb.maps.widgets.shown import ShownWindows
from olmoearth_nb.maps.widgets.source import WindowSource
from olmoearth_nb.store.windows import WindowKey

__all__ = ["WindowBrowser"]

_MAP_HEIGHT, _PANE_HEIGHT = 330, 626
_FILTERS = ("partition", "split", "state", "label_class", "text")
# Reading the class of a window takes some 4 ms.
_FEW = 200
_TOLD_EVERY = 250


class WindowBrowser(LiveView):
    """Windows on a map, in a table and one of them in detail; the last expression of a cell shows it.

    It knows no runner: the table may be of any windows in any order, with any further columns.

    Args:
        table: A windows table as ``runner.windows()`` gives, or part of it, with columns ``name`` and ``group``.
        source: Where the details come from.
        color_by: Column that colours the windows; ``split`` or ``state`` if None.
        columns: Further columns to show in the table, a score for instance.
        background: Layers below the windows on the map.
        caption: One line above.

    Attributes:
        selected: Name of the selected window, ``group/name`` where names are not unique, or None. Of a window that the
            filters hide, setting it lifts them.
        index: Its place among the windows shown, counted from 0, or None.
        partition: Shows windows that this partition needs; None for all.
        split: Shows windows of this split; None for all.
        state: Shows windows in this state; None for all.
        label_class: Shows windows most of whose label is of this class (or of whose prediction, where there is no
            label); None for all. The first time, the class of each window is read.
        text: Shows windows whose name, partition, state, reason or class contain these words.
        map: Its map, a :class:`~olmoearth_nb.maps.view.MapView`.

    Raises:
        UsageError: If the table is no windows table or has no such column.
        GeometryError: If it has no rows.

    Example:
        >>> browser = runner.browse()  # doctest: +SKIP
        >>> browser.state = "failed"  # doctest: +SKIP
        >>> browser.selected  # doctest: +SKIP
        'partition_0_68be0c6224bab649855b'
    """

    selected = traitlets.Unicode(None, allow_none=True)
    index = traitlets.Int(None, allow_none=True)
    partition = traitlets.Unicode(None, allow_none=True)
    split = traitlets.Unicode(None, allow_none=True)
    state = traitlets.Unicode(None, allow_none=True)
    label_class = traitlets.Unicode(None, allow_none=True)
    text = traitlets.Unicode("")

    def __init__(
        self,
        table: gpd.GeoDataFrame,
        source: WindowSource,
        *,
        color_by: str | None = None,
        columns: Sequence[str] = (),
        background: Sequence[Layer] = (),
        caption: str = "",
    ) -> None:
        if not len(table):
            raise GeometryError("There are no windows to browse.", expected="a table with at least one row")
        self._windows = WindowRows(table)
        self._shown = ShownWindows(self._windows, color_by=color_by, extra=columns)
        self._source = source
        self._caption = caption
        self._background = tuple(background)
        super().__init__()
        self._build()
        if CLASS_COLUMN not in table.columns and len(table) <= _FEW:
            with self.guarded():
                self._read_classes()
        self._apply()

    def _build(self) -> None:
        from olmoearth_nb.maps.widgets.panes import DetailPane, FilterBar
        from olmoearth_nb.maps.widgets.table import Table

        self.map = build_map([*self._background, self._shown.layer], height=_MAP_HEIGHT)
        with self.owning():
            options = {field: self._windows.options(field) for field in _FILTERS if field != "text"}
            self._bar = FilterBar(options, self._on_filter, self._on_classes)
            self._table = Table(self._shown.columns, self._shown.cells, self._on_table)
            self._pane = DetailPane(self._on_step)
            self.root = self._arranged()
        self.map.on_select(self._on_map)

    def _arranged(self) -> Any:
        widgets = widget_library()
        # Beside each other where there are 800 pixels, else the detail comes below.
        half = {"flex": "1 1 370px", "min_width": "300px", "overflow": "hidden"}
        detail = {"flex": "1.2 1 420px", "min_width": "300px", "height": f"{_PANE_HEIGHT}px", "overflow": "auto"}
        left = widgets.VBox([self.map.root, self._table], layout=half)
        right = widgets.VBox([self._pane.root], layout={**detail, "padding": "0 0 0 6px"})
        body = widgets.HBox([left, right], layout={"flex_flow": "row wrap", "align_items": "flex-start"})
        head = [widgets.HTML(f"<b>{html.escape(self._caption)}</b>")] if self._caption else []
        root = widgets.VBox([*head, self._bar.root, body, self.message])
        # Where the table's script looks for keys.
        root.add_class("olmoearth-browser")
        return root

    # ---- what code can read ----------------------------------------------------------------------------------

    @property
    def shown(self) -> gpd.GeoDataFrame:
        """The rows of the table that the filters leave, in the order shown."""
        return self._windows.table.iloc[self._shown.rows]

    @property
    def names(self) -> list[str]:
        """The names of the windows shown, in their order; what ``selected`` can be without lifting a filter."""
        return self._shown.names

    def step(self, by: int = 1) -> None:
        """Selects the next window shown, as button and key do; at the ends it stays.

        Args:
            by: How many further; negative for back.
        """
        if len(self._shown):
            self.index = 0 if self.index is None else min(max(self.index + by, 0), len(self._shown) - 1)

    def clear_filters(self) -> None:
        """Shows all windows."""
        with self.hold_trait_notifications():
            for field in _FILTERS:
                setattr(self, field, "" if field == "text" else None)

    # ---- filtering -------------------------------------------------------------------------------------------

    @traitlets.validate("partition", "split", "state", "label_class")
    def _known_value(self, proposal: Any) -> str | None:
        field, value = proposal["trait"].name, proposal["value"]
        if field == "label_class" and value is not None and CLASS_COLUMN not in self._windows.table.columns:
            self._read_classes()
        self._windows.check(field, value)
        known: str | None = value
        return known

    @traitlets.observe("partition", "split", "state", "label_class", "text")
    def _refilter(self, change: Any) -> None:
        with self.guarded():
            self._bar.show(change["name"], change["new"])
            self._apply()

    def _apply(self) -> None:
        """Shows the rows that are wanted; the first of them is selected if the selected one is not among them."""
        wanted = Filters(**{field: getattr(self, field) for field in _FILTERS})
        changed = self._shown.apply(wanted)
        name = self.selected
        if name is None or self._shown.place(name) is None:
            name = self._shown.name_at(0) if len(self._shown) else None
        if changed:
            # What is on the map must have the window before it can be selected there.
            self.map.show([*self._background, self._shown.as_layer()])
        self.selected = name
        self.index = None if name is None else self._shown.place(name)
        self._table.fill(len(self._shown), -1 if self.index is None else self.index)
        self.map.selected = name
        self._tell()

    def _read_classes(self) -> None:
        if CLASS_COLUMN in self._windows.table.columns:
            return
        keys = self._keys()
        found = []
        for done, value in enumerate(self._source.classes(keys)):
            found.append(value)
            if done % _TOLD_EVERY == _TOLD_EVERY - 1:
                self.say(f"Reading classes: {done + 1:,} of {len(keys):,} windows …")
        self.say("")
        self._windows.know_classes(found)
        self._bar.offer("label_class", self._windows.options("label_class"))
        self._table.columns = self._shown.columns

    def _keys(self) -> list[WindowKey]:
        table = self._windows.table
        groups = table["group"] if "group" in table.columns else ["default"] * len(table)
        return [(str(group), str(name)) for group, name in zip(groups, table["name"], strict=True)]

    # ---- selecting -------------------------------------------------------------------------------------------

    @traitlets.validate("selected")
    def _known_name(self, proposal: Any) -> str | None:
        name: str | None = proposal["value"]
        if name is not None:
            self._windows.place_of(name)
        return name

    @traitlets.validate("index")
    def _known_index(self, proposal: Any) -> int | None:
        index: int | None = proposal["value"]
        if index is not None and not 0 <= index < len(self._shown):
            expected = f"0 to {len(self._shown) - 1}" if len(self._shown) else "None: the filters leave no window"
            raise UsageError("There is no window at this place.", expected=expected, found=str(index))
        return index

    @traitlets.observe("index")
    def _index_changed(self, change: Any) -> None:
        index: int | None = change["new"]
        self.selected = None if index is None else self._shown.name_at(index)

    @traitlets.observe("selected")
    def _selected_changed(self, change: Any) -> None:
        name: str | None = change["new"]
        if name is not None and self._shown.place(name) is None:
            self.clear_filters()
        with self.guarded():
            self.index = None if name is None else self._shown.place(name)
            self._table.go_to(-1 if self.index is None else self.index)
            self._select_on_map(name)
            self._tell()
            self._show_detail(name)

    def _select_on_map(self, name: str | None) -> None:
        self.map.selected = name
        seen = self.map.map.bounds  # empty before it is displayed
        if name is None or not seen:
            return
        (south, west), (north, east) = seen
        w, s, e, n = self._shown.layer.shapes[self._windows.place_of(name)].bounds
        if not (west <= w and e <= east and south <= s and n <= north):
            self.map.map.center = ((s + n) / 2, (w + e) / 2)

    def _show_detail(self, name: str | None) -> None:
        from olmoearth_nb.maps.widgets.panes import facts_of

        if name is None:
            self._pane.clear("No window is left by the filters." if not len(self._shown) else "No window is selected.")
            return
        place = self._windows.place_of(name)
        facts = facts_of(name, self._windows.table.iloc[place], self._shown.extra)
        detail = None
        try:
            detail = self._source.detail(self._key(place))
        finally:
            # Of the window before, nothing stays beside this one's name.
            self._pane.show(facts, detail)

    def _key(self, place: int) -> WindowKey:
        row = self._windows.table.iloc[place]
        return str(row.get("group", "default")), str(row["name"])

    def _tell(self) -> None:
        shown, total = len(self._shown), len(self._windows)
        self._bar.counts.value = f"{shown:,} of {total:,} windows" if shown < total else f"{total:,} windows"
        place = "" if self.index is None else f"{self.index + 1:,} of {shown:,}"
        self._pane.place.value = f'<span style="margin-left:8px">{place}</span>'

    # ---- callbacks -------------------------------------------------------------------------------------------

    def _on_map(self, name: str | None) -> None:
        if name is not None:
            self.selected = name

    def _on_filter(self, field: str, value: str | None) -> None:
        with self.guarded():
            setattr(self, field, value if value is not None or field != "text" else "")

    def _on_classes(self) -> None:
        with self.guarded():
            self._read_classes()
            self._apply()

    def _on_table(self, message: Mapping[str, Any]) -> None:
        with self.guarded():
            match message:
                case {"kind": "pick", "row": int(row)} if 0 <= row < len(self._shown):
                    self.index = row
                case {"kind": "sort", "column": str(column)}:
                    self._sort(column)
                case {"kind": "rows", "first": int(first)}:
                    self._table.scroll_to(first)

    def _on_step(self, by: int) -> None:
        with self.guarded():
            self.step(by)

    def _sort(self, column: str) -> None:
        self._shown.sort(column)
        self._table.sorted_by, self._table.descending = self._shown.order or ("", False)
        self._apply()

    # ---- faces -----------------------------------------------------------------------------------------------

    def static(self) -> Figure:
        """The map with the selected window outlined, and that window's detail, as a matplotlib figure."""
        from olmoearth_nb.maps.widgets.twin import draw_browser

        detail = None
        if self.selected is not None:
            try:
                detail = self._source.detail(self._key(self._windows.place_of(self.selected)))
            except OlmoEarthError:
                detail = None  # what is wrong with it, the widget says under itself
        layers = self.map.layers if len(self._shown) else (*self._background, self._shown.layer)
        return draw_browser(layers, self.selected, self._outline(), detail, caption=self._caption)

    def _outline(self) -> Any:
        return None if self.selected is None else self._shown.layer.shapes[self._windows.place_of(self.selected)]

    def close(self) -> None:
        """Removes the browser from the notebook and frees its widgets."""
        self.map.close()
        super().close()

    def __repr__(self) -> str:
        shown, total = len(self._shown), len(self._windows)
        return f"{type(self).__name__}({shown:,} of {total:,} windows, selected={self.selected!r})"
