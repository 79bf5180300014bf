"""The file format of a bundle: a zip archive whose manifest has the size and the SHA-256 of every other file.

Nothing is compressed: checkpoints hardly shrink, deflate gives other bytes with another zlib, and an archive can't
unpack to more than its own size. Times, permissions and order are fixed, so that the same content is the same bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import unicodedata
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from olmoearth_nb.cache import cache_folder
from olmoearth_nb.errors import BundleError, StorageError
from olmoearth_nb.files import atomic_path, parse_json

__all__ = [
    "MANIFEST_NAME",
    "SUFFIX",
    "FileRecord",
    "Manifest",
    "Source",
    "is_archive",
    "read_member",
    "unpack",
    "unpacked",
    "verified",
]

SUFFIX = ".oebundle.zip"
MANIFEST_NAME = "MANIFEST.json"
FORMAT = 1

_CHUNK = 1 << 20
_LARGEST_MANIFEST = 16 << 20
_MOMENT = (1980, 1, 1, 0, 0, 0)
_MODE = 0o100644
_LINK, _KIND = 0o120000, 0o170000
# A file unpacked into the cache carries this time (seconds since 1970) until somebody edits it.
_STAMP = 315_532_800
_NOT_IN_NAMES = set('\\:*?"<>|')
_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}

Source = Path | bytes
"""Where the content of a file comes from: another file, or itself."""


@dataclass(frozen=True)
class FileRecord:
    """What the manifest says of a file.

    Attributes:
        size: Bytes.
        sha256: Hexadecimal.
    """

    size: int
    sha256: str

    @classmethod
    def of(cls, source: Source) -> FileRecord:
        """Reads a file, a piece at a time.

        Args:
            source: The file, or its content.

        Raises:
            StorageError: If it can't be read.
        """
        if isinstance(source, bytes):
            return cls(len(source), hashlib.sha256(source).hexdigest())
        try:
            with source.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                return cls(file.tell(), digest)
        except OSError as error:
            raise StorageError(f"The file can't be read: {error.strerror}.", where=str(source)) from error


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What an archive says of itself.

    Attributes:
        name: Name of the project.
        version: Version of the bundle.
        files: Path in the archive -> size and hash, in alphabetical order; all but the manifest.
    """

    name: str
    version: str
    files: Mapping[str, FileRecord]

    @property
    def text(self) -> bytes:
        """The manifest file."""
        files = {path: {"sha256": one.sha256, "size": one.size} for path, one in sorted(self.files.items())}
        value = {"format": FORMAT, "name": self.name, "version": self.version, "files": files}
        return (json.dumps(value, indent=2) + "\n").encode()

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(one.size for one in self.files.values())

    def write(self, path: Path, sources: Mapping[str, Source]) -> None:
        """Writes the archive; it is complete or not there at all.

        Args:
            path: Where to.
            sources: Path in the archive -> where its content comes from.

        Raises:
            BundleError: If a file has changed since the manifest was made, or has a name that can't be unpacked
                everywhere.
            StorageError: If it can't be written.
        """
        for name in _badly_named(self.files):
            raise BundleError(f"This file name can't be unpacked on every computer: {name!r}.", fix="Rename the file.")
        with atomic_path(path) as beside, zipfile.ZipFile(beside, "w", allowZip64=True) as archive:
            _add(archive, MANIFEST_NAME, FileRecord.of(self.text), self.text)
            for name, record in sorted(self.files.items()):
                _add(archive, name, record, sources[name])

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """The manifest of an archive, compared with what the archive lists; no content is read.

        Args:
            path: The archive.

        Raises:
            BundleError: If it is no bundle, lacks a file, has one too many, or one that must not be unpacked.
        """
        with _opened(path) as archive:
            return _manifest(archive, path)


def is_archive(path: Path) -> bool:
    """Whether a path is meant as a bundle: a file that ends with ``.zip``.

    Args:
        path: Any.
    """
    return path.suffix.lower() == ".zip" and path.is_file()


def verified(path: Path) -> Manifest:
    """Reads every byte of an archive and compares it with the manifest.

    Args:
        path: The archive.

    Raises:
        BundleError: Names the first thing that is wrong.
    """
    with _opened(path) as archive:
        manifest = _manifest(archive, path)
        for name, record in manifest.files.items():
            with archive.open(name) as file:
                _copy(file, None, record, f"{path}: {name}")
    return manifest


def read_member(path: Path, name: str) -> bytes:
    """The content of a small file of an archive.

    Args:
        path: The archive.
        name: Path in it.

    Raises:
        BundleError: If the archive is damaged.
    """
    with _opened(path) as archive:
        return archive.read(name)


def unpack(path: Path, folder: Path, *, keep_time: bool = False) -> Manifest:
    """Unpacks an archive; each file is compared with the manifest before it gets its name.

    Files that are there as they should be stay, so that an interrupted call can be repeated, and several processes
    may do the same at the same time.

    Args:
        path: The archive.
        folder: Where to; made if need be.
        keep_time: Give every file the same time of change, and take those with another one for edited.

    Raises:
        BundleError: If the archive is damaged or is no bundle.
        StorageError: If the folder can't be written.
    """
    with _opened(path) as archive:
        manifest = _manifest(archive, path)
        for name, record in manifest.files.items():
            target = folder / name
            if keep_time and _is_untouched(target, record):
                continue
            with atomic_path(target) as beside:
                with archive.open(name) as file, beside.open("wb") as copy:
                    _copy(file, copy, record, f"{path}: {name}")
                if keep_time:
                    os.utime(beside, (_STAMP, _STAMP))
        with atomic_path(folder / MANIFEST_NAME) as beside:
            beside.write_bytes(manifest.text)
    return manifest


def unpacked(path: Path) -> tuple[Path, Manifest]:
    """The folder in the cache with the files of an archive, verified when they were unpacked.

    The folder is named after the manifest's hash, so that the same bundle is unpacked once, wherever it lies. A file
    that is missing or was edited is unpacked again.

    Args:
        path: The archive.

    Raises:
        BundleError: If the archive is damaged or is no bundle.
        StorageError: If the cache can't be written.
    """
    manifest = Manifest.read(path)
    folder = cache_folder() / "bundles" / hashlib.sha256(manifest.text).hexdigest()[:32]
    if not all(_is_untouched(folder / name, record) for name, record in manifest.files.items()):
        unpack(path, folder, keep_time=True)
    return folder, manifest


def _is_untouched(path: Path, record: FileRecord) -> bool:
    try:
        stat = path.stat()
    except OSError:
        return False
    return stat.st_size == record.size and stat.st_mtime_ns == _STAMP * 10**9


# ---- writing -------------------------------------------------------------------------------------------------


def _add(archive: zipfile.ZipFile, name: str, record: FileRecord, source: Source) -> None:
    info = zipfile.ZipInfo(name, _MOMENT)
    info.create_system, info.external_attr, info.file_size = 3, _MODE << 16, record.size
    with archive.open(info, "w") as member:
        if isinstance(source, bytes):
            member.write(source)
            return
        digest = hashlib.sha256()
        with source.open("rb") as file:
            while piece := file.read(_CHUNK):
                digest.update(piece)
                member.write(piece)
    if digest.hexdigest() != record.sha256:
        raise BundleError("The file has changed while it was read.", where=str(source), fix="Make the bundle again.")


# ---- reading -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError as error:
        raise BundleError("The bundle is missing.", where=str(path), fix="Check the path.") from error
    except OSError as error:
        raise BundleError(f"The bundle can't be read: {error.strerror or error}.", where=str(path)) from error
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise BundleError(
            f"The bundle is damaged or incomplete: {str(error).rstrip('.')}.",
            where=str(path),
            fix="Get it again: it may not have been copied to its end.",
        ) from error


def _manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    infos = archive.infolist()
    names = [info.orig_filename for info in infos]
    for name in _badly_named(names):
        raise BundleError("The bundle has a file that must not be unpacked.", where=str(path), found=repr(name)[:200])
    for info in infos:
        kind = info.external_attr >> 16 & _KIND
        if kind == _LINK or info.flag_bits & 1 or info.compress_type != zipfile.ZIP_STORED:
            found = "a link" if kind == _LINK else "encrypted" if info.flag_bits & 1 else "compressed"
            raise BundleError("The bundle was not made by this package.", where=f"{path}: {info.filename}", found=found)
    sizes = {info.filename: info.file_size for info in infos}
    if sum(sizes.values()) > path.stat().st_size:
        raise BundleError("The files of the bundle are larger than the bundle.", where=str(path))
    if MANIFEST_NAME not in sizes or sizes[MANIFEST_NAME] > _LARGEST_MANIFEST:
        raise BundleError(
            "It is no bundle.", where=str(path), expected=f"an archive of olmoearth-nb bundle, with {MANIFEST_NAME}"
        )
    manifest = _parsed(archive.read(MANIFEST_NAME), path)
    _compare(manifest, {name: size for name, size in sizes.items() if name != MANIFEST_NAME}, path)
    return manifest


def _parsed(text: bytes, path: Path) -> Manifest:
    where = f"{path}: {MANIFEST_NAME}"
    try:
        value: Any = parse_json(text.decode())
        if isinstance(value, dict) and isinstance(value.get("format"), int) and value["format"] > FORMAT:
            raise BundleError(
                "The bundle has a newer format.",
                where=where,
                expected=f"format {FORMAT}",
                found=str(value["format"]),
                fix="Install a newer olmoearth-nb.",
            )
        files = {name: FileRecord(int(one["size"]), str(one["sha256"])) for name, one in value["files"].items()}
        manifest = Manifest(name=str(value["name"]), version=str(value["version"]), files=files)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError("The manifest of the bundle can't be read.", where=where) from error
    # What is written the same way every time can be compared with what should have been written.
    if manifest.text != text or not _is_good_part(manifest.name) or "/" in manifest.name:
        raise BundleError("The manifest of the bundle was changed.", where=where, fix="Get the bundle again.")
    return manifest


def _compare(manifest: Manifest, sizes: Mapping[str, int], path: Path) -> None:
    fix = "Get the bundle again."
    for name in sorted(manifest.files.keys() - sizes.keys()):
        raise BundleError("The bundle lacks a file.", where=str(path), found=f"no {name}", fix=fix)
    for name in sorted(sizes.keys() - manifest.files.keys()):
        raise BundleError("The bundle has a file that its manifest does not list.", where=str(path), found=name)
    for name, record in manifest.files.items():
        if sizes[name] != record.size:
            raise BundleError(
                "A file of the bundle has another size than the manifest says.",
                where=f"{path}: {name}",
                expected=f"{record.size:,} bytes",
                found=f"{sizes[name]:,}",
                fix=fix,
            )


def _badly_named(names: Iterable[str]) -> Iterator[str]:
    """Names that would be unpacked elsewhere, onto each other, or not at all on some system."""
    seen: set[str] = set()
    folders: set[str] = set()
    for name in names:
        parts = name.split("/")
        folded = unicodedata.normalize("NFC", name).casefold()
        above = {"/".join(folded.split("/")[:length]) for length in range(1, len(parts))}
        if not all(map(_is_good_part, parts)) or folded in seen or folded in folders or above & seen:
            yield name
        seen.add(folded)
        folders |= above


def _is_good_part(part: str) -> bool:
    if not part or part in (".", "..") or part[-1] in ". " or len(part.encode(errors="replace")) > 255:
        return False
    if part.split(".")[0].lower() in _DEVICES:
        return False
    return not any(sign in _NOT_IN_NAMES or not sign.isprintable() for sign in part)


def _copy(source: Any, target: BinaryIO | None, record: FileRecord, where: str) -> None:
    digest = hashlib.sha256()
    while piece := source.read(_CHUNK):
        digest.update(piece)
        if target is not None:
            target.write(piece)
    if digest.hexdigest() != record.sha256:
        raise BundleError(
            "A file of the bundle is not what the manifest says.",
            where=where,
            expected=f"SHA-256 {record.sha256[:12]}…",
            found=f"{digest.hexdigest()[:12]}…",
            fix="Get the bundle again.",
        )
