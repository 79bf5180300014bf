from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olmoearth_nb.errors import InputFileError, UsageError
from olmoearth_nb.sources.times import FileTimes


@given(st.dates(date(1970, 1, 1), date(2100, 1, 1)))
def test_a_date_in_a_name_is_that_day(day: date) -> None:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    assert FileTimes(r"_(?P<date>\d{8})\.").of(f"S2_{day:%Y%m%d}.tif") == (start, start + timedelta(days=1))


@pytest.mark.parametrize(
    ("pattern", "form", "name", "days"),
    [
        (r"(?P<date>\d{6})", "%Y%m", "m202402.tif", 29),
        (r"(?P<date>\d{4})", "%Y", "y2023.tif", 365),
        (r"(?P<date>\d{4})", "%Y", "y2024.tif", 366),
        (r"(?P<date>\d{7})", "%Y%j", "d2024060.tif", 1),
        (r"(?P<date>\d{8}T\d{6})", "%Y%m%dT%H%M%S", "20240105T101500.tif", 1 / 86400),
    ],
)
def test_a_format_says_how_long(pattern: str, form: str, name: str, days: float) -> None:
    span = FileTimes(pattern, form).of(name)
    assert span is not None
    assert (span[1] - span[0]) == timedelta(days=days)


def test_times_given_go_first_and_files_without_any_have_none() -> None:
    times = FileTimes(times={"a.tif": ["2024-01-01", "2024-02-01"], "b*": ["2024-03-01T12:00+02:00", "2024-04-01"]})
    assert times.of("a.tif") == (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))
    assert times.of("b7.tif") == (datetime(2024, 3, 1, 10, tzinfo=UTC), datetime(2024, 4, 1, tzinfo=UTC))
    assert times.of("c.tif") is None


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(UsageError, match="a group of that name"):
        FileTimes(r"\d{8}")
    with pytest.raises(UsageError, match="no regular expression"):
        FileTimes("(")
    with pytest.raises(UsageError, match="ends before it starts"):
        FileTimes(times={"a.tif": ["2024-02-01", "2024-01-01"]})
    with pytest.raises(UsageError, match="no time range"):
        FileTimes(times={"a.tif": ["2024-02-01"]})
    with pytest.raises(InputFileError, match=r"x\.tif: The name of the file has no date.*no match"):
        FileTimes(r"(?P<date>\d{8})").of("x.tif")
    with pytest.raises(InputFileError, match="20241399"):
        FileTimes(r"(?P<date>\d{8})").of("20241399.tif")
