"""Items of a local data source by place and time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import shapely
from rslearn.config import QueryConfig
from rslearn.data_sources import Item
from rslearn.data_sources.utils import MatchedItemGroup, match_candidate_items_to_window
from rslearn.utils.geometry import STGeometry

__all__ = ["ItemIndex"]

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
