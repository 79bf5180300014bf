from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from config_project import ProjectFolder

from olmoearth_nb.config import ObjectSpec, RunConfig, load_run_config
from olmoearth_nb.config.runconfig import read_run_config
from olmoearth_nb.errors import ConfigError
from olmoearth_nb.types import StepName

Keys = tuple[str | int, ...]


def put(folder: ProjectFolder, keys: Keys, value: Any) -> Path:
    target: Any = folder.run_config
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    folder.write()
    return folder.path / "olmoearth_run.yaml"


def test_sections_and_defaults(folder: ProjectFolder) -> None:
    config = load_run_config(folder.path / "olmoearth_run.yaml")
    assert config.window_prep is not None
    assert config.window_prep.split_property == "split"
    assert config.window_prep.group_name == "spatial"
    assert config.problems == ()
    assert config.unknown_keys == ()
    spec = config.require("partition_strategies", step="partition").prepare_window_geometries
    assert spec.path == "partition_strategies.prepare_window_geometries"
    assert spec.arguments["grid_size"] == 64
    assert len(config.specs()) == 8


def test_empty_init_args_mean_no_arguments(folder: ProjectFolder) -> None:
    config = load_run_config(folder.path / "olmoearth_run.yaml")
    assert config.specs()["postprocessing_strategies.process_dataset"].arguments == {}


def test_a_bare_name_describes_an_object(folder: ProjectFolder) -> None:
    path = put(folder, ("window_prep", "sampler"), "NoopSampler")
    assert load_run_config(path).specs()["window_prep.sampler"].target == "NoopSampler"


def test_callables_are_specs_too() -> None:
    spec = ObjectSpec({"_module_": "rasterio.crs", "_callable_": "CRS.from_epsg", "code": 3857}, "a.crs")
    assert spec.target == "rasterio.crs.CRS.from_epsg"
    assert spec.arguments == {"code": 3857}
    assert spec.arguments_path == "a.crs"


@pytest.mark.parametrize("section", ["partition_strategies", "postprocessing_strategies", "window_prep"])
def test_a_section_may_be_missing_until_somebody_needs_it(folder: ProjectFolder, section: Any) -> None:
    del folder.run_config[section]
    folder.write()
    config = load_run_config(folder.path / "olmoearth_run.yaml")
    with pytest.raises(ConfigError, match=rf"olmoearth_run\.yaml: The section {section} is missing; the step x needs"):
        config.require(section, step="x")


def test_only_what_a_step_needs_has_to_be_right(folder: ProjectFolder) -> None:
    path = put(folder, ("window_prep", "label_layer"), 3)
    config = read_run_config(path)
    assert config.require("partition_strategies", step="partition") is not None
    with pytest.raises(ConfigError, match=r"window_prep\.label_layer: It is 3\. Expected text"):
        config.require("window_prep", step="prepare_labeled_windows")
    with pytest.raises(ConfigError, match=r"window_prep\.label_layer"):
        load_run_config(path)


CLASSES: Keys = ("inference_results_config", "classification_fields", 0, "allowed_values")


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("window_prep",), [1], r"window_prep: It is \[1\]\. Expected a mapping"),
        (
            ("window_prep", "data_splitter"),
            None,
            r"window_prep\.data_splitter: It describes no object: give it a class",
        ),
        (("window_prep", "data_splitter"), {"init_args": {}}, r"window_prep\.data_splitter: It describes no object"),
        (("partition_strategies",), {}, r"partition_strategies\.partition_request_geometry: This key is missing"),
        (
            ("inference_results_config", "data_type"),
            "rastr",
            r"data_type: It is 'RASTR'\. Expected 'RASTER' or 'VECTOR'",
        ),
        ((*CLASSES, 0, "color"), [1, 2], r"\[0\]\.color: A color is \[red, green, blue\].*not \[1, 2\]"),
        ((*CLASSES, 1, "color"), [1, 2, 256], r"allowed_values\[1\]\.color: .*each 0\.\.255, not \[1, 2, 256\]"),
        ((*CLASSES, 0, "color"), [0.1, 0.2, 0.3], r"each 0\.\.255, not \[0\.1, 0\.2, 0\.3\]"),
        ((*CLASSES, 0, "value"), True, r"\[0\]\.value: A class value is a whole number or a text, not True"),
        ((*CLASSES, 0, "label"), False, r"\[0\]\.label: It is False\. Expected text \(in quotes"),
        (
            ("inference_results_config", "regression_fields"),
            [{"property_name": "h", "min_value": 3, "max_value": 1}],
            r"regression_fields\[0\]: The min_value \(3\) is not below max_value \(1\)",
        ),
        (
            ("inference_results_config", "regression_fields"),
            [{"property_name": "h", "min_value": "low", "max_value": 1}],
            r"regression_fields\[0\]\.min_value: It is 'low'\. Expected a number",
        ),
    ],
)
def test_mistakes_are_named_with_their_path(folder: ProjectFolder, keys: Keys, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_run_config(put(folder, keys, value))


def test_several_mistakes_are_listed_together(folder: ProjectFolder) -> None:
    put(folder, ("window_prep", "label_layer"), 3)
    path = put(folder, (*CLASSES, 0, "color"), "red")
    with pytest.raises(ConfigError, match=r"2 problems:") as caught:
        load_run_config(path)
    assert "window_prep.label_layer" in str(caught.value)
    assert "allowed_values[0].color" in str(caught.value)


@pytest.mark.parametrize("data_type", ["raster", "Raster", "RASTER"])
def test_data_type_in_any_case(folder: ProjectFolder, data_type: str) -> None:
    config = load_run_config(put(folder, ("inference_results_config", "data_type"), data_type))
    assert config.legend().data_type == "RASTER"


def test_unknown_keys_are_kept_and_listed(folder: ProjectFolder) -> None:
    folder.run_config["windowprep"] = {}
    folder.run_config["window_prep"]["label_property"] = "category"
    folder.run_config["window_prep"]["sampler"]["initargs"] = {}
    path = put(folder, (*CLASSES, 0, "colour"), [0, 0, 0])
    config = load_run_config(path)
    assert config.unknown_keys == (
        "windowprep",
        "window_prep.label_property",
        "window_prep.sampler.initargs",
        "inference_results_config.classification_fields[0].allowed_values[0].colour",
    )
    assert config.window_prep is not None
    assert config.window_prep.label_property == "category"
    assert all(problem.severity == "warning" for problem in config.problems)
    by_key = {problem.key: problem for problem in config.problems}
    assert by_key["windowprep"].fix == "Did you mean window_prep?"


def test_keys_written_twice_are_reported(folder: ProjectFolder) -> None:
    path = folder.path / "olmoearth_run.yaml"
    path.write_text(path.read_text() + "window_prep: {}\n")
    duplicate = next(problem for problem in read_run_config(path).problems if problem.severity == "warning")
    assert duplicate.key == "window_prep"
    assert "written twice" in duplicate.found


def test_the_legend_has_the_colours_of_the_file(folder: ProjectFolder) -> None:
    fields = [{"property_name": "h", "band_index": 2, "min_value": 0, "max_value": 9.5, "colormap_name": "rdylgn"}]
    put(folder, ("inference_results_config", "regression_fields"), fields)
    detections = [{"detected_object_name": "ship", "confidence_property_name": "score"}]
    legend = load_run_config(put(folder, ("inference_results_config", "detection_objects"), detections)).legend()
    assert legend.classes[0].colormap() == {0: (0, 0, 200, 255), 1: (0, 120, 0, 255)}
    assert legend.classes[0].label_of(1) == "<wood>"
    assert (legend.ranges[0].band_index, legend.ranges[0].max_value) == (2, 9.5)
    assert legend.ranges[0].colormap_name == "RdYlGn"
    assert legend.detections[0].confidence_property_name == "score"


def test_problems_know_the_steps_that_they_block(folder: ProjectFolder) -> None:
    config = read_run_config(put(folder, ("postprocessing_strategies", "process_window"), 3))
    assert config.problems[0].steps == {StepName.POSTPROCESS, StepName.COMBINE}


def test_a_legend_needs_its_section() -> None:
    with pytest.raises(ConfigError, match="inference_results_config is missing"):
        RunConfig(path=Path("olmoearth_run.yaml")).legend()
