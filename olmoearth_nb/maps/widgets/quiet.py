"""Tells what a person sets in a widget from what code shows in it."""

from __future__ import annotations

import threading

__all__ = ["Quiet"]


class Quiet:
    """True within its ``with`` block, in the thread that entered it.

    The kernel handles messages of widgets in several threads: what a person sets meanwhile must not be lost.

    Example:
        >>> quiet = Quiet()
        >>> with quiet:
        ...     print(bool(quiet))
        True
        >>> bool(quiet)
        False
    """

    def __init__(self) -> None:
        self._thread: int | None = None

    def __enter__(self) -> None:
        self._thread = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._thread = None

    def __bool__(self) -> bool:
        return self._thread == threading.get_ident()
