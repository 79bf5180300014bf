"""Encoders without a download: where a checkpoint or random weights do, only the architecture is needed."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import threading
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import torch

from olmoearth_nb.model.architectures import known_architecture
from olmoearth_nb.model.instantiate import component_class

__all__ = ["offline_encoders", "without_pretrained"]

_OLMOEARTH = "rslearn.models.olmoearth_pretrain.model.OlmoEarth"
# Of classes that take a path, what leaves it out; CROMA's loader only wants a text.
_BY_CLASS: dict[str, dict[str, Any]] = {
    "rslearn.models.dinov3.DinoV3": {"checkpoint_dir": None},
    "rslearn.models.ssl4eo_s12.Ssl4eoS12": {"backbone_ckpt_path": None},
    "rslearn.models.croma.Croma": {"pretrained_path": "none"},
}
# Classes that load weights whatever they are told -> the modules that do it for them.
_STUBBORN = {
    "rslearn.models.croma.Croma": ("rslearn.models.use_croma",),
    "rslearn.models.presto.presto.Presto": ("rslearn.models.presto.presto",),
    "rslearn.models.prithvi.PrithviV2": ("rslearn.models.prithvi",),
}
_lock = threading.RLock()


def without_pretrained(config: Any, weights: Mapping[str, torch.Tensor] | None = None) -> Any:
    """A model configuration whose parts leave their weights as they are initialized, where they can be told to.

    Args:
        config: The section ``model``; it is not changed.
        weights: Those of the checkpoint that is loaded afterwards, if there is one: by them the architecture of an
            OlmoEarth encoder is known whose folder is not there.
    """
    return _without(config, config, weights)


def _without(config: Any, model: Any, weights: Mapping[str, torch.Tensor] | None) -> Any:
    match config:
        case {"class_path": str(path)}:
            given = {key: _without(value, model, weights) for key, value in (config.get("init_args") or {}).items()}
            changed = _arguments(path, given, model, weights)
            return config if not changed and not given else {**config, "init_args": changed}
        case dict():
            return {key: _without(value, model, weights) for key, value in config.items()}
        case list():
            return [_without(value, model, weights) for value in config]
        case _:
            return config


def _arguments(
    path: str, given: dict[str, Any], model: Any, weights: Mapping[str, torch.Tensor] | None
) -> dict[str, Any]:
    """The arguments of a class with what leaves weights out."""
    cls = _class(path)
    if cls is None:
        return given
    names = inspect.signature(cls).parameters
    changed = {**given, **_BY_CLASS.get(_name(cls), {})}
    if "random_initialization" in names:
        changed["random_initialization"] = True
    if "pretrained" in names and given.get("pretrained", names["pretrained"].default) is True:
        changed["pretrained"] = False
    if changed.get("restore_config") is not None:
        # It is another checkpoint to start training from.
        changed["restore_config"] = None
    if {"model_id", "model_path", "checkpoint_path"} <= names.keys():
        changed = known_architecture(changed, model, weights)
    return changed


def _class(path: str) -> type | None:
    # "OlmoEarth" alone is what the parser also takes once the class has been imported.
    return component_class(_OLMOEARTH if path == "OlmoEarth" else path)


def _name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


@contextlib.contextmanager
def offline_encoders(config: Mapping[str, Any], *, stubborn: bool = True) -> Iterator[None]:
    """Within the block, encoders without weights are built from the installed packages alone.

    rslearn's loader of OlmoEarth encoders fetches the architecture from Hugging Face even when it is told to leave
    the weights; the package has every architecture in code. A checkpoint is loaded strictly afterwards, which would
    show a difference. Some other classes can't be told to leave their weights; they get none.

    Args:
        config: The section ``model``, see :func:`without_pretrained`.
        stubborn: Whether those others get none; False where only what asks for no weights shall have none.
    """
    classes = {_name(cls): cls for cls in map(_class, _class_paths(config)) if cls is not None}
    modules = [name for known, names in _STUBBORN.items() if stubborn and known in classes for name in names]
    olmoearth = any(_name(base) == _OLMOEARTH for cls in classes.values() for base in cls.__mro__)
    with _lock, contextlib.ExitStack() as stack:
        if olmoearth:
            encoder = importlib.import_module(_OLMOEARTH.rpartition(".")[0])
            loader = functools.partial(_load_model_from_id, encoder.load_model_from_id)
            stack.enter_context(_replaced(encoder, load_model_from_id=loader))
        if modules:
            original = torch.nn.Module.load_state_dict
            stack.enter_context(_replaced(torch.nn.Module, load_state_dict=_skipping(original)))
        for name in modules:
            module = importlib.import_module(name)
            stack.enter_context(_replaced(module, torch=_TorchWithoutFiles("torch")))
            if hasattr(module, "hf_hub_download"):
                download = functools.partial(_fetch_no_weights, module.hf_hub_download)
                stack.enter_context(_replaced(module, hf_hub_download=download))
        yield


def _class_paths(config: Any) -> Iterator[str]:
    match config:
        case dict():
            if isinstance(path := config.get("class_path"), str):
                yield path
            for value in config.values():
                yield from _class_paths(value)
        case list():
            for value in config:
                yield from _class_paths(value)


@contextlib.contextmanager
def _replaced(owner: Any, **values: Any) -> Iterator[None]:
    originals = {name: getattr(owner, name) for name in values}
    for name, value in values.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in originals.items():
            setattr(owner, name, value)


class _NoWeights(dict[str, Any]):
    """What stands for the content of a file of weights that is not read."""

    def __getitem__(self, key: str) -> _NoWeights:
        return self


class _TorchWithoutFiles(ModuleType):
    """torch, for a module that is to read no file."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def load(self, *_: Any, **__: Any) -> _NoWeights:
        return _NoWeights()


def _skipping(original: Any) -> Any:
    @functools.wraps(original)
    def load_state_dict(module: torch.nn.Module, state_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
        return None if isinstance(state_dict, _NoWeights) else original(module, state_dict, *args, **kwargs)

    return load_state_dict


def _fetch_no_weights(original: Any, *, filename: str, **kwargs: Any) -> Any:
    # The architecture of some is only known from their configuration.
    return original(filename=filename, **kwargs) if filename.endswith(".json") else filename


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
