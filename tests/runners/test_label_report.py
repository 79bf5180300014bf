"""``runner.label_report()`` before and after windows are prepared, as a table, a map and a command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import scenes
from rslearn.dataset import Window

from olmoearth_nb import OlmoEarthRunFineTuneRunner
from olmoearth_nb.cli import main
from olmoearth_nb.maps.layers import LayerKind


@pytest.fixture
def runner(tmp_path: Path) -> OlmoEarthRunFineTuneRunner:
    project = scenes.make_vector_project(tmp_path / "project")
    return OlmoEarthRunFineTuneRunner(project, tmp_path / "scratch", progress=False)


def plant(runner: OlmoEarthRunFineTuneRunner) -> dict[str, Any]:
    """A second point in the pixel of the first one, with another label, and a task without any."""
    tasks, annotations = (json.loads(path.read_text()) for path in runner.project.annotation_paths)
    first = annotations["features"][0]
    key = next(iter(first["properties"]["oe_labels"]))
    value = first["properties"]["oe_labels"][key]
    annotations["features"].append({**first, "properties": {**first["properties"], "oe_labels": {key: value + 1}}})
    empty = json.loads(json.dumps(tasks["features"][0]))
    empty["properties"]["oe_annotations_task_id"] = scenes.task_id(9999)
    tasks["features"].append(empty)
    for path, data in zip(runner.project.annotation_paths, (tasks, annotations), strict=True):
        path.write_text(json.dumps(data))
    return dict(first)


def test_before_windows_nothing_is_written(runner: OlmoEarthRunFineTuneRunner) -> None:
    report = runner.label_report()
    assert report.windows is not None
    assert report.windows.planned
    assert "(windows as planned)" in repr(report)
    assert not runner.workspace.root.exists()
    assert [one.verdict for one in report.findings] == sorted(
        (one.verdict for one in report.findings), key=["bad", "look", "good"].index
    )
    assert report.conflicts.empty
    json.dumps(report.to_dict())


def test_after_windows_the_scratch_counts(runner: OlmoEarthRunFineTuneRunner) -> None:
    planned = runner.label_report()
    runner.prepare_labeled_windows()
    prepared = runner.label_report()
    assert prepared.windows is not None
    assert planned.windows is not None
    assert not prepared.windows.planned
    columns = ["name", "split"]
    assert prepared.windows.table[columns].equals(planned.windows.table[columns])
    for window in runner.scratch.windows():
        moved: Window = window
        moved.options["split"] = "train"
        moved.save()
    assert runner.label_report().of("splits")[0].verdict == "bad"


def test_what_is_wrong_is_on_the_map(runner: OlmoEarthRunFineTuneRunner) -> None:
    plant(runner)
    report = runner.label_report()
    assert not report.ok
    assert len(report.conflicts) == 1
    assert len(report.empty_tasks) == 1
    layers = {layer.name.split(" (")[0]: layer for layer in report.layers()}
    assert {"annotations", "windows", "conflicts", "tasks without labels"} <= set(layers)
    assert layers["conflicts"].kind is LayerKind.CHANGES
    assert ("too near to train" in layers) == (len(report.leaks) > 0)
    assert report.plot().axes
    assert report.map().layers


def test_a_file_that_preparation_refuses_is_reported(runner: OlmoEarthRunFineTuneRunner) -> None:
    path = runner.project.annotation_paths[1]
    data = json.loads(path.read_text())
    name = "<img src=x onerror=alert(1)>"
    data["features"][0]["properties"]["oe_annotations_task_id"] = name
    path.write_text(json.dumps(data))
    report = runner.label_report()
    assert report.of("unreadable")[0].numbers == {"task id": 1}
    assert "<img" not in report._repr_html_()
    assert "&lt;img" in report._repr_html_()
    assert report.windows is not None


def test_windows_that_cannot_be_made_are_reported(runner: OlmoEarthRunFineTuneRunner) -> None:
    path = runner.project.annotation_paths[1]
    data = json.loads(path.read_text())
    data["features"][0]["geometry"] = scenes.pixel_box(0, 0, 5, 5)
    path.write_text(json.dumps(data))
    found = runner.label_report().of("windows")[0]
    assert found.verdict == "bad"
    assert "Point" in found.found


def test_command(runner: OlmoEarthRunFineTuneRunner, capsys: pytest.CaptureFixture[str]) -> None:
    plant(runner)
    code = main(["label-report", str(runner.project.path), "--scratch-path", str(runner.workspace.root), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert (code, said["verdict"]) == (1, "bad")
    assert next(one for one in said["findings"] if one["code"] == "conflicts")["numbers"]["pairs"] == 1


def test_a_folder_beside_the_project_is_found(runner: OlmoEarthRunFineTuneRunner) -> None:
    path = runner.project.dataset_config_path
    config = json.loads(path.read_text())
    arguments = {"src_dir": "../images", "time_pattern": r"_(?P<date>\d{8})"}
    config["layers"]["scene"]["data_source"] = {
        "class_path": "olmoearth_nb.sources.LocalRasters",
        "init_args": arguments,
    }
    path.write_text(json.dumps(config))
    folder = path.parent.parent / "images"
    folder.mkdir()
    (folder / "scene_20240101.tif").touch()
    (found,) = [one.found for one in runner.label_report().findings if one.code == "time-imagery"]
    assert "1 file from 2024-01-01" in found
