"""Published projects, end to end: what they name, and every step on generated imagery with random weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import published
import pytest
import rasterio
import torch

from olmoearth_nb import OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner, Project

pytestmark = pytest.mark.skipif(not published.SHARED.exists(), reason="needs the published projects")


def _errors(project: Path) -> list[str]:
    return [str(problem) for problem in Project(project).check(random_weights=True).errors]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["awf", "lfmc"])
def test_rasters(name: str, tmp_path: Path) -> None:
    project = published.copy_project(published.SHARED / name, tmp_path / "project")
    assert not [error for error in _errors(project) if "annotation" not in error]
    runner = published.predict_at_random(project, tmp_path / "scratch")
    (path,) = runner.workspace.rasters.glob("*.tif")
    with rasterio.open(path) as file:
        assert file.crs.is_projected
        assert np.isfinite(file.read()).all()


@pytest.mark.slow
def test_vectors(tmp_path: Path) -> None:
    project = published.copy_project(published.SHARED / "forest_loss_driver", tmp_path / "project")
    runner = published.predict_at_random(project, tmp_path / "scratch")
    features = json.loads(runner.workspace.result.read_text())["features"]
    assert len(features) == 1
    labels = {one["label"] for one in _legend(project)}
    assert {feature["properties"]["new_label"] for feature in features} <= labels


def _legend(project: Path) -> list[dict[str, str]]:
    config = Project(project).run_config.inference_results_config
    assert config is not None
    (field,) = config.classification_fields or ()
    return [value.model_dump() for value in field.allowed_values]


def test_the_template_names_its_placeholders_and_prepares_windows(tmp_path: Path) -> None:
    project = published.copy_project(published.SHARED / "sample", tmp_path / "project")
    of_model = [error for error in _errors(project) if error.startswith("model.yaml")]
    assert of_model
    assert all("is a placeholder" in error for error in of_model)
    tuning = OlmoEarthRunFineTuneRunner(project, tmp_path / "tuning", progress=False)
    assert tuning.prepare_labeled_windows().counts["windows"] > 0
    predicting = OlmoEarthRunPredictRunner(project, tmp_path / "scratch", progress=False)
    assert predicting.partition().counts["windows"] > 0
