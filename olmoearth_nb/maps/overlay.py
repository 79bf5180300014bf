"""Rasters as pictures for a web map: warped to its projection, with exact corners, carried along as a data URI.

No map library here. A picture is never finer than it can be shown, and files are read no finer than the picture.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image, features
from rasterio.enums import Resampling
from rslearn.dataset import Dataset, Window
from rslearn.utils.geometry import Projection

from olmoearth_nb.errors import GeometryError, MissingStepError
from olmoearth_nb.legend import ClassLegend, RangeLegend
from olmoearth_nb.maps.frame import Bounds, MapFrame
from olmoearth_nb.maps.grid import Grid, Pixels, Place, mosaic
from olmoearth_nb.maps.imagery import ImageryView, colored, stretch_over, with_layer
from olmoearth_nb.maps.mercator import MERCATOR, WORLD, mercator_extent, pixel_length, to_lonlat
from olmoearth_nb.maps.results import geotiff_place, read_geotiffs
from olmoearth_nb.maps.style import Coloring, coloring_of, painted
from olmoearth_nb.postprocess.mask import Mask
from olmoearth_nb.types import PixelBounds

__all__ = [
    "OUTSIDE_MASK",
    "Overlay",
    "geotiff_imagery_overlay",
    "geotiff_overlay",
    "imagery_overlay",
    "mask_overlay",
    "mercator_grid",
    "pixels_overlay",
]

_MAX_PIXELS = 2048
# Imagery does not shrink as classes do, and a scratch with thousands of windows should need less than a megabyte.
_MAX_IMAGERY_PIXELS = 1280
# Small pictures get several pixels for one of the data, so that its edges stay where they are, and sharp.
_FINEST, _ENOUGH_PIXELS = 4, 1024
_MASK_PIXELS = 512
_PALETTE = 256
OUTSIDE_MASK = (60, 60, 60)
_MASK_ALPHA = 190
_WEBP_QUALITY = 80


@dataclass(frozen=True, eq=False)
class Overlay:
    """A picture and where it lies.

    Attributes:
        pixels: Shape (H, W, 4): red, green, blue, alpha, north up in Web Mercator.
        bounds: Left, bottom, right, top in metres of Web Mercator.
        photo: Whether it is imagery, whose colours may change a little to make it small.
    """

    pixels: npt.NDArray[np.uint8]
    bounds: Bounds
    photo: bool = False

    @property
    def corners(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Latitude and longitude of the south-western and of the north-eastern corner, degrees."""
        left, bottom, right, top = self.bounds
        (west, south), (east, north) = to_lonlat(np.array([(left, bottom), (right, top)])).tolist()
        return (south, west), (north, east)

    @property
    def frame(self) -> MapFrame:
        """The extent for a drawn map."""
        return MapFrame(MERCATOR, self.bounds)

    def turned(self, turns: int) -> Overlay:
        """The same picture so many times around the globe to the east.

        Args:
            turns: Whole number.
        """
        left, bottom, right, top = self.bounds
        return replace(self, bounds=(left + turns * WORLD, bottom, right + turns * WORLD, top))

    def data_uri(self) -> str:
        """The picture as text: WebP for imagery (a tenth of its PNG), PNG with exact colours for all else."""
        buffer = io.BytesIO()
        if self.photo and features.check("webp"):
            kind = "webp"
            Image.fromarray(self.pixels).save(buffer, format="WEBP", quality=_WEBP_QUALITY, method=2)
        else:
            kind = "png"
            _few_colors(self.pixels).save(buffer, format="PNG")
        return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _few_colors(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    """The same picture with a palette where it has no more colours than that holds: a third of the size."""
    height, width = pixels.shape[:2]
    codes, colors = pd.factorize(np.ascontiguousarray(pixels).view(np.uint32).ravel())
    if len(colors) > _PALETTE:
        return Image.fromarray(pixels)
    picture = Image.fromarray(codes.astype(np.uint8).reshape(height, width)).convert("P")
    picture.putpalette(np.asarray(colors, dtype=np.uint32).tobytes(), rawmode="RGBA")
    return picture


def mercator_grid(places: Sequence[Place], *, max_pixels: int = _MAX_PIXELS) -> Grid:
    """The pixels of a picture of several pixel boxes in Web Mercator.

    A small picture has up to four pixels for one of the finest box, a large one is coarser.

    Args:
        places: Projection and pixel bounds of each box.
        max_pixels: Largest width and height.

    Raises:
        GeometryError: If there is none.
    """
    if not places:
        raise GeometryError("There is nothing to draw a map of.", expected="at least one window with data")
    boxes = _on_one_side(np.array([mercator_extent(projection, bounds) for projection, bounds in places]))
    (left, bottom), (right, top) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    extent = max(right - left, top - bottom)
    native = min(pixel_length(projection, bounds) for projection, bounds in places)
    finer = max(1, min(_FINEST, math.floor(min(_ENOUGH_PIXELS, max_pixels) * native / extent)))
    # Two pixels are for the ends, which lie on whole pixels of the grid.
    length = max(native / finer, extent / (max_pixels - 2))
    x0, y0 = np.floor(np.array([left, -top]) / length + 1e-6).astype(int).tolist()
    x1, y1 = np.ceil(np.array([right, -bottom]) / length - 1e-6).astype(int).tolist()
    return Grid(Projection(MERCATOR, length, -length), (x0, y0, x1, y1))


def _on_one_side(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Boxes around the antimeridian next to each other."""
    if boxes[:, 2].max() - boxes[:, 0].min() <= WORLD / 2:
        return boxes
    west = (boxes[:, 0] + boxes[:, 2] < 0)[:, np.newaxis]
    moved = boxes + np.where(west, np.array([WORLD, 0, WORLD, 0]), 0)
    return min(boxes, moved, key=lambda one: one[:, 2].max() - one[:, 0].min())


def imagery_overlay(dataset: Dataset, windows: Sequence[Window], view: ImageryView) -> Overlay:
    """The imagery of windows in one picture, with one stretch for all, so that neighbours match.

    Args:
        dataset: The dataset of the windows.
        windows: Those without imagery are left out.
        view: Layer, bands, time step, stretch.

    Raises:
        MissingStepError: If no window has imagery.
        UsageError: If there is no such layer, band or time step.
    """
    layer, bands = view.resolved(dataset)
    there = with_layer(windows, layer)
    if not there:
        raise MissingStepError(
            f"None of the {len(windows)} windows has the layer {layer!r}.",
            where=str(dataset.path),
            fix="Build the dataset first.",
        )
    grid = mercator_grid(_places(there), max_pixels=_MAX_IMAGERY_PIXELS)
    tiles = ((window.projection, window.bounds, view.read(dataset, window)) for window in there)
    return _photo(mosaic(grid, tiles, count=len(bands), resampling=Resampling.average), grid, view)


def _photo(pixels: Pixels, grid: Grid, view: ImageryView) -> Overlay:
    stretch = stretch_over([pixels], view.percentiles)
    return Overlay(colored(pixels, stretch, colormap=view.colormap), grid.frame.bounds, photo=True)


def _places(windows: Sequence[Window]) -> list[Place]:
    return [(window.projection, window.bounds) for window in windows]


def pixels_overlay(tiles: Sequence[tuple[Projection, PixelBounds, Pixels]], coloring: Coloring) -> Overlay:
    """Labels or predictions of windows in one picture; the colours are exactly those of the classes.

    Args:
        tiles: Projection, pixel bounds and pixels (1, H, W), NaN for nodata, of each window.
        coloring: What has which colour.

    Raises:
        GeometryError: If there is none.
    """
    grid = mercator_grid([(projection, bounds) for projection, bounds, _ in tiles])
    return Overlay(painted(mosaic(grid, tiles, count=1)[0], coloring), grid.frame.bounds)


def geotiff_overlay(
    paths: Sequence[str | PathLike[str]], legend: ClassLegend | RangeLegend | None = None, *, band: int = 1
) -> tuple[Overlay, Coloring]:
    """A band of GeoTIFFs in one picture, read no finer than it shows.

    Args:
        paths: The files.
        legend: What the values mean; without one, whole numbers are classes and others a range.
        band: Counted from 1.

    Returns:
        The picture, and what has which colour.

    Raises:
        InputFileError: If there is no file, or one can't be read or has no projection.
        UsageError: If a file has no such band.
    """
    grid = mercator_grid([geotiff_place(Path(path), band) for path in paths]) if paths else None
    grid, pixels = read_geotiffs(paths, band=band, grid=grid)
    coloring = coloring_of(pixels, legend)
    return Overlay(painted(pixels[0], coloring), grid.frame.bounds), coloring


def geotiff_imagery_overlay(
    paths: Sequence[str | PathLike[str]], bands: Sequence[int], *, view: ImageryView | None = None
) -> Overlay:
    """One band or three of GeoTIFFs as imagery.

    Args:
        paths: The files.
        bands: Counted from 1; three are red, green and blue.
        view: Stretch and colormap; its layer and bands are not used.

    Raises:
        InputFileError: If there is no file, or one can't be read or has no projection.
        UsageError: If a file has no such band.
    """
    grid = mercator_grid([geotiff_place(Path(path)) for path in paths], max_pixels=_MAX_IMAGERY_PIXELS)
    pixels = np.concatenate([read_geotiffs(paths, band=band, grid=grid)[1] for band in bands])
    return _photo(pixels, grid, view or ImageryView())


def mask_overlay(mask: Mask, bounds: Bounds) -> Overlay:
    """What a mask leaves out, dark; where results are wanted, nothing.

    Args:
        mask: The mask.
        bounds: Left, bottom, right, top of the picture in metres of Web Mercator.
    """
    left, bottom, right, top = bounds
    length = max(right - left, top - bottom) / _MASK_PIXELS
    x0, y0 = np.floor(np.array([left, -top]) / length).astype(int).tolist()
    x1, y1 = np.ceil(np.array([right, -bottom]) / length).astype(int).tolist()
    grid = Grid(Projection(MERCATOR, length, -length), (x0, y0, x1, y1))
    valid = mask.valid_pixels(grid.transform, MERCATOR, grid.shape)
    pixels = np.zeros((*grid.shape, 4), dtype=np.uint8)
    pixels[~valid] = (*OUTSIDE_MASK, _MASK_ALPHA)
    return Overlay(pixels, grid.frame.bounds)
