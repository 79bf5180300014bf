"""Keep rslearn's listing of local imagery true to what lies in the folder.

rslearn's ``LocalFiles`` writes the items it found into ``summary.json`` beside the imagery and never looks again: after
a file was replaced, or the folder was copied elsewhere, it would read what is no longer there. It takes every file of
the folder for imagery and names items by what stands before the first dot, so that one stray file stops all windows
and of two files of the same name one is never read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import rasterio
from rasterio.errors import RasterioError

from olmoearth_nb.errors import ConfigError, InputFileError, StorageError

__all__ = ["check_local_files", "drop_outdated_listings", "imagery_fingerprint"]

_LISTING = "summary.json"
_CLASS_PATH = "rslearn.data_sources.local_files.LocalFiles"


def _sources(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Path]]:
    """Layers that read local files: name, arguments of the source, folder."""
    for name, layer in config.get("layers", {}).items():
        source = layer.get("data_source") or {}
        if (source.get("class_path") or source.get("name")) == _CLASS_PATH:
            arguments = source.get("init_args", source) or {}
            src_dir = str(arguments.get("src_dir", ""))
            if "://" not in src_dir:
                yield name, arguments, Path(src_dir)


def _folders(config: Mapping[str, Any]) -> Iterator[Path]:
    yield from dict.fromkeys(folder for _, _, folder in _sources(config) if folder.is_dir())


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


def check_local_files(config: Mapping[str, Any]) -> None:
    """Refuses folders that rslearn could not list, or would list wrongly, naming the file in the way.

    A folder that has been listed is right.

    Args:
        config: The dataset's configuration, paths resolved.

    Raises:
        InputFileError: If a folder is missing or empty, or a file in it is no raster, has no CRS or is not told apart.
        ConfigError: If no file has the bands of a layer.
    """
    for name, arguments, folder in _sources(config):
        fix = f"Put the imagery there, or change src_dir of layers.{name} in dataset.json."
        if not folder.is_dir():
            problem = "is a file" if folder.exists() else "is missing"
            raise InputFileError(f"The folder of the imagery {problem}.", where=str(folder), fix=fix)
        if (folder / _LISTING).exists() or arguments.get("raster_item_specs") is not None:
            continue
        # As rslearn chooses them.
        files = sorted(path for path in folder.glob("**/*.*") if path.suffix != ".json" and ".tmp." not in path.name)
        if not files:
            raise InputFileError("The folder of the imagery is empty.", where=str(folder), fix=fix)
        layer = config["layers"][name]
        if layer.get("type") == "raster":
            _check_bands(name, layer.get("band_sets") or (), [_band_count(path) for path in files], folder)
            _check_names(files)


def _check_names(files: list[Path]) -> None:
    known: dict[str, Path] = {}
    for path in files:
        other = known.setdefault(path.name.split(".")[0], path)
        if other != path:
            raise InputFileError(
                "rslearn does not tell two files of the imagery apart: what stands before the first dot is the same.",
                where=str(path),
                found=f"{other.name} in {other.parent} as well",
                fix="Rename one of them.",
            )


def _band_count(path: Path) -> int:
    try:
        with rasterio.open(path) as source:
            if source.crs is None and not source.gcps[0]:
                raise InputFileError(
                    "The raster has no CRS.", where=str(path), fix="Assign it one (gdal_edit.py -a_srs EPSG:…)."
                )
            return int(source.count)
    except RasterioError as error:
        raise InputFileError(
            "The file is no raster that can be read.",
            where=str(path),
            found=str(error).rstrip("."),
            fix="Move what is no imagery out of the folder, since rslearn reads every file in it; copy a broken one again.",
        ) from error


def _check_bands(layer: str, band_sets: Any, counts: list[int], folder: Path) -> None:
    most = max(counts)
    there = [f"B{number}" for number in range(1, most + 1)]
    for index, band_set in enumerate(band_sets):
        missing = [band for band in band_set.get("bands") or () if band not in there]
        if missing:
            raise ConfigError(
                f"No file in {folder} has the bands {', '.join(map(str, missing))}.",
                where=f"dataset.json: layers.{layer}.band_sets[{index}].bands",
                expected=f"some of {', '.join(there)}",
                fix="Bands of local files are numbered B1, B2, …; raster_item_specs gives them other names.",
            )
