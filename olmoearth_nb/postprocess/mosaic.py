"""Merges GeoTIFFs of one CRS, block by block.

An input whose pixels lie elsewhere than those of the grid (another resolution, a shifted origin) is sampled at
the centres of the grid's pixels (nearest neighbour).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.windows import Window

from olmoearth_nb.postprocess.geotiffs import NUDGE, OpenRasters, Pixels, Valid, read_with_validity
from olmoearth_nb.postprocess.grids import Cell, Grid, Source
from olmoearth_nb.types import PixelBounds

__all__ = ["Mosaic", "Part"]

Part: TypeAlias = tuple[int, tuple[slice, slice], Pixels, Valid]
"""What an input has in a block: its index in the grid, rows and columns of the block, pixels and which are data."""

# No more source pixels than this are read at once, however fine an input is.
_MAX_READ = 4096 * 4096


class Mosaic:
    """Reads blocks of one output from the inputs that lie there; the first one with data wins.

    Args:
        grid: The grid.
        cell: The output.
        rasters: Where inputs stay open.
    """

    def __init__(self, grid: Grid, cell: Cell, rasters: OpenRasters) -> None:
        self._grid = grid
        self._members = cell.members
        self._rasters = rasters
        # Shrunk, so that inputs that only share an edge with a block are not opened for it.
        boxes = grid.boxes[cell.members] + np.array([0.25, 0.25, -0.25, -0.25])
        self._tree = shapely.STRtree(shapely.box(*boxes.T))

    def read(self, block: PixelBounds, dtype: npt.DTypeLike) -> tuple[Pixels, Valid]:
        """Pixels of a block and which of them are data.

        A pixel is taken from the first input that has data in any of its bands, with all its bands, so that
        a class and its confidence come from the same one.

        Args:
            block: In pixels of the grid.
            dtype: Type that holds the values of all inputs.

        Returns:
            Two arrays of shape (C, H, W).
        """
        shape = self.shape(block)
        data, valid = np.zeros(shape, dtype=dtype), np.zeros(shape, dtype=bool)
        filled = np.zeros(shape[1:], dtype=bool)
        for _, here, values, has_data in self.parts(block):
            if values.shape == shape and not filled.any() and has_data.all():
                return values.astype(dtype, copy=False), has_data  # the usual case, without a copy
            wins = has_data.any(axis=0) & ~filled[here]
            np.copyto(data[:, *here], values, where=wins, casting="unsafe")
            np.copyto(valid[:, *here], has_data, where=wins)
            filled[here] |= wins
            if filled.all():
                break
        return data, valid

    def shape(self, block: PixelBounds) -> tuple[int, int, int]:
        """Bands, height and width of a block."""
        x0, y0, x1, y1 = block
        return len(self._grid.sources[0].descriptions), y1 - y0, x1 - x0

    def parts(self, block: PixelBounds) -> Iterator[Part]:
        """What each input has in a block, in order; read when it is asked for.

        Args:
            block: In pixels of the grid.

        Yields:
            Index of the input in the grid, rows and columns of the block, and two arrays of shape (C, H, W): pixels
            and which of them are data.
        """
        x0, y0, x1, y1 = block
        for hit in np.sort(self._tree.query(shapely.box(*block))):
            index = int(self._members[hit])
            bx0, by0, bx1, by1 = self._grid.boxes[index].tolist()
            part = (max(x0, bx0), max(y0, by0), min(x1, bx1), min(y1, by1))
            if part[0] >= part[2] or part[1] >= part[3]:
                continue  # an input that is smaller than a pixel and contains the centre of none
            here = (slice(part[1] - y0, part[3] - y0), slice(part[0] - x0, part[2] - x0))
            values, has_data = self._read_part(self._grid.sources[index], part)
            yield index, here, values, has_data

    def _read_part(self, source: Source, part: PixelBounds) -> tuple[Pixels, Valid]:
        """A part of the grid that an input covers, shape (C, H, W)."""
        x0, y0, x1, y1 = part
        t, grid = source.transform, self._grid.transform
        columns = _indices((grid.c + (np.arange(x0, x1) + 0.5) * grid.a - t.c) / t.a, source.width)
        rows = _indices((grid.f + (np.arange(y0, y1) + 0.5) * grid.e - t.f) / t.e, source.height)
        left, top = columns.min(), rows.min()
        width, height = columns.max() + 1 - left, rows.max() + 1 - top
        if height * width > _MAX_READ and (y1 - y0) * (x1 - x0) > 1:
            return self._read_halves(source, part)
        with self._rasters.reading(source.path) as dataset:
            data, valid = read_with_validity(dataset, Window(left, top, width, height))
        if data.shape[1:] == (len(rows), len(columns)) and rows[0] == top and columns[0] == left:
            return data, valid
        at = np.ix_(range(len(data)), rows - top, columns - left)
        return data[at], valid[at]

    def _read_halves(self, source: Source, part: PixelBounds) -> tuple[Pixels, Valid]:
        x0, y0, x1, y1 = part
        if y1 - y0 > x1 - x0:
            middle = (y0 + y1) // 2
            halves, axis = ((x0, y0, x1, middle), (x0, middle, x1, y1)), 1
        else:
            middle = (x0 + x1) // 2
            halves, axis = ((x0, y0, middle, y1), (middle, y0, x1, y1)), 2
        first, second = (self._read_part(source, half) for half in halves)
        return np.concatenate([first[0], second[0]], axis=axis), np.concatenate([first[1], second[1]], axis=axis)


def _indices(positions: npt.NDArray[np.floating[Any]], size: int) -> npt.NDArray[np.int64]:
    return np.asarray(np.clip(np.floor(positions + NUDGE), 0, size - 1), dtype=np.int64)
