from __future__ import annotations

import json
from typing import Any

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import mapping, shape

from olmoearth_nb.errors import ConfigError
from olmoearth_nb.postprocess import CombineAndDeduplicateGeojson, CombineGeojson, SimplifyPolygons
from olmoearth_nb.protocols import VectorPostprocessor

POINT = {"type": "Point", "coordinates": [20.25, -30.75]}
# A square of 2 degrees whose lower side has a bump of 0.001.
BUMPY = [[0.0, 0.0], [1.0, 0.001], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0], [0.0, 0.0]]
SQUARE = [[0.0, 0.0], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0], [0.0, 0.0]]


def dumped(result: Any) -> list[Any]:
    return json.loads(result.model_dump_json())["features"]


def moved(ring: list[list[float]], dx: float) -> list[list[float]]:
    return [[x + dx, y] for x, y in ring]


@pytest.mark.parametrize("cls", [CombineGeojson, CombineAndDeduplicateGeojson, SimplifyPolygons])
def test_every_class_has_every_stage(cls, collection, request_feature):
    instance = cls()
    assert isinstance(instance, VectorPostprocessor)
    assert cls.unsupported == {}
    result = collection((POINT, {"a": 1}))
    for out in (
        instance.process_window(request_feature, result),
        instance.process_partition([result]),
        instance.process_dataset([result]),
    ):
        assert [f.properties.a for f in out.features] == [1]
    assert instance.process_partition([]).features == []
    assert instance.process_dataset([collection(), collection()]).features == []


def test_combine_takes_geometry_and_properties_of_the_request(collection, request_feature):
    (feature,) = dumped(CombineGeojson().process_window(request_feature, collection((POINT, {"ndvi": 0.5}))))
    assert shape(feature["geometry"]).bounds == (20, -31, 21, -30)
    assert feature["properties"] == {
        "oe_start_time": "2024-03-01T00:00:00Z",
        "oe_end_time": "2024-06-01T00:00:00Z",
        "name": "field 7",
        "score": 1.0,
        "ndvi": 0.5,
    }


def test_combine_own_properties_win_and_nulls_do_not(collection, request_feature):
    result = collection(
        (POINT, {"score": 0.25, "name": None, "oe_end_time": "2024-05-01T00:00:00Z", "nothing": None}), (POINT, None)
    )
    first, second = dumped(CombineGeojson("result").process_window(request_feature, result))
    assert first["properties"]["score"] == 0.25
    assert first["properties"]["name"] == "field 7"
    assert first["properties"]["oe_end_time"] == "2024-05-01T00:00:00Z"
    assert first["properties"]["oe_start_time"] == "2024-03-01T00:00:00Z"
    assert "nothing" not in first["properties"]
    assert second["properties"]["score"] == 1.0
    assert [f["geometry"]["coordinates"] for f in (first, second)] == [[20.25, -30.75]] * 2


def test_combine_without_the_request(collection, request_feature):
    result = collection((POINT, {"score": 0.25}), (POINT, None), (None, {"score": 0.5}))
    combiner = CombineGeojson(geometry_source="result", include_request_properties=False)
    assert combiner.process_window(request_feature, result) == result


def test_combine_changes_neither_request_nor_result(collection, request_feature):
    result = collection((POINT, {"score": 0.25}))
    before = (request_feature.model_dump_json(), result.model_dump_json())
    CombineGeojson().process_window(request_feature, result)
    assert (request_feature.model_dump_json(), result.model_dump_json()) == before


def test_combine_drops_the_bounding_box_of_a_replaced_geometry(collection, request_feature):
    result = collection((POINT, {}))
    result.features[0].bbox = (20.25, -30.75, 20.25, -30.75)
    result.features[0].id = "r1"
    (replaced,) = CombineGeojson().process_window(request_feature, result).features
    (own,) = CombineGeojson("result").process_window(request_feature, result).features
    assert (replaced.bbox, replaced.id) == (None, "r1")
    assert own.bbox == (20.25, -30.75, 20.25, -30.75)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 99), max_size=3), max_size=6), st.integers(0, 6))
def test_merging_partitions_is_merging_windows(collection, windows, cut):
    results = [collection(*((POINT, {"i": i}) for i in window)) for window in windows]
    combine = CombineGeojson()
    parts = [combine.process_partition(results[:cut]), combine.process_partition(results[cut:])]
    merged = combine.process_dataset(parts)
    assert merged == combine.process_dataset(results)
    assert [f.properties.i for f in merged.features] == [i for window in windows for i in window]


def test_deduplicate_at_all_stages(collection, request_feature):
    square, near = (
        {"type": "Polygon", "coordinates": [SQUARE]},
        {"type": "Polygon", "coordinates": [moved(SQUARE, 0.05)]},
    )
    multi = {"type": "MultiPolygon", "coordinates": [[SQUARE]]}
    far = {"type": "Polygon", "coordinates": [moved(SQUARE, 0.5)]}
    features = [(square, {"i": 0}), (near, {"i": 1}), (far, {"i": 2}), (multi, {"i": 3}), (None, {"i": 4})]
    dedupe = CombineAndDeduplicateGeojson()
    for out in (
        dedupe.process_window(request_feature, collection(*features)),
        dedupe.process_partition([collection(f) for f in features]),
        dedupe.process_dataset([collection(*features[:2]), collection(*features[2:])]),
    ):
        assert [f.properties.i for f in out.features] == [0, 2]


def test_deduplicate_follows_its_arguments(collection):
    points = collection(*(({"type": "Point", "coordinates": [x, -5.0]}, {"x": x}) for x in (0.0, 0.25, 0.5)))
    assert [
        f.properties.x for f in CombineAndDeduplicateGeojson(point_nearness=0.3).process_partition([points]).features
    ] == [0.0, 0.5]
    assert len(CombineAndDeduplicateGeojson(point_nearness=0.2).process_partition([points]).features) == 3
    squares = collection(*(({"type": "Polygon", "coordinates": [moved(SQUARE, x)]}, {}) for x in (0.0, 0.5)))  # IoU 0.6
    assert len(CombineAndDeduplicateGeojson(min_iou=0.59).process_partition([squares]).features) == 1
    assert len(CombineAndDeduplicateGeojson(min_iou=0.61).process_partition([squares]).features) == 2


def test_deduplicate_other_geometries_by_equality(collection):
    line = {"type": "LineString", "coordinates": [[0.0, 0.0], [2.0, 2.0]]}
    back = {"type": "LineString", "coordinates": [[2.0, 2.0], [1.0, 1.0], [0.0, 0.0]]}
    group = {"type": "GeometryCollection", "geometries": [POINT, line]}
    result = collection((line, {"i": 0}), (back, {"i": 1}), (group, {"i": 2}), (group, {"i": 3}), (POINT, {"i": 4}))
    out = CombineAndDeduplicateGeojson().process_partition([result])
    assert [f.properties.i for f in out.features] == [0, 2, 4]


def test_simplify_polygons_and_multipolygons(collection):
    multi = {"type": "MultiPolygon", "coordinates": [[BUMPY], [moved(BUMPY, 5.0)]]}
    line = {"type": "LineString", "coordinates": [[0.0, 0.0], [1.0, 0.001], [2.0, 0.0]]}
    result = collection(({"type": "Polygon", "coordinates": [BUMPY]}, {"i": 0}), (multi, None), (line, {}), (None, {}))
    polygon, parts, passed, empty = dumped(SimplifyPolygons().process_dataset([result]))
    assert shape(polygon["geometry"]).equals(shapely.Polygon(SQUARE))
    assert len(polygon["geometry"]["coordinates"][0]) == 5
    assert polygon["properties"]["i"] == 0
    assert parts["geometry"]["type"] == "MultiPolygon"
    assert [len(rings[0]) for rings in parts["geometry"]["coordinates"]] == [5, 5]
    assert passed["geometry"]["coordinates"] == line["coordinates"]
    assert empty["geometry"] is None


def test_simplify_drops_what_becomes_empty_or_invalid(collection):
    tiny = [[0.0, 0.0], [0.001, 0.0], [0.001, 0.001], [0.0, 0.0]]
    bowtie = [[0.0, 0.0], [2.0, 2.0], [2.0, 0.0], [0.0, 2.0], [0.0, 0.0]]
    result = collection(
        *(({"type": "Polygon", "coordinates": [ring]}, {"i": i}) for i, ring in enumerate([tiny, bowtie, SQUARE]))
    )
    # GEOS mends what it simplifies without regard to topology, so that the bow tie stays and the tiny one goes.
    kept = SimplifyPolygons(preserve_topology=False).process_partition([result]).features
    assert [f.properties.i for f in kept] == [1, 2]
    # With topology preserved, the tiny one stays; the bow tie is as invalid as before.
    kept = SimplifyPolygons(preserve_topology=True).process_partition([result]).features
    assert [f.properties.i for f in kept] == [0, 2]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=3, max_size=12, unique=True),
    st.sampled_from([0.0, 0.01, 1.0, 20.0]),
    st.booleans(),
)
def test_simplify_keeps_valid_polygons_or_drops(collection, points, tolerance, topology):
    shapes = [shapely.MultiPoint(points).buffer(3.0, quad_segs=4), shapely.Polygon(points)]
    result = collection(*((mapping(shp), {"i": i}) for i, shp in enumerate(shapes)))
    simplifier = SimplifyPolygons(tolerance=tolerance, preserve_topology=topology)
    out = simplifier.process_partition([result])
    assert [f.properties.i for f in out.features] == sorted({f.properties.i for f in out.features})
    for feature in out.features:
        shp = shape(feature.geometry.model_dump(exclude={"bbox"}))
        assert shp.is_valid
        assert not shp.is_empty
        before = shapes[feature.properties.i]
        if before.is_valid:
            assert len(shapely.get_coordinates(shp)) <= len(shapely.get_coordinates(before))
        if topology:
            assert shapely.hausdorff_distance(shp.boundary, before.boundary) <= tolerance * 2 + 1e-9
    if topology:
        assert 0 in {f.properties.i for f in out.features}


@pytest.mark.parametrize(
    ("cls", "arguments", "name"),
    [
        (
            CombineGeojson,
            {"geometry_source": "window"},
            r"CombineGeojson\.geometry_source: .*'request' or 'result'.*'window'",
        ),
        (CombineGeojson, {"include_request_properties": "yes"}, "include_request_properties"),
        (CombineAndDeduplicateGeojson, {"min_iou": 0}, r"min_iou: .*above 0.*found 0"),
        (CombineAndDeduplicateGeojson, {"min_iou": "0.9"}, "min_iou"),
        (CombineAndDeduplicateGeojson, {"point_nearness": float("nan")}, "point_nearness"),
        (SimplifyPolygons, {"tolerance": -0.1}, r"SimplifyPolygons\.tolerance: .*0 or more.*found -0\.1"),
        (SimplifyPolygons, {"tolerance": True}, "tolerance"),
        (SimplifyPolygons, {"preserve_topology": 1}, "preserve_topology"),
    ],
)
def test_arguments_are_checked_by_name(cls, arguments, name):
    with pytest.raises(ConfigError, match=name):
        cls(**arguments)
