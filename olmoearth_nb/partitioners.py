"""Partitioners: a request into partitions (in WGS84), a partition into windows (in pixels of a projection).

All take ``output_projection``, ``use_utm`` (then only the resolution of ``output_projection`` counts, and the CRS
is the UTM/UPS zone of each geometry) and ``limit``, the number of windows to keep of each partition.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import ConfigError, GeometryError, InputFileError, UnsupportedError
from olmoearth_nb.geojson import (
    PredictionRequestCollection,
    PredictionRequestFeature,
    feature_label,
    feature_shape,
)
from olmoearth_nb.geometry import (
    Shapes,
    antimeridian_sides,
    grid_indices,
    normalise_lonlat,
    project,
    project_all,
    projected_extent,
    unwrap_antimeridian,
    utm_projection_for,
    valid_shapes,
)
from olmoearth_nb.protocols import PartitionInterface
from olmoearth_nb.types import shape_of

__all__ = [
    "ChunkPartitioner",
    "FixedWindowPartitioner",
    "GridPartitioner",
    "NoopPartitioner",
    "ReprojectionPartitioner",
]

Window: TypeAlias = tuple[PredictionRequestFeature, STGeometry]
"""The feature a window is for, and its extent in pixels."""

Bounds: TypeAlias = tuple[float, float, float, float]

# More cells than this for one feature are a slip of the pen (a grid size in degrees where pixels are meant); at some
# 2 kB each they would fill the memory before anything else notices.
_MAX_CELLS = 4_000_000

# Edges of less than this bulge by less than a hundredth of a 10 m pixel when they are projected.
_STRAIGHT_DEGREES = 0.02

_IN_PIXELS = "it works in pixels of a projection, and partitions stay in longitude and latitude."


@dataclass(frozen=True)
class _Located:
    """A feature with its geometry in degrees, cut at the antimeridian, and in pixels."""

    label: str
    feature: PredictionRequestFeature
    degrees: BaseGeometry
    pixels: STGeometry


class _Partitioner(PartitionInterface):
    """What the five have in common: the arguments for all, projecting, the limit."""

    unsupported: ClassVar[dict[str, str]] = {}

    def __init__(
        self, output_projection: Projection | None = None, use_utm: bool = False, limit: int | None = None
    ) -> None:
        if output_projection is not None and not isinstance(output_projection, Projection):
            raise self._wrong("output_projection", "an rslearn Projection", output_projection)
        super().__init__(output_projection, self._flag("use_utm", use_utm))
        self.limit = None if limit is None else self._whole("limit", limit)
        for axis in ("x_resolution", "y_resolution"):
            value = getattr(self.output_projection, axis)
            if not _is_number(value) or value == 0:
                raise self._wrong(f"output_projection.{axis}", "a number that is not 0", value)

    def partition_request_geometry(
        self, request_extents: PredictionRequestCollection
    ) -> list[PredictionRequestCollection]:
        """Partitions of a request, each a collection in WGS84.

        Args:
            request_extents: The request; features without a geometry are left out.

        Raises:
            UnsupportedError: If this class makes no partitions; says why.
            GeometryError: Names the feature that can't be used.
            InputFileError: The same.
        """
        raise self._cannot("partition_request_geometry")

    def prepare_window_geometries(self, request_extents: PredictionRequestCollection) -> list[Window]:
        """Windows of a partition, the first ``limit`` of them.

        Args:
            request_extents: The partition; features without a geometry are left out.

        Returns:
            For each window the feature it is for and its extent in pixels.

        Raises:
            UnsupportedError: If this class makes no windows; says why.
            GeometryError: Names the feature that can't be projected.
            InputFileError: Names the feature that is off the globe.
        """
        return self.window_candidates(request_extents)[: self.limit]

    def window_candidates(self, request_extents: PredictionRequestCollection) -> list[Window]:
        """All windows of a partition, whatever ``limit`` says.

        For planning, which leaves out what does not touch the request before it counts.

        Args:
            request_extents: The partition.

        Raises:
            UnsupportedError: As :meth:`prepare_window_geometries`.
            GeometryError: The same.
            InputFileError: The same.
        """
        raise self._cannot("prepare_window_geometries")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def _located(self, request: PredictionRequestCollection) -> list[_Located]:
        found = [(label, feature, shp) for label, feature, shp in _features(request) if _timed(label, feature)]
        targets = [self._target(label, shp) for label, _, shp in found]
        there = _projected([label for label, _, _ in found], [_in_time(f, shp) for _, f, shp in found], targets)
        return [_Located(*item, pixels) for item, pixels in zip(found, there, strict=True)]

    def _target(self, label: str, shp: BaseGeometry) -> Projection:
        target = self.output_projection
        if not self.use_utm:
            return target
        try:
            return utm_projection_for(shp, target.x_resolution, target.y_resolution)
        except GeometryError as error:
            raise _named(error, label) from error

    def _cannot(self, method: str) -> UnsupportedError:
        name = type(self).__name__
        what = "partitions of a request" if method == "partition_request_geometry" else "windows of a partition"
        return UnsupportedError(f"{name} can't make {what}: {self.unsupported[method]}")

    def _wrong(self, name: str, expected: str, found: object) -> ConfigError:
        return ConfigError(
            "The argument is wrong.", where=f"{type(self).__name__}.{name}", expected=expected, found=repr(found)
        )

    def _flag(self, name: str, value: object) -> bool:
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false", value)
        return value

    def _whole(self, name: str, value: object) -> int:
        if not _is_number(value) or value < 1 or value != int(value):
            raise self._wrong(name, "a whole number of at least 1", value)
        return int(value)


class NoopPartitioner(_Partitioner):
    """The whole request as one partition.

    Args:
        output_projection: Not used; there so that all partitioners take it.
        use_utm: Not used.
        limit: Not used.
    """

    unsupported: ClassVar[dict[str, str]] = {
        "prepare_window_geometries": "windows are in pixels of a projection, and it leaves everything as it is. "
        "Use ReprojectionPartitioner for one window a feature."
    }

    def partition_request_geometry(
        self, request_extents: PredictionRequestCollection
    ) -> list[PredictionRequestCollection]:
        """The request as a list of one; an empty list if it has no geometry. See the base for what it raises."""
        features = [feature for _, feature, _ in _features(request_extents)]
        return _chunks(request_extents, features, max(len(features), 1))


class GridPartitioner(_Partitioner):
    """Cells of a grid: partitions in degrees, windows in pixels.

    The grid is anchored at 0: cells are ``i*grid_size .. (i+1)*grid_size`` for whole i. A feature has all cells that
    its bounds touch, west to east and in each column by rising y. In degrees cells end at ±180 and ±90; a feature on
    both sides of the antimeridian has the cells of either side.

    Args:
        grid_size: Width and height of a cell, in degrees or pixels, above 0.
        overlap_size: How far each cell is grown on all sides, in the same unit.
        output_projection: Projection of the windows.
        use_utm: Take the UTM/UPS zone of each feature instead of the CRS of ``output_projection``.
        clip: Cut the cells by the feature; cells beside it are left out.
        limit: Number of windows to keep of each partition.

    Raises:
        ConfigError: If an argument is wrong.

    Example:
        >>> from rasterio.crs import CRS
        >>> GridPartitioner(1024, output_projection=Projection(CRS.from_epsg(3857), 10, -10), use_utm=True).grid_size
        1024
    """

    def __init__(
        self,
        grid_size: float,
        overlap_size: float | None = None,
        output_projection: Projection | None = None,
        use_utm: bool = False,
        clip: bool = False,
        limit: int | None = None,
    ) -> None:
        super().__init__(output_projection, use_utm, limit)
        if not _is_number(grid_size) or grid_size <= 0:
            raise self._wrong("grid_size", "a number above 0", grid_size)
        if overlap_size is not None and (not _is_number(overlap_size) or overlap_size < 0):
            raise self._wrong("overlap_size", "a number of at least 0", overlap_size)
        self.grid_size = grid_size
        self.overlap_size = overlap_size or 0
        self.clip = self._flag("clip", clip)

    def partition_request_geometry(
        self, request_extents: PredictionRequestCollection
    ) -> list[PredictionRequestCollection]:
        """One partition a cell of each feature's bounds, with the feature's properties.

        With ``clip`` a cell beside the feature is a partition without features, so that numbers don't move. See the
        base for arguments and errors.
        """
        return [
            _cell_collection(feature, cell)
            for label, feature, shp in _features(request_extents)
            for cell in self._degree_cells(label, shp)
        ]

    def window_candidates(self, request_extents: PredictionRequestCollection) -> list[Window]:
        """The cells of each feature's bounds in pixels. See the base for arguments and errors."""
        windows: list[Window] = []
        for item in self._located(request_extents):
            projection, time_range = item.pixels.projection, item.pixels.time_range
            cells = self._grown_and_cut(_boxes(self._pixel_cells(item)), shape_of(item.pixels))
            windows += [
                (item.feature, STGeometry(projection, cell, time_range)) for cell in cells[~shapely.is_empty(cells)]
            ]
        return windows

    def _degree_cells(self, label: str, shp: BaseGeometry) -> Shapes:
        bounds = self._cells(label, [side.bounds for side in antimeridian_sides(shp)])
        globe = np.array([-180.0, -90.0, 180.0, 90.0])
        cells = self._grown(_boxes(np.clip(bounds, globe[[0, 1, 0, 1]], globe[[2, 3, 2, 3]])))
        grown = shapely.bounds(cells)
        for index in np.flatnonzero((grown[:, :2] < globe[:2]).any(axis=1) | (grown[:, 2:] > globe[2:]).any(axis=1)):
            cells[index] = normalise_lonlat(shapely.intersection(cells[index], shapely.box(-540, -90, 540, 90)), label)
        return self._cut(cells, shp)

    def _pixel_cells(self, item: _Located) -> npt.NDArray[np.float64]:
        sides = antimeridian_sides(item.degrees)
        west, south, east, north = item.degrees.bounds
        if len(sides) == 1 and max(east - west, north - south) < _STRAIGHT_DEGREES:
            return self._cells(item.label, [shape_of(item.pixels).bounds])
        try:
            extents = [projected_extent(side, item.pixels.projection) for side in sides]
        except GeometryError as error:
            raise _named(error, item.label) from error
        return self._cells(item.label, extents)

    def _cells(self, label: str, extents: Sequence[Bounds]) -> npt.NDArray[np.float64]:
        """Bounds of the cells that any of the extents touches, (N, 4)."""
        size = self.grid_size
        spans = [(grid_indices(x0, x1, size), grid_indices(y0, y1, size)) for x0, y0, x1, y1 in extents]
        count = sum(len(columns) * len(rows) for columns, rows in spans)
        if count > _MAX_CELLS:
            raise GeometryError(
                f"A grid of size {size} has too many cells over this feature.",
                where=label,
                expected=f"at most {_MAX_CELLS:,}",
                found=f"{count:,}",
                fix="Raise grid_size (degrees for partitions, pixels for windows), or split the feature.",
            )
        grids = [np.stack(np.meshgrid(*map(np.array, span), indexing="ij"), axis=-1).reshape(-1, 2) for span in spans]
        indices = grids[0] if len(grids) == 1 else np.unique(np.concatenate(grids), axis=0)
        return np.hstack([indices * size, (indices + 1) * size]).astype(np.float64)

    def _grown_and_cut(self, cells: Shapes, shp: BaseGeometry) -> Shapes:
        return self._cut(self._grown(cells), shp)

    def _grown(self, cells: Shapes) -> Shapes:
        if not self.overlap_size:
            return cells
        return np.asarray(shapely.buffer(cells, self.overlap_size, join_style="mitre"), dtype=object)

    def _cut(self, cells: Shapes, shp: BaseGeometry) -> Shapes:
        """Cells cut by a geometry, if so configured; empty where they are beside it."""
        if not self.clip:
            return cells
        if not shp.is_valid:
            shp = shapely.make_valid(shp)
        cut = np.asarray(shapely.intersection(shp, cells), dtype=object)
        if not isinstance(shp, shapely.GeometryCollection):
            # A cell that a polygon only touches with an edge has none of its area.
            cut[shapely.get_dimensions(cut) < shapely.get_dimensions(shp)] = shapely.Polygon()
        return cut


class FixedWindowPartitioner(_Partitioner):
    """A square window of a fixed size centred on each feature.

    Args:
        window_size: Width and height in pixels, a whole number.
        output_projection: Projection of the windows.
        use_utm: Take the UTM/UPS zone of each feature instead of the CRS of ``output_projection``.
        limit: Number of windows to keep of each partition.

    Raises:
        ConfigError: If an argument is wrong.
    """

    unsupported: ClassVar[dict[str, str]] = {"partition_request_geometry": _IN_PIXELS}

    def __init__(
        self,
        window_size: float,
        output_projection: Projection | None = None,
        use_utm: bool = False,
        limit: int | None = None,
    ) -> None:
        super().__init__(output_projection, use_utm, limit)
        self.window_size = self._whole("window_size", window_size)

    def window_candidates(self, request_extents: PredictionRequestCollection) -> list[Window]:
        """One square a feature, around its centroid. See the base for arguments and errors."""
        items = self._located(request_extents)
        centres = shapely.get_coordinates([_centre(item) for item in items])
        half = self.window_size / 2
        squares = _boxes(np.hstack([centres - half, centres + half]))
        return [
            (item.feature, STGeometry(item.pixels.projection, square, item.pixels.time_range))
            for item, square in zip(items, squares, strict=True)
        ]


class ChunkPartitioner(_Partitioner):
    """So many features to a partition, in order; or one window a feature, its geometry.

    Args:
        num_geometries_per_partition: Number of features, the last partition may have fewer.
        output_projection: Projection of the windows.
        use_utm: Take the UTM/UPS zone of each feature instead of the CRS of ``output_projection``.
        limit: Number of windows to keep of each partition.

    Raises:
        ConfigError: If an argument is wrong.
    """

    def __init__(
        self,
        num_geometries_per_partition: int,
        output_projection: Projection | None = None,
        use_utm: bool = False,
        limit: int | None = None,
    ) -> None:
        super().__init__(output_projection, use_utm, limit)
        self.num_geometries_per_partition = self._whole("num_geometries_per_partition", num_geometries_per_partition)

    def partition_request_geometry(
        self, request_extents: PredictionRequestCollection
    ) -> list[PredictionRequestCollection]:
        """Features in order, ``num_geometries_per_partition`` to each. See the base for arguments and errors."""
        features = [feature for _, feature, _ in _features(request_extents)]
        return _chunks(request_extents, features, self.num_geometries_per_partition)

    def window_candidates(self, request_extents: PredictionRequestCollection) -> list[Window]:
        """One window a feature. See the base for arguments and errors."""
        return [_whole_window(item) for item in self._located(request_extents)]


class ReprojectionPartitioner(_Partitioner):
    """One window a feature: its geometry, projected.

    Args:
        output_projection: Projection of the windows.
        use_utm: Take the UTM/UPS zone of each feature instead of the CRS of ``output_projection``.
        limit: Number of windows to keep of each partition.

    Raises:
        ConfigError: If an argument is wrong.
    """

    unsupported: ClassVar[dict[str, str]] = {"partition_request_geometry": _IN_PIXELS}

    def window_candidates(self, request_extents: PredictionRequestCollection) -> list[Window]:
        """One window a feature. See the base for arguments and errors."""
        return [_whole_window(item) for item in self._located(request_extents)]
