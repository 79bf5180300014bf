"""What is shown of a windows table: which rows in which order, as cells of a table and as a layer of a map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from olmoearth_nb.colors import RGB
from olmoearth_nb.errors import UsageError
from olmoearth_nb.maps.features import windows_layer
from olmoearth_nb.maps.layers import Key, ShapeLayer, hex_color
from olmoearth_nb.maps.widgets.filters import CLASS_COLUMN, Filters, WindowRows

__all__ = ["ShownWindows"]


class ShownWindows:
    """The windows of a table that filters leave, sorted by a column or not.

    Args:
        windows: The rows of the table.
        color_by: Column that colours the windows; ``split`` or ``state`` if None.
        extra: Further columns to show.

    Attributes:
        windows: The same.
        rows: Those shown, in their order.
        order: Column they are sorted by, and whether from the largest to the smallest; None for the table's order.
        layer: All windows on the map.

    Raises:
        UsageError: If there is no such column.
    """

    def __init__(self, windows: WindowRows, *, color_by: str | None, extra: Sequence[str]) -> None:
        self.windows = windows
        self.extra = _checked(windows, extra)
        self.rows = np.arange(len(windows))
        self.order: tuple[str, bool] | None = None
        layer = windows_layer(windows.table, by=color_by)
        # What the map calls a window is what the browser calls it.
        self.layer = replace(layer, about=layer.about.assign(name=windows.names))
        self._place_of_row: Mapping[int, int] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def apply(self, filters: Filters) -> bool:
        """Shows the rows that are wanted.

        Args:
            filters: Which.

        Returns:
            Whether they are others than before, in whatever order.
        """
        before, rows = np.sort(self.rows), self.windows.matching(filters)
        changed = not np.array_equal(rows, before)
        if self.order is not None:
            rows = self.windows.ordered(rows, self.order[0], descending=self.order[1])
        self.rows, self._place_of_row = rows, None
        return changed

    def sort(self, column: str) -> None:
        """Sorts by a column, the second time the other way round; the third time gives the table's order back.

        Args:
            column: Its name; another than those shown does nothing.
        """
        if column in self.columns:
            self.order = None if self.order == (column, True) else (column, self.order == (column, False))

    @property
    def names(self) -> list[str]:
        """The names of the windows shown, in their order."""
        return [self.windows.names[row] for row in self.rows.tolist()]

    def name_at(self, place: int) -> str:
        """The name of a window shown.

        Args:
            place: Counted from 0.
        """
        return self.windows.names[int(self.rows[place])]

    def place(self, name: str) -> int | None:
        """Where a window is among those shown, or None.

        Args:
            name: Its name.
        """
        if self._place_of_row is None:
            self._place_of_row = {row: place for place, row in enumerate(self.rows.tolist())}
        return self._place_of_row.get(self.windows.place_of(name))

    # ---- as a table ------------------------------------------------------------------------------------------

    @property
    def columns(self) -> list[str]:
        """The columns of the table that are worth showing."""
        table = self.windows.table
        wanted = ["name", "" if table["name"].is_unique else "group", *self.extra]
        wanted += ["partition", "split", "state", CLASS_COLUMN]
        if "start" in table.columns and table["start"].nunique() > 1:
            wanted.append("start")
        return [name for name in dict.fromkeys(wanted) if name in table.columns]

    def cells(self, first: int, last: int) -> tuple[list[list[str]], list[str]]:
        """Some rows as text, and the colour of each on the map.

        Args:
            first: Of those shown, counted from 0.
            last: One after the last.
        """
        from olmoearth_nb.maps.widgets.table import cell_text

        rows = self.rows[first:last]
        cells = self.windows.table[self.columns].iloc[rows].itertuples(index=False)
        colors = [hex_color(self.layer.colors[row]) for row in rows.tolist()]
        return [[cell_text(cell) for cell in row] for row in cells], colors

    # ---- as a layer ------------------------------------------------------------------------------------------

    def as_layer(self) -> ShapeLayer:
        """The windows shown, in the colours that they have among all."""
        if len(self.rows) == len(self.windows):
            return self.layer
        rows = np.sort(self.rows)
        colors = [self.layer.colors[row] for row in rows.tolist()]
        return replace(
            self.layer,
            name=f"windows ({len(rows):,} of {len(self.windows):,})",
            shapes=self.layer.shapes[rows],
            colors=colors,
            about=self.layer.about.iloc[rows].reset_index(drop=True),
            key=_counted_anew(self.layer.key, colors),
        )


def _checked(windows: WindowRows, columns: Sequence[str]) -> list[str]:
    known = [name for name in windows.table.columns if name != "geometry"]
    for name in columns:
        if name not in known:
            expected = f"some of {', '.join(map(str, known))}"
            raise UsageError(f"The windows table has no column {name!r}.", expected=expected)
    return list(columns)


def _counted_anew(key: Key | None, colors: Sequence[RGB]) -> Key | None:
    """The legend of some of the windows: each colour with how many of them have it."""
    if key is None or key.scale is not None:
        return key
    counts = Counter(colors)
    entries = [(label.rsplit(" (", 1)[0], color) for label, color in key.entries if counts[color]]
    return replace(key, entries=tuple((f"{label} ({counts[color]:,})", color) for label, color in entries))
