"""Keep rslearn's listing of local imagery true to what lies in the folder.

rslearn's ``LocalFiles`` writes the items it found into ``summary.json`` beside the imagery and never looks again: after
a file was replaced, or the folder was copied elsewhere, it would read what is no longer there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from olmoearth_nb.errors import StorageError

__all__ = ["drop_outdated_listings", "imagery_fingerprint"]

_LISTING = "summary.json"
_CLASS_PATH = "rslearn.data_sources.local_files.LocalFiles"


def _folders(config: Mapping[str, Any]) -> Iterator[Path]:
    seen: set[Path] = set()
    for layer in config.get("layers", {}).values():
        source = layer.get("data_source") or {}
        if (source.get("class_path") or source.get("name")) == _CLASS_PATH:
            folder = Path(str(source.get("init_args", source).get("src_dir", "")))
            if folder not in seen and folder.is_dir():
                seen.add(folder)
                yield folder


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.*") if path.is_file() and path.name != _LISTING)


def imagery_fingerprint(config: Mapping[str, Any]) -> dict[str, list[list[Any]]]:
    """Names and sizes of the local files that a dataset reads, by folder name.

    Args:
        config: The dataset's configuration, paths resolved.
    """
    return {
        folder.name: [[str(path.relative_to(folder)), path.stat().st_size] for path in _files(folder)]
        for folder in _folders(config)
    }


def drop_outdated_listings(config: Mapping[str, Any]) -> None:
    """Removes each listing that is older than a file of its folder, or that lies elsewhere than it says.

    Args:
        config: The dataset's configuration, paths resolved.

    Raises:
        StorageError: If an outdated listing can't be removed.
    """
    for folder in _folders(config):
        listing = folder / _LISTING
        if not listing.exists():
            continue
        newest = max((path.stat().st_mtime_ns for path in [folder, *_files(folder)]), default=0)
        try:
            if newest <= listing.stat().st_mtime_ns and str(folder).encode() in listing.read_bytes():
                continue
            listing.unlink()
        except OSError as error:
            raise StorageError(
                "rslearn's listing of the imagery is out of date and can't be removed.",
                where=str(listing),
                found=str(error.strerror),
                fix="Remove it by hand, or make the folder writable.",
            ) from error
