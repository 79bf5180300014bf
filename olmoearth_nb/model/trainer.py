"""The Lightning trainer of a configuration, made to fit a notebook: one device, our progress, files in one folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import (
    DeviceStatsMonitor,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelSummary,
    ProgressBar,
)
from rslearn.train.callbacks.checkpointing import BestLastCheckpoint
from rslearn.train.prediction_writer import RslearnWriter

from olmoearth_nb.errors import ConfigError
from olmoearth_nb.model.devices import choose_device, choose_precision
from olmoearth_nb.model.instantiate import component_class, instantiate

__all__ = ["build_trainer"]

# Their work is done here (bars, tables) or belongs to prediction (the writer).
_REPLACED = (ProgressBar, ModelSummary, RslearnWriter)
# They refuse to start without a logger.
_NEED_LOGGER = (LearningRateMonitor, DeviceStatsMonitor)
_OBJECT = "class_path and init_args"
_CHECKPOINT = "lightning.pytorch.callbacks.ModelCheckpoint"


def build_trainer(
    config: Mapping[str, Any],
    *,
    folder: Path,
    max_epochs: int | None,
    device: str | None,
    precision: str | None,
    where: str,
) -> Trainer:
    """Builds the trainer that ``trainer`` of a model configuration describes.

    Checkpoints go to ``folder``, whatever the configuration says. It runs on one device without a distributed strategy
    unless the configuration names several. Loggers are used if they are local, Weights & Biases only if one of its
    environment variables is set.

    Args:
        config: The configuration, variables filled in.
        folder: The trainer's folder.
        max_epochs: Instead of the configuration's.
        device: See :func:`olmoearth_nb.model.devices.choose_device`; None for the configuration's or the best there is.
        precision: See :data:`olmoearth_nb.model.devices.PRECISIONS`; None for the configuration's.
        where: The file, for errors.

    Raises:
        ConfigError: If something does not import or fit.
        MissingDependencyError: If a package is missing that it needs.
        ModelError: If something can't be built.
        UsageError: If the device or the precision is not there.
    """
    section = config.get("trainer") or {}
    if not isinstance(section, dict):
        raise ConfigError("The section is no mapping.", where=f"{where}: trainer", found=repr(section)[:80])
    arguments: dict[str, Any] = dict(section)
    logger = _logger(arguments.get("logger"), folder)
    callbacks, own_checkpoints = _callbacks(arguments.get("callbacks"), folder, has_logger=logger is not False)
    arguments |= {
        "callbacks": callbacks,
        "logger": logger,
        "default_root_dir": str(folder),
        "enable_progress_bar": False,
        "enable_model_summary": False,
        # rslearn's own checkpoint callback is none to Lightning, which would add another.
        "enable_checkpointing": not own_checkpoints,
    }
    arguments |= _devices(arguments, device)
    if max_epochs is not None:
        arguments["max_epochs"] = max_epochs
    if precision is not None:
        arguments["precision"] = choose_precision(precision, {}, choose_device(device))
    sections = {"trainer": {"class_path": "lightning.pytorch.Trainer", "init_args": arguments}}
    trainer: Trainer = instantiate(sections, {"trainer": Trainer}, where=where).trainer
    return trainer


def _devices(arguments: Mapping[str, Any], device: str | None) -> dict[str, Any]:
    asked = device is not None or "accelerator" not in arguments
    changed: dict[str, Any] = {}
    if asked:
        chosen = choose_device(device)
        changed["accelerator"] = "gpu" if chosen.type == "cuda" else chosen.type
        changed["devices"] = [chosen.index or 0] if chosen.type == "cuda" else 1
    if not asked or device is None:
        changed["devices"] = arguments.get("devices", changed.get("devices", 1))
    # With one device a distributed strategy only opens ports and, in a notebook, refuses to start.
    if changed["devices"] in (1, "1") or (isinstance(changed["devices"], list) and len(changed["devices"]) == 1):
        changed["strategy"] = "auto"
    return changed


def _logger(entry: Any, folder: Path) -> Any:
    """The logger's configuration, or False for none."""
    if isinstance(entry, list):
        entries = [kept for item in entry if (kept := _logger(item, folder)) is not False]
        return entries or False
    if not isinstance(entry, dict):
        return False
    arguments = dict(entry.get("init_args") or {})
    name = str(entry.get("class_path")).rpartition(".")[2]
    if name == "WandbLogger" and not _wandb_is_wanted():
        return False
    if name in ("WandbLogger", "CSVLogger", "TensorBoardLogger"):
        # Their default is the working folder.
        arguments.setdefault("save_dir", str(folder))
    return {**entry, "init_args": arguments}


def _wandb_is_wanted() -> bool:
    if os.environ.get("WANDB_MODE") == "disabled":
        return False
    return any(value and name.startswith("WANDB_") for name, value in os.environ.items())


def _callbacks(entries: Any, folder: Path, *, has_logger: bool) -> tuple[list[dict[str, Any]], bool]:
    """Configurations of the callbacks to use, and whether rslearn's checkpoints are among them."""
    kept: list[dict[str, Any]] = []
    lightning = rslearn = False
    for entry in entries if isinstance(entries, list) else [entries] if entries else []:
        if not isinstance(entry, dict):
            raise ConfigError(
                "A callback is no object.", where="trainer.callbacks", expected=_OBJECT, found=repr(entry)[:80]
            )
        cls = component_class(entry.get("class_path")) or object
        if issubclass(cls, _REPLACED) or (issubclass(cls, _NEED_LOGGER) and not has_logger):
            continue
        arguments = dict(entry.get("init_args") or {})
        if issubclass(cls, ModelCheckpoint):
            lightning = True
            # The state to resume from is written by TrainingLog, to the same file.
            arguments |= {"dirpath": str(folder), "save_last": None}
        elif issubclass(cls, BestLastCheckpoint):
            rslearn = True
            if "dirpath" in arguments:
                arguments["dirpath"] = str(folder)
        kept.append({**entry, "init_args": arguments})
    if not lightning and not rslearn:
        arguments = {"dirpath": str(folder), "monitor": "val_loss", "mode": "min", "save_top_k": 1}
        kept.append({"class_path": _CHECKPOINT, "init_args": arguments})
    return kept, rslearn and not lightning
