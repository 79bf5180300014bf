"""The three files that ``olmoearth_config.yaml`` becomes: for a run in the user's cache, for people where they want."""

from __future__ import annotations

import functools
import hashlib
import os
import tempfile
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from olmoearth_nb.cache import cache_folder
from olmoearth_nb.config.single_file.converted import ConvertedProject, convert
from olmoearth_nb.config.single_file.schema import SINGLE_CONFIG_NAME
from olmoearth_nb.errors import ConfigError, InputFileError, StorageError, UsageError
from olmoearth_nb.files import absolute_path, read_text, shown_path, write_text
from olmoearth_nb.tables import html_table, text_table

__all__ = ["WrittenProject", "convert_project", "converted_folder", "read_converted"]

_COLUMNS = ("file", "from")
_SOURCES = {
    "dataset.json": "data",
    "model.yaml": "model, input_preprocessing, training",
    "olmoearth_run.yaml": "prediction_requests, labeled_data_prep, data.output",
}


@dataclass(frozen=True, kw_only=True)
class WrittenProject:
    """The files that were made of ``olmoearth_config.yaml``.

    Attributes:
        source: ``olmoearth_config.yaml``.
        folder: Where they are.
        files: Their names.
        warnings: What looks wrong in the source.
    """

    source: Path
    folder: Path
    files: tuple[str, ...]
    warnings: tuple[str, ...]

    def _rows(self) -> list[tuple[str, str]]:
        return [(name, _SOURCES[name]) for name in self.files]

    @property
    def _caption(self) -> str:
        return f"{shown_path(self.source)} as three files in {shown_path(self.folder)}"

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "source": str(self.source),
            "folder": str(self.folder),
            "files": list(self.files),
            "warnings": list(self.warnings),
        }

    def __repr__(self) -> str:
        text = text_table(_COLUMNS, self._rows(), caption=self._caption)
        return "\n".join([text, *(f"warning: {one}" for one in self.warnings)])

    def _repr_html_(self) -> str:
        shown = html_table(_COLUMNS, self._rows(), caption=self._caption)
        return shown + (html_table(("warning",), [(one,) for one in self.warnings]) if self.warnings else "")


def convert_project(project: str | PathLike[str], out_dir: str | PathLike[str]) -> WrittenProject:
    """Writes ``dataset.json``, ``model.yaml`` and ``olmoearth_run.yaml`` as ``olmoearth_config.yaml`` has them.

    Into the project's own folder too: the three files count from then on, and the single one is ignored.

    Args:
        project: Folder with ``olmoearth_config.yaml``.
        out_dir: Where to; made if need be.

    Returns:
        What was written.

    Raises:
        ConfigError: If the file is missing or wrong; names every key.
        UsageError: If one of the three files is there already; nothing is written then.
        StorageError: If the folder can't be written.
    """
    source = absolute_path(project, what="project") / SINGLE_CONFIG_NAME
    folder = absolute_path(out_dir, what="three files")
    converted = read_converted(source)
    there = [name for name in _SOURCES if (folder / name).exists()]
    if there:
        raise UsageError(
            f"There is {', '.join(there)} already, and nothing is overwritten.",
            where=str(folder),
            fix="Choose another folder, or remove what is there.",
        )
    for name, text in converted.texts.items():
        write_text(folder / name, text)
    return WrittenProject(
        source=source,
        folder=folder,
        files=tuple(name for name in _SOURCES if name in converted.texts),
        warnings=tuple(str(problem) for problem in converted.warnings),
    )


def read_converted(path: Path) -> ConvertedProject:
    """``olmoearth_config.yaml`` of a project; read anew only when it has changed.

    Args:
        path: The file.

    Raises:
        ConfigError: If it is missing or wrong; names every key.
    """
    try:
        return _converted(read_text(path, what="configuration file"), str(path))
    except InputFileError as error:
        raise ConfigError(error.what, where=error.where) from error


def converted_folder(path: Path) -> Path:
    """Folder with the three files, in the user's cache, which a project with a single file works with.

    What is in it depends on the text alone, so that any number of processes and projects can make it at once.

    Args:
        path: ``olmoearth_config.yaml``.

    Raises:
        ConfigError: If the file is wrong; names every key.
        StorageError: If neither the cache nor the temporary folder can be written.
    """
    texts = read_converted(path).texts
    digest = hashlib.sha256("\0".join(f"{name}\0{text}" for name, text in texts.items()).encode()).hexdigest()[:20]
    # The name of the file is part of the path, for those who meet it in a message.
    place = Path(SINGLE_CONFIG_NAME) / digest
    folder = cache_folder() / place
    try:
        _fill(folder, texts)
    except StorageError:
        folder = Path(tempfile.gettempdir()) / f"olmoearth_nb-{_user()}" / place
        _fill(folder, texts)
    return folder


@functools.lru_cache(maxsize=16)
def _converted(text: str, where: str) -> ConvertedProject:
    return convert(text, where=where)


def _fill(folder: Path, texts: dict[str, str]) -> None:
    for name, text in texts.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != text.encode():
            write_text(path, text)


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "user"
