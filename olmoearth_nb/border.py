"""The border to code that isn't ours: rslearn, data sources, custom components.

Such code may raise anything, ``SystemExit`` included (rslearn's parser exits on a bad argument), and must not take
a notebook down or hide which window failed. This is the one place with a broad ``except``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar

from olmoearth_nb.errors import OlmoEarthError

__all__ = ["attempt", "describe", "foreign_code"]

T = TypeVar("T")

_LONGEST = 400


@contextlib.contextmanager
def foreign_code(
    error: type[OlmoEarthError], what: str, *, where: str | None = None, fix: str | None = None
) -> Iterator[None]:
    """Turns whatever the block raises into one error of this package; our own errors pass.

    Args:
        error: Class to raise.
        what: What was being done, without a full stop.
        where: File, class or window.
        fix: What to do.

    Raises:
        OlmoEarthError: Of class ``error``, caused by the original.
    """
    try:
        yield
    except OlmoEarthError:
        raise
    except (Exception, SystemExit) as cause:  # code of others can raise anything
        raise error(f"{what}: {describe(cause)}", where=where, fix=fix) from cause


def attempt(call: Callable[[], T]) -> tuple[T, None] | tuple[None, BaseException]:
    """What a call returns, or what it raises, to be looked at elsewhere.

    Args:
        call: The call.
    """
    try:
        return call(), None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - code of others can raise anything
        return None, error


def describe(cause: BaseException) -> str:
    """One line that says what an exception of somebody else's means.

    Args:
        cause: Any exception.
    """
    root = cause
    if isinstance(cause, SystemExit) and cause.__context__ is not None:
        root = cause.__context__
    text = " ".join(str(root).split()) or "no message"
    if len(text) > _LONGEST:
        text = text[:_LONGEST] + "…"
    return f"{type(root).__name__}: {text}".rstrip(".") + "."
