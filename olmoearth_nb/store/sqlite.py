"""Windows in one SQLite file instead of a folder each: rslearn's storage, for threads and many rows a transaction."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import weakref
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias

from rslearn.dataset.storage.sqlite import SQLiteWindowStorage
from rslearn.dataset.storage.storage import WindowStorage as Storage

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import StorageError
from olmoearth_nb.types import WindowSpec

__all__ = [
    "SQLITE_CONFIG",
    "ThreadedStorage",
    "WindowStorage",
    "completed",
    "database_files",
    "forget_layers",
    "forget_windows",
    "one_transaction",
    "save_windows",
]

WindowStorage: TypeAlias = Literal["files", "sqlite"]
"""Where the windows of a dataset are kept: a folder each, or rows of one SQLite file."""

SQLITE_CONFIG = {"class_path": "rslearn.dataset.storage.sqlite.SQLiteWindowStorageFactory"}
"""The ``storage`` of a dataset's configuration that keeps windows in SQLite."""


# Storages that have a connection.
_connected: weakref.WeakSet[ThreadedStorage] = weakref.WeakSet()


class _Connection(threading.local):
    """What each thread has of its own; a forked process opens another one."""

    pid = 0
    opened: sqlite3.Connection | None = None


class ThreadedStorage(SQLiteWindowStorage):
    """rslearn's storage with a connection for each thread: SQLite refuses one that another thread has opened.

    Args:
        path: The dataset, as rslearn takes it.
    """

    def __init__(self, path: Any) -> None:
        self._own = _Connection()
        super().__init__(path)

    def _get_connection(self) -> sqlite3.Connection:
        own = self._own
        if own.opened is None or own.pid != os.getpid():
            own.opened = sqlite3.connect(str(self.db_path), isolation_level=None)  # rslearn commits by itself
            own.opened.row_factory = sqlite3.Row
            own.opened.execute("PRAGMA journal_mode=WAL")
            own.opened.execute("PRAGMA synchronous=NORMAL")  # no wait for the disk with every window
            own.pid = os.getpid()
            _connected.add(self)
        return own.opened

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in super().__getstate__().items() if key != "_own"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _own=_Connection())

    def close(self) -> None:
        """Closes the connection of this thread; those of other threads end with them."""
        if self._own.opened is not None:
            self._own.opened.close()
            self._own.opened = None


def _disconnect() -> None:
    """SQLite forbids to carry a connection into a fork, where it would undo the locks of others; a new one is cheap."""
    for storage in list(_connected):
        opened = storage._own.opened
        if opened is not None and not opened.in_transaction:
            storage.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_disconnect)


def database_files(dataset: Path) -> list[Path]:
    """The files that a database of windows consists of, whether they are there or not.

    Args:
        dataset: The dataset folder.
    """
    name = SQLiteWindowStorage.DB_FILENAME
    return [dataset / f"{name}{suffix}" for suffix in ("", "-wal", "-shm")]


@contextlib.contextmanager
def one_transaction(storage: Storage) -> Iterator[None]:
    """Writes to SQLite within the block are kept all or not at all, and together: 10,000 windows in 0.2 s, not 5 s.

    With files nothing is done.

    Args:
        storage: The dataset's storage.

    Raises:
        StorageError: If they can't be written.
    """
    if not isinstance(storage, SQLiteWindowStorage):
        yield
        return
    where = str(storage.db_path)
    with foreign_code(StorageError, "The windows can't be written", where=where):
        connection = storage._get_connection()
        connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    with foreign_code(StorageError, "The windows can't be written", where=where):
        connection.execute("COMMIT")


def save_windows(storage: SQLiteWindowStorage, specs: Iterable[WindowSpec]) -> None:
    """Creates windows, or writes them again, as rslearn does one by one: 100,000 in 1 s instead of 5.

    Args:
        storage: The dataset's storage.
        specs: The windows, without options.

    Raises:
        StorageError: If they can't be written.
    """
    query = (
        "INSERT OR REPLACE INTO windows (group_name, name, crs, x_resolution, y_resolution, bounds_x1, bounds_y1, "
        "bounds_x2, bounds_y2, time_start, time_end, options_json) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '{}')"
    )
    rows = (
        (
            *(spec.group, spec.name, spec.projection.crs.to_string()),
            *(spec.projection.x_resolution, spec.projection.y_resolution, *spec.bounds),
            *((None, None) if spec.time_range is None else (time.isoformat() for time in spec.time_range)),
        )
        for spec in specs
    )
    with foreign_code(StorageError, "The windows can't be written", where=str(storage.db_path)):
        storage._get_connection().executemany(query, rows)


def completed(storage: SQLiteWindowStorage, groups: Collection[str]) -> set[tuple[str, str, str]]:
    """Group, window and layer of every layer that is complete, of all windows of some groups at once.

    Args:
        storage: The dataset's storage.
        groups: The groups.
    """
    connection = storage._get_connection()
    query = "SELECT window_name, layer_name FROM completed_layers WHERE group_name = ? AND group_idx = 0"
    with foreign_code(StorageError, "The windows can't be read", where=str(storage.db_path)):
        return {(group, name, layer) for group in groups for name, layer in connection.execute(query, (group,))}


def forget_layers(storage: Storage, layers: Iterable[str], *, items: bool) -> None:
    """Takes back that layers are complete, in SQLite; what files say goes with the folders of the layers.

    Args:
        storage: The dataset's storage.
        layers: Names of layers.
        items: Whether also to forget which items of the data sources the windows have.
    """
    if isinstance(storage, SQLiteWindowStorage):
        with one_transaction(storage):
            connection = storage._get_connection()
            connection.executemany("DELETE FROM completed_layers WHERE layer_name = ?", [(layer,) for layer in layers])
            if items:
                connection.execute("DELETE FROM layer_datas")


def forget_windows(storage: Storage) -> None:
    """Removes all windows from SQLite; those in files go with their folders.

    The file stays: others may have it open.

    Args:
        storage: The dataset's storage.
    """
    if isinstance(storage, SQLiteWindowStorage):
        with one_transaction(storage):
            for table in ("windows", "layer_datas", "completed_layers"):
                storage._get_connection().execute(f"DELETE FROM {table}")
