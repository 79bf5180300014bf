"""What an evaluation finds, task by task."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd

from olmoearth_nb.tables import html_table, text_table

__all__ = ["Measured", "TaskResult", "number"]


def number(value: float) -> str:
    """A number for a table.

    Args:
        value: Any; NaN is a dash.
    """
    if math.isnan(value):
        return "–"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.3f}" if 0.01 <= abs(value) < 100 else f"{value:.4g}"


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TaskResult:
    """What was measured for one task of a model.

    Attributes:
        name: The task's name.
        kind: What sort of task it is, in words.
        windows: One row a window: ``group``, ``name``, ``labels`` (labelled pixels, boxes or labels), ``loss`` (NaN
            without a label) and what the kind of task has.
        metrics: Those that the task itself defines, by name.
        labelled: Whether labels were read.
    """

    name: str
    kind: str
    windows: pd.DataFrame
    metrics: Mapping[str, float] = field(default_factory=dict)
    labelled: bool = True

    def headline(self) -> list[tuple[str, str]]:
        """What to know first: names and values with their intervals."""
        return [(name, number(value)) for name, value in self.metrics.items()]

    def table(self) -> pd.DataFrame | None:
        """Numbers by class, or None."""
        return None

    def notes(self) -> list[str]:
        """What to keep in mind."""
        return []

    def group_row(self, rows: pd.Index[int]) -> dict[str, float]:
        """The same numbers for some of the windows.

        Args:
            rows: Labels of rows of ``windows``.
        """
        chosen = self.windows.loc[rows]
        found = {"windows": float(len(chosen)), "labels": float(chosen["labels"].sum())}
        return found | ({"loss": float(chosen["loss"].mean())} if "loss" in chosen else {})

    def why(self, row: int) -> str:
        """What a window has to do with its place in a ranking, in words.

        Args:
            row: Row of ``windows``.
        """
        return f"{int(self.windows.loc[row, 'labels']):,} labels" if self.labelled else ""  # type: ignore[arg-type]

    def __repr__(self) -> str:
        parts = [text_table((self.name, self.kind), self.headline()), *self.notes()]
        table = self.table()
        if table is not None:
            parts.insert(1, text_table(list(map(str, table.columns)), _cells(table)))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        parts = [html_table((self.name, self.kind), self.headline())]
        table = self.table()
        if table is not None:
            parts.append(html_table(list(map(str, table.columns)), _cells(table)))
        return "".join([*parts, *(f"<div>{html.escape(note)}</div>" for note in self.notes())])


def _cells(table: pd.DataFrame) -> list[tuple[str, ...]]:
    return [tuple(number(cell) if isinstance(cell, float | int) else str(cell) for cell in row) for row in table.values]


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """A pass over windows.

    Attributes:
        metrics: ``loss``, the metrics of the tasks by the names that training logs have, ``windows``: their number.
        tasks: Task name -> its result.
        left_out: Why windows were not used -> how many.
    """

    metrics: Mapping[str, float]
    tasks: Mapping[str, TaskResult]
    left_out: Mapping[str, int] = field(default_factory=dict)
