"""What a working copy has in common with its remote folder, noted in a way that survives being killed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from olmoearth_nb.errors import StorageError
from olmoearth_nb.files import write_text
from olmoearth_nb.remote.records import Local, Stored, Synced

__all__ = ["Journal"]


class Journal:
    """The files that are alike here and remotely, and those that were on their way when a process ended.

    Each change is a line at the end of a file, so that a note costs the same however many there are.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.same: dict[str, Synced] = {}
        self.under_way: set[str] = set()
        self._read = 0
        self.refresh()

    def refresh(self) -> None:
        """Reads what was noted since, by this process or another one."""
        for name, value in self._lines():
            self.same.pop(name, None)
            self.under_way.discard(name)
            if value is True:
                self.under_way.add(name)
            elif value is not None:
                local, stored = value
                self.same[name] = Synced(Local(*local), Stored(*stored))

    def note(self, files: Mapping[str, Synced]) -> None:
        """Files that are alike now.

        Args:
            files: By relative path.
        """
        self.same |= files
        self.under_way -= files.keys()
        self._append((path, synced) for path, synced in files.items())

    def begin(self, paths: Iterable[str]) -> None:
        """Files that are about to be sent, or removed: what lies remotely is old or new.

        Args:
            paths: Relative paths.
        """
        paths = list(paths)
        self.under_way.update(paths)
        for path in paths:
            self.same.pop(path, None)
        self._append((path, True) for path in paths)

    def forget(self, paths: Iterable[str]) -> None:
        """Files that are no more, on neither side.

        Args:
            paths: Relative paths.
        """
        known = [path for path in paths if path in self.same or path in self.under_way]
        for path in known:
            self.same.pop(path, None)
        self.under_way.difference_update(known)
        self._append((path, None) for path in known)

    def rewrite(self) -> None:
        """Writes the file anew, one line a file; nobody else may be at work."""
        lines = [json.dumps(item) for item in [*self.same.items(), *((path, True) for path in self.under_way)]]
        write_text(self.path, "".join(f"{line}\n" for line in lines))
        self._read = self.path.stat().st_size

    def _append(self, items: Iterable[tuple[str, Any]]) -> None:
        text = "".join(f"{json.dumps(item)}\n" for item in items)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            raise StorageError(
                f"The working copy can't be written: {error.strerror}.",
                where=str(self.path),
                fix="Check the free space; OLMOEARTH_NB_CACHE names another folder for working copies.",
            ) from error

    def _lines(self) -> Iterator[tuple[str, Any]]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                try:
                    name, value = json.loads(line)
                except ValueError:
                    continue  # the last one, of a process that was killed
                yield name, value
            self._read = file.tell()
