"""Models that benchmarks run: a small convolutional network, and an OlmoEarth nano encoder with random weights."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.projects import VARIABLES

S2 = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12", "B01", "B09")
CLASSES = 3


def _part(class_path: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": class_path, "init_args": arguments}


def _conv(inputs: int, outputs: int, size: int) -> dict[str, Any]:
    return _part("rslearn.models.conv.Conv", in_channels=inputs, out_channels=outputs, kernel_size=size)


def _model_yaml(
    *, encoder: list[dict[str, Any]], decoder: list[dict[str, Any]], inputs: dict[str, Any], transforms: list[Any],
    crops: dict[str, Any], overlap: int | None,
) -> dict[str, Any]:  # fmt: skip
    head = _part("rslearn.train.tasks.segmentation.SegmentationHead")
    network = _part("rslearn.models.singletask.SingleTaskModel", encoder=encoder, decoder=[*decoder, head])
    task = _part("rslearn.train.tasks.segmentation.SegmentationTask", num_classes=CLASSES)
    merger = _part("rslearn.train.prediction_writer.RasterMerger", overlap_pixels=overlap)
    targets = {"data_type": "raster", "layers": ["label"], "bands": ["label"], "dtype": "INT32", "is_target": True}
    writer = _part(
        "rslearn.train.prediction_writer.RslearnWriter",
        path="${DATASET_PATH}", output_layer="${PREDICTION_OUTPUT_LAYER}", merger=merger,
    )  # fmt: skip
    data = _part(
        "rslearn.train.data_module.RslearnDataModule",
        path="${DATASET_PATH}", inputs={**inputs, "targets": targets}, task=task, batch_size=32,
        num_workers="${NUM_WORKERS}", default_config={"transforms": transforms},
        predict_config={"groups": ["default"], "skip_targets": True, **crops},
    )  # fmt: skip
    return {
        "model": _part("rslearn.train.lightning_module.RslearnLightningModule", model=network),
        "data": data,
        "trainer": {"max_epochs": 1, "callbacks": [writer]},
    }


def cnn(bands: tuple[str, ...], *, crop_size: int | None = None, overlap: int = 0) -> dict[str, Any]:
    """Two convolutions of 16 channels, on whole windows or on crops."""
    modules = [_conv(len(bands), 16, 3), _conv(16, 16, 3)]
    image = {"data_type": "raster", "layers": ["image"], "bands": list(bands), "dtype": "FLOAT32", "passthrough": True}
    crops = {} if crop_size is None else {"load_all_crops": True, "crop_size": crop_size, "overlap_pixels": overlap}
    return _model_yaml(
        encoder=[_part("rslearn.models.module_wrapper.EncoderModuleWrapper", modules=modules)],
        decoder=[_conv(16, CLASSES, 1)],
        inputs={"image": image},
        transforms=[_part("rslearn.train.transforms.normalize.Normalize", mean=1500, std=800)],
        crops=crops,
        overlap=overlap or None,
    )


def olmoearth_nano() -> dict[str, Any]:
    """OlmoEarth nano on all dates of Sentinel-2, patches of 4 pixels, crops of 64."""
    encoder = _part(
        "rslearn.models.olmoearth_pretrain.model.OlmoEarth",
        model_id="OLMOEARTH_V1_2_NANO", patch_size=4, random_initialization=True, use_legacy_timestamps=True,
    )  # fmt: skip
    series = {
        "data_type": "raster", "layers": ["image"], "bands": list(S2), "dtype": "FLOAT32", "passthrough": True,
        "load_all_layers": True, "load_all_item_groups": True,
    }  # fmt: skip
    names = {"sentinel2_l2a": list(S2)}
    return _model_yaml(
        encoder=[encoder],
        decoder=[_part("rslearn.models.upsample.Upsample", scale_factor=4), _conv(128, CLASSES, 1)],
        inputs={"sentinel2_l2a": series},
        transforms=[_part("rslearn.models.olmoearth_pretrain.norm.OlmoEarthNormalize", band_names=names)],
        crops={"load_all_crops": True, "crop_size": 64, "overlap_pixels": 0},
        overlap=None,
    )


def write_checkpoint(project: Path, model: dict[str, Any]) -> Path:
    """Writes ``model.yaml`` and a checkpoint of random weights beside it."""
    # JSON is YAML, and keeps the quotes around variables.
    (project / "model.yaml").write_text(f"{VARIABLES}{json.dumps(model, indent=2)}\n")
    path = project / "checkpoint.ckpt"
    import torch

    from olmoearth_nb import OlmoEarthRunPredictRunner

    runner = OlmoEarthRunPredictRunner(project, project.parent / "weights", random_weights=True, progress=False)
    # Lightning, by which olmoearth-runner reads it, asks for its version.
    weights = runner.model().module.state_dict()
    torch.save({"state_dict": weights, "pytorch-lightning_version": version("lightning")}, path)
    return path
