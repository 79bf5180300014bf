from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import scenes

from olmoearth_nb import cli


def _json(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    value = json.loads(capsys.readouterr().out)
    assert isinstance(value, dict)
    return value


def test_check_lists_what_is_missing_and_what_can_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    project = scenes.make_raster_project(tmp_path / "p")
    assert cli.main(["check", str(project), "--no-model"]) == 1
    text = capsys.readouterr().out
    assert "checkpoint.ckpt" in text
    assert cli.main(["check", str(project), "--no-model", "--json"]) == 1
    report = _json(capsys)
    assert report["steps"]["partition"] is True  # type: ignore[index]
    assert report["steps"]["inference"] is False  # type: ignore[index]


def test_errors_are_one_paragraph_and_exit_with_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["partition", str(tmp_path / "none")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("ProjectError: ")
    assert "Traceback" not in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert cli.main(["partition", str(tmp_path / "none"), "--verbose"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["nonsense"], ["partition", "--nonsense"], ["olmoearth_run", "one_stage"]])
def test_wrong_usage_exits_with_2(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(argv)
    assert caught.value.code == 2


def test_an_unknown_step_exits_with_2(raster_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.local_predict([str(raster_project), "--steps", "partition,inferences"]) == 2
    assert "inferences" in capsys.readouterr().err


def test_steps_one_after_the_other(raster_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    here = [str(raster_project), "--json"]
    assert cli.main(["partition", *here]) == 0
    partition = _json(capsys)
    ids = partition["partition_ids"]
    assert isinstance(ids, list)
    assert cli.main(["build", *here, "--partition-ids", ",".join(ids[:2])]) == 0
    assert _json(capsys)["without imagery"] == 0
    assert cli.main(["build", *here]) == 0
    assert cli.main(["infer", *here]) == 0
    assert cli.main(["postprocess", *here]) == 0
    capsys.readouterr()
    assert cli.main(["combine", *here]) == 0
    files = _json(capsys)["files"]
    assert isinstance(files, list)
    scratch = raster_project / "scratches" / "prediction_request_geometry"
    assert [Path(file) for file in files] == [scratch / "results" / "results_raster" / "result_epsg32631_0.tif"]
    assert cli.main(["status", *here]) == 0
    assert set(_json(capsys).values()) == {"done"}


def test_the_local_predict_command_runs_chosen_steps(raster_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scratch = raster_project.parent / "elsewhere"
    argv = [
        str(raster_project),
        "--scratch-path",
        str(scratch),
        "--request-geometry-path",
        str(raster_project / "prediction_request_geometry.geojson"),
        "--checkpoint-path",
        str(raster_project / "checkpoint.ckpt"),
    ]
    assert cli.local_predict([*argv, "--steps", "partition,dataset_build"]) == 0
    assert not (scratch / "results").exists()
    assert cli.local_predict([*argv, "--steps", "inference,postprocess,combine"]) == 0
    assert (scratch / "results" / "results_raster" / "result_epsg32631_0.tif").is_file()
    assert "results_raster" in capsys.readouterr().out


def test_the_commands_of_the_guide(tmp_path: Path, raster_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tuning = ["--project_path", str(raster_project), "--scratch_path", str(tmp_path / "tuning")]
    assert cli.main(["olmoearth_run", "prepare_labeled_windows", *tuning]) == 0
    assert cli.main(["olmoearth_run", "build_dataset_from_windows", *tuning]) == 0
    assert (tmp_path / "tuning" / "dataset" / "windows" / "default").is_dir()
    predicting = [
        "--config_path",
        str(raster_project),
        "--scratch_path",
        str(tmp_path / "predicting"),
        "--checkpoint_path",
        str(raster_project / "checkpoint.ckpt"),
    ]
    for stage in ("build_dataset", "run_inference", "postprocess", "combine"):
        assert cli.main(["olmoearth_run", "one_stage", *predicting, "--stage", stage]) == 0
    assert cli.main(["olmoearth_run", "olmoearth_run", *predicting]) == 0
    assert (tmp_path / "predicting" / "results" / "results_raster" / "result_epsg32631_0.tif").is_file()
    capsys.readouterr()


def test_python_m_shows_help() -> None:
    done = subprocess.run([sys.executable, "-m", "olmoearth_nb", "--help"], capture_output=True, text=True, check=True)
    assert "olmoearth_run" in done.stdout
