from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
from places import make_place, measuring_windows, two_tasks
from rslearn.dataset import Window

from olmoearth_nb import OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner
from olmoearth_nb.errors import MissingStepError, UsageError
from olmoearth_nb.maps.labels import LabelView
from olmoearth_nb.model.evaluate import evaluate_windows
from olmoearth_nb.runners.evaluation import Evaluation
from olmoearth_nb.runners.worst import EvaluatedWindows
from olmoearth_nb.store.windows import WindowRow, window_frame

from .conftest import Trained


@pytest.fixture(scope="module")
def whole(trained_raster: Trained) -> Evaluation:
    """All splits of the raster project."""
    return trained_raster.runner.evaluate(None)


def test_an_evaluation_tells_everything_at_once(whole: Evaluation) -> None:
    assert whole.classes == scenes.CLASSES
    assert whole.confusion.to_numpy().sum() == 16 * 32 * 32
    assert whole.confusion.loc["water", "water"] > 4000
    assert whole.accuracy.value == pytest.approx(whole.metrics["segment/accuracy"], abs=1e-6)
    assert whole.accuracy.low < whole.accuracy.value < whole.accuracy.high
    scores = whole.scores
    assert scores["support"].tolist() == whole.confusion.sum(axis=1).tolist()
    assert ((scores["iou_low"] <= scores["iou"]) & (scores["iou"] <= scores["iou_high"])).all()
    assert whole.calibration["count"].sum() == 16 * 32 * 32
    assert 0 <= whole.calibration_error < 0.2
    text = repr(whole)
    assert "Evaluation of train, val, test by epoch=" in text
    assert "bootstrap over 16 windows" in text
    html = whole._repr_html_()
    assert "forest" in html
    assert "data:image/png;base64," in html
    assert json.dumps(whole.to_dict())
    with pytest.raises(UsageError, match="has no measurements"):
        whole.errors


def test_windows_keep_their_place_and_split(whole: Evaluation, trained_raster: Trained) -> None:
    table = whole.windows
    known = trained_raster.runner.windows().set_index("name")
    assert len(table) == 16
    assert table.crs.to_epsg() == 4326
    for row in table.to_dict("records"):
        about = known.loc[row["name"]]
        assert (row["split"], row["task"], row["x0"]) == (about["split"], about["task"], about["x0"])
        assert row["geometry"].equals(about["geometry"])
        x, y = row["x0"] - scenes.CORNER[0], row["y0"] - scenes.CORNER[1]
        classes = scenes.class_map()[y : y + 32, x : x + 32]
        assert row["label water"] == pytest.approx((classes == 0).mean())
    assert (table["accuracy"] * table["labels"]).sum() == np.trace(whole.confusion.to_numpy())


def test_groups_are_evaluations_of_their_own(whole: Evaluation, trained_raster: Trained) -> None:
    splits = whole.by("split")
    assert splits["windows"].sum() == 16
    for split in ("train", "test"):
        alone = trained_raster.runner.evaluate(split)
        assert splits.loc[split, "accuracy"] == pytest.approx(alone.accuracy.value)
        assert splits.loc[split, "mean iou"] == pytest.approx(alone.mean_iou.value)
    assert len(whole.by("task")) == 16
    with pytest.raises(UsageError, match=r"no such column.*split, task"):
        whole.by("partition")


def test_the_windows_behind_a_cell_hold_its_count(whole: Evaluation) -> None:
    behind = whole.behind("field", "forest")
    assert behind["count"].sum() == whole.confusion.loc["field", "forest"]
    assert behind["count"].is_monotonic_decreasing
    assert set(behind["name"]) <= set(whole.windows["name"])


def test_pictures_and_map(whole: Evaluation) -> None:
    confusion, calibration = whole.plot().axes
    assert [text.get_text() for text in confusion.get_yticklabels()] == list(scenes.CLASSES)
    assert f"{whole.confusion.loc['water', 'water']:,}" in [text.get_text() for text in confusion.texts]
    assert f"{whole.calibration_error:.3f}" in calibration.get_title(loc="left")
    view = whole.map()
    windows = view.layers[-1]
    assert windows.key is not None
    assert windows.key.title == "error"
    assert windows.key.scale.max_value == pytest.approx(whole.windows["error"].max())
    worst = whole.windows.sort_values("error").iloc[-1]
    view.click(worst.geometry.centroid.x, worst.geometry.centroid.y)
    assert view.selected == worst["name"]
    view.close()


@pytest.mark.parametrize("by", ["loss", "error", "entropy"])
def test_the_worst_windows_of_a_split(trained_raster: Trained, by: Any) -> None:
    runner = trained_raster.runner
    worst = runner.worst(3, by=by, split=["train", "val"])
    table = runner.evaluate(["train", "val"]).windows
    assert worst.table["value"].tolist() == sorted(table[by], reverse=True)[:3]
    assert worst.names == [window.name for window in worst.windows]
    assert set(worst.table["split"]) <= {"train", "val"}
    assert by in repr(worst)
    assert "labels wrong" in worst._repr_html_()
    assert len(worst) == 3


def test_what_can_not_be_ranked_is_said_before_the_model_is_loaded(tmp_path: Path, trained_raster: Trained) -> None:
    with pytest.raises(UsageError, match="Expected loss, entropy, error; found 'size'"):
        trained_raster.runner.worst(3, by="size")
    new = OlmoEarthRunFineTuneRunner(trained_raster.project, tmp_path / "new", progress=False)
    with pytest.raises(UsageError, match="Expected 1 or more; found 0"):
        new.worst(0)
    with pytest.raises(MissingStepError, match=r"runner\.fine_tune\(\)"):
        new.worst()


def test_points_have_wilson_intervals(trained_vector: Trained) -> None:
    evaluation = trained_vector.runner.evaluate(None)
    assert evaluation.accuracy.method == "Wilson"
    assert evaluation.accuracy.value == pytest.approx(evaluation.metrics["accuracy"], abs=1e-6)
    assert (evaluation.windows["labels"] == 1).all()
    assert "Wilson" in repr(evaluation)


# ---- prediction -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def predicting(trained_raster: Trained, tmp_path_factory: pytest.TempPathFactory) -> OlmoEarthRunPredictRunner:
    """A prediction scratch with imagery."""
    scratch = tmp_path_factory.mktemp("predicting") / "scratch"
    runner = OlmoEarthRunPredictRunner(
        trained_raster.project, scratch, checkpoint_path=trained_raster.checkpoint, progress=False
    )
    runner.run_pipeline(["partition", "dataset_build"])
    return runner


@pytest.fixture
def labelled(predicting: OlmoEarthRunPredictRunner) -> Iterator[list[Window]]:
    """Three of its windows with the true classes as their label layer; without them again after the test."""
    dataset = predicting.scratch.dataset
    windows = dataset.load_windows()[:3]
    for window in windows:
        x0, y0, x1, y1 = window.bounds
        classes = np.full((1, y1 - y0, x1 - x0), 255, dtype=np.uint8)
        left, top = x0 - scenes.CORNER[0], y0 - scenes.CORNER[1]
        inside = scenes.class_map()[max(top, 0) : top + y1 - y0, max(left, 0) : left + x1 - x0]
        rows, columns = max(-top, 0), max(-left, 0)
        classes[0, rows : rows + inside.shape[0], columns : columns + inside.shape[1]] = inside
        with window.data.open_layer_writer("label") as writer:
            scenes._write_raster(writer, window, ["category"], classes)
        window.mark_layer_completed("label")
    yield windows
    for window in windows:
        (window.window_root / "layers" / "label" / "completed").unlink()


def test_without_labels_only_entropy_ranks(predicting: OlmoEarthRunPredictRunner) -> None:
    before = set(predicting.workspace.root.rglob("*"))
    worst = predicting.worst(4)
    assert len(worst) == 4
    assert worst.table["value"].is_monotonic_decreasing
    assert worst.table["partition"].str.startswith("partition_").all()
    assert "predicted " in worst.table["why"].iloc[0]
    for by in ("loss", "error"):
        with pytest.raises(UsageError, match=r"no loss.*the layer label.*entropy\"\) needs no labels"):
            predicting.worst(4, by=by)
    with pytest.raises(UsageError, match="Without labels"):
        predicting.evaluate()
    written = {path.name for path in set(predicting.workspace.root.rglob("*")) - before}
    assert "output" not in written
    first = predicting.partition_ids()[0]
    assert set(predicting.worst(99, ids=first).table["partitions"].str.contains(first)) == {True}


def test_windows_of_a_prediction_with_labels_are_evaluated(
    predicting: OlmoEarthRunPredictRunner, labelled: list[Window]
) -> None:
    evaluation = predicting.evaluate()
    assert set(evaluation.windows["name"]) == {window.name for window in labelled}
    assert evaluation.accuracy.value > 0.9
    assert evaluation.metrics["segment/accuracy"] == pytest.approx(evaluation.accuracy.value, abs=1e-6)
    assert evaluation.by("partition")["windows"].sum() == 3
    worst = predicting.worst(2, by="loss")
    assert worst.table["value"].iloc[0] == evaluation.windows["loss"].max()
    # Nothing changed for prediction, which reads no labels.
    assert len(predicting.worst(99)) > 3


def test_the_worst_windows_are_browsed_in_their_order(trained_raster: Trained) -> None:
    worst = trained_raster.runner.worst(3)
    browser = worst.browse()
    browser.index = 0
    assert browser.selected == worst.names[0]
    browser.index = 2
    assert browser.selected == worst.names[2]
    browser.close()


# ---- other tasks ------------------------------------------------------------------------------------------------


def evaluated(folder: Path, model: dict[str, Any], dataset: dict[str, Any], *, size: int) -> Evaluation:
    """The evaluation of an untrained model on 16 windows."""
    here = make_place(folder, model, dataset)
    windows = [
        scenes.add_window(here.dataset, f"w{i}", (x, y, x + size, y + size), layers=("scene", "label"))
        for i, (x, y) in enumerate((x, y) for x in range(0, 128, 32) for y in range(0, 128, 32))
    ]
    rows = [
        WindowRow(key=(w.group, w.name), projection=w.projection, bounds=w.bounds, time_range=None) for w in windows
    ]
    source = EvaluatedWindows(
        title="all",
        dataset=here.dataset,
        windows=windows,
        table=window_frame(rows, []),
        views=lambda: (LabelView(layer="label"), None),
    )
    return Evaluation(evaluate_windows(here.load(), windows), source)


def test_each_task_of_a_model_has_an_evaluation(tmp_path: Path) -> None:
    evaluation = evaluated(tmp_path, two_tasks(), scenes.raster_dataset_config(), size=32)
    assert list(evaluation.tasks) == ["segment", "segment_height"]
    with pytest.raises(UsageError, match=r"several tasks.*evaluation\['segment'\]"):
        evaluation.plot()
    with pytest.raises(UsageError, match="no such task"):
        evaluation["height"]
    assert evaluation["segment"].accuracy.value == pytest.approx(evaluation.metrics["segment/accuracy"], abs=1e-6)
    errors = evaluation["segment_height"].errors
    assert errors["mae"].value == pytest.approx(evaluation.metrics["segment_height/l1"], rel=1e-5)
    assert errors["mae"].low < errors["mae"].value < errors["mae"].high
    assert {"segment/error", "segment_height/bias"} <= set(evaluation.windows.columns)
    html = evaluation._repr_html_()
    assert html.count("data:image/png") == 2
    assert "per-pixel regression" in repr(evaluation)
    worst = evaluation["segment_height"].worst(2, by="error")
    assert "on average of 1,024" in worst.table["why"].iloc[0]
    with pytest.raises(UsageError, match="has no entropy"):
        evaluation["segment_height"].worst(2, by="entropy")
    with pytest.raises(UsageError, match="has no classes"):
        evaluation["segment_height"].explore()


def test_measurements_of_windows(tmp_path: Path) -> None:
    evaluation = evaluated(tmp_path, measuring_windows(), scenes.vector_dataset_config(), size=4)
    (name,) = evaluation.tasks
    assert name == "category"
    errors = evaluation.errors
    for ours, theirs in (("mae", "l1"), ("rmse", "rmse"), ("r2", "r2")):
        assert errors[ours].value == pytest.approx(evaluation.metrics[theirs], rel=1e-4)
    table = evaluation.windows.set_index("name")
    corners = [(x, y) for x in range(0, 128, 32) for y in range(0, 128, 32)]
    assert table["label"].to_dict() == pytest.approx(
        {f"w{i}": float(scenes.class_map()[y, x]) for i, (x, y) in enumerate(corners)}
    )
    assert (table["error"] == abs(table["predicted"] - table["label"])).all()
    view = evaluation.map()
    assert view.layers[-1].key.title == "error"
    view.close()
    assert len(evaluation.plot().axes) == 2
