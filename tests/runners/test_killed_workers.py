"""Worker processes that are killed at random moments, again and again: the files are those of an undisturbed run."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from olmoearth_nb import OlmoEarthRunPredictRunner
from olmoearth_nb.runners import jobs, predict
from olmoearth_nb.runners.engines import Processes

# In the command of a worker process, for loky's and for those of Dask.
_WORKERS = {"processes": "popen_loky", "dask": "spawn_main"}


class _Killer:
    """Kills a random worker at random moments, until it has killed so many."""

    def __init__(self, engine: str, *, seed: int, kills: int) -> None:
        self._mark = _WORKERS[engine]
        self._random = random.Random(seed)
        self._left = kills
        self._over = threading.Event()
        self.killed = 0

    def __enter__(self) -> _Killer:
        self._thread = threading.Thread(target=self._go_on)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _go_on(self) -> None:
        while self.killed < self._left and not self._over.wait(self._random.uniform(0.2, 1.5)):
            workers = sorted(self._workers(), key=lambda one: one.pid)
            if workers:
                self._random.choice(workers).kill()
                self.killed += 1

    def _workers(self) -> Iterator[psutil.Process]:
        for child in psutil.Process().children(recursive=True):
            try:
                if self._mark in " ".join(child.cmdline()):
                    yield child
            except psutil.Error:
                continue


def _made(runner: OlmoEarthRunPredictRunner) -> dict[str, bytes]:
    root = runner.workspace.root
    files = [path for path in root.rglob("[!.]*") if path.suffix in (".tif", ".geojson")]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["processes", "dask"])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_same_files_whenever_workers_are_killed(
    raster_project: Path, engine: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (jobs, predict):  # many jobs of these few windows
        monkeypatch.setattr(module, "chunk_length", lambda _: 2)
    monkeypatch.setattr(jobs, "_WINDOWS", 2)
    serial = OlmoEarthRunPredictRunner(raster_project, raster_project.parent / "serial", progress=False)
    serial.run()
    wanted = _made(serial)
    disturbed = OlmoEarthRunPredictRunner(raster_project, raster_project.parent / "disturbed", progress=False)
    with _Killer(engine, seed=seed, kills=4) as killer:
        disturbed.run(engine=engine, workers=2)
    assert killer.killed > 0
    assert _made(disturbed) == wanted


def _once_in_three(job: tuple[int, str]) -> int:
    number, folder = job
    mark = Path(folder) / str(number)
    if number % 3 == 0 and not mark.exists():
        mark.touch()
        time.sleep(0.3)  # the others get on with it
        os._exit(1)
    return number


@pytest.mark.slow
def test_workers_may_die_often_as_long_as_something_gets_done(tmp_path: Path) -> None:
    engine = Processes(2, [])
    given = [(number, str(tmp_path)) for number in range(12)]
    assert sorted(result for _, result in engine.run(_once_in_three, given)) == list(range(12))
    assert len(list(tmp_path.iterdir())) == 4
