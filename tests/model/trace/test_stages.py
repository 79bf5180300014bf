from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import scenes
import task_models
import xarray as xr
from places import Place, make_place
from task_models import component

from olmoearth_nb.model.predict import predict_windows
from olmoearth_nb.model.trace.capture import TraceRequest, capture
from olmoearth_nb.traces.data import TraceData

TRANSFORMS = "rslearn.train.transforms"


def traced(folder: Path, config: dict[str, Any], **options: Any) -> tuple[TraceData, Place]:
    """A trace of a window of 32 pixels with labels."""
    place = make_place(folder / "place", config, task_models.dataset_config("segmentation"))
    window = scenes.add_window(place.dataset, "w", (32, 0, 64, 32), layers=("scene", "label"))
    return capture(task_models.load(place), TraceRequest(window=window, dataset=place.dataset, **options)), place


def with_transforms(*transforms: dict[str, Any], **crops: Any) -> dict[str, Any]:
    config = task_models.model_config("segmentation", **crops)
    config["data"]["init_args"]["default_config"]["transforms"] = list(transforms)
    return config


def test_bands_keep_their_names_when_inputs_are_put_together(tmp_path: Path) -> None:
    transforms = [
        component(
            f"{TRANSFORMS}.concatenate.Concatenate",
            selections={"image": [2, 0], "red": []},
            output_selector="image",
            concatenate_dim=0,
        ),
        component(f"{TRANSFORMS}.normalize.Normalize", mean=500.0, std=400.0),
        component(f"{TRANSFORMS}.normalize.Normalize", mean=0.0, std=2.0),
    ]
    config = with_transforms(*transforms)
    inputs = config["data"]["init_args"]["inputs"]
    inputs["red"] = {**inputs["image"], "bands": ["B2"]}

    data, _ = traced(tmp_path, config)

    names = ["read", "task", "Concatenate", "Normalize", "Normalize 2"]
    assert [stage.name for stage in data.stages] == names
    for name in names[2:]:
        assert list(data.stage(name).inputs["image"]["band"].values) == ["B3", "B1", "B2"]
    scene = scenes.scene_array()[[2, 0, 1], :32, 32:64].astype(np.float32)
    np.testing.assert_allclose(data.stage(-1).inputs["image"].values[0], (scene - 500) / 800, rtol=1e-6)
    assert list(data.layers["scene"].data["band"].values) == list(scenes.BANDS)  # type: ignore[index]


def test_what_is_padded_has_no_coordinates(tmp_path: Path) -> None:
    pad = component(f"{TRANSFORMS}.pad.Pad", size=24, image_selectors=["image"], mode="topleft")

    data, _ = traced(tmp_path, with_transforms(pad), labels=False)

    before, after = data.stage("task").inputs["image"], data.stage("Pad").inputs["image"]
    assert before.dims == ("time", "band", "y", "x")
    assert after.dims == ("crop", "time", "band", "y", "x")
    assert after.shape == (9, 1, 3, 24, 24)
    assert "x" not in after.coords
    np.testing.assert_array_equal(after.values[0, ..., :16, :16], before.values[..., :16, :16])


def test_crops_that_are_read_one_by_one(tmp_path: Path) -> None:
    config = with_transforms()
    config["data"]["init_args"]["use_map_all_crops_dataset"] = True

    data, _ = traced(tmp_path, config)

    np.testing.assert_array_equal(
        data.stage("read").inputs["image"].values[0], scenes.scene_array()[:, :32, 32:64].astype(np.float32)
    )
    assert len(data.crops) == 9


def test_inputs_and_outputs_of_half_the_resolution(tmp_path: Path) -> None:
    config = task_models.model_config("segmentation")
    arguments = config["data"]["init_args"]
    arguments["inputs"]["image"]["resolution_factor"] = "1/2"
    config["trainer"]["callbacks"][1]["init_args"]["merger"]["init_args"] = {
        "overlap_pixels": 2,
        "downsample_factor": 2,
    }

    data, place = traced(tmp_path, config, labels=False, features=["encoder.0"])

    half: list[xr.DataArray | None] = [
        data.stage("read").inputs["image"],
        data.layers["scene"].data,
        data.features["encoder.0"],
        data.output().probabilities,
        data.written.raster,  # type: ignore[union-attr]
    ]
    for array in half:
        assert array is not None
        assert array.shape[-2:] == (16, 16)
        assert array.attrs["transform"] == [20.0, 0.0, scenes.ORIGIN[0] + 320, 0.0, -20.0, scenes.ORIGIN[1]]
        assert array["x"].values[1] == scenes.ORIGIN[0] + 320 + 30
    written = data.written.raster.values  # type: ignore[union-attr]
    np.testing.assert_array_equal(data.output().prediction.values, written[0])  # type: ignore[union-attr]
    (window,) = place.windows()
    predict_windows(task_models.load(place), [window], progress=False)
    (file,) = (Path(str(window.window_root)) / "layers" / "output").rglob("*.tif")
    with rasterio.open(file) as raster:
        assert raster.read().tobytes() == written.tobytes()
        assert tuple(raster.transform)[:6] == tuple(data.written.raster.attrs["transform"])  # type: ignore[union-attr]


def test_dates_have_statistics_together(tmp_path: Path) -> None:
    place = task_models.olmoearth_place(tmp_path / "place", dates=3)
    (window,) = place.windows()

    data = capture(task_models.load(place), TraceRequest(window=window, dataset=place.dataset))

    series = task_models.scene_series(3, 32)
    stats = data.stage("read").stats
    assert list(stats["band"]) == list(task_models.S2)
    assert list(stats["values"]) == [3 * 32 * 32] * 12
    np.testing.assert_allclose(stats["mean"], series.mean(axis=(0, 2, 3)), rtol=1e-6)
    np.testing.assert_allclose(stats["max"], series.max(axis=(0, 2, 3)))


def test_a_random_choice_of_layers_is_a_warning(tmp_path: Path) -> None:
    config = task_models.model_config("segmentation")
    config["data"]["init_args"]["inputs"]["image"]["layers"] = ["scene", "scene.1"]

    data, _ = traced(tmp_path, config)

    assert "picked at random" in " ".join(warning.text for warning in data.warnings)


@pytest.mark.parametrize("size", [16, 40])
def test_a_random_crop_covers_a_part(tmp_path: Path, size: int) -> None:
    config = task_models.model_config("segmentation", crop_size=None)
    config["data"]["init_args"]["test_config"]["crop_size"] = size

    data, _ = traced(tmp_path, config, split="test")

    assert "one crop of the window, picked at random" in " ".join(warning.text for warning in data.warnings)
    probabilities = data.output().probabilities
    assert probabilities is not None
    assert probabilities.shape == (3, 32, 32)
    assert int(np.isfinite(probabilities.values[0]).sum()) == min(size, 32) ** 2
    missing = np.isnan(probabilities.values[0])
    assert (data.output().prediction.values[missing] == -1).all()  # type: ignore[union-attr]
    assert np.isnan(data.output().entropy.values[missing]).all()  # type: ignore[union-attr]
