"""A project's configuration in the spelling of today: what would change, and changing it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from olmoearth_nb.config.dataset_json import DATASET_CONFIG_NAME
from olmoearth_nb.config.edit import KeptFile
from olmoearth_nb.config.model_yaml import MODEL_CONFIG_NAME
from olmoearth_nb.config.project import Project
from olmoearth_nb.config.renamed import Modern, modern_dataset, modern_model
from olmoearth_nb.config.renamed.draft import unshared
from olmoearth_nb.config.renamed.notice import key_of
from olmoearth_nb.config.rewrite import masked, rewritten_json, rewritten_yaml, unmasked
from olmoearth_nb.config.yamlfile import parse_yaml
from olmoearth_nb.errors import ConfigError
from olmoearth_nb.tables import html_table, text_table

__all__ = ["FileUpgrade", "Upgrade", "upgrade_project"]

_COLUMNS = ("file", "key", "older spelling", "now")


@dataclass(frozen=True)
class FileUpgrade:
    """One file in the spelling of today.

    Attributes:
        file: The file as it was read.
        modern: What it says.
        text: Its new text.
    """

    file: KeptFile
    modern: Modern
    text: str


@dataclass(frozen=True)
class Upgrade:
    """What an upgrade of a project would change.

    Attributes:
        project: The project folder.
        files: The files that would change.
    """

    project: Path
    files: tuple[FileUpgrade, ...]

    def __bool__(self) -> bool:
        """Whether there is something to do."""
        return bool(self.files)

    @property
    def diff(self) -> str:
        """The changes as a unified diff; empty if there are none."""
        return "\n".join(one.file.diff(one.text) for one in self.files)

    def write(self) -> tuple[Path, ...]:
        """Writes the files; what they said before is kept beside them as ``<name>.bak``.

        Returns:
            The files.

        Raises:
            UsageError: If a file has changed since it was read.
            StorageError: If a file can't be written.
        """
        for one in self.files:
            one.file.write(one.text)
        return tuple(one.file.path for one in self.files)

    def to_dict(self) -> dict[str, Any]:
        """The upgrade as plain values, for JSON."""
        rows = [dict(zip(("file", "key", "old", "new"), row, strict=True)) for row in self._rows()]
        return {"project": str(self.project), "changes": rows, "diff": self.diff}

    def _rows(self) -> list[tuple[str, str, str, str]]:
        return [
            (one.file.path.name, key_of(change.keys), change.old, change.new)
            for one in self.files
            for change in one.modern.changes
        ]

    def __repr__(self) -> str:
        if not self.files:
            return f"Project {self.project.name}: nothing to do, it has no older spellings."
        return f"{self.diff}\n\n{text_table(('file', 'changes'), self._counts())}"

    def _counts(self) -> list[tuple[str, str]]:
        return [(one.file.path.name, str(len(one.modern.changes))) for one in self.files]

    def _repr_html_(self) -> str:
        caption = f"Upgrade of {self.project.name}" if self.files else repr(self)
        return html_table(_COLUMNS, self._rows(), caption=caption)


def upgrade_project(path: str | PathLike[str]) -> Upgrade:
    """Looks for older spellings in ``model.yaml`` and ``dataset.json``; nothing is written before ``write()``.

    Args:
        path: The project folder.

    Returns:
        What would change; it shows itself as a diff.

    Raises:
        ProjectError: If there is no such folder.
        UsageError: If it lies on an object store.
        ConfigError: If a file is no YAML or JSON, or is written in a way that can't be changed at one place only.

    Example:
        >>> upgrade_project("olmoearth_run_data/demo").write()  # doctest: +SKIP
    """
    project = Project(path)
    candidates = [
        (project.path / DATASET_CONFIG_NAME, _dataset),
        (project.path / MODEL_CONFIG_NAME, _model),
    ]
    project.refuse_editing()
    found = [_upgraded(file, read) for file, read in candidates if file.exists()]
    return Upgrade(project.path, tuple(one for one in found if one.text != one.file.text))


def _upgraded(path: Path, read: Callable[[str, str], tuple[Modern, str]]) -> FileUpgrade:
    file = KeptFile.read(path)
    bom, body = ("\ufeff", file.text[1:]) if file.text.startswith("\ufeff") else ("", file.text)
    modern, text = read(body, str(path))
    return FileUpgrade(file, modern, bom + text)


def _dataset(text: str, where: str) -> tuple[Modern, str]:
    try:
        modern = modern_dataset(json.loads(text))
    except ValueError as error:
        raise ConfigError(f"It is not JSON: {error}.", where=where) from error
    try:
        new = rewritten_json(text, modern.edits)
        if _same(json.loads(new), modern.value):
            return modern, new
    except (LookupError, ValueError, yaml.YAMLError):
        pass  # an odd layout, which JSON has no comments to lose in
    return modern, json.dumps(modern.value, indent=2, ensure_ascii=False) + "\n"


def _model(text: str, where: str) -> tuple[Modern, str]:
    hidden = masked(text)
    modern = modern_model(parse_yaml(hidden, where).value)
    try:
        new = rewritten_yaml(hidden, modern.edits)
        if _same(parse_yaml(new, where).value, modern.value):
            return modern, unmasked(new)
    except (LookupError, yaml.YAMLError, ConfigError):
        pass  # said below
    changes = "; ".join(f"{key_of(one.keys)}: {one.old} → {one.new or 'dropped'}" for one in modern.changes)
    raise ConfigError(
        "The older spellings can't be changed here one by one.",
        where=where,
        expected="plain keys and values, without anchors that are used elsewhere",
        fix=f"Change them by hand: {changes}.",
    )


def _same(one: Any, other: Any) -> bool:
    # nan is not equal to itself.
    return repr(unshared(one)) == repr(other) or unshared(one) == other
