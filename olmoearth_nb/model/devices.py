"""Where a model runs, and with how many bits."""

from __future__ import annotations

import contextlib
from typing import Any

import torch

from olmoearth_nb.errors import ConfigError, UsageError

__all__ = ["PRECISIONS", "autocast", "choose_device", "choose_precision", "leave_precision"]

PRECISIONS = ("32", "bf16-mixed", "16-mixed")
"""Precisions by Lightning's names."""

_SAME = {"32-true": "32", "bf16": "bf16-mixed", "16": "16-mixed"}
_DTYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def choose_device(name: str | None) -> torch.device:
    """The device to run on.

    Args:
        name: ``cuda`` (or ``cuda:1``), ``mps``, ``cpu``; None or ``auto`` for the best there is.

    Raises:
        UsageError: If there is no such device here.
    """
    available = [
        kind
        for kind, there in (
            ("cuda", torch.cuda.is_available()),
            ("mps", torch.backends.mps.is_available()),
            ("cpu", True),
        )
        if there
    ]
    if name is None or name == "auto":
        return torch.device(available[0])
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError("There is no such device.", expected=_listing(available), found=repr(name)) from error
    if device.type not in available or (device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count()):
        raise UsageError(
            f"The device {name!r} is not available here.",
            expected=_listing(available),
            fix="Leave the device out to take the best there is.",
        )
    return device


def _listing(available: list[str]) -> str:
    return "auto or one of " + ", ".join(available)


def choose_precision(asked: str | None, config: dict[str, Any], device: torch.device) -> str:
    """The precision to run with.

    Args:
        asked: One of :data:`PRECISIONS`, or None for what the configuration says.
        config: The model configuration, for ``trainer.precision``.
        device: Where it runs.

    Raises:
        UsageError: If ``asked`` is none of them or does not work on the device.
        ConfigError: If the configuration's is none of them.
    """
    configured = (config.get("trainer") or {}).get("precision")
    given = str(asked if asked is not None else configured if configured is not None else "32")
    precision = _SAME.get(given, given)
    if precision not in PRECISIONS:
        error = UsageError if asked is not None else ConfigError
        raise error(
            "This precision is not supported.",
            where="precision" if asked is not None else "trainer.precision",
            expected=", ".join(PRECISIONS),
            found=repr(given),
        )
    if precision == "16-mixed" and device.type == "cpu":
        if asked is not None:
            raise UsageError("16-mixed needs a GPU.", where="precision", fix="Use 32 or bf16-mixed on a CPU.")
        # What Lightning does there.
        return "bf16-mixed"
    return precision


def autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Context to run a forward pass in.

    Args:
        precision: One of :data:`PRECISIONS`.
        device: Where it runs.
    """
    if precision not in _DTYPES:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=_DTYPES[precision])


def leave_precision(module: torch.nn.Module, config: object, device: torch.device) -> None:
    """Lets OlmoEarth encoders compute on a CPU in the precision of the rest of the model.

    Unless told otherwise they change to bfloat16 by themselves: on a CPU that is slower, and decoders may refuse what
    comes out ("expected scalar type BFloat16 but found Float").

    Args:
        module: The model.
        config: Its configuration; one that names ``autocast_dtype`` is obeyed.
        device: Where it runs.
    """
    if device.type == "cpu" and not _names(config, "autocast_dtype"):
        for part in module.modules():
            if hasattr(part, "autocast_dtype"):
                vars(part)["autocast_dtype"] = None


def _names(config: object, key: str) -> bool:
    match config:
        case dict():
            return key in config or any(_names(value, key) for value in config.values())
        case list():
            return any(_names(value, key) for value in config)
        case _:
            return False
