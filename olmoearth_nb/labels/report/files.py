"""Whether the local files of a layer have the times of tasks, by their names and ``dataset.json``; none is opened."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from rslearn.config.dataset import DataSourceConfig

from olmoearth_nb.errors import OlmoEarthError
from olmoearth_nb.labels.report.facts import LabelFacts
from olmoearth_nb.labels.report.findings import LabelFinding, plural
from olmoearth_nb.labels.report.moments import asked_of, day_of, tasks_at
from olmoearth_nb.sources.files import find_files, is_ours, source_folder
from olmoearth_nb.sources.times import FileTimes, TimeRange

__all__ = ["Spans", "check_file_times", "file_spans", "images_at", "is_local"]

Spans: TypeAlias = npt.NDArray[np.float64]
"""First moment and the one after the last of each file, (N, 2), seconds since 1970."""

_THEIRS = "rslearn.data_sources.local_files.LocalFiles"


def is_local(source: DataSourceConfig) -> bool:
    """Whether a layer comes from local files.

    Args:
        source: The data source.
    """
    return source.class_path == _THEIRS or is_ours(source.class_path)


def check_file_times(facts: LabelFacts, name: str, source: DataSourceConfig) -> LabelFinding:
    """Whether the files, wherever they lie, have enough images of the tasks' times.

    Args:
        facts: What is labelled.
        name: The layer.
        source: Its data source, of local files.
    """
    check = f"imagery of the times in {name}"
    try:
        spans = file_spans(source)
    except OlmoEarthError as error:
        return LabelFinding(code="time-imagery", check=check, verdict="look", found=str(error))
    if spans is None:
        found = "Local files without times are taken whatever the time of a task."
        return LabelFinding(code="time-imagery", check=check, verdict="good", found=found)
    start, end = asked_of(facts, source)
    least = max(source.query_config.min_matches, 1)
    known = np.isfinite(start) & np.isfinite(end)
    rows = known & (images_at(spans, start, end) < least)
    parts = [f"There are {plural(len(spans), 'file')} from {day_of(spans[:, 0].min())} to {day_of(spans[:, 1].max())}."]
    if known.any():
        parts.insert(0, f"Tasks ask for {day_of(start[known].min())} to {day_of(end[known].max())}.")
    if rows.any():
        images = "an image" if least == 1 else f"{least} images"
        parts.insert(0, f"{plural(int(rows.sum()), 'task')} without {images} of its time.")
    return LabelFinding(
        code="time-imagery",
        check=check,
        verdict="bad" if rows.any() else "good",
        found=" ".join(parts),
        advice="Correct the times of tasks or of files (times, time_pattern), or add images." * bool(rows.any()),
        numbers={"layer": name, "files": len(spans), "outside": int(rows.sum())},
        where=tasks_at(facts, rows),
    )


def file_spans(source: DataSourceConfig) -> Spans | None:
    """Times of the files; None if one of them may be used at any time.

    Args:
        source: A data source of local files.

    Raises:
        InputFileError: If there are no files, or the name of one has no date.
        UsageError: If the arguments that say the times are wrong.
    """
    if source.class_path == _THEIRS:
        return None  # its items have no time
    found = _times(source.init_args)
    spans = [(one[0].timestamp(), one[1].timestamp()) for one in found if one is not None]
    return np.asarray(spans) if spans and len(spans) == len(found) else None


def _times(arguments: dict[str, Any]) -> list[TimeRange | None]:
    times = FileTimes(
        arguments.get("time_pattern"), arguments.get("time_format", FileTimes.format), arguments.get("times")
    )
    if arguments.get("raster_item_specs") is not None:
        # The time of an item of several files is that of the first.
        names = [str(spec["fnames"][0]) for spec in arguments["raster_item_specs"]]
    else:
        folder = source_folder(arguments["src_dir"], None)
        names = [path.relative_to(folder).as_posix() for path in find_files(folder, arguments.get("pattern"))]
    return [times.of(name.rpartition("/")[2], path=name) for name in names]


def images_at(spans: Spans, start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """How many of the files have some of a time.

    Args:
        spans: Times of the files.
        start: First moments, seconds since 1970.
        end: Moments after the last ones; the same as the first means that moment.

    Example:
        >>> images_at(np.array([[0, 10], [20, 30]]), np.array([5.0, 12.0]), np.array([25.0, 15.0])).tolist()
        [2, 0]
    """
    last = np.maximum(end, np.nextafter(start, np.inf))
    begun = np.searchsorted(np.sort(spans[:, 0]), last, side="left")
    over = np.searchsorted(np.sort(spans[:, 1]), start, side="right")
    return np.asarray(begun - over, dtype=np.int64)
