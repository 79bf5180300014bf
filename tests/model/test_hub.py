import importlib
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scenes
import torch
import yaml
from places import Place

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import ModelError
from olmoearth_nb.model.hub import explain_missing


@pytest.fixture(autouse=True)
def _disconnected(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("[Errno -2] Name or service not known")

    monkeypatch.setattr("huggingface_hub.file_download.get_hf_file_metadata", fail)
    monkeypatch.setattr("socket.getaddrinfo", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("torch.hub._hub_dir", str(tmp_path / "hub"))


def _explained(call: Callable[[], Any], config: object = None) -> str:
    try:
        with foreign_code(ModelError, "failed"):
            call()
    except ModelError as error:
        found = explain_missing(error, config, where="model.yaml")
        assert found is not None
        return str(found)
    raise AssertionError("It did not fail.")


def test_a_file_of_a_hub_goes_where_the_class_looks_for_it(tmp_path: Path) -> None:
    config = {"encoder": [{"class_path": "rslearn.models.presto.presto.Presto"}]}
    presto = importlib.import_module("rslearn.models.presto.presto")
    text = _explained(presto.Presto, config)
    assert text.startswith(
        "model.yaml: encoder[0] (Presto): A file that the model is built from can't be fetched: https://hugging"
    )
    assert f"Put it at {tmp_path / 'rslearn_cache' / 'presto' / presto.MODEL_FILENAME}" in text


def test_an_address_becomes_a_path_of_the_class() -> None:
    croma = importlib.import_module("rslearn.models.croma")
    arguments = {"size": croma.CromaSize.BASE, "modality": croma.CromaModality.SENTINEL1}
    config = {"class_path": "rslearn.models.croma.Croma", "init_args": {}}
    text = _explained(lambda: croma.Croma(**arguments), config)
    assert croma.PRETRAINED_URLS[croma.CromaSize.BASE] in text
    assert "give its path as pretrained_path" in text
    assert "Put" not in _explained(lambda: urllib.request.urlopen("https://example.org/a.pt"))


def test_torchvisions_files_go_into_its_cache(tmp_path: Path) -> None:
    swin = importlib.import_module("rslearn.models.swin").Swin
    text = _explained(lambda: swin(arch="swin_t", pretrained=True))
    assert "https://download.pytorch.org/models/swin_t-" in text
    assert f"Put it at {tmp_path / 'hub' / 'checkpoints' / 'swin_t-'}" in text


def test_a_repository_of_code_is_cloned_into_the_cache(tmp_path: Path) -> None:
    text = _explained(lambda: torch.hub.load("gastruc/anysat", "anysat", trust_repo=True))
    assert "https://github.com/gastruc/anysat" in text
    assert f"Clone it into {tmp_path / 'hub'}/gastruc_anysat_main" in text


def test_where_the_file_has_the_architecture_random_weights_are_no_way_out(
    tmp_path: Path, place: Callable[..., Place]
) -> None:
    config = scenes.raster_model_config()
    arguments = {"size": "NANO", "pretrained_path": str(tmp_path)}
    section = {"class_path": "rslearn.models.galileo.galileo.GalileoModel", "init_args": arguments}
    config["model"]["init_args"]["model"]["init_args"]["encoder"] = [section]
    with pytest.raises(ModelError) as caught:
        place(config).load(random_weights=True)
    place_by_hand = (
        f"Put it at {tmp_path / 'models' / 'nano' / 'config.json'}; without it the architecture is not known"
    )
    assert place_by_hand in str(caught.value)


def test_other_failures_are_left_as_they_are() -> None:
    assert explain_missing(ModelError("Broken."), {}, where="model.yaml") is None


def test_a_training_from_weights_that_are_not_there(raster: Place) -> None:
    config = yaml.safe_load(raster.model_yaml.read_text())
    config["model"]["init_args"]["restore_config"] = {"restore_path": "/weka/best.ckpt", "selector": ["state_dict"]}
    raster.model_yaml.write_text(yaml.safe_dump(config))
    with pytest.raises(ModelError, match=r"restore_path: The weights .* missing\. Found no /weka/best\.ckpt"):
        raster.train(max_epochs=1)
    assert raster.train(max_epochs=1, random_weights=True).epochs == 1
    # A training that was begun goes on without them.
    assert raster.train(max_epochs=2).epochs == 2
