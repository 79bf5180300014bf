from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import shapely
from requests_of import TIMES, raw_feature, request_of
from rslearn.utils.geometry import WGS84_PROJECTION
from shapely import MultiPolygon, Point, box
from shapely.geometry import mapping

from olmoearth_nb.errors import GeometryError, InputFileError
from olmoearth_nb.geojson import (
    PredictionRequestCollection,
    feature_label,
    feature_shape,
    read_annotation_features,
    read_request,
    read_result,
    read_task_features,
    request_st_geometry,
    write_collection,
)

TASK_ID = "8f7c2a10-3f6c-4f0e-9a55-0c1d2e3f4a5b"
START, END = datetime(2024, 3, 1, tzinfo=UTC), datetime(2024, 6, 1, tzinfo=UTC)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def to_file(*features: Any, whole: Any = None) -> Path:
        path = tmp_path / "file.geojson"
        path.write_text(json.dumps(whole if whole is not None else {"type": "FeatureCollection", "features": features}))
        return path

    return to_file


def test_a_request_is_read(write: Any) -> None:
    request = read_request(write(raw_feature(box(1, 2, 3, 5), name="a", crop="rye"), raw_feature(Point(4, 5))))
    assert [feature_shape(feature).bounds for feature in request.features] == [(1, 2, 3, 5), (4, 5, 4, 5)]
    properties = request.features[0].properties
    assert (properties.oe_start_time, properties.oe_end_time) == (START, END)
    assert properties.model_extra == {"name": "a", "crop": "rye"}


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-02-24T05:57:00Z", datetime(2024, 2, 24, 5, 57, tzinfo=UTC)),
        ("2024-02-24 05:57:00+00:00", datetime(2024, 2, 24, 5, 57, tzinfo=UTC)),
        ("2024-02-24T05:57:00", datetime(2024, 2, 24, 5, 57, tzinfo=UTC)),
        ("2024-02-24T05:57:00+03:00", datetime(2024, 2, 24, 5, 57, tzinfo=timezone(timedelta(hours=3)))),
        ("2024-02-24", datetime(2024, 2, 24, tzinfo=UTC)),
    ],
)
def test_times(write: Any, text: str, time: datetime) -> None:
    (feature,) = read_request(write(raw_feature(Point(4, 5), oe_start_time=text))).features
    assert feature.properties.oe_start_time == time
    assert feature.properties.oe_start_time.utcoffset() is not None


def test_start_may_be_the_end(write: Any) -> None:
    moment = {"oe_start_time": "2024-02-24T00:00:00Z", "oe_end_time": "2024-02-24T03:00:00+03:00"}
    assert len(read_request(write(raw_feature(Point(4, 5), **moment))).features) == 1


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        ({"oe_start_time": 2024}, r"features\[1\] \(b\).properties.oe_start_time: not a time"),
        ({"oe_start_time": "2024"}, r"oe_start_time: not a time"),  # would be a Unix time: 33 minutes into 1970
        ({"oe_start_time": "1709251200.0"}, r"oe_start_time: not a time"),
        ({"oe_start_time": "yesterday"}, r"oe_start_time: .*found 'yesterday'"),
        ({"oe_start_time": None}, r"oe_start_time"),
        ({"oe_end_time": "2024-02-29T00:00:00Z"}, r"oe_start_time \(2024-03-01.*is after oe_end_time \(2024-02-29"),
    ],
)
def test_wrong_times_are_named(write: Any, properties: dict[str, Any], message: str) -> None:
    path = write(raw_feature(Point(1, 2)), raw_feature(Point(1, 2), name="b", **properties))
    with pytest.raises(InputFileError, match=message) as caught:
        read_request(path)
    assert str(path) in str(caught.value)


def test_a_missing_time_is_named_with_what_else_is_wrong(write: Any) -> None:
    with pytest.raises(InputFileError, match=r"features\[0\] \(x1\).properties.oe_start_time: Field required.*1 more"):
        read_request(write({"type": "Feature", "id": "x1", "geometry": mapping(Point(1, 2)), "properties": {}}))


def test_null_bbox_and_id_are_fine(write: Any) -> None:
    raw = raw_feature(box(1, 2, 3, 5)) | {"id": None, "bbox": None}
    raw["geometry"]["bbox"] = None
    assert feature_shape(read_request(write(raw)).features[0]).area == 6


def test_a_single_feature_and_the_body_of_an_api_call(write: Any) -> None:
    raw = raw_feature(Point(4, 5))
    assert len(read_request(write(whole=raw)).features) == 1
    assert len(read_request(write(whole={"geometry": {"type": "FeatureCollection", "features": [raw]}})).features) == 1


@pytest.mark.parametrize(
    ("whole", "message"),
    [
        ({"type": "FeatureCollection", "features": []}, "no features"),
        ({"type": "FeatureCollection", "features": None}, "list of features"),
        ({"type": "Polygon", "coordinates": []}, "found 'Polygon'"),
        ([1, 2], "found 'list'"),
        ({"type": "FeatureCollection", "features": [3]}, r"features\[0\]: A feature is not an object. Found 3"),
        ({"type": "FeatureCollection", "features": [{"type": "Feature", "id": "k", "properties": None}]},
         r"features\[0\] \(k\).geometry: The feature has no geometry"),
    ],
)  # fmt: skip
def test_what_is_no_request(write: Any, whole: Any, message: str) -> None:
    with pytest.raises(InputFileError, match=message):
        read_request(write(whole=whole))


def test_what_is_no_json(tmp_path: Path) -> None:
    path = tmp_path / "file.geojson"
    path.write_text("{")
    with pytest.raises(InputFileError, match="request file is not JSON"):
        read_request(path)
    with pytest.raises(InputFileError, match="missing"):
        read_request(tmp_path / "other.geojson")


@pytest.mark.parametrize(
    ("geometry", "message"),
    [
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}, "geometry.Polygon.coordinates"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1]]]}, "geometry.Polygon"),
        ({"type": "Blob", "coordinates": [0, 0]}, "geometry"),
        ({"type": "Point", "coordinates": [float("nan"), 0]}, "not numbers"),
        ({"type": "Point", "coordinates": [500_000, 10_000]}, "EPSG:4326"),
        ({"type": "Polygon", "coordinates": []}, "empty"),
    ],
)
def test_wrong_geometries_are_named(write: Any, geometry: dict[str, Any], message: str) -> None:
    raw = raw_feature(Point(0, 0)) | {"geometry": geometry}
    with pytest.raises(InputFileError, match=message) as caught:
        read_request(write(raw))
    assert "features[0]" in str(caught.value)


def test_a_request_across_the_antimeridian_is_cut(write: Any) -> None:
    (feature,) = read_request(write(raw_feature(box(179, 0, 181, 1), name="a"))).features
    assert feature_shape(feature).equals(MultiPolygon([box(179, 0, 180, 1), box(-180, 0, -179, 1)]))
    assert feature.properties.model_extra == {"name": "a"}


def test_heights_are_dropped_where_they_have_to_be(write: Any) -> None:
    geometry = {"type": "Point", "coordinates": [4, 5, 600]}
    (feature,) = read_request(write(raw_feature(Point(0, 0)) | {"geometry": geometry})).features
    assert feature_shape(feature).x == 4


def test_a_request_survives_writing(tmp_path: Path, write: Any) -> None:
    request = read_request(write(raw_feature(box(1, 2, 3, 5), name="a", rate=0.25), raw_feature(Point(4, 5), n=None)))
    write_collection(tmp_path / "new" / "copy.geojson", request)
    assert read_request(tmp_path / "new" / "copy.geojson") == request


# ---- tasks and annotations -----------------------------------------------------------------------------------------


def _task(**properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": mapping(box(1, 2, 3, 5)), "properties": properties}


def test_tasks_in_both_spellings(write: Any) -> None:
    old = {f"es_{key.removeprefix('oe_')}": value for key, value in TIMES.items()} | {"es_annotations_task_id": TASK_ID}
    tasks = read_task_features(write(_task(oe_annotations_task_id=TASK_ID, **TIMES), _task(**old)))
    for task in tasks.features:
        assert str(task.properties.oe_annotations_task_id) == TASK_ID
        assert (task.properties.oe_start_time, task.properties.oe_end_time) == (START, END)


def test_a_task_is_an_area_with_a_uuid(write: Any) -> None:
    with pytest.raises(InputFileError, match="geometry"):
        read_task_features(write(_task(oe_annotations_task_id=TASK_ID, **TIMES) | {"geometry": mapping(Point(1, 2))}))
    with pytest.raises(InputFileError, match=r"oe_annotations_task_id.*found 'seven'"):
        read_task_features(write(_task(oe_annotations_task_id="seven", **TIMES)))
    with pytest.raises(InputFileError, match="is after"):
        turned = {"oe_start_time": TIMES["oe_end_time"], "oe_end_time": TIMES["oe_start_time"]}
        read_task_features(write(_task(oe_annotations_task_id=TASK_ID, **turned)))


def _annotation(**properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": mapping(Point(1, 2)), "properties": properties}


def test_annotations_in_both_spellings(write: Any) -> None:
    path = write(
        _annotation(oe_annotations_task_id=TASK_ID, oe_labels={"a": 1, "b": None, "c": 0.5}),
        _annotation(es_annotations_task_id=TASK_ID, es_label=7),
    )
    assert [one.properties.oe_labels for one in read_annotation_features(path).features] == [
        {"a": 1, "b": None, "c": 0.5},
        {"label": 7},
    ]
    named = read_annotation_features(path, label_property="crop").features[1]
    assert named.properties.oe_labels == {"crop": 7}
    assert str(named.properties.oe_annotations_task_id) == TASK_ID


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ({}, "no value"),
        ({"a": None}, "no value"),
        ({"a": "x"}, "oe_labels.a"),
        ({"a": True}, "oe_labels.a"),
        (3, "oe_labels"),
    ],
)
def test_wrong_labels_are_named(write: Any, labels: Any, message: str) -> None:
    with pytest.raises(InputFileError, match=message):
        read_annotation_features(write(_annotation(oe_annotations_task_id=TASK_ID, oe_labels=labels)))


# ---- results -------------------------------------------------------------------------------------------------------


def test_a_result_may_be_empty_and_needs_no_times(write: Any) -> None:
    assert read_result(write()).features == []
    (feature,) = read_result(
        write({"type": "Feature", "geometry": mapping(Point(1, 2)), "properties": {"n": 3}})
    ).features
    assert feature.properties.oe_start_time is None
    assert feature.properties.model_extra == {"n": 3}


# ---- features ------------------------------------------------------------------------------------------------------


def test_a_feature_in_space_and_time() -> None:
    (feature,) = request_of(box(1, 2, 3, 5)).features
    geometry = request_st_geometry(feature)
    assert geometry.projection == WGS84_PROJECTION
    assert geometry.shp.equals(box(1, 2, 3, 5))
    assert geometry.time_range == (START, END)


def test_a_feature_without_geometry_has_no_place() -> None:
    (feature,) = request_of(None).features
    with pytest.raises(GeometryError, match="no geometry"):
        feature_shape(feature)
    with pytest.raises(GeometryError, match="no geometry or no properties"):
        request_st_geometry(feature)


def test_features_are_called_by_id_else_name() -> None:
    features = [raw_feature(Point(1, 2)) | {"id": "x"}, raw_feature(Point(1, 2), name="b"), raw_feature(Point(1, 2))]
    request = PredictionRequestCollection.model_validate({"type": "FeatureCollection", "features": features})
    assert [feature_label(index, one) for index, one in enumerate(request.features)] == [
        "features[0] (x)",
        "features[1] (b)",
        "features[2]",
    ]


def test_a_collection_of_geometries(write: Any) -> None:
    both = shapely.GeometryCollection([Point(1, 2), box(3, 4, 5, 6)])
    (feature,) = read_request(write(raw_feature(both))).features
    assert feature_shape(feature).equals(both)
