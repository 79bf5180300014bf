"""Projects, datasets and trained models that the tests of the model room share."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scenes
import torch
from places import Place, add_raster_windows, make_place
from rslearn.dataset import Dataset
from upath import UPath

from olmoearth_nb.model.finetune import TrainingResult


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """The models are tiny: threads that wait for each other take most of the time where processes share the cores."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Models without training get the same weights in every run."""
    torch.manual_seed(0)


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., Place]:
    """Makes a place with a configuration of the test's own."""

    def make(model: dict[str, Any] | None = None, dataset: dict[str, Any] | None = None, name: str = "place") -> Place:
        return make_place(
            tmp_path / name, model or scenes.raster_model_config(), dataset or scenes.raster_dataset_config()
        )

    return make


@pytest.fixture(scope="session")
def _raster_original(tmp_path_factory: pytest.TempPathFactory) -> Place:
    original = make_place(
        tmp_path_factory.mktemp("raster"), scenes.raster_model_config(), scenes.raster_dataset_config()
    )
    add_raster_windows(original.dataset)
    return original


@pytest.fixture
def raster(_raster_original: Place, tmp_path: Path) -> Place:
    """The raster project's model and a dataset of 16 labelled windows, to do with as one likes."""
    folder = tmp_path / "raster"
    shutil.copytree(_raster_original.folder, folder)
    return Place(folder, folder / "model.yaml", Dataset(UPath(folder / "dataset")))


@pytest.fixture(scope="session")
def trained(_raster_original: Place, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    """A training of four epochs on the raster project's windows."""
    return _raster_original.train(trainer_dir=tmp_path_factory.mktemp("trained"), max_epochs=4)
