"""Worker processes forked from this one, where that is safe: they start in milliseconds, as all is imported by then.

Each has a pipe of its own and nothing in common with the others, so that whichever is killed, at whatever moment, takes
nothing with it but the job that it had in hand.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import pickle
import signal
import sys
import threading
import traceback
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from olmoearth_nb.border import attempt
from olmoearth_nb.errors import WorkerError

__all__ = ["can_fork", "dead_worker", "run_forked"]

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")

# Workers that one job may cost.
_TRIES = 5
# Device files of GPUs. Nothing can be computed on one in a fork of a process that has.
_GPUS = ("/dev/nvidia", "/dev/kfd", "/dev/dri")


def can_fork() -> bool:
    """Whether a fork of this process would work: nobody else may be at work in it, and no GPU be in use.

    A kernel of Jupyter never qualifies, a command or a script does until it has computed with torch.
    """
    if sys.platform != "linux" or threading.active_count() > 1:
        return False
    return not any(place.startswith(_GPUS) for place in _open_files()) and _threads_are_prepared()


def _open_files() -> Iterator[str]:
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            yield str(link.readlink())


def _threads_are_prepared() -> bool:
    """Whether the threads that libraries have are all of such as are made for a fork.

    OpenBLAS ends its own before a fork and starts them again when it needs them: so they are counted after one. Arrow
    (pandas imports it) and its jemalloc have new ones in the fork.
    """
    with _no_warning():
        multiprocessing.get_context("fork").Process(target=os._exit, args=(0,), daemon=True).start()
    names = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    arrow = sys.modules.get("pyarrow")
    return len(names) - names.count("jemalloc_bg_thd") <= 1 + (0 if arrow is None else arrow.cpu_count())


@contextlib.contextmanager
def _no_warning() -> Iterator[None]:
    """Python 3.12 warns of every fork of a process with threads, whatever they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def run_forked(
    work: Callable[[JobT], ResultT], jobs: Sequence[JobT], *, workers: int, where: str
) -> Iterator[tuple[int, ResultT]]:
    """Applies a function to jobs in forks of this process and yields the number of each with its result, as they come.

    A job whose worker dies is given to a new one.

    Args:
        work: The function; neither it nor the jobs need to be pickled, results do.
        jobs: The jobs.
        workers: How many processes at a time.
        where: What to call the workers if they die again and again.

    Raises:
        WorkerError: If one job costs several workers, or gives what can't be pickled.
        Exception: What ``work`` raises; whatever is being done then is given up.
    """
    waiting, deaths, team = deque(range(len(jobs))), Counter[int](), dict[Connection, _Worker]()
    idle: list[_Worker] = []
    try:
        while True:
            while waiting and len(team) < workers:
                worker = _Worker(work, jobs, others=team)
                team[worker.connection] = worker
                worker.give(waiting.popleft())
            if not team:
                return
            for connection in multiprocessing.connection.wait(list(team)):
                worker = team[connection]  # type: ignore[index]
                number = worker.job
                data = worker.answer()
                if data is not None and waiting:
                    worker.give(waiting.popleft())
                else:
                    idle.append(team.pop(worker.connection))
                    worker.connection.close()
                if data is not None:
                    yield number, _unpacked(data)
                    continue
                worker.kill()
                deaths[number] += 1
                if deaths[number] == _TRIES:
                    raise dead_worker(where)
                waiting.append(number)
    finally:
        for worker in (*idle, *team.values()):
            worker.kill()


def dead_worker(where: str) -> WorkerError:
    """What to say when workers keep dying.

    Args:
        where: What the workers were.
    """
    return WorkerError(
        "Workers were killed again and again, perhaps for lack of memory.",
        where=where,
        fix="Call it again (it goes on where it was) with fewer workers, or with engine='serial'.",
    )


class _Worker:
    """One forked process, which does one job after the other."""

    def __init__(self, work: Callable[[Any], Any], jobs: Sequence[Any], *, others: Iterable[Connection]) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        # Ends of pipes that the fork has too are closed there: who holds none sees the end of who holds the other.
        surplus = [self.connection, *others]
        self._process = multiprocessing.get_context("fork").Process(
            target=_serve, args=(theirs, surplus, work, jobs), daemon=True
        )
        with _no_warning():
            self._process.start()
        theirs.close()
        self.job = -1

    def give(self, job: int) -> None:
        self.job = job
        with contextlib.suppress(OSError):  # it is dead: there will be no answer
            self.connection.send(job)

    def answer(self) -> bytes | None:
        try:
            return self.connection.recv_bytes()
        except (EOFError, OSError):
            return None

    def kill(self) -> None:
        self.connection.close()
        self._process.kill()
        self._process.join()


def _serve(connection: Connection, surplus: list[Connection], work: Callable[[Any], Any], jobs: Sequence[Any]) -> None:
    for other in surplus:
        other.close()
    # An interruption at the terminal is for the process that hands out the jobs.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with contextlib.suppress(EOFError, OSError):  # it has ended
        while True:
            job = connection.recv()
            connection.send_bytes(_packed(work, jobs[job]))


def _packed(work: Callable[[Any], Any], job: Any) -> bytes:
    answer = attempt(lambda: work(job))
    error = answer[1]
    if error is not None:
        error.add_note("".join(traceback.format_exception(error)))
    # Results come back as they are; exceptions of others may lack what it takes to be made again.
    data, problem = attempt(lambda: _sent_and_read(answer))
    if data is None:
        found = f"{error or answer[0]!r}: {problem!r}"[:500]
        return pickle.dumps((None, WorkerError("What a worker has to say can't be sent.", found=found)))
    return data


def _sent_and_read(answer: tuple[Any, BaseException | None]) -> bytes:
    data = pickle.dumps(answer)
    if answer[1] is not None:
        pickle.loads(data)
    return data


def _unpacked(data: bytes) -> Any:
    result, error = pickle.loads(data)
    if error is not None:
        raise error
    return result
