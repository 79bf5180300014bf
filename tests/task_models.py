"""Small real models for each kind of task, with a dataset of labelled windows, for tests of traces."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import shapely
from places import Place, make_place
from rslearn.data_sources import Item
from rslearn.dataset import Window
from rslearn.dataset.window import WindowLayerData
from rslearn.utils.feature import Feature
from rslearn.utils.geometry import STGeometry
from rslearn.utils.raster_array import RasterArray
from rslearn.utils.raster_format import GeotiffRasterFormat

from olmoearth_nb.model.load import LoadedModel

KINDS = ("segmentation", "per-pixel regression", "classification", "regression", "detection", "multi")
# A detector is large: half a minute of computing where the others take seconds.
MOST_KINDS = [pytest.param(kind, marks=pytest.mark.slow) if kind == "detection" else kind for kind in KINDS]
TASKS = "rslearn.train.tasks"
MODELS = "rslearn.models"


def component(class_path: str, **init_args: Any) -> dict[str, Any]:
    return {"class_path": class_path, "init_args": init_args}


def _raster(layer: str, band: str, dtype: str) -> dict[str, Any]:
    return {"data_type": "raster", "layers": [layer], "bands": [band], "is_target": True, "dtype": dtype}


def _vector(layer: str) -> dict[str, Any]:
    return {"data_type": "vector", "layers": [layer], "is_target": True}


def _pooling(count: int) -> dict[str, Any]:
    return component(f"{MODELS}.pooling_decoder.PoolingDecoder", in_channels=16, out_channels=count)


def _task(kind: str) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """Task, decoder and the input of its labels."""
    classes = len(scenes.CLASSES)
    match kind:
        case "segmentation":
            task = component(
                f"{TASKS}.segmentation.SegmentationTask",
                num_classes=classes,
                nodata_value=255,
                class_names=list(scenes.CLASSES),
                prob_scales=[1.0, 3.0, 1.0],
            )
            head = component(f"{TASKS}.segmentation.SegmentationHead", weights=[1.0, 2.0, 0.5], temperature=0.1)
            return task, [scenes._conv(16, classes, 1, last=True), head], _raster("label", "category", "INT32")
        case "per-pixel regression":
            task = component(f"{TASKS}.per_pixel_regression.PerPixelRegressionTask", scale_factor=0.01, nodata_value=-1)
            head = component(f"{TASKS}.per_pixel_regression.PerPixelRegressionHead", loss_mode="huber")
            return task, [scenes._conv(16, 1, 1, last=True), head], _raster("height", "height", "FLOAT32")
        case "classification":
            task = component(
                f"{TASKS}.classification.ClassificationTask",
                property_name="category",
                classes=list(scenes.CLASSES),
                prob_property="probs",
            )
            return task, [_pooling(classes), component(f"{TASKS}.classification.ClassificationHead")], _vector("spots")
        case "regression":
            task = component(f"{TASKS}.regression.RegressionTask", property_name="tall", scale_factor=0.1)
            return task, [_pooling(1), component(f"{TASKS}.regression.RegressionHead")], _vector("spots")
        case _:
            task = component(
                f"{TASKS}.detection.DetectionTask",
                property_name="category",
                classes=["background", *scenes.CLASSES],
                score_threshold=0.26,
            )
            head = component(
                f"{MODELS}.faster_rcnn.FasterRCNN",
                downsample_factors=[1],
                num_channels=16,
                num_classes=classes + 1,
                anchor_sizes=[[8]],
            )
            return task, [head], _vector("boxes")


def model_config(kind: str, *, crop_size: int | None = 16, overlap: int = 4) -> dict[str, Any]:
    """``model.yaml`` of one kind of task, or of several at once."""
    config = scenes.raster_model_config(crop_size=crop_size, overlap=overlap)
    arguments, data = config["model"]["init_args"], config["data"]["init_args"]
    encoder = arguments["model"]["init_args"]["encoder"]
    image = data["inputs"]["image"]
    if kind == "multi":
        names = {"cover": "segmentation", "height": "per-pixel regression", "kind": "classification"}
        parts = {name: _task(one) for name, one in names.items()}
        arguments["model"] = component(
            f"{MODELS}.multitask.MultiTaskModel",
            encoder=encoder,
            decoders={name: decoder for name, (_, decoder, _) in parts.items()},
            loss_weights={"cover": 1.0, "height": 0.25, "kind": 2.0},
        )
        data["task"] = component(
            f"{TASKS}.multi_task.MultiTask",
            tasks={name: task for name, (task, _, _) in parts.items()},
            input_mapping={name: {f"{name}_label": "targets"} for name in parts},
        )
        data["inputs"] = {"image": image, **{f"{name}_label": label for name, (_, _, label) in parts.items()}}
        selector: list[str] | None = ["cover"]
    else:
        task, decoder, label = _task(kind)
        arguments["model"] = component(f"{MODELS}.singletask.SingleTaskModel", encoder=encoder, decoder=decoder)
        data["task"], data["inputs"], selector = task, {"image": image, "targets": label}, None
    callback = config["trainer"]["callbacks"][1]["init_args"]
    callback["selector"] = selector
    if kind in ("classification", "regression", "detection"):
        callback["merger"] = None
    return config


def dataset_config(kind: str) -> dict[str, Any]:
    """``config.json`` with all layers of labels and an output that fits."""
    layers = scenes.raster_dataset_config()["layers"]
    layers["height"] = {
        "type": "raster",
        "band_sets": [{"bands": ["height"], "dtype": "float32", "nodata_value": -1}],
    }
    layers |= {"spots": {"type": "vector"}, "boxes": {"type": "vector"}}
    if kind == "per-pixel regression":
        layers["output"] = {"type": "raster", "band_sets": [{"bands": ["output"], "dtype": "float32"}]}
    elif kind in ("classification", "regression", "detection"):
        layers["output"] = {"type": "vector"}
    return {"layers": layers}


def task_place(folder: Path, kind: str, *, count: int = 4, size: int = 32, **crops: Any) -> Place:
    """A model of some kind and windows with all labels; the last window has none."""
    place = make_place(folder, model_config(kind, **crops), dataset_config(kind))
    for index in range(count):
        x, y = size * (index % (scenes.SIZE // size)), size * (index // (scenes.SIZE // size))
        labels = () if index == count - 1 else ("label",)
        box = (x, y, x + size, y + size)
        window = scenes.add_window(place.dataset, f"w{index}", box, split="train", layers=("scene", *labels))
        if labels:
            _add_labels(place, window, box)
    return place


def _add_labels(place: Place, window: Window, box: tuple[int, int, int, int]) -> None:
    x0, y0, x1, y1 = box
    height = scenes.scene_array()[2, y0:y1, x0:x1].astype(np.float32) / 10
    height[:5, :3] = -1
    with window.data.open_layer_writer("height") as writer:
        raster = RasterArray(chw_array=height[None])
        writer.write_raster(["height"], GeotiffRasterFormat(), window.projection, window.bounds, raster)
    left, top = window.bounds[:2]
    middle = shapely.Point(left + (x1 - x0) / 2, top + (y1 - y0) / 2)
    boxes = [(shapely.box(left + 4, top + 6, left + 12, top + 15), {"category": "forest"})]
    boxes += [(shapely.box(left + 17, top + 20, left + 25, top + 29), {"category": "water"})]
    spots = [(middle, {"category": "field", "tall": 12.5})]
    for layer, shapes in (("boxes", boxes), ("spots", spots)):
        features = [Feature(STGeometry(window.projection, shape, None), properties) for shape, properties in shapes]
        with window.data.open_layer_writer(layer) as vectors:
            vectors.write_vector(place.dataset.layers[layer].instantiate_vector_format(), features)
    for layer in ("height", "boxes", "spots"):
        window.mark_layer_completed(layer)


# ---- an OlmoEarth encoder with twelve dates ------------------------------------------------------------------------

S2 = ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12", "B01", "B09")
S1 = ("vv", "vh")


def olmoearth_place(
    folder: Path, *, dates: int = 12, size: int = 32, token_pooling: bool = True, radar: Sequence[int] = ()
) -> Place:
    """An OlmoEarth encoder with random weights, and a window with images of several dates, of some by radar too."""
    config = model_config("segmentation", crop_size=None)
    model, data = config["model"]["init_args"]["model"]["init_args"], config["data"]["init_args"]
    model["encoder"] = [
        component(
            "rslearn.models.olmoearth_pretrain.model.OlmoEarth",
            model_id="OLMOEARTH_V1_2_NANO",
            patch_size=4,
            random_initialization=True,
            token_pooling=token_pooling,
            use_legacy_timestamps=False,
            autocast_dtype=None,
        )
    ]
    pool = [] if token_pooling else [component(f"{MODELS}.attention_pooling.SimpleAttentionPool", in_dim=128)]
    model["decoder"] = [*pool, component(f"{MODELS}.upsample.Upsample", scale_factor=4), *model["decoder"]]
    model["decoder"][-2]["init_args"]["in_channels"] = 128
    data["inputs"] = {
        "sentinel2_l2a": {
            "data_type": "raster",
            "layers": ["s2"],
            "bands": list(S2),
            "passthrough": True,
            "load_all_layers": True,
            "load_all_item_groups": True,
        },
        "targets": data["inputs"]["targets"],
    }
    data["default_config"]["transforms"] = [
        component("rslearn.models.olmoearth_pretrain.norm.OlmoEarthNormalize", band_names={"sentinel2_l2a": list(S2)})
    ]
    layers = dataset_config("segmentation")
    if radar:
        data["inputs"]["sentinel1"] = {**data["inputs"]["sentinel2_l2a"], "layers": ["s1"], "bands": list(S1)}
        data["default_config"]["transforms"][0]["init_args"]["band_names"]["sentinel1"] = list(S1)
        layers["layers"]["s1"] = {"type": "raster", "band_sets": [{"bands": list(S1), "dtype": "float32"}]}
    layers["layers"]["s2"] = {
        "type": "raster",
        "band_sets": [{"bands": list(S2), "dtype": "uint16"}],
        "data_source": component("rslearn.data_sources.planetary_computer.Sentinel2", harmonize=True),
    }
    place = make_place(folder, config, layers)
    window = scenes.add_window(place.dataset, "series", (0, 0, size, size), split="train", layers=("label",))
    write_series(window, scene_series(dates, size))
    if radar:
        values = scene_series(dates, size)[list(radar), :2].astype(np.float32) / -100
        write_series(window, values, layer="s1", bands=S1, days=[30 * date for date in radar])
    return place


def timestep_place(folder: Path) -> Place:
    """A model that says at which of three dates something happened, labelled with the day; four rows have no label."""
    config = model_config("segmentation", crop_size=None)
    model, data = config["model"]["init_args"]["model"]["init_args"], config["data"]["init_args"]
    data["task"] = component(f"{TASKS}.per_pixel_timestep.PerPixelTimestepTask", num_classes=3)
    image = data["inputs"]["image"]
    series = {"layers": ["s2"], "bands": ["B02"], "load_all_layers": True, "load_all_item_groups": True}
    data["inputs"] = {"image": image, "series": {**image, **series}, "targets": _raster("days", "day", "INT32")}
    data["default_config"]["transforms"][0]["init_args"]["selectors"] = ["image"]
    head = f"{TASKS}.per_pixel_timestep.PerPixelTimestepHead"
    model["decoder"][-1] = component(head, input_key="series", mode="BEFORE")
    layers = dataset_config("segmentation")
    layers["layers"] |= {
        name: {"type": "raster", "band_sets": [{"bands": bands, "dtype": "uint16"}]}
        for name, bands in (("s2", list(S2)), ("days", ["day"]), ("output", ["output"]))
    }
    place = make_place(folder, config, layers)
    window = scenes.add_window(place.dataset, "w", (0, 0, 32, 32))
    write_series(window, scene_series(3, 32))
    # 40 days after the first image, 10 after the second.
    days = np.full((1, 32, 32), (datetime(2024, 1, 5, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).days + 40)
    days[:, :4] = 0
    with window.data.open_layer_writer("days") as writer:
        raster = RasterArray(chw_array=days.astype(np.uint16))
        writer.write_raster(["day"], GeotiffRasterFormat(), window.projection, window.bounds, raster)
    window.mark_layer_completed("days")
    return place


def scene_series(dates: int, size: int) -> np.ndarray[Any, Any]:
    """(T, 12, H, W): the scene's bands, darker from date to date."""
    scene = scenes.scene_array()[:, :size, :size]
    return np.stack([np.repeat(scene, 4, axis=0) + 40 * date for date in range(dates)]).astype(np.uint16)


def write_series(
    window: Window,
    series: np.ndarray[Any, Any],
    *,
    layer: str = "s2",
    bands: Sequence[str] = S2,
    days: Sequence[int] | None = None,
) -> None:
    """Writes images of several dates, 30 days apart, as item groups of a layer."""
    items: list[list[dict[str, Any]]] = []
    with window.data.open_layer_writer(layer) as writer:
        for group, image in enumerate(series):
            taken = datetime(2024, 1, 5, tzinfo=UTC) + timedelta(days=30 * group if days is None else days[group])
            times = (taken, taken + timedelta(minutes=5))
            raster = RasterArray(chw_array=image, time_range=times)
            form = GeotiffRasterFormat()
            writer.write_raster(list(bands), form, window.projection, window.bounds, raster, group_idx=group)
            geometry = STGeometry(window.projection, shapely.box(*window.bounds), times)
            items.append([Item(f"{layer.upper()}_{taken:%Y%m%d}", geometry).serialize()])
    for group in range(len(series)):
        window.mark_layer_completed(layer, group)
    known = window.load_layer_datas()
    window.save_layer_datas({**known, layer: WindowLayerData(layer, items, materialized=True)})


def load(place: Place) -> LoadedModel:
    """The place's model with random weights that are always the same."""
    import torch

    torch.manual_seed(3)
    return place.load()


def windows_of(place: Place) -> Sequence[Window]:
    return sorted(place.windows(), key=lambda window: window.name)
