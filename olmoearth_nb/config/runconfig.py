"""Reading ``olmoearth_run.yaml``: section by section, so that a mistake in one does not hide the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, overload

from pydantic import ValidationError

from olmoearth_nb.config.report import FINE_TUNE_STEPS, Problem, config_error, did_you_mean, one_of
from olmoearth_nb.config.schema import (
    InferenceResultsConfig,
    ObjectSpec,
    PartitionStrategies,
    PostprocessingStrategies,
    Section,
    WindowPrep,
)
from olmoearth_nb.config.yamlfile import join, read_yaml
from olmoearth_nb.errors import ConfigError
from olmoearth_nb.legend import Legend
from olmoearth_nb.types import StepName

__all__ = ["SECTION_STEPS", "RunConfig", "SectionName", "load_run_config", "read_run_config"]

SectionName: TypeAlias = Literal[
    "partition_strategies", "postprocessing_strategies", "window_prep", "inference_results_config"
]

_SECTIONS: dict[SectionName, type[Section]] = {
    "partition_strategies": PartitionStrategies,
    "postprocessing_strategies": PostprocessingStrategies,
    "window_prep": WindowPrep,
    "inference_results_config": InferenceResultsConfig,
}

SECTION_STEPS: dict[SectionName, frozenset[StepName]] = {
    "partition_strategies": frozenset({StepName.PARTITION}),
    "postprocessing_strategies": frozenset({StepName.POSTPROCESS, StepName.COMBINE}),
    # The later steps need the name of the group.
    "window_prep": FINE_TUNE_STEPS,
    "inference_results_config": frozenset({StepName.INFERENCE, StepName.POSTPROCESS, StepName.COMBINE}),
}
"""Which steps need which section."""

_PREPARE = frozenset({StepName.PREPARE_LABELED_WINDOWS})
_EXPECTED = {
    "string_type": "text (in quotes, where YAML takes it for something else)",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "list_type": "a list",
    "model_type": "a mapping",
}


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """``olmoearth_run.yaml``.

    Attributes:
        path: The file.
        partition_strategies: None if the file has no such section, or a wrong one.
        postprocessing_strategies: The same.
        window_prep: The same.
        inference_results_config: The same.
        unknown_keys: Paths of keys that the schema does not know, in order.
        problems: What is wrong with the sections.

    Example:
        >>> RunConfig(path=Path("olmoearth_run.yaml")).require("window_prep", step="prepare_labeled_windows")
        Traceback (most recent call last):
        ...
        olmoearth_nb.errors.ConfigError: olmoearth_run.yaml: The section window_prep is missing; \
the step prepare_labeled_windows needs it.
    """

    path: Path
    partition_strategies: PartitionStrategies | None = None
    postprocessing_strategies: PostprocessingStrategies | None = None
    window_prep: WindowPrep | None = None
    inference_results_config: InferenceResultsConfig | None = None
    unknown_keys: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @overload
    def require(self, section: Literal["partition_strategies"], step: str) -> PartitionStrategies: ...
    @overload
    def require(self, section: Literal["postprocessing_strategies"], step: str) -> PostprocessingStrategies: ...
    @overload
    def require(self, section: Literal["window_prep"], step: str) -> WindowPrep: ...
    @overload
    def require(self, section: Literal["inference_results_config"], step: str) -> InferenceResultsConfig: ...

    def require(self, section: SectionName, step: str) -> Section:
        """A section that a step needs.

        Args:
            section: Its key.
            step: What needs it, for the error.

        Raises:
            ConfigError: If it is missing or wrong.
        """
        value = cast("Section | None", getattr(self, section))
        if value is not None:
            return value
        wrong = self.problems_of(section)
        if wrong:
            raise config_error(wrong)
        raise ConfigError(f"The section {section} is missing; the step {step} needs it.", where=str(self.path))

    def problems_of(self, section: SectionName) -> tuple[Problem, ...]:
        """The errors in a section.

        Args:
            section: Its key.
        """
        return tuple(
            problem
            for problem in self.problems
            if problem.severity == "error" and problem.key.partition(".")[0] == section
        )

    def specs(self) -> dict[str, ObjectSpec]:
        """Every object that the file describes, by its path."""
        found: dict[str, ObjectSpec] = {}
        for section in _SECTIONS:
            value = getattr(self, section)
            for name in type(value).model_fields if value is not None else ():
                spec = getattr(value, name)
                if isinstance(spec, ObjectSpec):
                    found[spec.path] = spec
        return found

    def legend(self) -> Legend:
        """Classes, colours and ranges of the results.

        Raises:
            ConfigError: If there is no ``inference_results_config``, or a wrong one.
        """
        return self.require("inference_results_config", step="of showing results").legend()


def load_run_config(path: str | PathLike[str]) -> RunConfig:
    """Reads ``olmoearth_run.yaml`` and refuses one with a mistake.

    Args:
        path: The file.

    Raises:
        ConfigError: If the file is missing, is not YAML (with line and column), or a section is wrong; lists all.
    """
    config = read_run_config(path)
    errors = [problem for problem in config.problems if problem.severity == "error"]
    if errors:
        raise config_error(errors)
    return config


def read_run_config(path: str | PathLike[str]) -> RunConfig:
    """Reads ``olmoearth_run.yaml``; sections that are wrong are None and their mistakes in ``problems``.

    Args:
        path: The file.

    Raises:
        ConfigError: If the file is missing or is not YAML (with line and column).
    """
    path = Path(path)
    file = read_yaml(path)
    problems = [_duplicate(path.name, key, line) for key, line in file.duplicates]
    sections: dict[str, Any] = {}
    unknown = [str(key) for key in file.value if key not in _SECTIONS]
    for name, model in _SECTIONS.items():
        section, wrong = _parse_section(path.name, name, model, file.value.get(name))
        problems += wrong
        if section is not None:
            sections[name] = section
            unknown += section.unknown_keys(name)
    problems += [_unknown(path.name, key) for key in unknown]
    return RunConfig(path=path, unknown_keys=tuple(unknown), problems=tuple(problems), **sections)


def _parse_section(
    file: str, name: SectionName, model: type[Section], raw: object
) -> tuple[Section | None, list[Problem]]:
    if raw is None:
        return None, []
    if not isinstance(raw, Mapping):
        steps = SECTION_STEPS[name]
        return None, [Problem(file=file, key=name, found=f"It is {raw!r}.", expected="a mapping", steps=steps)]
    try:
        return model.model_validate(dict(raw), context={"section": name}), []
    except ValidationError as error:
        return None, [_wrong(file, name, detail) for detail in error.errors(include_url=False)]


def _key(section: str, location: tuple[int | str, ...]) -> str:
    path = section
    for part in location:
        path = join(path, part)
    return path


def _wrong(file: str, section: SectionName, detail: Mapping[str, Any]) -> Problem:
    key, message = _key(section, detail["loc"]), str(detail["msg"]).removeprefix("Value error, ")
    steps = SECTION_STEPS[section]
    if detail["type"] == "missing":
        return Problem(file=file, key=key, found="This key is missing.", steps=steps)
    if detail["type"] == "value_error":
        return Problem(file=file, key=key, found=f"{message}.", steps=steps)
    expected = _EXPECTED.get(detail["type"], message.removeprefix("Input should be "))
    return Problem(file=file, key=key, found=f"It is {detail['input']!r}.", expected=expected, steps=steps)


def _duplicate(file: str, key: str, line: int) -> Problem:
    return Problem(
        file=file,
        key=key,
        found=f"This key is written twice (again in line {line}); the last one counts.",
        fix="Remove one of them.",
        severity="warning",
    )


def _unknown(file: str, key: str) -> Problem:
    if key == "window_prep.label_property":
        found = "This key is not in the schema; it names the value of es_label in older annotation files."
        return Problem(file=file, key=key, found=found, severity="warning", steps=_PREPARE)
    section, _, rest = key.partition(".")
    options: list[str] = list(_SECTIONS)
    if rest:
        model = _SECTIONS.get(cast("SectionName", section))
        options = list(model.model_fields) if model and "." not in rest else []
    advice = did_you_mean(rest or key, options) or (f"Known here: {one_of(options)}." if options else None)
    return Problem(file=file, key=key, found="Nothing uses this key.", fix=advice, severity="warning")
