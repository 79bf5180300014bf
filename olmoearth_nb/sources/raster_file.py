"""One local raster file: what it is, where it lies, and reading a part of it in another projection."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy.typing as npt
import rasterio
import shapely
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.io import DatasetReader
from rasterio.transform import from_gcps
from rasterio.vrt import WarpedVRT
from rslearn.utils.geometry import WGS84_PROJECTION, PixelBounds, Projection, STGeometry, get_global_raster_bounds
from rslearn.utils.get_utm_ups_crs import get_utm_ups_crs
from rslearn.utils.raster_format import get_transform_from_projection_and_bounds

from olmoearth_nb.errors import InputFileError
from olmoearth_nb.sources.files import FileState, file_state
from olmoearth_nb.sources.matching import outline

__all__ = ["RasterFile", "kept_open", "raster_file"]

# Pixels by which an origin may miss the grid and still be meant to lie on it.
_SNAP = 1e-6
# Files at a time; a year of monthly images and some.
_MOST_KEPT = 16


class _Kept(NamedTuple):
    source: DatasetReader
    closing: contextlib.ExitStack


_kept: contextvars.ContextVar[dict[FileState, _Kept] | None] = contextvars.ContextVar("_kept", default=None)


@dataclass(frozen=True, eq=False)
class RasterFile:
    """A raster file in the state that it was found in.

    Attributes:
        state: The file.
        footprint: Its outline, no time.
        count: Number of bands.
        descriptions: What the file calls its bands, None where it has no name.
        nodata: Its nodata value, of the first band.
    """

    state: FileState
    footprint: STGeometry
    count: int
    descriptions: tuple[str | None, ...]
    nodata: float | None

    @property
    def path(self) -> Path:
        """The file."""
        return self.state.path

    def bounds(self, projection: Projection) -> PixelBounds:
        """Whole pixels of a projection that hold the raster."""
        return _bounds(self, projection)

    def read(self, projection: Projection, bounds: PixelBounds, resampling: Resampling) -> npt.NDArray[Any]:
        """All bands within bounds, (C, H, W).

        Args:
            projection: What to read it in.
            bounds: Pixels of the projection.
            resampling: How.

        Raises:
            InputFileError: If the pixels can't be read.
        """
        with (
            _reading(self.path),
            _source(self.state) as source,
            WarpedVRT(
                source,
                crs=projection.crs,
                transform=get_transform_from_projection_and_bounds(projection, bounds),
                width=bounds[2] - bounds[0],
                height=bounds[3] - bounds[1],
                resampling=resampling,
            ) as warped,
        ):
            pixels: npt.NDArray[Any] = warped.read()
            return pixels


def raster_file(path: Path) -> RasterFile:
    """A raster file; what was found is kept until the file changes.

    Args:
        path: The file.

    Raises:
        InputFileError: If it is missing, can't be read as a raster, or says not where it lies.
    """
    return _described(file_state(path))


@functools.lru_cache(maxsize=100_000)
def _described(state: FileState) -> RasterFile:
    with _reading(state.path), rasterio.open(state.path) as source:
        return RasterFile(
            state=state,
            footprint=_footprint(source),
            count=source.count,
            descriptions=tuple(source.descriptions),
            nodata=source.nodata,
        )


@functools.lru_cache(maxsize=1024)
def _bounds(file: RasterFile, projection: Projection) -> PixelBounds:
    try:
        with _open(file.path) as source, WarpedVRT(source, crs=projection.crs) as warped:
            left, bottom, right, top = warped.bounds
    except RasterioError:  # of a raster that does not fit into the projection as a whole
        return get_global_raster_bounds(projection)
    columns = sorted((left / projection.x_resolution, right / projection.x_resolution))
    rows = sorted((bottom / projection.y_resolution, top / projection.y_resolution))
    return math.floor(columns[0]), math.floor(rows[0]), math.ceil(columns[1]), math.ceil(rows[1])


@contextlib.contextmanager
def kept_open() -> Iterator[None]:
    """Files that are read within the block stay open until its end, the latest of them.

    GDAL then decodes a tile once and not once for each window on it (200 windows of 128 x 128: 0.4 s for 1.7 s).
    """
    kept: dict[FileState, _Kept] = {}
    token = _kept.set(kept)
    try:
        yield
    finally:
        _kept.reset(token)
        for one in kept.values():
            one.closing.close()


@contextlib.contextmanager
def _source(state: FileState) -> Iterator[DatasetReader]:
    kept = _kept.get()
    if kept is None:
        with _open(state.path) as source:
            yield source
        return
    one = kept.pop(state, None)
    if one is None:
        if len(kept) == _MOST_KEPT:
            kept.pop(next(iter(kept))).closing.close()
        with contextlib.ExitStack() as opened:
            source = opened.enter_context(_open(state.path))
            one = _Kept(source, opened.pop_all())
    kept[state] = one
    yield one.source


@contextlib.contextmanager
def _open(path: Path) -> Iterator[DatasetReader]:
    """Opens a raster; if it has ground control points only, warped to UTM first, as rslearn does to ingest it."""
    with rasterio.open(path) as source:
        points, crs = source.gcps
        if source.crs is not None or not points:
            yield source
            return
        first = STGeometry(Projection(crs, 1, 1), shapely.Point(points[0].x, points[0].y), None)
        place = shapely.get_coordinates(first.to_projection(WGS84_PROJECTION).shp)[0]
        with WarpedVRT(source, crs=get_utm_ups_crs(*place), resampling=Resampling.cubic) as warped:
            yield warped


def _footprint(source: DatasetReader) -> STGeometry:
    crs, transform = source.crs, source.transform
    if crs is None:
        points, crs = source.gcps
        if crs is None or not points:
            raise InputFileError(
                "The raster says not in which coordinate reference system it is.",
                where=source.name,
                fix="Write it into the file: rio edit-info --crs EPSG:… FILE, or gdal_edit.py -a_srs EPSG:… FILE.",
            )
        transform = from_gcps(points)
    width, height = source.width, source.height
    if transform.b or transform.d:
        corners = [transform * corner for corner in ((0, 0), (width, 0), (width, height), (0, height))]
        return outline(crs, (1.0, 1.0), shapely.Polygon(corners))
    x, y = (_snapped(transform.c / transform.a), _snapped(transform.f / transform.e))
    box = shapely.box(x, y, x + width, y + height)
    return outline(crs, (transform.a, transform.e), box)


def _snapped(pixel: float) -> float:
    return round(pixel) if abs(pixel - round(pixel)) < _SNAP else pixel


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except RasterioError as error:
        raise InputFileError(
            "The file can't be read as a raster.",
            where=str(path),
            found=" ".join(str(error).split()),
            fix="Replace it, or leave it out: pattern or raster_item_specs in dataset.json.",
        ) from error
