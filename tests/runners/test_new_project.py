"""From labels to a prediction: what a new user does in the first half hour, on a small scene."""

from __future__ import annotations

import json
from pathlib import Path

import label_files
import numpy as np
import pytest
import rasterio

from olmoearth_nb import OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner, new_project
from olmoearth_nb.cli import main
from olmoearth_nb.errors import UsageError
from olmoearth_nb.geojson import read_result

SIZE = 64


def trained_and_predicted(folder: Path, task: str, *, count: int = 24) -> OlmoEarthRunPredictRunner:
    source = label_files.scene_folder(folder / "imagery", size=SIZE)
    labels = label_files.points(count, size=SIZE)
    made = new_project(folder / "mine", labels, task=task, source=source, encoder="unet", epochs=1, window_size=8)
    assert made.ok
    tuning = OlmoEarthRunFineTuneRunner(made.path, folder / "tuning", progress=False)
    tuning.run_pipeline()
    training = tuning.training()
    assert training is not None
    runner = OlmoEarthRunPredictRunner(
        made.path, folder / "scratch", checkpoint_path=training.best_checkpoint, progress=False
    )
    runner.run_pipeline()
    return runner


@pytest.mark.parametrize("task", ["segmentation", pytest.param("per-pixel-regression", marks=pytest.mark.slow)])
def test_a_raster_task_trains_and_predicts(tmp_path: Path, task: str) -> None:
    runner = trained_and_predicted(tmp_path, task)
    (path,) = (runner.workspace.root / "results" / "results_raster").glob("*.tif")
    with rasterio.open(path) as file:
        pixels, valid = file.read(1), file.dataset_mask() > 0
    assert valid.sum() >= SIZE * SIZE * 0.9
    if task == "segmentation":
        assert set(np.unique(pixels[valid])) <= {0, 1, 2}
    else:
        assert np.isfinite(pixels[valid]).all()
        assert np.abs(pixels[valid]).max() < 1000


@pytest.mark.parametrize("task", ["regression", pytest.param("classification", marks=pytest.mark.slow)])
def test_a_place_task_trains_and_predicts(tmp_path: Path, task: str) -> None:
    runner = trained_and_predicted(tmp_path, task)
    features = read_result(runner.workspace.root / "results" / "result.geojson").features
    assert len(features) == 24
    name = "height" if task == "regression" else "crop"
    said = [feature.properties.model_dump()[name] for feature in features]
    if task == "regression":
        assert np.isfinite(said).all()
    else:
        assert set(said) <= {0, 1, 2} or set(said) <= {"field", "forest", "water"}
    # The label that the request carries along, to compare with.
    assert all(f"label_{name}" in feature.properties.model_dump() for feature in features)


def test_a_sample_is_built_and_shown(tmp_path: Path) -> None:
    source = label_files.scene_folder(tmp_path / "imagery", size=SIZE)
    made = new_project(
        tmp_path / "mine",
        label_files.points(24, size=SIZE),
        task="segmentation",
        source=source,
        sample=3,
        progress=False,
    )
    assert made.sample.counts["built"] == 3
    assert made.ok
    assert "3 of" in repr(made)
    runner = OlmoEarthRunFineTuneRunner(made.path, made.path / "scratches" / "finetune", progress=False)
    rest = runner.build_dataset_from_windows()
    assert rest.counts["built"] == made.proposal.window_count - 3


@pytest.mark.parametrize("count", [0, -1, 1.5, True])
def test_a_sample_of_no_number_is_refused_before_anything_is_written(tmp_path: Path, count: object) -> None:
    with pytest.raises(UsageError, match="number of windows"):
        new_project(tmp_path / "mine", label_files.points(24), task="segmentation", sample=count)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "encoder", "task"),
    [
        ("sentinel2", "olmoearth-nano", "segmentation"),
        ("sentinel1", "olmoearth-tiny", "regression"),
        ("landsat", "unet", "classification"),
        ("sentinel2", "unet", "per-pixel-regression"),
    ],
)
def test_a_catalogue_model_builds_without_fetching(tmp_path: Path, source: str, encoder: str, task: str) -> None:
    made = new_project(tmp_path / "mine", label_files.points(), task=task, source=source, encoder=encoder)
    runner = OlmoEarthRunPredictRunner(made.path, tmp_path / "scratch", random_weights=True, progress=False)
    assert sum(one.numel() for one in runner.model().module.parameters()) > 1000


@pytest.mark.slow
@pytest.mark.parametrize("task", label_files.TASKS)
def test_olmoearth_trains_on_two_dates(tmp_path: Path, task: str) -> None:
    source = label_files.sentinel2_folder(tmp_path / "imagery", size=SIZE)
    labels = label_files.points(24, size=SIZE)
    made = new_project(tmp_path / "mine", labels, task=task, source=source, epochs=1, window_size=8)
    assert made.proposal.encoder.name == "olmoearth-nano"
    tuning = OlmoEarthRunFineTuneRunner(made.path, tmp_path / "tuning", random_weights=True, progress=False)
    tuning.run_pipeline()
    training = tuning.training()
    assert training is not None
    runner = OlmoEarthRunPredictRunner(
        made.path, tmp_path / "scratch", checkpoint_path=training.best_checkpoint, progress=False
    )
    runner.run_pipeline()
    assert any((runner.workspace.root / "results").rglob("result*"))


def test_the_command_shows_writes_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = label_files.scene_folder(tmp_path / "imagery", size=SIZE)
    label_files.points(24, size=SIZE).to_file(tmp_path / "labels.gpkg")
    words = ["new", str(tmp_path / "mine"), "--from", str(tmp_path / "labels.gpkg"), "--source", source]
    assert main([*words, "--task", "segmentation", "--dry-run"]) == 0
    assert "16 × 16 pixels" in capsys.readouterr().out
    assert not (tmp_path / "mine").exists()
    assert main([*words, "--task", "segmentation", "--sample", "2", "--window-size", "8", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["sample"]["built"] == 2
    assert main([*words, "--task", "segmentation"]) != 0
    assert "something at the place" in capsys.readouterr().err
    assert main([*words[:1], str(tmp_path / "other"), *words[2:], "--task", "regression", "--column", "crops"]) != 0
    assert "There is no column 'crops'" in capsys.readouterr().err
