"""``build_dataset()``: 200 windows of 128 × 128 pixels with 5 bands from a local GeoTIFF.

The best of three runs of each number of processes, taken in turns: a machine's speed varies by more than what is asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import rasterio
from rasterio.windows import Window

from benchmarks.measure import Result, in_process, timed
from benchmarks.projects import dataset, fresh, grid, partitioner, run_yaml, write_imagery, write_project

_SIZE, _COLUMNS, _ROWS = 128, 20, 10


def ours(folder: Path, *, workers: int) -> float:
    """The step alone; the imports of its check left out."""
    from olmoearth_nb import BuildOptions, OlmoEarthRunPredictRunner
    from olmoearth_nb.model import predict  # noqa: F401

    runner = OlmoEarthRunPredictRunner(
        folder, fresh(folder.parent / "scratch"), build=BuildOptions(workers=workers), progress=False
    )
    runner.partition()
    counts: dict[str, int] = {}
    seconds = timed(lambda: counts.update(runner.build_dataset().counts))
    assert counts["built"] >= 200, counts
    return seconds


def limit(folder: Path) -> float:
    """Reading and writing those pixels with rasterio alone."""
    out = fresh(folder / "limit")
    out.mkdir()
    source_path = folder / "imagery" / "scene_20240601.tif"

    def work() -> None:
        for index in range(_COLUMNS * _ROWS):
            window = Window(index % _COLUMNS * _SIZE, index // _COLUMNS * _SIZE, _SIZE, _SIZE)
            with rasterio.open(source_path) as source:
                pixels = source.read(window=window)
                profile = {
                    "driver": "GTiff", "width": _SIZE, "height": _SIZE, "count": source.count, "dtype": "uint16",
                    "crs": source.crs, "transform": source.window_transform(window), "compress": "lzw",
                }  # fmt: skip
            with rasterio.open(out / f"{index}.tif", "w", **profile) as target:
                target.write(pixels)

    return timed(work)


def run(folder: Path, *, against: str | None, large: bool) -> Iterator[Result]:  # noqa: ARG001
    """Measures it."""
    write_imagery(folder / "imagery", 3000)
    run_config = run_yaml(partitioner("NoopPartitioner"), grid(_SIZE))
    # A little less than whole windows, so that rounding adds none.
    area = (_COLUMNS * _SIZE * 10 - 30, _ROWS * _SIZE * 10 - 30)
    place = write_project(folder / "project", run=run_config, data=dataset(folder / "imagery"), area=area)
    bound = in_process("building:limit", folder).seconds
    targets = {0: "≤ 3× the limit", 2: "1.8× faster than one"}
    turns = [{workers: in_process("building:ours", place, workers=workers) for workers in targets} for _ in range(3)]
    for workers, target in targets.items():
        yield Result(
            name="build_dataset()", size=f"200 windows, {workers or 1} process{'es' if workers else ''}",
            part=min((turn[workers] for turn in turns), key=lambda part: part.seconds), limit=bound,
            limit_is="rasterio alone", target=target,
        )  # fmt: skip
