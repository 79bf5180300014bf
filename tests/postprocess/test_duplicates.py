from __future__ import annotations

import time
from unittest import mock

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.postprocess import duplicates
from olmoearth_nb.postprocess.duplicates import first_of_duplicates

POLYGONAL = ("Polygon", "MultiPolygon")


def all_pairs(shapes: list[BaseGeometry], min_iou: float, point_nearness: float) -> list[bool]:
    """The rule as it is written down: in order, compared with every one that was kept."""
    kept: list[int] = []
    for j, shp in enumerate(shapes):
        if not any(is_duplicate(shapes[i], shp, min_iou, point_nearness) for i in kept):
            kept.append(j)
    return [j in kept for j in range(len(shapes))]


def is_duplicate(first: BaseGeometry, second: BaseGeometry, min_iou: float, point_nearness: float) -> bool:
    if first.geom_type in POLYGONAL and second.geom_type in POLYGONAL:
        if not (first.is_valid and second.is_valid):
            return False
        union = first.union(second).area
        return union > 0 and first.intersection(second).area / union >= min_iou
    if first.geom_type == second.geom_type == "Point":
        return bool(first.distance(second) <= point_nearness)
    return first.geom_type == second.geom_type and bool(first.equals(second))


def boxes(draw: st.DrawFn) -> shapely.Polygon:
    x, y = draw(st.integers(-6, 6)), draw(st.integers(-6, 6))
    width, height = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    return shapely.box(x, y, x + width, y + height)


@st.composite
def geometries(draw: st.DrawFn) -> BaseGeometry:
    kind = draw(
        st.sampled_from(["box", "box", "box", "ell", "multi", "bowtie", "empty", "point", "point", "line", "mp"])
    )
    x, y = draw(st.integers(-3, 3)), draw(st.integers(-3, 3))
    match kind:
        case "box":
            return boxes(draw)
        case "ell":
            return boxes(draw).difference(shapely.box(x, y, x + 2, y + 2))
        case "multi":
            return shapely.MultiPolygon([shapely.box(x, y, x + 3, y + 3), shapely.box(x + 4, y, x + 6, y + 1)])
        case "bowtie":
            return shapely.Polygon([(x, y), (x + 2, y + 2), (x + 2, y), (x, y + 2)])
        case "empty":
            return shapely.Polygon()
        case "point":
            return shapely.Point(x / 2, y / 2)
        case "line":
            line = shapely.LineString([(0, 0), (x, y + 4), (5, 5)])
            return draw(st.sampled_from([line, line.reverse(), line.segmentize(1.0)]))
        case _:
            return shapely.MultiPoint([(x, y), (0, 0)])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(geometries(), max_size=24),
    st.sampled_from([0.05, 0.3, 0.5, 0.7, 0.75, 0.9, 1.0, 1.5]),
    st.sampled_from([-1.0, 0.0, 0.5, 1.0]),
    st.sampled_from([1, 2, 5, 512]),
)
def test_equals_the_comparison_of_all_pairs(
    shapes: list[BaseGeometry], min_iou: float, point_nearness: float, chunk: int
) -> None:
    with mock.patch.object(duplicates, "_CHUNK", chunk):
        kept = first_of_duplicates(shapes, min_iou=min_iou, point_nearness=point_nearness)
    assert kept.tolist() == all_pairs(shapes, min_iou, point_nearness)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.6, 0.8, 0.9, 0.97]))
def test_equals_the_comparison_of_all_pairs_for_blobs(seed: int, min_iou: float) -> None:
    rng = np.random.default_rng(seed)
    angles = np.linspace(0, 2 * np.pi, 9, endpoint=False)
    centres = rng.uniform(-0.004, 0.004, (60, 1, 2)) * rng.choice([0.05, 1.0], (60, 1, 1)) + [-70.3, -33.4]
    radii = 0.003 * rng.uniform(0.9, 1.0, (60, 9, 1))
    shapes = list(shapely.polygons(centres + radii * np.stack([np.cos(angles), np.sin(angles)], axis=-1)))
    with mock.patch.object(duplicates, "_CHUNK", 7):
        kept = first_of_duplicates(shapes, min_iou=min_iou, point_nearness=0.0)
    assert kept.tolist() == all_pairs(shapes, min_iou, 0.0)


def test_what_was_dropped_drops_nothing() -> None:
    # Each is near the one before it; the third is near the second only, which is gone.
    chain = [shapely.Point(x, -5) for x in (0.0, 0.9, 1.8, 2.7)]
    assert first_of_duplicates(chain, min_iou=0.9, point_nearness=1.0).tolist() == [True, False, True, False]


def test_threshold_is_reached_by_equality() -> None:
    halves = [shapely.box(0, 0, 4, 1), shapely.box(0, 0, 2, 1)]
    assert first_of_duplicates(halves, min_iou=0.5, point_nearness=0).tolist() == [True, False]
    assert first_of_duplicates(halves, min_iou=0.5000001, point_nearness=0).tolist() == [True, True]


def test_nothing_at_all() -> None:
    assert first_of_duplicates([], min_iou=0.9, point_nearness=0.1).tolist() == []


@pytest.mark.parametrize("kind", ["polygons", "points", "lines", "one polygon"])
def test_cost_does_not_grow_with_the_square(kind: str) -> None:
    # All pairs of these would take minutes to hours.
    rng = np.random.default_rng(3)
    n = 20_000
    places = rng.uniform(10, 11, (n, 2))
    match kind:
        case "polygons":
            shapes = list(shapely.box(*places.T, *(places + 0.004).T))
        case "points":
            shapes = list(shapely.points(places))
        case "lines":
            shapes = list(shapely.linestrings(np.stack([places, places + 1], axis=1)))
        case _:
            shapes = list(shapely.box(*(np.zeros((n, 2)) - 40).T, *(rng.uniform(0.999, 1, (n, 2)) - 40).T))
    start = time.process_time()
    kept = first_of_duplicates(shapes, min_iou=0.9, point_nearness=0.0001)
    assert time.process_time() - start < 40  # see benchmarks; all pairs take minutes
    assert kept[0]
    assert kept.sum() == 1 if kind == "one polygon" else kept.sum() > n / 2
