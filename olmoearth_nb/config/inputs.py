"""What a person can fill in for a component: one input for each argument of its constructor."""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, Union

from olmoearth_nb.config.imports import import_object
from olmoearth_nb.config.signatures import parameters_of

__all__ = ["ArgumentInput", "inputs_of"]

InputKind: TypeAlias = Literal["flag", "whole", "number", "choice", "yaml"]


@dataclass(frozen=True, kw_only=True)
class ArgumentInput:
    """One argument.

    Attributes:
        name: Its name.
        kind: How it is given: yes or no, a whole number, a number, one of some choices, or any YAML.
        default: What it is if it is not given; None too if there is no default.
        required: Whether it has to be given.
        choices: Of a choice.
    """

    name: str
    kind: InputKind
    default: Any = None
    required: bool = False
    choices: tuple[Any, ...] = ()


def inputs_of(class_path: str, *, search_path: Sequence[Path] = ()) -> tuple[ArgumentInput, ...]:
    """The arguments of a component.

    Args:
        class_path: Its name, as ``olmoearth_run.yaml`` has it.
        search_path: Folders to look in for custom modules.

    Raises:
        ConfigError: If it can't be imported.

    Example:
        >>> [(one.name, one.kind, one.default) for one in inputs_of("SimplifyPolygons")]
        [('tolerance', 'number', 0.01), ('preserve_topology', 'flag', True)]
    """
    target = import_object(class_path, search_path=search_path)
    parameters = parameters_of(target)
    defaults = inspect.signature(target).parameters if parameters.types and callable(target) else {}
    found = []
    for name, annotation in parameters.types.items():
        default = None if name in parameters.required else defaults[name].default
        default = default.value if isinstance(default, enum.Enum) else default
        kind, choices = _kind_of(annotation)
        found.append(
            ArgumentInput(name=name, kind=kind, default=default, required=name in parameters.required, choices=choices)
        )
    return tuple(found)


def _kind_of(annotation: object) -> tuple[InputKind, tuple[Any, ...]]:
    origin = typing.get_origin(annotation)
    if origin is Literal:
        return "choice", typing.get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return "choice", tuple(member.value for member in annotation)
    members = set(typing.get_args(annotation)) if origin in (Union, types.UnionType) else {annotation}
    if members == {bool}:
        return "flag", ()
    if members == {int}:
        return "whole", ()
    # One that may be null can't be told apart from an empty number.
    return ("number", ()) if members <= {int, float} else ("yaml", ())
