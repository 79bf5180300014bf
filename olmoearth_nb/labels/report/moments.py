"""Moments that tasks ask imagery for, and how they are shown."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeAlias

import geopandas as gpd
import numpy as np
import numpy.typing as npt
from rslearn.config.dataset import DataSourceConfig

from olmoearth_nb.labels.report.facts import LabelFacts

__all__ = ["Asked", "asked_of", "day_of", "tasks_at"]

Asked: TypeAlias = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
"""Starts and ends that a layer asks its source for, a task each, seconds since 1970."""


def asked_of(facts: LabelFacts, source: DataSourceConfig) -> Asked:
    """The times that a layer asks its source for.

    Args:
        facts: What is labelled.
        source: The source, with its offset and duration.
    """
    start, end = facts.task_seconds.T
    if source.time_offset is not None:
        start, end = start + source.time_offset.total_seconds(), end + source.time_offset.total_seconds()
    if source.duration is not None:
        end = start + source.duration.total_seconds()
    return start, end


def day_of(seconds: float) -> str:
    """The day of a moment.

    Args:
        seconds: Since 1970.

    Example:
        >>> day_of(86_400)
        '1970-01-02'
    """
    return f"{datetime.fromtimestamp(float(seconds), tz=UTC):%Y-%m-%d}"


def tasks_at(facts: LabelFacts, rows: npt.NDArray[np.bool_]) -> gpd.GeoDataFrame | None:
    """Some of the tasks; None if there are none of them.

    Args:
        facts: What is labelled.
        rows: Which, (tasks,).
    """
    return facts.tasks.iloc[np.flatnonzero(rows)].reset_index(drop=True) if rows.any() else None
