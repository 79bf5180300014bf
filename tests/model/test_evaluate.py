import copy
from collections.abc import Callable
from typing import Any

import pytest
import scenes
from lightning.pytorch import Trainer
from places import Place

from olmoearth_nb.errors import InferenceError, TrainingError, UnsupportedError
from olmoearth_nb.model.evaluate import evaluate_split, evaluate_windows
from olmoearth_nb.model.finetune import TrainingResult
from olmoearth_nb.model.predict import predict_windows


def as_lightning_tests(loaded: Any, stage: str) -> dict[str, float]:
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    data = copy.copy(loaded.data)
    run = trainer.test if stage == "test" else trainer.validate
    (scores,) = run(loaded.module, datamodule=data, verbose=False)
    return {name.removeprefix(f"{stage}_"): value for name, value in scores.items()}


@pytest.mark.parametrize("split", ["test", "val"])
def test_scores_are_those_of_lightning(raster: Place, trained: TrainingResult, split: str) -> None:
    loaded = raster.load(trained.best_checkpoint)
    scores = evaluate_split(loaded, split).metrics
    expected = as_lightning_tests(loaded, split)
    assert scores.keys() == {"loss", "segment/accuracy", "windows"}
    assert scores["windows"] == 4
    assert scores["segment/accuracy"] == pytest.approx(expected["segment/accuracy"], abs=1e-6)
    assert scores["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_the_best_checkpoint_scores_what_training_said(raster: Place, trained: TrainingResult) -> None:
    # After a prediction, which must not take the targets away.
    loaded = raster.load(trained.best_checkpoint)
    predict_windows(loaded, raster.windows()[:1])
    scores = evaluate_split(loaded, "val", num_workers=2).metrics
    assert scores["segment/accuracy"] == pytest.approx(trained.best_score, abs=1e-6)


def test_given_windows_are_measured_alone(raster: Place, trained: TrainingResult) -> None:
    loaded = raster.load(trained.best_checkpoint)
    windows = raster.windows()
    ticks: list[int] = []

    class Bar:
        def __init__(self, **_: object) -> None: ...

        def update(self, n: int = 1, /) -> None:
            ticks.append(n)

        def close(self) -> None: ...

    one = [evaluate_windows(loaded, [window]).metrics["segment/accuracy"] for window in windows[:4]]
    together = evaluate_windows(loaded, windows[:4], progress=Bar).metrics
    assert together["windows"] == sum(ticks) == 4
    assert together["segment/accuracy"] == pytest.approx(sum(one) / 4, abs=1e-6)
    assert len(set(one)) > 1


def test_windows_that_lack_something(raster: Place) -> None:
    loaded, windows = raster.load(), raster.windows()
    (windows[0].window_root / "layers" / "label" / "completed").unlink()
    assert evaluate_windows(loaded, windows[:3]).metrics["windows"] == 2
    with pytest.raises(TrainingError, match=r"'test' has no window.*found 1 windows: 1 of which nothing.*'label'"):
        evaluate_windows(loaded, windows[:1])
    tif = next((windows[1].window_root / "layers" / "scene").glob("*/geotiff.tif"))
    tif.write_bytes(b"no GeoTIFF")
    with pytest.raises(InferenceError, match=rf"window default/{windows[1].name}: .*not recognized"):
        evaluate_windows(loaded, windows[:3])


def test_splits_that_are_not_there(place: Callable[..., Place]) -> None:
    here = place()
    scenes.add_window(here.dataset, "w", (0, 0, 32, 32), split="train", layers=("scene", "label"))
    loaded = here.load()
    assert evaluate_split(loaded, "train").metrics["windows"] == 1
    with pytest.raises(TrainingError, match=r"'test' has no window.*found 1 with group default, split: train"):
        evaluate_split(loaded)
    with pytest.raises(UnsupportedError, match="Expected train, val or test; found 'all'"):
        evaluate_split(loaded, "all")
