"""Which of the published OlmoEarth encoders a configuration means whose folder lies on another machine."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import ModelError

__all__ = ["known_architecture"]

_PATHS = ("model_path", "checkpoint_path")
# Ahead of the first block of an encoder; what is ahead of that is where it lies in the model.
_FIRST = "blocks.0.norm1.weight"

Shapes = dict[str, tuple[int, ...]]


def known_architecture(
    arguments: Mapping[str, Any], model: object, weights: Mapping[str, torch.Tensor] | None
) -> dict[str, Any]:
    """Arguments of an OlmoEarth encoder that don't need a folder which is not there.

    Args:
        arguments: The encoder's.
        model: The section ``model`` that it is part of: decoders say how many channels they take.
        weights: Those of a checkpoint of the model, if there is one.

    Returns:
        The arguments with ``model_id`` in place of the folder, if its architecture can be told; else as they were.
    """
    folders = [Path(str(arguments[name])) for name in _PATHS if arguments.get(name) is not None]
    if arguments.get("model_id") is not None or not folders or (folders[0] / "config.json").is_file():
        return dict(arguments)
    found = _by_weights(weights) if weights else _by_width(arguments.get("embedding_size"), model)
    if found is None:
        return dict(arguments)
    return {**{name: value for name, value in arguments.items() if name not in _PATHS}, "model_id": found}


def _by_weights(weights: Mapping[str, torch.Tensor]) -> str | None:
    """The encoder whose names and shapes of weights are those of a part of a model."""
    prefixes = {name.removesuffix(_FIRST) for name in weights if name.endswith(_FIRST)}
    parts = [
        {name.removeprefix(prefix): tuple(value.shape) for name, value in weights.items() if name.startswith(prefix)}
        for prefix in prefixes
    ]
    return next((name for name in _ids() if _shapes(name) in parts), None)


def _by_width(embedding_size: object, model: object) -> str | None:
    """The first encoder with this number of channels, or with the one that the decoders take."""
    sizes = importlib.import_module("rslearn.models.olmoearth_pretrain.model").EMBEDDING_SIZES
    widths = {embedding_size} if embedding_size else set(_input_widths(model)) & set(sizes.values())
    if len(widths) != 1:
        return None
    return next((member.name for member, size in sizes.items() if size in widths), None)


def _input_widths(value: object) -> Iterator[object]:
    match value:
        case dict():
            for key, item in value.items():
                if key == "in_channels" and isinstance(item, int):
                    yield item
                yield from _input_widths(item)
        case list():
            for item in value:
                yield from _input_widths(item)


def _ids() -> list[str]:
    return [member.name for member in importlib.import_module("olmoearth_pretrain_minimal.model_loader").ModelID]


@functools.cache
def _shapes(name: str) -> Shapes:
    """Shapes of the weights of an encoder, by their names; empty if the package can't build it."""
    package = importlib.import_module("olmoearth_pretrain_minimal")
    member = importlib.import_module("olmoearth_pretrain_minimal.model_loader").ModelID[name]
    _, version, size = str(member).split("-")
    try:
        with foreign_code(ModelError, "The encoder can't be built"), torch.device("meta"):
            built = package.OlmoEarthPretrain_v1(model_size=size.lower(), model_version=version.replace("_", "."))
    except ModelError:
        return {}
    return {key: tuple(value.shape) for key, value in built.model.encoder.state_dict().items()}
