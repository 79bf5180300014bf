"""What a check of a trace finds, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import pandas as pd

from olmoearth_nb.tables import html_table, text_table

__all__ = ["Finding", "FindingSeverity", "Findings"]

FindingSeverity: TypeAlias = Literal["error", "warning", "note"]
"""``error`` is surely wrong, ``warning`` looks wrong, ``note`` is worth knowing and often in order."""

_ORDER: tuple[FindingSeverity, ...] = ("error", "warning", "note")
_COLUMNS = ("", "code", "where", "what was found")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that a check found.

    Attributes:
        severity: How sure it is that something is wrong.
        code: What sort of thing it is, for programs: ``band-order``, ``scale`` and others.
        where: The layer, input, stage, module or task that it concerns.
        words: What was found, and what to look at.
        number: The measure behind it, as the words say it; None if there is none.
    """

    severity: FindingSeverity
    code: str
    where: str
    words: str
    number: float | None = None

    def __str__(self) -> str:
        return f"{self.severity}: {self.where}: {self.words} [{self.code}]"


class Findings:
    """What a check of a window found, worst first; false if it is nothing.

    Args:
        window: Name of the window.
        found: The findings.

    Example:
        >>> found = Findings("w", [Finding(severity="note", code="blocky", where="layer s2", words="Blocks.")])
        >>> found.codes
        ('blocky',)
        >>> found.alarming
        ()
    """

    def __init__(self, window: str, found: Iterable[Finding]) -> None:
        self.window = window
        self._found = tuple(sorted(found, key=lambda one: _ORDER.index(one.severity)))

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._found)

    def __getitem__(self, index: int) -> Finding:
        return self._found[index]

    @property
    def codes(self) -> tuple[str, ...]:
        """Codes of the findings, each once."""
        return tuple(dict.fromkeys(one.code for one in self))

    @property
    def alarming(self) -> tuple[Finding, ...]:
        """Errors and warnings, without notes."""
        return tuple(one for one in self if one.severity != "note")

    def of(self, code: str) -> tuple[Finding, ...]:
        """The findings of a sort.

        Args:
            code: The code.
        """
        return tuple(one for one in self if one.code == code)

    def table(self) -> pd.DataFrame:
        """One row a finding: ``severity``, ``code``, ``where``, ``words``, ``number``."""
        names = ["severity", "code", "where", "words", "number"]
        return pd.DataFrame([[getattr(one, name) for name in names] for one in self], columns=names)

    def _caption(self) -> str:
        if not self._found:
            return f"Window {self.window}: nothing suspicious was found."
        counts = [(sum(one.severity == kind for one in self), kind) for kind in _ORDER]
        return f"Window {self.window}: " + ", ".join(f"{n} {kind}{'s' * (n != 1)}" for n, kind in counts if n)

    def _rows(self) -> list[tuple[str, str, str, str]]:
        return [(one.severity, one.code, one.where, one.words) for one in self]

    def __repr__(self) -> str:
        return text_table(_COLUMNS, self._rows(), caption=self._caption()) if self._found else self._caption()

    def _repr_html_(self) -> str:
        if not self._found:
            return html_table((), (), caption=self._caption())
        return html_table(_COLUMNS, self._rows(), caption=self._caption())
