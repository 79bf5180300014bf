"""Windows with several dates, two sensors and a mask, and a small network that reads all of them."""

from __future__ import annotations

import contextlib
import importlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import scenes
import torch
from places import Place, make_place
from rslearn.dataset import Window
from rslearn.models.component import FeatureExtractor, FeatureMaps
from rslearn.train.model_context import ModelContext
from rslearn.utils.raster_array import RasterArray
from rslearn.utils.raster_format import GeotiffRasterFormat

from olmoearth_nb.model.encoders import offline_encoders
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.trace.capture import TraceRequest
from olmoearth_nb.model.trace.engine import Engine
from olmoearth_nb.runners.window_trace import WindowTrace

S2 = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12", "B01", "B09")
S1 = ("vv", "vh")
START = datetime(2024, 1, 10, tzinfo=UTC)
_COMPONENT = scenes._component


class Mixed(FeatureExtractor):
    """Classes of each pixel out of two series and a mask, which has to stay one of integers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.optical = torch.nn.Conv2d(len(S2), channels, 3, padding=1)
        self.radar = torch.nn.Conv2d(len(S1), channels, 1)

    def forward(self, context: ModelContext) -> FeatureMaps:
        maps = []
        for inputs in context.inputs:
            optical, radar, mask = (inputs[name].image for name in ("sentinel2_l2a", "sentinel1", "mask"))
            assert mask.dtype == torch.int32
            # In place, as encoders do that normalise by themselves.
            optical -= 0.1
            series = torch.tanh(self.optical(optical.transpose(0, 1))).amax(dim=0)
            other = torch.nn.functional.gelu(self.radar(radar.transpose(0, 1))).mean(dim=0)
            maps.append(series * other + series * mask[0, 0])
        return FeatureMaps([torch.stack(maps)])


def trace_of(place: Place, loaded: LoadedModel, name: str, **request: Any) -> WindowTrace:
    """A trace of a window."""
    window = place.windows(names=[name])[0]
    engine = Engine(loaded, TraceRequest(window=window, dataset=place.dataset, **request))
    return WindowTrace(engine.capture(), engine=engine)


def series_place(folder: Path, *, dates: int = 12, size: int = 16, encoder: dict[str, Any] | None = None) -> Place:
    """Two windows, ``a`` and ``b``, and a model without training."""
    place = make_place(folder, _model(encoder), _dataset())
    for index, name in enumerate(("a", "b")):
        _add_window(place, name, dates=dates, size=size, seed=index)
    return place


def olmoearth_place(folder: Path, *, dates: int = 12) -> tuple[Place, LoadedModel]:
    """The same windows with an OlmoEarth encoder of random weights."""
    name = "rslearn.models.olmoearth_pretrain.model"
    arguments = {"model_id": "OLMOEARTH_V1_2_NANO", "patch_size": 8}
    place = series_place(folder, dates=dates, encoder=_COMPONENT(f"{name}.OlmoEarth", **arguments))
    hub = importlib.import_module("olmoearth_pretrain_minimal.model_loader")
    torch.manual_seed(0)
    with offline_encoders(_model(_COMPONENT(f"{name}.OlmoEarth", **arguments))):
        source = importlib.import_module(name).OlmoEarth(
            model_id=hub.ModelID.OLMOEARTH_V1_2_NANO, patch_size=8, random_initialization=True
        )
    weights = {f"model.encoder.0.{key}": value for key, value in source.state_dict().items()}
    weights["model.decoders.segment.1.layer.weight"] = torch.randn(3, 128, 1, 1)
    weights["model.decoders.segment.1.layer.bias"] = torch.zeros(3)
    torch.save({"state_dict": weights}, folder / "random.ckpt")
    return place, place.load(folder / "random.ckpt", precision="bf16-mixed")


def _dataset() -> dict[str, Any]:
    config = scenes.raster_dataset_config()

    def layer(bands: tuple[str, ...], dtype: str, **band_set: Any) -> dict[str, Any]:
        return {"type": "raster", "band_sets": [{"bands": list(bands), "dtype": dtype, **band_set}]}

    config["layers"] |= {
        "s2": layer(S2, "uint16", nodata_value=0),
        "s1": layer(S1, "float32"),
        "mask": layer(("mask",), "uint8"),
    }
    return config


def _model(encoder: dict[str, Any] | None) -> dict[str, Any]:
    config = scenes.raster_model_config(crop_size=None)
    network = config["model"]["init_args"]["model"]["init_args"]
    network["encoder"] = [encoder or _COMPONENT("series.Mixed", channels=8)]
    head = [scenes._conv(8 if encoder is None else 128, 3, 1, last=True)]
    if encoder is not None:
        head.insert(0, _COMPONENT("rslearn.models.upsample.Upsample", scale_factor=8))
    network["decoders"]["segment"][:1] = head
    data = config["data"]["init_args"]
    label = data["inputs"]["label"]

    def read(layer: str, bands: tuple[str, ...], dtype: str) -> dict[str, Any]:
        return {"data_type": "raster", "layers": [layer], "bands": list(bands), "passthrough": True, "dtype": dtype}

    data["inputs"] = {
        "sentinel2_l2a": read("s2", S2, "FLOAT32"),
        "sentinel1": read("s1", S1, "FLOAT32"),
        "label": label,
    }
    if encoder is None:
        data["inputs"]["mask"] = read("mask", ("mask",), "INT32")
    normalize = _COMPONENT(
        "rslearn.train.transforms.normalize.Normalize", mean=1000.0, std=800.0, selectors=["sentinel2_l2a"]
    )
    data["default_config"] = {"transforms": [normalize]}
    return config


def _add_window(place: Place, name: str, *, dates: int, size: int, seed: int) -> Window:
    window = scenes.add_window(
        place.dataset, name, (16 * seed, 0, 16 * seed + size, size), split="train", layers=("label",)
    )
    rng = np.random.default_rng(seed)
    classes = scenes.class_map()[:size, 16 * seed : 16 * seed + size]
    level = np.array([300.0, 1200.0, 2400.0])[classes]
    optical = level + rng.normal(0, 150, (len(S2), dates, size, size)) + 40 * np.arange(dates)[None, :, None, None]
    radar = rng.normal(-1, 1, (len(S1), dates, size, size)) + classes
    stamps = [(START + timedelta(days=30 * i), START + timedelta(days=30 * i + 1)) for i in range(dates)]
    arrays = {
        "s2": (S2, np.clip(optical, 1, 9000).astype(np.uint16), stamps),
        "s1": (S1, radar.astype(np.float32), stamps),
        "mask": (("mask",), (rng.random((1, 1, size, size)) > 0.5).astype(np.uint8), None),
    }
    for layer, (bands, array, times) in arrays.items():
        with window.data.open_layer_writer(layer) as writer:
            raster = RasterArray(array=array, timestamps=times)
            writer.write_raster(list(bands), GeotiffRasterFormat(), window.projection, window.bounds, raster)
        window.mark_layer_completed(layer)
    return window


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time and content of every file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        with contextlib.suppress(IsADirectoryError):
            found[str(path)] = (path.stat().st_mtime_ns, path.read_bytes())
    return found
