"""From ``olmoearth_config.yaml`` to the values of the three files."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from rslearn.config import DatasetConfig
from single_files import MODALITIES, TEMPORALITIES, changed, single_file

from olmoearth_nb.config.single_file import convert
from olmoearth_nb.config.single_file.network import EMBEDDING_SIZES
from olmoearth_nb.errors import ConfigError


def converted(**changes: Any) -> Any:
    return convert(yaml.safe_dump(changed(single_file(), **changes), sort_keys=False))


def arguments(value: dict[str, Any], *keys: str | int) -> Any:
    for key in keys:
        value = value[key]  # type: ignore[index]
    return value


def layer_times(layer: dict[str, Any]) -> tuple[Any, ...]:
    source = layer["data_source"]
    query = source["query_config"]
    return (
        query["space_mode"],
        query["max_matches"],
        query.get("period_duration"),
        source["duration"],
        source.get("time_offset"),
    )


@pytest.mark.parametrize("modality", MODALITIES)
@pytest.mark.parametrize("temporality", TEMPORALITIES)
def test_every_modality_at_every_time(modality: str, temporality: str) -> None:
    given, facts = MODALITIES[modality], {"sentinel1_rtc": "sentinel1"}.get(modality, modality)
    project = converted(
        data__temporality=TEMPORALITIES[temporality].given,
        data__modalities={modality: {**given, "space_mode": "mosaic"}},
    )
    layers = {name: layer for name, layer in project.dataset["layers"].items() if name.startswith(facts)}
    expected = TEMPORALITIES[temporality].layers
    assert {name.removeprefix(facts): layer_times(layer) for name, layer in layers.items()} == expected
    # The model reads each image, in the order of the layers.
    read = project.model["data"]["init_args"]["inputs"][facts]["layers"]
    assert read == [
        f"{facts}{suffix}" + (f".{index}" if index else "")
        for suffix, layer in expected.items()
        for index in range(layer[1])
    ]
    validated = DatasetConfig.model_validate(project.dataset)
    assert [list(band_set.bands) for band_set in validated.layers[next(iter(layers))].band_sets] == [
        project.model["data"]["init_args"]["inputs"][facts]["bands"]
    ]


def test_images_that_contain_a_window() -> None:
    project = converted(data__modalities__sentinel2_l2a__space_mode="contains")
    assert layer_times(project.dataset["layers"]["sentinel2_l2a"]) == ("CONTAINS", 3, "30d", "90d", None)


@pytest.mark.parametrize(("orbit", "state"), [("ascending_orbit", "ascending"), ("descending_orbit", "descending")])
def test_the_orbit_of_radar(orbit: str, state: str) -> None:
    project = converted(data__modalities={"sentinel1_rtc": {"space_mode": "mosaic", "orbit_direction": orbit}})
    source = project.dataset["layers"]["sentinel1"]["data_source"]
    assert source["init_args"]["query"]["sat:orbit_state"] == {"eq": state}
    transforms = project.model["data"]["init_args"]["default_config"]["transforms"]
    assert [one["class_path"].rpartition(".")[2] for one in transforms] == ["Sentinel1ToDecibels", "OlmoEarthNormalize"]


@pytest.mark.parametrize(
    ("decoder", "names"),
    [("unet", ["UNetDecoder", "SegmentationHead"]), ("upsample_conv", ["Upsample", "Conv", "SegmentationHead"])],
)
def test_decoders_of_pixels(decoder: str, names: list[str]) -> None:
    project = converted(model__tasks__category__decoder={"name": decoder})
    layers = project.model["model"]["init_args"]["model"]["init_args"]["decoder"]
    assert [layer["class_path"].rpartition(".")[2] for layer in layers] == names
    assert project.model["data"]["init_args"]["task"]["init_args"]["num_classes"] == 3


def test_measurements_of_pixels() -> None:
    field = {"field_type": "regression", "min_value": 0, "max_value": 50, "nodata_value": -1}
    for task in ("regression", "per_pixel_regression"):
        project = converted(
            data__output__fields={"height": field}, model__tasks={"height": {"name": task, "decoder": {"name": "unet"}}}
        )
        data = project.model["data"]["init_args"]
        assert data["task"]["class_path"].endswith("PerPixelRegressionTask")
        assert data["inputs"]["targets"]["dtype"] == "FLOAT32"
        assert project.dataset["layers"]["output"]["band_sets"] == [{"bands": ["output"], "dtype": "float32"}]
        assert project.run["inference_results_config"]["regression_fields"][0]["max_value"] == 50


@pytest.mark.parametrize(
    ("task", "classes"),
    [
        ("classification", ["ClassificationHead", "ClassificationTask"]),
        ("regression", ["RegressionHead", "RegressionTask"]),
    ],
)
def test_results_of_windows(task: str, classes: list[str]) -> None:
    field: dict[str, Any] = single_file()["data"]["output"]["fields"]["category"]
    field = (
        {"allowed_values": field["allowed_values"]} if task == "classification" else {"min_value": 0, "max_value": 1}
    )
    project = converted(
        data__output={"data_type": "vector", "fields": {"kind": {"field_type": task, **field}}},
        model__tasks={"kind": {"name": task, "decoder": {"name": "pooling"}}},
        labeled_data_prep__window_preparer={"name": "point_to_pixel"},
        prediction_requests__postprocessors={},
    )
    decoder = project.model["model"]["init_args"]["model"]["init_args"]["decoder"]
    names = [decoder[-1]["class_path"], project.model["data"]["init_args"]["task"]["class_path"]]
    assert [name.rpartition(".")[2] for name in names] == classes
    assert project.dataset["layers"]["labels"] == project.dataset["layers"]["output"] == {"type": "vector"}
    assert project.run["postprocessing_strategies"]["process_dataset"]["class_path"].endswith("CombineGeojson")


def test_partitioners() -> None:
    grid = {"name": "grid", "grid_size": 64, "overlap_size": 2, "clip": True}
    crs = {"method": "crs", "crs": "EPSG:32631", "x_resolution": 20, "y_resolution": -20}
    project = converted(
        prediction_requests__partitioners__request_to_partitions={"name": "noop"},
        prediction_requests__partitioners__partition_to_windows={**grid, "projection": crs},
    )
    strategies = project.run["partition_strategies"]
    assert strategies["partition_request_geometry"]["class_path"].endswith(".NoopPartitioner")
    given = strategies["prepare_window_geometries"]["init_args"]
    assert given["output_projection"]["init_args"] == {"crs": "EPSG:32631", "x_resolution": 20, "y_resolution": -20}
    assert {key: given[key] for key in ("grid_size", "overlap_size", "clip")} == {
        "grid_size": 64,
        "overlap_size": 2,
        "clip": True,
    }
    assert "use_utm" not in given
    utm = converted().run["partition_strategies"]["prepare_window_geometries"]["init_args"]
    assert utm["use_utm"]
    assert utm["output_projection"]["init_args"]["x_resolution"] == 10


def test_postprocessors() -> None:
    transform = {"type": "linear", "scale": 2.0, "output_dtype": "uint8"}
    project = converted(
        prediction_requests__postprocessors={
            "window": {"name": "noop"},
            "partition": {"name": "noop"},
            "request": {"name": "combine_geotiff", "max_pixels_per_dimension": 500, "value_transform": transform},
        }
    )
    steps = project.run["postprocessing_strategies"]
    assert steps["process_partition"]["class_path"].endswith(".NoopRaster")
    assert steps["process_dataset"]["init_args"] == {
        "max_pixels_per_dimension": 500,
        "nodata_value": 255,
        "value_transform": {"type": "linear", "scale": 2.0, "offset": 0.0, "output_dtype": "uint8"},
    }


@pytest.mark.parametrize(
    ("part", "given", "name", "expected"),
    [
        ("sampler", {"name": "noop"}, "NoopSampler", {}),
        ("sampler", {"name": "choose_n", "n": 5}, "ChooseNSampler", {"n": 5}),
        (
            "window_preparer",
            {"name": "point_to_raster", "window_buffer": 4},
            "PointToRasterWindowPreparer",
            {"window_buffer": 4, "window_resolution": 10, "dtype": "uint8", "nodata_value": 255},
        ),
        (
            "window_preparer",
            {"name": "polygon_to_raster", "gridding_strategy": "pad_to_fill", "drop_inconsistent_utm": True},
            "PolygonToRasterWindowPreparer",
            {
                "window_resolution": 10,
                "nodata_value": 255,
                "grid_config": {"window_size_px": 16, "gridding_strategy": "pad_to_fill"},
                "drop_inconsistent_utm": True,
            },
        ),
        (
            "data_splitter",
            {"name": "random", "train_prop": 0.5, "val_prop": 0.5, "test_prop": 0},
            "RandomDataSplitter",
            {"train_prop": 0.5, "val_prop": 0.5, "test_prop": 0, "seed": 42},
        ),
        (
            "data_splitter",
            {"name": "spatial", "train_prop": 0.5, "val_prop": 0.5, "test_prop": 0, "grid_size": 8},
            "SpatialDataSplitter",
            {"train_prop": 0.5, "val_prop": 0.5, "test_prop": 0, "grid_size": 8},
        ),
    ],
)
def test_preparation_of_labels(part: str, given: dict[str, Any], name: str, expected: dict[str, Any]) -> None:
    section = converted(**{f"labeled_data_prep__{part}": given}).run["window_prep"]
    one = section["labeled_window_preparer" if part == "window_preparer" else part]
    assert one["class_path"].endswith(f".{name}")
    assert one.get("init_args", {}) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (
            {"name": "registry", "model_name": "m", "embedding_size": 9},
            {"model_path": "${EXTRA_FILES_PATH}", "embedding_size": 9},
        ),
        ({"name": "model_path", "model_path": "/m", "embedding_size": 9}, {"model_path": "/m", "embedding_size": 9}),
        (
            {"name": "distributed_checkpoint", "checkpoint_path": "/c", "embedding_size": 9},
            {"checkpoint_path": "/c", "embedding_size": 9},
        ),
        ({"name": "huggingface", "model_id": "OLMOEARTH_V1_BASE"}, {"model_id": "OLMOEARTH_V1_BASE"}),
    ],
)
def test_where_encoders_come_from(source: dict[str, Any], expected: dict[str, Any]) -> None:
    changes = {"model__encoder__source": source, "model__tasks__category__decoder": {"name": "unet"}}
    network = converted(**changes).model["model"]["init_args"]["model"]["init_args"]
    assert network["encoder"][0]["init_args"] == {"patch_size": 4, **expected}
    size = expected.get("embedding_size", 768)
    assert network["decoder"][0]["init_args"]["in_channels"] == [[4, size]]


def test_each_split_has_its_preprocessing() -> None:
    flip = {"name": "random_flip", "y": False}
    sections = {
        "default": {"input_size": 16},
        "train": {"input_size": 8, "additional_transforms": [flip], "sampler": {"name": "random", "num_samples": 4}},
        "val": {"transforms": []},
        "predict": {"overlap_pixels": 4},
    }
    data = converted(input_preprocessing=sections).model["data"]["init_args"]
    train, predict = data["train_config"], data["predict_config"]
    assert (train["crop_size"], train["sampler"]["init_args"]["num_samples"]) == (8, 4)
    assert train["transforms"][-1]["init_args"]["vertical"] is False
    assert train["transforms"][-1]["init_args"]["image_selectors"] == [
        "sentinel2_l2a",
        "target/classes",
        "target/valid",
    ]
    assert len(data["val_config"]["transforms"]) == 1
    assert "transforms" not in data["test_config"]
    assert (predict["overlap_pixels"], predict["load_all_crops"], predict["skip_targets"]) == (4, True, True)


def test_the_newer_form_has_lists_and_several_tasks() -> None:
    values = single_file()["data"]["output"]["fields"]["category"]["allowed_values"]
    layers = [{"class_path": "rslearn.train.tasks.segmentation.SegmentationHead"}]
    task = {"class_path": "rslearn.train.tasks.segmentation.SegmentationTask", "init_args": {"num_classes": 3}}
    every_week = {"name": "repeating_interval", "num_periods": 2, "period_duration_days": 7, "recovery_periods": 1}
    project = converted(
        data__temporality={
            "name": "framed_point_in_time",
            "lookbehind_observations": [
                {"offset_days": 90, "observation": {**every_week, "num_periods": 16, "recovery_periods": 0}},
                {"offset_days": 0, "observation": every_week},
            ],
        },
        data__output__fields=[
            {"name": name, "field_type": "segmentation", "allowed_values": values} for name in ("before", "after")
        ],
        model__tasks={name: {"name": "manual", "decoder_layers": layers, "task": task} for name in ("before", "after")},
        model__encoder__token_pooling=False,
        prediction_requests__postprocessors={"additional_steps": []},
        labeled_data_prep=None,
        training=None,
    )
    assert project.warnings == ()
    layer = project.dataset["layers"]["sentinel2_l2a_lookbehind_0"]
    assert layer_times(layer) == ("MOSAIC", 16, "7d", "112d", "-202d")
    assert layer_times(project.dataset["layers"]["sentinel2_l2a_lookbehind_1"]) == ("MOSAIC", 2, "7d", "21d", "-21d")
    # Oldest first, as its models are trained; version 0.1.14 has the newest first.
    assert layer["data_source"]["query_config"]["per_period_mosaic_reverse_time_order"] is False
    assert project.dataset["layers"]["output"]["band_sets"] == [{"bands": ["before", "after"], "dtype": "uint8"}]
    assert project.model["trainer"]["callbacks"][0]["init_args"]["fields"] == ["before", "after"]
    assert project.model["model"]["init_args"]["model"]["init_args"]["decoders"] == {"before": layers, "after": layers}
    fields = project.run["inference_results_config"]["classification_fields"]
    assert [(one["property_name"], one["band_index"]) for one in fields] == [("before", 1), ("after", 2)]


def test_sections_that_are_not_there_are_not_made() -> None:
    project = converted(model=None, training=None, labeled_data_prep=None, prediction_requests=None)
    assert project.model is None
    assert list(project.texts) == ["dataset.json", "olmoearth_run.yaml"]
    assert list(project.run) == ["inference_results_config"]


def test_embedding_sizes_are_those_of_rslearn() -> None:
    from rslearn.models.olmoearth_pretrain.model import EMBEDDING_SIZES as THEIRS

    assert {one.name: size for one, size in THEIRS.items()} == EMBEDDING_SIZES


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"config_versoin": "0.1.0", "config_version": None}, "config_version: This key is missing.*config_versoin"),
        ({"data__temporality__name": "perod"}, r"data.temporality.name: It is 'perod' \(line \d+\).*mean period"),
        ({"data__temporality__observation__num_periods": 0}, r"observation.num_periods: It is 0 \(line"),
        (
            {"data__temporality__observation__num_periods": "x"},
            r"num_periods: It is 'x' \(line \d+\). Expected a whole number",
        ),
        (
            {"data__modalities": {}},
            "data.modalities: No modality is given; there are sentinel2_l2a, sentinel1_rtc, landsat",
        ),
        ({"model__encoder__source__model_id": "OLMOEARTH_V1_NANNO"}, "source.model_id.*Did you mean OLMOEARTH_V1_NANO"),
        ({"model__encoder__name": "manual"}, "model.encoder.name.*Expected olmoearth"),
        ({"model__encoder__patch_size": 9}, "model.encoder.patch_size: It is 9"),
        ({"model__tasks__category__name": "classification"}, "model.tasks.category"),
        ({"model__tasks": {"categry": {"name": "segmentation", "decoder": {"name": "unet"}}}}, "Did you mean category"),
        ({"input_preprocessing": None}, "input_preprocessing: The section is missing; a model needs it"),
        ({"labeled_data_prep__data_splitter__val_prop": 0.5}, "data_splitter: The proportions sum to 1.25"),
        (
            {"labeled_data_prep__window_preparer": {"name": "point_to_pixel"}},
            "Expected point_to_raster, polygon_to_raster",
        ),
        ({"prediction_requests__postprocessors__window": {"name": "combine_geotiff"}}, "postprocessors.window.name"),
        (
            {"prediction_requests__partitioners__partition_to_windows__projection": {"method": "utm"}},
            "Did you mean use_utm",
        ),
        ({"data__output__fields__category__allowed_values": []}, "allowed_values"),
        ({"training__optimizer": {"name": "adamw"}}, "training.optimizer.lr: This key is missing"),
    ],
)
def test_mistakes_name_their_key(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        converted(**changes)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"(?s)2 problems.*patch_size.*input_size"):
        converted(model__encoder__patch_size="big", input_preprocessing__default__input_size="small")


def test_what_looks_wrong_is_a_warning() -> None:
    project = converted(
        data__temporality={"name": "point_in_time", "observation_window_seconds": 86400},
        input_preprocessing__default__transforms=[{"name": "olmoearth_normalize"}],
        training__patience=3,
        data__output__fields__category__allowed_values=[{"value": 7, "label": "x", "color": [1, 2, 3]}],
    )
    assert {problem.key for problem in project.warnings} == {
        "data.modalities.sentinel2_l2a.space_mode",
        "input_preprocessing.default.transforms[0]",
        "training.patience",
        "data.output.fields.category.allowed_values",
    }
    assert {problem.severity for problem in project.warnings} == {"warning"}
    # Once, not twice as it is written.
    assert len(project.model["data"]["init_args"]["default_config"]["transforms"]) == 1
