"""The list of bad input: one error each that names file and key or feature, and nothing half-written taken for done."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scenes
import yaml

from olmoearth_nb import OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner, Project
from olmoearth_nb.errors import OlmoEarthError

REQUEST = "prediction_request_geometry.geojson"
CONFIG_FILES = ("dataset.json", "olmoearth_run.yaml", "model.yaml", REQUEST)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return scenes.make_raster_project(tmp_path / "project")


def _change_json(path: Path, change: Callable[[Any], object]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def _change_yaml(path: Path, change: Callable[[Any], object]) -> None:
    data = yaml.safe_load(path.read_text())
    change(data)
    path.write_text(yaml.safe_dump(data))


def _predict(project: Path) -> None:
    OlmoEarthRunPredictRunner(project, project.parent / "scratch", progress=False).run_pipeline(["partition"])


def _prepare(project: Path) -> None:
    OlmoEarthRunFineTuneRunner(project, project.parent / "tuning", progress=False).prepare_labeled_windows()


@pytest.mark.parametrize("name", ["dataset.json", "olmoearth_run.yaml", REQUEST])
@pytest.mark.parametrize("text", [None, b"", b"{half", b"\xff\xfe\x00bin", b"[1, 2]", b"null"])
def test_a_missing_or_malformed_file_is_named(project: Path, name: str, text: bytes | None) -> None:
    if text is None:
        (project / name).unlink()
    else:
        (project / name).write_bytes(text)
    with pytest.raises(OlmoEarthError, match=f"(?s){name.split('.')[0]}"):
        _predict(project)
    assert not (project.parent / "scratch" / "partitions").exists()


@pytest.mark.parametrize("name", ["annotation_features.geojson", "annotation_task_features.geojson"])
@pytest.mark.parametrize("text", [None, b"", b"{half", b"[]"])
def test_a_missing_or_malformed_annotation_file_is_named(project: Path, name: str, text: bytes | None) -> None:
    if text is None:
        (project / name).unlink()
    else:
        (project / name).write_bytes(text)
    with pytest.raises(OlmoEarthError, match=name):
        _prepare(project)


@pytest.mark.parametrize("text", [b"", b"model: [", b"- 1", b"model: {class_path: nowhere.Nothing}"])
def test_a_malformed_model_is_reported_by_the_check(project: Path, text: bytes) -> None:
    (project / "model.yaml").write_bytes(text)
    report = Project(project).check()
    assert any(problem.file == "model.yaml" for problem in report.errors)
    assert report.steps["partition"]  # type: ignore[index]
    assert not report.steps["fine_tune"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.pop("oe_start_time"), r"features\[0\].*oe_start_time"),
        (lambda p: p.update(oe_start_time=None), r"features\[0\].*oe_start_time"),
        (lambda p: p.update(oe_start_time="2030-01-01"), r"features\[0\].*after oe_end_time"),
        (lambda p: p.update(oe_end_time="soon"), r"features\[0\].*oe_end_time"),
    ],
)
def test_times_of_a_request(project: Path, change: Callable[[Any], object], words: str) -> None:
    _change_json(project / REQUEST, lambda data: change(data["features"][0]["properties"]))
    with pytest.raises(OlmoEarthError, match=f"{REQUEST}.*{words}"):
        _predict(project)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.update(features=[]), "no features"),
        (lambda data: data["features"][0].update(geometry=None), r"features\[0\].*no geometry"),
        (lambda data: data["features"][0]["geometry"].update(coordinates=[]), r"features\[0\]"),
        (lambda data: data["features"][0]["geometry"].update(type="Blob"), r"features\[0\].*Blob"),
    ],
)
def test_features_of_a_request(project: Path, change: Callable[[Any], object], words: str) -> None:
    _change_json(project / REQUEST, change)
    with pytest.raises(OlmoEarthError, match=f"{REQUEST}.*{words}"):
        _predict(project)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("partition_request_geometry", {"class_path": "GirdPartitioner"}, "Did you mean GridPartitioner"),
        (
            "partition_request_geometry",
            {"class_path": "FixedWindowPartitioner", "init_args": {"window_size": 8}},
            "can't be",
        ),
        (
            "prepare_window_geometries",
            {"class_path": "GridPartitioner", "init_args": {"grid_size": "big"}},
            "grid_size",
        ),
        ("prepare_window_geometries", {"class_path": "GridPartitioner", "init_args": {"grid_size": -1}}, "grid_size"),
        ("prepare_window_geometries", {"class_path": "GridPartitioner", "init_args": {"gird": 1}}, "gird"),
        ("prepare_window_geometries", {"class_path": "nowhere.at.All"}, "nowhere"),
    ],
)
def test_classes_and_arguments(project: Path, key: str, value: dict[str, Any], words: str) -> None:
    _change_yaml(project / "olmoearth_run.yaml", lambda data: data["partition_strategies"].update({key: value}))
    with pytest.raises(OlmoEarthError, match=f"(?s)olmoearth_run.yaml: partition_strategies.{key}.*{words}"):
        _predict(project)


def test_a_label_outside_the_legend_is_reported_with_its_feature(project: Path) -> None:
    def strange(data: Any) -> None:
        data["features"][5]["properties"]["oe_labels"]["category"] = 77

    _change_json(project / "annotation_features.geojson", strange)
    (problem,) = [one for one in Project(project).check(model=False).problems if one.severity == "warning"]
    assert problem.file == "annotation_features.geojson"
    assert problem.key == "features[5].properties.oe_labels.category"
    assert "no class 77" in problem.found


def test_a_label_that_its_raster_cannot_hold_is_an_error(project: Path) -> None:
    def strange(data: Any) -> None:
        data["features"][5]["properties"]["oe_labels"]["category"] = 300

    _change_json(project / "annotation_features.geojson", strange)
    with pytest.raises(OlmoEarthError, match="does not fit a uint8 raster"):
        _prepare(project)


def test_an_empty_partition_is_an_error_that_says_why(project: Path) -> None:
    mask = project / "mask.geojson"
    mask.write_text(json.dumps(scenes.collection([(scenes.pixel_box(900, 900, 910, 910), {})])))
    runner = OlmoEarthRunPredictRunner(project, project.parent / "scratch", mask_path=mask, progress=False)
    with pytest.raises(OlmoEarthError, match=r"(?i)no (partition|window)"):
        runner.partition()


def test_a_mended_project_goes_on(project: Path) -> None:
    good = (project / REQUEST).read_text()
    (project / REQUEST).write_text("{half")
    with pytest.raises(OlmoEarthError):
        _predict(project)
    (project / REQUEST).write_text(good)
    _predict(project)
