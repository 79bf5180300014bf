"""Where processes that read leave their sockets.

Tensors come from these processes through a socket in the temporary folder, and the name of a socket can't be long: 108
characters on Linux, 104 on macOS. With a long TMPDIR the process that reads fails in a thread of its own, and the one
that waits for it waits for ever. (Python 3.14 chooses another folder by itself.)
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import tempfile
from multiprocessing import util
from pathlib import Path

from olmoearth_nb.errors import UsageError

__all__ = ["keep_sockets_short"]

# What multiprocessing adds to a temporary folder, "/pymp-12345678/listener-12345678", of which the longest is 103.
_LONGEST = 103
_NAME = len("/listener-12345678")
_FOLDER = len("/pymp-12345678")
_SHORT = ("/tmp", "/var/tmp")


def keep_sockets_short() -> None:
    """Gives processes to be started a folder for their sockets whose name is short enough; else changes nothing.

    Raises:
        UsageError: If there is none.
    """
    if os.name != "posix":
        return  # pipes, whose names are not in a folder
    # Where multiprocessing keeps its own temporary folder; processes that are started take over what is there.
    config: dict[str, object] = multiprocessing.current_process()._config  # type: ignore[attr-defined]
    made = config.get("tempdir")
    if _fits(str(made) if made else tempfile.gettempdir(), 0 if made else _FOLDER):
        return
    for base in _SHORT:
        if Path(base).is_dir() and os.access(base, os.W_OK | os.X_OK):
            folder = tempfile.mkdtemp(prefix="pymp-", dir=base)
            util.Finalize(None, shutil.rmtree, args=(folder, True), exitpriority=-100)
            config["tempdir"] = folder
            return
    raise UsageError(
        "The path of the temporary folder is too long for the sockets of processes that read.",
        where="TMPDIR",
        found=tempfile.gettempdir(),
        fix="Set TMPDIR to a folder with a shorter path, or NUM_WORKERS to 0.",
    )


def _fits(folder: str, extra: int) -> bool:
    return len(os.fsencode(folder)) + extra + _NAME <= _LONGEST
