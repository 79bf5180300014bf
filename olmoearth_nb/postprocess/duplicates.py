"""Which geometries are duplicates of an earlier one, through spatial indexes.

The rule is greedy and in order: a geometry is dropped if it is a duplicate of an earlier one *that was kept*.
The result is that of comparing all pairs in order, at a cost that grows with the number of neighbours instead
of the number of geometries.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

__all__ = ["Flags", "Original", "first_of_duplicates", "originals_of"]

Ids: TypeAlias = npt.NDArray[np.intp]
Flags: TypeAlias = npt.NDArray[np.bool_]
Geometries: TypeAlias = npt.NDArray[np.object_]
Same: TypeAlias = Callable[[Ids, Ids], Flags]

# Members of a cluster are compared with its first one only once that is in the index of what is kept, so a
# chunk bounds the pairs that a cluster can have. 1,024 is slower with clusters, 128 with lone geometries.
_CHUNK = 512
# An IoU this close to the threshold is computed again from the union itself; areas of overlays of polygons
# of a metre (1e-5 degrees) are right to about 1e-8 of their size.
_CLOSE = 1e-4


@dataclass(frozen=True)
class Original:
    """What a geometry is a duplicate of.

    Attributes:
        index: Index of the earlier geometry.
        iou: Intersection over union of polygons; 1 for equal geometries, None for points.
        distance: Distance of points in degrees, None for others.
    """

    index: int
    iou: float | None = None
    distance: float | None = None


def originals_of(
    shapes: Sequence[BaseGeometry], kept: Flags, *, min_iou: float, point_nearness: float
) -> dict[int, Original]:
    """For each geometry that :func:`first_of_duplicates` drops, the first one for which it does.

    Args:
        shapes: Geometries in degrees, in order.
        kept: Which of them were kept, shape (N,).
        min_iou: As it was dropped by.
        point_nearness: As it was dropped by.

    Returns:
        Index of each geometry that was dropped -> what it is a duplicate of; without those that are no duplicates.
    """
    geometries = np.empty(len(shapes), dtype=object)
    geometries[:] = shapes
    there = np.flatnonzero(kept)
    tree = shapely.STRtree(geometries[there])
    reach = math.nextafter(max(point_nearness, 0.0) * (1 + 1e-9), math.inf)
    found = {}
    for index in np.flatnonzero(~np.asarray(kept)).tolist():
        near = np.sort(there[tree.query(geometries[index], predicate="dwithin", distance=reach)])
        candidates = (
            _original(geometries, earlier, index, point_nearness=point_nearness)
            for earlier in near[near < index].tolist()
        )
        # What an overlay rounds may lie a hair below the threshold that was reached.
        original = next((one for one in candidates if one and (one.iou is None or one.iou >= min_iou - 1e-9)), None)
        if original is not None:
            found[index] = original
    return found


def _original(geometries: Geometries, earlier: int, later: int, *, point_nearness: float) -> Original | None:
    first, second = geometries[earlier], geometries[later]
    kinds = {first.geom_type, second.geom_type}
    if kinds == {"Point"}:
        distance = float(shapely.distance(first, second))
        return Original(earlier, distance=distance) if distance <= point_nearness else None
    if kinds <= {"Polygon", "MultiPolygon"} and first.is_valid and second.is_valid:
        union = shapely.union(first, second).area
        return Original(earlier, iou=float(shapely.intersection(first, second).area / union)) if union else None
    return Original(earlier, iou=1.0) if len(kinds) == 1 and first.equals(second) else None


def first_of_duplicates(shapes: Sequence[BaseGeometry], *, min_iou: float, point_nearness: float) -> Flags:
    """Which geometries are kept.

    Valid polygons and multipolygons are compared with each other by their intersection over union, points by
    their distance, other geometries with those of their own type by equality of their point sets. An invalid
    polygon is no duplicate of anything.

    Args:
        shapes: Geometries in degrees, in order.
        min_iou: Polygons whose intersection over union reaches this are duplicates; above 0.
        point_nearness: Points that are this near, in degrees, are duplicates.

    Returns:
        Booleans of shape (N,), one a geometry.
    """
    geometries = np.empty(len(shapes), dtype=object)
    geometries[:] = shapes
    types = shapely.get_type_id(geometries)
    polygonal = np.isin(types, (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    points = types == shapely.GeometryType.POINT
    others = np.flatnonzero(~polygonal & ~points)

    kept = np.ones(len(geometries), dtype=bool)
    comparable = np.flatnonzero(polygonal & shapely.is_valid(geometries) & ~shapely.is_empty(geometries))
    kept[comparable] = _keep_first(_cores(geometries[comparable], min_iou), _same_area(geometries[comparable], min_iou))
    if point_nearness >= 0:
        near = np.flatnonzero(points & ~shapely.is_empty(geometries))
        places = geometries[near]
        kept[near] = _keep_first(places, _same_place(places, point_nearness), within=point_nearness)
    kept[others] = _keep_unequal(geometries[others], types[others])
    return kept


def _cores(geometries: Geometries, min_iou: float) -> Geometries:
    """Boxes of which two intersect if their polygons can reach an IoU, and that are as small as can be.

    With t the IoU wanted, A and B the areas: what only one of two polygons covers is at most (A + B)(1 - t) /
    (1 + t), and A is at most B / t. The first moments about a centroid differ by at most that area times the
    largest distance in it, so that the centroids are, on each axis, no further apart than k/(1 - k) times the
    larger of the distances R between centroid and outline, where k = (1 - t) / t.
    """
    bounds = shapely.bounds(geometries)
    k = max(0.0, 1 / min_iou - 1)
    if k < 0.5:
        centre = shapely.get_coordinates(shapely.centroid(geometries))
        reach = np.maximum(centre - bounds[:, :2], bounds[:, 2:] - centre)
        reach *= k / (1 - k) + _CLOSE
        bounds = np.hstack([centre - reach, centre + reach])
    return np.asarray(shapely.box(*bounds.T), dtype=object)


def _same_area(geometries: Geometries, min_iou: float) -> Same:
    area = shapely.area(geometries)
    bounds = shapely.bounds(geometries)

    def reaches(first: Ids, second: Ids) -> Flags:
        overlap = np.minimum(bounds[first, 2:], bounds[second, 2:]) - np.maximum(bounds[first, :2], bounds[second, :2])
        at_most = np.minimum(area[first], area[second])
        at_most = np.minimum(at_most, np.maximum(overlap, 0).prod(axis=1))
        # No overlay is needed where even the boxes or the sizes differ too much.
        candidates = at_most >= (min_iou - _CLOSE) * np.maximum(area[first], area[second])
        same = np.zeros(len(first), dtype=bool)
        same[candidates] = overlay(first[candidates], second[candidates])
        return same

    def overlay(first: Ids, second: Ids) -> Flags:
        intersection = shapely.area(shapely.intersection(geometries[first], geometries[second]))
        iou = intersection / (area[first] + area[second] - intersection)
        close = np.flatnonzero(np.abs(iou - min_iou) <= _CLOSE)
        union = shapely.area(shapely.union(geometries[first[close]], geometries[second[close]]))
        iou[close] = intersection[close] / union
        return np.asarray(iou >= min_iou)

    return reaches


def _same_place(geometries: Geometries, nearness: float) -> Same:
    def near(first: Ids, second: Ids) -> Flags:
        return np.asarray(shapely.distance(geometries[first], geometries[second]) <= nearness)

    return near


class _Kept:
    """An index that grows: trees over what is kept, each at least twice as large as the next."""

    def __init__(self, places: Geometries, within: float | None) -> None:
        self._places = places
        self._within = within
        self._trees: list[tuple[shapely.STRtree, Ids]] = []

    def add(self, ids: Ids) -> None:
        while self._trees and len(self._trees[-1][1]) < 2 * len(ids):
            ids = np.concatenate([self._trees.pop()[1], ids])
        if len(ids):
            self._trees.append((shapely.STRtree(self._places[ids]), ids))

    def duplicates(self, ids: Ids, same: Same) -> Flags:
        found = np.zeros(len(ids), dtype=bool)
        for tree, kept in self._trees:
            todo = np.flatnonzero(~found)
            probe, hit = _neighbours(tree, self._places[ids[todo]], self._within)
            probe = todo[probe]
            found[probe[same(kept[hit], ids[probe])]] = True
        return found


def _neighbours(tree: shapely.STRtree, places: Geometries, within: float | None) -> tuple[Ids, Ids]:
    if within is None:
        probe, hit = tree.query(places)
    else:
        # A hair more than asked for: the exact distance decides.
        probe, hit = tree.query(places, predicate="dwithin", distance=math.nextafter(within * (1 + 1e-9), math.inf))
    return probe, hit


def _keep_first(places: Geometries, same: Same, *, within: float | None = None) -> Flags:
    index = _Kept(places, within)
    kept = np.zeros(len(places), dtype=bool)
    for start in range(0, len(places), _CHUNK):
        chunk = np.arange(start, min(start + _CHUNK, len(places)))
        chunk = chunk[~index.duplicates(chunk, same)]
        chunk = chunk[_keep_first_of_few(places[chunk], chunk, same, within)]
        kept[chunk] = True
        index.add(chunk)
    return kept


def _keep_first_of_few(places: Geometries, ids: Ids, same: Same, within: float | None) -> Flags:
    """The greedy rule among a few: what waits for no earlier neighbour is kept, and tested against later ones."""
    kept = np.zeros(len(ids), dtype=bool)
    open_ = np.ones(len(ids), dtype=bool)
    earlier, later = _neighbours(shapely.STRtree(places), places, within)
    in_order = earlier < later
    earlier, later = earlier[in_order], later[in_order]
    while open_.any():
        ready = open_.copy()
        ready[later] = False
        kept |= ready
        open_ &= ~ready
        tested = ready[earlier]
        first, second = earlier[tested], later[tested]
        open_[second[same(ids[first], ids[second])]] = False
        pending = open_[earlier] & open_[later]
        earlier, later = earlier[pending], later[pending]
    return kept


def _keep_unequal(geometries: Geometries, types: npt.NDArray[np.integer]) -> Flags:
    kept = np.ones(len(geometries), dtype=bool)
    # Equal point sets have equal bounds, so only geometries with the same bounds are compared.
    seen: dict[tuple[float, ...], list[int]] = {}
    for index, (geometry, kind, bounds) in enumerate(zip(geometries, types, shapely.bounds(geometries), strict=True)):
        key = (float(kind),) if geometry.is_empty else (float(kind), *bounds.tolist())
        alike = seen.setdefault(key, [])
        if shapely.equals(geometries[alike], geometry).any():
            kept[index] = False
        else:
            alike.append(index)
    return kept
