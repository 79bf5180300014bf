"""The callback that fine-tuning adds: seeds, history, resumable state, progress."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from rslearn.train.callbacks.checkpointing import BestLastCheckpoint

from olmoearth_nb.model.history import LAST_NAME, TrainingResult, write_training
from olmoearth_nb.progress import Progress, ProgressBar, open_bar

__all__ = ["Log", "TrainingLog", "seed_all"]

Log = Callable[[str], None]
"""Takes one line of text."""


def seed_all(seed: int) -> None:
    """Seeds the generators of Python, numpy and torch.

    Args:
        seed: Any number; its lower 32 bits are used.
    """
    seed %= 2**32
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


class TrainingLog(Callback):
    """Keeps the history of a training and, after every epoch, the state to resume it from.

    The state is written when the next epoch starts, because only then the learning rate schedulers have been updated,
    and also without a better checkpoint: ModelCheckpoint with a monitor writes its own ``last.ckpt`` only beside a
    best one. Random numbers are seeded anew for each epoch, so that a resumed training goes on as if it had never been
    interrupted.

    Args:
        folder: The trainer's folder.
        seed: Seed of the first epoch; None to leave the generators alone.
        progress: See :mod:`olmoearth_nb.progress`.
        log: Takes a line after every epoch.
    """

    def __init__(self, folder: Path, *, seed: int | None, progress: Progress, log: Log | None) -> None:
        self.folder = folder
        self.seed = seed
        self.progress = progress
        self.log_line = log
        self.history: list[dict[str, float]] = []
        self.resumed_from: int | None = None
        self._earlier = 0.0
        self._started = self._epoch_started = time.monotonic()
        self._validated = False
        self._bar: ProgressBar | None = None
        self._by_epochs = False

    def state_dict(self) -> dict[str, Any]:
        """History and time so far, kept in the checkpoint."""
        return {"history": self.history, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the history of the run that is resumed."""
        self.history = list(state_dict["history"])
        self._earlier = state_dict["seconds"]
        self.resumed_from = len(self.history)

    @property
    def seconds(self) -> float:
        """Time spent in training, with that of the runs that this one resumes."""
        return self._earlier + time.monotonic() - self._started

    def on_fit_start(self, _trainer: Trainer, _module: LightningModule) -> None:
        """Seeds what is drawn before the first epoch starts: the loaders' own seeds."""
        self._started = time.monotonic()
        self._seed()

    def on_train_start(self, trainer: Trainer, _module: LightningModule) -> None:
        """Opens the bar."""
        left = max((trainer.max_epochs or 0) - len(self.history), 0)
        batches = trainer.num_training_batches
        self._by_epochs = not isinstance(batches, int)
        self._bar = open_bar(
            self.progress,
            total=left if self._by_epochs else int(left * batches),
            desc="Training",
            unit="epoch" if self._by_epochs else "batch",
        )

    def on_train_epoch_start(self, trainer: Trainer, _module: LightningModule) -> None:
        """Writes what the epoch before has come to, and seeds this one."""
        if len(self.history) > (self.resumed_from or 0):
            self.save(trainer)
            # The first epoch of a run was seeded at its start, from where just as much is drawn.
            self._seed()
        else:
            # The state was saved between two epochs, so this one is to run like any other. While the loop takes itself
            # for restarting, it counts the batches of the epoch before and leaves out the learning rate schedulers.
            trainer.fit_loop.restarting = False
        self._epoch_started = time.monotonic()
        self._validated = False

    def on_train_batch_end(self, *_: Any) -> None:
        """One batch more."""
        if self._bar is not None and not self._by_epochs:
            self._bar.update(1)

    def on_validation_end(self, trainer: Trainer, _module: LightningModule) -> None:
        """Metrics of the validation are those of this epoch."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, _module: LightningModule) -> None:
        """Notes the epoch's losses and metrics."""
        row: dict[str, float] = {
            "epoch": len(self.history) + 1,
            "lr": float(trainer.optimizers[0].param_groups[0]["lr"]),
            "seconds": time.monotonic() - self._epoch_started,
        }
        for name, value in trainer.callback_metrics.items():
            if self._validated or not name.startswith("val_"):
                row[name] = float(value)
        self.history.append(row)
        if self._bar is not None and self._by_epochs:
            self._bar.update(1)
        if self.log_line is not None:
            numbers = (f"{name} {value:.4g}" for name, value in row.items() if name not in ("epoch", "seconds", "lr"))
            self.log_line(f"epoch {row['epoch']}/{trainer.max_epochs}: {', '.join(numbers)}")

    def on_train_end(self, trainer: Trainer, _module: LightningModule) -> None:
        """Writes what the last epoch has come to."""
        self.save(trainer)

    def close(self) -> None:
        """Closes the bar, however training has ended."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def save(self, trainer: Trainer) -> None:
        """Writes the state to resume from, and the history.

        Args:
            trainer: The trainer, between two epochs.
        """
        last = self.folder / LAST_NAME
        beside = last.with_name(f".{last.name}.tmp")
        # All processes take part in it, the first one writes.
        trainer.save_checkpoint(beside)
        if trainer.is_global_zero:
            beside.replace(last)
            write_training(self.folder, self.result(trainer, finished=False))

    def result(self, trainer: Trainer, *, finished: bool) -> TrainingResult:
        """The training as far as it is.

        Args:
            trainer: The trainer.
            finished: Whether it has come to its end.
        """
        last = self.folder / LAST_NAME
        name, monitor, score = _best(trainer)
        # By name: the folder may have been moved since an earlier run.
        best = self.folder / name if name else last
        return TrainingResult(
            best_checkpoint=best if best.exists() else last,
            last_checkpoint=last,
            monitor=monitor,
            best_score=score,
            history=tuple(self.history),
            seconds=self.seconds,
            epochs=len(self.history),
            resumed_from=self.resumed_from,
            finished=finished,
        )

    def _seed(self) -> None:
        if self.seed is not None:
            seed_all(self.seed + len(self.history))


def _best(trainer: Trainer) -> tuple[str, str | None, float | None]:
    """Name of the best checkpoint, metric and value by the first callback that monitors one."""
    everything: list[Callback] = vars(trainer)["callbacks"]
    callbacks = [callback for callback in everything if isinstance(callback, ModelCheckpoint | BestLastCheckpoint)]
    callbacks.sort(key=lambda callback: callback.monitor is None)
    match callbacks:
        case [ModelCheckpoint() as callback, *_]:
            score = callback.best_model_score
            return Path(callback.best_model_path).name, callback.monitor, None if score is None else float(score)
        case [BestLastCheckpoint() as callback, *_]:
            return "best.ckpt", callback.monitor, callback._best_value
        case _:
            return "", None, None
