"""Which windows to look at first."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import pandas as pd

from olmoearth_nb.errors import UsageError
from olmoearth_nb.evaluation.results import TaskResult

__all__ = ["Criterion", "check_criterion", "ranked"]

Criterion: TypeAlias = Literal["loss", "entropy", "error"]
"""Loss as in training; entropy of the predicted classes; share of wrong labels, or mean absolute error."""


def check_criterion(n: int, by: str) -> None:
    """Refuses what is no ranking, before a model is loaded.

    Args:
        n: How many windows.
        by: See :data:`Criterion`.

    Raises:
        UsageError: If it is none.
    """
    if by not in get_args(Criterion):
        raise UsageError(
            "There is no such ranking.", where="by", expected=", ".join(get_args(Criterion)), found=repr(by)
        )
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise UsageError("That is no number of windows.", where="n", expected="1 or more", found=repr(n))


def ranked(result: TaskResult, n: int, by: str) -> pd.DataFrame:
    """The windows with the highest values.

    Args:
        result: What was measured.
        n: How many; fewer if fewer have a value.
        by: See :data:`Criterion`.

    Returns:
        Rows of ``result.windows`` with ``rank``, ``value`` and ``why`` in front; equal ones by name.

    Raises:
        UsageError: If the task, or windows without labels, have no such value.
    """
    check_criterion(n, by)
    windows = result.windows
    if by not in windows.columns or not windows[by].notna().any():
        needs_labels = by != "entropy" and not result.labelled
        there = [name for name in get_args(Criterion) if name in windows.columns and windows[name].notna().any()]
        raise UsageError(
            f"Windows without labels have no {by}." if needs_labels else f"The task {result.name!r} has no {by}.",
            where="by",
            expected=" or ".join(map(repr, there)) or "a task with classes, or labels",
            found=repr(by),
            fix='by="entropy" needs no labels.' if "entropy" in there else None,
        )
    order = windows[windows[by].notna()].sort_values([by, "group", "name"], ascending=[False, True, True]).head(n)
    table = order.copy()
    table.insert(0, "rank", range(1, len(table) + 1))
    table.insert(1, "value", table[by])
    table.insert(2, "why", [result.why(row) for row in order.index])
    return table
