"""GeoTIFFs as inputs and outputs of postprocessing: headers, bounded reading, data and nodata, writing."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
import numpy.ma  # rasterio asks of all that it writes if it is such an array: else 30 ms of the first block
import numpy.typing as npt
import rasterio
import rasterio.shutil
from rasterio.crs import CRS
from rasterio.enums import MaskFlags, Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.windows import Window

from olmoearth_nb.errors import InputFileError, OlmoEarthError, PostprocessError, StorageError
from olmoearth_nb.files import atomic_path

__all__ = [
    "BLOCK",
    "NUDGE",
    "OpenRasters",
    "creating",
    "fits",
    "gdal_env",
    "read_with_validity",
    "updating",
]

Pixels: TypeAlias = npt.NDArray[Any]
Valid: TypeAlias = npt.NDArray[np.bool_]
RGBA: TypeAlias = tuple[int, int, int, int]

BLOCK = 512
"""Height and width of the tiles of an output, in pixels."""

NUDGE = 1e-6
"""Part of a pixel: where a centre falls on the edge of two pixels of another raster, rounding must not decide."""

_MAX_OPEN = 64
_CACHE_BYTES = 64 * 2**20


def gdal_env() -> rasterio.Env:
    """GDAL's settings for this room.

    A cache that does not grow with the machine, masks inside of files, and sidecar files looked for by name
    instead of listing the folder for each of its thousands of files.
    """
    return rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES, GDAL_TIFF_INTERNAL_MASK=True, GDAL_DISABLE_READDIR_ON_OPEN="TRUE")


class OpenRasters:
    """Rasters that stay open for the next read, the last used ones of them; a context manager.

    Args:
        error: Class of the error for a file that can't be read.

    Attributes:
        known_crs: One object for each CRS by its label: each file has its own, of some 10 kB.
    """

    def __init__(self, error: type[PostprocessError] | type[InputFileError] = PostprocessError) -> None:
        self._error = error
        self.known_crs: dict[str, CRS | None] = {}
        self._open: OrderedDict[Path, DatasetReader] = OrderedDict()

    def __enter__(self) -> OpenRasters:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._open:
            self._open.popitem()[1].close()

    @contextlib.contextmanager
    def reading(self, path: str | PathLike[str]) -> Iterator[DatasetReader]:
        """An open raster; what fails inside is reported with the file.

        Args:
            path: The file.

        Raises:
            PostprocessError: If it is missing or can't be read (or the class given).
        """
        key = Path(path)
        try:
            dataset = self._open.pop(key, None) or rasterio.open(key)
            self._open[key] = dataset
            if len(self._open) > _MAX_OPEN:
                self._open.popitem(last=False)[1].close()
            yield dataset
        except RasterioError as error:
            problem = "can't be read" if key.exists() else "is missing"
            raise self._error(f"The raster {problem}: {error}.", where=str(path)) from error


def fits(value: float, dtype: npt.DTypeLike) -> bool:
    """Whether a data type has a value exactly (a float type: within its range).

    Args:
        value: Any number, NaN too.
        dtype: A numpy data type.
    """
    kind = np.dtype(dtype)
    if kind.kind not in "iu":
        return not math.isfinite(value) or abs(value) <= float(np.finfo(kind).max)
    limits = np.iinfo(kind)
    return math.isfinite(value) and value == int(value) and limits.min <= value <= limits.max


def read_with_validity(dataset: DatasetReader, window: Window) -> tuple[Pixels, Valid]:
    """Pixels of a window, and which of them are data.

    What is no data is what the file says: its mask, else the nodata value of each band, else nothing. NaN is
    never data. An alpha band is a band like others: a model's fourth band of bytes is easily taken for one.

    Args:
        dataset: An open raster.
        window: Part of it.

    Returns:
        Two arrays of shape (C, H, W).
    """
    data: Pixels = dataset.read(window=window)
    flags = dataset.mask_flag_enums[0]
    valid = np.ones(data.shape, dtype=bool)
    if MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        valid[:] = dataset.read_masks(1, window=window) != 0
    else:
        for band, nodata in enumerate(dataset.nodatavals):
            if nodata is not None and not np.isnan(nodata):
                # A whole number is compared as such, exactly and without a copy in floats.
                valid[band] = data[band] != (int(nodata) if float(nodata).is_integer() else nodata)
    if data.dtype.kind in "fc":
        valid &= ~np.isnan(data)
    return data, valid


@contextlib.contextmanager
def creating(
    path: Path, *, nodata: float, colors: Mapping[int, RGBA] | None = None, mixes: bool | None = None, **profile: Any
) -> Iterator[DatasetWriter]:
    """A new Cloud Optimized GeoTIFF to write block by block; complete or not there at all.

    Blocks go into a plain file beside it, which is copied at the end: in the layout of a COG the smallest overview
    comes first, and is known last.

    Args:
        path: Where to; the folder is made.
        nodata: Value of pixels without data.
        colors: Colour table of its only band, whose values are bytes.
        mixes: Whether overviews may average the values of pixels, as those of measurements; None if they may when
            the values are floats.
        **profile: rasterio's ``count, dtype, crs, transform, width, height``.

    Raises:
        StorageError: If it can't be written.
    """
    options = {
        "driver": "GTiff",
        "tiled": True,
        "blockxsize": BLOCK,
        "blockysize": BLOCK,
        "interleave": "band",
        "photometric": "MINISBLACK",  # else three or four bands of bytes become colours and an alpha
        "sparse_ok": True,
        "BIGTIFF": "IF_SAFER",
    }
    with _writing(path), atomic_path(path) as beside, _passing(beside) as raw:
        with rasterio.open(raw, "w", nodata=nodata, **options, **profile) as dataset:
            yield dataset
            if colors:
                dataset.write_colormap(1, dict(colors))
        _to_cog(raw, beside, mixes=mixes)


@contextlib.contextmanager
def _passing(beside: Path) -> Iterator[Path]:
    """A place for a file that is gone when the block ends."""
    raw = beside.with_name(f"{beside.stem}.raw.tif")
    try:
        yield raw
    finally:
        raw.unlink(missing_ok=True)


def _to_cog(source: Path, target: Path, *, mixes: bool | None = None) -> None:
    with rasterio.open(source) as dataset:
        dtype = np.dtype(dataset.dtypes[0])
    measured = dtype.kind == "f" if mixes is None else mixes
    rasterio.shutil.copy(
        source,
        target,
        driver="COG",
        blocksize=BLOCK,
        compress="deflate",  # smaller than LZW, and in every GDAL
        # Differences of neighbours compress measurements better and classes (bytes) worse: 2.7 MB instead of 1.9.
        predictor="NO" if dtype.itemsize == 1 else "YES",
        overviews="IGNORE_EXISTING",
        overview_resampling="average" if measured else "nearest",  # classes must not be mixed
        bigtiff="IF_SAFER",
    )


@contextlib.contextmanager
def updating(path: Path) -> Iterator[DatasetWriter]:
    """A copy of a GeoTIFF to change, which takes its place at the end; complete or not at all.

    Args:
        path: The file.

    Raises:
        InputFileError: If it is missing or no GeoTIFF.
        StorageError: If it can't be written.
    """
    with _writing(path), atomic_path(path) as beside, _passing(beside) as raw:
        try:
            shutil.copyfile(path, raw)
            dataset = rasterio.open(raw, "r+", IGNORE_COG_LAYOUT_BREAK="YES")
        except (RasterioError, FileNotFoundError, IsADirectoryError) as error:
            raise InputFileError(f"The raster is missing or can't be read: {error}.", where=str(path)) from error
        with dataset:
            optimized = dataset.tags(ns="IMAGE_STRUCTURE").get("LAYOUT") == "COG"
            yield dataset
            # Else they would show what was there before.
            if not optimized and dataset.overviews(1):
                measured = np.dtype(dataset.dtypes[0]).kind == "f"
                dataset.build_overviews(dataset.overviews(1), Resampling.average if measured else Resampling.nearest)
        if optimized:
            _to_cog(raw, beside)
        else:
            shutil.move(raw, beside)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OlmoEarthError:
        raise
    except RasterioError as error:
        raise StorageError(
            f"Can't write the raster: {error}.", where=str(path), fix="Check the permissions and the free space."
        ) from error
