"""Weights from a Lightning checkpoint into a model, strictly."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from olmoearth_nb.border import describe, foreign_code
from olmoearth_nb.errors import ModelError

__all__ = ["load_weights", "read_checkpoint"]

_SHOWN = 3


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a Lightning checkpoint; nothing in it is executed.

    Args:
        path: The file.

    Returns:
        What it holds, weights on the CPU.

    Raises:
        ModelError: If it is missing, is no checkpoint, or holds objects that only unsafe loading would read.
    """
    if not path.is_file():
        raise ModelError(
            "The checkpoint is a folder." if path.is_dir() else "The checkpoint is missing.",
            where=str(path),
            fix="Fine-tune a model first, or give the path of a checkpoint.",
        )
    try:
        # Reading what is no checkpoint can end in any exception.
        with foreign_code(ModelError, "The file can't be read"):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except ModelError as error:
        raise _no_checkpoint(path, error.__cause__ or error) from error.__cause__
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        keys = _first(list(map(str, content))) if isinstance(content, dict) else type(content).__name__
        bare = isinstance(content, dict) and content and all(map(torch.is_tensor, content.values()))
        raise ModelError(
            "The file is not a Lightning checkpoint.",
            where=str(path),
            expected="a 'state_dict' in it",
            found=keys,
            fix='These are the weights alone: save {"state_dict": weights} with torch.save.' if bare else None,
        )
    wrong = [
        key for key, value in content["state_dict"].items() if not isinstance(key, str) or not torch.is_tensor(value)
    ]
    if wrong:
        raise ModelError(
            "The checkpoint's 'state_dict' has entries that are no weights.",
            where=str(path),
            expected="a tensor for each name",
            found=_first(list(map(str, wrong))),
        )
    return content


def _no_checkpoint(path: Path, cause: BaseException) -> ModelError:
    _, unsafe, after = str(cause).partition("GLOBAL ")
    if isinstance(cause, pickle.UnpicklingError) and unsafe:
        return ModelError(
            "The checkpoint holds more than weights and plain values, which could run code, so it is not loaded.",
            where=str(path),
            found=after.split()[0],
            fix="If you trust its source, load it with torch.load(path, weights_only=False), keep "
            '{"state_dict": checkpoint["state_dict"]} and save that with torch.save.',
        )
    # What torch says of a pickle is about a switch that would run what is in it.
    reason = "." if isinstance(cause, pickle.UnpicklingError) else f": {describe(cause)}"
    return ModelError(
        f"The file is not a checkpoint that torch can read{reason}",
        where=str(path),
        found=f"{path.stat().st_size} bytes",
        fix="Was it downloaded completely? A Git LFS pointer is a text of some 130 bytes.",
    )


def load_weights(module: torch.nn.Module, weights: Mapping[str, torch.Tensor], *, where: str) -> None:
    """Puts weights into a model; every key has to fit.

    Args:
        module: The Lightning module.
        weights: The ``state_dict`` of a checkpoint.
        where: The checkpoint, for errors.

    Raises:
        ModelError: If they are those of another model; the message names the first keys.
    """
    own = module.state_dict()
    sizes = [
        f"{key} {tuple(weights[key].shape)} instead of {tuple(own[key].shape)}"
        for key in sorted(own.keys() & weights.keys())
        if weights[key].shape != own[key].shape
    ]
    differences = [
        f"{len(names)} {what} ({_first(names)})"
        for names, what in (
            (sorted(own.keys() - weights.keys()), "missing"),
            (sorted(weights.keys() - own.keys()), "unexpected"),
            (sizes, "of another size"),
        )
        if names
    ]
    if differences:
        raise ModelError(
            "The checkpoint is not of this model.",
            where=where,
            expected=f"the {len(own)} weights of model.yaml",
            found="; ".join(differences),
            fix="Use the model.yaml that the checkpoint was trained with.",
        )
    with foreign_code(ModelError, "The weights can't be loaded", where=where):
        module.load_state_dict(weights)


def _first(names: list[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
