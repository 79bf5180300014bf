"""What a class or callable takes, read from its signature; nothing is called."""

from __future__ import annotations

import ast
import inspect
import textwrap
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import ConfigError

__all__ = ["Parameters", "parameters_of", "result_class", "return_type"]

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Parameters:
    """Parameters that can be given by name.

    Attributes:
        types: Name -> annotation, ``Any`` where there is none.
        required: Names without a default.
        open: Whether other names may be taken as well.
    """

    types: Mapping[str, object]
    required: frozenset[str]
    open: bool


def parameters_of(target: object, *, through_bases: bool = False) -> Parameters:
    """The parameters of a class's constructor or of a callable.

    Args:
        target: Class or callable.
        through_bases: Whether ``**kwargs`` of a constructor are those of the next base's constructor, as the parser of
            rslearn takes them; else anything goes there.
    """
    if not callable(target):
        return Parameters({}, frozenset(), open=True)
    if through_bases and isinstance(target, type):
        return _constructor_through_bases(target)
    # The class itself has the signature that counts (pydantic makes one), its constructor the annotations.
    constructors = _constructors(target) if isinstance(target, type) else []
    return _read(target, _hints(constructors[0] if constructors else target), bound=True)


def _constructors(target: type) -> list[Callable[..., Any]]:
    bases = (vars(base) for base in target.__mro__ if base is not object)
    return [names["__init__"] for names in bases if "__init__" in names]


def _constructor_through_bases(target: type) -> Parameters:
    types: dict[str, object] = {}
    required: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()
    constructors = _constructors(target)
    for constructor in constructors:
        read = _read(constructor, _hints(constructor), bound=False)
        required |= {name for name in read.required if name not in types} - given
        types = {**{name: kind for name, kind in read.types.items() if name not in given}, **types}
        if not read.open:
            return Parameters(types, required, open=False)
        handed_on = _given_to_base(constructor)
        if handed_on is None:
            return Parameters(types, required, open=True)
        given |= handed_on
    return Parameters(types, required, open=bool(constructors))


def _given_to_base(constructor: Callable[..., Any]) -> frozenset[str] | None:
    """What a constructor gives to that of its base by name, beside ``**kwargs``; None if those go elsewhere."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(constructor)))
    except (OSError, TypeError, SyntaxError):
        return frozenset()  # nothing to look at
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "__init__"
    ]
    calls = [call for call in calls if any(keyword.arg is None for keyword in call.keywords)]
    if not calls:
        return None
    return frozenset(keyword.arg for call in calls for keyword in call.keywords if keyword.arg is not None)


def _read(target: Callable[..., Any], hints: Mapping[str, object], *, bound: bool) -> Parameters:
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        return Parameters({}, frozenset(), open=True)  # written in C, without a signature
    named = [parameter for parameter in parameters[0 if bound else 1 :] if parameter.kind in _NAMED]
    types = {one.name: hints.get(one.name, _annotation(one)) for one in named}
    required = frozenset(one.name for one in named if one.default is inspect.Parameter.empty)
    return Parameters(types, required, open=any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters))


def _annotation(parameter: inspect.Parameter) -> object:
    annotation = parameter.annotation
    return Any if annotation is inspect.Parameter.empty or isinstance(annotation, str) else annotation


def _hints(target: object) -> Mapping[str, object]:
    try:
        with foreign_code(ConfigError, "Annotations can't be read"):
            return typing.get_type_hints(target, include_extras=True)
    except ConfigError:
        return {}  # names that are imported for type checkers only


def return_type(target: object) -> object:
    """The return annotation of a function or method; None if there is none that can be read.

    Args:
        target: Function or method.
    """
    return _hints(target).get("return")


def result_class(target: object) -> type | None:
    """The class of what calling something gives; None if it does not show.

    Args:
        target: Class or callable.
    """
    if isinstance(target, type):
        return target
    result = return_type(target)
    if isinstance(result, type):
        return result
    # An alternative constructor, such as CRS.from_epsg.
    owner = getattr(target, "__self__", None)
    return owner if isinstance(owner, type) and result is None else None
