"""Sends and fetches many files at once."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from olmoearth_nb.errors import StorageError
from olmoearth_nb.remote.places import Place, reaching
from olmoearth_nb.remote.records import Local, Stored, local_file, stored_file

__all__ = ["Transfer", "replace_file"]

_BATCH = 256
_MAGIC = frozenset("*?[")


class Transfer:
    """One remote folder.

    Args:
        place: The folder.
        beside: Folder on this machine for files on their way, on the file system of those that they become.
    """

    def __init__(self, place: Place, beside: Path) -> None:
        self.place = place
        self.beside = beside
        self.files = place.open()

    def _key(self, path: str) -> str:
        return f"{self.place.path}/{path}" if self.place.protocol != "memory" else f"/{self.place.path}/{path}"

    def listing(self) -> dict[str, Stored]:
        """All files, by path relative to the folder; none if there is no such folder.

        Raises:
            StorageError: If the folder can't be listed.
        """
        root = self._key("")
        with reaching(self.place, fix="Nothing was changed; call it again when the network is there."):
            self.files.invalidate_cache()
            try:
                found = self.files.find(root.rstrip("/"), detail=True)
            except FileNotFoundError:
                bucket = self.place.path.partition("/")[0]
                if self.place.protocol != "memory" and not self.files.exists(bucket):
                    raise
                found = {}
        skip = len(root.lstrip("/"))
        return {
            path.lstrip("/")[skip:]: stored_file(info)
            for path, info in found.items()
            if info.get("type") == "file" and not path.endswith("/") and path.lstrip("/").startswith(root.lstrip("/"))
        }

    def read(self, path: str) -> bytes | None:
        """The content of a file; None if it is not there.

        Args:
            path: Relative to the folder.
        """
        with reaching(self.place):
            try:
                return bytes(self.files.cat_file(self._key(path)))
            except FileNotFoundError:
                return None

    def write(self, path: str, content: bytes) -> None:
        """Writes a file.

        Args:
            path: Relative to the folder.
            content: Its bytes.
        """
        with reaching(self.place):
            self.files.pipe_file(self._key(path), content)

    def send(self, sources: Mapping[str, Path]) -> Iterator[dict[str, int]]:
        """Sends files, some hundred at a time.

        Args:
            sources: Files of this machine by where they go, relative to the folder.

        Yields:
            Sizes of those that arrived, in bytes; those that are gone from this machine are left out.

        Raises:
            StorageError: If one can't be sent; what was yielded before has arrived.
        """
        for batch in _batches(list(sources.items())):
            sizes = {path: found.size for path, source in batch if (found := local_file(source)) is not None}
            with reaching(self.place):
                try:
                    self.files.put([str(sources[path]) for path in sizes], [self._key(path) for path in sizes])
                except FileNotFoundError:
                    gone = [path for path in sizes if not sources[path].exists()]
                    if not gone:
                        raise
                    # Removed on the way: the others are sent one by one.
                    sizes = {path: size for path, size in sizes.items() if self._send_one(path, sources[path])}
            yield sizes

    def _send_one(self, path: str, source: Path) -> bool:
        if not source.exists():
            return False
        self.files.put_file(str(source), self._key(path))
        return True

    def fetch(self, paths: Sequence[str]) -> Iterator[dict[str, Path]]:
        """Fetches files, some hundred at a time.

        Args:
            paths: Relative to the folder.

        Yields:
            Where each lies, to be taken from there before the next ones come.

        Raises:
            StorageError: If one can't be fetched.
        """
        for batch in _batches(paths):
            with self._folder() as folder:
                here = {path: folder / str(number) for number, path in enumerate(batch)}
                with reaching(self.place, fix="What was fetched so far is kept; call it again."):
                    self.files.get([self._key(path) for path in batch], [str(one) for one in here.values()])
                yield here

    @contextlib.contextmanager
    def _folder(self) -> Iterator[Path]:
        folder = self.beside / uuid.uuid4().hex
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            raise StorageError(f"The folder can't be made: {error.strerror}.", where=str(folder)) from error
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def remove(self, paths: Iterable[str]) -> None:
        """Removes files; those that are not there are removed.

        Args:
            paths: Relative to the folder.

        Raises:
            StorageError: If one can't be removed.
        """
        keys = [self._key(path) for path in paths]
        plain = [key for key in keys if not _MAGIC & set(key)] if self.files.async_impl else []
        with reaching(self.place):
            if plain:
                self.files.rm(plain)  # with hundreds in a request
            for key in set(keys) - set(plain):
                with contextlib.suppress(FileNotFoundError):
                    self.files.rm_file(key)


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + _BATCH] for start in range(0, len(items), _BATCH))


def replace_file(source: Path, target: Path, mtime_ns: int) -> Local:
    """Puts a fetched file in its place, with the time that it has elsewhere.

    Args:
        source: The file.
        target: Where it goes; in place of what is there.
        mtime_ns: The time of change that it gets.

    Raises:
        StorageError: If the place can't be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.utime(source, ns=(mtime_ns, mtime_ns))
        source.replace(target)
        found = target.stat()
    except OSError as error:
        raise StorageError(
            f"The working copy can't be written: {error.strerror}.",
            where=str(target),
            fix="Check the free space; OLMOEARTH_NB_CACHE names another folder for working copies.",
        ) from error
    return Local(found.st_size, found.st_mtime_ns)
