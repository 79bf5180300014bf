"""Keep rslearn's listing of local imagery true to what lies in the folder.

rslearn's ``LocalFiles`` writes the items it found into ``summary.json`` beside the imagery and never looks again: after
a file was replaced, the folder was copied elsewhere, or another project says that its bands are others, it would read
what is not meant.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from olmoearth_nb.errors import ConfigError, InputFileError, StorageError, UsageError
from olmoearth_nb.files import read_json
from olmoearth_nb.sources.files import find_files, fingerprint, is_ours

__all__ = ["drop_outdated_listings", "imagery_fingerprint"]

_LISTING = "summary.json"
_CLASS_PATH = "rslearn.data_sources.local_files.LocalFiles"


Specs: TypeAlias = list[tuple[list[str], Any]] | None
"""File names and bands of each item of a folder, sorted; None where rslearn finds the items itself."""


def _folders(config: Mapping[str, Any]) -> dict[Path, Specs]:
    """Folders of local imagery, and the items that the configuration says they have.

    Raises:
        ConfigError: If two layers say different things of one folder, of which rslearn keeps one listing only.
    """
    found: dict[Path, Specs] = {}
    owners: dict[Path, str] = {}
    for name, layer in config.get("layers", {}).items():
        source = layer.get("data_source") or {}
        if (source.get("class_path") or source.get("name")) == _CLASS_PATH:
            arguments = source.get("init_args", source)
            folder = Path(str(arguments.get("src_dir", "")))
            if not folder.is_dir():
                continue
            specs = _specs(arguments.get("raster_item_specs"))
            if folder in found and found[folder] != specs:
                raise ConfigError(
                    f"The layers {owners[folder]!r} and {name!r} read different items from one folder.",
                    where=f"dataset.json: layers.{name}.data_source",
                    expected="a folder for each, or the same raster_item_specs: rslearn keeps one listing a folder",
                    found=str(folder),
                )
            found[folder], owners[folder] = specs, name
    return found


def _specs(items: Any) -> Specs:
    if not isinstance(items, list):
        return None
    return sorted((([str(name) for name in item.get("fnames", [])], item.get("bands")) for item in items), key=str)


def _says_what_is_meant(listing: Path, specs: Specs) -> bool:
    """Whether a listing has the files and bands of the configuration, not those of another project."""
    items = read_json(listing)
    listed = [item.get("spec") for item in items] if isinstance(items, list) else []
    if None in listed:  # of vector files, which have no bands
        return True
    if specs is None:
        return all(item["bands"] is None for item in listed)
    return _specs(listed) == specs


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.*") if path.is_file() and path.name != _LISTING)


def imagery_fingerprint(config: Mapping[str, Any]) -> dict[str, list[list[Any]]]:
    """Names and sizes of the local files that a dataset reads, by folder; of our own sources by layer, with times.

    Args:
        config: The dataset's configuration, paths resolved.
    """
    listed = {
        folder.name: [[str(path.relative_to(folder)), path.stat().st_size] for path in _files(folder)]
        for folder in _folders(config)
    }
    return listed | {f"layer {name}": found for name, found in _own(config)}


def _own(config: Mapping[str, Any]) -> Iterator[tuple[str, list[list[Any]]]]:
    """Layers of our own sources, and the files that each reads."""
    for name, layer in config.get("layers", {}).items():
        source = layer.get("data_source") or {}
        if not is_ours(str(source.get("class_path") or source.get("name"))):
            continue
        arguments = source.get("init_args", source)
        folder, specs = Path(str(arguments.get("src_dir", ""))), arguments.get("raster_item_specs")
        paths: list[Path] = []
        if isinstance(specs, list):
            paths = [folder / file for names, _ in _specs(specs) or () for file in names]
        else:
            with contextlib.suppress(InputFileError, UsageError):  # which the build says, window by window
                paths = find_files(folder, arguments.get("pattern"))
        yield name, fingerprint(paths, folder)


def drop_outdated_listings(config: Mapping[str, Any]) -> None:
    """Removes each listing that is older than a file of its folder, lies elsewhere than it says, or has other bands.

    Args:
        config: The dataset's configuration, paths resolved.

    Raises:
        ConfigError: If two layers say different things of one folder.
        StorageError: If an outdated listing can't be removed.
    """
    for folder, specs in _folders(config).items():
        listing = folder / _LISTING
        if not listing.exists():
            continue
        newest = max((path.stat().st_mtime_ns for path in [folder, *_files(folder)]), default=0)
        try:
            fresh = newest <= listing.stat().st_mtime_ns and str(folder).encode() in listing.read_bytes()
            with contextlib.suppress(InputFileError):  # a damaged one goes
                if fresh and _says_what_is_meant(listing, specs):
                    continue
            listing.unlink()
        except OSError as error:
            raise StorageError(
                "rslearn's listing of the imagery is out of date and can't be removed.",
                where=str(listing),
                found=str(error.strerror),
                fix="Remove it by hand, or make the folder writable.",
            ) from error
