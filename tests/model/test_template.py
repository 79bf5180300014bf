import os
from pathlib import Path

import pytest

from olmoearth_nb.errors import ConfigError
from olmoearth_nb.model.template import read_model_config, template_variables


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "model.yaml"
    path.write_text(text)
    return path


def test_values_are_filled_in_at_any_depth(tmp_path: Path) -> None:
    path = write(tmp_path, "a: ${X}\nb: [${X}, {c: '${X}/w.pth'}]\n${Y}: 3\nd: 1e-4\ne: ${N}\n")
    filled = read_model_config(path, {"X": "one", "Y": "key", "N": ""})
    assert filled == {"a": "one", "b": ["one", {"c": "one/w.pth"}], "key": 3, "d": 0.0001, "e": None}


def test_a_value_does_not_change_what_the_yaml_means(tmp_path: Path) -> None:
    value = "/data/my: project #2/[x]"
    filled = read_model_config(write(tmp_path, "path: ${X}\nnext: 1\n"), {"X": value})
    assert filled == {"path": value, "next": 1}


def test_variables_in_comments_need_no_value(tmp_path: Path) -> None:
    assert read_model_config(write(tmp_path, "a: 1  # ${NOWHERE_TO_BE_FOUND}\n"), {}) == {"a": 1}


def test_a_variable_without_value_is_named_with_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, "a: 1\n# ${NOWHERE_TO_BE_FOUND}\nb:\n  - ${NOWHERE_TO_BE_FOUND}/x\n")
    with pytest.raises(ConfigError, match=r"model.yaml, line 4: The variable \$\{NOWHERE_TO_BE_FOUND\} has no value"):
        read_model_config(path, {})


def test_a_missing_folder_of_extra_files_is_explained(tmp_path: Path) -> None:
    variables = template_variables(
        dataset_path=tmp_path, extra_files_path=None, trainer_data_path=tmp_path / "t", num_workers=0
    )
    with pytest.raises(ConfigError, match=r"EXTRA_FILES_PATH.*extra_model_files folder"):
        read_model_config(write(tmp_path, "a: ${EXTRA_FILES_PATH}/w.pth\n"), variables)


def test_the_environment_is_read_and_not_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_OWN_VARIABLE", "mine")
    before = dict(os.environ)
    filled = read_model_config(write(tmp_path, "a: ${MY_OWN_VARIABLE}\nb: ${DATASET_PATH}\n"), {"DATASET_PATH": "d"})
    assert filled == {"a": "mine", "b": "d"}
    assert dict(os.environ) == before


def test_the_environment_wins_for_workers_and_wandb_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NUM_WORKERS", "WANDB_PROJECT", "DATASET_PATH", "PREDICTION_OUTPUT_LAYER"):
        monkeypatch.setenv(name, "7")
    monkeypatch.delenv("WANDB_NAME", raising=False)
    monkeypatch.delenv("WANDB_ENTITY", raising=False)
    variables = template_variables(
        dataset_path=tmp_path / "d",
        extra_files_path=tmp_path / "x",
        trainer_data_path=tmp_path / "scratch" / "trainer_checkpoints",
        num_workers=2,
    )
    assert variables == {
        "DATASET_PATH": str(tmp_path / "d"),
        "EXTRA_FILES_PATH": str(tmp_path / "x"),
        "TRAINER_DATA_PATH": str(tmp_path / "scratch" / "trainer_checkpoints"),
        "NUM_WORKERS": "7",
        "PREDICTION_OUTPUT_LAYER": "output",
        "WANDB_PROJECT": "7",
        "WANDB_NAME": "scratch",
        "WANDB_ENTITY": "",
    }


def test_a_file_that_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model.yaml: The model configuration is missing"):
        read_model_config(tmp_path / "model.yaml", {})
    with pytest.raises(ConfigError, match=r"line 2"):
        read_model_config(write(tmp_path, "a: 1\n b: 2\n"), {})
