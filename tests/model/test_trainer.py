from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint

from olmoearth_nb.errors import UsageError
from olmoearth_nb.model.trainer import build_trainer

CHECKPOINT = "lightning.pytorch.callbacks.ModelCheckpoint"
WANDB: dict[str, Any] = {"class_path": "lightning.pytorch.loggers.WandbLogger", "init_args": {"project": "p"}}


def build(folder: Path, section: dict[str, Any] | None, **kwargs: Any) -> Trainer:
    arguments: dict[str, Any] = {"max_epochs": None, "device": "cpu", "precision": None, "where": "model.yaml"}
    return build_trainer({"trainer": section}, folder=folder, **{**arguments, **kwargs})


def callbacks(trainer: Trainer, kind: type) -> list[Any]:
    return [callback for callback in vars(trainer)["callbacks"] if isinstance(callback, kind)]


def test_checkpoints_go_to_the_folder(tmp_path: Path) -> None:
    section = {
        "callbacks": [
            {"class_path": CHECKPOINT, "init_args": {"dirpath": "/weka/x", "save_last": True, "monitor": "val_a"}}
        ]
    }
    (checkpoint,) = callbacks(build(tmp_path, section), ModelCheckpoint)
    assert (checkpoint.dirpath, checkpoint.save_last, checkpoint.monitor) == (str(tmp_path), None, "val_a")
    (checkpoint,) = callbacks(build(tmp_path, None), ModelCheckpoint)
    assert (checkpoint.dirpath, checkpoint.monitor) == (str(tmp_path), "val_loss")


def test_weights_and_biases_only_if_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_PROJECT", "WANDB_NAME", "WANDB_ENTITY", "WANDB_API_KEY", "WANDB_MODE", "WANDB_SERVICE"):
        monkeypatch.delenv(name, raising=False)
    monitor = {"class_path": "lightning.pytorch.callbacks.LearningRateMonitor"}
    section = {"logger": WANDB, "callbacks": [monitor]}
    trainer = build(tmp_path, section)
    assert trainer.loggers == []
    assert callbacks(trainer, LearningRateMonitor) == []
    monkeypatch.setenv("WANDB_MODE", "offline")
    trainer = build(tmp_path, section)
    (logger,) = trainer.loggers
    assert type(logger).__name__ == "WandbLogger"
    assert logger.save_dir == str(tmp_path)
    assert len(callbacks(trainer, LearningRateMonitor)) == 1
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert build(tmp_path, section).loggers == []


def test_local_loggers_write_to_the_folder(tmp_path: Path) -> None:
    csv = {"class_path": "lightning.pytorch.loggers.CSVLogger", "init_args": {"name": "log"}}
    (logger,) = build(tmp_path, {"logger": [csv, WANDB]}).loggers
    assert logger.save_dir == str(tmp_path)


def test_one_device_and_no_distributed_strategy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ddp = {"strategy": "ddp", "accelerator": "cpu"}
    trainer = build(tmp_path, ddp, device=None)
    assert type(trainer.strategy).__name__ == "SingleDeviceStrategy"
    assert type(build(tmp_path, {**ddp, "devices": 2}, device=None).strategy).__name__ == "DDPStrategy"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="'cuda' is not available"):
        build(tmp_path, None, device="cuda")


def test_arguments_win_over_the_file(tmp_path: Path) -> None:
    trainer = build(tmp_path, {"max_epochs": 9, "precision": "32"}, max_epochs=2, precision="bf16-mixed")
    assert (trainer.max_epochs, trainer.precision) == (2, "bf16-mixed")
    assert build(tmp_path, {"max_epochs": 9, "limit_val_batches": 3}).limit_val_batches == 3
    assert trainer.default_root_dir == str(tmp_path)
