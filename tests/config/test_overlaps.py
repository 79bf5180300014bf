from __future__ import annotations

import pytest
from config_project import ProjectFolder

from olmoearth_nb.config import Problem, Project
from olmoearth_nb.types import StepName

TASK = "model.yaml: data.init_args.task.init_args"
BANDS = "dataset.json: layers.output.band_sets[0]"
WINDOWS = "olmoearth_run.yaml: partition_strategies.prepare_window_geometries.init_args.overlap_size"


def blend(folder: ProjectFolder, *, overlap_size: int = 8, **stages: str) -> None:
    for stage, overlap in stages.items():
        entry = {"class_path": "CombineGeotiff", "init_args": {"nodata_value": 255, "overlap": overlap}}
        folder.run_config["postprocessing_strategies"][f"process_{stage}"] = entry
    windows = folder.run_config["partition_strategies"]["prepare_window_geometries"]
    windows["init_args"]["overlap_size"] = overlap_size


def output(folder: ProjectFolder, dtype: str, *bands: str) -> None:
    folder.dataset["layers"]["output"]["band_sets"] = [{"dtype": dtype, "bands": list(bands)}]


def problems(folder: ProjectFolder) -> dict[str, Problem]:
    folder.write()
    return {f"{one.file}: {one.key}": one for one in Project(folder.path).check(model=False).problems}


@pytest.mark.parametrize("overlap", ["mean", "classes"])
def test_probabilities_can_be_blended(folder: ProjectFolder, overlap: str) -> None:
    blend(folder, partition=overlap, dataset=overlap)
    folder.model("num_classes: 2", "num_classes: 2\n        output_probs: true")
    output(folder, "float32", "dry", "wet")
    assert problems(folder) == {}


def test_classes_can_not_and_the_error_says_what_to_add(folder: ProjectFolder) -> None:
    blend(folder, partition="mean", dataset="classes")
    found = problems(folder)
    assert set(found) == {f"{TASK}.output_probs", f"{BANDS}.dtype", f"{BANDS}.bands"}
    problem = found[f"{TASK}.output_probs"]
    assert problem.severity == "error"
    assert problem.steps == {StepName.INFERENCE, StepName.POSTPROCESS, StepName.COMBINE}
    assert problem.found == "The model writes classes, and overlap: classes in olmoearth_run.yaml blends probabilities."
    assert problem.fix is not None
    assert problem.fix.startswith(
        "Add output_probs: true here, and in dataset.json give layers.output a band of float32"
    )


def test_a_task_among_several_is_found_by_its_name(folder: ProjectFolder) -> None:
    blend(folder, dataset="mean")
    output(folder, "float32", "dry", "wet")
    old = "class_path: rslearn.train.tasks.segmentation.SegmentationTask\n      init_args:\n        num_classes: 2"
    new = """class_path: rslearn.train.tasks.multi_task.MultiTask
      init_args:
        input_mapping: {wetness: {targets: targets}}
        tasks:
          wetness:
            class_path: rslearn.train.tasks.segmentation.SegmentationTask
            init_args: {num_classes: 2}"""
    folder.model(old, new)
    assert set(problems(folder)) == {f"{TASK}.tasks.wetness.init_args.output_probs"}


def test_a_single_probability_has_no_greatest_one(folder: ProjectFolder) -> None:
    folder.model("num_classes: 2", "num_classes: 2\n        output_probs: true\n        output_class_idx: 1")
    output(folder, "float32", "wet")
    blend(folder, dataset="mean")
    assert problems(folder) == {}
    blend(folder, dataset="classes")
    assert set(problems(folder)) == {f"{TASK}.output_class_idx", f"{BANDS}.bands"}


def test_a_band_for_each_class(folder: ProjectFolder) -> None:
    folder.model("num_classes: 2", "num_classes: 2\n        output_probs: true")
    output(folder, "float32", "wet")
    blend(folder, dataset="mean")
    found = problems(folder)
    assert [one.found for one in found.values()] == [
        "There are 1, and the model writes the probabilities of 2 classes."
    ]


def test_what_blends_little_or_nothing_is_a_warning(folder: ProjectFolder) -> None:
    folder.model("num_classes: 2", "num_classes: 2\n        output_probs: true")
    output(folder, "float32", "dry", "wet")
    blend(folder, partition="mean", dataset="first", overlap_size=0)
    found = problems(folder)
    assert set(found) == {
        WINDOWS,
        "olmoearth_run.yaml: postprocessing_strategies.process_dataset.init_args.overlap",
    }
    assert {one.severity for one in found.values()} == {"warning"}
