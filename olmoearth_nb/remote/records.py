"""What is known of files: as they lie on this machine, and as they lie remotely."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Local", "Stored", "Synced", "local_file", "stored_file", "walk"]

_TAGS = ("ETag", "etag", "md5Hash", "content_md5", "generation", "mtime", "modified", "created", "LastModified")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")


class Local(NamedTuple):
    """A file on this machine: bytes, and nanoseconds since 1970."""

    size: int
    mtime_ns: int


class Stored(NamedTuple):
    """A file as it lies remotely.

    ``tag`` changes with the content; it is empty for a file that was just sent, until the folder is listed.
    ``mtime_ns`` is the time of the file that it was sent from, as far as that is known.
    """

    size: int
    tag: str
    mtime_ns: int


class Synced(NamedTuple):
    """The two of a file that are alike."""

    local: Local
    stored: Stored


def local_file(path: Path | str) -> Local | None:
    """A file on this machine, through links; None if there is none.

    Args:
        path: The file.
    """
    try:
        found = os.stat(path)  # noqa: PTH116  # a path object takes longer than the question
    except OSError:
        return None
    return Local(found.st_size, found.st_mtime_ns)


def stored_file(info: Mapping[str, Any]) -> Stored:
    """What a listing of fsspec says of a file.

    Args:
        info: One entry.
    """
    tag = next((str(info[name]) for name in _TAGS if info.get(name)), "")
    moment = next((info[name] for name in _TIMES if info.get(name)), 0)
    seconds = moment.timestamp() if isinstance(moment, datetime) else moment
    mtime = int(seconds * 1_000_000) * 1_000 if isinstance(seconds, int | float) else 0
    # Stores without any tag tell a change by size and time.
    return Stored(int(info.get("size") or 0), tag or str(mtime), mtime)


def walk(root: Path, under: str = "") -> Iterator[tuple[str, Local]]:
    """All files of a folder, through links to files.

    Args:
        root: The folder that paths are relative to.
        under: Folder in it to look at, with a slash at the end.

    Yields:
        Relative path with slashes, and what it is.
    """
    base = f"{root}/"
    waiting = [base + under]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path + "/")
                    elif (found := local_file(entry.path)) is not None:
                        yield entry.path.removeprefix(base), found
        except OSError:
            continue  # it was removed meanwhile
