"""OlmoEarth encoders without a download: a checkpoint has all their weights, so only the architecture is needed."""

from __future__ import annotations

import contextlib
import functools
import importlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import torch

__all__ = ["offline_encoders", "uses_olmoearth", "with_random_encoders"]

_ENCODER = "rslearn.models.olmoearth_pretrain.model.OlmoEarth"
# "OlmoEarth" alone is what the parser also takes once the class has been imported.
_NAMES = (_ENCODER, "OlmoEarth")
_lock = threading.RLock()


def uses_olmoearth(config: Any) -> bool:
    """Whether a model configuration has an OlmoEarth encoder, at any depth.

    Args:
        config: Any part of a model configuration.
    """
    match config:
        case {"class_path": str(path)} if path in _NAMES:
            return True
        case dict():
            return any(uses_olmoearth(value) for value in config.values())
        case list():
            return any(uses_olmoearth(value) for value in config)
        case _:
            return False


def with_random_encoders(config: Any) -> Any:
    """A model configuration whose OlmoEarth encoders don't load their weights, because a checkpoint brings them.

    Args:
        config: Any part of a model configuration; it is not changed.
    """
    match config:
        case {"class_path": str(path)} if path in _NAMES:
            return {**config, "init_args": {**(config.get("init_args") or {}), "random_initialization": True}}
        case dict():
            return {key: with_random_encoders(value) for key, value in config.items()}
        case list():
            return [with_random_encoders(value) for value in config]
        case _:
            return config


@contextlib.contextmanager
def offline_encoders(config: Mapping[str, Any]) -> Iterator[None]:
    """Within the block, encoders by ``model_id`` and without weights are built from the installed package alone.

    rslearn's loader fetches the architecture from Hugging Face even when it is told to leave the weights; the package
    has every architecture in code. A checkpoint is loaded strictly afterwards, which would show a difference.

    Args:
        config: The model configuration; without an OlmoEarth encoder nothing is done.
    """
    if not uses_olmoearth(config):
        yield
        return
    encoder = importlib.import_module(_ENCODER.rpartition(".")[0])
    with _lock:
        original = encoder.load_model_from_id
        vars(encoder)["load_model_from_id"] = functools.partial(_load_model_from_id, original)
        try:
            yield
        finally:
            vars(encoder)["load_model_from_id"] = original


def _load_model_from_id(original: Any, model_id: Any, load_weights: bool = True) -> torch.nn.Module:
    loader = importlib.import_module("olmoearth_pretrain_minimal.model_loader")
    modalities = loader.ENCODER_INPUT_MODALITY_NAMES.get(model_id)
    size_and_version = _size_and_version(model_id)
    if load_weights or modalities is None or size_and_version is None:
        loaded: torch.nn.Module = original(model_id, load_weights=load_weights)
        return loaded
    size, version = size_and_version
    package = importlib.import_module("olmoearth_pretrain_minimal")
    model: torch.nn.Module = package.OlmoEarthPretrain_v1(model_size=size, model_version=version).model
    # The loader does so too: the encoder must not be given modalities that it was only trained to predict.
    encoder: Any = model.encoder
    encoder.restrict_input_modalities(modalities)
    return model


def _size_and_version(model_id: Any) -> tuple[str, str] | None:
    """``OlmoEarth-v1_2-Base`` -> ``base``, ``v1.2``."""
    match str(model_id).split("-"):
        case ["OlmoEarth", version, size]:
            return size.lower(), version.replace("_", ".")
        case _:
            return None
