"""``python -m benchmarks.scale``: the figures that estimates rest on, and a country by them, for ``docs/scale.md``.

``figures``, ``encoders`` or ``country`` as an argument prints one of them.
"""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import combining, partition
from benchmarks.measure import in_process
from benchmarks.models import cnn, write_checkpoint
from benchmarks.projects import BANDS, dataset, fresh, grid, partitioner, run_yaml, write_imagery, write_project
from olmoearth_nb.files import read_json, write_json

ROOT = Path(__file__).parents[1]
READY, COUNTRY = ROOT / "olmoearth_run_data" / "s2_landcover", ROOT / "docs" / "country.geojson"
# Windows along a side, and pixels along a side of a window: the same pixels in many windows and in few.
_MANY, _FEW = (24, 64), (6, 256)
_MEGAPIXELS = (_MANY[0] * _MANY[1]) ** 2 / 1e6
_MEGABYTES = _MEGAPIXELS * len(BANDS) * 2
# Encoder, its width, crop size: overlap is 8.
ENCODERS = [("NANO", 128, 32), ("NANO", 128, 64), ("TINY", 192, 32), ("BASE", 768, 32)]
# What docs/scale.md assumes a cluster to be.
CLUSTER = {"workers": 64, "gpus": 8}


def _two(many: float, few: float, amount: float) -> tuple[float, float]:
    """Milliseconds of a window, and of a unit of the amount that both cases have."""
    per_window = (many - few) / (_MANY[0] ** 2 - _FEW[0] ** 2)
    return 1e3 * per_window, 1e3 * (few - _FEW[0] ** 2 * per_window) / amount


def _cpu(work: Callable[[], Any]) -> float:
    """CPU seconds of this process: what else the machine does counts less than in seconds of a clock."""
    start = time.process_time()
    work()
    return time.process_time() - start


def steps(folder: Path, *, side: int, size: int) -> None:
    """Writes CPU seconds of steps in one process, for a small convolutional network; of inference, beside the model."""
    _steps(folder / "first", 1, 64)  # what is imported and checked once is not counted
    write_json(folder / f"{side}.json", _steps(folder / "second", side, size))


def _steps(folder: Path, side: int, size: int) -> dict[str, float]:
    from olmoearth_nb import BuildOptions, OlmoEarthRunPredictRunner

    imagery, extent = write_imagery(fresh(folder) / "imagery", side * size + 8), side * size * 10 - 30
    run = run_yaml(partitioner("NoopPartitioner"), grid(size))
    project = write_project(folder / "project", run=run, data=dataset(imagery), area=(extent, extent))
    write_checkpoint(project, cnn(BANDS))
    runner = OlmoEarthRunPredictRunner(project, folder / "scratch", build=BuildOptions(workers=0), progress=False)
    runner.partition()
    return {
        "dataset_build": _cpu(lambda: runner.run(["dataset_build"])),
        "inference": _beside_the_model(runner),
        "postprocess": _cpu(lambda: runner.run(["postprocess"])),
    }


def _beside_the_model(runner: Any) -> float:
    from olmoearth_nb.model import predict

    forward, inside = predict.forward, []

    def counted(*arguments: Any) -> list[Any]:
        start = time.thread_time()  # other threads read and write meanwhile
        outputs = forward(*arguments)
        inside.append(time.thread_time() - start)
        return outputs

    runner.model()
    predict.forward = counted
    seconds = _cpu(lambda: runner.run(["inference"]))
    predict.forward = forward
    return seconds - sum(inside)


def partitioned(folder: Path) -> float:
    """CPU seconds of partitioning."""
    return _cpu(lambda: partition.ours(folder))


def combined(folder: Path, *, count: int) -> float:
    """CPU seconds of combining tiles that are there."""
    return _cpu(lambda: combining.ours(folder, count=count))


def figures(folder: Path) -> Iterator[tuple[str, float]]:
    """Name of a rate and what was measured."""
    small, large = partition.project(folder / "small", 1_000), partition.project(folder / "large", 100_000)
    baseline, planned = in_process("scale:partitioned", small), in_process("scale:partitioned", large)
    yield "partition_ms_per_window", planned.seconds / 100
    yield "plan_kb_per_window", (planned.peak_mb - baseline.peak_mb) / 100
    workers = {side: in_process("scale:steps", folder, side=side, size=size) for side, size in (_MANY, _FEW)}
    many, few = (read_json(folder / f"{side}.json") for side, _ in (_MANY, _FEW))
    for step, names, amount in (
        ("dataset_build", ("build_ms_per_raster", "build_ms_per_mb"), _MEGABYTES),
        ("inference", ("inference_ms_per_window", "inference_ms_per_mb"), _MEGABYTES),
        ("postprocess", ("postprocess_ms_per_window", "postprocess_ms_per_megapixel"), _MEGAPIXELS),
    ):
        yield from zip(names, _two(many[step], few[step], amount), strict=True)
    tiles = 256
    combining.tiles(folder / f"tiles_{tiles}", tiles)
    result = in_process("scale:combined", folder, count=tiles)
    yield "combine_ms_per_megapixel", result.seconds * 1e3 / (tiles * 512**2 / 1e6)
    yield "combine_gb", result.peak_mb / 1e3
    yield "worker_gb", workers[_FEW[0]].peak_mb / 1e3


def encoders(folder: Path) -> Iterator[tuple[str, int, float, float]]:
    """Encoder, crop size, operations of a window of 256 pixels and twelve dates in 10^9, seconds on a core here."""
    for name, width, crop in ENCODERS:
        estimate = _runner(_with_encoder(fresh(folder / "project"), name, width, crop)).estimate(measure=True)
        figures = estimate.figures
        yield name, crop, figures["gflop_per_window"].value, figures["seconds_per_window"].value


def _with_encoder(project: Path, name: str, width: int, crop: int) -> Path:
    shutil.copytree(READY, project)
    path = project / "model.yaml"
    text = path.read_text().replace("V1_2_BASE", f"V1_2_{name}").replace("in_channels: 768", f"in_channels: {width}")
    path.write_text(text.replace("crop_size: 32", f"crop_size: {crop}"))
    return project


def _runner(project: Path, request: Path | None = None) -> Any:
    from olmoearth_nb import OlmoEarthRunPredictRunner

    return OlmoEarthRunPredictRunner(project, project / "scratch", request, random_weights=True, progress=False)


def country(counted: Sequence[tuple[str, int, float, float]]) -> str:
    """The estimate of a country, with time and money of inference for each encoder."""
    from olmoearth_nb import OlmoEarthRunPredictRunner, Rates

    folder = Path(tempfile.gettempdir()) / "no_scratch"
    runner = OlmoEarthRunPredictRunner(READY, folder, COUNTRY, progress=False)
    rows, estimate = [], None
    for name, crop, gflop, seconds in counted:
        estimate = runner.estimate(rates=Rates(gflop_per_window=gflop, seconds_per_window=seconds, **CLUSTER))
        gpu, cpu = estimate.step("inference on GPUs"), estimate.step("inference on CPUs")
        numbers = (gflop, gpu.gpu_hours, gpu.dollars, cpu.core_hours, cpu.dollars, estimate.dollars("GPUs"))
        rows.append((name, f"{crop}²", *(f"{number:,.{int(number < 10)}f}" for number in numbers)))
    heads = ("encoder", "crops", "GFLOP a window", "GPU hours", "$", "core hours instead", "$", "all steps, GPUs, $")
    return f"```\n{estimate!r}\n```\n\n{_table(heads, rows)}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in (heads, ["---"] * len(heads), *rows))


def main(arguments: Sequence[str]) -> None:
    """Prints the tables."""
    wanted = set(arguments) or {"figures", "encoders", "country"}
    print(f"{datetime.datetime.now(datetime.UTC).date()}, {platform.machine()}, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory(prefix="benchmark_scale_") as name:
        folder = Path(name)
        if "figures" in wanted:
            found = [(rate, f"{value:.3g}") for rate, value in figures(folder / "figures")]
            print(_table(("figure", "value"), found), flush=True)
        if wanted & {"encoders", "country"}:
            counted = list(encoders(folder))
            rows = [(one, f"{crop}²", f"{gflop:,.0f}", f"{seconds:.3g}") for one, crop, gflop, seconds in counted]
            print("\n" + _table(("encoder", "crops", "GFLOP a window", "s on a core"), rows), flush=True)
        if "country" in wanted:
            print("\n" + country(counted))


if __name__ == "__main__":
    main(sys.argv[1:])
