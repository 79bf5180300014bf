"""Which files of a scratch belong together, in terms of their paths.

Some files say that others are whole: rslearn's ``completed`` of a layer, and this package's ``postprocessed.json`` of a
partition. Such a mark is sent after what it speaks of, and taken away before that is changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["LEDGER", "LISTING", "Kind", "Needs", "has_paths", "is_passing", "kind_of", "mark_of", "speaks_of"]

STATE = ".olmoearth_nb/"
LEDGER = f"{STATE}stamps.json"
"""What each step was made from: sent last of all."""

LISTING = f"{STATE}files.json"
"""Times of change of the files, which object stores don't keep; only there, not in the working copy."""

LEASE = f"{STATE}lease.json"

Kind: TypeAlias = Literal["light", "imagery", "tiles", "output", "merged", "results", "training"]
"""What a file is needed for; light ones are always at hand."""

_LAYER = re.compile(r"(dataset(?:_0)?/windows/([^/]+)/([^/]+)/layers/([^/]+)/).+")
_TILES = re.compile(r"(dataset(?:_0)?/tiles/.*/)[^/]+")
_MERGED = re.compile(r"(partitions/([^/]+)/)(results_raster/.+|result\.geojson)")
_WINDOW = re.compile(r"dataset(?:_0)?/windows/([^/]+)/([^/]+)/")
_PARTITION = re.compile(r"partitions/([^/]+)/")
_FOLDERS: dict[str, Kind] = {
    "results/": "results",
    "trainer_checkpoints/": "training",
    "model_stage_0/": "training",
}
# Of atomic_path, fresh folders, rslearn, and SQLite, whose log is written into the database before it is sent.
_PASSING = re.compile(r"(?:^|/)\.[^/]+\.[0-9a-f]{8}(?:\.[^/]*)?(?:/|$)|\.tmp\.\d+$|\.sqlite3-(?:wal|shm|journal)$")
# What each machine notes for itself.
_OWN = {f"{STATE}lock", f"{STATE}checked.json", LISTING, LEASE}


def is_passing(path: str) -> bool:
    """Whether a file stays on the machine that made it.

    Args:
        path: Relative to the scratch, with slashes.
    """
    return path in _OWN or _PASSING.search(path) is not None


def mark_of(path: str) -> str | None:
    """The mark that says that a file is whole; None for marks themselves, and files that need none.

    Args:
        path: Relative to the scratch, with slashes.
    """
    if path.endswith("/completed"):
        return None
    if found := _LAYER.match(path) or _TILES.match(path):
        return f"{found[1]}completed"
    if found := _MERGED.match(path):
        return f"{found[1]}postprocessed.json"
    return None


def speaks_of(mark: str) -> str:
    """The folder that a mark speaks of, with a slash.

    Args:
        mark: What :func:`mark_of` gave.
    """
    return mark.rpartition("/")[0] + "/"


def kind_of(path: str) -> Kind:
    """What a file is needed for.

    Args:
        path: Relative to the scratch, with slashes.
    """
    if mark_of(path) is None:
        return next((kind for folder, kind in _FOLDERS.items() if path.startswith(folder)), "light")
    if found := _LAYER.match(path):
        return "output" if found[4] == "output" else "imagery"
    return "tiles" if _TILES.match(path) else "merged"


def has_paths(path: str) -> bool:
    """Whether rslearn writes absolute paths of the project's imagery into a file.

    Args:
        path: Relative to the scratch, with slashes.
    """
    return path.startswith("dataset") and path.rpartition("/")[2] in ("config.json", "items.json")


@dataclass(frozen=True, kw_only=True)
class Needs:
    """Which files something works on.

    Attributes:
        kinds: Beside light ones.
        windows: Groups and names; all if None.
        partitions: Ids of partitions; all if None.
        elsewhere: Whether light files of other windows and partitions are needed too.
    """

    kinds: frozenset[Kind] = frozenset()
    windows: frozenset[tuple[str, str]] | None = None
    partitions: frozenset[str] | None = None
    elsewhere: bool = True

    def __call__(self, path: str) -> bool:
        """Whether a file is among them."""
        kind = kind_of(path)
        window, partition = _WINDOW.match(path), _PARTITION.match(path)
        if window and self.windows is not None and (kind != "light" or not self.elsewhere):
            return (window[1], window[2]) in self.windows and (kind == "light" or kind in self.kinds)
        if partition and self.partitions is not None and (kind != "light" or not self.elsewhere):
            return partition[1] in self.partitions and (kind == "light" or kind in self.kinds)
        return kind == "light" or kind in self.kinds
