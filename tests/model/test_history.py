import math
import shutil
from pathlib import Path

import pytest

from olmoearth_nb.errors import StorageError
from olmoearth_nb.model.history import TrainingResult, read_training, write_training


def result(folder: Path) -> TrainingResult:
    for name in ("best.ckpt", "last.ckpt"):
        (folder / name).write_text("")
    return TrainingResult(
        best_checkpoint=folder / "best.ckpt",
        last_checkpoint=folder / "last.ckpt",
        monitor="val_loss",
        best_score=0.25,
        history=({"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.4, "val_loss": 0.25}),
        seconds=3.0,
        epochs=2,
        finished=True,
    )


def test_what_is_written_is_read_wherever_the_folder_is(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "a", tmp_path / "b"
    folder.mkdir()
    written = result(folder)
    write_training(folder, written)
    assert read_training(folder) == written
    shutil.move(folder, elsewhere)
    moved = read_training(elsewhere)
    assert moved is not None
    assert moved.best_checkpoint == elsewhere / "best.ckpt"
    (elsewhere / "best.ckpt").unlink()
    lost = read_training(elsewhere)
    assert lost is not None
    assert lost.best_checkpoint is None


def test_numbers_that_are_none(tmp_path: Path) -> None:
    written = TrainingResult(
        best_checkpoint=None,
        last_checkpoint=None,
        monitor=None,
        best_score=math.nan,
        history=({"epoch": 1, "train_loss": math.inf},),
        seconds=1.0,
        epochs=1,
    )
    write_training(tmp_path, written)
    assert "NaN" not in (tmp_path / "history.json").read_text()
    found = read_training(tmp_path)
    assert found is not None
    assert found.best_score is None
    assert math.isnan(found.history[0]["train_loss"])


def test_no_training_and_no_history(tmp_path: Path) -> None:
    assert read_training(tmp_path) is None
    (tmp_path / "history.json").write_text("{}")
    with pytest.raises(StorageError, match=r"history.json: The history of the training can't be read"):
        read_training(tmp_path)


def test_a_training_shows_itself(tmp_path: Path) -> None:
    shown = str(result(tmp_path)).splitlines()
    assert shown == [
        "2 epochs in 3 s, best val_loss 0.25",
        "epoch  train_loss  val_loss",
        "-----  ----------  --------",
        "1      0.5",
        "2      0.4         0.25",
    ]
    assert "<td" in result(tmp_path)._repr_html_()
