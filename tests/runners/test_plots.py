from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import scenes

from olmoearth_nb import OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner
from olmoearth_nb.errors import MissingStepError, UsageError


def _lines(figure: Any, axes: int = 0) -> list[str]:
    legend = figure.axes[axes].get_legend()
    return [text.get_text() for text in legend.get_texts()]


def _title(figure: Any, axes: int = 0) -> str:
    return str(figure.axes[axes].get_title(loc="left"))


def test_pictures_of_a_fine_tuning(trained_raster: Any) -> None:
    runner = trained_raster.runner
    assert _title(runner.plot.annotations()) == "256 annotations by category"
    counts = runner.windows()["split"].value_counts()
    assert _lines(runner.plot.windows()) == [f"{split} ({counts[split]})" for split in ("train", "val", "test")]
    assert _lines(runner.plot.windows(by="state")) == ["built (16)"]
    assert _title(runner.plot.labels(bands=["B1", "B2", "B3"])) == "label category of 16 windows"
    assert len(runner.plot.examples(3).axes) == 3
    name = runner.windows()["name"][5]
    assert runner.plot.window(name).get_suptitle() == name
    (summary,) = [one for one in trained_raster.summaries if one.step == "fine_tune"]
    for figure in (runner.plot.training(), summary.plot()):
        assert "val_loss" in [line.get_label() for line in figure.axes[0].lines]


def test_pictures_of_a_prediction(raster_project: Path) -> None:
    runner = OlmoEarthRunPredictRunner(raster_project, raster_project.parent / "scratch", progress=False)
    plan = runner.plot.plan()
    assert not runner.workspace.root.exists()
    assert _title(plan) == "16 windows by partition"
    runner.partition()
    assert _lines(runner.plot.windows()) == ["planned (16)", "request"]
    assert _lines(runner.plot.windows("partition_0", by="partition"))[0].startswith("partition_0 (")
    with pytest.raises(MissingStepError, match="'scene'"):
        runner.plot.imagery()
    with pytest.raises(MissingStepError, match=r"no combined result yet.*combine"):
        runner.plot.prediction()
    runner.run_pipeline(["dataset_build"])
    assert _title(runner.plot.imagery(bands="B2", colormap="viridis")) == "scene: B2"
    *_, result = runner.run_pipeline(["inference", "postprocess", "combine"])
    assert _title(runner.plot.output()) == "output of 16 windows"
    assert [_title(runner.plot.window(), axes) for axes in range(2)] == ["scene: B3, B2, B1", "output"]
    for figure in (runner.plot.prediction(), result.plot()):
        assert [line.split("  ")[0] for line in _lines(figure)] == list(scenes.CLASSES)
    with pytest.raises(UsageError, match=r"no such window.*'nowhere'"):
        runner.plot.window("nowhere")


def test_two_things_are_compared(raster_project: Path) -> None:
    def run(name: str) -> OlmoEarthRunPredictRunner:
        return OlmoEarthRunPredictRunner(raster_project, raster_project.parent / name, progress=False)

    runner, other = run("scratch"), run("other")
    runner.run_pipeline(["partition", "dataset_build"])
    with pytest.raises(MissingStepError, match=r"no prediction to compare yet.*status"):
        runner.compare("imagery", "prediction")
    with pytest.raises(UsageError, match=r"nothing to compare.*labels.*'prediktion'"):
        runner.compare("imagery", "prediktion")
    runner.run_pipeline()
    other.run_pipeline()
    for left, right in [("imagery", "prediction"), (runner, other), ("prediction", other.combine().files[0])]:
        view = runner.compare(left, right)
        assert [layer.side for layer in view.layers if layer.side] == ["left", "right"]
        view.selected = runner.windows()["name"][0]
        view.close()


def test_unlabelled_pixels_are_known_from_the_window_preparer(tmp_path: Path) -> None:
    project = scenes.make_raster_project(tmp_path / "project")
    config = json.loads((project / "dataset.json").read_text())
    del config["layers"]["label"]["band_sets"][0]["nodata_value"]
    (project / "dataset.json").write_text(json.dumps(config))
    path = project / "annotation_features.geojson"
    annotations = json.loads(path.read_text())
    annotations["features"] = annotations["features"][:8]
    path.write_text(json.dumps(annotations))
    runner = OlmoEarthRunFineTuneRunner(project, tmp_path / "scratch", progress=False)
    runner.run_pipeline(["prepare_labeled_windows", "build_dataset_from_windows"])
    assert {line.split("  ")[0] for line in _lines(runner.plot.labels())} <= set(scenes.CLASSES)


def test_files_are_named_as_people_write_them(trained_raster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (summary,) = [one for one in trained_raster.summaries if one.step == "fine_tune"]
    monkeypatch.chdir(trained_raster.runner.workspace.root.parent)
    assert "  tuning/trainer_checkpoints/last.ckpt" in str(summary)
    assert str(trained_raster.runner.workspace.root) not in summary._repr_html_()
    assert str(trained_raster.runner.workspace.root) in summary.to_dict()["files"][0]


def test_windows_are_browsed(raster_project: Path, trained_raster: Any) -> None:
    runner = OlmoEarthRunPredictRunner(raster_project, raster_project.parent / "scratch", progress=False)
    with pytest.raises(MissingStepError):
        runner.browse()
    runner.run_pipeline(["partition", "dataset_build", "inference"])
    browser = runner.browse("partition_1", bands="B2")
    assert browser.partition is None
    assert set(browser.names) == set(runner.windows("partition_1")["name"])
    assert [layer.kind.name for layer in browser.map.layers] == ["REQUEST", "WINDOWS"]
    assert browser.label_class is None
    assert set(browser.shown["class"]) <= set(scenes.CLASSES)
    assert [_title(browser.static(), axes) for axes in (1, 2)] == ["scene: B2", "output"]
    browser.close()
    tuning = trained_raster.runner.browse(color_by="state")
    tuning.split = "val"
    assert list(tuning.shown["split"]) == ["val"] * len(tuning.names)
    assert [_title(tuning.static(), axes) for axes in (1, 2)] == ["scene: B3, B2, B1", "label: category"]
    tuning.close()
    with pytest.raises(UsageError, match="no column 'colour'"):
        runner.browse(color_by="colour")
