"""Imagery in files of one's own: bands, types, places and times as the files say."""

from __future__ import annotations

import glob
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.features
import shapely
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.io import DatasetReader
from rasterio.warp import calculate_default_transform, transform_geom
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InputFileError, UsageError
from olmoearth_nb.geometry import utm_ups_crs
from olmoearth_nb.newproject.imagery import DATES, ENCODERS, MODALITIES, Encoder, Imagery
from olmoearth_nb.types import TimeRange

__all__ = ["read_local"]

# Large enough for the outline of a scene, small enough to be read in a tenth of a second.
_SIDE = 256
_MOST_SAMPLED = 16
_DAY = re.compile(r"(?<!\d)(?P<date>(?:19[7-9]|20[0-9])\d[-_]?(?:0[1-9]|1[0-2])[-_]?(?:0[1-9]|[12]\d|3[01]))(?!\d)")
_FORMATS = {8: "%Y%m%d", 10: "%Y-%m-%d"}
_TAGS = ("TIFFTAG_DATETIME", "ACQUISITION_DATE", "DATE_ACQUIRED", "DATETIME")


@dataclass(frozen=True)
class _File:
    path: Path
    bands: tuple[str, ...]
    dtype: str
    nodata: float | None
    metres: float
    time: TimeRange | None
    footprint: BaseGeometry
    sample: npt.NDArray[np.float64] | None


def read_local(pattern: str, encoder: Encoder | None, *, project_dir: Path) -> tuple[Imagery, Encoder]:
    """Imagery in local files.

    Args:
        pattern: A glob of raster files; ``**`` for subfolders too.
        encoder: What will look at it; None for OlmoEarth's smallest where the bands are those it knows, else the
            convolutional network.
        project_dir: The project to be: paths in ``dataset.json`` are relative to it.

    Returns:
        The imagery and the encoder.

    Raises:
        InputFileError: If no file matches, or the files can't be used together.
        UsageError: If the encoder can't look at such bands.
    """
    folder, below = _split(pattern)
    paths = sorted(path for path in folder.glob(below) if path.is_file())
    if not paths:
        raise InputFileError("No imagery matches.", where=f"source local:{pattern}", fix="Correct the pattern.")
    step = max(1, len(paths) // _MOST_SAMPLED)
    files = [_read(path, sampled=index % step == 0) for index, path in enumerate(paths)]
    first = files[0]
    _check_alike(files)
    kind = _modality(first.bands)
    if encoder is not None and encoder.model_id is not None and kind is None:
        raise UsageError(
            f"{encoder.name} can't look at these bands.",
            where="encoder",
            expected="all bands of Sentinel-2 (B02, B03, …), Sentinel-1 (vv, vh) or Landsat, by these names",
            found=", ".join(first.bands),
            fix="Use the encoder unet, which takes any bands, or write these names into the files as descriptions.",
        )
    encoder = encoder or ENCODERS["olmoearth-nano" if kind else "unet"]
    times = [file.time for file in files if file.time is not None]
    known = len(times) == len(files)
    days = len({time[0].date() for time in times}) if known else 1
    as_olmoearth = encoder.model_id is not None
    arguments = _arguments(files, folder, below, project_dir, known=known)
    sample = np.concatenate([file.sample for file in files if file.sample is not None], axis=1)
    order = MODALITIES[kind].bands if kind and as_olmoearth else first.bands
    picked = [first.bands.index(band) for band in order]
    imagery = Imagery(
        source=f"local:{pattern}",
        layer="imagery",
        modality=MODALITIES[kind].name if kind else None,
        bands=tuple(order),
        dtype=first.dtype,
        nodata=first.nodata,
        resolution=_resolution(min(file.metres for file in files)),
        dates=min(days, DATES) if as_olmoearth else 1,
        data_source={
            "class_path": "olmoearth_nb.sources.LocalRasters",
            "init_args": arguments,
            "ingest": False,
        },
        normalisation=_normalisation(sample[picked]),
        decibels=kind == "sentinel1" and bool(np.nanmedian(sample) > 0),
        days=days if known else None,
        times=(min(time[0] for time in times), max(time[1] for time in times)) if known else None,
        footprint=shapely.union_all([file.footprint for file in files]),
        notes=_notes(files, days=days, known=known),
    )
    return imagery, encoder


def _split(pattern: str) -> tuple[Path, str]:
    """The folder before the first wildcard, and the glob below it."""
    parts = Path(pattern).expanduser().absolute().parts
    wild = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:wild]), "/".join(parts[wild:])


def _read(path: Path, *, sampled: bool) -> _File:
    with (
        foreign_code(InputFileError, "The file can't be read as a raster", where=str(path)),
        rasterio.open(path) as file,
    ):
        if file.crs is None:
            raise InputFileError(
                "The raster says not in which coordinate reference system it is.",
                where=str(path),
                fix="Write it into the file: gdal_edit.py -a_srs EPSG:… FILE.",
            )
        height, width = (min(_SIDE, side) for side in file.shape)
        valid = file.dataset_mask(out_shape=(height, width)) > 0
        return _File(
            path=path,
            bands=_band_names(file),
            dtype=file.dtypes[0],
            nodata=_plain(file.nodata),
            metres=_metres(file),
            time=_time_of(file, path),
            footprint=_footprint(file, valid),
            sample=_sample(file, valid) if sampled else None,
        )


def _band_names(file: DatasetReader) -> tuple[str, ...]:
    names = [text for text in file.descriptions if text]
    numbered = tuple(f"B{index}" for index in range(1, file.count + 1))
    return tuple(names) if len(set(names)) == file.count else numbered


def _plain(value: float | None) -> float | int | None:
    if value is None or math.isnan(value):
        return None
    return int(value) if float(value).is_integer() else value


def _metres(file: DatasetReader) -> float:
    """Width of a pixel in metres, in the UTM zone of the file."""
    west, south, east, north = transform_geom_bounds(file)
    zone = CRS.from_string(utm_ups_crs((west + east) / 2, (south + north) / 2).to_string())
    transform, _, _ = calculate_default_transform(file.crs, zone, file.width, file.height, *file.bounds)
    return float(abs(transform.a))


def transform_geom_bounds(file: DatasetReader) -> tuple[float, float, float, float]:
    """Bounds of a raster in degrees.

    Args:
        file: The raster.
    """
    return tuple(rasterio.warp.transform_bounds(file.crs, 4326, *file.bounds))


def _footprint(file: DatasetReader, valid: npt.NDArray[np.bool_]) -> BaseGeometry:
    """Where there are pixels, in degrees; to a 256th of the file's side."""
    height, width = valid.shape
    scaled = file.transform @ file.transform.scale(file.width / width, file.height / height)
    parts = rasterio.features.shapes(valid.astype(np.uint8), mask=valid, transform=scaled)
    outlines = [shape(transform_geom(file.crs, "EPSG:4326", geometry)) for geometry, _ in parts]
    return shapely.make_valid(shapely.union_all(outlines))


def _sample(file: DatasetReader, valid: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Pixels to learn the range of values from, (C, N)."""
    pixels = file.read(out_shape=(file.count, *valid.shape), resampling=Resampling.nearest).astype(np.float64)
    picked: npt.NDArray[np.float64] = pixels[:, valid]
    return picked


def _normalisation(sample: npt.NDArray[np.float64]) -> tuple[Any, Any]:
    """Mean and standard deviation of each band between its 1st and 99th percentile: a few bright clouds don't count."""
    means, deviations = [], []
    for band in sample:
        values = band[np.isfinite(band)]
        low, high = np.percentile(values, [1, 99]) if len(values) else (0.0, 1.0)
        kept = values[(values >= low) & (values <= high)]
        deviation = float(kept.std()) if len(kept) else 1.0
        means.append(float(f"{kept.mean() if len(kept) else 0.0:.4g}"))
        deviations.append(float(f"{deviation:.4g}") if deviation > 0 else 1.0)
    return means, deviations


def _time_of(file: DatasetReader, path: Path) -> TimeRange | None:
    """When it was taken: by its name, else by its tags; None if nothing says it. Whole days in UTC."""
    match = _DAY.search(path.name)
    texts = [match.group("date")] if match else [file.tags().get(tag, "") for tag in _TAGS]
    for text in texts:
        digits = re.sub(r"\D", "", text)[:8]
        try:
            day = datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC)
        except ValueError:
            continue
        return day, day + timedelta(days=1)
    return None


def _check_alike(files: Sequence[_File]) -> None:
    first = files[0]
    for file in files[1:]:
        for what, one, other in (("bands", first.bands, file.bands), ("a data type", first.dtype, file.dtype)):
            if one != other:
                raise InputFileError(
                    "The files don't fit together.",
                    where=str(file.path),
                    expected=f"{what} as in {first.path.name}: {_shown(one)}",
                    found=_shown(other),
                    fix="Narrow the pattern to files of one kind, or stack single bands into one file each "
                    "(gdalbuildvrt -separate).",
                )


def _shown(value: tuple[str, ...] | str) -> str:
    return value if isinstance(value, str) else ", ".join(value)


def _modality(bands: Sequence[str]) -> str | None:
    return next((name for name, kind in MODALITIES.items() if set(kind.bands) <= set(bands)), None)


def _resolution(metres: float) -> float:
    """A round number of metres near it: 10 for 9.98, 30 for 28.5, 0.5 for 0.512."""
    exponent = math.floor(math.log10(metres))
    candidates = [factor * 10.0 ** (exponent + shift) for shift in (0, 1) for factor in (1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)]
    nearest = min(candidates, key=lambda value: abs(math.log(value / metres)))
    return int(nearest) if nearest >= 1 and nearest == int(nearest) else round(nearest, 4)


def _arguments(files: Sequence[_File], folder: Path, below: str, project_dir: Path, *, known: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "src_dir": _relative(folder, project_dir),
        "pattern": below,
        "bands": list(files[0].bands),
    }
    if not known:
        return arguments
    matches = [_DAY.search(file.path.name) for file in files]
    widths = {len(match.group("date")) if match else 0 for match in matches}
    separators = {re.sub(r"\d", "", match.group("date")) if match else "" for match in matches}
    if 0 not in widths and len(widths) == 1 and separators in ({""}, {"--"}):
        text = r"\d{8}" if separators == {""} else r"\d{4}-\d\d-\d\d"
        time_format = _FORMATS[widths.pop()]
        pattern = rf"(?<!\d)(?P<date>{text})(?!\d)"
        if all(_says(pattern, time_format, file) for file in files):
            return arguments | {"time_pattern": pattern, "time_format": time_format}
    times = {file.path.name: [moment.isoformat() for moment in file.time] for file in files if file.time is not None}
    return arguments | {"times": times}


def _says(pattern: str, time_format: str, file: _File) -> bool:
    """Whether the first match of a name's pattern is the file's date."""
    match = re.search(pattern, file.path.name)
    if match is None or file.time is None:
        return False
    try:
        return datetime.strptime(match.group("date"), time_format).date() == file.time[0].date()
    except ValueError:
        return False


def _relative(folder: Path, project_dir: Path) -> str:
    parts, base = folder.parts, project_dir.absolute().parts
    shared = 0
    for one, other in zip_longest(parts, base):
        if one != other:
            break
        shared += 1
    if shared <= 1:  # nothing but the root, or another drive
        return folder.as_posix()
    return "/".join([*[".."] * (len(base) - shared), *parts[shared:]]) or "."


def _notes(files: Sequence[_File], *, days: int, known: bool) -> tuple[str, ...]:
    count = f"{len(files)} file{'s' if len(files) > 1 else ''} with {len(files[0].bands)} bands of {files[0].dtype}"
    if not known:
        return (f"{count}; not all say when they were taken, so each counts for any time",)
    return (f"{count} of {days} day{'s' if days > 1 else ''}",)
