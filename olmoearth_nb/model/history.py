"""What a training was like, epoch by epoch, in memory and in the trainer's folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olmoearth_nb.errors import InputFileError, StorageError
from olmoearth_nb.files import read_json, write_json
from olmoearth_nb.tables import html_table, text_table

__all__ = ["HISTORY_NAME", "LAST_NAME", "TrainingResult", "read_training", "write_training"]

HISTORY_NAME = "history.json"
LAST_NAME = "last.ckpt"


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """A training, finished or as far as it is.

    Attributes:
        best_checkpoint: The checkpoint that the configuration's ModelCheckpoint calls best; the last one if it calls
            none so.
        last_checkpoint: The state after the last epoch, from which training resumes.
        monitor: The metric that decides which is best, if there is one.
        best_score: Its value at the best checkpoint.
        history: One mapping an epoch: ``epoch`` (from 1), ``lr``, ``seconds``, and losses and metrics by the names
            they are logged with (``train_loss``, ``val_loss``, ``val_accuracy``, …).
        seconds: Time spent in training, resumed runs added up.
        epochs: Number of epochs done.
        resumed_from: Number of epochs that had been done when this run resumed; None if it did not.
        finished: Whether training has come to its end.

    Example:
        >>> result = TrainingResult(
        ...     best_checkpoint=None, last_checkpoint=None, monitor="val_loss", best_score=0.25,
        ...     history=({"epoch": 1, "train_loss": 0.5, "val_loss": 0.25},), seconds=2.0, epochs=1, finished=True,
        ... )
        >>> print(result)
        1 epoch in 2 s, best val_loss 0.25
        epoch  train_loss  val_loss
        -----  ----------  --------
        1      0.5         0.25
    """

    best_checkpoint: Path | None
    last_checkpoint: Path | None
    monitor: str | None
    best_score: float | None
    history: Sequence[Mapping[str, float]]
    seconds: float
    epochs: int
    resumed_from: int | None = None
    finished: bool = False

    def __str__(self) -> str:
        return text_table(*self._table(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(*self._table(), caption=self._caption())

    def _caption(self) -> str:
        text = f"{self.epochs} epoch{'s' * (self.epochs != 1)} in {self.seconds:.0f} s"
        if self.monitor is not None and self.best_score is not None:
            text += f", best {self.monitor} {self.best_score:.4g}"
        return text if self.finished else f"{text} (not finished)"

    def _table(self) -> tuple[list[str], list[list[str]]]:
        names = [name for name in dict.fromkeys(name for row in self.history for name in row) if name != "seconds"]
        return names, [[_number(row.get(name)) for name in names] for row in self.history]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def write_training(trainer_dir: Path, result: TrainingResult) -> None:
    """Keeps a training's history beside its checkpoints; the folder may be moved afterwards.

    Args:
        trainer_dir: The trainer's folder.
        result: The training.

    Raises:
        StorageError: If it can't be written.
    """
    write_json(
        trainer_dir / HISTORY_NAME,
        {
            "best_checkpoint": _relative(result.best_checkpoint, trainer_dir),
            "last_checkpoint": _relative(result.last_checkpoint, trainer_dir),
            "monitor": result.monitor,
            "best_score": _finite(result.best_score),
            "history": [{name: _finite(value) for name, value in row.items()} for row in result.history],
            "seconds": result.seconds,
            "epochs": result.epochs,
            "resumed_from": result.resumed_from,
            "finished": result.finished,
        },
    )


def read_training(trainer_dir: Path) -> TrainingResult | None:
    """The training whose checkpoints are in a folder, in any process.

    Args:
        trainer_dir: The trainer's folder.

    Returns:
        The training, or None if none has come to the end of an epoch there.

    Raises:
        StorageError: If its history can't be read.
    """
    path = trainer_dir / HISTORY_NAME
    if not path.exists():
        return None
    try:
        value = read_json(path, what="history of the training")
        return TrainingResult(
            **{
                **value,
                "best_checkpoint": _absolute(value["best_checkpoint"], trainer_dir),
                "last_checkpoint": _absolute(value["last_checkpoint"], trainer_dir),
                "history": tuple(
                    {name: math.nan if number is None else number for name, number in row.items()}
                    for row in value["history"]
                ),
            }
        )
    except (InputFileError, TypeError, KeyError, AttributeError) as error:
        raise StorageError(
            "The history of the training can't be read.", where=str(path), fix="Delete the file and train again."
        ) from error


def _finite(value: Any) -> Any:
    # JSON has no nan.
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _relative(path: Path | None, folder: Path) -> str | None:
    if path is None:
        return None
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def _absolute(path: str | None, folder: Path) -> Path | None:
    found = None if path is None else folder / path
    return found if found is not None and found.exists() else None
