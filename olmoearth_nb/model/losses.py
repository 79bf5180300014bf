"""The loss of each sample of a batch, from one pass through the network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from rslearn.models.component import FeatureMaps, FeatureVector, Predictor, TokenFeatureMaps
from rslearn.train.model_context import ModelContext, ModelOutput

__all__ = ["HeadCalls", "one_of", "sample_losses", "watch_heads"]


@dataclass
class HeadCalls:
    """What the heads of a model were given in a pass.

    Attributes:
        calls: Head, its input, context, targets, and the names of its losses.
    """

    calls: list[tuple[Predictor, Any, ModelContext, Any, list[str]]] = field(default_factory=list)


@contextlib.contextmanager
def watch_heads(module: torch.nn.Module) -> Iterator[HeadCalls]:
    """Notes what the heads of a model are given, as long as the block lasts.

    Args:
        module: The model.
    """
    seen = HeadCalls()

    def note(head: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: ModelOutput) -> None:
        given = dict(zip(("intermediates", "context", "targets"), args, strict=False)) | kwargs
        names = list(output.loss_dict)
        seen.calls.append((head, given["intermediates"], given["context"], given.get("targets"), names))

    heads = [part for part in module.modules() if isinstance(part, Predictor)]
    hooks = [head.register_forward_hook(note, with_kwargs=True) for head in heads]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def sample_losses(
    module: torch.nn.Module, seen: HeadCalls, output: ModelOutput, context: ModelContext, targets: Sequence[Any]
) -> list[dict[str, float]]:
    """The losses that each sample would have in a batch of its own, by name, weighted as in training.

    Heads mix the samples of a batch, so that each head is asked again for each sample; the network before them is not.
    Where losses come from elsewhere too (auxiliary ones), or a head takes what can't be divided, the model is run
    again for each sample.

    Args:
        module: The Lightning module, in evaluation mode.
        seen: What its heads were given in the pass over the batch.
        output: What it gave for the batch.
        context: What the model was given.
        targets: Targets of the samples.
    """
    if len(targets) == 1 or not output.loss_dict:
        return [{name: float(loss) for name, loss in output.loss_dict.items()} for _ in targets]
    weights = _weights(module, seen, output.loss_dict)
    found: list[dict[str, float]] = []
    for index, target in enumerate(targets):
        losses = None if weights is None else _by_heads(seen, index, weights)
        if losses is None:
            alone = ModelContext(inputs=[context.inputs[index]], metadatas=[context.metadatas[index]])
            losses = {name: float(loss) for name, loss in module(alone, [target]).loss_dict.items()}
        found.append(losses)
    return found


def _weights(
    module: torch.nn.Module, seen: HeadCalls, losses: Mapping[str, torch.Tensor]
) -> list[dict[str, tuple[str, float]]] | None:
    """For each call of a head: name of its loss -> its name and weight in the model's; None if they don't fit."""
    by_task: Mapping[str, float] = getattr(getattr(module, "model", None), "loss_weights", None) or {}
    left = list(losses)
    weights: list[dict[str, tuple[str, float]]] = []
    for *_, names in seen.calls:
        weights.append({})
        for name in names:
            full = left.pop(0) if left else ""
            task = full.removesuffix(f"_{name}")
            if full == name:
                weights[-1][name] = (full, 1.0)
            elif full.endswith(f"_{name}") and task in by_task:
                weights[-1][name] = (full, by_task[task])
            else:
                return None
    return None if left else weights


def _by_heads(
    seen: HeadCalls, index: int, weights: Sequence[Mapping[str, tuple[str, float]]]
) -> dict[str, float] | None:
    found: dict[str, float] = {}
    for (head, intermediates, context, targets, _), known in zip(seen.calls, weights, strict=True):
        one = one_of(intermediates, index)
        if one is None or targets is None:
            return None
        alone = ModelContext(inputs=[context.inputs[index]], metadatas=[context.metadatas[index]])
        for name, loss in head(one, alone, [targets[index]]).loss_dict.items():
            if name not in known:
                return None
            full, weight = known[name]
            found[full] = float(loss) * weight
    return found


def one_of(intermediates: Any, index: int) -> Any:
    """What a head would be given for one sample; None if that is not known.

    Args:
        intermediates: What it was given for a batch.
        index: The sample's in the batch.
    """
    part = slice(index, index + 1)
    match intermediates:
        case FeatureMaps():
            return FeatureMaps([maps[part] for maps in intermediates.feature_maps])
        case FeatureVector():
            return FeatureVector(intermediates.feature_vector[part])
        case TokenFeatureMaps():
            masks = intermediates.masks
            return TokenFeatureMaps(
                [maps[part] for maps in intermediates.feature_maps],
                None if masks is None else [mask[part] for mask in masks],
            )
        case _:
            return None
