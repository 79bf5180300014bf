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


def test_a_new_model_needs_one(place: Callable[..., Place], monkeypatch: pytest.MonkeyPatch) -> None:
    hub = importlib.import_module("olmoearth_pretrain_minimal.model_loader")
    monkeypatch.setattr(hub, "hf_hub_download", _no_connection)
    with pytest.raises(ModelError, match=r"starts with weights from Hugging Face.*random_initialization: true"):
        place(olmoearth_config()).load()


def _no_connection(**_: object) -> str:
    raise ConnectionError("no route to host")
