"""A GPU for each worker: which one of the machine's a worker process computes on."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path

import torch
from filelock import FileLock, Timeout

__all__ = ["claim_number", "gpu_of", "worker_device"]

# Of this process, held until it ends, however it ends.
_held: list[tuple[int, FileLock]] = []


def worker_device(asked: str | None, *, given: bool) -> str | None:
    """The device of this worker process.

    Args:
        asked: ``cuda:1`` and the like are left as they are; ``cuda``, ``auto`` or None mean any GPU.
        given: Whether whoever started the worker may have given it a GPU, as clusters do.

    Returns:
        A GPU of its own where there are several; else what was asked for.
    """
    if asked not in (None, "auto", "cuda") or (count := torch.cuda.device_count()) < 2:
        return asked
    number = gpu_of(os.environ.get("CUDA_VISIBLE_DEVICES"), count=count, given=given)
    if number is None:
        number = claim_number(_folder()) % count
    # What a model puts on "cuda" without a number lies there too.
    torch.cuda.set_device(number)
    return f"cuda:{number}"


def gpu_of(visible: str | None, *, count: int, given: bool) -> int | None:
    """The number of the GPU that a worker was given, among those that it sees; None if nobody chose one.

    Dask-CUDA shows every worker all GPUs, its own first: 0,1,2 to the first one, 1,2,0 to the second.

    Args:
        visible: ``CUDA_VISIBLE_DEVICES`` of the worker.
        count: How many GPUs it sees.
        given: Whether it may have been given one.
    """
    names = [name.strip() for name in (visible or "").split(",") if name.strip()]
    if count < 2 or not names or not given:
        return 0 if count == 1 else None
    in_order = all(name.isdigit() for name in names) and sorted(names, key=int) == names
    # In order they are also what the user's shell said to everybody.
    return None if in_order else 0


def claim_number(folder: Path) -> int:
    """The lowest number that no other living process of this machine has claimed; the same again in this process.

    A process that dies leaves its number to the one that takes its place.

    Args:
        folder: Where the claims are, on this machine.
    """
    if not _held:
        folder.mkdir(parents=True, exist_ok=True)
        for number in itertools.count():
            lock = FileLock(folder / f"{number}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            _held.append((number, lock))
            break
    return _held[0][0]


def _folder() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else "all"
    return Path(tempfile.gettempdir()) / f"olmoearth_nb_workers_{user}"
