import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import scenes
import torch
from places import Place

from olmoearth_nb.errors import ModelError
from olmoearth_nb.model.encoders import offline_encoders, without_pretrained
from olmoearth_nb.model.instantiate import instantiate

ENCODER = "rslearn.models.olmoearth_pretrain.model.OlmoEarth"


def olmoearth_config(model_id: str = "OLMOEARTH_V1_2_NANO") -> dict[str, Any]:
    config = scenes.raster_model_config(crop_size=None)
    model = config["model"]["init_args"]["model"]["init_args"]
    model["encoder"] = [{"class_path": ENCODER, "init_args": {"model_id": model_id, "patch_size": 4}}]
    model["decoders"]["segment"].insert(
        0, {"class_path": "rslearn.models.upsample.Upsample", "init_args": {"scale_factor": 4}}
    )
    model["decoders"]["segment"][1]["init_args"]["in_channels"] = 128
    return config


def test_encoders_are_found_at_any_depth() -> None:
    nested = {"class_path": "a.Series", "init_args": {"encoder": {"class_path": ENCODER, "init_args": None}}}
    assert without_pretrained([nested]) == [
        {
            "class_path": "a.Series",
            "init_args": {"encoder": {"class_path": ENCODER, "init_args": {"random_initialization": True}}},
        }
    ]
    assert nested["init_args"] == {"encoder": {"class_path": ENCODER, "init_args": None}}


def test_a_checkpoint_needs_no_connection(
    place: Callable[..., Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = importlib.import_module("olmoearth_pretrain_minimal.model_loader")
    monkeypatch.setattr(hub, "hf_hub_download", _no_connection)
    config = olmoearth_config()
    encoder = config["model"]["init_args"]["model"]["init_args"]["encoder"][0]["init_args"]
    with offline_encoders(config):
        source = importlib.import_module("rslearn.models.olmoearth_pretrain.model").OlmoEarth(
            **{**encoder, "model_id": hub.ModelID.OLMOEARTH_V1_2_NANO}, random_initialization=True
        )
    weights = {f"model.encoder.0.{name}": value for name, value in source.state_dict().items()}
    weights |= {
        "model.decoders.segment.1.layer.weight": torch.ones(3, 128, 1, 1),
        "model.decoders.segment.1.layer.bias": torch.ones(3),
    }
    torch.save({"state_dict": weights}, tmp_path / "c.ckpt")
    loaded = place(config).load(tmp_path / "c.ckpt")
    built: Any = loaded.module
    name = "encoder.0.model.blocks.0.attn.q.weight"
    assert torch.equal(built.model.state_dict()[name], weights[f"model.{name}"])
    # What the hub's loader does too: other modalities are only there to be predicted.
    modalities = built.model.encoder[0].model.encoder_input_modality_names
    assert sorted(modalities) == ["landsat", "sentinel1", "sentinel2_l2a"]
    assert (
        importlib.import_module("rslearn.models.olmoearth_pretrain.model").load_model_from_id is hub.load_model_from_id
    )


def test_a_folder_of_another_machine_is_not_needed_with_a_checkpoint(
    place: Callable[..., Place], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The architecture is told by the weights: 1.1 tiny and 1.2 tiny have the same width, but not the same names."""
    _disconnect(monkeypatch)
    package = importlib.import_module("olmoearth_pretrain_minimal")
    encoder = package.OlmoEarthPretrain_v1(model_size="nano", model_version="v1.1").model.encoder
    weights = {f"model.encoder.0.model.{name}": value for name, value in encoder.state_dict().items()}
    weights |= {
        "model.decoders.segment.1.layer.weight": torch.ones(3, 128, 1, 1),
        "model.decoders.segment.1.layer.bias": torch.ones(3),
    }
    torch.save({"state_dict": weights}, tmp_path / "c.ckpt")
    config = olmoearth_config()
    arguments = config["model"]["init_args"]["model"]["init_args"]["encoder"][0]["init_args"]
    del arguments["model_id"]
    arguments["checkpoint_path"] = "/weka/somewhere/step400000"

    assert place(config).load(tmp_path / "c.ckpt").checkpoint == tmp_path / "c.ckpt"
    with pytest.raises(ModelError, match=r"encoder\[0\].init_args.checkpoint_path: A file .* no /weka/somewhere"):
        place(config).load()


def test_random_weights_take_the_width_that_is_written_or_that_the_decoder_takes() -> None:
    gone = {"class_path": ENCODER, "init_args": {"model_path": "/weka/gone", "patch_size": 4}}
    decoder = {"class_path": "rslearn.models.conv.Conv", "init_args": {"in_channels": 192, "out_channels": 3}}

    def arguments(encoder: dict[str, Any], *others: dict[str, Any]) -> dict[str, Any]:
        return without_pretrained([encoder, *others])[0]["init_args"]

    told = {**gone, "init_args": {**gone["init_args"], "embedding_size": 768}}
    assert arguments(told, decoder)["model_id"] == "OLMOEARTH_V1_BASE"
    assert arguments(gone, decoder) == {
        "patch_size": 4,
        "random_initialization": True,
        "model_id": "OLMOEARTH_V1_TINY",
    }
    assert arguments(gone)["model_path"] == "/weka/gone"


def test_arguments_that_ask_for_weights_are_turned_off() -> None:
    swin = {"class_path": "rslearn.models.swin.Swin", "init_args": {"pretrained": True, "arch": "swin_t"}}
    restored = {
        "class_path": "rslearn.train.lightning_module.RslearnLightningModule",
        "init_args": {"model": [swin], "restore_config": {"restore_path": "/weka/best.ckpt"}},
    }
    found = without_pretrained(restored)
    assert found["init_args"]["model"][0]["init_args"] == {"pretrained": False, "arch": "swin_t"}
    assert found["init_args"]["restore_config"] is None
    assert without_pretrained({"class_path": "rslearn.models.conv.Conv"}) == {"class_path": "rslearn.models.conv.Conv"}


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("rslearn.models.presto.presto.Presto", {}),
        ("rslearn.models.croma.Croma", {"size": "BASE", "modality": "SENTINEL1", "image_resolution": 8}),
    ],
)
def test_classes_that_always_load_weights_get_none(
    name: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _disconnect(monkeypatch)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    section = without_pretrained({"class_path": name, "init_args": arguments})
    load = torch.nn.Module.load_state_dict
    with offline_encoders(section):
        built: Any = instantiate({"encoder": section}, {"encoder": torch.nn.Module}, where="model.yaml").encoder
    assert sum(one.numel() for one in built.parameters()) > 100_000
    assert torch.nn.Module.load_state_dict is load
    assert not list(tmp_path.iterdir())


def test_random_weights_are_the_same_each_time(place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch) -> None:
    _disconnect(monkeypatch)
    here = place(olmoearth_config())
    state = torch.get_rng_state()
    first, second = (here.load(random_weights=True).module.state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert first["model.encoder.0.model.blocks.0.attn.q.weight"].std() > 0


def test_a_new_model_names_what_it_could_not_fetch(
    place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch
) -> None:
    _disconnect(monkeypatch)
    with pytest.raises(ModelError) as caught:
        place(olmoearth_config()).load()
    text = str(caught.value)
    assert "encoder[0] (OlmoEarth)" in text
    assert "huggingface.co/allenai/OlmoEarth-v1_2-Nano/resolve/main/config.json" in text
    assert "model_path: FOLDER in place of model_id" in text
    assert "--random-weights" in text
    assert "\n" not in text


def _disconnect(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without a connection: the name of the hub is not found."""

    def fail(*_: object, **__: object) -> None:
        raise OSError("[Errno -2] Name or service not known")

    monkeypatch.setattr("huggingface_hub.file_download.get_hf_file_metadata", fail)
    monkeypatch.setattr("socket.getaddrinfo", fail)


def _no_connection(**_: object) -> str:
    raise ConnectionError("no route to host")
