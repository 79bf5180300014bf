"""A scratch that olmoearth-runner made: one of ours without what only this package writes, which is the same.

And one that it really made, where OLMOEARTH_RUNNER_PYTHON names an interpreter that has it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import scenes

from olmoearth_nb import OlmoEarthRunPredictRunner
from olmoearth_nb.errors import MissingStepError, StaleScratchError
from olmoearth_nb.store.migrate import migrate_windows
from olmoearth_nb.store.sqlite import SQLITE_CONFIG

REQUEST = "prediction_request_geometry.geojson"
THEIRS = os.environ.get("OLMOEARTH_RUNNER_PYTHON")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return scenes.make_raster_project(tmp_path / "project")


def _runner(project: Path) -> OlmoEarthRunPredictRunner:
    return OlmoEarthRunPredictRunner(project, project.parent / "scratch", progress=False)


def _made_by_others(project: Path, *, build: bool = False) -> dict[str, set[str]]:
    """A scratch as olmoearth-runner leaves it; the names of its windows by group."""
    runner = _runner(project)
    runner.partition()
    if build:
        runner.build_dataset()
    shutil.rmtree(runner.workspace.state)
    for path in runner.workspace.partitions.glob("*/windows.json"):
        path.unlink()
    (runner.workspace.dataset / "config.json").unlink()
    (runner.workspace.dataset / "config.json").symlink_to(project / "dataset.json")
    return _windows(runner.workspace.root)


def _windows(scratch: Path) -> dict[str, set[str]]:
    return {
        group.name: {window.name for window in group.iterdir()}
        for group in (scratch / "dataset_0" / "windows").iterdir()
    }


def test_windows_of_another_environment_are_gone_on_with(project: Path) -> None:
    before = _made_by_others(project, build=True)
    files = {path: path.stat().st_mtime_ns for path in (project.parent / "scratch").rglob("layers/**/*.tif")}
    with pytest.raises(MissingStepError, match=r"Call runner\.partition\(\) first"):
        _runner(project).build_dataset()
    summary = _runner(project).partition()
    count = sum(map(len, before.values()))
    assert f"The {count:,} windows that olmoearth-runner made" in " ".join(summary.notes)
    assert summary.counts["windows"] == count
    assert _windows(project.parent / "scratch") == before
    built = _runner(project).build_dataset()
    assert built.counts["built before"] == count
    assert {path: path.stat().st_mtime_ns for path in files} == files
    assert (project / "dataset.json").is_file()
    assert not (project / "dataset.json").is_symlink()
    # From now on it is noticed when something changes.
    request = json.loads((project / REQUEST).read_text())
    request["features"][0]["properties"]["oe_end_time"] = "2024-06-03T00:00:00+00:00"
    (project / REQUEST).write_text(json.dumps(request))
    with pytest.raises(StaleScratchError, match="request changed"):
        _runner(project).partition()


def test_windows_that_were_moved_into_a_database_since_are_gone_on_with(project: Path) -> None:
    before = _made_by_others(project, build=True)
    scratch, count = project.parent / "scratch", sum(map(len, before.values()))
    migrate_windows(scratch, "sqlite")
    summary = _runner(project).partition()
    assert f"The {count:,} windows that olmoearth-runner made" in " ".join(summary.notes)
    assert summary.counts["windows"] == count
    assert _runner(project).build_dataset().counts["built before"] == count
    assert not list(scratch.rglob("metadata.json"))
    assert "storage" not in json.loads((project / "dataset.json").read_text())


@pytest.mark.slow
def test_windows_in_folders_stay_there_when_the_project_asks_for_a_database(project: Path) -> None:
    before = _made_by_others(project, build=True)
    path = project / "dataset.json"  # which the scratch's configuration is a link to
    path.write_text(json.dumps({**json.loads(path.read_text()), "storage": SQLITE_CONFIG}))
    assert _runner(project).partition().counts["windows"] == sum(map(len, before.values()))
    assert set(_runner(project).windows()["state"]) == {"built"}
    assert not (project.parent / "scratch" / "dataset_0" / "windows.sqlite3").exists()


@pytest.mark.slow
def test_predictions_are_no_random_ones(project: Path) -> None:
    _made_by_others(project)
    scratch = project.parent / "scratch"
    window = next((scratch / "dataset_0" / "windows").glob("*/*"))
    (window / "layers" / "output").mkdir(parents=True)
    shutil.copy(project / "model.yaml", scratch / "model_stage_0" / "model.yaml")
    (scratch / "model_stage_0" / "checkpoint.ckpt").write_bytes(b"theirs")
    runner = OlmoEarthRunPredictRunner(project, scratch, random_weights=True, progress=False)
    with pytest.raises(StaleScratchError, match=r"with another checkpoint\.ckpt"):
        runner.partition()


def test_windows_of_another_request_are_left_alone(project: Path) -> None:
    before = _made_by_others(project)
    request = json.loads((project / REQUEST).read_text())
    request["features"][0]["properties"]["oe_end_time"] = "2024-06-03T00:00:00+00:00"
    (project / REQUEST).write_text(json.dumps(request))
    count = sum(map(len, before.values()))
    with pytest.raises(StaleScratchError, match=rf"of its {count} windows this project would make 0\..*overwrite=True"):
        _runner(project).partition()
    assert _windows(project.parent / "scratch") == before
    assert _runner(project).partition(overwrite=True).counts["windows"] == count


@pytest.mark.slow
def test_imagery_of_another_configuration_is_left_alone(project: Path) -> None:
    _made_by_others(project, build=True)
    config = project.parent / "scratch" / "dataset_0" / "config.json"
    other = json.loads((project / "dataset.json").read_text())
    other["layers"]["scene"]["band_sets"][0]["dtype"] = "int32"
    config.unlink()
    config.write_text(json.dumps(other))
    with pytest.raises(StaleScratchError, match=r"made this scratch with another dataset\.json"):
        _runner(project).partition()


def test_predictions_of_another_checkpoint_are_left_alone(project: Path) -> None:
    _made_by_others(project)
    (project / "checkpoint.ckpt").write_bytes(b"mine")
    scratch = project.parent / "scratch"
    window = next((scratch / "dataset_0" / "windows").glob("*/*"))
    (window / "layers" / "output").mkdir(parents=True)
    (scratch / "model_stage_0" / "checkpoint.ckpt").write_bytes(b"theirs")
    with pytest.raises(StaleScratchError, match=r"another model\.yaml and checkpoint\.ckpt"):
        _runner(project).partition()


@pytest.mark.slow
def test_features_that_a_partitioner_made_anew_find_their_place(project: Path) -> None:
    _made_by_others(project)
    scratch = project.parent / "scratch"
    window = next((scratch / "dataset_0" / "windows").glob("*/*/request.geojson"))
    feature = json.loads(window.read_text())
    feature["properties"]["site"] = "made by a partitioner"
    window.write_text(json.dumps(feature))
    runner = _runner(project)
    runner.partition()
    pid = window.parent.parent.name.removeprefix("group_")
    (made_for,) = runner.scratch.features_of(pid)[window.parent.name]
    assert made_for.properties.site == "made by a partitioner"


_STEPS = """
import sys
from pathlib import Path
from olmoearth_run.runner.local.predict_runner import OlmoEarthRunPredictRunner

if __name__ == "__main__":
    project, scratch, *steps = sys.argv[1:]
    runner = OlmoEarthRunPredictRunner(Path(project), Path(scratch))
    runner.run_pipeline(steps)
    print("partitions", *sorted(runner.scratch.get_partitions()))
"""

# It starts four a core, and without bytecode each of them compiles everything anew.
_FEW_PROCESSES = {"NUM_WORKERS": "1", "DATASET_BUILD_WORKERS_PER_CPU": "1", "PYTHONDONTWRITEBYTECODE": ""}


def _theirs(project: Path, *steps: str) -> str:
    script = project.parent / "theirs.py"
    script.write_text(_STEPS)
    done = subprocess.run(
        [str(THEIRS), str(script), str(project), str(project.parent / "scratch"), *steps],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | _FEW_PROCESSES,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _for_both(project: Path) -> None:
    """What olmoearth-runner asks of a project: every variable named, imagery not relative to it, no nodata of bands."""
    with (project / "model.yaml").open("a") as file:
        file.write("# ${EXTRA_FILES_PATH} ${WANDB_PROJECT} ${WANDB_NAME} ${WANDB_ENTITY}\n")
    dataset = json.loads((project / "dataset.json").read_text())
    dataset["layers"]["scene"]["data_source"]["init_args"]["src_dir"] = str(project / "scenes")
    for layer in dataset["layers"].values():
        for band_set in layer["band_sets"]:
            band_set.pop("nodata_value", None)
    (project / "dataset.json").write_text(json.dumps(dataset))


@pytest.mark.slow
@pytest.mark.skipif(THEIRS is None, reason="OLMOEARTH_RUNNER_PYTHON names no interpreter with olmoearth-runner")
def test_theirs_first_then_ours(project: Path) -> None:
    _for_both(project)
    _theirs(project, "partition", "dataset_build")
    before = _windows(project.parent / "scratch")
    runner = _runner(project)
    planned = {spec.name.rpartition("_")[2] for spec in runner.plan().windows}
    assert {name.rpartition("_")[2] for names in before.values() for name in names} == planned
    assert runner.partition().counts["windows"] == sum(map(len, before.values()))
    assert runner.build_dataset().counts["built"] == 0
    assert set(runner.windows()["state"]) == {"built"}


@pytest.mark.slow
@pytest.mark.skipif(THEIRS is None, reason="OLMOEARTH_RUNNER_PYTHON names no interpreter with olmoearth-runner")
def test_ours_first_then_theirs(project: Path) -> None:
    _for_both(project)
    runner = _runner(project)
    summary = runner.partition()
    before = _windows(project.parent / "scratch")
    assert _theirs(project, "dataset_build").split()[1:] == sorted(summary.partitions)
    assert _windows(project.parent / "scratch") == before
    assert runner.build_dataset().counts["built before"] == summary.counts["windows"]
