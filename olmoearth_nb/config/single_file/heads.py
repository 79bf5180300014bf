"""A task of the section ``model``: the layers that decode it, and the task as rslearn has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from olmoearth_nb.config.single_file.data import ClassField, OutputField
from olmoearth_nb.config.single_file.network import Encoder, ManualTask, Task

__all__ = ["Head", "head_of"]

_TASKS = "rslearn.train.tasks"


@dataclass(frozen=True, kw_only=True)
class Head:
    """A task with its decoder.

    Attributes:
        decoder: The layers, as configurations describe them.
        task: The task.
        target: Name of the labels among a task's targets, for transforms; None where they are no image.
        label_dtype: Type that labels are read as; None for vector labels.
        monitor: What training shall improve, and whether it shall be the least (``min``) or the greatest (``max``).
    """

    decoder: list[dict[str, Any]]
    task: dict[str, Any]
    target: str | None
    label_dtype: str | None
    monitor: tuple[str, str]


def head_of(name: str, task: Task, field: OutputField, encoder: Encoder, *, is_raster: bool) -> Head:
    """Decoder and task for an output field.

    Args:
        name: Name of the field.
        task: Of the section ``model``.
        field: The field.
        encoder: What is decoded.
        is_raster: Whether results are rasters.
    """
    classes = isinstance(field, ClassField)
    target = ("classes" if classes else "values") if is_raster else None
    dtype = ("INT32" if classes else "FLOAT32") if is_raster else None
    if isinstance(task, ManualTask):
        monitor = ("val_loss", "min")
        return Head(decoder=task.decoder_layers, task=task.task, target=target, label_dtype=dtype, monitor=monitor)
    channels = encoder.source.embedding_size
    count = len(field.allowed_values) if isinstance(field, ClassField) else 1
    return Head(
        decoder=[*_decoder(task.decoder.name, encoder.patch_size, channels, count), _predictor(field, is_raster)],
        task=_task(name, field, is_raster),
        target=target,
        label_dtype=dtype,
        monitor=("val_accuracy", "max") if classes else ("val_mse", "min"),
    )


def _decoder(kind: str, patch_size: int, channels: int | None, count: int) -> list[dict[str, Any]]:
    match kind:
        case "unet":
            arguments = {
                "in_channels": [[patch_size, channels]],
                "out_channels": count,
                "conv_layers_per_resolution": 1,
            }
            return [{"class_path": "rslearn.models.unet.UNetDecoder", "init_args": arguments}]
        case "pooling":
            arguments = {"in_channels": channels, "out_channels": count}
            return [{"class_path": "rslearn.models.pooling_decoder.PoolingDecoder", "init_args": arguments}]
        case _:
            last = {"class_path": "torch.nn.Identity"}
            arguments = {"in_channels": channels, "out_channels": count, "kernel_size": 1, "activation": last}
            return [
                {"class_path": "rslearn.models.upsample.Upsample", "init_args": {"scale_factor": patch_size}},
                {"class_path": "rslearn.models.conv.Conv", "init_args": arguments},
            ]


def _predictor(field: OutputField, is_raster: bool) -> dict[str, Any]:
    match isinstance(field, ClassField), is_raster:
        case True, True:
            return {"class_path": f"{_TASKS}.segmentation.SegmentationHead"}
        case True, False:
            return {"class_path": f"{_TASKS}.classification.ClassificationHead"}
        case False, True:
            return {"class_path": f"{_TASKS}.per_pixel_regression.PerPixelRegressionHead"}
        case _:
            return {"class_path": f"{_TASKS}.regression.RegressionHead"}


def _task(name: str, field: OutputField, is_raster: bool) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if is_raster and field.nodata_value is not None:
        arguments["nodata_value"] = field.nodata_value
    if not isinstance(field, ClassField):
        if is_raster:
            return {"class_path": f"{_TASKS}.per_pixel_regression.PerPixelRegressionTask", "init_args": arguments}
        return {"class_path": f"{_TASKS}.regression.RegressionTask", "init_args": {"property_name": name}}
    metric = {"average": "micro"}
    if is_raster:
        arguments = {"num_classes": len(field.allowed_values), **arguments, "metric_kwargs": metric}
        return {"class_path": f"{_TASKS}.segmentation.SegmentationTask", "init_args": arguments}
    arguments = {
        "property_name": name,
        "classes": [one.label for one in field.allowed_values],
        # Annotations have the value of the class, which is its place among the classes.
        "read_class_id": True,
        "metric_kwargs": metric,
    }
    return {"class_path": f"{_TASKS}.classification.ClassificationTask", "init_args": arguments}
