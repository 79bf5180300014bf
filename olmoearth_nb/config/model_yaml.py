"""``model.yaml``: checked without building the model, against the signatures of what it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olmoearth_nb.config.arguments import ArgumentChecker
from olmoearth_nb.config.imports import import_object
from olmoearth_nb.config.renamed import modern_model
from olmoearth_nb.config.renamed.notice import renamed_problems
from olmoearth_nb.config.report import Problem, did_you_mean
from olmoearth_nb.config.schema import ObjectSpec
from olmoearth_nb.config.templates import KNOWN_VARIABLES, Template, placeholders
from olmoearth_nb.config.yamlfile import parse_yaml
from olmoearth_nb.errors import ConfigError, InputFileError
from olmoearth_nb.files import read_text
from olmoearth_nb.types import StepName

__all__ = ["MODEL_CONFIG_NAME", "MODEL_STEPS", "ModelFile", "check_classes", "read_model"]

MODEL_CONFIG_NAME = "model.yaml"

MODEL_STEPS = frozenset({StepName.INFERENCE, StepName.FINE_TUNE})
"""The steps that load the model."""

_TRAINING = frozenset({StepName.FINE_TUNE})
_PRETRAINED = ("model_path", "checkpoint_path", "checkpoint_dir", "pretrained_path", "restore_path")
_WRITERS = ("rslearn.train.prediction_writer.RslearnWriter", "olmoearth_nb.model.fields_writer.FieldsWriter")
# Keys of the parser itself, beside model, data and trainer.
_PARSER_KEYS = (
    "seed_everything",
    "ckpt_path",
    "optimizer",
    "lr_scheduler",
    "management_dir",
    "project_name",
    "run_name",
    "run_description",
    "load_checkpoint_mode",
    "load_checkpoint_required",
    "log_mode",
)


@dataclass(frozen=True)
class ModelFile:
    """``model.yaml`` as the run will see it, with stand-ins for variables.

    Attributes:
        value: What it says, older spellings translated.
        problems: What is wrong with it, but for the classes that it names.
    """

    value: dict[str, Any]
    problems: tuple[Problem, ...]

    @property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """Inputs of the model: name -> where the data come from."""
        inputs = at(self.value, "data", "init_args", "inputs")
        return {str(name): one for name, one in inputs.items() if isinstance(one, dict)}

    def split(self, name: str) -> dict[str, Any]:
        """Configuration of a split, merged with the default one.

        Args:
            name: ``train``, ``val``, ``test`` or ``predict``.
        """
        arguments = at(self.value, "data", "init_args")
        merged: dict[str, Any] = {}
        for key in ("default_config", f"{name}_config"):
            config = at(arguments, key)
            merged |= at(config, "init_args") if "class_path" in config else config
        return merged


def at(value: object, *keys: str) -> dict[str, Any]:
    """The mapping below some keys; an empty one where there is none.

    Args:
        value: Nested mappings.
        keys: Keys to follow.
    """
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return dict(value) if isinstance(value, Mapping) else {}


def read_model(path: Path, *, has_extra_files: bool) -> ModelFile:
    """Reads ``model.yaml`` and checks what can be seen without importing anything.

    Args:
        path: The file.
        has_extra_files: Whether the project has further model files, for ``${EXTRA_FILES_PATH}``.

    Raises:
        ConfigError: If it is missing, is not YAML (with line and column) or is not a mapping.
    """
    try:
        template = Template(read_text(path, what="model configuration"), KNOWN_VARIABLES)
    except InputFileError as error:
        raise ConfigError(error.what, where=error.where) from error
    file = parse_yaml(template.filled, str(path))
    problems = [
        Problem(
            file=MODEL_CONFIG_NAME,
            key=key,
            found=f"This key is written twice (again in line {line}); the last one counts.",
            fix="Remove one of them.",
            severity="warning",
        )
        for key, line in file.duplicates
    ]
    modern = modern_model(file.value)
    problems += renamed_problems(modern, MODEL_CONFIG_NAME, template.filled, MODEL_STEPS)
    problems += _variables(template, modern.value, has_extra_files=has_extra_files)
    problems += _unfilled(modern.value)
    problems += _sections(modern.value)
    return ModelFile(modern.value, tuple(problems))


def check_classes(model: ModelFile, *, search_path: Sequence[Path] = ()) -> list[Problem]:
    """Checks every class that the file names and the names of its arguments; imports them, which takes seconds.

    Args:
        model: The file.
        search_path: Folders to look in for custom modules.
    """
    problems: list[Problem] = []
    # The parser fills the task of the data in for the model.
    for key, given in (("model", frozenset({"task"})), ("data", frozenset[str]())):
        checker = ArgumentChecker(file=MODEL_CONFIG_NAME, search_path=search_path, plain_call=False, given=given)
        if ObjectSpec.is_spec(model.value.get(key)):
            checker.check_object(ObjectSpec(model.value[key], key, MODEL_CONFIG_NAME))
        problems += checker.problems
    checker = ArgumentChecker(file=MODEL_CONFIG_NAME, search_path=search_path, plain_call=False)
    try:
        trainer = import_object("lightning.pytorch.Trainer")
        checker.check_call(trainer, at(model.value, "trainer"), "trainer")
    except ConfigError as error:
        checker.add("trainer", error.what, fix=error.fix)
    unfilled = set(placeholders(model.value).values())
    return [
        problem.for_steps(_steps_of(problem.key, model.value))
        for problem in problems + checker.problems
        # A placeholder where a number shall be is one problem, not two.
        if not any(problem.key.startswith(path) for path in unfilled)
    ]


def _steps_of(key: str, value: Mapping[str, Any]) -> frozenset[StepName]:
    """Which steps use a part of the file: inference takes nothing from the trainer but the writer."""
    if not key.startswith("trainer"):
        return MODEL_STEPS
    callbacks = value.get("trainer", {}).get("callbacks") if isinstance(value.get("trainer"), Mapping) else None
    for index, callback in enumerate(callbacks if isinstance(callbacks, list) else []):
        if key.startswith(f"trainer.callbacks[{index}]") and at(callback).get("class_path") in _WRITERS:
            return MODEL_STEPS
    return _TRAINING


def _variables(template: Template, value: Mapping[str, Any], *, has_extra_files: bool) -> Iterator[Problem]:
    for name, path in template.uses(value).items():
        if name == "EXTRA_FILES_PATH" and not has_extra_files:
            yield Problem(
                file=MODEL_CONFIG_NAME,
                key=path,
                found="It uses ${EXTRA_FILES_PATH}, and the project has no folder extra_model_files.",
                fix="Put the folder with the further model files into the project.",
                # A checkpoint has the weights of the whole model: only training starts from others.
                steps=_TRAINING if path.rpartition(".")[2] in _PRETRAINED else _steps_of(path, value),
            )
        elif name not in KNOWN_VARIABLES:
            yield Problem(
                file=MODEL_CONFIG_NAME,
                key=path,
                found=f"The variable {name} has no value.",
                fix=did_you_mean(name, KNOWN_VARIABLES) or f"Set it in the environment: export {name}=…",
                steps=_steps_of(path, value),
            )


def _unfilled(value: Mapping[str, Any]) -> Iterator[Problem]:
    for name, path in placeholders(value).items():
        yield Problem(
            file=MODEL_CONFIG_NAME,
            key=path,
            found=f"This file is a template: {{{name}}} is a placeholder.",
            fix="Put the value in its place.",
            steps=MODEL_STEPS,
        )


def _sections(value: Mapping[str, Any]) -> Iterator[Problem]:
    for key in ("model", "data"):
        if not ObjectSpec.is_spec(value.get(key)):
            yield Problem(
                file=MODEL_CONFIG_NAME,
                key=key,
                found="The section is missing or has no class_path.",
                expected="class_path and init_args",
                steps=MODEL_STEPS,
            )
    yield from _trainer(value.get("trainer"))
    known = ("model", "data", "trainer", *_PARSER_KEYS)
    for key in value:
        if key not in known:
            yield Problem(
                file=MODEL_CONFIG_NAME,
                key=str(key),
                found="Nothing uses this key.",
                fix=did_you_mean(str(key), known),
                severity="warning",
                steps=MODEL_STEPS,
            )


def _trainer(section: object) -> Iterator[Problem]:
    if section is not None and not isinstance(section, Mapping):
        found = f"It is {section!r}."
        yield Problem(file=MODEL_CONFIG_NAME, key="trainer", found=found, expected="a mapping", steps=MODEL_STEPS)
        return
    callbacks = section.get("callbacks") if section is not None else None
    for index, callback in enumerate(callbacks if isinstance(callbacks, list) else [callbacks] if callbacks else []):
        if not ObjectSpec.is_spec(callback):
            yield Problem(
                file=MODEL_CONFIG_NAME,
                key=f"trainer.callbacks[{index}]",
                found=f"It is {callback!r}.",
                expected="class_path and init_args",
                steps=MODEL_STEPS,
            )
