"""Dask as an engine: workers of a cluster, or of this machine."""

from __future__ import annotations

import contextlib
import importlib.util
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from olmoearth_nb.errors import MissingDependencyError, UsageError
from olmoearth_nb.forked import dead_worker
from olmoearth_nb.runners.engines import apply_packed, available_cores, packed

__all__ = ["DaskEngine", "dashboard", "open_dask"]

JobT = TypeVar("JobT")
ResultT = TypeVar("ResultT")

# Seconds until a scheduler has to answer.
_PATIENCE = 20
# A cluster of our own that does not come up is started again so many times.
_STARTS = 3


@contextlib.contextmanager
def open_dask(workers: int | None, client: object, search_path: Sequence[Path]) -> Iterator[DaskEngine]:
    """An engine on a client that is given, or on one that is made and closed again.

    Args:
        workers: Processes of a cluster on this machine, if no client is given.
        client: A ``distributed.Client``, or the address of a scheduler.
        search_path: Folders of custom classes.

    Raises:
        MissingDependencyError: If Dask is not installed.
        UsageError: If the client is none, or nobody answers at the address.
        WorkerError: If workers on this machine don't start.
    """
    try:
        import distributed
    except ImportError as error:
        raise MissingDependencyError(
            f"engine='dask' needs distributed: {error}.",
            fix="pip install 'olmoearth-nb[dask]'; engine='processes' needs nothing further.",
        ) from error
    with contextlib.ExitStack() as opened:
        match client:
            case distributed.Client():
                yield DaskEngine(client, search_path)
                return
            case None:
                address: Any = opened.enter_context(_own_cluster(workers or min(available_cores(), 8)))
            case str():
                address = client
            case _:
                raise UsageError(
                    "This is no client of Dask.",
                    where="client",
                    expected="a distributed.Client, or an address such as tcp://10.0.0.1:8786",
                    found=repr(client)[:200],
                )
        try:
            if isinstance(address, str):
                # A client whose address can't be read holds up the end of the process for 40 s.
                distributed.comm.resolve_address(address)
            made = opened.enter_context(distributed.Client(address, timeout=_PATIENCE, set_as_default=False))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"No scheduler of Dask answers: {str(error).rstrip('.')}.", where="client", found=repr(client)
            ) from error
        yield DaskEngine(made, search_path)


def _own_cluster(workers: int) -> Any:
    """A cluster on this machine; a worker that is killed while it starts takes the whole cluster with it."""
    import distributed

    for _ in range(_STARTS):
        try:
            # One thread each: a worker does one job at a time.
            return distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0")
        except RuntimeError as error:
            failure = error
    raise dead_worker(f"engine='dask', workers={workers}") from failure


def dashboard(client: Any) -> str:
    """Where the work of a cluster can be watched, or what is missing for that on this machine.

    Args:
        client: A ``distributed.Client``.
    """
    link = str(client.dashboard_link)
    if importlib.util.find_spec("bokeh") is None:
        return f"{link} shows pages where the scheduler has bokeh: pip install 'olmoearth-nb[dask]'"
    return link


class DaskEngine:
    """Workers of Dask. Project, scratch and imagery have to lie at the same paths for them.

    Args:
        client: A ``distributed.Client``.
        search_path: Folders of custom classes.
    """

    gives_gpus = True

    def __init__(self, client: Any, search_path: Sequence[Path]) -> None:
        self.client = client
        self.search_path = search_path

    def run(self, work: Callable[[JobT], ResultT], jobs: Sequence[JobT]) -> Iterator[tuple[JobT, ResultT]]:
        """See :meth:`Engine.run`; Dask runs the jobs of a worker that dies elsewhere, at most three times."""
        import distributed

        name = work.__name__.strip("_")
        futures: dict[Any, JobT] = {}
        try:
            for job in jobs:
                # The key's first word is what the dashboard groups by; all of it is seen on the task.
                key = f"{getattr(job, 'label', name)}-{uuid.uuid4().hex}"
                future = self.client.submit(apply_packed, packed(work, job, self.search_path), key=key, pure=False)
                futures[future] = job
            for future in distributed.as_completed(futures, loop=self.client.loop):
                yield futures[future], future.result()
        except distributed.KilledWorker as error:
            raise dead_worker(f"engine='dask', {self.client.scheduler_info()['address']}") from error
        finally:
            self.client.cancel([future for future in futures if not future.done()])
