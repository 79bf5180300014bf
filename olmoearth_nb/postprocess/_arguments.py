"""Checks of what the YAML gives to a class, with errors that name the argument."""

from __future__ import annotations

import math
from numbers import Real

from olmoearth_nb.errors import ConfigError

__all__ = ["check_argument", "is_number"]


def is_number(value: object) -> bool:
    """Whether a value is a number: no text, no true or false, not NaN.

    Args:
        value: Anything.
    """
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)


def check_argument(right: bool, name: str, *, expected: str, found: object) -> None:
    """Refuses an argument.

    Args:
        right: Whether it can be used.
        name: Class and argument, ``SimplifyPolygons.tolerance``.
        expected: What is accepted.
        found: What was given.

    Raises:
        ConfigError: If it can't.
    """
    if not right:
        raise ConfigError("The argument can't be used.", where=name, expected=expected, found=repr(found))
