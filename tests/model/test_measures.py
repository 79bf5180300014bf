"""What an evaluation keeps, against torchmetrics, rslearn and passes over single windows."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scenes
import torch
import torchmetrics.functional as tm
import torchmetrics.functional.classification as tmc
from hypothesis import given, settings
from hypothesis import strategies as st
from places import Place, add_raster_windows, two_tasks
from rslearn.train.model_context import RasterImage, SampleMetadata
from rslearn.train.tasks.per_pixel_regression import PerPixelRegressionTask
from rslearn.train.tasks.regression import RegressionTask
from rslearn.train.tasks.segmentation import SegmentationTask

from olmoearth_nb.errors import UsageError
from olmoearth_nb.evaluation.calibration import BINS
from olmoearth_nb.evaluation.classes import SCORES, ClassResult, class_scores
from olmoearth_nb.evaluation.ranking import ranked
from olmoearth_nb.evaluation.regression import ERRORS, RegressionResult, errors_of
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend
from olmoearth_nb.model.evaluate import evaluate_split, evaluate_windows, label_layers, labelled_windows
from olmoearth_nb.model.finetune import TrainingResult
from olmoearth_nb.model.measures import class_names, measure_of

SIDE = 6


def metadata(*, window: tuple[int, int, int, int] = (0, 0, SIDE, SIDE)) -> SampleMetadata:
    return SampleMetadata(
        window_group="g",
        window_name="w",
        window_bounds=window,
        crop_bounds=(0, 0, SIDE, SIDE),
        crop_idx=0,
        num_crops_in_window=1,
        time_range=None,
        projection=scenes.PROJECTION,
        dataset_source=None,
    )


def image(values: Any) -> RasterImage:
    return RasterImage(torch.as_tensor(values)[None, None], timestamps=None)


def frame(count: int) -> pd.DataFrame:
    return pd.DataFrame({"group": "g", "name": [f"w{i}" for i in range(count)], "loss": 0.0})


def classes_of(
    seed: int, classes: int, windows: int, *, present: int
) -> tuple[ClassResult, torch.Tensor, torch.Tensor]:
    """Random windows with nodata, of which only some classes are labelled or predicted; all valid pixels as well."""
    generator = torch.Generator().manual_seed(seed)
    measure = measure_of(SegmentationTask(num_classes=classes), windows, [f"c{i}" for i in range(classes)])
    probs, labels = [], []
    for row in range(windows):
        logits = 3 * torch.randn((classes, SIDE, SIDE), generator=generator)
        logits[present:] = -20
        output = logits.softmax(dim=0)
        label = torch.randint(present, (SIDE, SIDE), generator=generator)
        valid = torch.rand((SIDE, SIDE), generator=generator) < 0.7
        valid[0, 0] = True
        measure.add(row, output, {"classes": image(label), "valid": image(valid.float())}, metadata())
        probs.append(output.permute(1, 2, 0)[valid])
        labels.append(label[valid])
    result = measure.result("t", frame(windows), {}, labelled=True)
    assert isinstance(result, ClassResult)
    return result, torch.cat(probs), torch.cat(labels)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 6), st.integers(1, 4), st.data())
def test_classes_are_those_of_torchmetrics(seed: int, classes: int, windows: int, data: st.DataObject) -> None:
    present = data.draw(st.integers(1, classes))
    result, probs, labels = classes_of(seed, classes, windows, present=present)
    assert result.matrix.tolist() == tmc.multiclass_confusion_matrix(probs, labels, classes).tolist()
    assert result.accuracy.value == pytest.approx(
        float(tmc.multiclass_accuracy(probs, labels, classes, average="micro")), abs=1e-6
    )
    # By counts and by torchmetrics the same, and nothing where a class is not there.
    assert np.allclose(result.scores[list(SCORES)].to_numpy().T, class_scores(result.matrix), equal_nan=True, atol=1e-6)
    assert result.scores["iou"][present:].isna().all()
    assert result.mean_iou.value == pytest.approx(
        float(tmc.multiclass_jaccard_index(probs, labels, classes, average="macro")), abs=1e-6
    )
    error = tmc.multiclass_calibration_error(probs, labels, classes, n_bins=BINS)
    assert result.calibration.error == pytest.approx(float(error), abs=1e-5)
    assert result.calibration.count.sum() == len(labels)


def test_pixels_outside_of_the_window_and_without_a_label_do_not_count() -> None:
    measure = measure_of(SegmentationTask(num_classes=2), 2, ["a", "b"])
    output = torch.zeros((2, SIDE, SIDE))
    output[0, :, :3], output[1, :, 3:] = 1, 1
    label, valid = torch.zeros((SIDE, SIDE), dtype=torch.long), torch.zeros((SIDE, SIDE))
    valid[0, 2:4] = 1
    assert measure.add(0, output, {"classes": image(label), "valid": image(valid)}, metadata(window=(0, 0, 4, 2)))
    assert not measure.add(1, output, {"classes": image(label), "valid": image(valid * 0)}, metadata())
    result = measure.result("t", frame(2), {}, labelled=True)
    first, second = result.windows.to_dict("records")
    assert (first["labels"], first["error"], first["label"]) == (2, 0.5, "a")
    assert first["predicted a"] == 0.75  # 3 of the 4 columns that are in the window
    assert second["labels"] == 0
    assert np.isnan(second["error"])
    assert pd.isna(second["label"])
    assert second["predicted b"] == 0.5
    assert first["entropy"] == second["entropy"] == 0


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([0.0, 250.0, 1e6]), st.sampled_from([1.0, 0.01]))
def test_errors_are_those_of_torchmetrics(seed: int, windows: int, offset: float, factor: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    measure = measure_of(PerPixelRegressionTask(scale_factor=factor), windows, [])
    labels, predicted = [], []
    for row in range(windows):
        label = offset + torch.randn((SIDE, SIDE), generator=generator, dtype=torch.float64)
        output = label + torch.randn((SIDE, SIDE), generator=generator, dtype=torch.float64)
        valid = torch.rand((SIDE, SIDE), generator=generator) < 0.6
        valid[:2, 0] = True
        target = {"values": image(label * factor), "valid": image(valid.float())}
        measure.add(row, output * factor, target, metadata())
        labels.append(label[valid])
        predicted.append(output[valid])
    result = measure.result("t", frame(windows), {}, labelled=True)
    assert isinstance(result, RegressionResult)
    label, said = torch.cat(labels), torch.cat(predicted)
    expected = {
        "mae": float(tm.mean_absolute_error(said, label)),
        "rmse": float(tm.mean_squared_error(said, label, squared=False)),
        "bias": float((said - label).mean()),
        "r2": 1 - float(((said - label) ** 2).sum() / ((label - label.mean()) ** 2).sum()),
    }
    for name, value in zip(ERRORS, errors_of(result.sums.sum().to_numpy()), strict=True):
        assert value == pytest.approx(expected[name], rel=1e-6, abs=1e-6)
        assert result.errors[name] == pytest.approx(expected[name], rel=1e-6, abs=1e-6)
    assert result.windows["error"][0] == pytest.approx(float((predicted[0] - labels[0]).abs().mean()), abs=1e-6)
    assert result.windows["label"][0] == pytest.approx(float(labels[0].mean()), abs=1e-6)


def test_a_single_measurement_has_no_r2() -> None:
    measure = measure_of(RegressionTask(property_name="height", scale_factor=0.1), 1, [])
    measure.add(0, torch.tensor(0.7), {"value": torch.tensor(0.5), "valid": torch.tensor(1.0)}, metadata())
    result = measure.result("height", frame(1), {}, labelled=True)
    assert isinstance(result, RegressionResult)
    assert result.errors["mae"] == pytest.approx(2.0)
    assert np.isnan(result.errors["r2"])


def test_classes_have_the_names_of_the_legend() -> None:
    entries = tuple(ClassEntry(i, name, (i, i, i)) for i, name in enumerate(("water", "forest", "field")))
    legend = Legend("RASTER", classes=(ClassLegend("cover", 1, entries),))
    assert class_names(SegmentationTask(num_classes=3), legend, "segment") == ("water", "forest", "field")
    assert class_names(SegmentationTask(num_classes=4), legend, "segment") == ("water", "forest", "field", "3")
    assert class_names(SegmentationTask(num_classes=2), None, "segment") == ("0", "1")
    assert class_names(SegmentationTask(num_classes=2, class_names=["a", "b"]), legend, "x") == ("a", "b")
    alike = Legend("RASTER", classes=(ClassLegend("cover", 1, (entries[0], ClassEntry(1, "water", (1, 1, 1)))),))
    assert class_names(SegmentationTask(num_classes=2), alike, "segment") == ("0", "1")


# ---- whole passes -----------------------------------------------------------------------------------------------


def test_losses_and_errors_of_windows_are_those_of_windows_alone(raster: Place, trained: TrainingResult) -> None:
    loaded = raster.load(trained.best_checkpoint)
    windows = raster.windows()
    together = evaluate_windows(loaded, windows).tasks["segment"].windows.set_index("name")
    for window in windows[:5]:
        measured = evaluate_windows(loaded, [window])
        assert together.loc[window.name, "loss"] == pytest.approx(measured.metrics["loss"], rel=1e-5)
        assert together.loc[window.name, "accuracy"] == pytest.approx(measured.metrics["segment/accuracy"], abs=1e-6)
    assert together["loss"].nunique() > 5


def test_accuracy_and_iou_agree_with_rslearn_in_crops_too(place: Callable[..., Place]) -> None:
    model = scenes.raster_model_config()
    task = model["data"]["init_args"]["task"]["init_args"]["tasks"]["segment"]["init_args"]
    task |= {"enable_miou_metric": True, "enable_confusion_matrix": False}
    crops = {"load_all_crops": True, "crop_size": 16, "overlap_pixels": 4}
    model["data"]["init_args"]["test_config"] |= crops
    here = place(model)
    add_raster_windows(here.dataset)
    measured = evaluate_split(here.load(), "test")
    result = measured.tasks["segment"]
    assert isinstance(result, ClassResult)
    assert result.accuracy.value == pytest.approx(measured.metrics["segment/accuracy"], abs=1e-6)
    # Rslearn counts a class that is not there as 0.
    iou = result.scores["iou"].fillna(0).mean()
    assert iou == pytest.approx(measured.metrics["segment/mean_iou"], abs=1e-6)
    assert result.metrics["accuracy"] == measured.metrics["segment/accuracy"]
    assert (result.windows["labels"] > 32 * 32).all()  # where crops overlap, pixels count twice


def test_without_labels_there_is_entropy_and_nothing_else(raster: Place, trained: TrainingResult) -> None:
    loaded = raster.load(trained.best_checkpoint)
    windows = raster.windows()
    for window in windows[:3]:
        (window.window_root / "layers" / "label" / "completed").unlink()
    assert label_layers(loaded) == ["label"]
    assert len(labelled_windows(loaded, windows)) == len(windows) - 3
    measured = evaluate_windows(loaded, windows, split="test", labels=False)
    result = measured.tasks["segment"]
    assert measured.metrics == {"windows": len(windows)}
    assert {"loss", "error", "label"}.isdisjoint(result.windows.columns)
    labelled = evaluate_windows(loaded, windows)
    assert labelled.left_out == {next(iter(labelled.left_out)): 3}
    entropy = labelled.tasks["segment"].windows.set_index("name")["entropy"]
    assert result.windows.set_index("name")["entropy"][entropy.index].to_numpy() == pytest.approx(entropy.to_numpy())
    assert len(ranked(result, 3, "entropy")) == 3
    with pytest.raises(UsageError, match=r"without labels have no loss.*by=\"entropy\" needs no labels"):
        ranked(result, 3, "loss")
    # The data module is as it was.
    assert evaluate_windows(copy.copy(loaded), windows[3:]).metrics["loss"] > 0


def test_a_model_with_two_tasks_has_a_result_for_each(place: Callable[..., Place]) -> None:
    here = place(two_tasks(weights={"segment": 1.0, "segment_height": 0.25}))
    add_raster_windows(here.dataset)
    loaded, windows = here.load(), here.windows()
    measured = evaluate_windows(loaded, windows)
    classes, heights = measured.tasks["segment"], measured.tasks["segment_height"]
    assert isinstance(classes, ClassResult)
    assert isinstance(heights, RegressionResult)
    assert heights.errors["mae"] == pytest.approx(measured.metrics["segment_height/l1"], rel=1e-5)
    assert heights.errors["rmse"] == pytest.approx(measured.metrics["segment_height/rmse"], rel=1e-5)
    assert classes.accuracy.value == pytest.approx(measured.metrics["segment/accuracy"], abs=1e-6)
    assert classes.metrics.keys() == {"accuracy"}
    alone = evaluate_windows(loaded, windows[:1])
    loss = sum(float(result.windows["loss"].iloc[0]) for result in alone.tasks.values())
    assert loss == pytest.approx(alone.metrics["loss"], rel=1e-5)
    name = windows[0].name
    for task, result in measured.tasks.items():
        row = result.windows.set_index("name").loc[name]
        assert row["loss"] == pytest.approx(float(alone.tasks[task].windows["loss"].iloc[0]), rel=1e-5)


def test_points_are_measured_one_by_one(place: Callable[..., Place]) -> None:
    here = place(scenes.vector_model_config(), scenes.vector_dataset_config())
    spots = [(4 + 8 * i, 4 + 8 * j) for i in range(4) for j in range(4)]
    for index, (x, y) in enumerate(spots):
        scenes.add_window(here.dataset, f"w{index}", (x, y, x + 2, y + 2), split="test", layers=("scene", "label"))
    measured = evaluate_split(here.load(), "test")
    result = measured.tasks["category"]
    assert isinstance(result, ClassResult)
    assert result.classes == scenes.CLASSES
    assert result.method == "Wilson"
    assert result.accuracy.value == pytest.approx(measured.metrics["accuracy"], abs=1e-6)
    assert result.windows["labels"].tolist() == [1] * 16
    assert result.windows["loss"].mean() == pytest.approx(measured.metrics["loss"], rel=1e-5)
    truth = {f"w{i}": scenes.CLASSES[scenes.class_map()[y, x]] for i, (x, y) in enumerate(spots)}
    assert result.windows.set_index("name")["label"].to_dict() == truth


def test_auxiliary_losses_are_in_the_loss_of_a_window(raster: Place, trained: TrainingResult) -> None:
    loaded = raster.load(trained.best_checkpoint)
    windows = raster.windows()[:4]
    plain = evaluate_windows(loaded, windows).tasks["segment"].windows

    def add(_module: Any, _args: Any, output: Any) -> None:
        # As trunks do: a loss that no head knows of, different for each sample.
        output.loss_dict["segment_auxiliary"] = torch.stack([one["segment"].max() for one in output.outputs]).mean()

    hook = loaded.module.model.register_forward_hook(add)
    more = evaluate_windows(loaded, windows)
    alone = evaluate_windows(loaded, windows[:1])
    hook.remove()
    found = more.tasks["segment"].windows
    assert (found["loss"] > plain["loss"] + 0.9).all()
    row = found.set_index("name").loc[windows[0].name]
    assert row["loss"] == pytest.approx(alone.metrics["loss"], rel=1e-5)


def detection_config() -> dict[str, Any]:
    """Boxes of one class, found by a small Faster R-CNN with random weights."""
    model = scenes.vector_model_config()
    network = model["model"]["init_args"]["model"]["init_args"]
    network["decoder"] = [
        scenes._component(
            "rslearn.models.faster_rcnn.FasterRCNN",
            downsample_factors=[1],
            num_channels=16,
            num_classes=3,
            anchor_sizes=[[4]],
        )
    ]
    data = model["data"]["init_args"]
    data["task"] = scenes._component(
        "rslearn.train.tasks.detection.DetectionTask",
        property_name="category",
        classes=list(scenes.CLASSES),
        read_class_id=True,
        box_size=4,
        score_threshold=0.0,
        enable_map_metric=False,
        enable_f1_metric=True,
        f1_metric_thresholds=[[0.1]],
        f1_metric_kwargs={"cmp_mode": "distance", "cmp_threshold": 8},
    )
    return model


def test_objects_have_the_metrics_of_rslearn(place: Callable[..., Place]) -> None:
    here = place(detection_config(), scenes.vector_dataset_config())
    for index in range(3):
        box = (index * 16, 0, index * 16 + 16, 16)
        scenes.add_window(here.dataset, f"w{index}", box, split="test", layers=("scene", "label"))
    torch.manual_seed(0)
    measured = evaluate_split(here.load(), "test")
    result = measured.tasks["category"]
    assert result.kind == "detection"
    # Heads of detection give no loss outside of training.
    assert measured.metrics.keys() == {"F1", "windows"}
    assert 0 <= measured.metrics["F1"] <= 1
    assert result.windows["labels"].tolist() == [1, 1, 1]
    assert (result.windows["predicted"] > 0).all()
    for by in ("loss", "error", "entropy"):
        with pytest.raises(UsageError, match=f"'category' has no {by}"):
            ranked(result, 2, by)
    assert "F1" in repr(result)
