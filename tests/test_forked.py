"""Workers forked from this process: their answers, their deaths, and when there must be none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from olmoearth_nb.errors import OlmoEarthError, WorkerError
from olmoearth_nb.forked import run_forked

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks only on Linux")


class _OddError(Exception):
    """Can be pickled, and not made again."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")

    def __reduce__(self) -> tuple[Any, ...]:
        return _OddError, self.args


def _square(number: int) -> int:
    return number * number


def _run(work: Callable[[Any], Any], jobs: list[Any], *, workers: int = 2) -> list[tuple[int, Any]]:
    return sorted(run_forked(work, jobs, workers=workers, where="here"))


@pytest.fixture(autouse=True)
def _nobody_is_left() -> Iterator[None]:
    before = set(psutil.Process().children())  # workers that other tests had, say
    yield
    assert set(psutil.Process().children()) <= before


def test_each_job_is_done_once_elsewhere() -> None:
    done = _run(lambda job: (job, os.getpid()), list(range(20)), workers=3)
    assert [(number, job) for number, (job, _) in done] == [(job, job) for job in range(20)]
    pids = {pid for _, (_, pid) in done}
    assert 1 < len(pids) <= 3
    assert os.getpid() not in pids
    assert _run(_square, []) == []


def test_two_work_at_a_time() -> None:
    def work(_: object) -> tuple[float, float]:
        start = time.monotonic()  # of the system, the same in all processes
        time.sleep(0.5)
        return start, time.monotonic()

    spans = [span for _, span in _run(work, [None] * 4)]
    at_work = [sum(start <= moment < end for start, end in spans) for moment, _ in spans]
    assert max(at_work) == 2


def test_large_answers() -> None:
    assert [len(data) for _, data in _run(lambda size: b"x" * size, [3_000_000] * 4)] == [3_000_000] * 4


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (OlmoEarthError("No.", fix="Try another."), OlmoEarthError, r"^No\. Try another\."),
        (ValueError("bad"), ValueError, "^bad"),
        (_OddError(1, 2), WorkerError, r"can't be sent.*_OddError\('1 and 2'\)"),
    ],
)
def test_errors_come_back_and_end_it(error: Exception, raised: type[Exception], message: str, tmp_path: Path) -> None:
    def work(job: int) -> None:
        if job == 0:
            raise error
        time.sleep(0.5)
        (tmp_path / str(job)).touch()

    with pytest.raises(raised, match=message) as caught:
        _run(work, list(range(6)))
    if raised is ValueError:
        assert "in work" in caught.value.__notes__[0]
    time.sleep(0.6)
    assert list(tmp_path.iterdir()) == []


def test_what_can_not_be_sent_is_said() -> None:
    with pytest.raises(WorkerError, match=r"can't be sent.*lambda"):
        _run(lambda _: lambda: None, [1])


def test_a_job_whose_worker_dies_is_done_by_another(tmp_path: Path) -> None:
    def work(job: int) -> int:
        mark = tmp_path / str(job)
        if job % 3 == 0 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return job

    assert _run(work, list(range(12))) == [(job, job) for job in range(12)]
    assert len(list(tmp_path.iterdir())) == 4


def test_a_job_that_kills_every_worker() -> None:
    with pytest.raises(WorkerError, match=r"here: Workers were killed again and again.*engine='serial'"):
        _run(lambda job: os._exit(1) if job == 5 else None, list(range(8)))


def test_whoever_stops_listening_leaves_nobody_behind() -> None:
    answers = run_forked(_square, range(9), workers=2, where="here")
    next(answers)
    del answers


def _of(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)


def test_workers_end_with_a_process_that_is_killed() -> None:
    script = """
import os, signal, time
from olmoearth_nb.forked import run_forked
def work(job):
    time.sleep(0.3)
    return os.getpid()
for number, pid in run_forked(work, range(100), workers=2, where="here"):
    print(pid, flush=True)
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    pids = {int(line) for line in done.stdout.split()}
    assert pids
    for _ in range(40):
        if not any(map(psutil.pid_exists, pids)):
            return
        time.sleep(0.1)
    pytest.fail("workers live on")


@pytest.mark.parametrize(
    ("before", "can"),
    [
        ("import olmoearth_nb.store.materialize, pandas", True),
        ("from olmoearth_nb.progress import open_bar; open_bar(True, total=9, desc='Some').update(3)", True),
        ("import numpy; a = numpy.ones((600, 600)); a @ a", True),
        ("import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()", False),
        pytest.param("import torch", True, marks=pytest.mark.slow),
        pytest.param(
            "import torch; torch.set_num_threads(4); a = torch.ones(900, 900); a @ a", False, marks=pytest.mark.slow
        ),
    ],
)
def test_only_a_process_that_has_nothing_else_running_forks(before: str, can: bool) -> None:
    done = _of(f"{before}\nfrom olmoearth_nb.forked import can_fork\nprint(can_fork())")
    assert done.stdout.split() == [str(can)]


@pytest.fixture(autouse=True)
def _no_hanging() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
