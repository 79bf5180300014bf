"""Items of a local data source by place and time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import shapely
from rasterio.crs import CRS
from rslearn.config import QueryConfig
from rslearn.data_sources import Item
from rslearn.data_sources.utils import MatchedItemGroup, match_candidate_items_to_window
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry

__all__ = ["ItemIndex", "outline"]

ItemT = TypeVar("ItemT", bound=Item)

# Degrees by which boxes are wider than the shapes: an edge that is straight in a projection bends in WGS84.
_MARGIN = 0.1


class ItemIndex(Generic[ItemT]):
    """Finds the items at a place among many.

    Args:
        items: The items. Where several fit, the earlier goes first, unless the query asks for an order in time.
    """

    def __init__(self, items: Sequence[ItemT]) -> None:
        self.items = list(items)

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([_box(item.geometry) for item in self.items])

    def at(self, geometry: STGeometry) -> list[ItemT]:
        """Items that intersect a geometry in space and time, in their order."""
        near = np.sort(self._tree.query(_box(geometry)))
        return [self.items[index] for index in near if self.items[index].geometry.intersects(geometry)]

    def match(self, geometries: Sequence[STGeometry], query: QueryConfig) -> list[list[MatchedItemGroup[ItemT]]]:
        """For each geometry, the groups of items that a query asks for."""
        return [match_candidate_items_to_window(geometry, self.at(geometry), query) for geometry in geometries]


def _box(geometry: STGeometry) -> shapely.Geometry:
    """Boxes in WGS84 that hold a geometry, one on each side of the antimeridian if it crosses it."""
    shape = geometry.to_wgs84().shp
    parts = np.array([shape]) if shapely.is_empty(shape) else shapely.get_parts(shape)
    boxes = shapely.box(*(shapely.bounds(parts) + np.array([-_MARGIN, -_MARGIN, _MARGIN, _MARGIN])).T)
    return boxes[0] if len(boxes) == 1 else shapely.MultiPolygon(list(boxes))


def outline(crs: CRS, resolution: tuple[float, float], shape: shapely.Geometry) -> STGeometry:
    """A shape in pixels of a resolution as rslearn can compare it.

    rslearn takes two projections for one if their resolutions differ in nothing but the sign, so rows go southwards
    here as they do in windows; and one degree a pixel means longitude and latitude to it, whatever the sign.

    Args:
        crs: Coordinate reference system.
        resolution: Units of the CRS a pixel, in x and y.
        shape: The shape in such pixels.
    """
    x_resolution, y_resolution = abs(resolution[0]), -abs(resolution[1])
    if crs == WGS84_PROJECTION.crs and math.isclose(x_resolution, 1, rel_tol=1e-5):
        x_resolution, y_resolution = x_resolution / 2, y_resolution / 2
    factors = (resolution[0] / x_resolution, resolution[1] / y_resolution)
    if factors != (1, 1):
        shape = shapely.transform(shape, lambda points: points * factors)
    # One that is read from a file asks PROJ for its code each time it is written for a window (0.1 s); this one knows.
    known = CRS.from_string(crs.to_string())
    return STGeometry(Projection(known, x_resolution, y_resolution), shape, None)
