"""When local files were taken: from their names, or as the configuration says."""

from __future__ import annotations

import calendar
import fnmatch
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from olmoearth_nb.errors import InputFileError, UsageError

__all__ = ["FileTimes", "TimeRange"]

TimeRange = tuple[datetime, datetime]
"""First moment and the one after the last, in UTC."""


@dataclass(frozen=True)
class FileTimes:
    r"""Time ranges of files.

    Attributes:
        pattern: Regular expression with a group ``date`` that is searched in file names, or None.
        format: What the date looks like, for :meth:`datetime.datetime.strptime`. A format without hours means the
            whole day, one without days the whole month, one without months the year.
        times: Start and end of some files, by name or glob; it goes before the pattern, the first that matches counts.

    Example:
        >>> FileTimes(r"_(?P<date>\d{8})_", "%Y%m%d").of("S2_20240601_T31.tif")[1].isoformat()
        '2024-06-02T00:00:00+00:00'
    """

    pattern: str | None = None
    format: str = "%Y%m%d"
    times: Mapping[str, Sequence[str]] | None = None

    def __post_init__(self) -> None:
        if self.pattern is not None:
            try:
                groups = re.compile(self.pattern).groupindex
            except re.error as error:
                raise UsageError(
                    "It is no regular expression.", where="time_pattern", found=f"{self.pattern!r} ({error})"
                ) from error
            if "date" not in groups:
                raise UsageError(
                    "It says not which part is the date.",
                    where="time_pattern",
                    expected=r"a group of that name, such as '_(?P<date>\d{8})_'",
                    found=repr(self.pattern),
                )
        for name, span in (self.times or {}).items():
            _span(name, span)

    def of(self, name: str, *, path: str | None = None) -> TimeRange | None:
        """Time range of a file; None where nothing says it, which means any time.

        Args:
            name: The file's name.
            path: Its path below the folder, which globs of ``times`` may also name.

        Raises:
            InputFileError: If there is a pattern and the name has no date.
        """
        times = self.times or {}
        for key, span in times.items():
            if key in (name, path) or fnmatch.fnmatchcase(name, key) or (path and fnmatch.fnmatchcase(path, key)):
                return _span(key, span)
        if self.pattern is None:
            return None
        match = re.search(self.pattern, name)
        text = match.group("date") if match is not None else None
        try:
            start = datetime.strptime(text or "", self.format)
        except ValueError as error:
            raise InputFileError(
                "The name of the file has no date.",
                where=path or name,
                expected=f"what time_pattern {self.pattern!r} and time_format {self.format!r} say",
                found=repr(text) if text is not None else "no match",
                fix="Correct them in dataset.json, leave the file out by pattern, or name it in times.",
            ) from error
        start = start.replace(tzinfo=UTC) if start.tzinfo is None else start.astimezone(UTC)
        return start, start + self._length(start)

    def _length(self, start: datetime) -> timedelta:
        has = set(re.findall(r"%-?([a-zA-Z])", self.format))
        if has & set("HIMSfcXs"):
            return timedelta(seconds=1)
        if has & set("djxDF"):
            return timedelta(days=1)
        if has & set("mbB"):
            return timedelta(days=calendar.monthrange(start.year, start.month)[1])
        return timedelta(days=365 + calendar.isleap(start.year))


def _span(name: str, span: Sequence[str]) -> TimeRange:
    expected = "start and end, such as ['2024-01-01', '2024-02-01']"
    if isinstance(span, str) or len(span) != 2:
        raise UsageError("It is no time range.", where=f"times.{name}", expected=expected, found=repr(span))
    try:
        start, end = (datetime.fromisoformat(text) for text in span)
    except (TypeError, ValueError) as error:
        raise UsageError("It is no time range.", where=f"times.{name}", expected=expected, found=repr(span)) from error
    start, end = (time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC) for time in (start, end))
    if end <= start:
        raise UsageError("It ends before it starts.", where=f"times.{name}", expected=expected, found=repr(span))
    return start, end
