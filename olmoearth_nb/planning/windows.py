"""Sifts the windows that a partitioner made: what touches the request, what a mask accepts, which are the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from rslearn.utils.geometry import Projection, STGeometry

from olmoearth_nb.errors import GeometryError, UsageError
from olmoearth_nb.geometry import Shapes, pixel_boxes, shape_array, windows_touching
from olmoearth_nb.many import distinct
from olmoearth_nb.types import PixelBounds, TimeRange, shape_of

__all__ = ["Candidates", "Extent", "Sifted", "WindowFilter", "sift"]

WindowFilter: TypeAlias = Callable[[list[tuple[Projection, PixelBounds]]], npt.ArrayLike]
"""Which windows to make, all at once: projection and bounds of each -> as many booleans."""

Extent: TypeAlias = tuple[Projection, TimeRange | None, PixelBounds]
"""What makes two windows the same."""

# At some 2 kB each more would fill the memory.
MAX_WINDOWS = 4_000_000

# In pixels; a point goes from degrees to pixels and back with an error of some 1e-8 of 10 m.
_PROJECTING_ERROR = 1e-4


@dataclass
class Candidates:
    """Windows as a partitioner gave them, column by column.

    Attributes:
        partition: Index of the partition of each.
        feature: Index of the feature that it is for, among those of the partition.
        geometry: Its extent in pixels.
        max_windows: Most windows of all partitions together.
    """

    max_windows: int = MAX_WINDOWS
    partition: list[int] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    geometry: list[STGeometry] = field(default_factory=list)

    def add(self, partition: int, windows: Sequence[tuple[int, STGeometry]]) -> None:
        """Appends the windows of a partition.

        Args:
            partition: Its index.
            windows: Index of the feature and extent of each.

        Raises:
            GeometryError: If there are too many of them.
        """
        if len(self.geometry) + len(windows) > self.max_windows:
            raise GeometryError(
                f"The request gives more than {self.max_windows:,} windows.",
                where=f"partition_{partition}",
                fix="Make windows larger (grid_size of prepare_window_geometries), or split the request.",
            )
        self.partition += [partition] * len(windows)
        self.feature += [index for index, _ in windows]
        self.geometry += [geometry for _, geometry in windows]


@dataclass(frozen=True, kw_only=True)
class Sifted:
    """Candidates that are left, and which of them are the same window.

    Attributes:
        candidates: Indices of those that are left, in order.
        window: For each of these its window, an index into ``extents``.
        extents: The distinct windows.
        empty: Number of candidates without extent.
        beside_request: Number of those that don't touch the request.
        masked: Number of those that the filter refused.
    """

    candidates: list[int]
    window: list[int]
    extents: list[Extent]
    empty: int
    beside_request: int
    masked: int


def sift(candidates: Candidates, area: Shapes, accept: WindowFilter | None) -> Sifted:
    """Leaves out what is empty, beside the request or refused, and finds out which windows are the same.

    Args:
        candidates: All windows of all partitions.
        area: Geometries of the request in degrees, valid.
        accept: Further condition, asked once for the distinct windows.

    Raises:
        GeometryError: If a window has infinite bounds.
        UsageError: If ``accept`` gives something else than a boolean a window.
    """
    shapes = shape_array([shape_of(geometry) for geometry in candidates.geometry])
    projections, places = distinct([one.projection for one in candidates.geometry], _projection_key)
    projection_of = np.array(places, dtype=np.int64)
    times, places = distinct([one.time_range for one in candidates.geometry])
    time_of = np.array(places, dtype=np.int64)
    solid = np.flatnonzero(~shapely.is_empty(shapes))
    bounds = shapely.bounds(shapes)
    _check_finite(solid, bounds, candidates)
    boxes = np.zeros(bounds.shape, dtype=np.int64)
    boxes[solid] = pixel_boxes(bounds[solid])
    touching = np.zeros(len(shapes), dtype=bool)
    for index, projection in enumerate(projections):
        members = solid[projection_of[solid] == index]
        touching[members] = windows_touching(projection, _reach(bounds[members], boxes[members]), area)
    left = np.flatnonzero(touching)
    rows = np.column_stack([projection_of[left], time_of[left], boxes[left]])
    unique, window = np.unique(rows, axis=0, return_inverse=True)
    extents = [(projections[p], times[t], (x0, y0, x1, y1)) for p, t, x0, y0, x1, y1 in unique.tolist()]
    accepted = _accepted(extents, accept)[window.reshape(-1)]
    return Sifted(
        candidates=left[accepted].tolist(),
        window=window.reshape(-1)[accepted].tolist(),
        extents=extents,
        empty=len(shapes) - len(solid),
        beside_request=len(solid) - len(left),
        masked=int((~accepted).sum()),
    )


def _reach(bounds: npt.NDArray[np.float64], boxes: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """What may touch the request: extents before and after rounding, and what rounding errors of projecting take."""
    low, high = np.minimum(bounds, boxes)[:, :2], np.maximum(bounds, boxes)[:, 2:]
    return np.hstack([low - _PROJECTING_ERROR, high + _PROJECTING_ERROR])


def _projection_key(projection: Projection) -> Hashable:
    # Hashing a Projection costs 12 µs, this half a microsecond.
    return projection.crs.to_string(), projection.x_resolution, projection.y_resolution


def _check_finite(solid: npt.NDArray[np.int64], bounds: npt.NDArray[np.float64], candidates: Candidates) -> None:
    wrong = solid[~np.isfinite(bounds[solid]).all(axis=1)]
    if len(wrong):
        index = wrong[0]
        raise GeometryError(
            "A window has infinite bounds.",
            where=f"partition_{candidates.partition[index]}, features[{candidates.feature[index]}]",
            found=str(tuple(bounds[index].tolist())),
            fix="The feature lies outside of the domain of output_projection: choose another one, or use_utm: true.",
        )


def _accepted(extents: list[Extent], accept: WindowFilter | None) -> npt.NDArray[np.bool_]:
    if accept is None or not extents:
        return np.ones(len(extents), dtype=bool)
    accepted = np.asarray(accept([(projection, bounds) for projection, _, bounds in extents]))
    if accepted.shape != (len(extents),) or accepted.dtype != bool:
        raise UsageError(
            "The filter of windows gave something else.",
            expected=f"{len(extents)} booleans",
            found=f"an array of shape {accepted.shape} and type {accepted.dtype}",
        )
    return accepted
