"""Small helpers that both runners share."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rslearn.utils.geometry import Projection

from olmoearth_nb.errors import InputFileError, OlmoEarthError, StorageError, UsageError
from olmoearth_nb.files import atomic_path, hash_file
from olmoearth_nb.planning import WindowFilter
from olmoearth_nb.postprocess.mask import Mask
from olmoearth_nb.store.windows import WindowKey
from olmoearth_nb.types import PixelBounds, StepName

__all__ = [
    "Ids",
    "counted",
    "file_hash",
    "install_file",
    "pick_ids",
    "pick_steps",
    "raise_if_failed",
    "remove",
    "window_filter",
    "window_text",
]

Ids = str | Iterable[str] | None
"""One id, several, or None for all."""


def window_text(key: WindowKey) -> str:
    """A window's key as one word: ``group/name``."""
    return "/".join(key)


def counted(reasons: Mapping[WindowKey, str | None]) -> dict[str, str]:
    """Windows with a reason, by text key, in order."""
    return {window_text(key): reason for key, reason in sorted(reasons.items()) if reason is not None}


def pick_ids(ids: Ids, known: list[str]) -> list[str]:
    """The partition ids that a call is about, each once, in order.

    Args:
        ids: What was given: one id, several, or None for all.
        known: All ids of the scratch.

    Raises:
        UsageError: If one is not known.
    """
    wanted = known if ids is None else [ids] if isinstance(ids, str) else list(dict.fromkeys(ids))
    unknown = [wanted_id for wanted_id in wanted if wanted_id not in set(known)]
    if unknown:
        shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
        raise UsageError(
            "There is no such partition.", expected=f"one of {shown}", found=", ".join(map(repr, unknown[:5]))
        )
    return wanted


def pick_steps(steps: Sequence[str] | None, known: Sequence[StepName]) -> list[StepName]:
    """The steps that a call is about, in the order of the workflow.

    Args:
        steps: Names, or None for all.
        known: The steps of the workflow.

    Raises:
        UsageError: If one is not known.
    """
    wanted = list(known) if steps is None else [steps] if isinstance(steps, str) else list(steps)
    unknown = [step for step in wanted if step not in known]
    if unknown or not wanted:
        raise UsageError(
            "There is no such step.",
            expected=f"some of {', '.join(step.value for step in known)}",
            found=", ".join(map(repr, unknown)) or "none",
        )
    return [step for step in known if step in wanted]


def raise_if_failed(
    error: type[OlmoEarthError], did: str, failed: Mapping[WindowKey, str], total: int, *, strict: bool
) -> None:
    """Ends a step with an error if all windows failed, or any and ``strict``.

    Args:
        error: Class to raise.
        did: What windows should have done, after "n of m windows".
        failed: Windows that failed, with the reason.
        total: Number of windows of the step.
        strict: Whether one failure is one too many.
    """
    if not failed or (len(failed) < total and not strict):
        return
    key, reason = next(iter(sorted(failed.items())))
    raise error(
        f"{'No window' if len(failed) == total else f'Not every window ({len(failed)} of {total} failed)'} {did}.",
        where=f"window {window_text(key)}",
        found=reason.rstrip("."),
        fix="runner.windows() shows the reason for each window.",
    )


def file_hash(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder; read again only if size or time of change differ.

    Args:
        path: File or folder.

    Raises:
        InputFileError: If it can't be read.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return " ".join(f"{file.relative_to(path)}:{file_hash(file)}" for file in files)
    try:
        stat = path.stat()
    except OSError as error:
        raise InputFileError(f"The file can't be read: {error.strerror}.", where=str(path)) from error
    return _hash(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _hash(path: Path, _size: int, _mtime_ns: int) -> str:
    return hash_file(path)


def remove(*paths: Path) -> None:
    """Removes files and folders, those that exist.

    Args:
        paths: What to remove.

    Raises:
        StorageError: If something can't be removed.
    """
    for path in paths:
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(
                f"Can't remove what an earlier run left: {error.strerror}.",
                where=str(path),
                fix="Check the permissions.",
            ) from error


def install_file(source: Path, target: Path, *, link: bool = False) -> None:
    """Puts a file of the project into the scratch, in place of what is there.

    Args:
        source: File of the project.
        target: Its place in the scratch.
        link: Make an absolute symbolic link where the file system can (checkpoints are large), else a copy.

    Raises:
        StorageError: If the place can't be written.
    """
    with atomic_path(target) as beside:
        if link:
            with contextlib.suppress(OSError, NotImplementedError):
                beside.symlink_to(source.resolve())
        if not beside.is_symlink():
            shutil.copyfile(source, beside)


def window_filter(mask: Mask) -> WindowFilter:
    """A filter for planning that keeps windows with any valid pixel of a mask.

    Args:
        mask: The mask.
    """

    def accept(windows: list[tuple[Projection, PixelBounds]]) -> npt.NDArray[np.bool_]:
        accepted = np.zeros(len(windows), dtype=bool)
        by_projection: dict[Projection, list[int]] = {}
        for index, (projection, _) in enumerate(windows):
            by_projection.setdefault(projection, []).append(index)
        for projection, indices in by_projection.items():
            accepted[indices] = mask.accepts(projection, np.array([windows[index][1] for index in indices]))
        return accepted

    return accept
