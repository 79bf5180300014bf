import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scenes
import torch
from places import Place
from rslearn.train.prediction_writer import RasterMerger

from olmoearth_nb.errors import ConfigError, MissingDependencyError, ModelError, UsageError
from olmoearth_nb.model.finetune import TrainingResult
from olmoearth_nb.model.load import load_model

PROJECTS = Path(__file__).parents[2] / ".." / "shared" / "projects"
MODEL = ("model", "init_args", "model", "init_args")
CONV = (*MODEL, "encoder", 0, "init_args", "modules", 0)


def changed(keys: tuple[str | int, ...], value: object) -> dict[str, Any]:
    config = scenes.raster_model_config()
    inner: Any = config
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    return config


def test_a_model_is_ready_to_run(raster: Place, trained: TrainingResult) -> None:
    before = dict(os.environ)
    loaded = raster.load(trained.best_checkpoint)
    assert not loaded.module.training
    assert (str(loaded.device), loaded.precision) == ("cpu", "32")
    assert loaded.task is loaded.module.task
    assert loaded.writer is not None
    assert (loaded.writer.output_layer, loaded.writer.selector) == ("output", ["segment"])
    assert isinstance(loaded.writer.merger, RasterMerger)
    assert loaded.writer.merger.overlap_pixels == 4
    assert str(loaded.data.path) == str(raster.dataset_path)
    weights = torch.load(trained.best_checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(value, weights[name]) for name, value in loaded.module.state_dict().items())
    assert dict(os.environ) == before


def test_nothing_is_printed_or_warned(raster: Place, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        raster.load()
    assert capfd.readouterr() == ("", "")


def test_paths_of_other_machines_do_not_count(place: Callable[..., Place]) -> None:
    config = changed(("data", "init_args", "path"), "/weka/somewhere")
    config["trainer"]["callbacks"][1]["init_args"] |= {"path": "placeholder", "output_path": "elsewhere"}
    here = place(config)
    loaded = here.load()
    assert str(loaded.data.path) == str(here.dataset_path)
    assert loaded.writer is not None
    assert (loaded.writer._path, loaded.writer._output_path) == (str(here.dataset_path), None)


def test_without_a_writer_the_only_task_is_written(place: Callable[..., Place]) -> None:
    config = scenes.raster_model_config()
    del config["trainer"]
    writer = place(config).load().writer
    assert writer is not None
    assert (writer.output_layer, writer.selector, writer.merger) == ("output", ["segment"], None)
    vector = scenes.vector_model_config()
    vector["trainer"]["callbacks"] = None
    writer = place(vector, scenes.vector_dataset_config(), name="vector").load().writer
    assert writer is not None
    assert writer.selector == []


def test_precision_comes_from_the_trainer_unless_given(place: Callable[..., Place]) -> None:
    here = place(changed(("trainer", "precision"), "bf16-mixed"))
    assert here.load().precision == "bf16-mixed"
    assert here.load(precision="32").precision == "32"
    with pytest.raises(UsageError, match="'mps' is not available"):
        load_model(here.model_yaml, variables=here.variables, checkpoint=None, device="mps")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (
            (*CONV, "init_args", "in_chanels"),
            3,
            r"model.yaml: model.init_args.model.init_args.encoder.init_args.modules \(rslearn.models.conv.Conv\): "
            r"The argument 'in_chanels' is not accepted. Expected one of in_channels, out_channels.*"
            r"Did you mean in_channels\?",
        ),
        (
            (*CONV, "init_args", "in_channels"),
            "three",
            r"modules.init_args.in_channels \(rslearn.models.conv.Conv\): Expected a <class 'int'>. Got value: three",
        ),
        (
            (*MODEL, "encoder", 0, "class_path"),
            "rslearn.models.nothere.Encoder",
            r"encoder \(rslearn.models.nothere.Encoder\): .*nothere",
        ),
        (("data", "init_args", "batch_size"), "many", r"data.init_args.batch_size \(rslearn.*many"),
        (("model", "class_path"), "rslearn.train.nothere.Module", r"model \(rslearn.train.nothere.Module\)"),
        (("model",), None, r"The section 'model' has no class_path.*found nothing"),
        (
            ("trainer", "callbacks", 1, "init_args", "mergr"),
            1,
            r"trainer.callbacks: writer \(rslearn.train.prediction_writer.RslearnWriter\): The argument 'mergr'",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    place: Callable[..., Place], keys: tuple[str | int, ...], value: object, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        place(changed(keys, value)).load()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 800


def test_a_missing_package_is_named(place: Callable[..., Place], tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "custom_model_of_test.py").write_text("import package_that_nobody_has\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match=r"package_that_nobody_has is not installed.*pip install"):
        place(changed((*CONV, "class_path"), "custom_model_of_test.Thing")).load()


def test_what_fails_while_it_is_built(place: Callable[..., Place]) -> None:
    with pytest.raises(ModelError, match="negative dimension -3") as caught:
        place(changed((*CONV, "init_args", "kernel_size"), -3)).load()
    assert "\n" not in str(caught.value)


def test_a_checkpoint_of_another_model(place: Callable[..., Place], trained: TrainingResult) -> None:
    vector = place(scenes.vector_model_config(), scenes.vector_dataset_config())
    with pytest.raises(ModelError, match=r"not of this model. Expected the 4 weights.*2 missing.*2 unexpected"):
        vector.load(trained.best_checkpoint)
    with pytest.raises(ModelError, match=r"no-such.ckpt: The checkpoint is missing"):
        vector.load(Path("no-such.ckpt"))


@pytest.mark.slow
@pytest.mark.skipif(not PROJECTS.exists(), reason="published projects are not here")
@pytest.mark.parametrize("name", ["awf", "lfmc", "forest_loss_driver"])
def test_published_models_are_built_without_a_connection(
    name: str, place: Callable[..., Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    here = place()
    torch.save({"state_dict": {}}, tmp_path / "empty.ckpt")
    # The model is built before its weights are looked at, all of which are missing.
    with pytest.raises(ModelError, match=r"found 2[0-9][0-9] missing"):
        load_model(
            PROJECTS / name / "model.yaml", variables=here.variables, checkpoint=tmp_path / "empty.ckpt", device="cpu"
        )
