"""``runner.map()`` of 10,000 windows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks import partition
from benchmarks.measure import Result, in_process, timed


def ours(folder: Path) -> float:
    """The map of a scratch that is there, leafmap imported."""
    from olmoearth_nb import OlmoEarthRunPredictRunner
    from olmoearth_nb.maps.preview import preview

    runner = OlmoEarthRunPredictRunner(folder, folder.parent / "scratch", progress=False)
    preview(runner.windows().head(2)).close()
    return timed(lambda: runner.map()._repr_mimebundle_())


def limit(folder: Path) -> float:
    """Serialising their outlines."""
    from olmoearth_nb import OlmoEarthRunPredictRunner

    windows = OlmoEarthRunPredictRunner(folder, folder.parent / "scratch", progress=False).windows()
    return timed(lambda: windows.geometry.to_json())


def run(folder: Path, *, against: str | None, large: bool) -> Iterator[Result]:  # noqa: ARG001
    """Measures it."""
    windows = 100_000 if large else 10_000
    place = partition.project(folder / "project", windows)
    in_process("partition:ours", place, storage="sqlite")
    yield Result(
        name="runner.map()", size=f"{windows // 1000}k windows", part=in_process("maps:ours", place),
        limit=in_process("maps:limit", place).seconds, limit_is="serialising their outlines", target="≤ 2 s",
    )  # fmt: skip
