"""What bundling and unbundling return, as objects that show themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olmoearth_nb.archive import FileRecord, Manifest, read_member
from olmoearth_nb.bundles.card import CARD_NAME, FACTS_NAME
from olmoearth_nb.bundles.lockfile import LOCK_NAME
from olmoearth_nb.files import parse_json, shown_path
from olmoearth_nb.tables import html_table, text_table

__all__ = ["Bundle", "Unbundled", "read_bundle"]

_SHOWN_FILES = 30


@dataclass(frozen=True, kw_only=True, repr=False)
class Bundle:
    """A bundle; shows its files.

    Attributes:
        path: The archive.
        name: Name of the project.
        version: Version of the bundle.
        files: Path in the archive -> size in bytes and SHA-256.
        card: The facts of the model card.
    """

    path: Path
    name: str
    version: str
    files: Mapping[str, FileRecord]
    card: Mapping[str, Any]

    @property
    def folders(self) -> tuple[str, ...]:
        """Folders of imagery that whoever runs it has to provide, as ``dataset.json`` names them."""
        return tuple(self.card.get("folders", ()))

    def to_dict(self) -> dict[str, Any]:
        """The bundle as plain values, for JSON."""
        files = {name: {"size": one.size, "sha256": one.sha256} for name, one in self.files.items()}
        about = {"path": str(self.path), "name": self.name, "version": self.version}
        return {**about, "files": files, "card": dict(self.card)}

    def _caption(self) -> str:
        size = sum(one.size for one in self.files.values())
        return f"{self.name} {self.version} in {shown_path(self.path)} ({size:,} bytes)"

    def _rows(self) -> list[tuple[str, str, str]]:
        rows = [(name, f"{one.size:,}", one.sha256[:16]) for name, one in self.files.items()]
        more = len(rows) - _SHOWN_FILES
        return rows if more <= 0 else [*rows[:_SHOWN_FILES], (f"and {more} more", "", "")]

    def __repr__(self) -> str:
        table = text_table(("file", "bytes", "SHA-256"), self._rows(), caption=self._caption())
        return "\n".join([table, "", *(f"- {one}" for one in self.card.get("limits", ()))])

    def _repr_html_(self) -> str:
        limits = html_table(("limits",), [(one,) for one in self.card.get("limits", ())])
        return html_table(("file", "bytes", "SHA-256"), self._rows(), caption=self._caption()) + limits


@dataclass(frozen=True, kw_only=True, repr=False)
class Unbundled:
    """A bundle that was unpacked; shows what to do next.

    Attributes:
        bundle: The bundle.
        path: The folder with everything.
        project: The project folder in it.
    """

    bundle: Bundle
    path: Path
    project: Path

    @property
    def missing_folders(self) -> tuple[Path, ...]:
        """Folders of imagery that the project needs and that are not there."""
        wanted = [self.project / Path(folder).expanduser() for folder in self.bundle.folders]
        return tuple(folder for folder in wanted if not folder.is_dir())

    def to_dict(self) -> dict[str, Any]:
        """What was unpacked, as plain values, for JSON."""
        missing = [str(folder) for folder in self.missing_folders]
        about = {"name": self.bundle.name, "version": self.bundle.version, "files": len(self.bundle.files)}
        return {**about, "project": str(self.project), "missing_folders": missing}

    def _rows(self) -> list[tuple[str, str]]:
        rows = [
            ("verified files", f"{len(self.bundle.files):,}"),
            ("project", str(shown_path(self.project))),
            ("model card", str(shown_path(self.path / CARD_NAME))),
            ("exact packages", f"pip install -r {shown_path(self.path / LOCK_NAME)}"),
        ]
        return rows + [("put imagery here", str(shown_path(folder))) for folder in self.missing_folders]

    def __repr__(self) -> str:
        return text_table(("", ""), self._rows(), caption=f"{self.bundle.name} {self.bundle.version}")

    def _repr_html_(self) -> str:
        return html_table(("", ""), self._rows(), caption=f"{self.bundle.name} {self.bundle.version}")


def read_bundle(path: Path, manifest: Manifest) -> Bundle:
    """A bundle as an object.

    Args:
        path: The archive.
        manifest: Its manifest.
    """
    card = parse_json(read_member(path, FACTS_NAME).decode()) if FACTS_NAME in manifest.files else {}
    return Bundle(path=path, name=manifest.name, version=manifest.version, files=manifest.files, card=card)
