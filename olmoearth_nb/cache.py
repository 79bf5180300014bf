"""Where this package keeps what it can make again."""

from __future__ import annotations

import os
from pathlib import Path

from olmoearth_nb.files import absolute_path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """The folder for files that can be made again; it need not exist yet.

    ``OLMOEARTH_NB_CACHE`` if that is set, else ``olmoearth_nb`` in ``XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        UsageError: If the variable holds no path.
    """
    own = os.environ.get("OLMOEARTH_NB_CACHE")
    if own:
        return absolute_path(own, what="cache folder")
    return absolute_path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", what="cache folder") / "olmoearth_nb"
