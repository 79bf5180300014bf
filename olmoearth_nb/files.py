"""Files: read with errors for people, write beside and rename."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import uuid
from collections.abc import Callable, Hashable, Iterator
from contextvars import ContextVar
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar, cast

from olmoearth_nb.errors import InputFileError, StorageError, UsageError

__all__ = [
    "absolute_path",
    "atomic_path",
    "hash_file",
    "hash_json",
    "is_folder_name",
    "kept_readings",
    "kept_within_block",
    "parse_json",
    "read_json",
    "read_text",
    "shown_path",
    "write_json",
    "write_text",
]

_ReadT = TypeVar("_ReadT", bound=Callable[..., Any])

_kept: ContextVar[dict[Hashable, Any] | None] = ContextVar("kept", default=None)

# Of common file systems, bytes.
_LONGEST_NAME = 255


def absolute_path(path: str | PathLike[str], *, what: str) -> Path:
    """A path that somebody gave, absolute, with ``~`` for the home folder.

    Args:
        path: What was given.
        what: What it is the path of, for the error.

    Raises:
        UsageError: If it is no path, is empty or names a user that doesn't exist (``~nobody``).
    """
    try:
        if path == "" or "\0" in str(path):
            raise ValueError("no path")
        return Path(path).expanduser().absolute()
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(f"The path of the {what} can't be used.", expected="a path", found=repr(path)[:200]) from error


def is_folder_name(name: object) -> bool:
    """Whether a folder can have a name, below another one: no separators, not too long.

    Args:
        name: Anything.
    """
    if not isinstance(name, str) or name in ("", ".", ".."):
        return False
    return len(name.encode(errors="replace")) <= _LONGEST_NAME and not any(sign in name for sign in "/\\\0")


def read_text(path: str | PathLike[str], *, what: str = "file") -> str:
    """Text of a UTF-8 file.

    Args:
        path: The file.
        what: What the file is to the reader of the error.

    Raises:
        InputFileError: If it is missing, a folder, not readable or not text.
    """
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputFileError(f"The {what} is missing.", where=str(path)) from error
    except IsADirectoryError as error:
        raise InputFileError(f"The {what} is a folder.", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise InputFileError(f"The {what} is not UTF-8 text.", where=str(path)) from error
    except OSError as error:
        raise InputFileError(f"The {what} can't be read: {error.strerror}.", where=str(path)) from error


def read_json(path: str | PathLike[str], *, what: str = "file") -> Any:
    """Value of a JSON file.

    Args:
        path: The file.
        what: What the file is to the reader of the error.

    Raises:
        InputFileError: If it can't be read or is not JSON.
    """
    try:
        return parse_json(read_text(path, what=what))
    except ValueError as error:
        raise InputFileError(f"The {what} is not JSON: {error}.", where=str(path)) from error


def parse_json(text: str, *, object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Value of a JSON text.

    Args:
        text: The JSON.
        object_pairs_hook: As for ``json.loads``.

    Raises:
        ValueError: If it is not JSON, or nested deeper than Python can read.
    """
    try:
        return json.loads(text, object_pairs_hook=object_pairs_hook)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


@contextlib.contextmanager
def kept_readings() -> Iterator[None]:
    """Within the block large files are parsed once, however often they are read, as long as they don't change."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def kept_within_block(read: _ReadT) -> _ReadT:
    """Makes a function that parses a file one that :func:`kept_readings` keeps the results of.

    Args:
        read: Takes a path and options that can be keys of a dictionary; nobody may change what it returns.
    """

    @functools.wraps(read)
    def called(path: str | PathLike[str], **options: Any) -> Any:
        kept = _kept.get()
        if kept is None or not Path(path).is_file():
            return read(path, **options)
        stat = Path(path).stat()
        key = read, str(path), stat.st_mtime_ns, stat.st_size, tuple(options.items())
        if key not in kept:
            kept[key] = read(path, **options)
        return kept[key]

    return cast(_ReadT, called)


def shown_path(path: Path) -> Path:
    """A path as people write it in the folder they work in; kept notebooks don't tell whose folder that is.

    Args:
        path: An absolute path.

    Returns:
        Relative to the working folder where it lies in it or beside it, else as it is.
    """
    here = Path.cwd()
    if path.is_relative_to(here):
        return path.relative_to(here)
    if path.is_relative_to(here.parent) and here.parent != here.parent.parent:
        return Path("..") / path.relative_to(here.parent)
    return path


@contextlib.contextmanager
def atomic_path(path: str | PathLike[str]) -> Iterator[Path]:
    """A place beside ``path`` to write to, renamed to it when the block ends well.

    Keeps the suffix, so that GDAL picks its driver. A block that fails leaves nothing behind.

    Args:
        path: Where the file shall be; its folder is made.

    Raises:
        StorageError: If the place can't be written.
    """
    target = Path(path)
    beside = target.with_name(f".{target.stem}.{uuid.uuid4().hex[:8]}{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(target)
    except OSError as error:
        if isinstance(error, PermissionError | IsADirectoryError | NotADirectoryError | FileExistsError) or error.errno:
            raise StorageError(
                f"Can't write here: {error.strerror or error}.",
                where=str(target),
                fix="Check the permissions and the free space, or choose another folder.",
            ) from error
        raise
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


def write_text(path: str | PathLike[str], text: str) -> None:
    """Writes a UTF-8 file; it is complete or not there at all.

    Args:
        path: Where to; folders are made.
        text: What to write.

    Raises:
        StorageError: If the place can't be written.
    """
    with atomic_path(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: str | PathLike[str], value: Any) -> None:
    """Writes a JSON file; it is complete or not there at all.

    Args:
        path: Where to; folders are made.
        value: Anything that ``json`` takes.

    Raises:
        StorageError: If the place can't be written.
    """
    write_text(path, json.dumps(value, indent=2) + "\n")


def hash_file(path: str | PathLike[str]) -> str:
    """SHA-256 of a file's bytes, hexadecimal.

    Args:
        path: The file.

    Raises:
        InputFileError: If it can't be read.
    """
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputFileError(f"The file can't be read: {error.strerror}.", where=str(path)) from error


def hash_json(value: Any) -> str:
    """SHA-256 of a value's JSON with sorted keys, hexadecimal.

    Args:
        value: Anything that ``json`` takes; other objects by their text.
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
