"""What an estimate runs into: disk, files, folders, memory, time; and which of them first."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from olmoearth_nb.planning.amounts import Amounts
from olmoearth_nb.planning.rates import Figure
from olmoearth_nb.planning.steps import StepCost
from olmoearth_nb.planning.windows import MAX_WINDOWS

__all__ = ["Limit", "Machine", "limits_of", "look_at"]

# A folder with more entries takes seconds to list on common file systems, and minutes on those of clusters.
_FOLDER = 100_000

_WORKERS, _COMBINING = "memory of the workers", "memory of combining"
_FIXED = (_WORKERS, _COMBINING)
_OTHERS = "more workers: engine='dask'"
_FASTER = {
    "dataset_build": "more workers near the catalogue: engine='dask'; larger windows read less beside them",
    "inference on CPUs": "a GPU, more workers, or a smaller encoder",
    "inference on GPUs": "more GPUs: engine='dask'; or a smaller encoder, larger crops",
    "partition": "several requests",
    "combine": "several requests",
}


@dataclass(frozen=True, kw_only=True)
class Limit:
    """Something that there is only so much of.

    Attributes:
        what: What it is.
        needed: How much the request takes.
        there: How much there is.
        unit: Of both.
        breaks_at: Windows of this kind at which it would; None if that does not depend on their number.
        fix: What to do then.
    """

    what: str
    needed: float
    there: float
    unit: str
    breaks_at: int | None
    fix: str

    @property
    def share(self) -> float:
        """``needed / there``; above 1 it breaks."""
        return self.needed / self.there


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a machine has.

    Attributes:
        cores: That this process may use.
        memory: Bytes of all of its memory; None if it does not say.
        disk: Bytes that are free where the scratch will be.
        inodes: Files and folders that fit there; None if the file system has no such number.
    """

    cores: int
    memory: int | None
    disk: int
    inodes: int | None


def look_at(scratch: Path) -> Machine:
    """What this machine has.

    Args:
        scratch: Where the scratch will be; nothing has to be there yet.
    """
    there = next(folder for folder in (scratch, *scratch.parents) if folder.is_dir())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = inodes = None
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if hasattr(os, "statvfs"):
        inodes = os.statvfs(there).f_favail or None
    return Machine(cores=cores, memory=memory, disk=shutil.disk_usage(there).free, inodes=inodes)


def limits_of(
    amounts: Amounts, steps: Sequence[StepCost], figures: Mapping[str, Figure], machine: Machine, *, windows: int
) -> tuple[Limit, ...]:
    """What there is only so much of, that which is nearest first.

    Args:
        amounts: What the request takes.
        steps: How long its steps take.
        figures: See :func:`olmoearth_nb.planning.rates.figures_of`.
        machine: What there is.
        windows: Of the request.
    """
    elsewhere = figures["workers"].value > machine.cores
    smaller = "fewer workers, or a machine with more"
    rows: list[tuple[str, float, float | None, str, str]] = [
        ("disk at the scratch", amounts.scratch_bytes, machine.disk, "bytes", "another --scratch-path, or fewer dates"),
        ("files at the scratch", amounts.scratch_files, machine.inodes, "files", "larger windows; SQLite has fewer"),
        ("windows in a folder", amounts.folder_entries, _FOLDER, "windows", "smaller partitions"),
        ("windows of a plan", windows, MAX_WINDOWS, "windows", "larger windows, or several requests"),
        ("memory of planning", amounts.plan_memory, machine.memory, "bytes", "larger windows, or several requests"),
        # More workers than cores are those of a cluster.
        (_WORKERS, amounts.worker_memory, None if elsewhere else machine.memory, "bytes", smaller),
        (_COMBINING, amounts.combine_memory, machine.memory, "bytes", "a machine with more"),
    ]
    known = {one.step: one.seconds / 3600 for one in steps if one.seconds is not None}
    slow = [name for name in known if name.startswith("inference")]
    if len(slow) > 1:  # one of them is chosen
        del known[max(slow, key=known.__getitem__)]
    patience = figures["patience_hours"].value
    rows += [(f"time of {name}", hours, patience, "hours", _FASTER.get(name, _OTHERS)) for name, hours in known.items()]
    found = [
        Limit(
            what=what,
            needed=need,
            there=there,
            unit=unit,
            breaks_at=None if what in _FIXED else round(windows * there / need),
            fix=fix,
        )
        for what, need, there, unit, fix in rows
        if there and need
    ]
    return tuple(sorted(found, key=lambda one: -one.share))
