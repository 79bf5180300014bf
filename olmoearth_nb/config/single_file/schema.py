"""``olmoearth_config.yaml`` as pydantic models, and what is wrong with one in the words of this package."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from pydantic import Field, ValidationError

from olmoearth_nb.config.report import Problem, did_you_mean, one_of
from olmoearth_nb.config.single_file.data import Data, Framed
from olmoearth_nb.config.single_file.network import Model, Preprocessing, Training
from olmoearth_nb.config.single_file.part import Part
from olmoearth_nb.config.single_file.steps import LabeledDataPrep, PredictionRequests
from olmoearth_nb.config.yamlfile import join, parse_yaml

__all__ = ["SINGLE_CONFIG_NAME", "Places", "SingleConfig", "read_single"]

SINGLE_CONFIG_NAME = "olmoearth_config.yaml"

_TYPES = {
    "string_type": "text (in quotes, where YAML takes it for something else)",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


class Context(Part):
    """The section ``transpiler_context`` of the newer form."""

    downsample_factor: int = Field(default=1, ge=1)


class SingleConfig(Part):
    """The file. Every section but ``data`` is needed only by the steps that use it."""

    config_version: str
    data: Data
    model: Model | None = None
    input_preprocessing: Preprocessing | None = None
    labeled_data_prep: LabeledDataPrep | None = None
    training: Training | None = None
    prediction_requests: PredictionRequests | None = None
    transpiler_context: Context = Context()

    @property
    def is_newer(self) -> bool:
        """Whether it has what olmoearth-runner 0.1.14 can't read: lists of fields or of observations."""
        fields = self.data.output.fields.values() if self.data.output else ()
        temporality = self.data.temporality
        return any(one.name for one in fields) or (
            isinstance(temporality, Framed) and bool(temporality.all_observations)
        )


@dataclass(frozen=True)
class Places:
    """Lines of a file, by the path of the key.

    Attributes:
        lines: Path -> line, counted from 1.
    """

    lines: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Places:
        """Places of a YAML text.

        Args:
            text: YAML that can be parsed.
        """
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        return cls(dict(_lines(node, ""))) if node is not None else cls()

    def problem(self, key: str, found: str, **rest: Any) -> Problem:
        """A problem of the file, with the line of its key where that is there.

        Args:
            key: Path of the key.
            found: What was found.
            rest: See :class:`olmoearth_nb.config.report.Problem`.
        """
        line = self.lines.get(key)
        text = f"{found.removesuffix('.')} (line {line})." if line else found
        return Problem(file=SINGLE_CONFIG_NAME, key=key, found=text, **rest)


def _lines(node: yaml.Node, path: str) -> Iterator[tuple[str, int]]:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield join(path, index), item.start_mark.line + 1
            yield from _lines(item, join(path, index))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield join(path, str(key.value)), key.start_mark.line + 1
            yield from _lines(value, join(path, str(key.value)))


def read_single(text: str, *, where: str = SINGLE_CONFIG_NAME) -> tuple[SingleConfig | None, Places, list[Problem]]:
    """Parses and validates ``olmoearth_config.yaml``.

    Args:
        text: What it says.
        where: The file, for errors.

    Returns:
        What it says, or None if anything in it is wrong; where it says so; errors and warnings.

    Raises:
        ConfigError: If it is not YAML (with line and column) or no mapping.
    """
    file = parse_yaml(text, where)
    places = Places.of(text)
    warnings = [
        places.problem(
            key,
            f"This key is written twice (again in line {line}); the last one counts.",
            fix="Remove one of them.",
            severity="warning",
        )
        for key, line in file.duplicates
    ]
    # A version such as 0.1 is a number to YAML.
    version = file.value.get("config_version")
    raw = {**file.value, **({"config_version": str(version)} if isinstance(version, int | float) else {})}
    try:
        config = SingleConfig.model_validate(raw)
    except ValidationError as error:
        return None, places, [*(_wrong(detail, raw, places) for detail in error.errors(include_url=False)), *warnings]
    return config, places, [*warnings, *(_unknown(key, part, places) for key, part in config.unknown_keys())]


def _key(location: tuple[int | str, ...], raw: object) -> str:
    """Path of a value; pydantic puts the chosen member of a union into it too."""
    path, value = "", raw
    for index, part in enumerate(location):
        there = isinstance(value, Mapping) and part in value
        inside = isinstance(value, list) and isinstance(part, int)
        if there or inside:
            value = value[part]  # type: ignore[index]  # one of the two
        elif index < len(location) - 1 or (isinstance(value, Mapping) and part in value.values()):
            continue
        path = join(path, part)
    return path


def _wrong(detail: Mapping[str, Any], raw: object, places: Places) -> Problem:
    key, kind, given = _key(detail["loc"], raw), str(detail["type"]), detail["input"]
    message, context = str(detail["msg"]).removeprefix("Value error, "), detail.get("ctx", {})
    match kind:
        case "missing":
            written = difflib.get_close_matches(str(detail["loc"][-1]), [str(one) for one in given or ()], n=1)
            fix = f"Did you misspell it as {written[0]}?" if written else None
            return places.problem(key, "This key is missing.", fix=fix)
        case "union_tag_not_found":
            name = str(context["discriminator"]).strip("'")
            return places.problem(key, f"It has no {name}.", expected=f"a mapping with {name}")
        case "union_tag_invalid" | "literal_error":
            expected = str(context.get("expected_tags") or context["expected"]).replace("'", "")
            name = str(context.get("discriminator", "")).strip("'")
            value = str(given.get(name) if kind == "union_tag_invalid" else given)
            options = expected.replace(" or ", ", ").split(", ")
            where = join(key, name) if name else key
            return places.problem(where, f"It is {value!r}.", expected=expected, fix=did_you_mean(value, options))
        case "value_error":
            return places.problem(key, f"{message}.")
    expected = _TYPES.get(kind) or message.removeprefix("Input should be ").removeprefix("a valid ")
    return places.problem(key, f"It is {given!r}."[:200], expected=expected)


def _unknown(key: str, part: type[Part], places: Places) -> Problem:
    name = key.rpartition(".")[2]
    options = list(part.model_fields)
    fix = did_you_mean(name, options) or f"Known here: {one_of(options)}."
    return places.problem(key, "Nothing uses this key.", fix=fix, severity="warning")
