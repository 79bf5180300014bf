"""Partitioners: a request into partitions (in WGS84), a partition into windows (in pixels of a projection).

All take ``output_projection``, ``use_utm`` (then only the resolution of ``output_projection`` counts, and the CRS
is the UTM/UPS zone of each geometry) and ``limit``, the number of windows to keep of each partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import GeometryError
from olmoearth_nb.geojson import PredictionRequestCollection, PredictionRequestFeature
from olmoearth_nb.geometry import (
    Shapes,
    antimeridian_sides,
    grid_indices,
    project,
    projected_extent,
    unwrap_antimeridian,
)
from olmoearth_nb.lonlat import normalise_lonlat
from olmoearth_nb.partitioner_base import (
    Located,
    PartitionerBase,
    WindowCandidate,
    features_of,
    has_geometry,
    is_number,
    named,
)
from olmoearth_nb.types import shape_of

__all__ = [
    "ChunkPartitioner",
    "FixedWindowPartitioner",
    "GridPartitioner",
    "NoopPartitioner",
    "ReprojectionPartitioner",
]

Bounds: TypeAlias = tuple[float, float, float, float]

# Edges of less than this bulge by less than a hundredth of a 10 m pixel when they are projected.
_STRAIGHT_DEGREES = 0.02

_IN_PIXELS = "it works in pixels of a projection, and partitions stay in longitude and latitude."


class NoopPartitioner(PartitionerBase):
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
        return _chunks(request_extents, max(len(request_extents.features), 1))


class GridPartitioner(PartitionerBase):
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

    Attributes:
        max_partitions: Most partitions of a request.
        max_windows: Most windows of a partition.

    Raises:
        ConfigError: If an argument is wrong.

    Example:
        >>> from rasterio.crs import CRS
        >>> GridPartitioner(1024, output_projection=Projection(CRS.from_epsg(3857), 10, -10), use_utm=True).grid_size
        1024
    """

    # More cells than this are a slip of the pen (a grid size in degrees where pixels are meant), and would fill the
    # memory before anything else notices: a window takes some 2 kB until it is planned, a partition 5 kB.
    max_partitions: int = 500_000
    max_windows: int = 4_000_000

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
        if not is_number(grid_size) or grid_size <= 0:
            raise self.wrong("grid_size", "a number above 0", grid_size)
        if overlap_size is not None and (not is_number(overlap_size) or overlap_size < 0):
            raise self.wrong("overlap_size", "a number of at least 0", overlap_size)
        self.grid_size = grid_size
        self.overlap_size = overlap_size or 0
        self.clip = self.flag("clip", clip)

    def partition_request_geometry(
        self, request_extents: PredictionRequestCollection
    ) -> list[PredictionRequestCollection]:
        """One partition a cell of each feature's bounds, with the feature's properties.

        With ``clip`` a cell beside the feature is a partition without features, so that numbers don't move. See the
        base for arguments and errors.
        """
        partitions: list[PredictionRequestCollection] = []
        for label, feature, shp in features_of(request_extents):
            cells = self._degree_cells(label, shp, room=self.max_partitions - len(partitions))
            partitions += [_cell_collection(feature, cell) for cell in cells]
        return partitions

    def window_candidates(self, request_extents: PredictionRequestCollection) -> list[WindowCandidate]:
        """The cells of each feature's bounds in pixels. See the base for arguments and errors."""
        windows: list[WindowCandidate] = []
        for item in self.located(request_extents):
            projection, time_range = item.pixels.projection, item.pixels.time_range
            bounds = self._pixel_cells(item, room=self.max_windows - len(windows))
            cells = self._grown_and_cut(_boxes(bounds), shape_of(item.pixels))
            windows += [
                (item.feature, STGeometry(projection, cell, time_range)) for cell in cells[~shapely.is_empty(cells)]
            ]
        return windows

    def _degree_cells(self, label: str, shp: BaseGeometry, *, room: int) -> Shapes:
        bounds = self._cells(label, [side.bounds for side in antimeridian_sides(shp)], room=room)
        globe = np.array([-180.0, -90.0, 180.0, 90.0])
        cells = self._grown(_boxes(np.clip(bounds, globe[[0, 1, 0, 1]], globe[[2, 3, 2, 3]])))
        grown = shapely.bounds(cells)
        for index in np.flatnonzero((grown[:, :2] < globe[:2]).any(axis=1) | (grown[:, 2:] > globe[2:]).any(axis=1)):
            cells[index] = normalise_lonlat(shapely.intersection(cells[index], shapely.box(-540, -90, 540, 90)), label)
        return self._cut(cells, shp)

    def _pixel_cells(self, item: Located, *, room: int) -> npt.NDArray[np.float64]:
        sides = antimeridian_sides(item.degrees)
        west, south, east, north = item.degrees.bounds
        if len(sides) == 1 and max(east - west, north - south) < _STRAIGHT_DEGREES:
            return self._cells(item.label, [shape_of(item.pixels).bounds], room=room)
        try:
            extents = [projected_extent(side, item.pixels.projection) for side in sides]
        except GeometryError as error:
            raise named(error, item.label) from error
        return self._cells(item.label, extents, room=room)

    def _cells(self, label: str, extents: Sequence[Bounds], *, room: int) -> npt.NDArray[np.float64]:
        """Bounds of the cells that any of the extents touches, (N, 4); at most ``room`` of them."""
        size = self.grid_size
        spans = [(grid_indices(x0, x1, size), grid_indices(y0, y1, size)) for x0, y0, x1, y1 in extents]
        count = sum(len(columns) * len(rows) for columns, rows in spans)
        if count > room:
            raise GeometryError(
                f"A grid of size {size} has too many cells over this feature and those before it.",
                where=label,
                expected=f"at most {room:,} more",
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


class FixedWindowPartitioner(PartitionerBase):
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
        self.window_size = self.whole("window_size", window_size)

    def window_candidates(self, request_extents: PredictionRequestCollection) -> list[WindowCandidate]:
        """One square a feature, around its centroid. See the base for arguments and errors."""
        items = self.located(request_extents)
        centres = shapely.get_coordinates([_centre(item) for item in items])
        half = self.window_size / 2
        squares = _boxes(np.hstack([centres - half, centres + half]))
        return [
            (item.feature, STGeometry(item.pixels.projection, square, item.pixels.time_range))
            for item, square in zip(items, squares, strict=True)
        ]


class ChunkPartitioner(PartitionerBase):
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
        self.num_geometries_per_partition = self.whole("num_geometries_per_partition", num_geometries_per_partition)

    def partition_request_geometry(
        self, request_extents: PredictionRequestCollection
    ) -> list[PredictionRequestCollection]:
        """Features in order, ``num_geometries_per_partition`` to each. See the base for arguments and errors."""
        return _chunks(request_extents, self.num_geometries_per_partition)

    def window_candidates(self, request_extents: PredictionRequestCollection) -> list[WindowCandidate]:
        """One window a feature. See the base for arguments and errors."""
        return [_whole_window(item) for item in self.located(request_extents)]


class ReprojectionPartitioner(PartitionerBase):
    """One window a feature: its geometry, projected.

    Args:
        output_projection: Projection of the windows.
        use_utm: Take the UTM/UPS zone of each feature instead of the CRS of ``output_projection``.
        limit: Number of windows to keep of each partition.

    Raises:
        ConfigError: If an argument is wrong.
    """

    unsupported: ClassVar[dict[str, str]] = {"partition_request_geometry": _IN_PIXELS}

    def window_candidates(self, request_extents: PredictionRequestCollection) -> list[WindowCandidate]:
        """One window a feature. See the base for arguments and errors."""
        return [_whole_window(item) for item in self.located(request_extents)]


def _boxes(bounds: npt.NDArray[np.float64]) -> Shapes:
    return np.asarray(shapely.box(*bounds.T), dtype=object)


def _chunks(request: PredictionRequestCollection, size: int) -> list[PredictionRequestCollection]:
    features = [feature for feature in request.features if has_geometry(feature)]
    if len(features) == len(request.features) <= size and features:
        return [request]
    return [
        PredictionRequestCollection(type="FeatureCollection", features=features[start : start + size])
        for start in range(0, len(features), size)
    ]


def _cell_collection(feature: PredictionRequestFeature, cell: BaseGeometry) -> PredictionRequestCollection:
    if cell.is_empty:
        return PredictionRequestCollection(type="FeatureCollection", features=[])
    part = PredictionRequestFeature(
        type="Feature", geometry=mapping(cell), properties=feature.properties, id=feature.id, bbox=None
    )
    return PredictionRequestCollection(type="FeatureCollection", features=[part])


def _centre(item: Located) -> BaseGeometry:
    if len(antimeridian_sides(item.degrees)) == 1:
        return shape_of(item.pixels).centroid
    # A projection may have the two sides at its two ends, and the middle between them elsewhere.
    middle = unwrap_antimeridian(item.degrees).centroid
    there = shapely.Point(middle.x - 360 if middle.x > 180 else middle.x, middle.y)
    return shape_of(project(STGeometry(WGS84_PROJECTION, there, None), item.pixels.projection))


def _whole_window(item: Located) -> WindowCandidate:
    sides = antimeridian_sides(item.degrees)
    if len(sides) > 1:
        widths = [x1 - x0 for x0, _, x1, _ in (projected_extent(side, item.pixels.projection) for side in sides)]
        x0, _, x1, _ = shape_of(item.pixels).bounds
        if x1 - x0 > 2 * sum(widths) + 1:
            raise GeometryError(
                f"The feature lies on both sides of 180°, which are far apart in {item.pixels.projection.crs}.",
                where=item.label,
                expected="a feature that makes one window",
                fix="Set use_utm: true, or split it at 180° into two features.",
            )
    return item.feature, item.pixels
