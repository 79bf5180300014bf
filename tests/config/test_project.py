from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from config_project import SQUARE, TIMES, ProjectFolder, collection, feature

from olmoearth_nb.config import FINE_TUNE_STEPS, PREDICT_STEPS, Project
from olmoearth_nb.errors import ConfigError, ProjectError, UsageError
from olmoearth_nb.types import StepName

REQUEST = collection(feature(SQUARE, **TIMES))


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"nowhere: The project folder is missing\. Expected a folder with dataset"):
        Project(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(ProjectError, match="The project is a file"):
        Project(tmp_path / "file")


def test_relative_paths_become_absolute(folder: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.path.parent)
    project = Project("project")
    monkeypatch.chdir("/")
    assert project.name == "project"
    assert project.run_config_path == folder.path / "olmoearth_run.yaml"
    assert project.run_config.window_prep is not None
    assert project.request() == folder.path / "prediction_request_geometry.geojson"
    assert project.search_path == (folder.path, folder.path.parent)
    assert project.checkpoint_path == folder.path / "checkpoint.ckpt"
    assert project.extra_files_path is None
    assert project.annotation_paths[1] == folder.path / "annotation_features.geojson"


def test_requests(folder: ProjectFolder) -> None:
    project = Project(folder.path)
    for name in ("b", "a", "prediction_request_geometry"):
        folder.json(f"prediction/{name}.geojson", REQUEST)
    own = folder.path / "prediction_request_geometry.geojson"
    assert list(project.requests) == [
        "prediction_request_geometry",
        "a",
        "b",
        "prediction/prediction_request_geometry",
    ]
    assert project.request() == own
    assert project.request("a") == folder.path / "prediction" / "a.geojson"
    with pytest.raises(ProjectError, match=r"There is no request 'bb'\. Expected one of .*Did you mean b\?"):
        project.request("bb")
    own.unlink()
    (folder.path / "prediction" / "prediction_request_geometry.geojson").unlink()
    with pytest.raises(ProjectError, match=r"There are 2 requests\. Name one: a, b"):
        project.request()
    (folder.path / "prediction" / "b.geojson").unlink()
    assert project.request() == folder.path / "prediction" / "a.geojson"
    (folder.path / "prediction" / "a.geojson").unlink()
    with pytest.raises(ProjectError, match=r"There is no request\. Expected prediction_request_geometry\.geojson, or"):
        project.request()


def test_the_configuration_is_read_again_when_it_has_changed(folder: ProjectFolder) -> None:
    project = Project(folder.path)
    assert project.run_config is project.run_config
    folder.run_config["window_prep"]["group_name"] = "something else"
    folder.write()
    prep = project.run_config.require("window_prep", step="x")
    assert prep.group_name == "something else"
    project.run_config_path.unlink()
    with pytest.raises(ConfigError, match=r"olmoearth_run\.yaml: The configuration file is missing"):
        _ = project.run_config


def test_the_legend_is_optional_but_never_wrong(folder: ProjectFolder) -> None:
    project = Project(folder.path)
    assert project.legend is not None
    assert project.legend.classes[0].label_of(0) == "water"
    results = folder.run_config.pop("inference_results_config")
    folder.write()
    assert project.legend is None
    results["data_type"] = "audio"
    folder.run_config["inference_results_config"] = results
    folder.write()
    with pytest.raises(ConfigError, match=r"inference_results_config\.data_type: It is 'AUDIO'"):
        _ = project.legend


def test_a_right_project_can_do_everything(folder: ProjectFolder) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")}
    report = Project(folder.path).check()
    assert report.problems == ()
    assert report.ok
    assert report.steps == dict.fromkeys(StepName, True)
    report.raise_for(*StepName)
    assert {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")} == before


@pytest.mark.parametrize("name", ["olmoearth_run.yaml", "dataset.json", "model.yaml"])
def test_missing_files_are_reported(folder: ProjectFolder, name: str) -> None:
    (folder.path / name).unlink()
    report = Project(folder.path).check(model=False)
    problem = next(problem for problem in report.problems if problem.file == name)
    assert "is missing" in problem.found
    assert StepName.INFERENCE in problem.steps
    assert not report.ok


def test_everything_wrong_is_found_at_once(folder: ProjectFolder) -> None:
    strategies = folder.run_config["partition_strategies"]
    strategies["prepare_window_geometries"]["init_args"]["grid_size"] = -3
    strategies["partition_request_geometry"]["class_path"] = "GridPartitoner"
    folder.run_config["postprocessing_strategies"]["process_dataset"] = {"class_path": "SimplifyPolygons"}
    folder.run_config["window_prep"]["data_splitter"]["init_args"]["grid_siz"] = 2
    folder.dataset["layers"]["imagery"]["data_source"]["class_path"] = "rslearn.data_sources.nowhere.Nothing"
    folder.write()
    folder.model("rslearn.models.swin.Swin", "rslearn.models.swin.Swan")
    (folder.path / "checkpoint.ckpt").unlink()
    report = Project(folder.path).check()
    assert {(problem.file, problem.key): set(problem.steps) for problem in report.problems} == {
        ("olmoearth_run.yaml", "partition_strategies.partition_request_geometry.class_path"): {StepName.PARTITION},
        ("olmoearth_run.yaml", "partition_strategies.prepare_window_geometries.init_args.grid_size"): {
            StepName.PARTITION
        },
        ("olmoearth_run.yaml", "postprocessing_strategies.process_dataset"): {StepName.COMBINE},
        ("olmoearth_run.yaml", "window_prep.data_splitter.init_args.grid_siz"): {StepName.PREPARE_LABELED_WINDOWS},
        ("dataset.json", "layers.imagery.data_source.class_path"): {
            StepName.DATASET_BUILD,
            StepName.BUILD_DATASET_FROM_WINDOWS,
        },
        ("model.yaml", "model.init_args.model.init_args.encoder[0].class_path"): {
            StepName.INFERENCE,
            StepName.FINE_TUNE,
        },
        ("checkpoint.ckpt", ""): {StepName.INFERENCE},
    }
    assert [step for step, ready in report.steps.items() if ready] == [StepName.POSTPROCESS]
    with pytest.raises(ProjectError, match=r"project project: 2 problems to solve before inference:") as caught:
        report.raise_for(StepName.INFERENCE)
    assert "Did you mean Swin?" in str(caught.value)
    assert "grid_size" not in str(caught.value)
    report.raise_for(StepName.POSTPROCESS)


def test_only_the_steps_that_are_asked_for(folder: ProjectFolder) -> None:
    (folder.path / "checkpoint.ckpt").unlink()
    (folder.path / "annotation_features.geojson").unlink()
    project = Project(folder.path)
    assert project.check(["partition", "combine"], model=False).ok
    assert [problem.file for problem in project.check(PREDICT_STEPS, model=False).problems] == ["checkpoint.ckpt"]
    report = project.check(FINE_TUNE_STEPS, model=False)
    assert [problem.file for problem in report.problems] == ["annotation_features.geojson"]
    assert set(report.steps) == FINE_TUNE_STEPS
    with pytest.raises(UsageError, match=r"There is no such step: 'inferense'.*Expected some of partition"):
        project.check(["inferense"])


def test_sections_are_needed_by_their_steps_only(folder: ProjectFolder) -> None:
    for section in ("partition_strategies", "postprocessing_strategies", "inference_results_config"):
        del folder.run_config[section]
    folder.write()
    project = Project(folder.path)
    assert project.check(FINE_TUNE_STEPS, model=False).ok
    steps = project.check(model=False).steps
    assert [step for step in PREDICT_STEPS if steps[step]] == [StepName.DATASET_BUILD]


def test_yaml_errors_say_where(folder: ProjectFolder) -> None:
    (folder.path / "olmoearth_run.yaml").write_text("window_prep:\n  a: b: c\n")
    problem = Project(folder.path).check(model=False).problems[0]
    assert (problem.file, problem.key) == ("olmoearth_run.yaml", "line 2, column 7")
    assert problem.steps == set(StepName)


def test_the_same_problem_in_many_places_is_listed_once(folder: ProjectFolder) -> None:
    layers = folder.dataset["layers"]
    layers["imagery"]["data_source"] = {"class_path": "oe_nowhere.Source"}
    layers["more"] = layers["imagery"]
    folder.write()
    report = Project(folder.path).check(model=False)
    assert [problem.key for problem in report.problems] == ["layers.imagery.data_source.class_path and 1 more"]


def test_a_custom_component_beside_the_project(folder: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.path.parent / "oe_project_custom.py").write_text(
        "from olmoearth_run.runner.tools.samplers.sampler_interface import SamplerInterface\n"
        "class Half(SamplerInterface):\n"
        "    def __init__(self, part: float): raise SystemExit(1)\n"
        "    def sample(self, annotation_tasks): return annotation_tasks[::2]\n"
    )
    monkeypatch.delitem(sys.modules, "oe_project_custom", raising=False)
    sampler = {"class_path": "oe_project_custom.Half", "init_args": {"part": 0.5}}
    folder.run_config["window_prep"]["sampler"] = sampler
    folder.write()
    assert Project(folder.path).check(model=False).problems == ()
    sampler["init_args"] = {"part": "half"}
    folder.write()
    problem = Project(folder.path).check(model=False).problems[0]
    assert problem.key == "window_prep.sampler.init_args.part"
    assert problem.steps == {StepName.PREPARE_LABELED_WINDOWS}


def test_what_people_see(folder: ProjectFolder) -> None:
    project = Project(folder.path)
    assert "Project project" in repr(project)
    assert "annotation_features.geojson" in project._repr_html_()
    folder.run_config["<script>"] = 1
    (folder.path / "checkpoint.ckpt").unlink()
    folder.write()
    report = project.check(model=False)
    text, shown = repr(report), report._repr_html_()
    assert "error: checkpoint.ckpt: The checkpoint is missing." in text
    assert "warning: olmoearth_run.yaml: <script>: Nothing uses this key." in text
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown
    assert "inference" in shown


# What is really missing in the published projects, where everything that they need is installed.
MISSING = {
    "awf": {"checkpoint.ckpt", "annotation_features.geojson", "annotation_task_features.geojson"},
    "forest_loss_driver": {
        "checkpoint.ckpt",
        "annotation_features.geojson",
        "annotation_task_features.geojson",
        "olmoearth_run.yaml",  # no window_prep
    },
    "lfmc": {
        "checkpoint.ckpt",
        "annotation_features.geojson",
        "annotation_task_features.geojson",
        "prediction_request_geometry.geojson",
    },
    "sample": {"checkpoint.ckpt", "model.yaml", "dataset.json", "olmoearth_run.yaml"},
}


@pytest.mark.parametrize("name", list(MISSING))
def test_published_projects(published: Callable[[str], Path], name: str) -> None:
    report = Project(published(name)).check()
    # Data sources of the Planetary Computer need packages that may not be installed.
    errors = [problem for problem in report.errors if "which is not installed" not in problem.found]
    assert {problem.file for problem in errors} == MISSING[name]
    if name != "sample":
        assert all(
            problem.found
            in ("The file is missing.", "The checkpoint is missing.", "The section is missing.", "There is no request.")
            for problem in errors
        )
    assert report.steps[StepName.PARTITION] is (name != "lfmc")


def test_the_published_sample_is_a_template_that_can_prepare_windows(published: Callable[[str], Path]) -> None:
    report = Project(published("sample")).check()
    report.raise_for(StepName.PREPARE_LABELED_WINDOWS)
    names = ("CHECKPOINT_PATH", "PATCH_SIZE", "ENCODER_EMBEDDING_SIZE")
    found = [problem.found for problem in report.problems if problem.file == "model.yaml"]
    assert found[:3] == [f"This file is a template: {{{name}}} is a placeholder." for name in names]
    with pytest.raises(ProjectError, match="This file is a template"):
        report.raise_for(StepName.FINE_TUNE)


def test_published_legends(published: Callable[[str], Path]) -> None:
    awf = Project(published("awf")).legend
    assert awf is not None
    assert awf.classes_of_band(1).label_of(7.0) == "lava_forest"  # type: ignore[union-attr]
    assert awf.classes[0].colormap()[8] == (178, 34, 34, 255)
    drivers = Project(published("forest_loss_driver")).legend
    assert drivers is not None
    assert (drivers.data_type, drivers.classes[0].color_of("mining")) == ("VECTOR", (255, 222, 33))
    moisture = Project(published("lfmc")).legend
    assert moisture is not None
    assert moisture.ranges[0].color_of(30) == (165, 0, 38)
    assert Project(published("sample")).legend is None


def test_the_environment_stays_as_it_is(folder: ProjectFolder) -> None:
    before = {key: value for key, value in os.environ.items() if not key.startswith(("RSLEARN", "JSONARGPARSE"))}
    Project(folder.path).check()
    after = {key: value for key, value in os.environ.items() if not key.startswith(("RSLEARN", "JSONARGPARSE"))}
    assert before == after


def test_a_missing_file_that_lies_in_another_folder_is_found(folder: ProjectFolder) -> None:
    for name in ("finetune", "inference"):
        (folder.path / name).mkdir()
        (folder.path / name / "dataset.json").write_text("{}")
    (folder.path / "dataset.json").unlink()
    fixes = {problem.file: problem.fix for problem in Project(folder.path).check(model=False).errors}
    assert fixes == {"dataset.json": "Copy finetune/dataset.json or inference/dataset.json here, if that is the one."}
    fixes = {problem.file: problem.fix for problem in Project(folder.path / "finetune").check(model=False).errors}
    assert fixes["olmoearth_run.yaml"] == "Copy ../olmoearth_run.yaml here, if that is the one."
    assert fixes["dataset.json"] is None or "Copy" not in fixes["dataset.json"]
