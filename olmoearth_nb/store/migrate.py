"""Moves the windows of a dataset from folders to SQLite or back; their layers stay where they lie."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from rslearn.dataset.storage.file import FileWindowStorage
from rslearn.dataset.storage.migrate import migrate_window_storage
from rslearn.dataset.storage.sqlite import SQLiteWindowStorage
from upath import UPath

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import MissingStepError, StorageError, UsageError
from olmoearth_nb.files import absolute_path, read_json
from olmoearth_nb.store.dataset import CONFIG_NAME, open_dataset, write_dataset_config
from olmoearth_nb.store.sqlite import ThreadedStorage, WindowStorage, database_files, forget_windows, one_transaction
from olmoearth_nb.tables import html_table, text_table

__all__ = ["Migration", "migrate_windows"]

_DATASETS = ("", "dataset_0", "dataset")
# What rslearn keeps in a window's folder instead of in the database.
_WINDOW_FILES = ("metadata.json", "items.json")


@dataclass(frozen=True, kw_only=True, repr=False)
class Migration:
    """What a migration did; shows itself as a table.

    Attributes:
        dataset: The rslearn dataset.
        storage: Where its windows are now.
        windows: Number of its windows.
        moved: Whether they were elsewhere before.
    """

    dataset: Path
    storage: WindowStorage
    windows: int
    moved: bool

    def to_dict(self) -> dict[str, Any]:
        """The migration as plain values, for JSON."""
        return {
            "dataset": str(self.dataset),
            "storage": self.storage,
            "windows": self.windows,
            "moved": self.moved,
        }

    def _row(self) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
        return tuple(self.to_dict()), [tuple(self.to_dict().values())]

    def __repr__(self) -> str:
        return text_table(*self._row(), caption="Windows of a dataset")

    def _repr_html_(self) -> str:
        return html_table(*self._row(), caption="Windows of a dataset")


def migrate_windows(path: str | PathLike[str], storage: WindowStorage) -> Migration:
    """Moves the windows of a dataset to another storage; nothing else changes, and imagery is not copied.

    The dataset says at each moment where its windows are, and they are there: a run that is killed can be repeated.
    Nobody else may write to the dataset meanwhile.

    Args:
        path: A scratch of either workflow, or an rslearn dataset.
        storage: ``sqlite`` or ``files``.

    Raises:
        UsageError: If the storage has no such name.
        MissingStepError: If there is no dataset.
        StorageError: If windows can't be read or written, or are kept in another way than these two.
    """
    if storage not in ("sqlite", "files"):
        raise UsageError("There is no such storage of windows.", expected="sqlite or files", found=repr(storage)[:80])
    root = absolute_path(path, what="scratch")
    dataset = next((root / name for name in _DATASETS if (root / name / CONFIG_NAME).is_file()), None)
    if dataset is None:
        raise MissingStepError("There is no dataset.", where=str(root), expected=f"{CONFIG_NAME} of rslearn")
    source = open_dataset(dataset).storage
    if not isinstance(source, FileWindowStorage | SQLiteWindowStorage):
        raise StorageError(
            "Windows of this kind can't be moved.",
            where=str(dataset / CONFIG_NAME),
            expected="SQLiteWindowStorage or FileWindowStorage of rslearn",
            found=type(source).__name__,
        )
    moved = isinstance(source, SQLiteWindowStorage) != (storage == "sqlite")
    with foreign_code(StorageError, "The windows can't be moved", where=str(dataset)):
        if moved:
            _copy(source, dataset, storage)
            write_dataset_config(dataset, read_json(dataset / CONFIG_NAME), storage=storage)
        count = len(open_dataset(dataset).storage.get_windows())
        # Also what a killed run has left.
        for file in _files_of_the_other(dataset, storage):
            file.unlink(missing_ok=True)
    return Migration(dataset=dataset, storage=storage, windows=count, moved=moved)


def _copy(source: Any, dataset: Path, storage: WindowStorage) -> None:
    if storage == "files":
        migrate_window_storage(source, FileWindowStorage(UPath(dataset)), fail_if_target_nonempty=False)
        return
    target = ThreadedStorage(UPath(dataset))
    with contextlib.closing(target):
        forget_windows(target)
        with one_transaction(target):
            migrate_window_storage(source, target)


def _files_of_the_other(dataset: Path, storage: WindowStorage) -> Iterator[Path]:
    if storage == "files":
        yield from database_files(dataset)
        return
    for window in (dataset / "windows").glob("*/*"):
        yield from (window / name for name in _WINDOW_FILES)
        yield from (window / "layers").glob("*/completed")
