"""One window before and after a change of its inputs or its model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from olmoearth_nb.legend import Legend
from olmoearth_nb.tables import html_table, text_table
from olmoearth_nb.traces.changes import Changes
from olmoearth_nb.traces.compare import Comparison, compare
from olmoearth_nb.traces.difference import OutputDifference, output_differences

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from olmoearth_nb.runners.window_trace import WindowTrace

__all__ = ["WhatIf"]


class WhatIf:
    """What a change of the inputs or the model does to what the model says of a window.

    Args:
        before: The trace.
        after: The trace with the change.
        changes: The change.
        legend: The project's legend, for pictures.

    Attributes:
        before: The trace.
        after: The trace with the change; it can be asked and changed further.
        changes: The change.
        differences: Name of the task -> what differs.

    Example:
        >>> trace.what_if(drop_bands="B8").difference.changes  # doctest: +SKIP
    """

    def __init__(
        self, before: WindowTrace, after: WindowTrace, changes: Changes, *, legend: Legend | None = None
    ) -> None:
        self.before = before
        self.after = after
        self.changes = changes
        self._legend = legend
        self.differences: Mapping[str, OutputDifference] = output_differences(before.data, after.data)

    @property
    def difference(self) -> OutputDifference:
        """What differs, for models with one task; with several, ask ``differences["name"]``.

        Raises:
            UsageError: If there are several tasks.
        """
        return self.differences[self.before.output().task]

    def compare(self) -> Comparison:
        """Compares both stage by stage: the first stage at which they differ, and how far all of them do."""
        return compare(self.before, self.after)

    def plot(self, task: str | None = None) -> Figure:
        """Before, after and the difference beside each other.

        Args:
            task: The task; None for the only one.

        Raises:
            UsageError: If there is no such task, or it has nothing to draw.
        """
        from olmoearth_nb.maps.what_if import plot_what_if

        name = self.before.output(task).task
        title = "; ".join(self.changes.words()) or "no change"
        return plot_what_if(self.before.output(name), self.after.output(name), title=title, legend=self._legend)

    def _rows(self) -> list[tuple[str, str]]:
        rows = [("change", line) for line in self.changes.words() or ["none"]]
        several = len(self.differences) > 1
        for name, difference in self.differences.items():
            rows += [(f"{name}: {key}" if several else key, text) for key, text in difference.rows()]
        before, after = self.before.loss, self.after.loss
        if several and before is not None and after is not None:
            rows.append(("loss", f"{before:.4g} → {after:.4g}"))
        return rows

    @property
    def _title(self) -> str:
        window = self.before.data.window
        return f"What if: {window.group}/{window.name}"

    def __repr__(self) -> str:
        return text_table(("", ""), self._rows(), caption=self._title)

    def _repr_html_(self) -> str:
        return html_table(("", ""), self._rows(), caption=self._title)
