"""``partition()``: a request to windows, and listing them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import shapely

from benchmarks.measure import Result, in_process, other, timed
from benchmarks.projects import dataset, fresh, grid, partitioner, run_yaml, write_project

_WINDOW = 64
_SIZES = {"1k": 1_000, "5k": 5_000, "10k": 10_000, "100k": 100_000}


def project(folder: Path, windows: int) -> Path:
    """A request of about so many windows, in partitions of a quarter of a degree."""
    side = _WINDOW * 10 * windows**0.5
    run = run_yaml(partitioner("GridPartitioner", grid_size=0.25), grid(_WINDOW))
    return write_project(folder, run=run, data=dataset(None), area=(side, side))


def ours(folder: Path, *, storage: str | None = None) -> float:
    """Partitions and windows, written; the import left out."""
    from olmoearth_nb import OlmoEarthRunPredictRunner

    scratch = fresh(folder.parent / "scratch")
    return timed(lambda: OlmoEarthRunPredictRunner(folder, scratch, progress=False).partition(storage=storage))


def listing(folder: Path) -> float:
    """The table of windows of a scratch that is there."""
    from olmoearth_nb import OlmoEarthRunPredictRunner

    runner = OlmoEarthRunPredictRunner(folder, folder.parent / "scratch", progress=False)
    return timed(runner.windows)


def limit(folder: Path, *, windows: int) -> float:
    """The grid's geometry, and as many rows into SQLite in one transaction."""

    def work() -> None:
        side = round(windows**0.5)
        x, y = (axis.ravel() * _WINDOW for axis in np.meshgrid(np.arange(side), np.arange(side)))
        boxes = shapely.box(x, y, x + _WINDOW, y + _WINDOW)
        keep = shapely.intersects(boxes, shapely.box(0, 0, side * _WINDOW, side * _WINDOW))
        with sqlite3.connect(folder / "limit.sqlite3") as connection:
            connection.execute("CREATE TABLE w (g TEXT, n TEXT, x0 INT, y0 INT, x1 INT, y1 INT, PRIMARY KEY (g, n))")
            rows = zip(x[keep].tolist(), y[keep].tolist(), strict=True)
            connection.executemany(
                "INSERT INTO w VALUES (?, ?, ?, ?, ?, ?)",
                (("group_partition_0", f"{a}_{b}", a, b, a + _WINDOW, b + _WINDOW) for a, b in rows),
            )
        (folder / "limit.sqlite3").unlink()

    return timed(work)


def run(folder: Path, *, against: str | None, large: bool) -> Iterator[Result]:
    """Measures it."""
    sizes = {**_SIZES, "1M": 1_000_000} if large else _SIZES
    for name, windows in sizes.items():
        place = project(folder / "project", windows)
        part = in_process("partition:ours", place)
        theirs = None
        if against is not None and name == "5k":
            theirs = other(against, "predict_steps.py", place, folder / "theirs", "partition")
        yield Result(
            name="partition()", size=f"{name} windows", part=part,
            limit=in_process("partition:limit", folder, windows=windows).seconds,
            limit_is="the grid's geometry, and rows into SQLite",
            target="≤ 15 s, 1 GB" if name == "100k" else "20× at 5k" if name == "5k" else "linear", against=theirs,
        )  # fmt: skip
