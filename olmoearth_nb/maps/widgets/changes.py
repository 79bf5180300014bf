"""A change of a text file, to look at before or after it is made."""

from __future__ import annotations

import html
from dataclasses import dataclass

__all__ = ["FileChange"]

_COLORS = {"+": "background:#e6ffec;color:#116329", "-": "background:#ffebe9;color:#82071e"}


@dataclass(frozen=True, repr=False)
class FileChange:
    """What differs between two versions of a file.

    Attributes:
        name: The file.
        diff: As a unified diff; empty if nothing differs.
    """

    name: str
    diff: str

    def __bool__(self) -> bool:
        return bool(self.diff)

    def __repr__(self) -> str:
        return self.diff or f"{self.name} says this already."

    def _repr_html_(self) -> str:
        if not self.diff:
            return html.escape(repr(self))
        lines = (
            f'<div style="{_COLORS.get(line[:1], "")}">{html.escape(line) or "&nbsp;"}</div>'
            for line in self.diff.splitlines()[2:]
        )
        style = "font:12px/1.4 monospace;white-space:pre;overflow-x:auto;margin:4px 0"
        return f'<div style="{style}"><b>{html.escape(self.name)}</b>{"".join(lines)}</div>'
