"""Which windows of a table are wanted: by partition, split, state, class and text; no widgets here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd

from olmoearth_nb.errors import UsageError
from olmoearth_nb.maps.style import category_colors

__all__ = ["CLASS_COLUMN", "Filters", "WindowRows", "unique_names"]

Rows = npt.NDArray[np.int64]

CLASS_COLUMN = "class"
"""Column of the class of a window, where it is known."""

# Which column each filter looks at.
_COLUMNS = {"partition": "partition", "split": "split", "state": "state", "label_class": CLASS_COLUMN}
_SEARCHED = ("name", "group", "partition", "partitions", "split", "state", "reason", "task", CLASS_COLUMN)
_SEPARATOR = ", "


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which windows are wanted; None and empty text want all.

    Attributes:
        partition: A partition that needs them.
        split: Their split.
        state: Their state.
        label_class: Their class.
        text: What their name, partition, state, reason or class contains, in capitals or not.
    """

    partition: str | None = None
    split: str | None = None
    state: str | None = None
    label_class: str | None = None
    text: str = ""


class WindowRows:
    """The rows of a windows table, found by what is asked of them.

    Args:
        table: A windows table, see :func:`olmoearth_nb.store.windows.window_frame`.

    Attributes:
        table: The same.
        names: The name of each row, with its group where names alone are not unique.
    """

    def __init__(self, table: gpd.GeoDataFrame) -> None:
        self.table = table.reset_index(drop=True)
        self.names = unique_names(self.table)
        self._places = {name: place for place, name in enumerate(self.names)}
        self._columns: dict[str, pd.Series[Any]] = {}
        self._text: pd.Series[Any] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def place_of(self, name: str) -> int:
        """Which row a window is.

        Args:
            name: Its name.

        Raises:
            UsageError: If there is no such window.
        """
        if name not in self._places:
            like = f"a name such as {self.names[0]!r}" if self.names else "nothing: the table has no windows"
            raise UsageError("The table has no such window.", expected=like, found=repr(name))
        return self._places[name]

    def know_classes(self, classes: Sequence[str | None]) -> None:
        """Adds the class of each window.

        Args:
            classes: One for each row.
        """
        self.table[CLASS_COLUMN] = pd.Series(list(classes), dtype=object)
        self._columns.pop(CLASS_COLUMN, None)
        self._text = None

    def options(self, field: str) -> dict[str, int]:
        """What a filter can be, and how many windows each leaves, in the order of a legend.

        Args:
            field: Name of the filter.
        """
        column = _COLUMNS[field]
        if column not in self.table.columns:
            return {}
        cells = self._cells(column)
        several = self._several()
        counts = {str(value): int(count) for value, count in cells.value_counts().items()}
        if field == "partition" and several is not None:
            counts = dict(Counter(one for cell in several for one in cell.split(_SEPARATOR)))
        found = [value for value in counts if value]
        return {name: counts[name] for name in category_colors(found)}

    def check(self, field: str, value: str | None) -> None:
        """Refuses what no window has.

        Args:
            field: Name of a filter.
            value: What it should be; None for all.

        Raises:
            UsageError: If no window has it.
        """
        if value is None:
            return
        options = self.options(field)
        if value not in options:
            what = "class" if field == "label_class" else field
            expected = f"one of {', '.join(list(options)[:20])}" if options else f"a table with a column {what!r}"
            raise UsageError(f"No window has this {what}.", expected=expected, found=repr(value))

    def matching(self, filters: Filters) -> Rows:
        """The rows that are wanted, in their order.

        Args:
            filters: What is wanted.
        """
        wanted = np.ones(len(self), dtype=bool)
        several = self._several()
        for field, column in _COLUMNS.items():
            value = getattr(filters, field)
            if value is None:
                continue
            if field == "partition" and several is not None:
                padded = _SEPARATOR + several + _SEPARATOR
                wanted &= padded.str.contains(f"{_SEPARATOR}{value}{_SEPARATOR}", regex=False).to_numpy(dtype=bool)
            else:
                wanted &= (self._cells(column) == value).to_numpy(dtype=bool)
        for word in filters.text.lower().split():
            wanted &= self._searched().str.contains(word, regex=False).to_numpy(dtype=bool)
        return np.flatnonzero(wanted)

    def ordered(self, rows: Rows, column: str, *, descending: bool) -> Rows:
        """Rows sorted by a column; those without a value come last.

        Args:
            rows: Which rows.
            column: Name of the column.
            descending: From the largest to the smallest.
        """
        cells = self.table[column].iloc[rows].reset_index(drop=True)
        if cells.dtype == object:
            cells = cells.map(lambda cell: None if cell is None else str(cell))
        order = cells.sort_values(ascending=not descending, kind="stable", na_position="last").index
        return rows[np.asarray(order, dtype=np.int64)]

    def _cells(self, column: str) -> pd.Series[Any]:
        if column not in self._columns:
            cells = self.table[column]
            self._columns[column] = cells.where(cells.notna(), "").astype(str)
        return self._columns[column]

    def _several(self) -> pd.Series[Any] | None:
        """All partitions that need each window, where the table knows."""
        return self._cells("partitions") if "partitions" in self.table.columns else None

    def _searched(self) -> pd.Series[Any]:
        if self._text is None:
            parts = pd.DataFrame({column: self._cells(column) for column in _SEARCHED if column in self.table.columns})
            # A line each: no word is found across two cells.
            self._text = pd.Series(["\n".join(cells) for cells in parts.itertuples(index=False)]).str.lower()
        return self._text


def unique_names(table: pd.DataFrame) -> list[str]:
    """The names of windows, with their group where names alone are not unique.

    Args:
        table: A windows table.

    Raises:
        UsageError: If it has no names, or they are not unique with their groups either.
    """
    if "name" not in table.columns:
        raise UsageError("This is no windows table.", expected="a column 'name', as runner.windows() has")
    names = table["name"].astype(str)
    if not names.is_unique and "group" in table.columns:
        names = table["group"].astype(str) + "/" + names
    if not names.is_unique:
        twice = str(names[names.duplicated()].iloc[0])
        raise UsageError("A window is in the table twice.", expected="one row a window", found=repr(twice))
    return list(names)
