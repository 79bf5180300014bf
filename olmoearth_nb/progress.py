"""Progress bars: tqdm where a person looks, nothing where nobody does, anything of one's own.

``progress`` arguments take None (a bar if a person looks), False (none), True (a bar anyway) or a factory
with the signature of :class:`ProgressFactory`.
"""

from __future__ import annotations

import sys
from typing import Protocol, TypeAlias

from tqdm import auto

from olmoearth_nb.errors import UsageError

__all__ = ["Progress", "ProgressBar", "ProgressFactory", "open_bar"]


class ProgressBar(Protocol):
    """What a running step tells its progress to."""

    def update(self, n: int = 1, /) -> object:
        """``n`` more units are done."""
        ...

    def close(self) -> object:
        """The step is over."""
        ...


class ProgressFactory(Protocol):
    """Makes a bar for a step."""

    def __call__(self, *, total: int, desc: str, unit: str) -> ProgressBar:
        """A bar of ``total`` units."""
        ...


Progress: TypeAlias = bool | ProgressFactory | None


class _Silent:
    def update(self, n: int = 1, /) -> None:
        """Nobody looks."""

    def close(self) -> None:
        """Nobody looks."""


class _Bar(auto.tqdm):  # type: ignore[type-arg]
    """Without the thread that looks after all bars: a process with threads can't fork its workers."""

    monitor_interval = 0


def open_bar(progress: Progress, *, total: int, desc: str, unit: str = "window") -> ProgressBar:
    """A bar for a step; close it when the step is over.

    Args:
        progress: None, a bool or a factory (see the module).
        total: Number of units.
        desc: What is being done.
        unit: Name of a unit, singular.

    Raises:
        UsageError: If ``progress`` is something else.
    """
    match progress:
        case False:
            return _Silent()
        case None | True:
            if progress is None and not _somebody_looks():
                return _Silent()
            bar: ProgressBar = _Bar(total=total, desc=desc, unit=unit, miniters=1)
            return bar
        case factory if callable(factory):
            return factory(total=total, desc=desc, unit=unit)
        case other:
            raise UsageError(
                "This is no way to show progress.",
                where="progress",
                expected="None, true, false or a function of total, desc and unit that makes a bar",
                found=repr(other)[:200],
            )


def _somebody_looks() -> bool:
    shell = sys.modules.get("IPython")
    if shell is not None and "IPKernelApp" in getattr(shell.get_ipython(), "config", {}):
        return True
    return sys.stderr is not None and sys.stderr.isatty()
