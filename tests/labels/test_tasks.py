import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import shapely
from shapely.geometry import mapping

from olmoearth_nb.errors import InputFileError
from olmoearth_nb.labels import read_annotation_tasks

SAMPLE = Path(__file__).parents[2] / ".." / "shared" / "projects" / "sample"

IDS = [str(uuid.UUID(int=number)) for number in range(10)]
TIMES = {"oe_start_time": "2024-01-01", "oe_end_time": "2024-02-01T12:00:00+02:00"}


def _feature(shp: Any, **properties: Any) -> dict[str, Any]:
    geometry = shp if isinstance(shp, dict) else mapping(shp)
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def _task(number: int, shp: Any = None) -> dict[str, Any]:
    return _feature(shp or shapely.box(number, 0, number + 1, 1), oe_annotations_task_id=IDS[number], **TIMES)


def _annotation(number: int, shp: Any = None, **labels: Any) -> dict[str, Any]:
    return _feature(shp or shapely.Point(number, 0.5), oe_annotations_task_id=IDS[number], oe_labels=labels)


@pytest.fixture
def read(tmp_path: Path) -> Any:
    def read(tasks: list[dict[str, Any]], annotations: list[dict[str, Any]], **options: Any) -> Any:
        paths = tmp_path / "tasks.geojson", tmp_path / "annotations.geojson"
        for path, features in zip(paths, (tasks, annotations), strict=True):
            path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return read_annotation_tasks(*paths, **options)

    return read


def test_annotations_come_to_their_tasks_in_order(read: Any) -> None:
    result = read(
        [_task(2), _task(1), _task(3)],
        [_annotation(1, a=1), _annotation(2, a=2), _annotation(1, shapely.Point(1.2, 0.1), b=0.5, a=None)],
    )

    assert [str(task.task_id) for task in result.tasks] == [IDS[2], IDS[1], IDS[3]]
    assert [[a.labels for a in task.annotations] for task in result.tasks] == [
        [{"a": 2}],
        [{"a": 1}, {"b": 0.5, "a": None}],
        [],
    ]
    task = result.tasks[1]
    assert task.bounds == (1, 0, 2, 1)
    assert task.annotations[1].st_geometry.shp == shapely.Point(1.2, 0.1)
    times = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, 10, tzinfo=UTC))
    assert task.task_st_geometry.time_range == task.annotations[1].st_geometry.time_range == times


def test_what_is_left_out_is_counted_and_shown(read: Any) -> None:
    result = read(
        [_task(1), _task(2)],
        [_annotation(1, a=1, b=2), _annotation(7, a=1), _annotation(7, a=1), _annotation(8, a=1)],
    )

    assert (result.task_count, result.annotation_count, result.left_out_count) == (2, 1, 3)
    assert result.unknown_tasks == {uuid.UUID(int=7): 2, uuid.UUID(int=8): 1}
    assert result.empty_tasks == [uuid.UUID(int=2)]
    assert result.label_counts == {"a": 1, "b": 1}
    for text in (str(result), result._repr_html_()):
        assert IDS[7] in text
        assert IDS[2] in text
        assert "annotations left out" in text


def test_labels_show_as_text_not_as_markup(read: Any) -> None:
    html = read([_task(1)], [_annotation(1, **{"<script>": 1})])._repr_html_()
    assert "&lt;script&gt;" in html
    assert "<script>" not in html


def test_two_tasks_of_one_id_are_refused_with_both_places(read: Any) -> None:
    with pytest.raises(InputFileError, match=rf"features\[2\].*same id.*found {IDS[1]}, which features\[0\] has"):
        read([_task(1), _task(2), _task(1)], [_annotation(1, a=1)])


def test_self_intersecting_polygons_are_repaired(read: Any) -> None:
    bow_tie = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [1, 0], [0, 1], [0, 0]]]}
    result = read([_task(1, bow_tie)], [_annotation(1, bow_tie, a=1)])
    for geometry in (result.tasks[0].task_st_geometry, result.tasks[0].annotations[0].st_geometry):
        assert geometry.shp.is_valid
        assert geometry.shp.geom_type == "MultiPolygon"
        assert geometry.shp.area == pytest.approx(0.5)


def test_a_spike_is_cut_off_by_the_repair(read: Any) -> None:
    spiked = {"type": "Polygon", "coordinates": [[[0, 0], [2, 0], [2, 1], [5, 1], [2, 1], [0, 1], [0, 0]]]}
    result = read([_task(1, spiked)], [_annotation(1, a=1)])
    assert result.tasks[0].task_st_geometry.shp.equals(shapely.box(0, 0, 2, 1))


def test_a_polygon_without_area_is_refused_by_name(read: Any) -> None:
    flat = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2], [0, 0]]]}
    with pytest.raises(InputFileError, match=r"annotations\.geojson: features\[1\]\.geometry: The polygon has no area"):
        read([_task(1)], [_annotation(1, a=1), _annotation(1, flat, a=1)])
    with pytest.raises(InputFileError, match=r"tasks\.geojson: features\[0\]\.geometry: The polygon has no area"):
        read([_task(1, flat)], [_annotation(1, a=1)])


def test_a_task_across_the_antimeridian_is_cut_there(read: Any) -> None:
    result = read([_task(1, shapely.box(179.5, 0, 180.5, 1))], [_annotation(1, shapely.Point(180.25, 0.5), a=1)])
    assert result.tasks[0].task_st_geometry.shp.geom_type == "MultiPolygon"
    assert result.tasks[0].annotations[0].st_geometry.shp == shapely.Point(-179.75, 0.5)


def test_the_older_spelling_is_read(read: Any) -> None:
    times = {"es_start_time": "2024-02-24 05:57:00+00:00", "es_end_time": "2024-02-24 05:57:00+00:00"}
    task = _feature(shapely.box(0, 0, 1, 1), es_annotations_task_id=IDS[1], **times)
    annotation = _feature(shapely.Point(0.5, 0.5), es_annotations_task_id=IDS[1], es_label=3, **times)

    assert read([task], [annotation]).tasks[0].annotations[0].labels == {"label": 3}
    result = read([task], [annotation], label_property="category")
    assert result.tasks[0].annotations[0].labels == {"category": 3}


@pytest.mark.parametrize("properties", [None, {"oe_annotations_task_id": IDS[1]}])
def test_features_without_properties_are_refused(read: Any, properties: Any) -> None:
    broken = _task(1) | {"properties": properties}
    with pytest.raises(InputFileError, match=r"features\[0\]\.properties"):
        read([broken], [_annotation(1, a=1)])


@pytest.mark.skipif(not SAMPLE.exists(), reason="the published projects are not beside the checkout")
def test_the_sample_project_is_read() -> None:
    result = read_annotation_tasks(
        SAMPLE / "annotation_task_features.geojson",
        SAMPLE / "annotation_features.geojson",
        label_property="category",
    )
    assert result.annotation_count > 0
    assert set(result.label_counts) == {"category"}
    assert result.left_out_count == 0
