"""Files that can't be sent as they are: texts that name folders of this machine, and databases with a log."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from olmoearth_nb.errors import StorageError
from olmoearth_nb.remote.layout import has_paths

__all__ = ["Texts"]


class Texts:
    """Says folders of this machine by their URLs in texts that leave it, and the other way round.

    Args:
        paths: Folders of this machine, and their URLs.
    """

    def __init__(self, paths: Mapping[str, str]) -> None:
        self.paths = dict(paths)

    def arrived(self, path: str, file: Path) -> None:
        """Translates a text that has arrived.

        Args:
            path: Its path in the scratch.
            file: Where it lies.
        """
        if self.paths and has_paths(path):
            content = file.read_bytes()
            for local, url in self.paths.items():
                content = content.replace(url.encode(), local.encode())
            file.write_bytes(content)

    @contextlib.contextmanager
    def leaving(self, root: Path, paths: Iterable[str]) -> Iterator[dict[str, Path]]:
        """Where files lie that can be sent.

        Args:
            root: The working copy.
            paths: Relative to it.

        Yields:
            The files themselves, or translated copies.
        """
        with tempfile.TemporaryDirectory() as folder:
            sources = {}
            for number, path in enumerate(paths):
                sources[path] = root / path
                if self.paths and has_paths(path):
                    with contextlib.suppress(FileNotFoundError):
                        content = (root / path).read_bytes()
                        for local, url in self.paths.items():
                            content = content.replace(local.encode(), url.encode())
                        sources[path] = Path(folder) / str(number)
                        sources[path].write_bytes(content)
            yield sources

    def checkpoint(self, root: Path) -> None:
        """Writes the logs of databases of windows into them.

        Args:
            root: The working copy.

        Raises:
            StorageError: If a database is in use.
        """
        for database in root.glob("dataset*/windows.sqlite3"):
            try:
                with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection:
                    busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.Error as error:
                raise StorageError(f"The database can't be read: {error}.", where=str(database)) from error
            if busy:
                raise StorageError("The database of windows is in use.", where=str(database), fix="Call it again.")
