"""Many rasters on one map: a grid of pixels, north up in its projection, and what goes onto it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import rasterio.warp
from affine import Affine
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rslearn.utils.geometry import Projection

from olmoearth_nb.errors import GeometryError
from olmoearth_nb.maps.frame import Bounds, MapFrame
from olmoearth_nb.maps.mercator import MERCATOR, WORLD, mercator_extent
from olmoearth_nb.types import PixelBounds

__all__ = ["Block", "Grid", "Pixels", "Place", "extent_in", "grid_over", "mosaic", "pixel_transform"]

Pixels: TypeAlias = npt.NDArray[np.float32]
"""Shape (C, H, W); NaN where there is nothing."""

Place: TypeAlias = tuple[Projection, PixelBounds]
"""Where pixels lie."""

Block: TypeAlias = tuple[slice, slice]
"""Rows and columns of a grid."""


@dataclass(frozen=True)
class Grid:
    """Pixels of a map, north up in their projection.

    Attributes:
        projection: CRS and resolution; the y resolution is negative.
        bounds: Whole pixels of that projection.
    """

    projection: Projection
    bounds: PixelBounds

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        x0, y0, x1, y1 = self.bounds
        return y1 - y0, x1 - x0

    @property
    def transform(self) -> Affine:
        """Column and row -> CRS units."""
        return pixel_transform(self.projection, self.bounds)

    @property
    def frame(self) -> MapFrame:
        """The extent in CRS units."""
        xres, yres = self.projection.x_resolution, self.projection.y_resolution
        x0, y0, x1, y1 = self.bounds
        return MapFrame(self.projection.crs, (x0 * xres, y1 * yres, x1 * xres, y0 * yres))

    def block(self, left: float, bottom: float, right: float, top: float) -> Block | None:
        """Rows and columns that a box in CRS units touches, or None.

        Args:
            left: Lowest x.
            bottom: Lowest y.
            right: Highest x.
            top: Highest y.
        """
        xres, yres = self.projection.x_resolution, self.projection.y_resolution
        x0, y0, x1, y1 = self.bounds
        # A hair less on all sides, so that rounding doesn't add a row.
        columns = slice(max(0, int(np.floor(left / xres + 1e-6)) - x0), min(x1, int(np.ceil(right / xres - 1e-6))) - x0)
        rows = slice(max(0, int(np.floor(top / yres + 1e-6)) - y0), min(y1, int(np.ceil(bottom / yres - 1e-6))) - y0)
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None

    def block_of(self, projection: Projection, bounds: PixelBounds) -> Block | None:
        """Rows and columns that a pixel box touches, or None.

        Args:
            projection: Projection of the box.
            bounds: Whole pixels.
        """
        if self.projection.crs != MERCATOR:
            return self.block(*extent_in(projection, bounds, self.projection.crs))
        left, bottom, right, top = mercator_extent(projection, bounds)
        # Around the antimeridian the grid may lie once around the globe from the box.
        turns = (self.block(left + turn * WORLD, bottom, right + turn * WORLD, top) for turn in (0, 1, -1))
        return next((block for block in turns if block is not None), None)

    def block_transform(self, rows: slice, columns: slice) -> Affine:
        """Column and row of a block -> CRS units.

        Args:
            rows: Its rows.
            columns: Its columns.
        """
        return self.transform * Affine.translation(columns.start, rows.start)


def pixel_transform(projection: Projection, bounds: PixelBounds) -> Affine:
    """Column and row within pixel bounds -> CRS units.

    Args:
        projection: CRS and resolution.
        bounds: Whole pixels.
    """
    xres, yres = projection.x_resolution, projection.y_resolution
    return Affine(xres, 0, bounds[0] * xres, 0, yres, bounds[1] * yres)


def grid_over(places: Sequence[tuple[Projection, PixelBounds]], *, max_pixels: int) -> Grid:
    """The pixels of a map of several pixel boxes, in the projection that most of them have.

    The resolution is the finest there is, or a whole multiple where the map would get too large.

    Args:
        places: Projection and pixel bounds of each box.
        max_pixels: Largest width and height.

    Raises:
        GeometryError: If there is none.
    """
    if not places:
        raise GeometryError("There is nothing to draw a map of.", expected="at least one window with data")
    crs = Counter(projection.crs for projection, _ in places).most_common(1)[0][0]
    boxes = np.array([extent_in(projection, bounds, crs) for projection, bounds in places])
    same = [projection for projection, _ in places if projection.crs == crs]
    xres = min(abs(projection.x_resolution) for projection in same)
    yres = min(abs(projection.y_resolution) for projection in same)
    left, bottom = boxes[:, :2].min(axis=0)
    right, top = boxes[:, 2:].max(axis=0)
    factor = max(1, int(np.ceil(max((right - left) / xres, (top - bottom) / yres) / max_pixels - 1e-9)))
    projection = Projection(crs, xres * factor, -yres * factor)
    edges = np.array([left / xres, -top / yres, right / xres, -bottom / yres]) / factor
    x0, y0 = np.floor(edges[:2] + 1e-6).astype(int).tolist()
    x1, y1 = np.ceil(edges[2:] - 1e-6).astype(int).tolist()
    return Grid(projection, (x0, y0, x1, y1))


def extent_in(projection: Projection, bounds: PixelBounds, crs: CRS) -> Bounds:
    """Left, bottom, right, top of a pixel box in a CRS, its edges followed.

    Args:
        projection: Projection of the box.
        bounds: Whole pixels.
        crs: Target.
    """
    x0, y0, x1, y1 = bounds
    xs = sorted((x0 * projection.x_resolution, x1 * projection.x_resolution))
    ys = sorted((y0 * projection.y_resolution, y1 * projection.y_resolution))
    if projection.crs == crs:
        return xs[0], ys[0], xs[1], ys[1]
    left, bottom, right, top = rasterio.warp.transform_bounds(projection.crs, crs, xs[0], ys[0], xs[1], ys[1])
    return left, bottom, right, top


def mosaic(
    grid: Grid,
    tiles: Iterable[tuple[Projection, PixelBounds, Pixels]],
    *,
    count: int,
    resampling: Resampling = Resampling.nearest,
) -> Pixels:
    """Pixels of several windows on one grid; where they overlap, the first one with data wins.

    Args:
        grid: The map's pixels.
        tiles: Projection, pixel bounds and pixels (C, H, W) of each window.
        count: Number of bands, C.
        resampling: How pixels are merged or moved where grids differ.

    Returns:
        Shape (C, H, W) of the grid.
    """
    out = np.full((count, *grid.shape), np.nan, dtype=np.float32)
    for projection, bounds, pixels in tiles:
        block = grid.block_of(projection, bounds)
        if block is None:
            continue
        warped = _warped(grid, block, (projection, bounds), pixels, resampling)
        if resampling != Resampling.nearest:
            # A mean reaches over the edge; what is data ends where the pixels do.
            there = np.isfinite(pixels).any(axis=0, keepdims=True)
            sharp = _warped(grid, block, (projection, bounds), np.where(there, np.float32(1), np.float32(np.nan)))
            warped[:, np.isnan(sharp[0])] = np.nan
        target = out[:, *block]
        free = np.isnan(target).all(axis=0)
        target[:, free] = warped[:, free]
    return out


def _warped(
    grid: Grid, block: Block, place: Place, pixels: Pixels, resampling: Resampling = Resampling.nearest
) -> Pixels:
    """Pixels of a window on a block of a grid."""
    projection, bounds = place
    rows, columns = block
    warped = np.full((len(pixels), rows.stop - rows.start, columns.stop - columns.start), np.nan, dtype=np.float32)
    rasterio.warp.reproject(
        pixels,
        warped,
        src_transform=pixel_transform(projection, bounds),
        src_crs=projection.crs,
        src_nodata=np.nan,
        dst_transform=grid.block_transform(rows, columns),
        dst_crs=grid.projection.crs,
        dst_nodata=np.nan,
        resampling=resampling,
    )
    return warped
