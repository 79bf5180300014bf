"""Combined results for a map: GeoTIFFs of any size and number, read no finer than the map shows them."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import rasterio.windows
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rslearn.utils.geometry import Projection

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InputFileError, UsageError
from olmoearth_nb.maps.grid import Grid, Pixels, Place, grid_over

__all__ = ["geotiff_place", "read_geotiffs"]


def read_geotiffs(
    paths: Sequence[str | PathLike[str]], *, band: int = 1, max_pixels: int = 1200, grid: Grid | None = None
) -> tuple[Grid, Pixels]:
    """One band of several GeoTIFFs on one grid.

    Overviews are used where a file has them; where files overlap, the first one with data wins.

    Args:
        paths: The files.
        band: Counted from 1.
        max_pixels: Largest width and height of the grid.
        grid: Where to; one in the projection that most of the files have if None.

    Returns:
        The grid, and pixels of shape (1, H, W) with NaN where there is nothing.

    Raises:
        InputFileError: If there is no file, or one can't be read or has no projection.
        UsageError: If a file has no such band.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise InputFileError("There is no GeoTIFF to show.", fix="Run the steps up to runner.combine() first.")
    places = [geotiff_place(path, band) for path in files]
    grid = grid or grid_over(places, max_pixels=max_pixels)
    out = np.full((1, *grid.shape), np.nan, dtype=np.float32)
    for path, place in zip(files, places, strict=True):
        _read_into(out[0], grid, path, place, band)
    return grid, out


def geotiff_place(path: Path, band: int = 1) -> Place:
    """Projection and pixel bounds of a file, of which only the extent and the resolution count.

    Args:
        path: A GeoTIFF.
        band: A band that it should have, counted from 1.

    Raises:
        InputFileError: If it can't be read or has no projection.
        UsageError: If it has no such band.
    """
    with _opened(path) as source:
        if source.crs is None:
            raise InputFileError("The GeoTIFF has no projection.", where=str(path), expected="a CRS")
        if not 1 <= band <= source.count:
            raise UsageError(
                f"The GeoTIFF has no band {band}.", where=str(path), expected=f"a band from 1 to {source.count}"
            )
        left, bottom, right, top = source.bounds
        xres, yres = source.res
        bounds = np.rint([left / xres, -top / yres, right / xres, -bottom / yres]).astype(int).tolist()
        return Projection(source.crs, xres, -yres), (bounds[0], bounds[1], bounds[2], bounds[3])


def _read_into(out: npt.NDArray[np.float32], grid: Grid, path: Path, place: Place, band: int) -> None:
    """Fills what is free in the file's part of the grid."""
    bounds = place[1]
    block = grid.block_of(*place)
    if block is None:
        return
    rows, columns = block
    height, width = rows.stop - rows.start, columns.stop - columns.start
    # A view of the file in the grid's projection, fine enough to lose nothing, of which GDAL reads what is asked for.
    finer = max(1, round(max(bounds[3] - bounds[1], bounds[2] - bounds[0]) / max(height, width)))
    with (
        _opened(path) as source,
        WarpedVRT(
            source,
            crs=grid.projection.crs,
            transform=grid.block_transform(rows, columns) * grid.transform.scale(1 / finer),
            width=width * finer,
            height=height * finer,
            resampling=Resampling.nearest,
            add_alpha=source.nodata is None,
        ) as view,
        foreign_code(InputFileError, "The GeoTIFF can't be read", where=str(path)),
    ):
        values = view.read(band, out_shape=(height, width), masked=True, resampling=Resampling.nearest)
    pixels = values.astype(np.float32).filled(np.nan)
    target = out[rows, columns]
    np.copyto(target, pixels, where=np.isnan(target))


def _opened(path: Path) -> rasterio.DatasetReader:
    with foreign_code(InputFileError, "The GeoTIFF can't be read", where=str(path)):
        return rasterio.open(path)
