"""Engines: where the jobs of a step run when one process is not enough.

A job is a value that can be pickled, the work on it a function of a module. Engines only apply one to the other and
hand back results; the runner alone decides what the jobs are and writes down what became of them.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import cloudpickle

from olmoearth_nb.config import Carried
from olmoearth_nb.errors import UsageError
from olmoearth_nb.forked import can_fork, dead_worker, run_forked
from olmoearth_nb.labels.rasterize import whole_number
from olmoearth_nb.store.materialize import RunJobs

__all__ = [
    "ENGINES",
    "Engine",
    "Processes",
    "apply_packed",
    "available_cores",
    "build_workers",
    "open_engine",
    "packed",
]

ENGINES = ("serial", "processes", "dask")
"""This process; worker processes of this machine; workers of Dask, here or elsewhere."""

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")

# Pools that break before any job is done, one after the other, until that is an error; and pools that break at all.
_TRIES, _ATTEMPTS = 5, 20
# Loky takes a worker that has loaded torch and a model since its first job for one that leaks, and has another one
# load both again.
_ENVIRONMENT = {"LOKY_MAX_MEMORY_LEAK_SIZE": "1e15"}
_one_job = threading.Lock()


class Engine(Protocol):
    """Runs jobs somewhere.

    Attributes:
        gives_gpus: Whether whoever started the workers may have given each a GPU.
    """

    gives_gpus: bool

    def run(self, work: Callable[[JobT], ResultT], jobs: Sequence[JobT]) -> Iterator[tuple[JobT, ResultT]]:
        """Applies a function to jobs and yields each with its result, as they come.

        A job whose worker dies is run again, so that ``work`` has to come to the same when it is done twice.

        Args:
            work: A function of a module.
            jobs: Values that can be pickled; one with a ``label`` is shown by it.

        Raises:
            WorkerError: If workers die again and again.
            OlmoEarthError: What ``work`` raises; jobs that have not begun are dropped.
        """
        ...


@contextlib.contextmanager
def open_engine(
    name: str, *, workers: int | None = None, client: object = None, search_path: Sequence[Path] = ()
) -> Iterator[Engine | None]:
    """An engine for the length of a block.

    Args:
        name: One of :data:`ENGINES`.
        workers: Number of processes; as many as there are cores, at most 8, if None.
        client: For ``dask``: a ``distributed.Client``, or the address of a scheduler; workers of this machine if None.
        search_path: Folders of the project's custom classes.

    Yields:
        The engine; None for ``serial``, which needs none.

    Raises:
        UsageError: If there is no such engine, or an argument does not go with it.
        MissingDependencyError: If Dask is not installed.
    """
    if name not in ENGINES:
        raise UsageError(
            "There is no such engine.", where="engine", expected=f"one of {', '.join(ENGINES)}", found=repr(name)[:200]
        )
    if workers is not None:
        whole_number(workers, where="workers", at_least=1, error=UsageError)
    _refuse_unused(name, workers=workers, client=client)
    if name == "serial":
        yield None
    elif name == "processes":
        yield Processes(workers or min(available_cores(), 8), search_path)
    else:
        from olmoearth_nb.runners.dask_engine import open_dask

        with open_dask(workers, client, search_path) as engine:
            yield engine


def _refuse_unused(name: str, *, workers: int | None, client: object) -> None:
    if workers is not None and (name == "serial" or client is not None):
        raise UsageError(
            "Nothing is done with this number of workers.",
            where="workers",
            found=f"{workers}, with a client that has its own" if client is not None else f"{workers}, engine='serial'",
            fix="Leave it out, or choose engine='processes'.",
        )
    if client is not None and name != "dask":
        raise UsageError("Only engine='dask' takes a client.", where="client", found=f"engine={name!r}")


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def build_workers(engine: Engine | None, search_path: Sequence[Path]) -> Callable[[int], RunJobs | None]:
    """Who builds the imagery of windows, for :func:`~olmoearth_nb.store.materialize.build_windows`.

    Args:
        engine: The engine that the run has; None for worker processes of this machine, as many as are worth it.
        search_path: Folders of custom data sources.
    """

    def choose(workers: int) -> RunJobs | None:
        if engine is not None:
            return engine.run
        return Processes(workers, search_path).run if workers else None

    return choose


def packed(work: Callable[[JobT], ResultT], job: JobT, search_path: Sequence[Path]) -> bytes:
    """A job on its way to a worker, with the folders of custom classes, for :func:`apply_packed`.

    Args:
        work: The function.
        job: The job.
        search_path: The folders.
    """
    # Bytes, so that nobody on the way, a scheduler say, has to make sense of it.
    return bytes(cloudpickle.dumps(Carried((work, job), search_path)))


def apply_packed(data: bytes) -> Any:
    """Does a job in a worker.

    Args:
        data: What :func:`packed` gave.
    """
    # Workers of Dask may have several threads; neither models nor people's classes are made for that.
    with _one_job:
        work, job = pickle.loads(data).value
        return work(job)


class Processes:
    """Worker processes of this machine: forks of this one where that is safe, else loky's, kept for half a minute.

    Args:
        workers: How many.
        search_path: Folders of custom classes.
    """

    gives_gpus = False

    def __init__(self, workers: int, search_path: Sequence[Path]) -> None:
        self.workers = workers
        self.search_path = search_path

    def run(self, work: Callable[[JobT], ResultT], jobs: Sequence[JobT]) -> Iterator[tuple[JobT, ResultT]]:
        """See :meth:`Engine.run`."""
        where = f"engine='processes', workers={self.workers}"
        if can_fork():
            for number, result in run_forked(work, jobs, workers=self.workers, where=where):
                yield jobs[number], result
            return
        waiting, in_vain = dict(enumerate(jobs)), 0
        for _ in range(_ATTEMPTS):
            before = len(waiting)
            for number, result in self._attempt(work, waiting):
                yield waiting.pop(number), result
            if not waiting:
                return
            in_vain = in_vain + 1 if len(waiting) == before else 0
            if in_vain == _TRIES:
                break
        raise dead_worker(where)

    def _attempt(self, work: Callable[[JobT], ResultT], jobs: dict[int, JobT]) -> Iterator[tuple[int, ResultT]]:
        """Results of the jobs whose workers live."""
        import concurrent.futures

        import loky
        from loky.process_executor import BrokenProcessPool

        executor = loky.get_reusable_executor(max_workers=self.workers, timeout=30, env=_ENVIRONMENT)
        futures: dict[Any, int] = {}
        done = 0
        try:
            # A pool that breaks takes no further jobs.
            with contextlib.suppress(BrokenProcessPool):
                for number, job in jobs.items():
                    futures[executor.submit(apply_packed, packed(work, job, self.search_path))] = number
            for future in concurrent.futures.as_completed(futures):
                with contextlib.suppress(BrokenProcessPool):
                    yield futures[future], future.result()
                    done += 1
        finally:
            if done < len(jobs):
                # After an error or an interruption nobody goes on writing into the scratch; and the next attempt gets
                # a new pool, not the one that is about to notice that it is broken.
                executor.shutdown(wait=True, kill_workers=True)
