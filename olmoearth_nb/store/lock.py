"""One run at a time on a scratch: two that write the same windows would undo each other's work."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from olmoearth_nb.errors import StorageError
from olmoearth_nb.store.workspace import make_folder

__all__ = ["one_at_a_time"]

# Processes that read for a run that was killed live on for some seconds, and hold what it held.
_PATIENCE = 10.0


@contextlib.contextmanager
def one_at_a_time(state: Path, *, patience: float = _PATIENCE) -> Iterator[None]:
    """Keeps other runs off a scratch; whoever is killed lets go.

    Args:
        state: Folder of what is remembered about the scratch; made if need be.
        patience: Seconds to wait for another run to end.

    Raises:
        StorageError: If another run is at work there, or the folder can't be made.
    """
    make_folder(state)
    lock = filelock.FileLock(state / "lock", timeout=patience)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise StorageError(
            "Another run is working on this scratch.",
            where=str(state.parent),
            fix="Wait until it is done (or interrupt it), or use another scratch folder.",
        ) from error
    except (NotImplementedError, OSError):
        yield  # a file system without locks, or one that only reads: whoever writes will be told
        return
    try:
        yield
    finally:
        lock.release()
