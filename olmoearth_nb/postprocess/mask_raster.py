"""Masks made of GeoTIFFs with valid values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import geometry_mask
from rasterio.io import DatasetReader
from rasterio.windows import Window
from rslearn.utils.geometry import Projection
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import ConfigError, InputFileError
from olmoearth_nb.postprocess.geotiffs import NUDGE, OpenRasters, Valid
from olmoearth_nb.postprocess.mask_projecting import WGS84, Floats, Geometries, box_outlines, move_points, move_shapes

__all__ = ["RasterMask"]

# Pixels of a mask that are looked at together: some 40 MB with the sums over them.
_CHUNK_PIXELS = 2048 * 2048
# Part of a pixel, or of a geometry smaller than that, by which a geometry must reach into a pixel to touch it.
_HAIR = 1e-3
# A geometry that fills its bounds but for this part is a box along the pixels.
_BOX_LIKE = 1e-6


@dataclass(frozen=True)
class _File:
    """A GeoTIFF of a mask, from its header."""

    path: Path
    crs: str
    transform: Affine
    height: int
    width: int
    chunk: tuple[int, int]

    def chunks(self) -> Iterator[tuple[int, int, int, int]]:
        height, width = self.chunk
        for top in range(0, self.height, height):
            for left in range(0, self.width, width):
                yield left, top, min(left + width, self.width), min(top + height, self.height)

    def pixels(self, shapes: Geometries) -> Geometries:
        """Geometries of the file's CRS in its pixel coordinates."""
        t = ~self.transform
        moved = shapely.transform(
            shapes,
            lambda xy: np.column_stack(
                [t.a * xy[:, 0] + t.b * xy[:, 1] + t.c, t.d * xy[:, 0] + t.e * xy[:, 1] + t.f],
            ),
        )
        return np.asarray(moved, dtype=object)


class RasterMask:
    """Areas where band 1 of GeoTIFFs has one of the valid values.

    Args:
        paths: The files; they may differ in CRS and resolution.
        valid_values: Values of valid pixels.

    Raises:
        InputFileError: If a file can't be read or has no CRS.
        ConfigError: If a valid value is a file's nodata value.
    """

    def __init__(self, paths: Sequence[Path], valid_values: Sequence[int]) -> None:
        self._values = np.array(sorted(set(valid_values)))
        with OpenRasters(InputFileError) as rasters:
            self._files = [self._header(path, rasters) for path in paths]

    def _header(self, path: Path, rasters: OpenRasters) -> _File:
        with rasters.reading(path) as dataset:
            if dataset.crs is None:
                raise InputFileError("The mask has no CRS.", where=str(path), fix="Assign it one (gdal_edit -a_srs).")
            if dataset.nodata is not None and dataset.nodata in self._values:
                raise ConfigError(
                    "A valid value of the mask is the file's nodata value.",
                    where=str(path),
                    expected=f"valid values other than {dataset.nodata:g}",
                    found=f"{self._values.tolist()}",
                )
            height, width = dataset.block_shapes[0]
            # Whole blocks, so that none is decoded twice; strips are as wide as the file.
            width = min(dataset.width, max(width, 2048 // width * width))
            height = max(height, _CHUNK_PIXELS // width // height * height)
            return _File(path, dataset.crs.to_wkt(), dataset.transform, dataset.height, dataset.width, (height, width))

    def touched_boxes(self, projection: Projection, boxes: Floats) -> Valid:
        """Which boxes of a projection have any valid pixel of the mask.

        Args:
            projection: Projection of the boxes.
            boxes: Shape (N, 4), in pixels.
        """
        units = boxes * np.array([projection.x_resolution, projection.y_resolution] * 2)
        return self._touched(box_outlines(units), projection.crs.to_wkt())

    def touched_shapes(self, shapes: Geometries) -> Valid:
        """Which geometries touch any valid pixel of the mask.

        Args:
            shapes: Geometries in degrees.
        """
        return self._touched(shapes, WGS84)

    def _touched(self, shapes: Geometries, crs: str) -> Valid:
        touched = np.zeros(len(shapes), dtype=bool)
        projected: dict[str, Geometries] = {}
        with OpenRasters(InputFileError) as rasters:
            for file in self._files:
                if file.crs not in projected:
                    projected[file.crs] = move_shapes(shapes, crs, file.crs)
                todo = np.flatnonzero(~touched)
                touched[todo] = self._touched_of(file, file.pixels(projected[file.crs][todo]), rasters)
        return touched

    def _touched_of(self, file: _File, shapes: Geometries, rasters: OpenRasters) -> Valid:
        bounds = shapely.bounds(shapes)
        bounds[~np.isfinite(bounds).all(axis=1)] = -1  # not defined in the mask's CRS: outside
        extent = bounds[:, 2:] - bounds[:, :2]
        hair = _HAIR * np.minimum(extent, 1) + 1e-9
        low = np.floor(bounds[:, :2] + hair).astype(np.int64)
        high = np.maximum(np.ceil(bounds[:, 2:] - hair).astype(np.int64), low + 1)
        box_like = shapely.area(shapes) >= extent.prod(axis=1) * (1 - _BOX_LIKE)
        touched = np.zeros(len(shapes), dtype=bool)
        for x0, y0, x1, y1 in file.chunks():
            inside = (low < (x1, y1)).all(axis=1) & (high > (x0, y0)).all(axis=1)
            ids = np.flatnonzero(inside & ~touched)
            if not len(ids):
                continue
            with rasters.reading(file.path) as dataset:
                valid = self._read(dataset, Window(x0, y0, x1 - x0, y1 - y0))
            corner = np.array([x0, y0])
            start = np.maximum(low[ids] - corner, 0)
            stop = np.minimum(high[ids] - corner, valid.shape[::-1])
            counts = _counts(valid, start, stop)
            hit = counts > 0
            # Where all pixels around a geometry are valid, its outline does not matter.
            surely = box_like[ids] | (counts == (high[ids] - low[ids]).prod(axis=1))
            for n in np.flatnonzero(hit & ~surely):
                part = valid[start[n, 1] : stop[n, 1], start[n, 0] : stop[n, 0]]
                hit[n] = _touches(shapes[ids[n]], part, x0 + start[n, 0], y0 + start[n, 1])
            touched[ids] = hit
        return touched

    def _read(self, dataset: DatasetReader, window: Window) -> Valid:
        return np.asarray(np.isin(dataset.read(1, window=window), self._values))

    def valid_pixels(self, transform: Affine, crs: CRS, size: tuple[int, int], rasters: OpenRasters) -> Valid:
        """Which pixels of a raster have their centre in a valid pixel of the mask.

        Args:
            transform: Of the raster.
            crs: Of the raster.
            size: Its height and width.
            rasters: Where the mask's files stay open.

        Returns:
            Shape (H, W).
        """
        rows, columns = np.indices(size, dtype=np.float64) + 0.5
        x = transform.a * columns + transform.b * rows + transform.c
        y = transform.d * columns + transform.e * rows + transform.f
        source = crs.to_wkt()
        places = {source: (x, y)}
        valid = np.zeros(size, dtype=bool)
        for file in self._files:
            if file.crs not in places:
                places[file.crs] = move_points(x, y, source, file.crs)
            valid |= self._sampled(file, *places[file.crs], rasters)
        return valid

    def _sampled(self, file: _File, x: Floats, y: Floats, rasters: OpenRasters) -> Valid:
        t = ~file.transform
        with np.errstate(invalid="ignore"):
            columns = np.floor(t.a * x + t.b * y + t.c + NUDGE)
            rows = np.floor(t.d * x + t.e * y + t.f + NUDGE)
        inside = (columns >= 0) & (columns < file.width) & (rows >= 0) & (rows < file.height)
        result = np.zeros(x.shape, dtype=bool)
        if not inside.any():
            return result
        columns, rows = columns[inside].astype(np.int64), rows[inside].astype(np.int64)
        left, top = int(columns.min()), int(rows.min())
        width, height = int(columns.max()) + 1 - left, int(rows.max()) + 1 - top
        if width * height > 4 * _CHUNK_PIXELS and x.size > 1:
            # A mask much finer than the raster: in parts, so that memory stays bounded.
            axis = int(x.shape[1] > x.shape[0])
            halves = zip(np.array_split(x, 2, axis), np.array_split(y, 2, axis), strict=True)
            return np.concatenate([self._sampled(file, *half, rasters) for half in halves], axis)
        with rasters.reading(file.path) as dataset:
            valid = self._read(dataset, Window(left, top, width, height))
        result[inside] = valid[rows - top, columns - left]
        return result


def _counts(valid: Valid, start: npt.NDArray[np.int64], stop: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Number of valid pixels in each of many boxes, through sums over all pixels above and to the left."""
    sums = np.zeros((valid.shape[0] + 1, valid.shape[1] + 1), dtype=np.int32)
    np.cumsum(valid, axis=0, dtype=np.int32, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    (c0, r0), (c1, r1) = start.T, stop.T
    return np.asarray(sums[r1, c1].astype(np.int64) - sums[r0, c1] - sums[r1, c0] + sums[r0, c0])


def _touches(shp: BaseGeometry, valid: Valid, column: int, row: int) -> bool:
    outside = geometry_mask([shp], valid.shape, Affine.translation(column, row), all_touched=True)
    return bool((valid & ~outside).any())
