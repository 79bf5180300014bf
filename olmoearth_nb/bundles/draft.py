"""From the content of a bundle to its file: the version, and what is there already."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import filelock
from packaging.version import InvalidVersion, Version

from olmoearth_nb.archive import SUFFIX, FileRecord, Manifest, Source, verified
from olmoearth_nb.bundles.card import CARD_NAME, FACTS_NAME, card_text
from olmoearth_nb.bundles.results import Bundle, read_bundle
from olmoearth_nb.errors import BundleError, UsageError
from olmoearth_nb.files import absolute_path

__all__ = ["Draft"]

_FIRST = "1.0.0"


@dataclass(frozen=True)
class Draft:
    """A bundle that has no version yet.

    Attributes:
        name: Name of the project.
        sources: Path in the archive -> where the content comes from.
        facts: The facts of the model card.
    """

    name: str
    sources: Mapping[str, Source]
    facts: Mapping[str, Any]

    def write(self, place: str | PathLike[str], version: str | None, *, overwrite: bool) -> Bundle:
        """Writes it, unless it is there.

        Args:
            place: Folder, or file if it ends with ``.zip``.
            version: The version; if None that of the newest bundle of the folder if it is the same, else the next.
            overwrite: Replace a bundle of this version with other content.

        Raises:
            BundleError: If there is a bundle of this version with other content.
            UsageError: If the version is none.
        """
        given = absolute_path(place, what="bundle")
        folder, file = (given.parent, given) if given.suffix.lower() == ".zip" else (given, None)
        records = {name: FileRecord.of(source) for name, source in self.sources.items()}
        with _alone(folder):
            return self._written(folder, file, version, records, overwrite=overwrite)

    def _written(
        self,
        folder: Path,
        file: Path | None,
        version: str | None,
        records: Mapping[str, FileRecord],
        *,
        overwrite: bool,
    ) -> Bundle:
        newest = max(_versions(folder, self.name), default=None)
        if version is None and file is None and newest is not None:
            manifest, _ = self._with_version(str(newest), records)
            existing = folder / _file_name(self.name, str(newest))
            if _has(existing, manifest):
                return read_bundle(existing, manifest)
        number = _following(newest) if version is None else _normal(version)
        manifest, texts = self._with_version(number, records)
        target = file or folder / _file_name(self.name, number)
        if not _has(target, manifest):
            if target.exists() and not overwrite:
                raise BundleError(
                    "There is a bundle with other content.",
                    where=str(target),
                    fix="Give another version, or overwrite=True.",
                )
            manifest.write(target, {**self.sources, **texts})
        return read_bundle(target, manifest)

    def _with_version(self, version: str, records: Mapping[str, FileRecord]) -> tuple[Manifest, dict[str, Source]]:
        facts = {**self.facts, "version": version}
        text = json.dumps(facts, indent=2, sort_keys=True, default=str) + "\n"
        texts: dict[str, Source] = {CARD_NAME: card_text(facts).encode(), FACTS_NAME: text.encode()}
        files = {**records, **{name: FileRecord.of(source) for name, source in texts.items()}}
        return Manifest(name=self.name, version=version, files=dict(sorted(files.items()))), texts


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Lets one process at a time choose a version in a folder and write it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".lock")
        lock.acquire()
    except (NotImplementedError, OSError):
        yield  # a file system without locks, or one that only reads: writing says so
        return
    try:
        yield
    finally:
        lock.release()


def _has(path: Path, manifest: Manifest) -> bool:
    """Whether a file is the bundle with this content, undamaged."""
    try:
        return path.exists() and verified(path).text == manifest.text
    except BundleError:
        return False


def _file_name(name: str, version: str) -> str:
    return f"{name}-{version}{SUFFIX}"


def _versions(folder: Path, name: str) -> list[Version]:
    found = []
    for path in folder.glob(f"*{SUFFIX}"):
        text = path.name.removesuffix(SUFFIX)
        if text.startswith(f"{name}-"):
            try:
                found.append(Version(text.removeprefix(f"{name}-")))
            except InvalidVersion:
                continue
    return found


def _following(version: Version | None) -> str:
    if version is None:
        return _FIRST
    if version.is_prerelease:
        return version.base_version
    *front, last = version.release
    return ".".join(map(str, [*front, last + 1]))


def _normal(version: str) -> str:
    try:
        return str(Version(version))
    except (InvalidVersion, TypeError) as error:
        raise UsageError(
            "The version is none.", where="version", expected="numbers with dots, such as 1.2.0", found=repr(version)
        ) from error
