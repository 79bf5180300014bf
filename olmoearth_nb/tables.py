"""Small tables for results that show themselves: text in a terminal, escaped HTML in a notebook."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

__all__ = ["html_table", "text_table"]

_CELL = 'style="text-align:left;padding:2px 10px 2px 0;vertical-align:top"'


def html_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    caption: str = "",
    tints: Mapping[str, str] | None = None,
) -> str:
    """An HTML table; whatever comes from files is text, never markup.

    Args:
        columns: Headings.
        rows: Cells, row by row.
        caption: One line above the table.
        tints: Text of a cell -> CSS colour of that text, for verdicts.
    """
    tints = tints or {}
    head = "".join(f"<th {_CELL}>{html.escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(_cell(str(cell), tints.get(str(cell))) for cell in row) + "</tr>" for row in rows)
    title = f'<caption style="text-align:left;font-weight:600">{html.escape(caption)}</caption>' if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(text: str, tint: str | None) -> str:
    shown = html.escape(text)
    return f"<td {_CELL}>{f'<b style=color:{tint}>{shown}</b>' if tint else shown}</td>"


def text_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, caption: str = "") -> str:
    """The same table as plain text, columns aligned.

    Args:
        columns: Headings.
        rows: Cells, row by row.
        caption: One line above the table.
    """
    lines = [list(map(str, columns)), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([caption, *text] if caption else text)
