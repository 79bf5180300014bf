"""Overlapping windows of a scratch, blended across windows and partitions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import predictions
import pytest
import rasterio
import scenes
import yaml
from rslearn.dataset import Window

from olmoearth_nb import OlmoEarthRunPredictRunner
from olmoearth_nb.errors import MissingStepError, ProjectError
from olmoearth_nb.postprocess.blending import edge_weights
from olmoearth_nb.postprocess.trial import StageChoice
from olmoearth_nb.runners.trial import PostprocessingBench

Values = npt.NDArray[np.float32]

OVERLAP = 8


def configure(project: Path, *, partition: str = "first", dataset: str) -> None:
    stages: dict[str, Any] = {
        f"process_{stage}": {"class_path": "CombineGeotiff", "init_args": {"nodata_value": 255, "overlap": overlap}}
        for stage, overlap in (("partition", partition), ("dataset", dataset))
    }
    predictions.configure(project, "postprocessing_strategies", **stages)


def make_project(folder: Path, *, grid_size: int = 32, overlap_size: int = OVERLAP) -> Path:
    """The raster project with probabilities, and windows that overlap; its model sees 8 pixels to each side."""
    project = scenes.make_raster_project(folder)
    model = scenes.raster_model_config(crop_size=None)
    arguments = model["model"]["init_args"]["model"]["init_args"]
    arguments["encoder"][0]["init_args"]["modules"] = [scenes._conv(3, 8, 9), scenes._conv(8, 16, 9)]
    model["data"]["init_args"]["task"]["init_args"]["tasks"]["segment"]["init_args"]["output_probs"] = True
    (project / "model.yaml").write_text(yaml.safe_dump(model, sort_keys=False))
    dataset = json.loads((project / "dataset.json").read_text())
    dataset["layers"]["output"]["band_sets"] = [{"bands": list(scenes.CLASSES), "dtype": "float32"}]
    (project / "dataset.json").write_text(json.dumps(dataset))
    path = project / "olmoearth_run.yaml"
    run = yaml.safe_load(path.read_text())
    windows = run["partition_strategies"]["prepare_window_geometries"]["init_args"]
    windows |= {"grid_size": grid_size, "overlap_size": overlap_size}
    path.write_text(yaml.safe_dump(run))
    configure(project, dataset="mean")
    return project


def noise(window: Window) -> Values:
    """Probabilities that depend on the window."""
    x0, y0, x1, y1 = window.bounds
    random = np.random.default_rng([abs(x0), abs(y0), x1 - x0])
    return random.dirichlet(np.ones(3), (y1 - y0, x1 - x0)).transpose(2, 0, 1).astype(np.float32)


def weighted_mean(runner: OlmoEarthRunPredictRunner, values: Callable[[Window], Values]) -> tuple[Any, tuple[int, int]]:
    """What blending has to give: the mean over all windows, NaN where there is none, and its upper left pixel."""
    windows = predictions._windows(runner)
    boxes = np.array([window.bounds for window in windows])
    (x0, y0), (x1, y1) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    above, below = np.zeros((3, y1 - y0, x1 - x0)), np.zeros((y1 - y0, x1 - x0))
    for window in windows:
        left, top, right, bottom = window.bounds
        here = (slice(top - y0, bottom - y0), slice(left - x0, right - x0))
        weights = np.outer(edge_weights(bottom - top), edge_weights(right - left))
        above[:, *here] += weights * values(window)
        below[here] += weights
    with np.errstate(invalid="ignore"):
        return above / below, (x0, y0)


def pixels(path: Path) -> tuple[Any, tuple[int, int]]:
    """Pixels, NaN where there is no data, and the upper left pixel of the scene's projection."""
    with rasterio.open(path) as file:
        values = np.where(file.read_masks(1) != 0, file.read(), np.nan)
        return values, (round(file.transform.c / 10), round(-file.transform.f / 10))


@pytest.fixture
def noisy(tmp_path: Path) -> OlmoEarthRunPredictRunner:
    return predictions.predicted_rasters(make_project(tmp_path / "project"), predict=noise)


def again(runner: OlmoEarthRunPredictRunner, **stages: str) -> OlmoEarthRunPredictRunner:
    configure(runner.project.path, **stages)
    return OlmoEarthRunPredictRunner(runner.project.path, runner.workspace.root, progress=False)


def test_windows_of_all_partitions_are_blended_each_once(noisy: OlmoEarthRunPredictRunner) -> None:
    assert noisy.partition().counts["partitions"] >= 4
    assert noisy.partition().counts["shared"] > 0
    noisy.postprocess()
    (path,) = noisy.combine().files
    values, corner = pixels(path)
    expected, expected_corner = weighted_mean(noisy, noise)
    assert corner == expected_corner
    assert np.array_equal(np.isnan(values), np.isnan(expected))
    assert np.nanmax(np.abs(values - expected)) < 1e-6
    before = path.read_bytes()
    (path,) = noisy.combine(noisy.partition_ids()[::-1]).files
    assert path.read_bytes() == before

    (path,) = again(noisy, dataset="classes").combine().files
    classes, _ = pixels(path)
    assert np.array_equal(classes[0], np.where(np.isnan(expected[0]), np.nan, expected.argmax(axis=0)), equal_nan=True)
    # As it was before anybody asked for more.
    (path,) = again(noisy, dataset="first").combine().files
    assert np.nanmax(np.abs(pixels(path)[0] - expected)) > 0.3


def test_a_partition_is_blended_of_its_own_windows(noisy: OlmoEarthRunPredictRunner) -> None:
    runner = again(noisy, partition="mean", dataset="mean")
    one = runner.partition_ids()[0]
    (path,) = runner.postprocess(one).files
    alone = runner.combine(one).files[0]
    assert np.array_equal(pixels(path)[0], pixels(alone)[0], equal_nan=True)


def test_a_trial_of_the_last_stage_gives_what_the_run_gives(noisy: OlmoEarthRunPredictRunner) -> None:
    noisy.postprocess()
    (path,) = noisy.combine().files
    bench = PostprocessingBench(noisy.scratch, noisy.components, noisy._mask())
    choice = StageChoice(
        stage="dataset", component="CombineGeotiff", arguments={"nodata_value": 255, "overlap": "mean"}
    )
    trial = bench.run(choice)
    assert trial.after[0].read_bytes() == path.read_bytes()
    assert len(trial.before) == noisy.partition().counts["windows"]
    assert trial.changes.counts["inputs overlap and disagree"] > 0
    trial.close()
    by_partitions = bench.run(StageChoice(stage="dataset", component="CombineGeotiff", arguments={"nodata_value": 255}))
    assert set(by_partitions.before.values()) == set(noisy.partition_ids())
    by_partitions.close()


def test_outside_of_a_mask_there_is_nothing(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    mask = tmp_path / "mask.geojson"
    mask.write_text(json.dumps(scenes.collection([(scenes.pixel_box(20, 30, 70, 90), {})])))
    runner = predictions.predicted_rasters(project, mask=mask, predict=noise)
    runner.postprocess()
    (path,) = runner.combine().files
    values, (x0, y0) = pixels(path)
    there = np.zeros(values.shape[1:], dtype=bool)
    column, row = scenes.CORNER[0] - x0, scenes.CORNER[1] - y0
    there[row + 30 : row + 90, column + 20 : column + 70] = True
    assert np.array_equal(~np.isnan(values[0]), there)


def test_times_are_not_mixed(tmp_path: Path) -> None:
    project = make_project(tmp_path / "project")
    early, late = (
        {"oe_start_time": f"2024-{month}-01T00:00:00Z", "oe_end_time": f"2024-{month}-02T00:00:00Z"}
        for month in ("06", "07")
    )
    features = [(scenes.pixel_box(8, 8, 120, 120), early), (scenes.pixel_box(8, 8, 60, 120), late)]
    request = project / "prediction_request_geometry.geojson"
    request.write_text(json.dumps(scenes.collection(features)))

    def month(window: Window) -> Values:
        assert window.time_range is not None
        x0, y0, x1, y1 = window.bounds
        return np.full((3, y1 - y0, x1 - x0), window.time_range[0].month, dtype=np.float32)

    runner = predictions.predicted_rasters(project, predict=month)
    runner.postprocess()
    (path,) = runner.combine().files
    values, (x0, _) = pixels(path)
    assert set(np.unique(values[~np.isnan(values)])) == {6.0, 7.0}
    assert np.nanmin(values[0, :, scenes.CORNER[0] - x0 + 10]) == 7
    assert np.nanmax(values[0, :, scenes.CORNER[0] - x0 + 110]) == 6


def test_new_predictions_have_to_be_postprocessed_first(noisy: OlmoEarthRunPredictRunner) -> None:
    noisy.postprocess()
    window = predictions._windows(noisy)[0]
    path = next((noisy.workspace.window(window.group, window.name) / "layers" / "output").rglob("*.tif"))
    path.write_bytes(path.read_bytes())
    with pytest.raises(MissingStepError, match=r"changed since they were postprocessed: .*Call runner.postprocess"):
        noisy.combine()


def test_classes_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    project = scenes.make_raster_project(tmp_path / "project")
    runner = predictions.predicted_rasters(project)
    runner.postprocess()
    with pytest.raises(ProjectError, match=r"tasks.segment.init_args.output_probs.*Add output_probs: true"):
        again(runner, dataset="mean").combine()


def steps_of(values: Any, edges: list[int]) -> tuple[float, float]:
    """Mean step between neighbouring columns: at edges of windows, and elsewhere."""
    steps = np.abs(np.diff(values, axis=2)).mean(axis=(0, 1))
    at = [edge - 1 for edge in edges]
    return float(steps[at].mean()), float(np.delete(steps, at).mean())


def test_seams_disappear(tmp_path: Path) -> None:
    """A model that pads with zeros errs at the edges of its windows: what it says there, less what it says of the whole
    scene in one window, jumps at the edges of windows, and no more than elsewhere once they are blended."""

    def predicted(folder: str, *, dataset: str, grid_size: int = 32, overlap_size: int = OVERLAP) -> Any:
        project = tmp_path / folder / "project"
        if not project.exists():
            make_project(project, grid_size=grid_size, overlap_size=overlap_size)
        configure(project, dataset=dataset)
        runner = OlmoEarthRunPredictRunner(project, tmp_path / folder / "scratch", random_weights=True, progress=False)
        (path,) = runner.run_pipeline()[-1].files
        values, (x0, y0) = pixels(path)
        column, row = scenes.CORNER[0] - x0 + 16, scenes.CORNER[1] - y0 + 16
        return values[:, row : row + 96, column : column + 96]  # away from the edges of the scene

    whole = predicted("whole", dataset="first", grid_size=512, overlap_size=0)
    errors = {overlap: predicted("parts", dataset=overlap) - whole for overlap in ("first", "mean")}
    edges = [8 + 16 * number for number in range(1, 5)]
    first, first_elsewhere = steps_of(errors["first"], edges)
    blended, blended_elsewhere = steps_of(errors["mean"], edges)
    assert first > 1.5 * first_elsewhere
    assert blended < first / 10
    assert blended < blended_elsewhere
    assert np.abs(errors["mean"]).mean() < np.abs(errors["first"]).mean() / 3
