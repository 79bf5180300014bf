"""Which files of a folder a local data source reads."""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from upath import UPath

from olmoearth_nb.errors import InputFileError, UnsupportedError, UsageError

__all__ = ["FileState", "file_state", "find_files", "fingerprint", "is_ours", "item_names", "source_folder"]

# What lies beside imagery and vector files and is part of them, or describes them.
_BESIDE = re.compile(
    r"^\.|\.(json|xml|ovr|msk|tfw|tifw|tiffw|wld|jgw|pgw|j2w|prj|dbf|shx|cpg|qix|qml|qmd|sbn|sbx|txt|md|html|pdf)$"
    r"|\.tmp\.\d+$",
    re.IGNORECASE,
)


# Files of other names without which a file means something else.
_PARTS = {".shp": (".dbf", ".shx", ".prj", ".cpg"), ".tif": (".tfw",), ".tiff": (".tfw",)}


class FileState(NamedTuple):
    """What tells a file from what it was before: its path, modification time in nanoseconds and size in bytes."""

    path: Path
    mtime_ns: int
    size: int


def file_state(path: Path) -> FileState:
    """The state of a file now.

    Args:
        path: The file.

    Raises:
        InputFileError: If it is missing or can't be looked at.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise InputFileError(
            "A file of the data source can't be found.", where=str(path), found=error.strerror or str(error)
        ) from error
    return FileState(path, found.st_mtime_ns, found.st_size)


def find_files(folder: Path, pattern: str | None) -> list[Path]:
    """Files of a folder that match a pattern, sorted.

    Args:
        folder: The folder.
        pattern: A glob below the folder, ``**/`` for its subfolders too; None for all files that have an extension and
            are not sidecars of others (``.aux.xml``, ``.ovr``, ``.json``, …).

    Raises:
        InputFileError: If the folder is missing or nothing matches.
        UsageError: If the pattern leads out of the folder.
    """
    if not folder.is_dir():
        raise InputFileError(
            "The folder of the data source is not there.",
            where=str(folder),
            fix="Correct src_dir in dataset.json; a relative one counts from the project folder.",
        )
    if pattern is None:
        found = _all_files(folder)
    else:
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise UsageError("The pattern leads out of src_dir.", where="pattern", found=repr(pattern))
        found = [path for path in folder.glob(pattern) if path.is_file() and not path.name.startswith(".")]
    if not found:
        raise InputFileError(
            "No file of the folder matches.",
            where=str(folder),
            expected=f"files like {pattern}" if pattern else "imagery",
            fix="Set pattern in dataset.json, such as '*.tif', or '**/*.tif' to look into subfolders.",
        )
    return sorted(found)


def _all_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.*") if path.is_file() and not _BESIDE.search(path.name)]


def item_names(folder: Path, paths: Iterable[Path]) -> list[str]:
    """Names of the items that files make: up to the first dot as in rslearn; longer where two would be the same.

    Args:
        folder: The folder.
        paths: Its files.
    """
    paths = list(paths)
    short = [path.name.split(".")[0] for path in paths]
    counts = Counter(short)
    return [
        name if counts[name] == 1 else _relative(folder, path).replace("/", "__")
        for name, path in zip(short, paths, strict=True)
    ]


def _relative(folder: Path, path: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()


def source_folder(src_dir: str, dataset: UPath | None) -> Path:
    """The folder that a data source reads.

    Args:
        src_dir: What the configuration says.
        dataset: The dataset folder, from which a relative one counts here.

    Raises:
        UnsupportedError: If it is not on this machine.
    """
    if "://" in src_dir and not src_dir.startswith("file://"):
        raise UnsupportedError(
            "This data source reads local files.",
            where="src_dir",
            found=src_dir,
            fix="Use rslearn.data_sources.local_files.LocalFiles for other places.",
        )
    path = Path(src_dir.removeprefix("file://")).expanduser()
    return path if dataset is None else Path(str(dataset)) / path


def is_ours(class_path: str) -> bool:
    """Whether a class path of ``dataset.json`` names a data source of this package.

    Args:
        class_path: Dotted path.
    """
    return class_path.startswith("olmoearth_nb.sources.")


def fingerprint(paths: Iterable[Path], folder: Path) -> list[list[Any]]:
    """Names, sizes and modification times of files and of what belongs to them.

    Statistics and overviews that a viewer puts beside them are left out: they change no pixel.

    Args:
        paths: Files.
        folder: What their names count from.
    """
    everything = set()
    for path in paths:
        everything |= {path, *(path.with_suffix(suffix) for suffix in _PARTS.get(path.suffix.lower(), ()))}
    found = []
    for path in sorted(everything):
        with contextlib.suppress(OSError):
            stat = path.stat()
            found.append([os.path.relpath(path, folder), stat.st_size, stat.st_mtime_ns])
    return found
