from __future__ import annotations

import json
import re
from pathlib import Path

import geopandas as gpd
import label_files
import numpy as np
import pytest
import scenes
import shapely
import yaml

from olmoearth_nb import OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner, Project, new_project, propose_project
from olmoearth_nb.errors import UsageError
from olmoearth_nb.geojson import read_annotation_features, read_request
from olmoearth_nb.labels import read_annotation_tasks
from olmoearth_nb.newproject.model import model_text
from olmoearth_nb.newproject.writing import write_project
from olmoearth_nb.runners.components import Components

CATALOGUES = [
    ("sentinel2", "olmoearth-nano", "segmentation"),
    ("sentinel1", "olmoearth-tiny", "regression"),
    ("landsat", "unet", "classification"),
]
MORE = [
    *(("sentinel2", "olmoearth-nano", task) for task in label_files.TASKS[1:]),
    ("sentinel2", "unet", "segmentation"),
    ("sentinel1", "unet", "per-pixel-regression"),
    ("landsat", "olmoearth-base", "classification"),
]


def errors_of(project: Path) -> list[str]:
    """What a check finds wrong; a new project has no checkpoint yet."""
    found = Project(project).check().problems
    return [f"{one.file} {one.key}: {one.found}" for one in found if one.file != "checkpoint.ckpt"]


@pytest.mark.parametrize("task", label_files.TASKS)
def test_a_local_project_is_complete_and_checks(tmp_path: Path, task: str) -> None:
    source = label_files.scene_folder(tmp_path / "imagery")
    made = new_project(tmp_path / "mine", label_files.points(), task=task, source=source, encoder="unet")
    assert made.ok
    assert errors_of(made.path) == []
    names = {path.name for path in made.path.iterdir()}
    assert names == {
        "README.md",
        "annotation_features.geojson",
        "annotation_task_features.geojson",
        "dataset.json",
        "model.yaml",
        "olmoearth_run.yaml",
        "prediction_request_geometry.geojson",
    }
    assert made.to_dict()["path"] == str(made.path)
    assert "olmoearth-nb prepare" in repr(made)


@pytest.mark.parametrize(
    ("source", "encoder", "task"), [*CATALOGUES, *(pytest.param(*one, marks=pytest.mark.slow) for one in MORE)]
)
def test_a_catalogue_project_checks(tmp_path: Path, source: str, encoder: str, task: str) -> None:
    proposal = propose_project(label_files.points(), task=task, source=source, encoder=encoder)
    made = write_project(proposal, tmp_path / "mine")
    assert errors_of(made.path) == []
    layers = json.loads((made.path / "dataset.json").read_text())["layers"]
    assert list(layers) == [source, "label", "output"]
    dates = 12 if encoder != "unet" else 1
    assert layers[source]["data_source"]["query_config"]["max_matches"] == dates


def test_polygons_end_with_their_windows_and_each_window_has_a_label(tmp_path: Path) -> None:
    # Three cells wide and askew to the grid; the last one is too small for any pixel.
    drawn = [
        shapely.Polygon([(x, y), (x + 80, y + 3), (x + 78, y + 40.2), (x + 1, y + 37)])
        for x, y in ((10, 10), (120, 10), (10, 90), (120, 90), (230, 10), (230, 90))
    ]
    shapes = [scenes.pixel_shape(shp) for shp in [*drawn, shapely.box(60.6, 70.6, 60.9, 70.9)]]
    frame = gpd.GeoDataFrame({"crop": ["wheat", "maize"] * 3 + ["wheat"]}, geometry=shapes, crs=4326)
    made = new_project(tmp_path / "mine", frame, task="segmentation", window_size=32)
    runner = OlmoEarthRunFineTuneRunner(made.path, tmp_path / "scratch", progress=False)
    findings = {one.code: one for one in runner.label_report().findings}
    assert findings["outside-tasks"].numbers == {"partly": 0, "wholly": 0}
    assert findings["overlaps"].numbers["pairs"] == findings["conflicts"].numbers["pairs"] == 0
    assert made.proposal.left_out == {"covering the centre of no pixel": 1}
    assert {one.name: one.count for one in made.proposal.classes} == {"maize": 3, "wheat": 3}
    components = Components(Project(made.path))
    tasks = read_annotation_tasks(*components.project.annotation_paths).tasks
    preparer = components.window_preparer()
    windows = [window for task in tasks for window in preparer.prepare_labeled_windows(task)]
    assert len(windows) == len(tasks) == made.proposal.window_count
    labelled = sum(int((one.labels[0].value != 255).sum()) for one in windows)
    assert labelled == pytest.approx(shapely.area(drawn).sum(), rel=0.01)


def test_files_say_what_was_proposed(tmp_path: Path) -> None:
    proposal = propose_project(
        label_files.points(), task="segmentation", colors={"water": "#0a0b0c"}, epochs=30, label_name="Crop Type"
    )
    path = write_project(proposal, tmp_path / "mine").path
    run = yaml.safe_load((path / "olmoearth_run.yaml").read_text())
    (field,) = run["inference_results_config"]["classification_fields"]
    assert field["property_name"] == "crop_type"
    assert [one["label"] for one in field["allowed_values"]] == ["field", "forest", "water"]
    assert field["allowed_values"][2] == {"value": 2, "label": "water", "color": [10, 11, 12]}
    assert yaml.safe_load((path / "model.yaml").read_text())["trainer"]["max_epochs"] == 30
    labels = [
        one.properties.oe_labels for one in read_annotation_features(path / "annotation_features.geojson").features
    ]
    frame = label_files.points()
    order = {"field": 0, "forest": 1, "water": 2}
    assert sorted(label["crop_type"] for label in labels) == sorted(order[crop] for crop in frame["crop"])
    (feature,) = read_request(path / Project.REQUEST_NAME).features
    assert feature.properties.oe_start_time.year == proposal.time_range[0].year


def test_all_dates_are_read_at_once() -> None:
    proposal = propose_project(label_files.points(), task="segmentation", encoder="olmoearth-nano")
    inputs = yaml.safe_load(model_text(proposal))["data"]["init_args"]["inputs"]
    assert inputs["sentinel2_l2a"]["load_all_item_groups"]
    # Without this rslearn takes one of the dates at random.
    assert inputs["sentinel2_l2a"]["load_all_layers"]


def test_a_request_among_local_files_has_imagery_in_all_of_its_windows(tmp_path: Path) -> None:
    image = label_files.scene_folder(tmp_path / "imagery", size=256)
    made = new_project(tmp_path / "mine", label_files.points(size=256), task="segmentation", source=image)
    plan = OlmoEarthRunPredictRunner(made.path, tmp_path / "scratch").plan()
    bounds = np.array([spec.bounds for one in plan.partitions for spec in one.windows]).reshape(-1, 2, 2)
    inside = bounds - np.array(scenes.CORNER)
    assert len(inside) >= 4
    assert inside.min() >= 0
    assert inside.max() <= 256


def test_comments_explain_and_no_line_is_too_long(tmp_path: Path) -> None:
    path = write_project(propose_project(label_files.points(), task="classification"), tmp_path / "mine").path
    for name in ("model.yaml", "olmoearth_run.yaml"):
        lines = (path / name).read_text().splitlines()
        assert sum("#" in line for line in lines) >= 8
        assert max(map(len, lines)) <= 140
        assert not any(re.search(r"@[A-Z]{3,}", line) for line in lines)


@pytest.mark.parametrize("there", ["file", "folder"])
def test_what_is_there_is_not_overwritten(tmp_path: Path, there: str) -> None:
    target = tmp_path / "mine"
    if there == "file":
        target.write_text("precious")
    else:
        target.mkdir()
        (target / "dataset.json").write_text("precious")
    with pytest.raises(UsageError, match="something at the place"):
        new_project(target, label_files.points(), task="segmentation")
    assert (target if there == "file" else target / "dataset.json").read_text() == "precious"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_failure_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> str:
        raise UsageError("No.")

    monkeypatch.setattr("olmoearth_nb.newproject.writing.run_text", fail)
    with pytest.raises(UsageError, match=r"No\."):
        write_project(propose_project(label_files.points(), task="segmentation"), tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


def test_the_same_labels_give_the_same_bytes(tmp_path: Path) -> None:
    one, other = (
        write_project(propose_project(label_files.fields(), task="segmentation"), tmp_path / name / "mine").path
        for name in ("a", "b")
    )
    assert {path.name: path.read_bytes() for path in one.iterdir()} == {
        path.name: path.read_bytes() for path in other.iterdir()
    }


def test_imagery_is_found_from_the_project_when_both_move(tmp_path: Path) -> None:
    source = label_files.scene_folder(tmp_path / "work" / "imagery")
    made = new_project(tmp_path / "work" / "mine", label_files.points(), task="segmentation", source=source)
    (tmp_path / "work").rename(tmp_path / "moved")
    layers = json.loads((tmp_path / "moved" / "mine" / "dataset.json").read_text())["layers"]
    assert layers["imagery"]["data_source"]["init_args"]["src_dir"] == "../imagery"
    assert made.proposal.imagery.bands == scenes.BANDS
    assert errors_of(tmp_path / "moved" / "mine") == []
