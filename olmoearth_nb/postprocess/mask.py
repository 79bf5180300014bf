"""Masks: where results are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS
from rslearn.utils.geometry import Projection

from olmoearth_nb.errors import InputFileError, PostprocessError
from olmoearth_nb.geojson import PredictionResultCollection, feature_shape
from olmoearth_nb.postprocess._arguments import check_argument
from olmoearth_nb.postprocess.geotiffs import (
    OpenRasters,
    Valid,
    fits,
    gdal_env,
    read_with_validity,
    updating,
)
from olmoearth_nb.postprocess.mask_raster import RasterMask
from olmoearth_nb.postprocess.mask_vector import VectorMask

__all__ = ["Mask"]

_RASTER = (".tif", ".tiff")
_VECTOR = (".geojson",)


class Mask:
    """Where results are wanted, from GeoTIFFs or GeoJSON; made by :meth:`open`.

    Several files make up one area. Outside of all files nothing is valid.

    Args:
        source: What was read.
    """

    def __init__(self, source: RasterMask | VectorMask) -> None:
        self._source = source

    @classmethod
    def open(cls, path: str | PathLike[str], valid_values: Sequence[int] = (1,)) -> Mask:
        """Opens a mask.

        Args:
            path: A GeoTIFF, a GeoJSON file, or a folder with files of one of the two kinds.
            valid_values: Values of valid pixels in band 1 of GeoTIFFs; not used for GeoJSON.

        Raises:
            InputFileError: If it is missing, empty, mixed or can't be read.
            ConfigError: If the valid values can't be used.
        """
        files = _files(Path(path))
        if files[0].suffix.lower() not in _RASTER:
            return cls(VectorMask(files))
        check_argument(
            len(valid_values) > 0 and all(isinstance(v, int) and not isinstance(v, bool) for v in valid_values),
            "mask valid_values",
            expected="at least one whole number",
            found=valid_values,
        )
        with gdal_env():
            return cls(RasterMask(files, valid_values))

    def accepts(self, projection: Projection, boxes: npt.ArrayLike) -> Valid:
        """Which windows have anything valid.

        Args:
            projection: Projection of the windows.
            boxes: Shape (N, 4): x0, y0, x1, y1 in pixels of it.

        Returns:
            Booleans of shape (N,).
        """
        array = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        with gdal_env():
            return self._source.touched_boxes(projection, array)

    def valid_pixels(
        self, transform: Affine, crs: CRS | None, size: tuple[int, int], *, rasters: OpenRasters | None = None
    ) -> Valid:
        """Which pixels of a raster have their centre in the valid area.

        Args:
            transform: Of the raster.
            crs: Of the raster.
            size: Its height and width in pixels.
            rasters: Where the mask's files stay open between calls.

        Returns:
            Shape (H, W).

        Raises:
            PostprocessError: If the raster has no CRS.
        """
        if crs is None:
            raise PostprocessError(
                "A raster without CRS can't be masked.", fix="Assign it the CRS that its coordinates are in."
            )
        if rasters is not None:
            return self._source.valid_pixels(transform, crs, size, rasters)
        with gdal_env(), OpenRasters(InputFileError) as opened:
            return self._source.valid_pixels(transform, crs, size, opened)

    def apply_to_array(
        self, data: npt.NDArray[Any], transform: Affine, crs: CRS, nodata: float = 0
    ) -> npt.NDArray[Any]:
        """Pixels of a raster, those outside of the valid area set to nodata.

        Args:
            data: Shape (C, H, W) or (H, W).
            transform: Of the raster.
            crs: Of the raster.
            nodata: Value to set.

        Returns:
            A new array of the same shape.

        Raises:
            PostprocessError: If the data type does not have the nodata value.
        """
        _check_nodata(nodata, data.dtype, None)
        height, width = data.shape[-2:]
        valid = self.valid_pixels(transform, crs, (height, width))
        return np.where(valid, data, np.asarray(nodata).astype(data.dtype))

    def apply(self, path: str | PathLike[str], *, nodata: float = 0) -> None:
        """Sets a GeoTIFF to nodata outside of the valid area, block by block; all else of it stays.

        Like :class:`~olmoearth_nb.postprocess.raster.CombineGeotiff`, it leaves an internal mask in the file
        that tells data from nodata where both have the same value.

        Args:
            path: The file; replaced by its masked version at the end.
            nodata: Value to set, and to declare, in a file that has no nodata value of its own.

        Raises:
            InputFileError: If it can't be read.
            PostprocessError: If it has no CRS, or its data type does not have the nodata value.
            StorageError: If it can't be written.
        """
        target = Path(path)
        with gdal_env(), OpenRasters(InputFileError) as rasters:
            with rasters.reading(target) as source:
                value = source.nodata if source.nodata is not None else nodata
                _check_nodata(value, source.dtypes[0], target)
                windows = [window for _, window in source.block_windows(1)]
            with updating(target) as copy:
                if copy.nodata is None:
                    copy.nodata = value
                for window in windows:
                    # What is data is what the original says: the copy's mask is being written.
                    with rasters.reading(target) as source:
                        data, has_data = read_with_validity(source, window)
                    transform = copy.window_transform(window)
                    valid = self.valid_pixels(transform, copy.crs, data.shape[1:], rasters=rasters)
                    copy.write(np.where(valid, data, np.asarray(value).astype(data.dtype)), window=window)
                    copy.write_mask(has_data.any(axis=0) & valid, window=window)

    def keep_features(self, collection: PredictionResultCollection) -> PredictionResultCollection:
        """The features that touch the valid area, in order; those without geometry touch nothing.

        Args:
            collection: Vector results.
        """
        located = [feature for feature in collection.features if feature.geometry is not None]
        shapes = np.empty(len(located), dtype=object)
        shapes[:] = [feature_shape(feature) for feature in located]
        with gdal_env():
            touched = self._source.touched_shapes(shapes)
        features = [located[index] for index in np.flatnonzero(touched)]
        return PredictionResultCollection(type="FeatureCollection", features=features)


def _check_nodata(nodata: float, dtype: npt.DTypeLike, path: Path | None) -> None:
    if not fits(nodata, dtype):
        raise PostprocessError(
            "The nodata value does not fit the data.",
            where=str(path) if path else None,
            expected=f"a value that {np.dtype(dtype)} has",
            found=repr(nodata),
        )


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in _RASTER + _VECTOR and f.name[0] != ".")
        kinds = {f.suffix.lower() in _RASTER for f in files}
        if len(kinds) != 1:
            raise InputFileError(
                "The folder of the mask has files of both kinds." if kinds else "The folder of the mask has no masks.",
                where=str(path),
                expected="only GeoTIFFs (.tif) or only GeoJSON (.geojson)",
                found=", ".join(f.name for f in files[:4]) or "none of them",
            )
        return files
    if not path.exists():
        raise InputFileError("The mask is missing.", where=str(path))
    if path.suffix.lower() not in (*_RASTER, *_VECTOR, ".json"):
        raise InputFileError(
            "The file is no mask.",
            where=str(path),
            expected="a GeoTIFF (.tif), GeoJSON (.geojson) or a folder",
            found=path.suffix or path.name,
        )
    return [path]
