from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from config_project import ProjectFolder

from olmoearth_nb.config import Problem, Project
from olmoearth_nb.types import StepName

Change = Callable[[ProjectFolder], None]


def only(folder: ProjectFolder) -> Problem:
    folder.write()
    problems = Project(folder.path).check(model=False).problems
    assert len(problems) == 1, problems
    return problems[0]


def test_a_missing_label_layer_is_an_error_that_names_the_nearest(folder: ProjectFolder) -> None:
    folder.run_config["window_prep"]["label_layer"] = "labels"
    problem = only(folder)
    assert problem.key == "window_prep.label_layer"
    assert problem.found.startswith("dataset.json has no layer 'labels'")
    assert problem.fix == "Did you mean label?"
    assert problem.severity == "error"
    assert problem.steps == {StepName.BUILD_DATASET_FROM_WINDOWS, StepName.FINE_TUNE}


def test_vector_labels_need_a_vector_layer(folder: ProjectFolder) -> None:
    folder.run_config["window_prep"]["labeled_window_preparer"] = {"class_path": "PointToPixelWindowPreparer"}
    problem = only(folder)
    assert problem.key == "layers.label.type"
    assert problem.found == "The window preparer makes vector labels, and the layer is raster."
    assert problem.steps == {StepName.PREPARE_LABELED_WINDOWS}


def test_bands_of_the_label_layer(folder: ProjectFolder) -> None:
    band_set = folder.dataset["layers"]["label"]["band_sets"][0]
    band_set["bands"] = ["category", "height"]
    problem = only(folder)
    assert problem.key == "layers.label.band_sets"
    assert "the labels category, and the bands are [['category', 'height']]" in problem.found
    # One label and one band need not have the same name.
    band_set["bands"] = ["kind"]
    folder.write()
    folder.model('bands: ["category"]', 'bands: ["kind"]')
    assert Project(folder.path).check(model=False).problems == ()


def test_type_of_the_label_layer(folder: ProjectFolder) -> None:
    folder.dataset["layers"]["label"]["band_sets"][0]["dtype"] = "uint8"
    problem = only(folder)
    assert (problem.key, problem.severity) == ("layers.label.band_sets[0].dtype", "warning")
    assert problem.found == "The window preparer makes int32 labels, and uint8 does not hold all their values."
    assert problem.fix == "Make the layer int32."


SEGMENTS, OBJECTS = "rslearn.train.tasks.segmentation.SegmentationTask", "rslearn.train.tasks.detection.DetectionTask"
RASTER = {"type": "raster", "band_sets": [{"bands": ["output"], "dtype": "uint8"}]}
HEIGHT = {"property_name": "height", "band_index": 1, "min_value": 0, "max_value": 1}
MANY = {"property_name": "kind", "band_index": 1, "allowed_values": [{"value": 300, "label": "a", "color": [1, 2, 3]}]}


@pytest.mark.parametrize(
    ("results", "layer"),
    [
        ({}, RASTER),
        ({"data_type": "VECTOR"}, {"type": "vector"}),
        ({"classification_fields": None, "regression_fields": [HEIGHT]}, "float32"),
        ({"classification_fields": [MANY]}, "int32"),
    ],
)
def test_a_missing_output_layer_is_written_out(folder: ProjectFolder, results: dict[str, Any], layer: Any) -> None:
    del folder.dataset["layers"]["output"]
    folder.run_config["inference_results_config"].update(results)
    folder.write()
    (problem,) = [one for one in Project(folder.path).check(model=False).problems if one.key == "layers.output"]
    assert problem.steps == {StepName.INFERENCE}
    assert problem.fix is not None
    said = json.loads("{" + problem.fix.removeprefix("Add one: ").removesuffix(".") + "}")["output"]
    assert (said["band_sets"][0]["dtype"] if isinstance(layer, str) else said) == layer


@pytest.mark.parametrize(
    ("layer", "task", "fix"),
    [
        ({"type": "vector"}, SEGMENTS, "Change the layer: SegmentationTask of model.yaml writes raster results."),
        ({"type": "vector"}, OBJECTS, "Change data_type and the postprocessing in olmoearth_run.yaml: DetectionTask"),
        ({"type": "vector"}, "mine.Task", "Change one of them."),
        (RASTER, OBJECTS, "Change the layer and data_type, or the task."),
    ],
)
def test_an_output_layer_of_another_kind(folder: ProjectFolder, layer: dict[str, Any], task: str, fix: str) -> None:
    folder.dataset["layers"]["output"] = layer
    folder.write()
    folder.model(SEGMENTS, task)
    problem = only(folder)
    assert problem.key == "layers.output.type"
    assert problem.found.startswith(f"The layer is {layer['type']}, and ")
    assert problem.fix is not None
    assert problem.fix.startswith(fix)


@pytest.mark.parametrize(
    ("old", "new", "key", "found", "steps"),
    [
        (
            '["imagery", "imagery.1"]',
            '["imagery", "imageri.1"]',
            "data.init_args.inputs.image.layers[1]",
            "dataset.json has no layer 'imageri'.",
            {StepName.INFERENCE, StepName.FINE_TUNE},
        ),
        (
            '["B02", "B03"]',
            '["B02", "B04", "B8A"]',
            "data.init_args.inputs.image.bands",
            "The layer 'imagery' of dataset.json has no bands B04, B8A.",
            {StepName.INFERENCE, StepName.FINE_TUNE},
        ),
        (
            'layers: ["label"]',
            'layers: ["labels"]',
            "data.init_args.inputs.targets.layers[0]",
            "dataset.json has no layer 'labels'.",
            {StepName.FINE_TUNE},
        ),
        (
            'data_type: raster\n        layers: ["label"]',
            'data_type: vector\n        layers: ["label"]',
            "data.init_args.inputs.targets.data_type",
            "It is 'vector', and the layer 'label' of dataset.json is raster.",
            {StepName.FINE_TUNE},
        ),
    ],
)
def test_inputs_of_the_model(folder: ProjectFolder, old: str, new: str, key: str, found: str, steps: Any) -> None:
    folder.model(old, new)
    problem = only(folder)
    assert (problem.key, problem.found, problem.severity) == (key, found, "error")
    assert problem.steps == steps


def test_an_input_that_may_be_missing_is_a_warning(folder: ProjectFolder) -> None:
    folder.model('["imagery", "imagery.1"]', '["imageri"]\n        required: false')
    assert only(folder).severity == "warning"


@pytest.mark.parametrize(
    ("old", "new", "key", "found"),
    [
        (
            "groups: [spatial]\n      tags: {split: train}",
            "groups: [other]\n      tags: {split: train}",
            "data.init_args.train_config.groups",
            "It is ['other'], and window_prep.group_name is 'spatial'.",
        ),
        (
            "tags: {split: val}",
            "tags: {part: val}",
            "data.init_args.val_config.tags",
            "It does not select a split: windows have it as 'split'.",
        ),
        (
            "tags: {split: test}",
            "tags: {split: testing}",
            "data.init_args.test_config.tags.split",
            "It is 'testing'; splits are train, val and test.",
        ),
    ],
)
def test_splits(folder: ProjectFolder, old: str, new: str, key: str, found: str) -> None:
    folder.model(old, new)
    problem = only(folder)
    assert (problem.key, problem.found, problem.severity) == (key, found, "warning")


def test_the_legend(folder: ProjectFolder) -> None:
    results = folder.run_config["inference_results_config"]
    results["classification_fields"][0]["allowed_values"][1]["value"] = 0
    problem = only(folder)
    assert problem.key == "inference_results_config.classification_fields[0].allowed_values"
    assert problem.found == "The value 0 is given twice; the last one counts."
    assert problem.severity == "warning"
    results["classification_fields"][0]["allowed_values"][1]["value"] = 1
    results["classification_fields"][0]["band_index"] = 0
    assert only(folder).found == "It is 0; bands are counted from 1."
    results["classification_fields"] = None
    results["regression_fields"] = [{"property_name": "h", "min_value": 0, "max_value": 1, "colormap_name": "virids"}]
    assert only(folder).key == "inference_results_config.regression_fields[0].colormap_name"
