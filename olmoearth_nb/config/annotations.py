"""Values of a configuration against type annotations: do they fit, what would fit, what becomes of them.

Strict where a mistake would go unnoticed (true is no number, 1.5 no whole number, "3" no number) and lenient where
YAML has no other way to say it (an integer for a float, a list for a tuple, a text for an enum, a path or a CRS).
"""

from __future__ import annotations

import collections.abc
import enum
import json
import os
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeGuard

import rasterio
from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticUndefinedAnnotation
from rasterio.crs import CRS
from rasterio.errors import CRSError

__all__ = [
    "accepts_anything",
    "arms",
    "classes_of",
    "coerce",
    "describe",
    "fits",
    "is_plain",
    "item_type",
    "value_type",
]

_NAMES: dict[object, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    type(None): "null",
    CRS: "a CRS, such as EPSG:32633",
}
_LISTS = (list, tuple, set, frozenset, Sequence, collections.abc.Iterable, collections.abc.Collection)
_MAPPINGS = (dict, Mapping, collections.abc.MutableMapping)


def arms(annotation: object) -> tuple[object, ...]:
    """The alternatives of a union, without ``Annotated``; anything else is its own only one.

    Args:
        annotation: A type annotation.

    Example:
        >>> arms(int | None)
        (<class 'int'>, <class 'NoneType'>)
    """
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return arms(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return tuple(arm for one in typing.get_args(annotation) for arm in arms(one))
    return (type(None),) if annotation is None else (annotation,)


def accepts_anything(annotation: object) -> bool:
    """Whether an annotation says nothing that could be checked.

    Args:
        annotation: A type annotation.
    """
    return any(
        arm is Any or arm is object or isinstance(arm, typing.TypeVar | str | typing.ForwardRef)
        for arm in arms(annotation)
    )


def classes_of(annotation: object) -> tuple[type, ...]:
    """The classes that an annotation names as such (no builtins, no generic containers).

    Args:
        annotation: A type annotation.
    """
    builtins = (bool, int, float, str, type(None), *_LISTS, *_MAPPINGS)
    return tuple(arm for arm in arms(annotation) if _is_class(arm) and arm not in builtins)


def is_plain(annotation: object) -> bool:
    """Whether an annotation names no class that would have to be made: only numbers, texts, containers, enums.

    Args:
        annotation: A type annotation.
    """
    return all(
        all(map(is_plain, typing.get_args(arm)))
        if typing.get_origin(arm) not in (None, Literal)
        else not _is_class(arm) or arm not in classes_of(arm) or issubclass(arm, (enum.Enum, os.PathLike, CRS))
        for arm in arms(annotation)
    )


def item_type(annotation: object) -> object | None:
    """The type of a list's items; None if the annotation takes no list.

    Args:
        annotation: A type annotation.
    """
    return _inner(annotation, _LISTS, 0)


def value_type(annotation: object) -> object | None:
    """The type of a mapping's values; None if the annotation takes no mapping.

    Args:
        annotation: A type annotation.
    """
    return _inner(annotation, _MAPPINGS, 1)


def _inner(annotation: object, origins: tuple[object, ...], index: int) -> object | None:
    if accepts_anything(annotation):
        return Any
    for arm in arms(annotation):
        if (typing.get_origin(arm) or arm) in origins:
            arguments = typing.get_args(arm)
            return arguments[index] if len(arguments) > index else Any
    return None


def fits(value: object, annotation: object) -> bool:
    """Whether plain data (numbers, texts, lists, mappings) is what an annotation asks for.

    Args:
        value: Plain data; a number, text or null where the annotation is not plain (see :func:`is_plain`).
        annotation: A type annotation.
    """
    alternatives = arms(annotation)
    if accepts_anything(annotation) or (CRS in alternatives and _crs(value) is not None):
        return True
    if any(_member(value, arm) is not None for arm in alternatives):
        return True
    try:
        # In a list, because an adapter takes a configuration for some types only.
        adapter = TypeAdapter(list[annotation], config=ConfigDict(arbitrary_types_allowed=True))  # type: ignore[valid-type]
    except (PydanticUserError, PydanticUndefinedAnnotation, TypeError, NameError):
        return True  # an annotation that pydantic does not understand
    try:
        # As JSON, because that is the mode in which strict still takes lists for tuples and texts for enums.
        adapter.validate_json(json.dumps([value], default=str), strict=True)
    except ValidationError:
        return False
    return True


def coerce(value: object, annotation: object) -> object:
    """What is passed on for plain data that fits: itself, or the CRS, enum member or path that it means.

    Args:
        value: Plain data.
        annotation: A type annotation.
    """
    alternatives = arms(annotation)
    if any(isinstance(value, arm) for arm in alternatives if _is_class(arm)):
        return value
    if CRS in alternatives and value is not None:
        return _crs(value) or value
    for arm in alternatives:
        member = _member(value, arm)
        if member is not None:
            return member
        if isinstance(value, str) and _is_class(arm) and issubclass(arm, os.PathLike):
            return Path(value)
    return value


def _is_class(arm: object) -> TypeGuard[type]:
    # Since Python 3.11 typing.Any is a class.
    return isinstance(arm, type) and arm is not Any


def _member(value: object, arm: object) -> enum.Enum | None:
    """The enum member that a text or number means, by value or by name."""
    if not (_is_class(arm) and issubclass(arm, enum.Enum)) or isinstance(value, bool):
        return None
    return next((member for member in arm if value in (member.value, member.name)), None)


def _crs(value: object) -> CRS | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    try:
        with rasterio.Env():  # which keeps GDAL from writing to the terminal
            return CRS.from_user_input(value)
    except CRSError:
        return None


def describe(annotation: object) -> str:
    """An annotation in words.

    Args:
        annotation: A type annotation.

    Example:
        >>> describe(float | None)
        'a number or null'
    """
    return " or ".join(dict.fromkeys(_describe_arm(arm) for arm in arms(annotation)))


def _describe_arm(arm: object) -> str:
    origin, arguments = typing.get_origin(arm), typing.get_args(arm)
    if arm in _NAMES:
        return _NAMES[arm]
    if origin is Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    if (origin or arm) in _LISTS:
        return f"a list of {describe(arguments[0])}" if arguments and arguments[0] is not Any else "a list"
    if (origin or arm) in _MAPPINGS:
        return "a mapping"
    if _is_class(arm) and issubclass(arm, enum.Enum):
        return f"one of {', '.join(repr(member.value) for member in arm)}"
    if _is_class(arm) and issubclass(arm, os.PathLike):
        return "a path"
    if _is_class(arm):
        return f"an object of {arm.__name__}, given as class_path and init_args"
    return str(arm)
