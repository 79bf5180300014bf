"""A live table of any length: a small widget of our own, whose JavaScript comes with the package.

Imported when a browser of windows is made. Of 100,000 rows it holds those near what is seen, some ten kilobytes;
ipydatagrid would send them all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import anywidget
import pandas as pd
import traitlets

__all__ = ["Table", "cell_text"]

_JS = Path(__file__).parents[1] / "js"
_PAGE = 120


class Table(anywidget.AnyWidget):
    """Rows of text, of which one is the current one.

    Attributes:
        columns: Headings.
        rows: The cells of the rows that are here.
        colors: A colour for each of them.
        first: Which row is the first of them.
        total: How many rows there are.
        current: Which row is the current one; -1 for none.
        sorted_by: Heading of the column they are sorted by; empty for none.
        descending: Whether from the largest to the smallest.
        served: How many questions have been answered.
    """

    _esm = _JS / "table.js"
    _css = _JS / "table.css"

    columns = traitlets.List(traitlets.Unicode()).tag(sync=True)
    rows = traitlets.List(traitlets.List(traitlets.Unicode())).tag(sync=True)
    colors = traitlets.List(traitlets.Unicode()).tag(sync=True)
    first = traitlets.Int(0).tag(sync=True)
    total = traitlets.Int(0).tag(sync=True)
    current = traitlets.Int(-1).tag(sync=True)
    sorted_by = traitlets.Unicode("").tag(sync=True)
    descending = traitlets.Bool(False).tag(sync=True)
    served = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        columns: Sequence[str],
        cells: Callable[[int, int], tuple[list[list[str]], list[str]]],
        serve: Callable[[Mapping[str, Any]], object],
    ) -> None:
        self._cells = cells
        self._serve = serve
        super().__init__(columns=list(columns))
        self.on_msg(self._on_message)

    def fill(self, total: int, current: int) -> None:
        """Shows other rows, or the same in another order.

        Args:
            total: How many there are.
            current: Which one is the current one; -1 for none.
        """
        with self.hold_sync():
            self.total = total
            self.current = current
            self._load(current)

    def go_to(self, current: int) -> None:
        """Makes another row the current one.

        Args:
            current: Which one; -1 for none.
        """
        with self.hold_sync():
            self.current = current
            if not self.first <= current < self.first + len(self.rows) and current >= 0:
                self._load(current)

    def scroll_to(self, row: int) -> None:
        """Gets the rows from this one on.

        Args:
            row: The first one that is seen.
        """
        with self.hold_sync():
            self._load(min(max(row, 0), self.total) + _PAGE // 4)

    def _load(self, row: int) -> None:
        first = max(0, min(row - _PAGE // 2, self.total - _PAGE))
        self.rows, self.colors = self._cells(first, min(first + _PAGE, self.total))
        self.first = first

    def _on_message(self, _widget: Any, content: Mapping[str, Any], _buffers: Any) -> None:
        try:
            self._serve(content)
        finally:
            self.served += 1


def cell_text(value: object) -> str:
    """A cell as people read it.

    Args:
        value: Anything.

    Example:
        >>> cell_text(0.123456), cell_text(None), cell_text(pd.Timestamp("2024-05-03"))
        ('0.123', '', '2024-05-03')
    """
    if pd.api.types.is_scalar(value) and pd.isna(value):  # type: ignore[call-overload]  # any scalar
        return ""
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d")
    return f"{value:.3g}" if isinstance(value, float) else str(value)
