"""``run_inference()``: many small windows and few large ones, from file to file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, in_process, timed
from benchmarks.models import S2, cnn, olmoearth_nano, write_checkpoint
from benchmarks.projects import BANDS, dataset, fresh, grid, partitioner, run_yaml, write_imagery, write_project

# Model, windows along a side, pixels along a window's side.
CASES = {
    "small CNN, 400 windows of 64²": ("cnn", 20, 64),
    "small CNN, 16 windows of 512²": ("cnn", 4, 512),
    "OlmoEarth nano, 64 windows of 64²": ("nano", 8, 64),
    "OlmoEarth nano, 4 windows of 256²": ("nano", 2, 256),
}


def _runner(project: Path) -> Any:
    from olmoearth_nb import OlmoEarthRunPredictRunner

    return OlmoEarthRunPredictRunner(project, project.parent / "scratch", progress=False)


def make(folder: Path, *, model: str, side: int, size: int) -> None:
    """A project whose windows have their imagery."""
    imagery, project = fresh(folder / "imagery"), fresh(folder / "project")
    bands, dates = (BANDS, 1) if model == "cnn" else (S2, 3)
    write_imagery(imagery, side * size + 8, bands=len(bands), dates=dates)
    extent = side * size * 10 - 30
    run = run_yaml(partitioner("GridPartitioner", grid_size=0.05), grid(size))
    write_project(project, run=run, data=dataset(imagery, bands=bands, dates=dates), area=(extent, extent))
    write_checkpoint(project, cnn(bands) if model == "cnn" else olmoearth_nano())
    fresh(folder / "scratch")
    _runner(project).run_pipeline(["partition", "dataset_build"])


def ours(folder: Path) -> float:
    """The step alone, with the model loaded."""
    runner = _runner(folder / "project")
    runner.model()
    return timed(lambda: runner.run_inference(overwrite=True))


def limit(folder: Path, *, windows: int | None = None) -> float:
    """Forward passes on the same tensors in memory."""
    from olmoearth_nb.model.batches import batches
    from olmoearth_nb.model.predict import forward
    from olmoearth_nb.model.samples import WindowStream, missing_input
    from olmoearth_nb.store.dataset import open_dataset

    loaded = _runner(folder / "project").model()
    opened = open_dataset(loaded.dataset_path)
    # Windows at the edge of the imagery may have none.
    inputs = {name: one for name, one in loaded.data.inputs.items() if not one.is_target}
    chosen = [window for window in opened.load_windows() if missing_input(inputs, window) is None][:windows]
    size = loaded.data.batch_size
    stream = WindowStream(chosen, opened, loaded.data, split="predict", chunk_size=size)
    ready = [[sample for _, sample in batch] for batch in batches(stream, size=size, num_workers=0, failed=_failed)]
    loaded.module.eval()
    forward(loaded, ready[0])
    return timed(lambda: [forward(loaded, batch) for batch in ready])


def _failed(index: int, reason: str) -> None:
    raise SystemExit(f"window {index}: {reason}")


def run(folder: Path, *, against: str | None, large: bool) -> Iterator[Result]:  # noqa: ARG001
    """Measures it."""
    for name, (model, side, size) in CASES.items():
        in_process("inference:make", folder, model=model, side=side, size=size)
        yield Result(
            name="run_inference()", size=name, part=in_process("inference:ours", folder),
            limit=in_process("inference:limit", folder).seconds,
            limit_is="forward passes on tensors in memory", target="≤ 1.25× the limit",
        )  # fmt: skip
