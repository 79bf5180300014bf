"""Tasks in words, and what their samples have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rslearn.train.model_context import SampleMetadata
from rslearn.train.tasks import Task
from rslearn.train.tasks.classification import ClassificationTask
from rslearn.train.tasks.detection import DetectionTask
from rslearn.train.tasks.per_pixel_regression import PerPixelRegressionTask
from rslearn.train.tasks.per_pixel_timestep import PerPixelTimestepTask
from rslearn.train.tasks.regression import RegressionTask
from rslearn.train.tasks.segmentation import SegmentationTask

__all__ = ["inside_window", "kind_of", "name_of", "ratio", "task_of_loss", "valid_labels"]

_KINDS: tuple[tuple[type, str], ...] = (
    (PerPixelTimestepTask, "time step of each pixel"),
    (SegmentationTask, "segmentation"),
    (ClassificationTask, "classification"),
    (PerPixelRegressionTask, "per-pixel regression"),
    (RegressionTask, "regression"),
    (DetectionTask, "detection"),
)


def kind_of(task: Task) -> str:
    """The sort of a task in words.

    Args:
        task: Of rslearn or a custom one.
    """
    return next((kind for cls, kind in _KINDS if isinstance(task, cls)), type(task).__name__)


def name_of(task: Task) -> str:
    """A name for the only task of a model: the property that it writes, or what sort of task it is.

    Args:
        task: The task.
    """
    return str(getattr(task, "property_name", None) or kind_of(task))


def task_of_loss(key: str, tasks: Mapping[str, Task], *, multiple: bool) -> str:
    """Which task a loss belongs to, by its name.

    Args:
        key: Name of the loss as the model has it.
        tasks: The model's tasks by name.
        multiple: Whether it is a model for several tasks.
    """
    if not multiple:
        return next(iter(tasks))
    fitting = [name for name in tasks if key.startswith(f"{name}_")]
    return max(fitting, key=len, default="")


def inside_window(output: torch.Tensor, metadata: SampleMetadata) -> torch.Tensor:
    """Which pixels of an output (..., H, W) lie in the window: crops may reach beyond it.

    Args:
        output: A window's or a crop's; without pixels it is inside.
        metadata: Of the sample.

    Returns:
        Shape (H * W,).
    """
    if output.ndim < 2:
        return torch.ones(1, dtype=torch.bool)
    height, width = output.shape[-2:]
    x0, y0, x1, y1 = metadata.crop_bounds
    inside = torch.ones((height, width), dtype=torch.bool)
    if (height, width) == (y1 - y0, x1 - x0):
        left, top, right, bottom = metadata.window_bounds
        inside = torch.zeros((height, width), dtype=torch.bool)
        inside[max(top - y0, 0) : max(bottom - y0, 0), max(left - x0, 0) : max(right - x0, 0)] = True
    return inside.flatten()


def valid_labels(target: Mapping[str, Any], name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels and where they are valid, both flat and on the CPU.

    Args:
        target: What the task made of a label.
        name: Where it keeps the labels.
    """
    label, valid = (
        one.get_hw_tensor() if hasattr(one, "get_hw_tensor") else one for one in (target[name], target["valid"])
    )
    return label.flatten().cpu(), valid.flatten().cpu() > 0


def ratio(part: Any, whole: Any) -> npt.NDArray[np.float64]:
    """Shares; NaN of nothing.

    Args:
        part: Numbers.
        whole: Of how many, in the same shape.
    """
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    shares: npt.NDArray[np.float64] = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return shares
