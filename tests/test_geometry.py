from __future__ import annotations

import math
import random

import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from requests_of import TEN_METRES
from rslearn.utils.geometry import Projection, STGeometry
from rslearn.utils.get_utm_ups_crs import get_utm_ups_crs
from shapely import LineString, MultiPolygon, Point, Polygon, box

from olmoearth_nb.errors import GeometryError
from olmoearth_nb.geometry import (
    WGS84_PROJECTION,
    footprints_touching,
    grid_indices,
    pixel_bounds,
    pixel_boxes,
    project,
    project_all,
    projected_extent,
    utm_projection_for,
    utm_ups_crs,
    valid_shapes,
    wgs84_outlines,
    windows_touching,
)
from olmoearth_nb.types import shape_of

UTM37 = Projection(CRS.from_epsg(32637), 10, -10)
UPS_NORTH = Projection(CRS.from_epsg(5041), 10, -10)

# ---- zones ---------------------------------------------------------------------------------------------------------

_BORDERS = [
    (-180, 10),
    (180, 10),
    (180, -10),
    (0, 0),
    (-120, 45),
    (-120, -45),
    (6, 60.5),  # Norway: no exception for zone 32 here
    (9, 78),  # nor for Svalbard
    (21, 78),
    (179.999999, 0),
    (-1e-9, 1e-9),
    (3, -1e-9),
    (174, -80 + 1e-4),
    (33, 84 - 1e-4),
    (33, 84),
    (33, -80),
    (33, 90),
    (33, -90),
]


def _places() -> list[tuple[float, float]]:
    rng = random.Random(7)
    return [*_BORDERS, *((rng.uniform(-180, 180), rng.uniform(-82, 86)) for _ in range(30))]


def test_zones_are_those_of_rslearn() -> None:
    wrong = [(lon, lat) for lon, lat in _places() if utm_ups_crs(lon, lat) != get_utm_ups_crs(lon, lat)]
    assert wrong == []


@pytest.mark.parametrize(
    ("lon", "lat", "epsg"),
    [(-120, 45, 32610), (0, 0, 32630), (180, 1, 32660), (-180, 1, 32601), (36.8, -1.3, 32737), (10, 85, 5041),
     (10, -85, 5042)],
)  # fmt: skip
def test_zones_by_number(lon: float, lat: float, epsg: int) -> None:
    assert utm_ups_crs(lon, lat).to_epsg() == epsg


@pytest.mark.parametrize(("lon", "lat"), [(181, 0), (0, 91), (math.nan, 0), (0, math.inf)])
def test_no_zone_off_the_globe(lon: float, lat: float) -> None:
    with pytest.raises(GeometryError, match="not on the globe"):
        utm_ups_crs(lon, lat)


@pytest.mark.parametrize(
    "shp",
    [
        MultiPolygon([box(179.8, -17, 180, -16), box(-180, -17, -179.9, -16)]),
        box(179.8, -17, 180.1, -16),
        Polygon([(179.8, -17), (-179.9, -17), (-179.9, -16), (179.8, -16)]),
    ],
    ids=["cut", "beyond 180", "jump"],
)
def test_zone_of_a_centroid_near_the_antimeridian(shp: shapely.Geometry) -> None:
    # The centroid is 179.95° E: the naive one of the cut polygon lies in the middle of Africa.
    assert utm_projection_for(shp, 10, -10).crs.to_epsg() == 32760


def test_zone_keeps_the_type_of_the_resolution() -> None:
    # Names of windows are hashes of texts, and 10 and 10.0 are different texts.
    assert repr(utm_projection_for(Point(37, 1), 10, -10).x_resolution) == "10"
    assert repr(utm_projection_for(Point(37, 1), 10.0, -10.0).x_resolution) == "10.0"


def test_an_empty_geometry_has_no_zone() -> None:
    with pytest.raises(GeometryError, match="empty geometry"):
        utm_projection_for(Polygon(), 10, -10)


# ---- projecting ----------------------------------------------------------------------------------------------------


def _wgs84(shp: shapely.Geometry) -> STGeometry:
    return STGeometry(WGS84_PROJECTION, shp, None)


@pytest.mark.parametrize(
    "shp",
    [
        Point(36.8, -1.3),
        LineString([(36.8, -1.3), (37.1, 0.1)]),
        box(36.8, -1.3, 37.9, -0.4),
        Polygon([(36, 0), (37, 1), (37, 0), (36, 1)]),
        shapely.GeometryCollection([Point(36.8, 0.3), box(37, 1, 37.1, 1.1)]),
    ],
    ids=lambda shp: shp.geom_type,
)
def test_projecting_is_rslearns_to_the_last_bit(shp: shapely.Geometry) -> None:
    for projection in (UTM37, TEN_METRES, WGS84_PROJECTION):
        assert shape_of(project(_wgs84(shp), projection)).wkt == _wgs84(shp).to_projection(projection).shp.wkt


def test_projecting_all_is_projecting_each() -> None:
    rng = np.random.default_rng(3)
    shapes = [Point(*xy) for xy in rng.uniform([20, -60], [50, 60], (40, 2))]
    targets = [(UTM37, TEN_METRES, WGS84_PROJECTION)[index % 3] for index in range(40)]
    together = project_all([_wgs84(shp) for shp in shapes], targets)
    assert [shape_of(one).wkt for one in together] == [
        shape_of(project(_wgs84(shp), target)).wkt for shp, target in zip(shapes, targets, strict=True)
    ]


def test_projecting_from_pixels() -> None:
    there = project(STGeometry(UTM37, box(60_000, -10_000, 60_010, -9_990), None), WGS84_PROJECTION)
    assert shape_of(there).centroid.x == pytest.approx(39.8986, abs=1e-3)
    assert shape_of(there).centroid.y == pytest.approx(0.9039, abs=1e-3)


def test_long_edges_follow_the_globe() -> None:
    # The parallel of 60° N from 19° to 59° E, in the zone in its middle, is a curve.
    line = shape_of(project(_wgs84(LineString([(19, 60), (59, 60)])), UTM37))
    middle = shape_of(project(_wgs84(Point(39, 60)), UTM37))
    assert line.distance(middle) < 100  # pixels of 10 m; of the straight line it is 16,943


def test_a_polar_cap_is_a_disc() -> None:
    cap = shape_of(project(_wgs84(box(-180, 88, 180, 90)), UPS_NORTH))
    pole = Point(200_000, -200_000)
    radius = 22_200.0  # two degrees at the scale of UPS, 0.994, in pixels of 10 m
    assert cap.is_valid
    assert cap.area == pytest.approx(math.pi * radius**2, rel=0.01)
    assert cap.contains(pole)


def test_an_empty_geometry_stays_empty() -> None:
    assert shape_of(project(_wgs84(Polygon()), UTM37)).is_empty


@pytest.mark.parametrize("lat", [91, -90.5, math.nan])
def test_what_can_not_be_projected_is_an_error(lat: float) -> None:
    with pytest.raises(GeometryError, match=r"not on the globe|can't be projected"):
        project(_wgs84(Point(37, lat)), UTM37)


def test_the_other_pole_is_outside_of_the_domain() -> None:
    with pytest.raises(GeometryError, match=r"EPSG:5041.*use_utm"):
        project(_wgs84(Point(0, -90)), UPS_NORTH)


def test_extent_includes_the_bulge_of_an_edge() -> None:
    cell = box(38, 45, 40, 46)  # around the central meridian of 39°
    x0, y0, x1, y1 = projected_extent(cell, UTM37)
    corners = shape_of(_wgs84(cell).to_projection(UTM37)).bounds
    # y grows southwards: the southern edge bulges to higher y, by R/2·sin φ·cos φ·(Δλ/2)²: 485 m.
    assert y1 - corners[3] == pytest.approx(48.5, rel=0.05)
    assert (x0, x1) == pytest.approx((corners[0], corners[2]), abs=1e-6)
    assert y0 == pytest.approx(corners[1], abs=1e-6)


def test_extent_in_degrees_is_the_bounds_in_pixels() -> None:
    tenth = Projection(WGS84_PROJECTION.crs, 0.1, -0.1)
    assert projected_extent(box(1, 2, 3, 5), tenth) == pytest.approx((10, -50, 30, -20))


def test_self_intersecting_shapes_are_made_valid() -> None:
    bow = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    fixed = valid_shapes(np.array([bow, box(0, 0, 1, 1)], dtype=object))
    assert fixed[0].is_valid
    assert fixed[0].area == 2
    assert not bow.is_valid
    assert fixed[1].equals(box(0, 0, 1, 1))


# ---- pixel bounds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shp", "bounds"),
    [
        (box(-3.4, 1.5, 2.6, 7.5), (-3, 2, 3, 8)),
        (box(-0.6, -0.6, 0.4, 0.4), (-1, -1, 0, 0)),  # cut towards zero it would be empty
        (Point(4.9, -0.1), (4, -1, 5, 0)),
        (Point(-3, -3), (-3, -3, -2, -2)),
        (box(10.6, 0, 10.9, 5), (10, 0, 11, 5)),
        (box(10.6, 0, 11.3, 5), (10, 0, 11, 5)),
        (LineString([(0.2, 7.7), (9.8, 7.7)]), (0, 7, 10, 8)),
    ],
)
def test_pixel_bounds(shp: shapely.Geometry, bounds: tuple[int, ...]) -> None:
    assert pixel_bounds(shp) == bounds


@pytest.mark.parametrize("shp", [Polygon(), Point(np.nan, 1)])
def test_no_bounds_without_extent(shp: shapely.Geometry) -> None:
    with pytest.raises(GeometryError, match="empty or not finite"):
        pixel_bounds(shp)


@settings(derandomize=True, max_examples=100)
@given(st.integers(-(10**6) * 4, 10**6 * 4), st.integers(-(10**6) * 4, 10**6 * 4), st.integers(1, 300))
def test_a_square_stays_a_square(x: int, y: int, size: int) -> None:
    # Centres at quarters of pixels, halves included, which rounding to even would make larger or smaller.
    half = size / 2
    x0, y0, x1, y1 = pixel_boxes(np.array([[x / 4 - half, y / 4 - half, x / 4 + half, y / 4 + half]]))[0]
    assert (x1 - x0, y1 - y0) == (size, size)
    assert abs((x0 + x1) / 2 - x / 4) <= 0.5


# ---- grid ----------------------------------------------------------------------------------------------------------

_sizes = st.one_of(st.sampled_from([0.1, 0.3, 0.7, 1 / 3, 1.0, 64.0, 102.4]), st.floats(0.01, 500))
_values = st.floats(-1000, 1000)


@settings(derandomize=True, max_examples=300)
@given(_values, st.floats(0, 100), _sizes)
@example(0.3, 0.3, 0.1)
@example(0.7, 0.0, 0.1)
@example(-0.3, 0.3, 0.1)
@example(0.1, 0.1, 0.1)
def test_grid_cells_cover_an_interval_and_no_more(low: float, extent: float, size: float) -> None:
    high = low + extent
    cells = grid_indices(low, high, size)
    slack = 2e-9 * size
    assert cells.start * size <= low + slack
    assert cells.stop * size >= high - slack
    assert (cells.start + 1) * size > low - slack
    if len(cells) > 1:
        assert (cells.stop - 1) * size < high + slack


@settings(derandomize=True, max_examples=300)
@given(_values, _sizes)
@example(-121036.80000000002, 102.4)  # the floor of the quotient is one too high,
@example(-344268.80000000005, 102.4)  # one too low
def test_a_point_lies_in_its_cell_exactly(value: float, size: float) -> None:
    (index,) = grid_indices(value, value, size)
    assert index * size <= value < (index + 1) * size


@pytest.mark.parametrize(
    ("low", "high", "size", "cells"),
    [
        (0.0, 1.0, 1.0, [0]),
        (-1.0, 1.0, 1.0, [-1, 0]),
        (-0.5, 2.0, 1.0, [-1, 0, 1]),
        (2.0, 2.0, 1.0, [2]),
        (-2.0, -2.0, 1.0, [-2]),
        (0.3, 0.6, 0.1, [3, 4, 5]),  # 3 * 0.1 > 0.3: no sliver of cell 2
        (0.7, 0.8, 0.1, [7]),
        (0.0, 0.8999999999999999, 0.1, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
    ],
)
def test_grid_indices(low: float, high: float, size: float, cells: list[int]) -> None:
    assert list(grid_indices(low, high, size)) == cells


# ---- footprints ----------------------------------------------------------------------------------------------------


def test_outlines_are_where_the_windows_are() -> None:
    (outline,) = wgs84_outlines(UTM37, np.array([[30_000, -100, 30_128, 28]]))
    expected = STGeometry(UTM37, box(30_000, -100, 30_128, 28), None).to_projection(WGS84_PROJECTION).shp
    assert shapely.hausdorff_distance(outline, expected) < 1e-9


def test_outline_across_the_antimeridian_goes_on() -> None:
    utm60 = utm_projection_for(Point(179.99, -17), 10, -10)
    x0, y0, _, _ = pixel_bounds(shape_of(project(_wgs84(Point(179.999, -17)), utm60)))
    (outline,) = wgs84_outlines(utm60, np.array([[x0, y0, x0 + 100, y0 + 100]]))
    assert 179.99 < outline.bounds[0] < 180 < outline.bounds[2] < 180.02


def test_footprints_touching_around_the_antimeridian() -> None:
    outlines = np.array([box(179.9, 0, 180.1, 1), box(178, 0, 179, 1), box(-180, 0, -179.8, 1), Polygon()])
    for area in (box(-180, 0, -179.95, 1), box(180, 0, 180.05, 1)):
        assert footprints_touching(outlines, [area]).tolist() == [True, False, True, False]
    assert footprints_touching(outlines, [box(178.5, 0.5, 178.6, 0.6), Polygon()]).tolist() == [
        False,
        True,
        False,
        False,
    ]


def test_footprints_of_nothing() -> None:
    outlines = np.array([box(0, 0, 1, 1), shapely.Point(np.inf, np.inf)], dtype=object)
    assert footprints_touching(outlines, []).tolist() == [False, False]
    assert footprints_touching(outlines, [box(0, 0, 90, 90)]).tolist() == [True, False]
    assert footprints_touching(np.array([], dtype=object), [box(0, 0, 1, 1)]).tolist() == []


def test_edges_and_corners_touch() -> None:
    outlines = np.array([box(0, 0, 1, 1), box(1, 1, 2, 2), box(2, 0, 3, 1)])
    assert footprints_touching(outlines, [Point(1, 1)]).tolist() == [True, True, False]


def test_windows_around_the_pole() -> None:
    # Pixel (200000, -200000) is the pole.
    place = shape_of(project(_wgs84(Point(45, 88.5)), UPS_NORTH))
    boxes = np.array(
        [[199_990, -200_010, 200_010, -199_990], [place.x - 5, place.y - 5, place.x + 5, place.y + 5]], dtype=float
    )
    assert windows_touching(UPS_NORTH, boxes, [Point(45, 88.5)]).tolist() == [False, True]
    assert windows_touching(UPS_NORTH, boxes, [box(-180, 89, 180, 90)]).tolist() == [True, False]
    assert windows_touching(UPS_NORTH, boxes, [box(44, 88, 46, 90)]).tolist() == [True, True]
    # Eleven metres from the pole, and so in the square of 200 m around it, whose corners in degrees span nothing.
    assert windows_touching(UPS_NORTH, boxes, [Point(0, 89.9999)]).tolist() == [True, False]
    assert windows_touching(UPS_NORTH, boxes, [box(44, -90, 46, -88)]).tolist() == [False, False]


def test_windows_in_degrees() -> None:
    tenth = Projection(WGS84_PROJECTION.crs, 0.1, -0.1)
    boxes = np.array([[0, 0, 10, 10], [895, -900, 905, -890]], dtype=float)
    assert windows_touching(tenth, boxes, [box(0.5, -0.5, 0.6, -0.4)]).tolist() == [True, False]
    assert windows_touching(tenth, boxes, [Point(90, 89.5)]).tolist() == [False, True]


def test_the_zone_of_a_bow_tie_is_where_it_is() -> None:
    # Its halves cancel out but for a hair, and GEOS computes a centroid 3 million degrees away.
    tie = Polygon([(10.1, 50), (10.101, 50.0010000000001), (10.101, 50), (10.1, 50.001)])
    assert abs(tie.centroid.x) > 180
    assert utm_projection_for(tie, 10, -10).crs == CRS.from_epsg(32632)
