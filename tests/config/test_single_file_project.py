"""A project whose configuration is one file."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import pytest
import yaml
from config_project import ProjectFolder
from single_files import changed, single_file

from olmoearth_nb.cli import main
from olmoearth_nb.config import Project
from olmoearth_nb.config.single_file import convert_project
from olmoearth_nb.config.strategies import STAGES, PartitionSettings
from olmoearth_nb.errors import ConfigError, UsageError

NAMES = {"dataset.json", "model.yaml", "olmoearth_run.yaml"}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OLMOEARTH_NB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "project"
    folder.mkdir()
    write(folder)
    return folder


def write(folder: Path, **changes: Any) -> None:
    text = yaml.safe_dump(changed(single_file(), **changes), sort_keys=False)
    (folder / "olmoearth_config.yaml").write_text(text)


def _folder_of(path: str) -> str:
    return str(Project(path).config_folder)


def test_the_three_files_are_in_the_cache(place: Path) -> None:
    project = Project(place)
    folder = project.config_folder
    assert folder.is_relative_to(place.parent / "cache" / "olmoearth_config.yaml")
    assert {path.name for path in folder.iterdir()} == NAMES
    assert [path.name for path in place.iterdir()] == ["olmoearth_config.yaml"]
    assert project.dataset_config()["layers"].keys() == {"sentinel2_l2a", "labels", "output"}
    assert project.legend is not None
    assert project.search_path[0] == place
    assert "olmoearth_config.yaml" in repr(project)
    assert "model.yaml" not in repr(project)
    # Another text, another folder: who reads the first goes on with it.
    write(place, input_preprocessing__default__input_size=32)
    assert project.config_folder != folder
    assert folder.is_dir()


def test_a_damaged_cache_is_made_anew(place: Path) -> None:
    project = Project(place)
    text = project.model_config_path.read_text()
    (project.config_folder / "model.yaml").write_text("broken")
    assert project.model_config_path.read_text() == text


def test_a_project_that_can_only_be_read(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("OLMOEARTH_NB_CACHE", str(blocked))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    assert Project(place).model_config_path.is_relative_to(tmp_path / "temporary")


@pytest.mark.slow
def test_several_processes_make_the_same(place: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        folders = set(pool.map(_folder_of, [str(place)] * 4))
    assert folders == {str(Project(place).config_folder)}


def test_problems_are_those_of_the_single_file(place: Path) -> None:
    # Right in itself: the class that it becomes is what refuses it.
    write(place, prediction_requests__partitioners__partition_to_windows={"name": "noop"}, labeled_data_prep=None)
    problems = Project(place).check(model=False).problems
    assert not NAMES & {problem.file for problem in problems}
    keys = {problem.key for problem in problems if problem.file == "olmoearth_config.yaml"}
    assert "labeled_data_prep" in keys
    assert any(key.startswith("prediction_requests.partitioners.partition_to_windows") for key in keys)


def test_every_mistake_is_in_the_report(place: Path) -> None:
    write(place, model__encoder__patch_size="big", training__max_epochs=0, extra=1)
    report = Project(place).check()
    assert [(problem.severity, problem.key) for problem in report.problems] == [
        ("error", "model.encoder.patch_size"),
        ("error", "training.max_epochs"),
    ]
    assert not report.ok
    with pytest.raises(ConfigError, match=r"olmoearth_config.yaml: 2 problems"):
        _ = Project(place).run_config


def test_what_is_not_yaml_is_told_with_its_line(place: Path) -> None:
    (place / "olmoearth_config.yaml").write_text("data: [1,\nmodel: }")
    (problem,) = Project(place).check().problems
    assert problem.found.startswith("It is not YAML")
    assert problem.key.startswith("line 2")


def test_the_three_files_count_where_both_forms_are(folder: ProjectFolder) -> None:
    write(folder.path)
    project = Project(folder.path)
    assert project.config_folder == folder.path
    (problem,) = project.check(model=False).problems
    assert (problem.severity, problem.file) == ("warning", "olmoearth_config.yaml")
    assert "is ignored" in problem.found


def test_partitioning_is_not_written_into_the_cache(place: Path) -> None:
    settings = PartitionSettings(Project(place))
    before = Project(place).run_config_path.read_text()
    with pytest.raises(UsageError, match=r"olmoearth_config.yaml: .*prediction_requests.partitioners"):
        settings.write({stage: settings.configured[stage] for stage in STAGES})
    assert Project(place).run_config_path.read_text() == before


def test_convert_writes_three_files(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = convert_project(place, tmp_path / "three")
    assert set(written.files) == {path.name for path in (tmp_path / "three").iterdir()} == NAMES
    assert "dataset.json" in repr(written)
    assert Project(tmp_path / "three").run_config.problems == ()
    with pytest.raises(UsageError, match="nothing is overwritten"):
        convert_project(place, tmp_path / "three")
    # Into the project itself: the three files count from then on.
    assert main(["convert", str(place), str(place)]) == 0
    assert "olmoearth_run.yaml" in capsys.readouterr().out
    assert Project(place).config_folder == place
    assert main(["convert", str(tmp_path), str(tmp_path / "other")]) == 1
    assert "is missing" in capsys.readouterr().err
