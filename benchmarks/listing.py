"""``runner.windows()``: the table of all windows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from benchmarks import partition
from benchmarks.measure import Result, in_process, timed


def limit(folder: Path) -> float:
    """Reading the rows."""
    with sqlite3.connect(folder / "dataset_0" / "windows.sqlite3") as connection:
        return timed(lambda: connection.execute("SELECT * FROM windows").fetchall())


def run(folder: Path, *, against: str | None, large: bool) -> Iterator[Result]:  # noqa: ARG001
    """Measures it."""
    windows = 1_000_000 if large else 100_000
    place = partition.project(folder / "project", windows)
    in_process("partition:ours", place, storage="sqlite")
    yield Result(
        name="runner.windows()", size=f"{windows // 1000}k windows", part=in_process("partition:listing", place),
        limit=in_process("listing:limit", folder / "scratch").seconds, limit_is="reading the rows", target="≤ 3 s",
    )  # fmt: skip
