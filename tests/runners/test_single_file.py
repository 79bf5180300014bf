"""A project that is one ``olmoearth_config.yaml``, with generated imagery and a model of random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import scenes
import torch
import yaml
from rslearn.dataset import Window
from rslearn.utils.raster_array import RasterArray
from rslearn.utils.raster_format import GeotiffRasterFormat
from single_files import changed, single_file

from olmoearth_nb.config import Project
from olmoearth_nb.config.single_file.observed import MODALITIES
from olmoearth_nb.model.load import build_modules, template_variables
from olmoearth_nb.model.template import read_model_config
from olmoearth_nb.runners.predict import OlmoEarthRunPredictRunner
from olmoearth_nb.store.windows import as_window

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Makes a project whose request two windows of 32 pixels cover."""
    monkeypatch.setenv("OLMOEARTH_NB_CACHE", str(tmp_path / "cache"))

    def project(**changes: Any) -> Path:
        folder = tmp_path / "project"
        folder.mkdir()
        config = changed(single_file(), **changes)
        (folder / "olmoearth_config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        request = scenes.collection([(scenes.pixel_box(2, 2, 60, 30), scenes._times())])
        (folder / "prediction_request_geometry.geojson").write_text(json.dumps(request))
        return folder

    return project


def add_checkpoint(folder: Path) -> None:
    """Puts a checkpoint of random weights into a project."""
    variables = template_variables(
        dataset_path=folder, extra_files_path=None, trainer_data_path=folder / "trainer", num_workers=0
    )
    path = Project(folder).model_config_path
    torch.manual_seed(0)
    module, _ = build_modules(read_model_config(path, variables), variables, where=str(path), random=True)
    torch.save({"state_dict": module.state_dict()}, folder / "checkpoint.ckpt")


def add_imagery(window: Window, layer: str, images: int) -> None:
    """Writes images of Sentinel-2 as they would have been built."""
    bands = MODALITIES["sentinel2_l2a"].bands
    width, height = window.bounds[2] - window.bounds[0], window.bounds[3] - window.bounds[1]
    with window.data.open_layer_writer(layer) as writer:
        for index in range(images):
            pixels = np.random.default_rng(index).integers(1, 4000, (len(bands), height, width)).astype(np.uint16)
            writer.write_raster(
                list(bands),
                GeotiffRasterFormat(),
                window.projection,
                window.bounds,
                RasterArray(chw_array=pixels),
                group_idx=index,
            )
    for index in range(images):
        window.mark_layer_completed(layer, index)


def predict(folder: Path, layers: dict[str, int]) -> Path:
    """Runs a prediction on generated imagery and gives the only raster that comes out."""
    add_checkpoint(folder)
    # Half precision is what the encoder computes in by itself.
    runner = OlmoEarthRunPredictRunner(
        folder, folder.parent / "scratch", device="cpu", precision="bf16-mixed", progress=False
    )
    runner.partition()
    for spec in runner.scratch.specs(runner.partition_ids()).values():
        for layer, images in layers.items():
            add_imagery(as_window(runner.scratch.dataset, spec), layer, images)
    summary = runner.run_inference()
    assert summary.counts["predicted"] == summary.counts["windows"] > 0
    runner.postprocess()
    runner.combine()
    (found,) = (folder.parent / "scratch" / "results" / "results_raster").glob("*.tif")
    return found


def test_a_prediction_from_the_single_file(make: Make) -> None:
    folder = make()
    with rasterio.open(predict(folder, {"sentinel2_l2a": 3})) as result:
        values = result.read(1)
        assert (result.count, result.nodata, result.dtypes[0]) == (1, 255, "uint8")
    assert set(np.unique(values)) <= {0, 1, 2, 255}
    assert (values != 255).sum() >= 2 * 32 * 32
    assert {path.name for path in folder.iterdir()} == {
        "olmoearth_config.yaml",
        "prediction_request_geometry.geojson",
        "checkpoint.ckpt",
    }


@pytest.mark.slow
def test_several_fields_are_bands_of_one_raster(make: Make) -> None:
    values = single_file()["data"]["output"]["fields"]["category"]["allowed_values"]
    fields = [{"name": name, "field_type": "segmentation", "allowed_values": values} for name in ("first", "second")]
    observation = {"name": "repeating_interval", "num_periods": 2, "period_duration_days": 7}
    folder = make(
        data__output__fields=fields,
        model__tasks={
            one["name"]: {"name": "segmentation", "decoder": {"name": decoder}}
            for one, decoder in zip(fields, ("unet", "upsample_conv"), strict=True)
        },
        data__temporality={
            "name": "framed_point_in_time",
            "lookbehind_observations": [{"offset_days": 0, "observation": observation}],
        },
        labeled_data_prep=None,
    )
    with rasterio.open(predict(folder, {"sentinel2_l2a_lookbehind_0": 2})) as result:
        bands = result.read()
    assert bands.shape[0] == 2
    assert (bands[0] != bands[1]).any()
    assert [one.property_name for one in Project(folder).run_config.inference_results_config.classification_fields] == [
        "first",
        "second",
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"data__modalities": {"landsat": {"space_mode": "mosaic"}, "sentinel1_rtc": {"space_mode": "mosaic"}}},
        {"model__tasks__category__decoder": {"name": "unet"}},
        {
            "data__output__fields": {"height": {"field_type": "regression", "min_value": 0, "max_value": 9}},
            "model__tasks": {"height": {"name": "regression", "decoder": {"name": "unet"}}},
        },
    ],
)
def test_models_can_be_built_and_checked(make: Make, changes: dict[str, Any]) -> None:
    folder = make(**changes)
    add_checkpoint(folder)
    report = Project(folder).check()
    steps = ["partition", "dataset_build", "inference", "postprocess", "combine"]
    assert not report.blocking(*steps)
    assert not [problem for problem in report.problems if problem.file == "olmoearth_config.yaml"]
