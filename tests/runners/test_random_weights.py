"""A prediction without any checkpoint, which nobody takes for one of a trained model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from olmoearth_nb import OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner, Project
from olmoearth_nb.cli import main
from olmoearth_nb.errors import ModelError, StaleScratchError, UsageError
from olmoearth_nb.maps.layers import LayerKind

WORDS = "random weights"


def _runner(project: Path, scratch: str = "scratch", **options: object) -> OlmoEarthRunPredictRunner:
    return OlmoEarthRunPredictRunner(project, project.parent / scratch, progress=False, **options)  # type: ignore[arg-type]


def _pixels(runner: OlmoEarthRunPredictRunner) -> np.ndarray:
    (path,) = runner.workspace.rasters.glob("*.tif")
    with rasterio.open(path) as file:
        return file.read()


def test_results_say_what_they_are_and_agree(raster_project: Path) -> None:
    (raster_project / "checkpoint.ckpt").unlink()
    runner = _runner(raster_project, random_weights=True)
    summaries = runner.run_pipeline()
    assert [WORDS in repr(summary) for summary in summaries] == [False, False, True, True, True]
    assert WORDS in repr(runner.status())
    assert not (runner.workspace.model_stage / "checkpoint.ckpt").exists()
    names = [layer.name for layer in runner.layers() if layer.kind in (LayerKind.PREDICTIONS, LayerKind.CONFIDENCE)]
    assert names
    assert all(name.endswith(f"({WORDS})") for name in names)

    # What lies there can be gone on with; to predict needs to be asked for.
    later = _runner(raster_project)
    assert WORDS in repr(later.postprocess())
    assert later.run_inference().counts["predicted"] == 0
    with pytest.raises(ModelError, match="--random-weights"):
        _runner(raster_project, "other").model()

    again = _runner(raster_project, "again", random_weights=True)
    again.run_pipeline()
    assert np.array_equal(_pixels(again), _pixels(runner))


def test_a_checkpoint_does_not_take_what_was_made_without_one(raster_project: Path) -> None:
    _runner(raster_project, random_weights=True).run_pipeline()
    trained = _runner(raster_project)
    for step in (trained.run_inference, trained.postprocess):
        with pytest.raises(StaleScratchError, match="checkpoint changed"):
            step()
    summary = trained.run_inference(overwrite=True)
    assert summary.counts["predicted"] == summary.counts["windows"]
    assert WORDS not in repr(summary)
    assert WORDS not in repr(trained.status())
    with pytest.raises(StaleScratchError, match="checkpoint changed"):
        _runner(raster_project, random_weights=True).run_inference()


def test_both_at_once_are_refused(raster_project: Path) -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        _runner(raster_project, checkpoint_path=raster_project / "checkpoint.ckpt", random_weights=True)


def test_the_check_knows_that_no_checkpoint_is_needed(raster_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (raster_project / "checkpoint.ckpt").unlink()
    assert not Project(raster_project).check(model=False).ok
    assert Project(raster_project).check(model=False, random_weights=True).ok
    assert main(["check", str(raster_project), "--no-model", "--random-weights"]) == 0
    capsys.readouterr()
    arguments = [str(raster_project), "--scratch-path", str(raster_project.parent / "s"), "--device", "cpu"]
    assert main(["predict", *arguments, "--random-weights", "--json"]) == 0
    assert WORDS in json.loads(capsys.readouterr().out)[-1]["notes"][-1]


def test_a_window_is_traced_before_there_is_a_checkpoint(raster_project: Path, tmp_path: Path) -> None:
    (raster_project / "checkpoint.ckpt").unlink()
    runner = _runner(raster_project)
    runner.run_pipeline(["partition", "dataset_build"])
    trace = runner.trace(runner.windows().iloc[0])
    assert WORDS in repr(trace)
    assert trace.data.model.checkpoint is None

    tuning = OlmoEarthRunFineTuneRunner(raster_project, tmp_path / "tuning", progress=False)
    tuning.run_pipeline(["prepare_labeled_windows", "build_dataset_from_windows"])
    assert WORDS in repr(tuning.trace(tuning.windows().iloc[0]))


def test_a_training_from_random_weights_is_another_one(raster_project: Path, tmp_path: Path) -> None:
    def runner(random_weights: bool) -> OlmoEarthRunFineTuneRunner:
        return OlmoEarthRunFineTuneRunner(
            raster_project, tmp_path / "tuning", random_weights=random_weights, progress=False
        )

    steps = runner(True)
    steps.run_pipeline(["prepare_labeled_windows", "build_dataset_from_windows"])
    assert WORDS in repr(steps.fine_tune(max_epochs=1))
    assert WORDS in repr(runner(False).training())
    with pytest.raises(StaleScratchError, match="pretrained weights changed"):
        runner(False).fine_tune()
    shutil.rmtree(tmp_path / "tuning")
