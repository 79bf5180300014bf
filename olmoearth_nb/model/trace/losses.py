"""The loss of a window as training would compute it, in total and by pixel."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rslearn.models.component import FeatureMaps, Predictor
from rslearn.train.model_context import ModelContext
from rslearn.train.tasks.per_pixel_regression import PerPixelRegressionHead
from rslearn.train.tasks.segmentation import SegmentationHead

__all__ = ["drawn_losses", "loss_map"]

Array = npt.NDArray[Any]


def loss_map(head: Predictor, intermediates: Any, index: int, target: Mapping[str, Any], loss: float) -> Array | None:
    """Share of each pixel in the loss of a crop, (h, w), NaN where there is no label.

    Computed as rslearn's heads do, and only given if it adds up to what the head itself gave: heads derived from them
    may compute something else.

    Args:
        head: The head.
        intermediates: What it was given.
        index: The crop's in the batch.
        target: The crop's label as the task has it.
        loss: What the head gave for this crop alone.
    """
    if not isinstance(intermediates, FeatureMaps) or len(intermediates.feature_maps) != 1:
        return None
    logits = intermediates.feature_maps[0][index : index + 1].float()
    try:
        shares = _shares(head, logits, target)
    except (KeyError, ValueError, RuntimeError, IndexError):
        return None
    if shares is None:
        return None
    values, mask = shares
    total = mask.sum()
    values = values * mask / total if total > 0 else values * mask
    if not np.isclose(float(values.sum()), loss, rtol=1e-3, atol=1e-6):
        return None
    found: Array = torch.where(mask > 0, values, torch.nan)[0].cpu().numpy()
    return found


def _shares(
    head: Predictor, logits: torch.Tensor, target: Mapping[str, Any]
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Loss and weight of each pixel, (1, h, w)."""
    match head:
        case SegmentationHead():
            label = target["classes"].get_hw_tensor()[None]
            loss = torch.nn.functional.cross_entropy(logits, label, weight=head.weights, reduction="none")
        case PerPixelRegressionHead():
            label = target["values"].get_hw_tensor()[None]
            values = torch.sigmoid(logits[:, 0]) if head.use_sigmoid else logits[:, 0]
            match head.loss_mode:
                case "mse":
                    loss = torch.square(values - label)
                case "l1":
                    loss = torch.abs(values - label)
                case _:
                    loss = torch.nn.functional.huber_loss(values, label, reduction="none", delta=head.huber_delta)
        case _:
            return None
    return loss, target["valid"].get_hw_tensor()[None]


def drawn_losses(
    head: Predictor, intermediates: Any, context: ModelContext, targets: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """The losses of a head that has some only in training (of detection), from one draw of its random samples.

    Args:
        head: The head.
        intermediates: What it was given.
        context: Of one crop.
        targets: Of that crop.
    """
    with _training(head), torch.random.fork_rng():
        torch.manual_seed(0)
        output = head(intermediates, context, list(targets))
    return {name: float(loss) for name, loss in output.loss_dict.items()}


@contextlib.contextmanager
def _training(head: torch.nn.Module) -> Iterator[None]:
    before = {module: module.training for module in head.modules()}
    head.train()
    # What would learn from the pass, or drop parts of it, stays as it is.
    for module in head.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm | torch.nn.modules.dropout._DropoutNd):
            module.eval()
    try:
        yield
    finally:
        for module, training in before.items():
            module.training = training
