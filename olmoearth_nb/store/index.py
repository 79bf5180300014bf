"""The windows of each partition, kept beside its request so that no step has to list the dataset.

One JSON file a partition: ``projections`` and ``time_ranges`` are tables, ``windows`` are rows of name, group, index
of the projection, four bounds, index of the time range and the indices of the features it was made for.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from rslearn.utils.geometry import Projection

from olmoearth_nb.errors import InputFileError, MissingStepError
from olmoearth_nb.files import read_json, write_text
from olmoearth_nb.many import distinct
from olmoearth_nb.types import TimeRange, WindowSpec

__all__ = ["read_index", "write_index"]


def write_index(path: Path, windows: Sequence[WindowSpec]) -> None:
    """Writes the windows of a partition.

    Args:
        path: The partition's index file.
        windows: Its windows, shared ones included.
    """
    projections, projection_of = distinct([spec.projection for spec in windows])
    times, time_of = distinct([spec.time_range for spec in windows])
    rows = [
        [spec.name, spec.group, projection, *spec.bounds, time, list(spec.features)]
        for spec, projection, time in zip(windows, projection_of, time_of, strict=True)
    ]
    data = {
        "projections": [projection.serialize() for projection in projections],
        "time_ranges": [None if time is None else [t.isoformat() for t in time] for time in times],
        "windows": rows,
    }
    write_text(path, json.dumps(data, separators=(",", ":")))


def read_index(path: Path) -> list[WindowSpec]:
    """Reads the windows of a partition.

    Args:
        path: The partition's index file.

    Raises:
        MissingStepError: If there is none.
        InputFileError: If it is damaged.
    """
    if not path.exists():
        raise MissingStepError(
            "The list of the partition's windows is missing.",
            where=str(path),
            fix="Call runner.partition(overwrite=True).",
        )
    data = read_json(path, what="list of a partition's windows")
    try:
        projections = [Projection.deserialize(projection) for projection in data["projections"]]
        times = [None if time is None else _time_range(time) for time in data["time_ranges"]]
        return [
            WindowSpec(
                name=name,
                group=group,
                projection=projections[projection],
                bounds=(x0, y0, x1, y1),
                time_range=times[time],
                features=tuple(features),
            )
            for name, group, projection, x0, y0, x1, y1, time, features in data["windows"]
        ]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputFileError(
            "The list of a partition's windows is damaged.",
            where=str(path),
            fix="Call runner.partition(overwrite=True).",
        ) from error


def _time_range(pair: Sequence[str]) -> TimeRange:
    start, end = pair
    return datetime.fromisoformat(start), datetime.fromisoformat(end)
