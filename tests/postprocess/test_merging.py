"""Vector results merged into a file: the bytes are those that models give."""

from __future__ import annotations

import gc
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shapely.geometry import LineString, MultiPoint, Point, box, mapping

from olmoearth_nb.errors import GeometryError, InputFileError, PostprocessError, StorageError
from olmoearth_nb.geojson import PredictionResultCollection, read_result, write_collection
from olmoearth_nb.postprocess import CombineAndDeduplicateGeojson, CombineGeojson, SimplifyPolygons
from olmoearth_nb.postprocess.calls import merged_features
from olmoearth_nb.postprocess.merging import write_merged

OURS = [CombineGeojson(), CombineAndDeduplicateGeojson(min_iou=0.5, point_nearness=0.1)]
PLACES = st.sampled_from([-179.95, 0.0, 0.05, 0.1 + 0.2, 1 / 3, 179.9])
GEOMETRIES = st.one_of(
    st.builds(lambda x, y: mapping(Point(x, y / 3)), PLACES, PLACES),
    st.builds(lambda x, size: mapping(box(x, 0, x + size, size)), PLACES, st.sampled_from([0.1, 0.11, 1 / 7])),
    st.builds(lambda x: mapping(LineString([(x, 0, 5), (1, 1, 1e-7)])), PLACES),
    st.builds(lambda x: mapping(MultiPoint([(x, 0), (1, 1)])), PLACES),
    st.builds(
        lambda x: {
            "type": "GeometryCollection",
            "geometries": [mapping(Point(x, 1)), mapping(LineString([(x, 0), (1, 1)]))],
        },
        PLACES,
    ),
)
PROPERTIES = st.none() | st.dictionaries(
    st.text(max_size=3),
    st.none() | st.floats(allow_nan=False) | st.text(max_size=3) | st.lists(st.integers()),
    max_size=3,
)
FEATURES = st.fixed_dictionaries(
    {"type": st.just("Feature"), "geometry": GEOMETRIES, "properties": PROPERTIES},
    optional={"id": st.integers() | st.text(max_size=2), "bbox": st.just([0, 0, 1, 1])},
)


def merged(target: Path, merge: Any, results: Any) -> bytes:
    write_merged(target, merge, "process_dataset", results, where="here")
    return target.read_bytes()


def by_models(target: Path, merge: Any, results: list[PredictionResultCollection]) -> bytes:
    write_collection(target, merged_features(merge, "process_dataset", results, where="here"))
    return target.read_bytes()


def squares(count: int) -> list[dict[str, Any]]:
    return [
        {"type": "Feature", "geometry": mapping(box(i / 7, 0, i / 7 + 0.1, 0.1)), "properties": {"i": i}}
        for i in range(count)
    ]


def collected(*features: dict[str, Any]) -> PredictionResultCollection:
    return PredictionResultCollection.model_validate({"type": "FeatureCollection", "features": features})


@pytest.mark.parametrize("merge", OURS, ids=lambda one: type(one).__name__)
@given(parts=st.lists(st.lists(FEATURES, max_size=6), max_size=3))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_are_those_of_models(tmp_path: Path, merge: Any, parts: list[list[dict[str, Any]]]) -> None:
    collections = [collected(*part) for part in parts]
    assert merged(tmp_path / "a", merge, iter(collections)) == by_models(tmp_path / "b", merge, collections)
    paths = [tmp_path / f"{index}.geojson" for index in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        path.write_text(json.dumps({"type": "FeatureCollection", "features": part}))
    assert merged(tmp_path / "a", merge, paths) == by_models(tmp_path / "b", merge, [read_result(p) for p in paths])


def test_features_without_geometry_pass_or_go(tmp_path: Path) -> None:
    nowhere = {"type": "Feature", "geometry": None, "properties": {"i": 9}}
    result = collected(nowhere, *squares(2))
    assert b'"geometry":null' in merged(tmp_path / "a", CombineGeojson(), [result])
    assert json.loads(merged(tmp_path / "a", CombineAndDeduplicateGeojson(), [result])) == json.loads(
        by_models(tmp_path / "b", CombineAndDeduplicateGeojson(), [collected(*squares(2))])
    )


def test_what_derives_from_ours_and_others_get_models(tmp_path: Path) -> None:
    class Marks(CombineAndDeduplicateGeojson):
        def process_dataset(self, results: list[PredictionResultCollection]) -> PredictionResultCollection:
            result = super().process_dataset(results)
            for feature in result.features:
                feature.properties.seen = True
            return result

    path = tmp_path / "part.geojson"
    write_collection(path, collected(*squares(3), *squares(2)))
    features = json.loads(merged(tmp_path / "a", Marks(), [path]))["features"]
    assert [one["properties"]["seen"] for one in features] == [True] * 3
    assert len(json.loads(merged(tmp_path / "a", SimplifyPolygons(), [path]))["features"]) == 5


@pytest.mark.parametrize("merge", OURS, ids=lambda one: type(one).__name__)
def test_a_damaged_file_leaves_the_last_result(tmp_path: Path, merge: Any) -> None:
    path, target = tmp_path / "part.geojson", tmp_path / "result.geojson"
    write_collection(path, collected(*squares(3)))
    before = merged(target, merge, [path])
    text = path.read_text()
    for damaged in (text[:-30], text.replace('"Polygon"', '"Poligon"')):
        path.write_text(damaged)
        with pytest.raises(InputFileError, match=r"part\.geojson"):
            write_merged(target, merge, "process_dataset", [path], where="here")
        assert target.read_bytes() == before
    assert {one.name for one in tmp_path.iterdir()} == {"part.geojson", "result.geojson"}


def test_errors_are_those_of_models(tmp_path: Path) -> None:
    mixed = {"type": "LineString", "coordinates": [[0, 0], [1, 1, 1]]}
    odd = collected({"type": "Feature", "geometry": mixed, "properties": {}})
    for merge in (merged, by_models):
        with pytest.raises(GeometryError, match="can't be made"):
            merge(tmp_path / "a", CombineAndDeduplicateGeojson(), [odd])
    unwritable = collected({"type": "Feature", "geometry": mapping(Point(0, 0)), "properties": {"x": object()}})
    for merge in (merged, by_models):
        with pytest.raises(StorageError, match="can't be written as JSON"):
            merge(tmp_path / "a", CombineGeojson(), [unwritable])
    broken = CombineAndDeduplicateGeojson()
    broken.min_iou = None  # type: ignore[assignment]
    for merge in (merged, by_models):
        with pytest.raises(PostprocessError, match=r"CombineAndDeduplicateGeojson.process_dataset failed"):
            merge(tmp_path / "a", broken, [collected(*squares(2))])


def test_a_feature_costs_a_fraction_of_its_model(tmp_path: Path) -> None:
    path = tmp_path / "part.geojson"
    write_collection(path, collected(*squares(1_000)))
    peaks = []
    for work in (
        lambda: merged(tmp_path / "a", CombineAndDeduplicateGeojson(), [path]),
        lambda: by_models(tmp_path / "b", CombineAndDeduplicateGeojson(), [read_result(path)]),
    ):
        gc.collect()
        tracemalloc.start()
        work()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[0] < 0.4 * peaks[1]
