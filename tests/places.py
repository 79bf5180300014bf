"""Model configurations with datasets in folders of their own, for the tests of the model room."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import scenes
import yaml
from rslearn.dataset import Dataset, Window

from olmoearth_nb.model.finetune import TrainingResult, fine_tune
from olmoearth_nb.model.load import LoadedModel, load_model, template_variables

SPLITS = ("train", "train", "val", "test")


@dataclass
class Place:
    """A model configuration and a dataset in a folder of their own."""

    folder: Path
    model_yaml: Path
    dataset: Dataset

    @property
    def dataset_path(self) -> Path:
        return self.folder / "dataset"

    @property
    def trainer_dir(self) -> Path:
        return self.folder / "trainer_checkpoints"

    @property
    def variables(self) -> dict[str, str]:
        return template_variables(
            dataset_path=self.dataset_path, extra_files_path=None, trainer_data_path=self.trainer_dir, num_workers=0
        )

    def windows(self, **kwargs: Any) -> list[Window]:
        return self.dataset.load_windows(**kwargs)

    def load(self, checkpoint: Path | None = None, **kwargs: Any) -> LoadedModel:
        return load_model(self.model_yaml, variables=self.variables, checkpoint=checkpoint, device="cpu", **kwargs)

    def train(self, **kwargs: Any) -> TrainingResult:
        arguments: dict[str, Any] = {"trainer_dir": self.trainer_dir, "device": "cpu", "progress": False, **kwargs}
        return fine_tune(self.model_yaml, variables=self.variables, dataset_path=self.dataset_path, **arguments)

    def outputs_of(self, windows: list[Window]) -> list[bytes]:
        return [scenes.read_output(self.dataset, window).tobytes() for window in windows]

    def outputs(self) -> dict[tuple[str, str], Any]:
        return {(w.group, w.name): scenes.read_output(self.dataset, w) for w in self.windows()}


def make_place(folder: Path, model: dict[str, Any], dataset: dict[str, Any]) -> Place:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.yaml").write_text(yaml.safe_dump(model, sort_keys=False))
    return Place(folder, folder / "model.yaml", scenes.write_dataset(folder / "dataset", dataset))


def add_raster_windows(dataset: Dataset) -> None:
    """16 windows of 32 pixels over the whole scene, with labels, in all splits."""
    boxes = [(x, y, x + 32, y + 32) for y in range(0, 128, 32) for x in range(0, 128, 32)]
    for index, box in enumerate(boxes):
        split = SPLITS[(index * 7 + index // 4) % 4]
        scenes.add_window(dataset, f"w{index}", box, split=split, layers=("scene", "label"))


def _segment(classes: int) -> list[Any]:
    return [
        scenes._conv(16, classes, 1, last=True),
        scenes._component("rslearn.train.tasks.segmentation.SegmentationHead"),
    ]


def two_tasks(*, weights: dict[str, float] | None = None) -> dict[str, Any]:
    """Classes and a measurement of the same label."""
    model = scenes.raster_model_config()
    network = model["model"]["init_args"]["model"]["init_args"]
    network["decoders"] = {
        "segment": _segment(3),
        "segment_height": [
            scenes._conv(16, 1, 1, last=True),
            scenes._component("rslearn.train.tasks.per_pixel_regression.PerPixelRegressionHead"),
        ],
    }
    if weights:
        network["loss_weights"] = weights
    task = model["data"]["init_args"]["task"]["init_args"]
    task["tasks"]["segment_height"] = scenes._component(
        "rslearn.train.tasks.per_pixel_regression.PerPixelRegressionTask", nodata_value=255, metrics=["l1", "rmse"]
    )
    task["input_mapping"]["segment_height"] = {"label": "targets"}
    return model


def measuring_windows() -> dict[str, Any]:
    """One measurement for a window of any size: the number of its class."""
    model = scenes.vector_model_config()
    network = model["model"]["init_args"]["model"]["init_args"]
    network["decoder"] = [
        scenes._component("rslearn.models.pooling_decoder.PoolingDecoder", in_channels=16, out_channels=1),
        scenes._component("rslearn.train.tasks.regression.RegressionHead"),
    ]
    model["data"]["init_args"]["task"] = scenes._component(
        "rslearn.train.tasks.regression.RegressionTask",
        property_name="category",
        scale_factor=0.1,
        metrics=["l1", "rmse", "r2"],
    )
    return model
