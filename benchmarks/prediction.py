"""A whole prediction: 80 windows of 256² pixels in 6 partitions, 56 of them distinct, small convolutional network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Part, Result, in_process, other, timed
from benchmarks.models import cnn, write_checkpoint
from benchmarks.projects import BANDS, dataset, fresh, grid, partitioner, run_yaml, write_imagery, write_project

_STEPS = ("partition", "dataset_build", "inference", "postprocess", "combine")
_WIDTH, _HEIGHT, _DEGREES = 18_000.0, 14_000.0, 0.1


def project(folder: Path) -> Path:
    """A project that both tools run as it is."""
    imagery = write_imagery(folder / "imagery", 2300)
    run = run_yaml(partitioner("GridPartitioner", grid_size=_DEGREES), grid(256))
    data = dataset(imagery, source="rslearn.data_sources.local_files.LocalFiles")
    place = write_project(folder / "project", run=run, data=data, area=(_WIDTH, _HEIGHT))
    write_checkpoint(place, cnn(BANDS, crop_size=128, overlap=16))
    return place


def notebook(folder: Path) -> float:
    """All steps in a process that has imported torch."""
    from olmoearth_nb import OlmoEarthRunPredictRunner
    from olmoearth_nb.model import predict  # noqa: F401

    def work() -> None:
        OlmoEarthRunPredictRunner(folder, fresh(folder.parent / "scratch"), progress=False).run_pipeline(_STEPS)

    return timed(work)


def limit(folder: Path) -> float:
    """The steps one after the other by rasterio and torch alone: read, one forward pass each, write."""
    import numpy as np
    import rasterio
    import torch
    from rasterio.windows import Window

    network = torch.nn.Sequential(
        torch.nn.Conv2d(len(BANDS), 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 3, padding=1),
        torch.nn.ReLU(), torch.nn.Conv2d(16, 3, 1),
    )  # fmt: skip
    (source_path,) = (folder / "imagery").glob("*.tif")
    out = fresh(folder / "limit")
    out.mkdir()

    def work() -> None:
        with rasterio.open(source_path) as source, torch.inference_mode():
            for index in range(56):
                window = Window(index % 8 * 256, index // 8 % 8 * 256, 256, 256)
                pixels = torch.from_numpy(source.read(window=window).astype(np.float32))[None]
                classes = network(pixels).argmax(1).numpy().astype(np.uint8)
                profile = {
                    "driver": "GTiff",
                    "width": 256,
                    "height": 256,
                    "count": 1,
                    "dtype": "uint8",
                    "crs": source.crs,
                }
                with rasterio.open(out / f"{index}.tif", "w", **profile) as target:
                    target.write(classes)

    return timed(work)


def run(folder: Path, *, against: str | None, large: bool) -> Iterator[Result]:  # noqa: ARG001
    """Measures it."""
    place = project(folder)
    theirs = None
    if against is not None:
        theirs = other(against, "predict_steps.py", place, folder / "theirs", ",".join(_STEPS))
    bound = in_process("prediction:limit", folder).seconds
    fresh(folder / "scratch")
    call = [sys.executable, "-m", "olmoearth_nb", "predict", str(place), "--scratch-path", str(folder / "scratch")]
    seconds = timed(lambda: subprocess.run(call, check=True, capture_output=True))
    command = Part(seconds=seconds, cpu=seconds, peak_mb=0.0)
    parts = {"as a command": (command, "15×"), "in a notebook": (in_process("prediction:notebook", place), "30×")}
    for how, (part, target) in parts.items():
        yield Result(
            name="whole prediction", size=f"80 windows of 256² (56 distinct), {how}", part=part, limit=bound,
            limit_is="rasterio and torch alone", target=f"≥ {target} olmoearth-runner", against=theirs,
        )  # fmt: skip
