"""A small project, right in every respect, to break in one place at a time."""

from __future__ import annotations

import copy
import json
import zipfile
from pathlib import Path
from typing import Any

import yaml

TASK_ID = "3f4ed95a-aaf3-4c2f-9cb2-84f8b6febc3a"

RUN_CONFIG: dict[str, Any] = {
    "partition_strategies": {
        "partition_request_geometry": {"class_path": "GridPartitioner", "init_args": {"grid_size": 0.5}},
        "prepare_window_geometries": {
            "class_path": "olmoearth_run.runner.tools.partitioners.grid_partitioner.GridPartitioner",
            "init_args": {
                "grid_size": 64,
                "use_utm": True,
                "output_projection": {
                    "class_path": "rslearn.utils.geometry.Projection",
                    "init_args": {"crs": "EPSG:3857", "x_resolution": 10, "y_resolution": -10},
                },
            },
        },
    },
    "postprocessing_strategies": {
        "process_window": {"class_path": "olmoearth_run.runner.tools.postprocessors.noop_raster.NoopRaster"},
        "process_partition": {"class_path": "CombineGeotiff", "init_args": {"nodata_value": 255}},
        "process_dataset": {"class_path": "CombineGeotiff", "init_args": None},
    },
    "window_prep": {
        "sampler": {"class_path": "olmoearth_run.tools.samplers.noop_sampler.NoopSampler"},
        "labeled_window_preparer": {
            "class_path": "PointToRasterWindowPreparer",
            "init_args": {"window_buffer": 3, "window_resolution": 10.0, "dtype": "INT32", "nodata_value": 9},
        },
        "data_splitter": {
            "class_path": "SpatialDataSplitter",
            "init_args": {"train_prop": 0.75, "val_prop": 0.25, "test_prop": 0.0, "grid_size": 128},
        },
        "label_layer": "label",
        "group_name": "spatial",
    },
    "inference_results_config": {
        "data_type": "raster",
        "classification_fields": [
            {
                "property_name": "kind",
                "band_index": 1,
                "allowed_values": [
                    {"value": 0, "label": "water", "color": [0, 0, 200]},
                    {"value": 1, "label": "<wood>", "color": [0, 120, 0, 255]},
                ],
            }
        ],
        "regression_fields": None,
    },
}

DATASET: dict[str, Any] = {
    "layers": {
        "imagery": {
            "type": "raster",
            "band_sets": [{"dtype": "uint16", "bands": ["B02", "B03"]}],
            "data_source": {
                "class_path": "rslearn.data_sources.local_files.LocalFiles",
                "init_args": {"src_dir": "imagery"},
                "query_config": {"max_matches": 2},
            },
        },
        "label": {"type": "raster", "band_sets": [{"dtype": "int32", "bands": ["category"]}]},
        "output": {"type": "raster", "band_sets": [{"dtype": "uint8", "bands": ["output"]}]},
    }
}

MODEL = """
model:
  class_path: rslearn.train.lightning_module.RslearnLightningModule
  init_args:
    model:
      class_path: rslearn.models.singletask.SingleTaskModel
      init_args:
        encoder:
          - class_path: rslearn.models.swin.Swin
            init_args:
              input_channels: 2
              output_layers: [1, 3]
        decoder:
          - class_path: rslearn.models.conv.Conv
            init_args:
              in_channels: 96
              out_channels: 2
              kernel_size: 1
              activation:
                class_path: torch.nn.Identity
          - class_path: rslearn.train.tasks.segmentation.SegmentationHead
    optimizer:
      class_path: rslearn.train.optimizer.AdamW
      init_args: {lr: 1e-4}
    scheduler:
      class_path: rslearn.train.scheduler.PlateauScheduler
      init_args: {patience: 2}
data:
  class_path: rslearn.train.data_module.RslearnDataModule
  init_args:
    path: ${DATASET_PATH}
    inputs:
      image:
        data_type: raster
        layers: ["imagery", "imagery.1"]
        bands: ["B02", "B03"]
        passthrough: true
      targets:
        data_type: raster
        layers: ["label"]
        bands: ["category"]
        is_target: true
    task:
      class_path: rslearn.train.tasks.segmentation.SegmentationTask
      init_args:
        num_classes: 2
    num_workers: ${NUM_WORKERS}
    default_config:
      crop_size: 16
    train_config:
      groups: [spatial]
      tags: {split: train}
    val_config:
      groups: [spatial]
      tags: {split: val}
    test_config:
      groups: [spatial]
      tags: {split: test}
    predict_config:
      load_all_crops: true
      overlap_pixels: 4
trainer:
  max_epochs: 1
  logger:
    class_path: lightning.pytorch.loggers.WandbLogger
    init_args:
      project: ${WANDB_PROJECT}
      name: ${WANDB_NAME}
      entity: ${WANDB_ENTITY}
  callbacks:
    - class_path: ModelCheckpoint
      init_args: {dirpath: "${TRAINER_DATA_PATH}", monitor: val_loss}
    - class_path: rslearn.train.prediction_writer.RslearnWriter
      init_args:
        path: ${DATASET_PATH}
        output_layer: ${PREDICTION_OUTPUT_LAYER}
        merger:
          class_path: rslearn.train.prediction_writer.RasterMerger
          init_args: {overlap_pixels: 4}
# unused: ${EXTRA_FILES_PATH}
"""


def feature(geometry: dict[str, Any], **properties: Any) -> dict[str, Any]:
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def collection(*features: dict[str, Any]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


SQUARE = {"type": "Polygon", "coordinates": [[[10, 50], [10.1, 50], [10.1, 50.1], [10, 50.1], [10, 50]]]}
TIMES = {"oe_start_time": "2024-05-01T00:00:00Z", "oe_end_time": "2024-06-01T00:00:00Z"}


class ProjectFolder:
    """A project folder with methods that change one file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_config = copy.deepcopy(RUN_CONFIG)
        self.dataset = copy.deepcopy(DATASET)
        self.write()
        (path / "model.yaml").write_text(MODEL)
        self.json("prediction_request_geometry.geojson", collection(feature(SQUARE, **TIMES)))
        self.json(
            "annotation_task_features.geojson",
            collection(feature(SQUARE, oe_annotations_task_id=TASK_ID, **TIMES)),
        )
        point = {"type": "Point", "coordinates": [10.05, 50.05]}
        self.json(
            "annotation_features.geojson",
            collection(feature(point, oe_annotations_task_id=TASK_ID, oe_labels={"category": 1})),
        )
        with zipfile.ZipFile(path / "checkpoint.ckpt", "w") as archive:
            archive.writestr("archive/data.pkl", b"x")

    def write(self) -> None:
        """Writes the two configurations as they are now."""
        (self.path / "olmoearth_run.yaml").write_text(yaml.safe_dump(self.run_config, sort_keys=False))
        self.json("dataset.json", self.dataset)

    def json(self, name: str, value: Any) -> None:
        (self.path / name).parent.mkdir(exist_ok=True)
        (self.path / name).write_text(json.dumps(value))

    def model(self, old: str, new: str) -> None:
        """Replaces a text of model.yaml."""
        text = (self.path / "model.yaml").read_text()
        assert text.count(old) >= 1
        (self.path / "model.yaml").write_text(text.replace(old, new))
