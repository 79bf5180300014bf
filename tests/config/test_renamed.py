from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from config_project import ProjectFolder

from olmoearth_nb import Project
from olmoearth_nb.config.renamed import modern_dataset, modern_model
from olmoearth_nb.config.renamed.notice import OlderSpellingWarning

MODULE = "rslearn.train.lightning_module.RslearnLightningModule"
DATA = "rslearn.train.data_module.RslearnDataModule"
SERIES = "rslearn.models.simple_time_series.SimpleTimeSeries"
PLANETARY = "rslearn.data_sources.planetary_computer.Sentinel2"


def module(**arguments: Any) -> Any:
    modern = modern_model({"model": {"class_path": MODULE, "init_args": arguments}})
    return modern.value["model"]["init_args"]


def splits(**arguments: Any) -> Any:
    return modern_model({"data": {"class_path": DATA, "init_args": arguments}})


def source(**keys: Any) -> Any:
    layer = {"type": "raster", "band_sets": [], "data_source": keys}
    return modern_dataset({"layers": {"a": layer}}).value["layers"]["a"]["data_source"]


def test_rate_and_plateau_are_an_optimizer_and_a_scheduler() -> None:
    assert module(model=1, lr=0.0001, plateau=True, plateau_factor=0.2, plateau_min_lr=0, plateau_cooldown=10) == {
        "model": 1,
        "optimizer": {"class_path": "rslearn.train.optimizer.AdamW", "init_args": {"lr": 0.0001}},
        "scheduler": {
            "class_path": "rslearn.train.scheduler.PlateauScheduler",
            "init_args": {"factor": 0.2, "min_lr": 0, "cooldown": 10},
        },
    }


def test_what_is_given_wins_over_the_older_keys() -> None:
    assert module(lr=0.1, optimizer={"class_path": "a.B"}) == {"optimizer": {"class_path": "a.B"}}
    assert module(plateau=False, plateau_patience=3) == {}
    assert list(module(optimizer=None, lr=0.5)) == ["optimizer"]
    assert module(optimizer=None, lr=0.5)["optimizer"]["init_args"] == {"lr": 0.5}


def test_an_overlap_is_the_ratio_of_the_crop_of_its_split() -> None:
    value = splits(
        default_config={"patch_size": 64, "load_all_patches": True, "overlap_ratio": 0.125},
        val_config={"class_path": "rslearn.train.dataset.SplitConfig", "init_args": {"patch_size": 30}},
        train_config={"load_all_patches": False},
        predict_config={"crop_size": 16, "overlap_ratio": 0.25},
    ).value["data"]["init_args"]
    assert value["default_config"] == {"crop_size": 64, "load_all_crops": True, "overlap_pixels": 8}
    assert value["val_config"]["init_args"] == {"crop_size": 30, "overlap_pixels": 4}
    assert value["train_config"] == {"load_all_crops": False, "overlap_pixels": 0}
    assert value["predict_config"] == {"crop_size": 16, "overlap_pixels": 4}


def test_an_overlap_without_crops_in_order_is_dropped_and_one_without_a_size_is_named() -> None:
    assert splits(predict_config={"patch_size": 8, "overlap_ratio": 0.5}).value["data"]["init_args"] == {
        "predict_config": {"crop_size": 8}
    }
    (unclear,) = splits(predict_config={"load_all_crops": True, "overlap_ratio": 0.5}).unclear
    assert unclear.keys == ("data", "init_args", "predict_config", "overlap_ratio")
    (unclear,) = splits(test_config={"crop_size": [8, 16], "load_all_crops": True, "overlap_ratio": 0.5}).unclear
    assert "each direction" in unclear.found


def test_numbered_classes_are_named_and_stay_numbers() -> None:
    task = "rslearn.train.tasks.classification.ClassificationTask"

    def classes(**arguments: Any) -> Any:
        return modern_model({"task": {"class_path": task, "init_args": arguments}})

    assert classes(classes=[0, 1, 2]).value["task"]["init_args"] == {
        "classes": ["0", "1", "2"],
        "read_class_id": True,
    }
    assert classes(classes=[3, 7], read_class_id=True).value["task"]["init_args"]["classes"] == ["3", "7"]
    assert not classes(classes=["0", "1"]).changes
    (unclear,) = classes(classes=[1, 2]).unclear
    assert "[1, 2]" in unclear.found


def test_mixed_spellings_are_one() -> None:
    value = splits(default_config={"patch_size": 64}, predict_config={"crop_size": 32}).value["data"]["init_args"]
    assert value == {"default_config": {"crop_size": 64}, "predict_config": {"crop_size": 32}}
    (unclear,) = splits(default_config={"patch_size": 64, "crop_size": 32}).unclear
    assert "both" in unclear.found


@pytest.mark.parametrize(
    ("path", "before", "after"),
    [
        ("rslearn.train.prediction_writer.RasterMerger", {"padding": 4}, {"overlap_pixels": 8}),
        ("rslearn.train.tasks.regression.RegressionTask", {"metric_mode": "l1"}, {"metrics": ["l1"]}),
        ("rslearn.models.pick_features.PickFeatures", {"indexes": [0], "collapse": True}, {"indexes": [0]}),
        (DATA, {"use_in_memory_all_patches_dataset": True}, {"use_in_memory_dataset": True}),
        (
            "rslearn.models.olmoearth_pretrain.model.OlmoEarth",
            {"forward_kwargs": {"patch_size": 2, "fast": True}},
            {"forward_kwargs": {"fast": True}, "patch_size": 2},
        ),
    ],
)
def test_arguments_of_classes(path: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    modern = modern_model({"any": [{"class_path": path, "init_args": before}]})
    assert modern.value["any"][0]["init_args"] == after
    assert modern_model(modern.value).changes == ()


def test_channels_of_a_series_over_those_of_an_image() -> None:
    def series(bands: int, **arguments: Any) -> Any:
        return modern_model(
            {
                "model": {"class_path": SERIES, "init_args": arguments},
                "data": {"init_args": {"inputs": {"image": {"bands": ["b"] * bands}}}},
            }
        )

    assert series(12, image_channels=48).value["model"]["init_args"] == {"num_timesteps_per_forward_pass": 4}
    assert series(3, image_keys={"image": 6}).value["model"]["init_args"] == {
        "image_keys": ["image"],
        "num_timesteps_per_forward_pass": 2,
    }
    (unclear,) = series(5, image_channels=48).unclear
    assert unclear.works


def test_a_source_by_name_keeps_its_times_beside_its_arguments() -> None:
    assert source(
        name=PLANETARY, harmonize=True, cache_dir="c", duration="366d", time_offset="-180d", ingest=False
    ) == {
        "class_path": PLANETARY,
        "init_args": {"harmonize": True},
        "duration": "366d",
        "time_offset": "-180d",
        "ingest": False,
    }
    assert source(class_path="a.B", init_args={"duration": "6h", "x": 1}) == {
        "class_path": "a.B",
        "init_args": {"x": 1},
        "duration": "6h",
    }


def test_a_mosaic_a_period() -> None:
    query = {"space_mode": "PER_PERIOD_MOSAIC", "max_matches": 3, "time_mode": "WITHIN"}
    assert source(class_path="a.B", query_config=query)["query_config"] == {
        "space_mode": "MOSAIC",
        "max_matches": 3,
        "period_duration": "30d",
    }


def test_formats_and_stores_by_name() -> None:
    modern = modern_dataset(
        {
            "layers": {
                "mask": {
                    "type": "raster",
                    "band_sets": [
                        {"format": {"name": "single_image", "format": "png"}, "nodata_vals": [0, 0]},
                        {"format": "geotiff", "nodata_vals": [0, 1]},
                    ],
                },
                "output": {"type": "vector", "format": {"name": "geojson", "coordinate_mode": "crs"}},
            },
            "tile_store": {"name": "file", "root_dir": "tiles"},
        }
    )
    first, second = modern.value["layers"]["mask"]["band_sets"]
    assert first["format"]["class_path"].endswith("SingleImageRasterFormat")
    assert (first["format"]["init_args"], first["nodata_value"]) == ({"format": "png"}, 0)
    assert second["format"] == {"class_path": "rslearn.utils.raster_format.GeotiffRasterFormat"}
    assert [one.keys[-1] for one in modern.unclear] == ["nodata_vals"]
    assert modern.value["layers"]["output"]["vector_format"]["init_args"] == {"coordinate_mode": "CRS"}
    assert modern.value["tile_store"]["init_args"] == {"path_suffix": "tiles"}


def test_a_check_shows_old_and_new_and_the_line_of_what_can_not_be(folder: ProjectFolder) -> None:
    (folder.path / "model.yaml").write_text(
        "merger:\n  class_path: rslearn.train.prediction_writer.RasterMerger\n  init_args:\n    padding: 2\n"
        "    # another\n"
    )
    found = [one for one in Project(folder.path).check(model=False).problems if "older spelling" in one.found]
    assert [(one.severity, one.found) for one in found] == [
        (
            "warning",
            "An older spelling: padding: 2 → overlap_pixels: 4. "
            "Twice the padding: half of what crops share is cut from each.",
        )
    ]
    (folder.path / "model.yaml").write_text(
        "merger:\n  class_path: rslearn.train.prediction_writer.RasterMerger\n  init_args:\n    padding: 2\n"
        "    overlap_pixels: 5\n"
    )
    (problem,) = [one for one in Project(folder.path).check(model=False).problems if "has both" in one.found]
    assert problem.severity == "error"
    assert problem.found.endswith("It is in line 4.")


def test_a_run_warns_once(folder: ProjectFolder) -> None:
    (folder.path / "dataset.json").write_text('{"layers": {"a": {"type": "vector", "format": {"name": "geojson"}}}}')
    with pytest.warns(OlderSpellingWarning, match="vector_format"):
        Project(folder.path).dataset_config()
    with warnings.catch_warnings():
        warnings.simplefilter("error", OlderSpellingWarning)
        config = Project(folder.path).dataset_config()
    assert "format" not in config["layers"]["a"]


REALLY_MISSING = (
    "The file is missing.",
    "The checkpoint is missing.",
    "The section is missing.",
    "There is no request.",
)


@pytest.mark.parametrize("name", ["awf", "forest_loss_driver", "lfmc"])
def test_published_projects_only_miss_what_is_not_there(published: Callable[[str], Path], name: str) -> None:
    report = Project(published(name)).check()
    errors = [one for one in report.errors if "which is not installed" not in one.found]
    assert {one.found for one in errors} <= set(REALLY_MISSING)
    assert any("older spelling" in one.found for one in report.problems)


def test_a_class_that_moved_is_taken_from_rslearn_unless_the_projects_package_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = "olmoearth_projects.olmoearth_pretrain.norm.OlmoEarthNormalize"
    new = "rslearn.models.olmoearth_pretrain.norm.OlmoEarthNormalize"
    monkeypatch.syspath_prepend(tmp_path)
    assert modern_model({"class_path": old}).value == {"class_path": new}
    package = tmp_path / "olmoearth_projects"
    package.mkdir()
    (package / "__init__.py").touch()
    importlib.invalidate_caches()
    # A later version of the package, which no longer has it.
    assert modern_model({"class_path": old}).value == {"class_path": new}
    (package / "olmoearth_pretrain").mkdir()
    (package / "olmoearth_pretrain" / "norm.py").touch()
    importlib.invalidate_caches()
    assert modern_model({"class_path": old}).value == {"class_path": old}
    for name in [name for name in sys.modules if name.startswith("olmoearth_projects")]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize(
    "path",
    [
        "olmoearth_projects.train.segmentation_pooling_decoder.SegmentationPoolingDecoder",
        "rslp.nandi.train.SegmentationPoolingDecoder",
    ],
)
def test_a_decoder_that_moved_keeps_the_input_it_takes_its_size_from(path: str) -> None:
    new = "rslearn.models.pooling_decoder.SegmentationPoolingDecoder"
    sizes = {"in_channels": 8, "out_channels": 2}
    moved = modern_model({"class_path": path, "init_args": sizes})
    assert moved.value == {"class_path": new, "init_args": {**sizes, "image_key": "sentinel2_l2a"}}
    said = {**sizes, "image_key": "landsat"}
    assert modern_model({"class_path": path, "init_args": said}).value == {"class_path": new, "init_args": said}
