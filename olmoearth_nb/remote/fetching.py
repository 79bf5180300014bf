"""Working copies of what is only read: projects, requests, checkpoints, masks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from olmoearth_nb.errors import InputFileError
from olmoearth_nb.remote.mirror import Mirror, locked, working_folder
from olmoearth_nb.remote.places import Place, reaching
from olmoearth_nb.remote.records import stored_file
from olmoearth_nb.remote.transfer import Transfer, replace_file

__all__ = ["fetched"]


def fetched(place: Place, *, what: str, wanted: Callable[[str], bool] | None = None, branch: str = "") -> Path:
    """A file or folder as it lies remotely now; what has not changed since is not fetched again.

    Args:
        place: Where it lies.
        what: What it is, for the error.
        wanted: Says of a relative path of a folder whether it is needed; everything if None.
        branch: Name of one of several working copies on this machine.

    Raises:
        InputFileError: If there is nothing.
        StorageError: If it can't be reached.
    """
    root = working_folder(place, branch=branch)
    with locked(root):
        if _is_file(place):
            return _file(place, root)
        mirror = Mirror(place, root, has_marks=False)
        mirror.look()
        mirror.pull(wanted or (lambda _: True), restore=True)
    if not mirror.there:
        raise InputFileError(f"The {what} is missing.", where=place.url, fix="Put it there, or check the URL.")
    return root


def _is_file(place: Place) -> bool:
    files = place.open()
    with reaching(place):
        files.invalidate_cache()
        try:
            return bool(files.info(place.path)["type"] == "file")
        except FileNotFoundError:
            return False  # the listing of the folder says what is wrong


def _file(place: Place, root: Path) -> Path:
    transfer, record = Transfer(place.parent, root.with_name("incoming")), root.with_name("fetched.json")
    with reaching(place):
        now = stored_file(place.open().info(place.path))
    if root.exists() and record.exists() and json.loads(record.read_text()) == list(now):
        return root
    for files in transfer.fetch([place.name]):
        replace_file(files[place.name], root, now.mtime_ns)
    record.write_text(json.dumps(now))
    return root
