"""Pairs that share ground against all pairs, by plain geometry."""

from __future__ import annotations

import itertools
import math
import tempfile
from pathlib import Path

import numpy as np
import rasterio.warp
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_labels import LAT, LON, Planted

from olmoearth_nb.globe import utm_projection_for
from olmoearth_nb.labels.report.overlaps import overlapping_pairs

# Degrees of about ten metres in the middle of a zone.
EAST, NORTH = 10 / 71_687.0, 10 / 111_229.0


def box(x: int, y: int, width: int, height: int) -> shapely.Polygon:
    return shapely.box(LON + x * EAST, LAT + y * NORTH, LON + (x + width) * EAST, LAT + (y + height) * NORTH)


BOXES = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(2, 12), st.integers(2, 12))
POINTS = st.tuples(st.integers(0, 12), st.integers(0, 12))


@given(boxes=st.lists(BOXES, max_size=12), points=st.lists(POINTS, max_size=12))
@settings(max_examples=40, deadline=None)
def test_pairs_are_those_of_all_pairs(boxes: list[tuple[int, int, int, int]], points: list[tuple[int, int]]) -> None:
    planted = Planted()
    planted.task(0, shape=box(-10, -10, 100, 100))
    shapes = [box(*one) for one in boxes]
    # Points a third of a pixel apart, off any edge.
    shapes += [shapely.Point(LON + (x / 3 + 0.1) * EAST, LAT + (y / 3 + 0.1) * NORTH) for x, y in points]
    for shape in shapes:
        planted.label(0, 1, shape)
    if not shapes:
        return
    with tempfile.TemporaryDirectory() as folder:
        pairs = overlapping_pairs(planted.read(Path(folder)))
    found = set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))

    def pixel(point: shapely.Point) -> tuple[int, int]:
        crs = utm_projection_for(point, 10, -10).crs
        moved = np.array(rasterio.warp.transform("EPSG:4326", crs, [point.x], [point.y]))[:2, 0]
        return math.floor(moved[0] / 10), math.floor(moved[1] / -10)

    expected, optional = set(), set()
    for (i, one), (j, other) in itertools.combinations(enumerate(shapes), 2):
        kinds = {one.geom_type, other.geom_type}
        if kinds == {"Polygon"}:
            left, right = boxes[i], boxes[j]
            width = min(left[0] + left[2], right[0] + right[2]) - max(left[0], right[0])
            height = min(left[1] + left[3], right[1] + right[3]) - max(left[1], right[1])
            if width > 0 and height > 0:
                # A single pixel may be a hair smaller than one.
                (optional if width * height == 1 else expected).add((i, j))
        elif kinds == {"Point"}:
            if pixel(one) == pixel(other):
                # Of several in a pixel only the first and the next are told.
                optional.add((i, j))
        elif one.contains(other):
            expected.add((i, j))
    assert expected <= found <= expected | optional
    # Every point that shares its pixel is in a pair.
    alone = {i for pair in optional for i in pair if shapes[i].geom_type == "Point"}
    assert alone <= {i for pair in found for i in pair}
