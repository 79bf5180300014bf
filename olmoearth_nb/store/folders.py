"""Folders of windows by the thousand: each is made beside its place, and renamed when all its files are in it.

Paths are text here: building path objects takes longer than the calls of the system that they are for.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rslearn.dataset import Dataset
from rslearn.dataset.storage.file import FileWindowStorage
from rslearn.dataset.window import WindowLayerData
from typing_extensions import override
from upath import UPath

from olmoearth_nb.errors import StorageError
from olmoearth_nb.files import write_text
from olmoearth_nb.types import WindowSpec

__all__ = ["FolderStorage", "WindowFolders", "write_file"]

_PREFIX = ".window."
_MARK = "completed"


class FolderStorage(FileWindowStorage):
    """rslearn's windows in folders of this machine, whose paths are put together once a window and not for each look.

    Args:
        path: The dataset folder.
    """

    @override
    def get_window_root(self, group: str, name: str) -> UPath:
        """The folder of a window."""
        return _window_root(self.path, group, name)

    @override
    def is_layer_completed(self, group: str, name: str, layer_name: str, group_idx: int = 0) -> bool:
        """Whether an item group of a layer is there as a whole."""
        self._validate_layer_name(layer_name)
        folder = f"{layer_name}.{group_idx}" if group_idx else layer_name
        return os.path.exists(f"{self.get_window_root(group, name)}/layers/{folder}/{_MARK}")  # noqa: PTH110

    @override
    def save_layer_datas(self, group: str, name: str, layer_datas: dict[str, WindowLayerData]) -> None:
        """Notes which items a window is made of, as one text: rslearn writes it word by word, for a millisecond."""
        items = [one.serialize() for one in layer_datas.values()]
        write_text(f"{self.get_window_root(group, name)}/items.json", json.dumps(items))


@functools.lru_cache(maxsize=1024)
def _window_root(dataset: UPath, group: str, name: str) -> UPath:
    root: UPath = dataset / f"windows/{group}/{name}"
    return root


class WindowFolders:
    """Makes the folders of a dataset's windows.

    A window is there with all its files or not at all, with one rename a window instead of one a file. What a run that
    was killed left unfinished goes when the group is written to again.

    Args:
        dataset: A dataset that keeps its windows in folders on this machine; see :meth:`fits`.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._root = f"{dataset.path}/windows"
        self._cleaned: set[str] = set()

    @staticmethod
    def fits(dataset: Dataset) -> bool:
        """Whether windows of a dataset are folders on this machine, as rslearn has them."""
        return isinstance(dataset.storage, FileWindowStorage) and isinstance(dataset.path, Path)

    def make_group(self, group: str, windows: Iterable[tuple[WindowSpec, Mapping[str, bytes]]]) -> None:
        """Makes all windows of a group that has none, with one rename.

        Args:
            group: The group.
            windows: Distinct windows of the group, each with its further files by name.

        Raises:
            StorageError: If it can't be written.
        """
        target = f"{self._root}/{group}"
        with self._beside(self._root, target) as made:
            for spec, files in windows:
                folder = f"{made}/{spec.name}"
                os.mkdir(folder)  # noqa: PTH102
                write_file(f"{folder}/metadata.json", _metadata(spec, {}))
                for name, content in files.items():
                    write_file(f"{folder}/{name}", content)
            os.rename(made, target)  # noqa: PTH104

    @contextlib.contextmanager
    def making(self, spec: WindowSpec, options: Mapping[str, Any] | None = None) -> Iterator[str]:
        """A new folder for the files of a window, with its metadata, which takes its place when the block ends well.

        Where a folder is there already, the files are put into it instead, marks of whole layers last.

        Args:
            spec: The window.
            options: rslearn options of the window (split and the like).

        Yields:
            The new folder's path; its name is not yet that of the window.

        Raises:
            StorageError: If it can't be written.
        """
        group = f"{self._root}/{spec.group}"
        target = f"{group}/{spec.name}"
        with self._beside(group, target) as made:
            write_file(f"{made}/metadata.json", _metadata(spec, options or {}))
            yield made
            if os.path.lexists(target):
                _move_files(made, target)
                shutil.rmtree(made, ignore_errors=True)
            else:
                os.rename(made, target)  # noqa: PTH104

    @contextlib.contextmanager
    def _beside(self, parent: str, target: str) -> Iterator[str]:
        """A new folder in another one, which does not stay if the block fails; removes what a killed run left there."""
        made = f"{parent}/{_PREFIX}{uuid.uuid4().hex[:8]}"
        try:
            self._clean(parent)
            os.mkdir(made)  # noqa: PTH102
            yield made
        except BaseException as error:
            shutil.rmtree(made, ignore_errors=True)
            if not isinstance(error, OSError):
                raise
            raise StorageError(
                f"Can't write here: {error.strerror or error}.",
                where=target,
                fix="Check the permissions and the free space, or choose another folder.",
            ) from error

    def _clean(self, folder: str) -> None:
        if folder in self._cleaned:
            return
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103
        with os.scandir(folder) as entries:
            left = [entry.path for entry in entries if entry.name.startswith(_PREFIX)]
        for path in left:
            shutil.rmtree(path, ignore_errors=True)
        self._cleaned.add(folder)


def _metadata(spec: WindowSpec, options: Mapping[str, Any]) -> bytes:
    """As rslearn writes it, and with group and name, which the rslearn of olmoearth-runner 0.1.14 looks for."""
    data = {
        "group": spec.group,
        "name": spec.name,
        "projection": spec.projection.serialize(),
        "bounds": spec.bounds,
        "time_range": None if spec.time_range is None else [time.isoformat() for time in spec.time_range],
        "options": dict(options),
    }
    return json.dumps(data).encode()  # not indented: Python's own encoder takes five times as long


def write_file(path: str, content: bytes) -> None:
    """Writes a file, as it is: for places where nobody looks for it yet.

    Args:
        path: The file.
        content: Its bytes.
    """
    left = memoryview(content)
    with open(path, "wb", buffering=0) as file:  # noqa: PTH123  a buffer takes as long as the file
        while left:  # on a disk that is nearly full, some of it may be written before there is an error
            left = left[file.write(left) :]


def _move_files(source: str, target: str) -> None:
    """Moves all files of a folder into another one, in place of those of the same name; each is whole at any time."""
    found = [f"{folder}/{name}" for folder, _, names in os.walk(source) for name in names]
    for path in sorted(found, key=lambda path: (path.endswith(f"/{_MARK}"), path)):
        place = target + path.removeprefix(source)
        os.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH103, PTH120
        os.replace(path, place)  # noqa: PTH105
