from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import scenes

from olmoearth_nb import OlmoEarthRunFineTuneRunner
from olmoearth_nb.errors import ConfigError, InputFileError, MissingStepError, OlmoEarthError, StaleScratchError

from .conftest import Trained


def test_the_workflow_learns_the_classes(trained_raster: Trained) -> None:
    prepare, build, train = trained_raster.summaries
    assert prepare.counts["windows"] == 16
    assert prepare.counts["train"] + prepare.counts["val"] + prepare.counts["test"] == 16
    assert build.counts["built"] == 16
    assert train.counts["epochs"] == 6
    metrics = trained_raster.runner.evaluate("test").metrics
    assert metrics["windows"] == prepare.counts["test"]
    assert metrics["segment/accuracy"] > 0.9


def test_evaluation_can_leave_out_what_training_windows_cover(trained_raster: Trained) -> None:
    whole = trained_raster.runner.evaluate("test").metrics
    assert trained_raster.runner.evaluate("test", apart_from="train").metrics == whole
    with pytest.raises(MissingStepError, match="no window of the split 'test'"):
        trained_raster.runner.evaluate("test", apart_from="test")


def test_repeating_finds_everything_done(trained_raster: Trained) -> None:
    again = OlmoEarthRunFineTuneRunner(trained_raster.project, trained_raster.runner.workspace.root, progress=False)
    prepare, build, train = again.run_pipeline()
    assert prepare.counts["written"] == 0
    assert build.counts["built before"] == 16
    assert train.seconds < 5
    assert set(again.status().to_dict().values()) == {"done"}


def test_the_windows_table_tells_split_state_and_layers(trained_raster: Trained) -> None:
    table = trained_raster.runner.windows()
    assert set(table["split"]) <= {"train", "val", "test"}
    assert set(table["state"]) == {"built"}
    assert set(table["layer_scene"]) == set(table["layer_label"]) == {"built"}
    assert table.crs.to_epsg() == 4326
    assert ((table["x1"] - table["x0"]) == 32).all()


def test_steps_out_of_order_name_the_missing_call(tmp_path: Path) -> None:
    runner = OlmoEarthRunFineTuneRunner(scenes.make_raster_project(tmp_path / "p"), tmp_path / "s", progress=False)
    with pytest.raises(MissingStepError, match=r"runner\.prepare_labeled_windows\(\)"):
        runner.build_dataset_from_windows()
    assert runner.status()["prepare_labeled_windows"] == "missing"
    runner.prepare_labeled_windows()
    with pytest.raises(MissingStepError, match=r"runner\.build_dataset_from_windows\(\)"):
        runner.fine_tune()


def test_changed_annotations_are_noticed_and_can_be_taken(tmp_path: Path) -> None:
    project = scenes.make_raster_project(tmp_path / "p")
    runner = OlmoEarthRunFineTuneRunner(project, tmp_path / "s", progress=False)
    runner.prepare_labeled_windows()
    path = project / "annotation_task_features.geojson"
    tasks = json.loads(path.read_text())
    tasks["features"] = tasks["features"][:3]
    path.write_text(json.dumps(tasks))
    with pytest.raises(StaleScratchError, match=r"annotation_task_features changed.*overwrite=True"):
        runner.prepare_labeled_windows()
    with pytest.raises(StaleScratchError):
        runner.windows()
    summary = runner.prepare_labeled_windows(overwrite=True)
    assert summary.counts["windows"] == len(runner.windows()) == 3
    assert summary.counts["annotations without task"] == 13 * 16


def test_the_same_split_in_any_order(tmp_path: Path) -> None:
    project = scenes.make_raster_project(tmp_path / "p")
    first = OlmoEarthRunFineTuneRunner(project, tmp_path / "a", progress=False)
    first.prepare_labeled_windows()
    before = dict(zip(first.windows()["name"], first.windows()["split"], strict=True))
    path = project / "annotation_task_features.geojson"
    tasks = json.loads(path.read_text())
    tasks["features"].reverse()
    path.write_text(json.dumps(tasks))
    second = OlmoEarthRunFineTuneRunner(project, tmp_path / "b", progress=False)
    second.prepare_labeled_windows()
    assert dict(zip(second.windows()["name"], second.windows()["split"], strict=True)) == before


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"labeled_window_preparer": {"class_path": "PolygonToRaster"}}, OlmoEarthError, "labeled_window_preparer"),
        (
            {"data_splitter": {"class_path": "RandomDataSplitter", "init_args": {"train_prop": "x"}}},
            OlmoEarthError,
            "train_prop",
        ),
    ],
)
def test_a_wrong_window_prep_names_the_key(
    tmp_path: Path, change: dict[str, object], error: type[Exception], words: str
) -> None:
    import yaml

    project = scenes.make_raster_project(tmp_path / "p")
    path = project / "olmoearth_run.yaml"
    config = yaml.safe_load(path.read_text())
    config["window_prep"] |= change
    path.write_text(yaml.safe_dump(config))
    runner = OlmoEarthRunFineTuneRunner(project, tmp_path / "s", progress=False)
    with pytest.raises(error, match=f"(?s){words}"):
        runner.prepare_labeled_windows()


def test_a_label_layer_that_the_dataset_lacks_stops_the_workflow_before_it_starts(tmp_path: Path) -> None:
    import yaml

    project = scenes.make_raster_project(tmp_path / "p")
    path = project / "olmoearth_run.yaml"
    config = yaml.safe_load(path.read_text())
    config["window_prep"]["label_layer"] = "labels"
    path.write_text(yaml.safe_dump(config))
    runner = OlmoEarthRunFineTuneRunner(project, tmp_path / "s", progress=False)
    with pytest.raises(OlmoEarthError, match=r"(?s)window_prep\.label_layer: dataset\.json has no layer 'labels'"):
        runner.run_pipeline()
    assert not (tmp_path / "s" / "dataset").exists()
    # The windows alone can be prepared, as with the guide's sample; the summary says what will stop training.
    summary = runner.prepare_labeled_windows()
    assert "no layer 'labels'" in summary.notes[0]
    assert set(runner.windows()["layer_labels"]) == {"built"}


def test_no_annotations_file_and_no_window_are_told(tmp_path: Path) -> None:
    project = scenes.make_raster_project(tmp_path / "p")
    runner = OlmoEarthRunFineTuneRunner(project, tmp_path / "s", progress=False)
    empty = scenes.collection(
        [
            (
                scenes.pixel_box(0, 0, 8, 8),
                {"oe_annotations_task_id": "00000000-0000-0000-0000-0000000000ff", "oe_labels": {"category": 1}},
            )
        ]
    )
    (project / "annotation_features.geojson").write_text(json.dumps(empty))
    with pytest.raises(InputFileError, match="no labelled windows"):
        runner.prepare_labeled_windows()
    (project / "annotation_features.geojson").unlink()
    with pytest.raises(InputFileError, match=r"annotation_features\.geojson"):
        runner.prepare_labeled_windows()


def test_a_label_layer_of_the_wrong_type_is_told(tmp_path: Path) -> None:
    project = scenes.make_raster_project(tmp_path / "p")
    config = json.loads((project / "dataset.json").read_text())
    config["layers"]["label"] = {"type": "vector"}
    (project / "dataset.json").write_text(json.dumps(config))
    runner = OlmoEarthRunFineTuneRunner(project, tmp_path / "s", progress=False)
    with pytest.raises((ConfigError, OlmoEarthError), match=r"(?s)label"):
        runner.prepare_labeled_windows()


def test_training_continues_for_more_epochs(trained_vector: Trained, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(trained_vector.project, project)
    runner = OlmoEarthRunFineTuneRunner(project, tmp_path / "s", progress=False)
    runner.run_pipeline(["prepare_labeled_windows", "build_dataset_from_windows"])
    assert runner.fine_tune(max_epochs=1).counts["epochs"] == 1
    more = runner.fine_tune(max_epochs=2)
    assert [one["epoch"] for one in more.history] == [1, 2]
