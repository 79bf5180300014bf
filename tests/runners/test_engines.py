"""The same files with every engine, whatever happens to the workers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import rasterio
import scenes
import yaml

from olmoearth_nb import OlmoEarthRunPredictRunner
from olmoearth_nb.errors import MissingDependencyError, OlmoEarthError, UsageError, WorkerError
from olmoearth_nb.runners import engines, jobs, predict
from olmoearth_nb.runners.engines import Processes, open_engine

_ALONE = """
import sys
from olmoearth_nb import OlmoEarthRunPredictRunner
from olmoearth_nb.forked import can_fork
from olmoearth_nb.runners import jobs, predict

jobs.chunk_length = predict.chunk_length = lambda _: 5
runner = OlmoEarthRunPredictRunner({project!r}, {scratch!r}, progress=False)
forks = [can_fork()]
runner.run(engine="processes", workers=2)
print([*forks, can_fork()])
"""

_POSTPROCESSOR = """
import os
from pathlib import Path

import rasterio

MARK = Path({mark!r})


class PlusTen:
    def process_window(self, request, window_result_path):
        if not MARK.exists():
            MARK.touch()
            os._exit(1)
        with rasterio.open(window_result_path, "r+") as target:
            target.write(target.read() + 10)
"""


@pytest.fixture(autouse=True)
def _forget_own_module() -> Iterator[None]:
    yield
    sys.modules.pop("own_ten", None)


@pytest.fixture
def untrained(tmp_path: Path) -> Path:
    return scenes.make_raster_project(tmp_path / "project")


def _use_own_postprocessor(project: Path) -> Path:
    """Adds ten to every pixel; kills its process the first time unless a file is there, which is returned."""
    mark = project.parent / "mark"
    (project.parent / "own_ten.py").write_text(_POSTPROCESSOR.format(mark=str(mark)))
    path = project / "olmoearth_run.yaml"
    config = yaml.safe_load(path.read_text())
    config["postprocessing_strategies"]["process_window"] = {"class_path": "own_ten.PlusTen", "init_args": {}}
    path.write_text(yaml.safe_dump(config))
    mark.touch()
    return mark


def _runner(project: Path, scratch: str, **options: Any) -> OlmoEarthRunPredictRunner:
    return OlmoEarthRunPredictRunner(project, project.parent / scratch, **{"progress": False, **options})


def _made(runner: OlmoEarthRunPredictRunner) -> dict[str, bytes]:
    """Window outputs, results of partitions and the combined result, by path."""
    root = runner.workspace.root
    files = [path for path in root.rglob("[!.]*") if path.suffix in (".tif", ".geojson") and "tiles" not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "processes", "workers": 2},
        pytest.param({"engine": "processes", "workers": 1}, marks=pytest.mark.slow),
        pytest.param({"engine": "dask", "workers": 2}, marks=pytest.mark.slow),
    ],
    ids=["two", "one", "dask"],
)
def test_the_same_rasters_though_a_worker_dies(
    raster_project: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (jobs, predict):  # several chunks of these few windows
        monkeypatch.setattr(module, "chunk_length", lambda _: 5)
    mark = _use_own_postprocessor(raster_project)
    serial, other = _runner(raster_project, "serial"), _runner(raster_project, "other")
    summaries = serial.run(engine="serial")
    wanted = _made(serial)
    assert sum(name.endswith("layers/output/output/geotiff.tif") for name in wanted) == 16
    with rasterio.open(summaries[-1].files[0]) as source:
        values = np.unique(source.read())
    assert len(values) > 1
    assert values.min() >= 10
    mark.unlink()  # the first worker that processes a window dies
    again = other.run(**options)
    assert mark.exists()
    assert [step.counts for step in again] == [step.counts for step in summaries]
    assert _made(other) == wanted
    assert other.status()["combine"] == "done"


@pytest.mark.skipif(sys.platform != "linux", reason="forks only on Linux")
def test_workers_forked_from_a_process_with_nothing_else_give_the_same(
    raster_project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (jobs, predict):
        monkeypatch.setattr(module, "chunk_length", lambda _: 5)
    mark = _use_own_postprocessor(raster_project)
    serial, other = _runner(raster_project, "serial"), raster_project.parent / "other"
    serial.run()
    mark.unlink()  # the first worker that processes a window dies
    script = _ALONE.format(project=str(raster_project), scratch=str(other))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "[True, True]"
    assert mark.exists()
    assert _made(_runner(raster_project, "other")) == _made(serial)


@pytest.mark.slow
def test_the_same_vectors(vector_project: Path) -> None:
    serial, two = _runner(vector_project, "serial"), _runner(vector_project, "two")
    serial.run()
    two.run(engine="processes", workers=2)
    assert _made(two) == _made(serial)


class _Bar:
    """Counts; interrupts the run at some count."""

    def __init__(self, stop_at: int | None, **_: object) -> None:
        self.stop_at = stop_at
        self.count = 0

    def update(self, n: int = 1, /) -> None:
        self.count += n
        if self.stop_at is not None and self.count >= self.stop_at:
            raise KeyboardInterrupt

    def close(self) -> None:
        pass


@pytest.mark.slow
def test_an_interrupted_run_goes_on_and_bars_count_windows(raster_project: Path) -> None:
    bars: dict[str, _Bar] = {}

    def bar(stop_at: dict[str, int], *, total: int, desc: str, unit: str) -> _Bar:
        bars[desc] = _Bar(stop_at.get(desc))
        return bars[desc]

    with pytest.raises(KeyboardInterrupt):
        _runner(raster_project, "scratch", progress=partial(bar, {"Postprocessing": 2})).run(
            engine="processes", workers=2
        )
    assert bars["Predicting"].count == 16
    runner = _runner(raster_project, "scratch", progress=partial(bar, {}))
    whole = _runner(raster_project, "whole")
    summary = runner.run(engine="processes", workers=2)
    assert summary[2].counts["predicted before"] == 16
    assert 0 < summary[3].counts["processed"] < summary[3].counts["partitions"]
    assert bars["Postprocessing"].count == summary[3].counts["partitions"]
    whole.run()
    assert _made(runner) == _made(whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "threads"}, "There is no such engine.*serial, processes, dask"),
        ({"engine": "serial", "workers": 2}, "engine='serial'.*Leave it out"),
        ({"engine": "processes", "workers": 0}, "workers"),
        ({"engine": "processes", "client": "tcp://127.0.0.1:1"}, "Only engine='dask' takes a client"),
        ({"engine": "dask", "client": 3}, "no client of Dask"),
        ({"engine": "dask", "client": "127.0.0.1:no"}, "No scheduler of Dask answers"),
        ({"threads": 0}, "threads"),
    ],
)
def test_wrong_arguments(untrained: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _runner(untrained, "scratch").run(**options)


def test_dask_is_not_installed(untrained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingDependencyError, match=r"olmoearth-nb\[dask\]"):
        _runner(untrained, "scratch").run(engine="dask")


def _square(number: int) -> int:
    return number * number


def _die(number: int) -> int:
    os._exit(1)


def _refuse(number: int) -> int:
    raise OlmoEarthError(f"No {number}.", fix="Try another.")


def _stay(job: tuple[int, Path]) -> None:
    number, folder = job
    if number:
        (folder / str(os.getpid())).touch()
        time.sleep(60)
    while not any(folder.iterdir()):
        time.sleep(0.05)
    raise OlmoEarthError("The first one fails.")


def test_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "can_fork", lambda: False)
    monkeypatch.setattr(engines, "_TRIES", 2)  # each starts both workers anew
    engine = Processes(2, [])
    assert dict(engine.run(_square, range(5))) == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}
    with pytest.raises(OlmoEarthError, match=r"No 3\. Try another\."):
        list(engine.run(_refuse, [3]))
    with pytest.raises(WorkerError, match=r"again and again.*engine='serial'"):
        list(engine.run(_die, [1]))
    assert list(engine.run(_square, [])) == []


def _grow(number: int) -> int:
    sys.grown = b"x" * 400_000_000 if number else b""  # type: ignore[attr-defined]
    time.sleep(1.1)  # memory is looked at after a second
    return os.getpid()


def test_a_worker_whose_memory_grows_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "can_fork", lambda: False)
    assert len({pid for _, pid in Processes(1, []).run(_grow, range(3))}) == 1


def test_after_an_error_no_process_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "can_fork", lambda: False)
    with pytest.raises(OlmoEarthError, match="The first one fails"):
        list(Processes(2, []).run(_stay, [(number, tmp_path) for number in range(4)]))
    for _ in range(100):
        at_work = [int(path.name) for path in tmp_path.iterdir()]
        assert at_work
        if not any(map(psutil.pid_exists, at_work)):
            return
        time.sleep(0.1)
    pytest.fail("a worker goes on")


def test_a_cluster() -> None:
    with open_engine("dask", workers=1) as engine:
        assert engine is not None
        assert dict(engine.run(_square, range(3))) == {0: 0, 1: 1, 2: 4}
        address = engine.client.scheduler.address  # type: ignore[attr-defined]
        with open_engine("dask", client=address) as other:
            assert other is not None
            with pytest.raises(OlmoEarthError, match=r"No 3\."):
                list(other.run(_refuse, [3]))
            assert dict(other.run(_square, [4])) == {4: 16}


def test_the_command_with_workers(untrained: Path) -> None:
    command = [sys.executable, "-m", "olmoearth_nb", "predict", str(untrained), "--steps", "partition"]
    done = subprocess.run(
        [*command, "--engine", "dask", "--address", "127.0.0.1:no"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    # All that is said, and nothing of Dask's own when the process ends.
    assert done.stderr.startswith("UsageError: client: No scheduler of Dask answers")
    assert "Traceback" not in done.stderr
    done = subprocess.run([*command, "--workers", "2"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
