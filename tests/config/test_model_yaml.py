from __future__ import annotations

import pytest
from config_project import ProjectFolder

from olmoearth_nb.config.model_yaml import MODEL_STEPS, check_classes, read_model
from olmoearth_nb.config.report import Problem
from olmoearth_nb.config.templates import Template, placeholders
from olmoearth_nb.errors import ConfigError
from olmoearth_nb.types import StepName


def problems_of(folder: ProjectFolder, *, extra: bool = False) -> list[Problem]:
    model = read_model(folder.path / "model.yaml", has_extra_files=extra)
    problems = [*model.problems, *check_classes(model, search_path=(folder.path,))]
    # The file is one of another year; tests/config/test_renamed.py has what is said of that.
    return [problem for problem in problems if "older spelling" not in problem.found]


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, problems
    return problems[0]


def test_a_right_file_with_older_names_has_no_problems(folder: ProjectFolder) -> None:
    assert problems_of(folder) == []


@pytest.mark.parametrize(
    ("old", "new", "key", "found", "advice"),
    [
        (
            "    optimizer:",
            "    learning_rate: 1e-4\n    optimizer:",
            "model.init_args.learning_rate",
            "RslearnLightningModule takes no argument 'learning_rate'.",
            "It takes: ",
        ),
        (
            "rslearn.models.conv.Conv",
            "rslearn.models.conv.Convv",
            "model.init_args.model.init_args.decoder[0].class_path",
            "The module rslearn.models.conv has no Convv.",
            "Did you mean Conv?",
        ),
        (
            "out_channels: 2",
            "out_chanels: 2",
            "model.init_args.model.init_args.decoder[0].init_args.out_chanels",
            "Conv takes no argument 'out_chanels'.",
            "Did you mean out_channels?",
        ),
        (
            "      load_all_crops: true",
            "      load_all_crop: true",
            "data.init_args.predict_config.load_all_crop",
            "SplitConfig takes no argument 'load_all_crop'.",
            "Did you mean load_all_crops?",
        ),
        (
            "        passthrough: true",
            "        passtrough: true",
            "data.init_args.inputs.image.passtrough",
            "DataInput takes no argument 'passtrough'.",
            "Did you mean passthrough?",
        ),
        (
            "init_args: {overlap_pixels: 4}",
            "init_args: {overlap_pixel: 4}",
            "trainer.callbacks[1].init_args.merger.init_args.overlap_pixel",
            "RasterMerger takes no argument 'overlap_pixel'.",
            "Did you mean overlap_pixels?",
        ),
        (
            "torch.nn.Identity",
            "rslearn.train.tasks.segmentation.SegmentationTask",
            "model.init_args.model.init_args.decoder[0].init_args.activation",
            "It is a SegmentationTask.",
            "Expected an object of Module",
        ),
    ],
)
def test_classes_and_arguments(folder: ProjectFolder, old: str, new: str, key: str, found: str, advice: str) -> None:
    folder.model(old, new)
    problem = next(problem for problem in problems_of(folder) if problem.key == key)
    assert problem.found == found
    assert problem.advice.startswith(advice)
    assert problem.steps == MODEL_STEPS


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("max_epochs: 1", "max_epoch: 1", "trainer.max_epoch"),
        ("monitor: val_loss", "monitr: val_loss", "trainer.callbacks[0].init_args.monitr"),
        ("ModelCheckpoint", "ModelCheckpont", "trainer.callbacks[0].class_path"),
        ("lightning.pytorch.loggers.WandbLogger", "lightning.pytorch.logger.WandbLogger", "trainer.logger.class_path"),
    ],
)
def test_what_only_training_uses_blocks_only_training(folder: ProjectFolder, old: str, new: str, key: str) -> None:
    folder.model(old, new)
    problem = only(problems_of(folder))
    assert problem.key == key
    assert problem.steps == {StepName.FINE_TUNE}


def test_a_missing_task_is_found_though_the_model_gets_it_from_the_data(folder: ProjectFolder) -> None:
    folder.model(
        "    task:\n      class_path: rslearn.train.tasks.segmentation.SegmentationTask\n", "    tsk:\n      a: 1\n"
    )
    keys = {problem.key for problem in problems_of(folder)}
    assert "data.init_args.task" in keys
    assert "model.init_args.task" not in keys


def test_variables(folder: ProjectFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.model("num_classes: 2", "num_classes: ${OE_TEST_CLASSES}")
    problem = only(problems_of(folder))
    assert problem.key == "data.init_args.task.init_args.num_classes"
    assert "The variable OE_TEST_CLASSES has no value" in problem.found
    monkeypatch.setenv("OE_TEST_CLASSES", "3")
    assert problems_of(folder) == []
    folder.model("${NUM_WORKERS}", "${NUM_WORKER}")
    assert only(problems_of(folder)).fix == "Did you mean NUM_WORKERS?"


def test_extra_files_are_needed_only_where_they_are_used(folder: ProjectFolder) -> None:
    folder.model("output_layers: [1, 3]", "output_layers: [1, 3]\n              arch: ${EXTRA_FILES_PATH}/w.pth")
    problem = only(problems_of(folder))
    assert "the project has no folder extra_model_files" in problem.found
    assert problem.key == "model.init_args.model.init_args.encoder[0].init_args.arch"
    assert problems_of(folder, extra=True) == []


def test_weights_among_extra_files_are_needed_for_training_only(folder: ProjectFolder) -> None:
    folder.model("output_layers: [1, 3]", "output_layers: [1, 3]\n              model_path: ${EXTRA_FILES_PATH}")
    (problem,) = [problem for problem in problems_of(folder) if "extra_model_files" in problem.found]
    assert problem.steps == {StepName.FINE_TUNE}


def test_a_template_is_called_a_template(folder: ProjectFolder) -> None:
    folder.model("in_channels: 96", "in_channels: {CHANNELS}")
    folder.model("num_classes: 2", 'num_classes: "{CLASSES}"')
    problems = {problem.key: problem for problem in problems_of(folder)}
    assert set(problems) == {
        "model.init_args.model.init_args.decoder[0].init_args.in_channels",
        "data.init_args.task.init_args.num_classes",
    }
    assert all("This file is a template: {C" in problem.found for problem in problems.values())


def test_old_and_new_names_of_different_sections_may_be_mixed(folder: ProjectFolder) -> None:
    folder.model("overlap_pixels: 4\n", "overlap_ratio: 0.25\n      crop_size: 16\n")
    assert all("older spelling" in problem.found for problem in problems_of(folder))
    predict = read_model(folder.path / "model.yaml", has_extra_files=False).split("predict")
    assert (predict["crop_size"], predict["overlap_pixels"]) == (16, 4)


def test_split_configurations_with_a_class_path(folder: ProjectFolder) -> None:
    folder.model(
        "      load_all_crops: true\n      overlap_pixels: 4",
        "      class_path: rslearn.train.dataset.SplitConfig\n      init_args: {load_all_crops: true, overlap: 2}",
    )
    assert only(problems_of(folder)).key == "data.init_args.predict_config.init_args.overlap"


def test_missing_sections_and_unknown_keys(folder: ProjectFolder) -> None:
    (folder.path / "model.yaml").write_text("modl: 3\ndata: {}\nseed_everything: 1\n")
    found = {problem.key: problem for problem in problems_of(folder)}
    assert set(found) == {"model", "data", "modl"}
    assert found["modl"].fix == "Did you mean model?"
    assert found["modl"].severity == "warning"


def test_keys_written_twice(folder: ProjectFolder) -> None:
    folder.model("    optimizer:", "    lr: 1\n    lr: 2\n    optimizer:")
    problem = only([problem for problem in problems_of(folder) if "older spelling" not in problem.found])
    assert (problem.key, problem.severity) == ("model.init_args.lr", "warning")


def test_yaml_errors_have_line_and_column(folder: ProjectFolder) -> None:
    folder.model("    optimizer:", "    lr: [1e-4\n    optimizer:")
    with pytest.raises(ConfigError, match=r"model\.yaml, line \d+, column \d+: It is not YAML"):
        read_model(folder.path / "model.yaml", has_extra_files=False)
    (folder.path / "model.yaml").unlink()
    with pytest.raises(ConfigError, match=r"model\.yaml: The model configuration is missing"):
        read_model(folder.path / "model.yaml", has_extra_files=False)


def test_variables_in_comments_and_in_brackets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("A", raising=False)
    template = Template("# ${A}\nx: 1", ("A",))
    assert template.uses({"x": 1}) == {}
    assert Template("x: [${A}]").filled == "x: [__A__]"
    assert Template("x: [${A}]").uses({"x": ["__A__"]}) == {"A": "x[0]"}


def test_placeholders_have_capitals() -> None:
    assert placeholders({"a": {"PATCH": None}, "b": ["x/{NAME}", "{name}"], "c": None}) == {
        "PATCH": "a",
        "NAME": "b[0]",
    }
