from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
import scenes

from olmoearth_nb import OlmoEarthRunFineTuneRunner
from olmoearth_nb.runners.summaries import StepSummary


@dataclass
class Trained:
    """A project with a checkpoint, and the runner that made it."""

    project: Path
    runner: OlmoEarthRunFineTuneRunner
    summaries: list[StepSummary]

    @property
    def checkpoint(self) -> Path:
        training = self.runner.training()
        assert training is not None
        assert training.best_checkpoint is not None
        return training.best_checkpoint


def _train(folder: Path, project: Path) -> Trained:
    runner = OlmoEarthRunFineTuneRunner(project, folder / "tuning", progress=False)
    return Trained(project, runner, runner.run_pipeline())


@pytest.fixture(scope="session")
def trained_raster(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("raster")
    return _train(folder, scenes.make_raster_project(folder / "project"))


@pytest.fixture(scope="session")
def trained_vector(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("vector")
    return _train(folder, scenes.make_vector_project(folder / "project"))


def _copy(trained: Trained, folder: Path) -> Path:
    project = folder / "project"
    shutil.copytree(trained.project, project, ignore=shutil.ignore_patterns("summary.json"))
    shutil.copyfile(trained.checkpoint, project / "checkpoint.ckpt")
    return project


@pytest.fixture
def raster_project(trained_raster: Trained, tmp_path: Path) -> Path:
    """A raster project of its own, with a checkpoint."""
    return _copy(trained_raster, tmp_path)


@pytest.fixture
def vector_project(trained_vector: Trained, tmp_path: Path) -> Path:
    """A vector project of its own, with a checkpoint."""
    return _copy(trained_vector, tmp_path)
