from __future__ import annotations

import hashlib
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from requests_of import GOLDEN, TEN_METRES, TIMES, UTM, raw_feature, request_of
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry
from shapely import LineString, MultiPolygon, Point, Polygon, box
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from olmoearth_nb import partitioners
from olmoearth_nb.errors import GeometryError, InputFileError, ProjectError, UnsupportedError, UsageError
from olmoearth_nb.geojson import PredictionRequestCollection, PredictionRequestFeature, feature_shape
from olmoearth_nb.geometry import wgs84_outlines
from olmoearth_nb.partitioners import (
    ChunkPartitioner,
    FixedWindowPartitioner,
    GridPartitioner,
    NoopPartitioner,
    ReprojectionPartitioner,
)
from olmoearth_nb.planning import Plan, PlanCounts, plan, window_name
from olmoearth_nb.planning.plan import window_names
from olmoearth_nb.protocols import PartitionInterface
from olmoearth_nb.types import PixelBounds, WindowSpec

MERCATOR = {"output_projection": TEN_METRES}
NOOP = NoopPartitioner()
GRID = GridPartitioner(64, **UTM)
FIELD = box(37.01, 1.01, 37.04, 1.03)
"""About 334 by 221 pixels in zone 37 N."""


def extents(planned: Plan) -> list[tuple[Projection, PixelBounds]]:
    """What windows cover, once each."""
    return [(spec.projection, spec.bounds) for spec in planned.windows]


def area_of(windows: list[WindowSpec] | tuple[WindowSpec, ...]) -> BaseGeometry:
    """Union of windows in degrees."""
    return shapely.union_all([wgs84_outlines(one.projection, np.array([one.bounds]))[0] for one in windows])


def total(counts: PlanCounts) -> int:
    left_out = counts.empty + counts.beside_request + counts.masked + counts.over_limit
    return left_out + counts.merged + counts.shared + counts.windows


# ---- names, groups, bounds -----------------------------------------------------------------------------------------


def test_one_point_one_window() -> None:
    planned = plan(request_of(Point(36.82, -1.29)), NOOP, FixedWindowPartitioner(5, **UTM))
    (partition,) = planned.partitions
    (spec,) = partition.windows
    assert (partition.partition_id, partition.group) == ("partition_0", "group_partition_0")
    assert spec.group == "group_partition_0"
    assert spec.projection == Projection(CRS.from_epsg(32737), 10, -10)
    # 257,422.8 m E, 9,857,312.1 m N is (25742.28, -985731.21) in pixels: that pixel, and two around it.
    assert spec.bounds == (25_740, -985_734, 25_745, -985_729)
    assert [time.isoformat() for time in spec.time_range] == list(TIMES.values())
    assert spec.features == (0,)
    assert planned.partition_ids == ["partition_0"]


def test_a_name_hashes_what_the_partitioner_gave() -> None:
    request = request_of(Point(36.82, -1.29))
    ((_, geometry),) = FixedWindowPartitioner(5, **UTM).prepare_window_geometries(request)
    text = json.dumps(geometry.serialize(), sort_keys=True)
    expected = "partition_0_" + hashlib.sha256(text.encode()).hexdigest()[:20]
    (spec,) = plan(request, NOOP, FixedWindowPartitioner(5, **UTM)).windows
    assert spec.name == window_name("partition_0", geometry) == expected


def test_planning_twice_is_planning_once() -> None:
    request = request_of(FIELD, Point(36.99, 0.99))
    first, second = (plan(request, GridPartitioner(0.02), GRID) for _ in range(2))
    assert [part.windows for part in first.partitions] == [part.windows for part in second.partitions]
    assert len({spec.name for spec in first.windows}) == len(first.windows)


def test_bounds_are_rounded() -> None:
    request = request_of(FIELD)
    ((_, geometry),) = ReprojectionPartitioner(**UTM).prepare_window_geometries(request)
    (spec,) = plan(request, NOOP, ReprojectionPartitioner(**UTM)).windows
    assert spec.bounds == pytest.approx(geometry.shp.bounds, abs=0.5)
    assert all(isinstance(value, int) for value in spec.bounds)


def test_a_point_alone_is_the_pixel_that_contains_it() -> None:
    (spec,) = plan(request_of(Point(-0.00001, 0.00001)), NOOP, ReprojectionPartitioner(**MERCATOR)).windows
    assert spec.bounds == (-1, -1, 0, 0)


# ---- what is left out ----------------------------------------------------------------------------------------------


def test_partitions_beside_the_request_leave_their_number_unused() -> None:
    horseshoe = Polygon([(0, 0), (3, 0), (3, 2), (2.1, 2), (2.1, 0.5), (0.9, 0.5), (0.9, 2), (0, 2)])
    planned = plan(request_of(horseshoe), GridPartitioner(1.0), GridPartitioner(5000, **MERCATOR))
    assert planned.partition_ids == ["partition_0", "partition_1", "partition_2", "partition_4", "partition_5"]
    assert (planned.counts.partitions_made, planned.counts.partitions_beside_request) == (6, 1)


def test_windows_beside_the_request_are_left_out() -> None:
    triangle = Polygon([(0, 0), (1, 0), (0, 1)])
    planned = plan(request_of(triangle), NOOP, GridPartitioner(1000, **MERCATOR))
    # 11.13 cells a degree: 12 by 12 of them, of which 12·13/2 below the diagonal's cells, and the diagonal's.
    assert planned.counts.candidates == 144
    assert planned.counts.beside_request + len(planned.windows) == 144
    assert all(area_of([spec]).intersects(triangle) for spec in planned.windows)
    kept = {spec.bounds for spec in planned.windows}
    assert (0, -1000, 1000, 0) in kept
    assert (11_000, -12_000, 12_000, -11_000) not in kept


@pytest.mark.parametrize(
    "shp",
    [Point(37, 1), LineString([(37, 1), (37.3, 1.3)]), shapely.MultiPoint([(37, 1), (37.2, 1.1)]), FIELD,
     shapely.GeometryCollection([Point(37, 1), FIELD])],
    ids=lambda shp: shp.geom_type,
)  # fmt: skip
@pytest.mark.parametrize(
    "to_partitions", [NOOP, GridPartitioner(0.1), ChunkPartitioner(1)], ids=["noop", "grid", "chunk"]
)
@pytest.mark.parametrize("to_windows", [GRID, GridPartitioner(64, clip=True, **UTM)], ids=["grid", "clip"])
def test_requests_of_any_type_are_covered(shp: BaseGeometry, to_partitions: Any, to_windows: Any) -> None:
    planned = plan(request_of(shp), to_partitions, to_windows)
    # Clipped windows are rounded to whole pixels, which takes up to half of one (4.5e-5°) from their edges.
    assert area_of(planned.windows).buffer(5e-5 if to_windows.clip else 1e-9).covers(shp)
    assert total(planned.counts) == planned.counts.candidates


@pytest.mark.parametrize(
    "to_windows", [GRID, GridPartitioner(64, clip=True, **UTM), ReprojectionPartitioner(**UTM)], ids=repr
)
def test_points_in_the_corners_of_cells_are_kept(to_windows: Any) -> None:
    # Projecting a cell and back moves its corner by some 1e-12 degrees, off the point or onto it.
    points = [Point(round(36.1 + column / 10, 1), round(row / 10 - 0.7, 1)) for column in range(5) for row in range(14)]
    planned = plan(request_of(*points), GridPartitioner(0.1), to_windows)
    assert len(planned.partitions) == len(points)
    # Rounding takes half a pixel in x and y.
    off = [area_of(part.windows).distance(point) for part, point in zip(planned.partitions, points, strict=True)]
    assert max(off) < math.hypot(0.5, 0.5) * 9.1e-5


def test_points_beside_polygons_are_kept() -> None:
    request = request_of(FIELD, Point(38.5, 2.5))
    planned = plan(request, GridPartitioner(1.0), GRID)
    assert planned.partition_ids == ["partition_0", "partition_1"]
    assert [len(part.windows) for part in planned.partitions][1] == 1


def test_windows_without_extent_are_left_out() -> None:
    class Cutter(GridPartitioner):
        def prepare_window_geometries(self, request_extents: PredictionRequestCollection) -> list[Any]:
            """The old tool's: cells beside the feature are empty."""
            (feature,) = request_extents.features
            cells = [box(0, 0, 10, 10), Polygon(), box(0, 0, 5, 5)]
            return [(feature, STGeometry(TEN_METRES, cell, None)) for cell in cells]

    planned = plan(request_of(box(0, -0.01, 0.01, 0)), NOOP, Cutter(64, **UTM))
    assert [spec.bounds for spec in planned.windows] == [(0, 0, 10, 10), (0, 0, 5, 5)]
    assert planned.counts.empty == 1


def test_nothing_left_says_what_was_looked_at() -> None:
    class Elsewhere(ReprojectionPartitioner):
        def prepare_window_geometries(self, request_extents: PredictionRequestCollection) -> list[Any]:
            """Windows somewhere else."""
            return [(one, STGeometry(TEN_METRES, box(9, 9, 99, 99), None)) for one in request_extents.features]

        def partition_request_geometry(self, request_extents: PredictionRequestCollection) -> list[Any]:
            """A partition somewhere else."""
            return [request_of(box(-9, -9, -8, -8))]

    with pytest.raises(
        GeometryError, match=r"Elsewhere: .*no window.*1 partitions and 2 windows looked at.*2 windows beside"
    ):
        plan(request_of(FIELD, Point(3, 3)), NOOP, Elsewhere())
    with pytest.raises(GeometryError, match=r"Elsewhere: .*no partition.*left out: 1 partitions beside the request"):
        plan(request_of(FIELD), Elsewhere(), GRID)


@pytest.mark.parametrize(
    ("request_", "found"),
    [(request_of(), "no features"), (request_of(None, Polygon()), "2 features, none with a geometry")],
    ids=["none", "null"],
)
def test_an_empty_request(request_: PredictionRequestCollection, found: str) -> None:
    with pytest.raises(GeometryError, match=f"nothing to predict for.*{found}"):
        plan(request_, NOOP, GRID)


def test_features_without_geometry_are_left_out() -> None:
    planned = plan(request_of(None, FIELD), ChunkPartitioner(5), ReprojectionPartitioner(**UTM))
    (part,) = planned.partitions
    assert [feature.properties.name for feature in part.request.features] == ["f1"]
    assert part.windows[0].features == (0,)


# ---- sharing -------------------------------------------------------------------------------------------------------


def test_a_window_belongs_to_the_first_partition_that_covers_it() -> None:
    # The line between the cells at 37.02° runs through windows of both.
    planned = plan(request_of(FIELD), GridPartitioner(0.02), GRID)
    assert planned.partition_ids == ["partition_0", "partition_1", "partition_2", "partition_3"]
    listed = [(part.partition_id, spec) for part in planned.partitions for spec in part.windows]
    first: dict[Any, str] = {}
    for partition_id, spec in listed:
        owner = first.setdefault((spec.projection, spec.bounds), partition_id)
        assert spec.group == f"group_{owner}"
        assert spec.name.startswith(f"{owner}_")
    assert planned.counts.shared == len(listed) - len(first) > 0
    assert planned.counts.windows == len(planned.windows) == len(first)
    assert [len(part.owned) for part in planned.partitions] == [
        sum(owner == part.partition_id for owner in first.values()) for part in planned.partitions
    ]


def test_a_shared_window_has_each_partitions_own_features() -> None:
    request = request_of(Point(37.001, 1.001), Point(38, 2), Point(37.00101, 1.00101))
    planned = plan(request, ChunkPartitioner(2), GRID)
    first, second = planned.partitions
    assert [spec.features for spec in first.windows] == [(0,), (1,)]
    (shared,) = second.windows
    assert shared.features == (0,)
    assert (shared.name, shared.group) == (first.windows[0].name, "group_partition_0")
    assert second.owned == ()
    assert second.request.features[0].properties.name == "f2"


def test_features_with_the_same_geometry_share_a_window() -> None:
    request = request_of(FIELD, FIELD, Point(37.02, 1.02))
    planned = plan(request, NOOP, ReprojectionPartitioner(**UTM))
    assert [spec.features for spec in planned.windows] == [(0, 1), (2,)]
    assert planned.counts.merged == 1
    alone = plan(request_of(FIELD), NOOP, ReprojectionPartitioner(**UTM))
    assert planned.windows[0].name == alone.windows[0].name


def test_another_time_is_another_window() -> None:
    later = {"oe_start_time": "2025-03-01T00:00:00Z", "oe_end_time": "2025-06-01T00:00:00Z"}
    same = {key: value.replace("00:00:00+00:00", "03:00:00+03:00") for key, value in TIMES.items()}
    features = [raw_feature(FIELD), raw_feature(FIELD, **later), raw_feature(FIELD, **same)]
    request = PredictionRequestCollection.model_validate({"type": "FeatureCollection", "features": features})
    planned = plan(request, NOOP, ReprojectionPartitioner(**UTM))
    assert [spec.features for spec in planned.windows] == [(0, 2), (1,)]
    assert [spec.time_range[0].year for spec in planned.windows] == [2024, 2025]


# ---- mask and limit ------------------------------------------------------------------------------------------------


def test_a_filter_is_asked_once_for_the_distinct_windows() -> None:
    asked: list[list[tuple[Projection, PixelBounds]]] = []

    def east(windows: list[tuple[Projection, PixelBounds]]) -> list[bool]:
        asked.append(windows)
        return [x0 >= 28_000 for _, (x0, _, _, _) in windows]

    everything = plan(request_of(FIELD), GridPartitioner(0.02), GRID)
    planned = plan(request_of(FIELD), GridPartitioner(0.02), GRID, accept=east)
    assert [sorted(bounds for _, bounds in one) for one in asked] == [
        sorted(bounds for _, bounds in extents(everything))
    ]
    assert {bounds for _, bounds in extents(planned)} == {b for _, b in extents(everything) if b[0] >= 28_000}
    assert 0 < len(planned.windows) < len(everything.windows)
    assert planned.counts.masked > 0
    assert total(planned.counts) == planned.counts.candidates
    # Names don't depend on the mask, unless the partition that would own a window is gone.
    assert planned.counts.partitions_without_windows + len(planned.partitions) == len(everything.partitions)


def test_a_mask_that_refuses_everything_is_named() -> None:
    with pytest.raises(GeometryError, match=r"and the mask.*24 windows outside the mask.*and the mask"):
        plan(request_of(FIELD), NOOP, GRID, accept=lambda windows: [False] * len(windows))


@pytest.mark.parametrize("answer", [True, [True], [1.0] * 24, None])
def test_a_filter_that_answers_something_else(answer: Any) -> None:
    with pytest.raises(UsageError, match="24 booleans"):
        plan(request_of(FIELD), NOOP, GRID, accept=lambda _: answer)


def test_limit_counts_what_touches_the_request() -> None:
    corner = Polygon([(1, 1), (1, 0.9), (0.9, 1)])  # in the last cells of its partition
    planned = plan(request_of(corner), GridPartitioner(1.0), GridPartitioner(64, limit=3, **UTM))
    every = plan(request_of(corner), GridPartitioner(1.0), GridPartitioner(64, **UTM))
    assert planned.windows == every.windows[:3]
    assert planned.counts.over_limit == len(every.windows) - 3
    assert total(planned.counts) == planned.counts.candidates


def test_limit_counts_windows_not_features() -> None:
    request = request_of(FIELD, FIELD, Point(37.02, 1.02), Point(37.03, 1.02))
    planned = plan(request, NOOP, ReprojectionPartitioner(limit=2, **UTM))
    assert [spec.features for spec in planned.windows] == [(0, 1), (2,)]
    assert planned.counts.over_limit == 1


def test_a_limit_of_ones_own_is_left_to_its_class() -> None:
    class Every(GridPartitioner):
        def prepare_window_geometries(self, request_extents: PredictionRequestCollection) -> list[Any]:
            """Every second window."""
            return super().prepare_window_geometries(request_extents)[::2]

    every = plan(request_of(FIELD), NOOP, GRID).windows
    assert plan(request_of(FIELD), NOOP, Every(64, limit=6, **UTM)).windows == every[:6:2]


# ---- hard places ---------------------------------------------------------------------------------------------------

FIJI = MultiPolygon([box(179.97, -17, 180, -16.98), box(-180, -17, -179.98, -16.98)])


@pytest.mark.parametrize(
    "shp",
    [
        FIJI,
        box(179.97, -17, 180.02, -16.98),
        Polygon([(179.97, -17), (-179.98, -17), (-179.98, -16.98), (179.97, -16.98)]),
    ],
    ids=["cut", "beyond 180", "jump"],
)
def test_across_the_antimeridian(shp: BaseGeometry) -> None:
    whole = plan(request_of(shp), NOOP, GRID)
    assert {spec.projection.crs.to_epsg() for spec in whole.windows} == {32760}
    assert len(whole.windows) == 9 * 4
    here = area_of(whole.windows)
    turned = shapely.transform(here, lambda xy: xy + np.array([360.0, 0.0]))
    assert here.union(turned).buffer(1e-6).covers(box(179.97, -17, 180.02, -16.98))
    parts = plan(request_of(shp), GridPartitioner(0.5), GRID)
    assert {spec.projection.crs.to_epsg() for spec in parts.windows} == {32760, 32701}
    assert len(parts.windows) < 1.5 * len(whole.windows)
    mercator = plan(request_of(shp), NOOP, GridPartitioner(64, **MERCATOR))
    assert len(mercator.windows) < 1.5 * len(whole.windows)


@pytest.mark.parametrize(("south", "north"), [(89.5, 90), (-90, -89.5)])
def test_around_a_pole(south: float, north: float) -> None:
    planned = plan(request_of(box(-180, south, 180, north)), NOOP, GridPartitioner(1024, **UTM))
    middle = np.array([((x0 + x1) / 2, (y0 + y1) / 2) for _, (x0, y0, x1, y1) in extents(planned)])
    distance = np.hypot(middle[:, 0] - 200_000, middle[:, 1] + 200_000)
    # A disc of half a degree, 5,550 px at the scale of UPS; windows in the corners of its bounds are left out.
    assert len(planned.windows) * 1024**2 > math.pi * 5_550**2
    assert distance.max() < 5_550 + 1024 / math.sqrt(2)
    assert planned.counts.beside_request > 0


@pytest.mark.parametrize("lat", [85.0, -85.0])
def test_a_field_near_a_pole(lat: float) -> None:
    field = box(10, lat, 11, lat + 0.1)
    planned = plan(request_of(field), GridPartitioner(0.25), GRID)
    assert {spec.projection.crs.to_epsg() for spec in planned.windows} == {5041 if lat > 0 else 5042}
    kilometres = len(planned.windows) * 0.64**2
    assert 9.7 * 11.1 < kilometres < 1.3 * 9.7 * 11.1


def test_a_self_intersecting_request() -> None:
    bow = Polygon([(37, 1), (37.02, 1.02), (37.02, 1), (37, 1.02)])
    planned = plan(request_of(bow), NOOP, GRID)
    assert area_of(planned.windows).buffer(1e-6).covers(shapely.make_valid(bow))


def test_a_hundred_thousand_windows() -> None:
    planned = plan(request_of(box(36.0, 0.2, 37.8, 2.05)), NOOP, GRID)
    assert planned.counts.windows == len(planned.windows) == 100_794 == len(set(extents(planned)))
    # Objects that would be the same are one, so that memory grows with the number of windows only by the windows.
    assert len({id(spec.projection) for spec in planned.windows}) == 1
    assert len({id(spec.time_range) for spec in planned.windows}) == 1


def test_many_features_of_one_partition() -> None:
    rng = np.random.default_rng(5)
    raw = request_of(*(Point(*xy) for xy in rng.uniform([36.2, -1], [38.9, 1], (3000, 2))))
    planned = plan(raw, ChunkPartitioner(500), FixedWindowPartitioner(16, **UTM))
    assert [len(part.windows) for part in planned.partitions] == [500] * 6
    assert [spec.features for spec in planned.partitions[5].windows] == [(index,) for index in range(500)]


# ---- properties ----------------------------------------------------------------------------------------------------

corner = st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)).map(
    lambda v: (37.2 + v[0] / 50_000, -0.1 + v[1] / 50_000)
)
"""In 0.2° by 0.2° on both sides of the equator, in one zone."""

fields = st.one_of(
    corner.map(Point),
    st.tuples(corner, corner).filter(lambda ends: ends[0] != ends[1]).map(LineString),
    st.lists(corner, min_size=3, max_size=5).map(Polygon).filter(lambda shp: shp.area > 1e-7).map(shapely.make_valid),
)
BIG = GridPartitioner(256, output_projection=Projection(CRS.from_epsg(32637), 10, -10))


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.lists(fields, min_size=1, max_size=3), st.sampled_from([0.03, 0.1, 1.0]))
def test_windows_cover_every_feature(shapes: list[BaseGeometry], size: float) -> None:
    planned = plan(request_of(*shapes), GridPartitioner(size), BIG)
    covered = area_of(planned.windows).buffer(1e-7)
    assert all(covered.covers(shp) for shp in shapes)
    # No window is beside the request, and none comes twice.
    everything = shapely.union_all(shapes).buffer(1e-7)
    assert all(area_of([spec]).intersects(everything) for spec in planned.windows)
    assert len(set(extents(planned))) == len(planned.windows) == len({spec.name for spec in planned.windows})


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.lists(fields, min_size=1, max_size=3), st.sampled_from([0.03, 0.07, 0.1]), st.sampled_from([0.05, 0.25, 1.0]))
def test_windows_do_not_depend_on_the_partitions(shapes: list[BaseGeometry], one: float, other: float) -> None:
    request = request_of(*shapes)
    found = [set(extents(plan(request, GridPartitioner(size), BIG))) for size in (one, other)]
    # A window whose edge grazes the request by less than a pixel may fall either way.
    grazing = found[0] ^ found[1]
    everything = shapely.union_all(shapes)
    for projection, bounds in grazing:
        (outline,) = wgs84_outlines(projection, np.array([bounds]))
        assert not outline.buffer(-1e-4, join_style="mitre").intersects(everything)
    assert len(grazing) <= 2


@settings(derandomize=True, max_examples=25, deadline=None)
@given(st.lists(fields, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_windows_do_not_depend_on_the_order_of_features(shapes: list[BaseGeometry], random: Any) -> None:
    turned = [shapely.reverse(shp) for shp in shapes]
    random.shuffle(turned)
    assert set(extents(plan(request_of(*turned), NOOP, BIG))) == set(extents(plan(request_of(*shapes), NOOP, BIG)))


# ---- partitioners of one's own -------------------------------------------------------------------------------------


class Own:
    """Has the two methods, and derives from nothing."""

    def __init__(self, partitions: Any = None, windows: Any = None) -> None:
        self.partitions = partitions
        self.windows = windows

    def partition_request_geometry(self, request_extents: PredictionRequestCollection) -> Any:
        return self.partitions(request_extents) if callable(self.partitions) else self.partitions

    def prepare_window_geometries(self, request_extents: PredictionRequestCollection) -> Any:
        return self.windows(request_extents) if callable(self.windows) else self.windows


SQUARE = STGeometry(TEN_METRES, box(0, -100, 100, 0), None)


def test_a_class_of_ones_own() -> None:
    request = request_of(box(0, 0, 0.01, 0.01))
    own = Own(lambda whole: [whole], lambda part: [(part.features[0], SQUARE)])
    planned = plan(request, own, own)
    assert planned.windows[0].bounds == (0, -100, 100, 0)
    assert planned.windows[0].time_range is None
    assert planned.partitions[0].request is request


def test_features_made_anew_are_found_again() -> None:
    request = request_of(Point(37, 1), Point(38, 2))

    def copies(part: PredictionRequestCollection) -> list[Any]:
        cells = ReprojectionPartitioner(**UTM).prepare_window_geometries(part)
        return [(PredictionRequestFeature.model_validate(one.model_dump()), cell) for one, cell in reversed(cells)]

    (part,) = plan(request, NOOP, Own(windows=copies)).partitions
    assert part.request is request
    assert [spec.features for spec in part.windows] == [(1,), (0,)]


def test_other_features_are_added_to_the_partition() -> None:
    request = request_of(FIELD)

    def numbered(part: PredictionRequestCollection) -> list[Any]:
        feature = part.features[0].model_dump()
        return [
            (feature | {"properties": feature["properties"] | {"row": row}}, cell)
            for row, (_, cell) in enumerate(GridPartitioner(200, **UTM).prepare_window_geometries(part))
        ]

    (part,) = plan(request, NOOP, Own(windows=numbered)).partitions
    assert [one.properties.model_extra.get("row") for one in part.request.features] == [None, *range(len(part.windows))]
    assert [spec.features for spec in part.windows] == [(index + 1,) for index in range(len(part.windows))]
    assert len(request.features) == 1


def test_plain_dictionaries_are_feature_collections_too() -> None:
    raw = {"type": "FeatureCollection", "features": [raw_feature(FIELD, name="mine"), raw_feature(None)]}
    (part,) = plan(request_of(FIELD), Own([raw]), ReprojectionPartitioner(**UTM)).partitions
    assert [feature.properties.name for feature in part.request.features] == ["mine"]
    assert feature_shape(part.request.features[0]).equals(FIELD)


@pytest.mark.parametrize(
    ("partitions", "message"),
    [
        (None, "Own gave no list.*feature collections; found NoneType"),
        ("abc", "Own gave no list.*found str"),
        ([None], "Partition 0 of Own is not a feature collection.*found NoneType"),
        ([request_of(FIELD), {"features": 3}], "Partition 1 of Own is not a feature collection"),
        ([{"features": [{"type": "Feature", "geometry": mapping(FIELD), "properties": {}}]}],
         "Own, partition 0: .*properties.oe_start_time: Field required"),
        ([{"features": [7]}], "Own, partition 0: A feature is not a request feature"),
    ],
)  # fmt: skip
def test_partitions_that_are_something_else(partitions: Any, message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        plan(request_of(FIELD), Own(partitions), GRID)


ONE = request_of(box(0, 0, 0.01, 0.01)).features[0]


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        (None, r"Own gave no list.*\(feature, STGeometry\); found NoneType"),
        ([SQUARE], "Own, partition_0: A window is not what it has to be.*pair"),
        ([(ONE, None)], "Own, partition_0: A window is not"),
        ([(ONE, box(0, 0, 1, 1))], "Own, partition_0: A window is not"),
        ([(ONE, STGeometry(TEN_METRES, None, None))], "Own, partition_0: A window is not"),
        ([(None, SQUARE)], "Own, partition_0: A feature is not a request feature"),
        ([(raw_feature(None), SQUARE)], "Own, partition_0: A window is for a feature without a geometry"),
    ],
)
def test_windows_that_are_something_else(windows: Any, message: str) -> None:
    with pytest.raises(ProjectError, match=message):
        plan(request_of(box(0, 0, 0.01, 0.01)), NOOP, Own(windows=windows))


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_windows_that_are_not_finite(value: float) -> None:
    endless = STGeometry(TEN_METRES, Polygon([(0, 0), (value, 0), (0, 5)]), None)
    with pytest.raises(GeometryError, match=r"partition_0, features\[0\]: A window has infinite bounds"):
        plan(request_of(FIELD), NOOP, Own(windows=lambda part: [(part.features[0], endless)]))


def test_failures_of_others_say_whose_and_where() -> None:
    def fail(_: PredictionRequestCollection) -> Any:
        raise KeyError("band 7")

    with pytest.raises(ProjectError, match=r"Own.partition_request_geometry failed: KeyError: 'band 7'"):
        plan(request_of(FIELD), Own(fail), GRID)
    with pytest.raises(ProjectError, match=r"partition_0: Own.prepare_window_geometries failed: KeyError") as caught:
        plan(request_of(FIELD), NOOP, Own(windows=fail))
    assert isinstance(caught.value.__cause__, KeyError)


def test_methods_that_are_not_there() -> None:
    with pytest.raises(UnsupportedError, match="object has no method partition_request_geometry"):
        plan(request_of(FIELD), object(), GRID)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedError, match="PartitionInterface does not implement prepare_window_geometries"):
        plan(request_of(FIELD), NOOP, PartitionInterface())
    with pytest.raises(UnsupportedError, match="NoopPartitioner can't make windows"):
        plan(request_of(FIELD), NOOP, NOOP)
    with pytest.raises(UnsupportedError, match="FixedWindowPartitioner can't make partitions"):
        plan(request_of(FIELD), FixedWindowPartitioner(8), GRID)


def test_a_feature_that_can_not_be_projected_is_named_with_its_partition() -> None:
    ups = GridPartitioner(64, output_projection=Projection(CRS.from_epsg(5041), 10, -10))
    with pytest.raises(GeometryError, match=r"^partition_1, features\[0\] \(f1\): .*EPSG:5041"):
        plan(request_of(Point(0, 85), Point(0, -90)), ChunkPartitioner(1), ups)


def test_wrong_requests_are_named() -> None:
    with pytest.raises(InputFileError, match=r"^features\[1\] \(f1\)\.geometry: .*not on the globe"):
        plan(request_of(FIELD, Point(5, 95)), NOOP, GRID)
    request = request_of(FIELD)
    request.features[0].properties = None
    with pytest.raises(InputFileError, match=r"^features\[0\]: The feature has no times"):
        plan(request, NOOP, GRID)


# ---- showing -------------------------------------------------------------------------------------------------------


def test_a_plan_shows_itself() -> None:
    planned = plan(request_of(FIELD), GridPartitioner(0.02), GRID)
    text = repr(planned)
    assert text.startswith(f"Plan(4 partitions, {len(planned.windows)} windows; 4 partitions and ")
    assert "windows beside the request" in text
    html = planned._repr_html_()
    assert html.count("<tr>") == 1 + 4
    assert "partition_3" in html
    assert (
        repr(planned.partitions[0])
        == f"Partition(partition_0, 1 features, {len(planned.partitions[0].windows)} windows)"
    )


def test_a_long_plan_shows_its_beginning() -> None:
    planned = plan(request_of(*(Point(30 + index, 1) for index in range(25))), ChunkPartitioner(1), GRID)
    html = planned._repr_html_()
    assert "partition_19<" in html
    assert "partition_20<" not in html
    assert "5 more" in html


# ---- what the old tool gives ---------------------------------------------------------------------------------------


@pytest.mark.skipif(not GOLDEN.exists(), reason="the golden folder is not here")
def test_golden() -> None:
    data = json.loads(GOLDEN.read_text())
    cases = [case for case in data["cases"] if case["kind"] == "windows"]
    for case in cases:
        request = PredictionRequestCollection.model_validate(case["request"])
        given_ = data["projections"][case["projection"]]
        projection = Projection(CRS.from_string(given_["crs"]), given_["x_resolution"], given_["y_resolution"])
        cls = getattr(partitioners, case["class"])
        partitioner = cls(**case["init_args"], output_projection=projection, use_utm=given_["use_utm"])
        planned = plan(request, NOOP, partitioner)
        old = {
            one["name_for_partition_0"]: one["bounds"] for one in case["windows"] if not math.isnan(one["bounds"][0])
        }
        area = shapely.union_all([feature_shape(feature) for feature in request.features])
        touching = {
            window_name("partition_0", geometry)
            for _, geometry in partitioner.prepare_window_geometries(request)
            if geometry.to_projection(WGS84_PROJECTION).shp.distance(area) < 1e-9
        }
        assert {spec.name for spec in planned.windows} == touching
        for spec in planned.windows:
            assert spec.bounds == pytest.approx(old[spec.name], abs=0.5001)
    assert len(cases) == 60


def test_names_are_hashes_of_what_rslearn_writes_of_each_geometry() -> None:
    """Equal numbers and moments that are written in another way are another name."""
    east = timezone(timedelta(hours=2))
    utc = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 6, 1, 12, 30, tzinfo=UTC)
    times = [None, utc, (utc[0].astimezone(east), utc[1])]
    crs = CRS.from_epsg(32631)
    projections = [Projection(crs, 10, -10), Projection(crs, 10.0, -10.0), WGS84_PROJECTION]
    shapes = [box(0, 0, 64, 64), box(-0.5, 1e-7, 1 / 3, 1e7), Point(3, 4), MultiPolygon([box(0, 0, 1, 1)])]
    geometries = [STGeometry(p, shp, time) for p in projections for shp in shapes for time in times]
    ids = [f"partition_{index % 3}" for index in range(len(geometries))]
    expected = [
        hashlib.sha256(json.dumps(geometry.serialize(), sort_keys=True).encode()).hexdigest()[:20]
        for geometry in geometries
    ]
    assert window_names(ids, geometries) == [f"{pid}_{name}" for pid, name in zip(ids, expected, strict=True)]
    assert len(set(expected)) == 3 * 4 * 3
