import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import torch
import yaml
from places import Place

from olmoearth_nb.errors import ConfigError, MissingStepError, TrainingError
from olmoearth_nb.model.finetune import TrainingResult, fine_tune, read_training


class HaltError(Exception):
    pass


def stop_in(epoch: int, error: BaseException | None = None) -> Callable[[str], None]:
    def log(line: str) -> None:
        if line.startswith(f"epoch {epoch}/"):
            raise error or HaltError

    return log


def rows(result: TrainingResult) -> list[dict[str, float]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in result.history]


def weights(path: Path | None) -> dict[str, torch.Tensor]:
    assert path is not None
    state: dict[str, torch.Tensor] = torch.load(path, weights_only=True)["state_dict"]
    return state


def rewrite(place: Place, change: Callable[[dict[str, Any]], None]) -> None:
    config = yaml.safe_load(place.model_yaml.read_text())
    change(config)
    place.model_yaml.write_text(yaml.safe_dump(config))


def test_a_model_learns_and_its_history_is_kept(trained: TrainingResult) -> None:
    assert (trained.epochs, trained.finished, trained.resumed_from) == (4, True, None)
    assert [row["epoch"] for row in trained.history] == [1, 2, 3, 4]
    losses = [row["train_loss"] for row in trained.history]
    assert losses[-1] < 0.5 * losses[0]
    accuracies = [row["val_segment/accuracy"] for row in trained.history]
    assert trained.monitor == "val_segment/accuracy"
    assert trained.best_score == max(accuracies) > 0.9
    assert all(row["lr"] == 0.02 and row["seconds"] > 0 for row in trained.history)
    assert trained.best_checkpoint is not None
    assert trained.last_checkpoint is not None
    folder = trained.last_checkpoint.parent
    best_epoch = accuracies.index(max(accuracies))
    assert trained.best_checkpoint.name == f"epoch={best_epoch}-step={2 * (best_epoch + 1)}.ckpt"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [trained.best_checkpoint.name, "history.json", "last.ckpt"]
    )
    assert read_training(folder) == trained


def test_an_interrupted_training_goes_on_as_if_it_had_not_been(raster: Place, tmp_path: Path) -> None:
    def plateau(config: dict[str, Any]) -> None:
        # A rate too high for the loss to fall each time, so that the scheduler has something to remember.
        config["model"]["init_args"]["optimizer"]["init_args"]["lr"] = 0.5
        config["model"]["init_args"]["scheduler"] = {
            "class_path": "rslearn.train.scheduler.PlateauScheduler",
            "init_args": {"factor": 0.5, "patience": 0},
        }
        frozen = {"module_selector": ["model", "encoder", 0], "unfreeze_at_epoch": 2, "unfreeze_lr_factor": 4}
        config["trainer"]["callbacks"].insert(
            0, {"class_path": "rslearn.train.callbacks.freeze_unfreeze.FreezeUnfreeze", "init_args": frozen}
        )

    rewrite(raster, plateau)
    straight = raster.train(trainer_dir=tmp_path / "straight")
    for epoch in (2, 5):
        with pytest.raises(TrainingError, match=rf"epoch {epoch}: Training failed: HaltError"):
            raster.train(log=stop_in(epoch))
        part = read_training(raster.trainer_dir)
        assert part is not None
        assert (part.epochs, part.finished) == (epoch - 1, False)
    resumed = raster.train()
    assert (resumed.epochs, resumed.resumed_from) == (6, 4)
    assert rows(resumed) == rows(straight)
    assert len({row["lr"] for row in rows(straight)}) > 1
    last, other = weights(resumed.last_checkpoint), weights(straight.last_checkpoint)
    assert all(torch.equal(last[name], other[name]) for name in other)
    assert resumed.best_checkpoint is not None
    assert straight.best_checkpoint is not None
    assert resumed.best_checkpoint.name == straight.best_checkpoint.name


def test_more_epochs_continue_a_finished_training(raster: Place, tmp_path: Path) -> None:
    straight = raster.train(trainer_dir=tmp_path / "straight", max_epochs=3)
    raster.train(max_epochs=2)
    assert rows(raster.train(max_epochs=3)) == rows(straight)
    again = raster.train(max_epochs=3)
    assert (again.epochs, again.resumed_from, again.finished) == (3, 3, True)
    assert again.best_checkpoint is not None


def test_a_training_can_start_anew(raster: Place) -> None:
    first = raster.train(max_epochs=1)
    again = raster.train(max_epochs=1, resume=False)
    assert again.resumed_from is None
    assert rows(again) == rows(first)


def test_the_seed_decides(raster: Place, tmp_path: Path) -> None:
    runs = [
        rows(raster.train(trainer_dir=tmp_path / str(index), max_epochs=1, seed=seed))
        for index, seed in enumerate([7, None, 8])
    ]
    # The configuration says seven.
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_the_process_stays_as_it_was(raster: Place, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    working = raster.folder / "working"
    working.mkdir()
    monkeypatch.chdir(working)
    (raster.folder / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(raster.folder / "temporary"))
    environment, handler = dict(os.environ), signal.getsignal(signal.SIGINT)
    states = random.getstate(), torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    raster.train(max_epochs=1)
    assert capfd.readouterr() == ("", "")
    assert list(working.iterdir()) == []
    assert [path for path in (raster.folder / "temporary").rglob("*") if path.is_file()] == []
    assert dict(os.environ) == environment
    assert signal.getsignal(signal.SIGINT) is handler
    assert random.getstate() == states[0]
    assert torch.equal(torch.get_rng_state(), states[1])
    np.testing.assert_array_equal(np.random.get_state()[1], states[2])


def test_an_interrupt_reaches_the_notebook(raster: Place) -> None:
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        raster.train(log=stop_in(2, KeyboardInterrupt()))
    assert signal.getsignal(signal.SIGINT) is handler
    assert raster.train(max_epochs=2).resumed_from == 1


def test_progress_counts_batches(raster: Place) -> None:
    bars: list[Any] = []

    class Bar:
        def __init__(self, *, total: int, desc: str, unit: str) -> None:
            self.total, self.unit, self.done, self.closed = total, unit, 0, False
            bars.append(self)

        def update(self, n: int = 1, /) -> None:
            self.done += n

        def close(self) -> None:
            self.closed = True

    raster.train(max_epochs=2, progress=Bar)
    assert [(bar.total, bar.done, bar.unit, bar.closed) for bar in bars] == [(4, 4, "batch", True)]


def test_workers_read_as_well(raster: Place) -> None:
    result = raster.train(max_epochs=1, num_workers=2)
    assert result.epochs == 1


def test_a_training_without_checkpoints_or_callbacks_gets_them(raster: Place) -> None:
    rewrite(raster, lambda config: config.pop("trainer"))
    result = raster.train(max_epochs=2)
    assert result.monitor == "val_loss"
    assert result.best_score == min(row["val_loss"] for row in result.history)


def test_the_checkpoints_of_rslearn(raster: Place) -> None:
    def change(config: dict[str, Any]) -> None:
        config["trainer"]["callbacks"][0] = {
            "class_path": "rslearn.train.callbacks.checkpointing.BestLastCheckpoint",
            "init_args": {"dirpath": "/nowhere", "monitor": "val_loss", "mode": "min"},
        }

    rewrite(raster, change)
    result = raster.train(max_epochs=2)
    assert result.best_checkpoint == raster.trainer_dir / "best.ckpt"
    assert result.best_score == min(row["val_loss"] for row in result.history)
    assert sorted(path.name for path in raster.trainer_dir.iterdir()) == ["best.ckpt", "history.json", "last.ckpt"]


def test_a_split_without_windows_says_what_there_is(place: Callable[..., Place]) -> None:
    here = place()
    with pytest.raises(TrainingError, match=r"'train' has no window.*groups \['default'\], split: train.*no windows"):
        here.train()
    for name, split in (("a", "train"), ("b", "test"), ("c", "test")):
        scenes.add_window(here.dataset, name, (0, 0, 32, 32), split=split, layers=("scene", "label"))
    with pytest.raises(
        TrainingError,
        match=r"'val' has no window.*Expected windows with groups \['default'\], split: val; found "
        r"2 with group default, split: test; 1 with group default, split: train",
    ):
        here.train()
    scenes.add_window(here.dataset, "d", (0, 0, 32, 32), split="val", layers=("scene",))
    with pytest.raises(TrainingError, match=r"found 1 windows: 1 of which nothing was materialized.*'label'"):
        here.train()


def test_what_can_not_be_trained(raster: Place, tmp_path: Path) -> None:
    with pytest.raises(MissingStepError, match="no dataset yet"):
        fine_tune(
            raster.model_yaml, variables=raster.variables, dataset_path=tmp_path / "no", trainer_dir=tmp_path / "t"
        )
    rewrite(raster, lambda config: config["trainer"]["callbacks"][0]["init_args"].update(monitor="val_accuracy"))
    with pytest.raises(TrainingError, match=r"Training failed.*val_accuracy.*val_segment/accuracy"):
        raster.train()
    rewrite(raster, lambda config: config["trainer"].update(max_epoch=3))
    with pytest.raises(ConfigError, match=r"trainer.*'max_epoch' is not accepted.*Did you mean max_epochs"):
        raster.train()


def test_a_state_of_another_model_is_refused(raster: Place) -> None:
    raster.train(max_epochs=1)

    def change(config: dict[str, Any]) -> None:
        model = config["model"]["init_args"]["model"]["init_args"]
        model["encoder"][0]["init_args"]["modules"][0]["init_args"]["out_channels"] = 8
        model["decoders"]["segment"][0]["init_args"]["in_channels"] = 8

    rewrite(raster, change)
    with pytest.raises(TrainingError, match=r"can't be resumed.*3 of another size.*start anew \(resume=False\)"):
        raster.train(max_epochs=2)
    assert raster.train(max_epochs=1, resume=False).epochs == 1


def test_windows_of_one_pixel_train_a_classifier(place: Callable[..., Place]) -> None:
    here = place(scenes.vector_model_config(), scenes.vector_dataset_config())
    for index, (x, y) in enumerate((x, y) for y in range(4, 128, 32) for x in range(4, 128, 16)):
        split = ("train", "train", "val")[index % 3]
        scenes.add_window(here.dataset, f"w{index}", (x, y, x + 1, y + 1), split=split, layers=("scene", "label"))
    result = here.train(max_epochs=6)
    assert result.best_score == 1.0
