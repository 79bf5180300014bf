"""When labels are true: by their own dates, by the imagery's, or as somebody says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import geopandas as gpd
import pandas as pd

from olmoearth_nb.labels.annotations import time_range_of
from olmoearth_nb.newproject.choices import Choices
from olmoearth_nb.newproject.columns import find_dates, to_times
from olmoearth_nb.newproject.imagery import Imagery
from olmoearth_nb.types import TimeRange

__all__ = ["times_of"]


def times_of(
    frame: gpd.GeoDataFrame, imagery: Imagery, choices: Choices, *, today: date | None = None
) -> tuple[list[TimeRange | None], str]:
    """The time range of each label.

    The models take a year of monthly mosaics from a catalogue, so a label with a date gets the calendar year that it is
    in: labels of a year go together, and so does a request.

    Args:
        frame: The labels.
        imagery: What the model looks at.
        choices: What somebody wants.
        today: To count the last full year from; the current day if None.

    Returns:
        A range for each row, None for a row without a date where others have one; and why.
    """
    count = len(frame)
    if choices.start_time is not None and choices.end_time is not None:
        return [time_range_of(choices.start_time, choices.end_time)] * count, "given"
    columns = find_dates(frame)
    moments = _moments(frame, columns)
    if imagery.is_local and imagery.times is not None:
        start, end = imagery.times
        outside = sum(moment is not None and not _near(moment, imagery.times) for moment in moments)
        said = f"; {outside} labels are dated more than a year off it" if outside else ""
        return [(start, end)] * count, f"that of the imagery{said}"
    if columns:
        named = " and ".join(map(repr, columns))
        return [None if one is None else _year(one.year) for one in moments], f"the year of column {named}"
    last = (today or datetime.now(UTC).date()).year - 1
    return [
        _year(last)
    ] * count, "the labels have no dates: the last full year; give start_time and end_time if it is another"


def _moments(frame: gpd.GeoDataFrame, columns: Sequence[str]) -> list[datetime | None]:
    """The date of each row: the middle of start and end, if there are both."""
    if not columns:
        return [None] * len(frame)
    first, last = (to_times(frame[name]) for name in (columns[0], columns[-1]))
    middle = first + (last.fillna(first) - first) / 2
    return [None if pd.isna(one) else one.to_pydatetime() for one in middle]


def _year(year: int) -> TimeRange:
    return datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)


def _near(moment: datetime, times: TimeRange) -> bool:
    reach = timedelta(days=366)
    return times[0] - reach <= moment <= times[1] + reach
