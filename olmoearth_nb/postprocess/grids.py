"""Where GeoTIFFs lie on the grid of a CRS, and how they are distributed over output files.

The *grid* of a CRS is that of its first input: its origin and pixel size, rows growing southwards. Everything
is planned in whole pixels of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from affine import Affine
from rasterio.crs import CRS

from olmoearth_nb.errors import PostprocessError
from olmoearth_nb.postprocess.geotiffs import BLOCK, NUDGE, OpenRasters
from olmoearth_nb.types import PixelBounds

__all__ = ["Cell", "Grid", "Source", "cells_of", "crs_label", "grids_of", "read_source"]


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the header of an input says.

    Attributes:
        path: The file.
        crs: Its CRS, or None.
        label: Its CRS in the name of an output.
        transform: From pixels to CRS units, not rotated.
        height: Rows.
        width: Columns.
        dtype: Data type of its bands.
        descriptions: One a band, None where there is none.
    """

    path: Path
    crs: CRS | None
    label: str
    transform: Affine
    height: int
    width: int
    dtype: np.dtype[np.generic]
    descriptions: tuple[str | None, ...]


def crs_label(crs: CRS | None) -> str:
    """A CRS in the name of a file: ``epsg32610``; one that no authority numbers is named by a hash.

    Args:
        crs: The CRS, or None.

    Example:
        >>> crs_label(CRS.from_epsg(32610))
        'epsg32610'
    """
    if crs is None:
        return "unknown"
    text = crs.to_string()
    if ":" in text and len(text) <= 40:
        return re.sub(r"[^a-z0-9]", "", text.lower())
    return f"crs{hashlib.sha256(crs.to_wkt().encode()).hexdigest()[:12]}"


def read_source(path: Path, rasters: OpenRasters) -> Source:
    """Reads the header of an input.

    Args:
        path: The file.
        rasters: Where it stays open.

    Raises:
        PostprocessError: If it can't be read or is rotated.
    """
    with rasters.reading(path) as dataset:
        transform = dataset.transform
        if transform.b or transform.d:
            raise PostprocessError(
                "A rotated raster can't be merged.",
                where=str(path),
                expected="rows along x and columns along y",
                found=f"geotransform {tuple(transform)[:6]}",
                fix="Warp it to a grid that is not rotated first.",
            )
        crs = dataset.crs
        label = crs_label(crs)
        return Source(
            path=path,
            crs=rasters.known_crs.setdefault(label, crs),
            label=label,
            transform=transform,
            height=dataset.height,
            width=dataset.width,
            dtype=np.result_type(*dataset.dtypes),
            descriptions=dataset.descriptions,
        )


@dataclass(frozen=True)
class Grid:
    """Pixels of the outputs of a CRS, and its inputs in order.

    Attributes:
        sources: The inputs.
        boxes: Shape (N, 4): x0, y0, x1, y1 of each input in pixels of the grid, half-open: the pixels whose
            centres it covers.
    """

    sources: tuple[Source, ...]
    boxes: npt.NDArray[np.int64]

    @property
    def transform(self) -> Affine:
        """From pixels of the grid to CRS units, north up."""
        return _north_up(self.sources[0])

    def block_transform(self, column: int, row: int) -> Affine:
        """The same, counted from a pixel.

        Args:
            column: Its x.
            row: Its y.
        """
        grid = self.transform
        return Affine(grid.a, 0.0, grid.c + column * grid.a, 0.0, grid.e, grid.f + row * grid.e)


def _north_up(source: Source) -> Affine:
    t = source.transform
    left = t.c if t.a > 0 else t.c + t.a * source.width
    top = t.f if t.e < 0 else t.f + t.e * source.height
    return Affine(abs(t.a), 0.0, left, 0.0, -abs(t.e), top)


def grids_of(sources: Sequence[Source]) -> list[Grid]:
    """Groups inputs by CRS.

    Args:
        sources: Inputs in order.

    Raises:
        PostprocessError: If two inputs differ in their number of bands.
    """
    groups: dict[str, list[Source]] = {}
    for source in sources:
        first = sources[0]
        if len(source.descriptions) != len(first.descriptions):
            raise PostprocessError(
                "Rasters with different numbers of bands can't be merged.",
                where=str(source.path),
                expected=f"{len(first.descriptions)} bands as in {first.path}",
                found=f"{len(source.descriptions)}",
            )
        groups.setdefault(source.label, []).append(source)
    return [Grid(tuple(group), _boxes(group)) for group in groups.values()]


def _boxes(sources: Sequence[Source]) -> npt.NDArray[np.int64]:
    grid = _north_up(sources[0])
    north_up = [(_north_up(source), source.width, source.height) for source in sources]
    left, top, right, bottom = np.array(
        [(t.c, t.f, t.c + t.a * width, t.f + t.e * height) for t, width, height in north_up]
    ).T
    edges = np.column_stack(
        [(left - grid.c) / grid.a, (top - grid.f) / grid.e, (right - grid.c) / grid.a, (bottom - grid.f) / grid.e]
    )
    # Pixel i is covered if its centre is: edge - 0.5 <= i < other edge - 0.5.
    return np.ceil(edges - 0.5 - NUDGE).astype(np.int64)


@dataclass(frozen=True)
class Cell:
    """One output file.

    Attributes:
        bounds: Its extent in pixels of the grid, that of its inputs.
        members: Indices of its inputs in the grid, in order.
    """

    bounds: PixelBounds
    members: npt.NDArray[np.intp]

    def blocks(self) -> Iterator[PixelBounds]:
        """The tiles of the file, row by row, in pixels of the grid."""
        x0, y0, x1, y1 = self.bounds
        for top in range(y0, y1, BLOCK):
            for left in range(x0, x1, BLOCK):
                yield left, top, min(left + BLOCK, x1), min(top + BLOCK, y1)


def cells_of(grid: Grid, max_pixels: int) -> list[Cell]:
    """Distributes the inputs of a grid over square cells by their centres.

    Args:
        grid: Inputs of one CRS.
        max_pixels: Height and width of a cell, counted from the lower left corner of all inputs.

    Returns:
        Cells in the order of their first inputs; their number in this list is the one in the file's name.
    """
    boxes = grid.boxes
    # Twice the centre, so that it is a whole number and nothing is rounded.
    x = (boxes[:, 0] + boxes[:, 2] - 2 * boxes[:, 0].min()) // (2 * max_pixels)
    y = (2 * boxes[:, 3].max() - boxes[:, 1] - boxes[:, 3]) // (2 * max_pixels)
    keys, first, cell = np.unique(np.column_stack([x, y]), axis=0, return_index=True, return_inverse=True)
    cells = []
    for key in np.argsort(first[: len(keys)]):
        members = np.flatnonzero(cell.reshape(-1) == key)
        low, high = boxes[members, :2].min(axis=0), boxes[members, 2:].max(axis=0)
        x0, y0 = low.tolist()
        x1, y1 = np.maximum(high, low + 1).tolist()
        cells.append(Cell((x0, y0, x1, y1), members))
    return cells
