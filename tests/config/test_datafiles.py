from __future__ import annotations

import pickle
from importlib import metadata

import pytest
from config_project import SQUARE, TASK_ID, TIMES, ProjectFolder, collection, feature

from olmoearth_nb.config import CheckReport, Problem, Project
from olmoearth_nb.types import StepName

SHAPELY = metadata.version("shapely")


def check(folder: ProjectFolder) -> CheckReport:
    return Project(folder.path).check(model=False)


def only(folder: ProjectFolder) -> Problem:
    problems = check(folder).problems
    assert len(problems) == 1, problems
    return problems[0]


def test_a_request_that_is_wrong_is_named_with_feature_and_key(folder: ProjectFolder) -> None:
    wrong = feature(SQUARE, oe_start_time="2024-07-01", oe_end_time="2024-06-01")
    folder.json("prediction/second.geojson", collection(feature(SQUARE, **TIMES), wrong))
    problem = only(folder)
    assert problem.file == "prediction/second.geojson"
    assert "features[1]" in problem.found
    assert "after oe_end_time" in problem.found
    assert problem.steps == {StepName.PARTITION, StepName.POSTPROCESS}


def test_no_request_blocks_only_the_partitioning(folder: ProjectFolder) -> None:
    (folder.path / "prediction_request_geometry.geojson").unlink()
    problem = only(folder)
    assert problem.found == "There is no request."
    assert problem.steps == {StepName.PARTITION}


@pytest.mark.parametrize("name", ["annotation_features.geojson", "annotation_task_features.geojson"])
def test_annotations(folder: ProjectFolder, name: str) -> None:
    (folder.path / name).unlink()
    problem = only(folder)
    assert (problem.file, problem.found) == (name, "The file is missing.")
    assert problem.steps == {StepName.PREPARE_LABELED_WINDOWS}
    (folder.path / name).write_text("{")
    assert "is not JSON" in only(folder).found


def test_older_annotations_get_their_label_from_label_property(folder: ProjectFolder) -> None:
    point = {"type": "Point", "coordinates": [10.05, 50.05]}
    folder.json("annotation_features.geojson", collection(feature(point, es_annotations_task_id=TASK_ID, es_label=3)))
    folder.dataset["layers"]["label"]["band_sets"][0]["bands"] = ["kind", "other"]
    folder.run_config["window_prep"]["label_property"] = "kind"
    folder.write()
    folder.model('bands: ["category"]', 'bands: ["kind"]')
    problem = next(problem for problem in check(folder).problems if problem.file == "dataset.json")
    assert "the labels kind, and the bands" in problem.found


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "The checkpoint is missing."),
        (b"", "It is not a checkpoint of torch."),
        (b"<html>", "It is not a checkpoint of torch."),
        (b"version https://git-lfs.github.com/spec/v1\n", "It is a pointer of Git LFS, not the checkpoint itself."),
    ],
)
def test_checkpoints(folder: ProjectFolder, content: bytes | None, found: str) -> None:
    path = folder.path / "checkpoint.ckpt"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    problem = only(folder)
    assert (problem.file, problem.found) == ("checkpoint.ckpt", found)
    assert problem.steps == {StepName.INFERENCE}


def test_a_checkpoint_of_the_older_format(folder: ProjectFolder) -> None:
    (folder.path / "checkpoint.ckpt").write_bytes(pickle.dumps({"state_dict": {}}))
    assert check(folder).ok


def test_a_folder_is_no_checkpoint(folder: ProjectFolder) -> None:
    (folder.path / "checkpoint.ckpt").unlink()
    (folder.path / "checkpoint.ckpt").mkdir()
    assert only(folder).found == "The checkpoint is missing."


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "# nothing\n\n",
        f"shapely\nShapely=={SHAPELY}  # a comment\nshapely[extra]>=1 ; python_version > '3'",
        "nowhere-at-all; python_version < '3'",
        "olmoearth-runner==0.1.14\nolmoearth_run",
        "--pre\n-e .\n",
        f"shapely=={SHAPELY} \\\n    --hash=sha256:00",
        "-r requirements.txt",
    ],
)
def test_requirements_that_are_met(folder: ProjectFolder, lines: str) -> None:
    (folder.path / "requirements.txt").write_text(lines)
    assert check(folder).problems == ()


def test_missing_and_wrong_requirements_are_named(folder: ProjectFolder) -> None:
    (folder.path / "requirements.txt").write_text("nowhere-at-all>=2\nshapely<1\n-r more/others.txt\n./local/path\n")
    (folder.path / "more").mkdir()
    (folder.path / "more" / "others.txt").write_text("\nelsewhere-at-all\n")
    found = {(problem.file, problem.key): problem for problem in check(folder).problems}
    missing = found["requirements.txt", "line 1"]
    assert missing.found == "The package nowhere-at-all is not installed."
    assert missing.fix == "Run: pip install 'nowhere-at-all>=2'"
    assert missing.steps == set(StepName)
    wrong = found["requirements.txt", "line 2"]
    assert (wrong.found, wrong.expected) == (f"The package shapely is installed as {SHAPELY}.", "version <1")
    assert found["requirements.txt", "line 4"].severity == "warning"
    assert found["more/others.txt", "line 2"].found == "The package elsewhere-at-all is not installed."
    assert len(found) == 4


def test_an_included_list_that_is_missing(folder: ProjectFolder) -> None:
    (folder.path / "requirements.txt").write_text("-r nowhere.txt")
    assert (only(folder).file, only(folder).found) == ("nowhere.txt", "The list of requirements is missing.")
