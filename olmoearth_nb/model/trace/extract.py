"""What a task says and means about a crop, as plain arrays, whatever kind of task it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
import torch
from rslearn.models.component import FeatureMaps, FeatureVector
from rslearn.train.model_context import RasterImage, SampleMetadata
from rslearn.train.tasks import Task
from rslearn.train.tasks.classification import ClassificationTask
from rslearn.train.tasks.detection import DetectionTask
from rslearn.train.tasks.per_pixel_regression import PerPixelRegressionTask
from rslearn.train.tasks.per_pixel_timestep import PerPixelTimestepTask
from rslearn.train.tasks.regression import RegressionTask
from rslearn.train.tasks.segmentation import SegmentationTask
from rslearn.utils.feature import Feature
from rslearn.utils.geometry import STGeometry

__all__ = ["Said", "has_label", "logits_of", "said"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Said:
    """A task's output and label for a crop.

    Attributes:
        probabilities: (C, h, w), or (C,) of tasks by window.
        prediction: Index of the class that is written, (h, w) or ().
        values: (h, w) or ().
        label: Classes, -1 without one, or values, NaN without one; (h, w) or (). None if labels were not read.
        features: Objects.
        label_features: Labelled objects; None if labels were not read.
    """

    probabilities: Array | None = None
    prediction: Array | None = None
    values: Array | None = None
    label: Array | None = None
    features: list[Feature] = field(default_factory=list)
    label_features: list[Feature] | None = None


def logits_of(intermediates: Any, size: int) -> list[Array | None]:
    """What went into a head, for each sample of a batch; None where that is no such thing.

    Args:
        intermediates: What the head was given.
        size: Number of samples.
    """
    match intermediates:
        case FeatureMaps() if len(intermediates.feature_maps) == 1:
            return [one.float().cpu().numpy() for one in intermediates.feature_maps[0]]
        case FeatureVector():
            return [one.float().cpu().numpy() for one in intermediates.feature_vector]
        case _:
            return [None] * size


def said(task: Task, output: Any, target: Mapping[str, Any] | None, metadata: SampleMetadata) -> Said:
    """What a task says about a crop.

    Args:
        task: The task.
        output: What its head gave for the crop.
        target: The label as the task has it; None if labels were not read.
        metadata: Of the crop.
    """
    match task:
        case PerPixelTimestepTask():
            # As the task does: channels beyond the dates are padding.
            probs = output["probs"][: len(output["timestamps"]) or None]
            # Only with targets the head says which time step is meant.
            label = _classes(output.get("targets"), "classes")
            return Said(probabilities=_array(probs), prediction=_array(probs.argmax(dim=0)), label=label)
        case SegmentationTask():
            scaled = output
            if task.prob_scales is not None:
                scales = torch.tensor(task.prob_scales, device=output.device, dtype=output.dtype)
                scaled = output * scales[:, None, None]
            return Said(
                probabilities=_array(output),
                prediction=_array(scaled.argmax(dim=0)),
                label=_classes(target, "classes"),
            )
        case PerPixelRegressionTask():
            values = output[0] if output.ndim == 3 else output
            return Said(
                values=_array(values) / task.scale_factor, label=_values(target, "values", float(task.scale_factor))
            )
        case ClassificationTask():
            properties: Any = task.process_output(output, metadata)[0].properties
            index = properties[task.property_name]
            index = index if task.read_class_id else list(task.classes).index(index)
            return Said(probabilities=_array(output), prediction=np.array(int(index)), label=_classes(target, "class"))
        case RegressionTask():
            return Said(
                values=_array(output) / task.scale_factor, label=_values(target, "value", float(task.scale_factor))
            )
        case _:
            return _objects(task, output, target, metadata)


def _objects(task: Task, output: Any, target: Mapping[str, Any] | None, metadata: SampleMetadata) -> Said:
    made = task.process_output(output, metadata)
    labels = _boxes(task, target, metadata) if isinstance(task, DetectionTask) and target else None
    if isinstance(made, list):
        return Said(features=made, label_features=labels)
    # A task that is not known: what it writes are its values, if they are one for each pixel.
    values = np.asarray(made) if isinstance(made, np.ndarray) else None
    if values is not None and values.ndim == 3 and len(values) == 1:
        return Said(values=values[0])
    return Said()


def _boxes(task: DetectionTask, target: Mapping[str, Any], metadata: SampleMetadata) -> list[Feature]:
    found = []
    left, top = metadata.crop_bounds[:2]
    for box, label in zip(target["boxes"].tolist(), target["labels"].tolist(), strict=True):
        shape = shapely.box(left + box[0], top + box[1], left + box[2], top + box[3])
        name = label if task.read_class_id else task.classes[label]
        found.append(Feature(STGeometry(metadata.projection, shape, None), {task.property_name: name}))
    return found


def has_label(target: Mapping[str, Any] | None) -> bool:
    """Whether anything of a crop is labelled.

    Args:
        target: The label as the task has it.
    """
    valid = None if target is None else target.get("valid")
    return valid is not None and bool((_tensor(valid) > 0).any())


def _classes(target: Mapping[str, Any] | None, name: str) -> Array | None:
    if target is None or name not in target:
        return None
    label, valid = _tensor(target[name]), _tensor(target["valid"])
    return np.where(_array(valid) > 0, _array(label.long()), -1)


def _values(target: Mapping[str, Any] | None, name: str, scale: float) -> Array | None:
    if target is None or name not in target:
        return None
    label, valid = _tensor(target[name]), _tensor(target["valid"])
    return np.where(_array(valid) > 0, _array(label.float()) / scale, np.nan).astype(np.float32)


def _tensor(value: Any) -> torch.Tensor:
    tensor: torch.Tensor = value.get_hw_tensor() if isinstance(value, RasterImage) else value
    return tensor


def _array(tensor: torch.Tensor) -> Array:
    values: Array = (tensor.float() if tensor.is_floating_point() else tensor).detach().cpu().numpy()
    return values
