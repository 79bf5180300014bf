"""Data sources of our own, for ``dataset.json``: local imagery and vector files, read where they lie.

Names are resolved when they are first used, so that asking which files a source reads needs no rslearn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from olmoearth_nb.sources.rasters import LocalRasters
    from olmoearth_nb.sources.vectors import LocalVectors

__all__ = ["LocalRasters", "LocalVectors"]

_HOME = {"LocalRasters": "rasters", "LocalVectors": "vectors"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
