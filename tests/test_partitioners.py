from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from requests_of import GOLDEN, TEN_METRES, UTM, request_of, shapes_of
from rslearn.utils.geometry import WGS84_PROJECTION, Projection
from shapely import LineString, MultiPolygon, Point, Polygon, box
from shapely.geometry.base import BaseGeometry

from olmoearth_nb import partitioners
from olmoearth_nb.errors import ConfigError, GeometryError, InputFileError, UnsupportedError
from olmoearth_nb.geojson import PredictionRequestCollection
from olmoearth_nb.partitioners import (
    ChunkPartitioner,
    FixedWindowPartitioner,
    GridPartitioner,
    NoopPartitioner,
    ReprojectionPartitioner,
)
from olmoearth_nb.planning import window_name
from olmoearth_nb.protocols import Partitioner
from olmoearth_nb.types import shape_of

ALL: dict[type, dict[str, Any]] = {
    NoopPartitioner: {},
    GridPartitioner: {"grid_size": 1.0},
    FixedWindowPartitioner: {"window_size": 64},
    ChunkPartitioner: {"num_geometries_per_partition": 2},
    ReprojectionPartitioner: {},
}
PER_PIXEL = {"output_projection": Projection(CRS.from_epsg(3857), 1, -1)}
FIJI = MultiPolygon([box(179.9, -17, 180, -16.9), box(-180, -17, -179.9, -16.9)])
NOT_CUT = {
    "cut": FIJI,
    "beyond 180": box(179.9, -17, 180.1, -16.9),
    "jump": Polygon([(179.9, -17), (-179.9, -17), (-179.9, -16.9), (179.9, -16.9)]),
}


def degree_cells(request: PredictionRequestCollection, *args: Any, **kwargs: Any) -> list[tuple[float, ...]]:
    """Bounds of the partitions of a GridPartitioner."""
    partitions = GridPartitioner(*args, **kwargs).partition_request_geometry(request)
    return [shp.bounds for part in partitions for shp in shapes_of(part)]


def windows(partitioner: Any, *shapes: BaseGeometry | None) -> list[BaseGeometry]:
    """Extents in pixels of the windows of a partition."""
    return [shape_of(geometry) for _, geometry in partitioner.prepare_window_geometries(request_of(*shapes))]


# ---- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_common_arguments(cls: type) -> None:
    one = cls(**ALL[cls], output_projection=TEN_METRES, use_utm=True, limit=3)
    assert isinstance(one, Partitioner)
    assert (one.output_projection, one.use_utm, one.limit) == (TEN_METRES, True, 3)
    default = cls(**ALL[cls])
    assert (default.output_projection, default.use_utm, default.limit) == (WGS84_PROJECTION, False, None)
    assert repr(default).startswith(f"{cls.__name__}(")


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("limit", 0, "whole number of at least 1; found 0"),
        ("limit", -1, "at least 1"),
        ("limit", 1.5, "whole number"),
        ("limit", "3", "found '3'"),
        ("limit", True, "found True"),
        ("use_utm", "yes", "true or false; found 'yes'"),
        ("output_projection", "EPSG:3857", "rslearn Projection; found 'EPSG:3857'"),
        ("output_projection", Projection(CRS.from_epsg(3857), 0, -1), "not 0; found 0"),
    ],
)
def test_wrong_common_arguments(cls: type, name: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"{cls.__name__}\.{name}.*{expected}"):
        cls(**ALL[cls], **{name: value})


@pytest.mark.parametrize(
    ("cls", "name", "value", "expected"),
    [
        *((GridPartitioner, "grid_size", bad, "above 0") for bad in (0, -1.0, math.inf, math.nan, "1", True, None)),
        *((GridPartitioner, "overlap_size", bad, "at least 0") for bad in (-1, math.inf, "1", False)),
        (GridPartitioner, "clip", 1, "true or false"),
        *((FixedWindowPartitioner, "window_size", bad, "at least 1") for bad in (0, -64, 64.5, math.nan, "64")),
        *((ChunkPartitioner, "num_geometries_per_partition", bad, "at least 1") for bad in (0, -1, 2.5, "2")),
    ],
)  # fmt: skip
def test_wrong_arguments(cls: type, name: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigError, match=rf"{cls.__name__}\.{name}.*{expected}") as caught:
        cls(**(ALL[cls] | {name: value}))
    assert caught.value.found == repr(value)


def test_arguments_as_yaml_has_them() -> None:
    assert GridPartitioner(64, None).overlap_size == 0
    assert FixedWindowPartitioner(128.0).window_size == 128


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_what_a_class_does_not_do(cls: type) -> None:
    one, request = cls(**ALL[cls]), request_of(box(0, 0, 1, 1))
    for method in ("partition_request_geometry", "prepare_window_geometries"):
        if method in cls.unsupported:
            with pytest.raises(UnsupportedError) as caught:
                getattr(one, method)(request)
            assert cls.unsupported[method] in str(caught.value)
        else:
            assert len(getattr(one, method)(request)) == 1
    assert {name: set(cls.unsupported) for cls, name in [(cls, cls.__name__)]}[cls.__name__] == {
        NoopPartitioner: {"prepare_window_geometries"},
        FixedWindowPartitioner: {"partition_request_geometry"},
        ReprojectionPartitioner: {"partition_request_geometry"},
    }.get(cls, set())


# ---- features that are not there -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_", [request_of(), request_of(None), request_of(Polygon())], ids=["none", "null", "empty"]
)
def test_nothing_gives_nothing(request_: PredictionRequestCollection) -> None:
    for cls in (NoopPartitioner, GridPartitioner, ChunkPartitioner):
        assert cls(**ALL[cls]).partition_request_geometry(request_) == []
    for cls in (GridPartitioner, FixedWindowPartitioner, ChunkPartitioner, ReprojectionPartitioner):
        assert cls(**ALL[cls], **UTM).prepare_window_geometries(request_) == []


def test_features_without_geometry_are_left_out() -> None:
    request = request_of(None, Point(1, 2), None, Point(3, 4))
    (whole,) = NoopPartitioner().partition_request_geometry(request)
    assert [shp.x for shp in shapes_of(whole)] == [1, 3]
    (chunk,) = ChunkPartitioner(2).partition_request_geometry(request)
    assert [shp.x for shp in shapes_of(chunk)] == [1, 3]
    assert len(windows(FixedWindowPartitioner(8, **UTM), None, Point(1, 2))) == 1


def test_noop_passes_the_request_on() -> None:
    request = request_of(Point(1, 2), box(0, 0, 1, 1))
    (whole,) = NoopPartitioner().partition_request_geometry(request)
    assert whole is request


def test_chunks_keep_the_order() -> None:
    request = request_of(*(Point(index, 0) for index in range(7)))
    chunks = ChunkPartitioner(3).partition_request_geometry(request)
    assert [[feature.properties.name for feature in chunk.features] for chunk in chunks] == [
        ["f0", "f1", "f2"],
        ["f3", "f4", "f5"],
        ["f6"],
    ]
    assert chunks[0].features[0] is request.features[0]


def test_fifty_thousand_points_in_chunks() -> None:
    raw = request_of(Point(1, 2)).features[0]
    points = [raw.model_copy() for _ in range(50_000)]
    request = PredictionRequestCollection(type="FeatureCollection", features=points)
    chunks = ChunkPartitioner(1000).partition_request_geometry(request)
    assert [len(chunk.features) for chunk in chunks] == [1000] * 50
    assert chunks[49].features[999] is points[-1]


# ---- grid: partitions ----------------------------------------------------------------------------------------------


def test_cells_are_anchored_at_zero_and_run_by_column() -> None:
    assert degree_cells(request_of(box(-0.5, -0.2, 0.5, 0.9)), 1.0) == [
        (-1, -1, 0, 0),
        (-1, 0, 0, 1),
        (0, -1, 1, 0),
        (0, 0, 1, 1),
    ]


def test_cells_do_not_drift() -> None:
    cells = degree_cells(request_of(box(0, 0, 9, 0.05)), 0.1)
    assert len(cells) == 90
    assert cells == [(i * 0.1, 0.0, (i + 1) * 0.1, 0.1) for i in range(90)]


def test_a_request_that_ends_on_a_line_has_no_further_cell() -> None:
    assert degree_cells(request_of(box(0.25, -0.5, 0.75, -0.25)), 0.25) == [
        (0.25, -0.5, 0.5, -0.25),
        (0.5, -0.5, 0.75, -0.25),
    ]


@pytest.mark.parametrize(("x", "y"), [(0, 0), (1, 1), (-1, 2), (-0.5, -0.5), (0.3, 0.7)])
def test_a_point_has_one_cell_that_contains_it(x: float, y: float) -> None:
    ((x0, y0, x1, y1),) = degree_cells(request_of(Point(x, y)), 0.1)
    assert x0 <= x < x1
    assert y0 <= y < y1


def test_lines_have_the_cells_of_their_bounds() -> None:
    assert len(degree_cells(request_of(LineString([(0.5, 0.5), (2.5, 1.5)])), 1.0)) == 6
    assert degree_cells(request_of(LineString([(0.5, 1), (2.5, 1)])), 1.0) == [(0, 1, 1, 2), (1, 1, 2, 2), (2, 1, 3, 2)]


def test_a_partition_has_the_features_properties_and_id() -> None:
    request = request_of(box(0, 0, 1, 1), box(1, 0, 2, 1))
    request.features[1].id = "second"
    parts = GridPartitioner(1.0).partition_request_geometry(request)
    assert [len(part.features) for part in parts] == [1, 1]
    assert [part.features[0].properties for part in parts] == [one.properties for one in request.features]
    assert [part.features[0].id for part in parts] == [None, "second"]


def test_overlap_grows_cells_with_square_corners() -> None:
    (grown,) = GridPartitioner(1.0, overlap_size=0.25).partition_request_geometry(request_of(box(0.1, 0.1, 0.9, 0.9)))
    assert shapes_of(grown)[0].equals(box(-0.25, -0.25, 1.25, 1.25))


def test_clip_cuts_cells_and_keeps_the_numbers() -> None:
    triangle = Polygon([(0, 0), (2, 0), (0, 2)])
    parts = GridPartitioner(1.0, clip=True).partition_request_geometry(request_of(triangle))
    assert [sum(shp.area for shp in shapes_of(part)) for part in parts] == [1, 0.5, 0.5, 0]
    assert parts[3].features == []  # the fourth cell only touches the edge
    assert parts[1].features[0].geometry.type == "Polygon"


def test_clip_of_a_self_intersecting_polygon() -> None:
    bow = Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    parts = GridPartitioner(1.0, clip=True).partition_request_geometry(request_of(bow))
    areas = [sum(shp.area for shp in shapes_of(part)) for part in parts]
    assert areas == [0.5, 0.5, 0.5, 0.5]
    cut = windows(GridPartitioner(25_000, clip=True, output_projection=TEN_METRES), bow)
    assert all(shp.is_valid for shp in cut)
    assert sum(shp.area for shp in cut) == pytest.approx(2 * 111_319.5**2 / 100, rel=1e-3)


def test_clip_keeps_every_part_of_a_collection() -> None:
    both = shapely.GeometryCollection([box(0, 0, 0.5, 0.5), Point(1.5, 1.5), LineString([(1.1, 0.2), (1.9, 0.2)])])
    parts = GridPartitioner(1.0, clip=True).partition_request_geometry(request_of(both))
    assert [[shp.geom_type for shp in shapes_of(part)] for part in parts] == [
        ["Polygon"],
        [],
        ["LineString"],
        ["Point"],
    ]


@pytest.mark.parametrize("shp", NOT_CUT.values(), ids=NOT_CUT)
def test_cells_on_both_sides_of_the_antimeridian(shp: BaseGeometry) -> None:
    request = request_of(shp)
    assert sorted(degree_cells(request, 0.25)) == [(-180, -17, -179.75, -16.75), (179.75, -17, 180, -16.75)]
    # 0.7 does not divide 180: cells end there.
    uneven = [tuple(round(v, 9) for v in cell) for cell in sorted(degree_cells(request, 0.7))]
    assert uneven == [
        (-180, -17.5, -179.9, -16.8),
        (179.9, -17.5, 180, -16.8),
    ]


def test_alaska_is_no_band_around_the_world() -> None:
    alaska = MultiPolygon([box(-170, 52, -130, 71), box(172, 51, 180, 53), box(-180, 51, -175, 53)])
    cells = degree_cells(request_of(alaska), 1.0)
    assert len(cells) == 50 * 20 + 8 * 2
    assert not any(-130 < cell[0] < 172 for cell in cells)


def test_overlap_reaches_over_the_antimeridian_and_not_over_the_pole() -> None:
    (part,) = GridPartitioner(1.0, overlap_size=0.25).partition_request_geometry(
        request_of(box(179.1, 89.1, 179.9, 89.9))
    )
    (shp,) = shapes_of(part)
    assert shp.equals(MultiPolygon([box(178.75, 88.75, 180, 90), box(-180, 88.75, -179.75, 90)]))


def test_cells_end_at_the_poles() -> None:
    assert degree_cells(request_of(box(0, 85, 1, 90)), 7.0) == [(0, 84, 7, 90)]
    assert degree_cells(request_of(box(0, -90, 1, -85)), 7.0) == [(0, -90, 7, -84)]


def test_too_many_cells_are_refused_before_they_are_made() -> None:
    with pytest.raises(GeometryError, match=r"features\[1\] \(f1\).*too many cells.*found 100,000,000") as caught:
        GridPartitioner(0.001).partition_request_geometry(request_of(Point(0, 0), box(0, 0, 10, 10)))
    assert "grid_size" in caught.value.fix


def degrees(least: int, most: int) -> st.SearchStrategy[float]:
    """Positions to a tenth of a metre, many of them on grid lines."""
    return st.one_of(
        st.integers(least * 10**6, most * 10**6).map(lambda v: v / 10**6), st.integers(least, most).map(float)
    )


coordinates = st.tuples(degrees(-170, 170), degrees(-80, 80))
shapes = st.one_of(
    coordinates.map(Point),
    st.tuples(coordinates, degrees(0, 3), degrees(0, 3)).map(lambda v: box(*v[0], v[0][0] + v[1], v[0][1] + v[2])),
    st.lists(coordinates, min_size=3, max_size=6)
    .map(lambda points: [(x / 50, y / 50) for x, y in points])
    .map(Polygon)
    .filter(lambda shp: shp.area > 1e-6),
    st.tuples(coordinates, coordinates).map(
        lambda ends: LineString([ends[0], np.array(ends[0]) + np.array(ends[1]) / 90])
    ),
)
sizes = st.sampled_from([0.1, 0.25, 0.3, 0.7, 1.0, 2.5])


@settings(derandomize=True, max_examples=50, deadline=None)
@given(shapes, sizes)
def test_cells_cover_a_geometry_with_disjoint_interiors(shp: BaseGeometry, size: float) -> None:
    bounds = np.array(degree_cells(request_of(shp), size))
    cells = shapely.box(*bounds.T)
    uncovered = shapely.make_valid(shp).difference(shapely.union_all(cells).buffer(1e-8 * size, join_style="mitre"))
    assert uncovered.is_empty
    x, y = np.round(bounds[:, 0] / size), np.round(bounds[:, 1] / size)
    assert len(set(zip(x, y, strict=True))) == len(bounds)
    # Neighbours share their edges to the last bit, so no two cells overlap.
    assert np.array_equal(bounds, np.column_stack([x * size, y * size, (x + 1) * size, (y + 1) * size]))


@settings(derandomize=True, max_examples=20, deadline=None)
@given(st.lists(shapes, min_size=1, max_size=4), sizes, st.randoms(use_true_random=False))
def test_cells_do_not_depend_on_order(features: list[BaseGeometry], size: float, random: Any) -> None:
    turned = [shapely.reverse(shp) for shp in features]
    random.shuffle(turned)
    assert sorted(degree_cells(request_of(*turned), size)) == sorted(degree_cells(request_of(*features), size))


# ---- grid: windows -------------------------------------------------------------------------------------------------


def test_windows_in_pixels_with_negative_coordinates() -> None:
    # EPSG:3857 at 1 m: 0.001° are 111.3 px; y grows southwards.
    cells = windows(GridPartitioner(100, **PER_PIXEL), box(-0.001, 0.0001, 0.0005, 0.001))
    assert [cell.bounds for cell in cells] == [(x, y, x + 100, y + 100) for x in (-200, -100, 0) for y in (-200, -100)]


def test_windows_in_the_zone_of_each_feature() -> None:
    partitioner = GridPartitioner(64, **UTM)
    request = request_of(
        box(36.7, -1.3, 36.75, -1.28), box(-122.3, 47.6, -122.28, 47.62), box(151.2, -33.9, 151.22, -33.8)
    )
    found = {
        (feature.properties.name, one.projection) for feature, one in partitioner.prepare_window_geometries(request)
    }
    assert found == {
        (name, Projection(CRS.from_epsg(epsg), 10, -10)) for name, epsg in [("f0", 32737), ("f1", 32610), ("f2", 32756)]
    }


def test_windows_south_of_the_equator_lie_where_they_belong() -> None:
    # 36.82° E, 1.29° S is at 257,422.8 m E, 9,857,312.1 m N in zone 37 S.
    (cell,) = windows(GridPartitioner(64, **UTM), Point(36.82, -1.29))
    assert cell.bounds[0] <= 25_742.28 < cell.bounds[2]
    assert cell.bounds[1] <= -985_731.21 < cell.bounds[3]
    assert (cell.bounds[0] % 64, cell.bounds[1] % 64) == (0, 0)


def test_windows_cover_where_an_edge_bulges() -> None:
    # Around the central meridian of 39° the southern edge of the cell bulges by 238 m, more than two of these pixels.
    coarse: dict[str, Any] = {"output_projection": Projection(CRS.from_epsg(3857), 100, -100), "use_utm": True}
    lowest = max(shp.bounds[3] for shp in windows(GridPartitioner(1, **coarse), box(38.3, 45, 39.7, 45.02)))
    (place,) = windows(ReprojectionPartitioner(**coarse), Point(39, 45))
    assert lowest - 1 <= place.y < lowest


def test_clipped_windows_tile_the_feature() -> None:
    shp = Point(37, 1).buffer(0.02)
    (whole,) = windows(ReprojectionPartitioner(**UTM), shp)
    cut = windows(GridPartitioner(64, clip=True, **UTM), shp)
    assert sum(one.area for one in cut) == pytest.approx(whole.area)
    assert shapely.union_all(cut).symmetric_difference(whole).area < 1e-3
    assert all(not one.is_empty for one in cut)
    assert len(cut) < len(windows(GridPartitioner(64, **UTM), shp))


def test_overlapping_windows() -> None:
    plain = windows(GridPartitioner(64, **UTM), box(37, 1, 37.01, 1.01))
    grown = windows(GridPartitioner(64, overlap_size=8, **UTM), box(37, 1, 37.01, 1.01))
    assert [one.bounds for one in grown] == [tuple(np.add(one.bounds, (-8, -8, 8, 8))) for one in plain]


@pytest.mark.parametrize("shp", NOT_CUT.values(), ids=NOT_CUT)
@pytest.mark.parametrize("arguments", [UTM, {"output_projection": TEN_METRES}], ids=["utm", "mercator"])
def test_windows_across_the_antimeridian(shp: BaseGeometry, arguments: dict[str, Any]) -> None:
    request = request_of(shp)
    found = GridPartitioner(64, clip=True, **arguments).prepare_window_geometries(request)
    assert {one.projection.crs.to_epsg() for _, one in found} == {32760 if "use_utm" in arguments else 3857}
    metres = sum(shape_of(one).area for _, one in found) * 100
    stretched = 1 if "use_utm" in arguments else 1 / math.cos(math.radians(16.95)) ** 2
    assert metres == pytest.approx(2 * 10_652 * 11_068 * stretched, rel=0.01)
    assert len(found) < 800


@pytest.mark.parametrize(("south", "north", "epsg"), [(88, 90, 5041), (-90, -88, 5042)])
def test_windows_around_the_poles(south: float, north: float, epsg: int) -> None:
    found = GridPartitioner(1024, clip=True, **UTM).prepare_window_geometries(request_of(box(-180, south, 180, north)))
    assert {one.projection.crs.to_epsg() for _, one in found} == {epsg}
    disc = shapely.union_all([shape_of(one) for _, one in found])
    assert disc.area == pytest.approx(math.pi * 22_200**2, rel=0.01)
    assert disc.intersects(Point(200_000, -200_000))


def test_limit_keeps_the_first() -> None:
    every = windows(GridPartitioner(64, **UTM), box(37, 1, 37.05, 1.05))
    kept = windows(GridPartitioner(64, limit=3, **UTM), box(37, 1, 37.05, 1.05))
    assert [one.wkt for one in kept] == [one.wkt for one in every[:3]]
    assert len(GridPartitioner(64, limit=3, **UTM).window_candidates(request_of(box(37, 1, 37.05, 1.05)))) == len(every)
    assert len(windows(ChunkPartitioner(9, limit=2, **UTM), Point(1, 1), Point(2, 1), Point(3, 1))) == 2


def test_a_hundred_thousand_windows_share_what_they_can() -> None:
    request = request_of(box(36.0, 0.2, 37.8, 2.05))
    found = GridPartitioner(64, **UTM).prepare_window_geometries(request)
    assert len(found) == 314 * 321
    assert len({id(one.projection) for _, one in found}) == 1
    assert len({id(feature) for feature, _ in found}) == 1
    assert len({shape_of(one).bounds for _, one in found}) == len(found)


# ---- one window a feature ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 63, 64])
def test_a_fixed_window_is_centred(size: int) -> None:
    shp = Polygon([(37, 1), (37.02, 1), (37, 1.02)])
    (whole,) = windows(ReprojectionPartitioner(**UTM), shp)
    (window,) = windows(FixedWindowPartitioner(size, **UTM), shp)
    assert (window.centroid.x, window.centroid.y) == pytest.approx((whole.centroid.x, whole.centroid.y))
    assert window.area == pytest.approx(size**2)


@pytest.mark.parametrize("shp", NOT_CUT.values(), ids=NOT_CUT)
def test_a_fixed_window_across_the_antimeridian(shp: BaseGeometry) -> None:
    (there,) = windows(FixedWindowPartitioner(8, **UTM), shp)
    (expected,) = windows(ReprojectionPartitioner(**UTM), Point(180, -16.95))
    assert there.distance(expected) < 10
    (mercator,) = windows(FixedWindowPartitioner(8, output_projection=TEN_METRES), shp)
    assert abs(mercator.centroid.x) == pytest.approx(2_003_750.83, abs=0.1)


@pytest.mark.parametrize("cls", [ChunkPartitioner, ReprojectionPartitioner])
def test_one_window_a_feature_across_the_antimeridian(cls: type) -> None:
    (whole,) = windows(cls(**ALL[cls], **UTM), FIJI)
    assert whole.bounds[2] - whole.bounds[0] == pytest.approx(2_130, rel=0.02)
    with pytest.raises(GeometryError, match=r"features\[0\] \(f0\).*far apart in EPSG:3857.*use_utm"):
        windows(cls(**ALL[cls], output_projection=TEN_METRES), FIJI)


def test_points_and_lines_have_windows() -> None:
    line = LineString([(37, 1), (37.01, 1.01)])
    for partitioner in (GridPartitioner(64, **UTM), FixedWindowPartitioner(64, **UTM), ChunkPartitioner(1, **UTM)):
        assert windows(partitioner, Point(37, 1))
        assert windows(partitioner, line)
    assert len(windows(GridPartitioner(64, clip=True, **UTM), Point(37, 1))) == 1
    cut = windows(GridPartitioner(64, clip=True, **UTM), line)
    (whole,) = windows(ReprojectionPartitioner(**UTM), line)
    assert sum(one.length for one in cut) == pytest.approx(whole.length)


# ---- errors --------------------------------------------------------------------------------------------------------

PER_FEATURE = [
    GridPartitioner(64, output_projection=Projection(CRS.from_epsg(5041), 10, -10)),
    FixedWindowPartitioner(64, output_projection=Projection(CRS.from_epsg(5041), 10, -10)),
    ReprojectionPartitioner(Projection(CRS.from_epsg(5041), 10, -10)),
]


@pytest.mark.parametrize("partitioner", PER_FEATURE, ids=lambda one: type(one).__name__)
def test_a_feature_that_can_not_be_projected_is_named(partitioner: Any) -> None:
    with pytest.raises(GeometryError, match=r"^features\[1\] \(f1\): .*EPSG:5041"):
        partitioner.prepare_window_geometries(request_of(Point(0, 85), Point(0, -90), Point(0, 86)))


@pytest.mark.parametrize("partitioner", [*PER_FEATURE, GridPartitioner(1.0, **UTM)], ids=repr)
def test_a_feature_off_the_globe_is_named(partitioner: Any) -> None:
    request = request_of(Point(0, 85), Point(20, 95))
    with pytest.raises(InputFileError, match=r"^features\[1\] \(f1\)\.geometry: .*not on the globe"):
        partitioner.prepare_window_geometries(request)
    if "partition_request_geometry" not in partitioner.unsupported:
        with pytest.raises(InputFileError, match=r"^features\[1\] \(f1\)\.geometry"):
            partitioner.partition_request_geometry(request)


def test_a_feature_without_times_is_named() -> None:
    request = request_of(Point(0, 85), Point(20, 5))
    request.features[1].properties = None
    with pytest.raises(InputFileError, match=r"^features\[1\]: The feature has no times"):
        FixedWindowPartitioner(8, **UTM).prepare_window_geometries(request)


# ---- what the old tool gives ---------------------------------------------------------------------------------------


def golden_cases() -> list[Any]:
    if not GOLDEN.exists():
        return [pytest.param(None, None, marks=pytest.mark.skip(reason="the golden folder is not here"))]
    data = json.loads(GOLDEN.read_text())
    ids = [f"{i}-{c['class']}-{'-'.join(map(str, c['init_args'].values()))}-{c.get('projection')}" for i, c in
           enumerate(data["cases"])]  # fmt: skip
    return [pytest.param(case, data["projections"], id=name) for case, name in zip(data["cases"], ids, strict=True)]


@pytest.mark.parametrize(("case", "projections"), golden_cases())
def test_golden(case: dict[str, Any], projections: dict[str, Any]) -> None:
    request = PredictionRequestCollection.model_validate(case["request"])
    cls = getattr(partitioners, case["class"])
    if case["kind"] == "partition":
        parts = cls(**case["init_args"]).partition_request_geometry(request)
        assert [[list(shp.bounds) for shp in shapes_of(part)] for part in parts] == case["cells"]
        return
    given = projections[case["projection"]]
    projection = Projection(CRS.from_string(given["crs"]), given["x_resolution"], given["y_resolution"])
    found = cls(**case["init_args"], output_projection=projection, use_utm=given["use_utm"]).prepare_window_geometries(
        request
    )
    # Cells beside a clipped feature have no bounds there, and are left out here.
    expected = [one for one in case["windows"] if not math.isnan(one["bounds"][0])]
    assert [feature.properties.name for feature, _ in found] == [one["feature"] for one in expected]
    assert [geometry.projection.serialize() for _, geometry in found] == [one["projection"] for one in expected]
    for (_, geometry), one in zip(found, expected, strict=True):
        assert shape_of(geometry).bounds == pytest.approx(one["bounds"], abs=1e-5)
    names = [window_name("partition_0", geometry) for _, geometry in found]
    assert names == [one["name_for_partition_0"] for one in expected]
