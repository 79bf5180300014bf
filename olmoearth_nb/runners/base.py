"""Small helpers that both runners share."""

from __future__ import annotations

import contextlib
import functools
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from rslearn.utils.geometry import Projection

from olmoearth_nb.config.renamed import modern_model
from olmoearth_nb.config.rewrite import masked
from olmoearth_nb.config.yamlfile import parse_yaml
from olmoearth_nb.errors import ConfigError, InputFileError, OlmoEarthError, StaleScratchError, StorageError, UsageError
from olmoearth_nb.files import absolute_path, atomic_path, hash_file, hash_json, read_text
from olmoearth_nb.planning import WindowFilter
from olmoearth_nb.postprocess.mask import Mask
from olmoearth_nb.store.lock import one_at_a_time
from olmoearth_nb.store.materialize import BuildOptions
from olmoearth_nb.store.windows import WindowKey
from olmoearth_nb.types import PixelBounds, StepName

__all__ = [
    "Ids",
    "alone",
    "build_options",
    "counted",
    "file_hash",
    "install_file",
    "model_hash",
    "pick_ids",
    "pick_steps",
    "raise_if_failed",
    "refuse_foreign",
    "remedy",
    "remove",
    "scratch_folder",
    "several",
    "spread",
    "window_filter",
    "window_text",
]

Ids = str | Iterable[str] | None
"""One id, several, or None for all."""

_P = ParamSpec("_P")
_T = TypeVar("_T")


class _Workspace(Protocol):
    @property
    def state(self) -> Path: ...


class _Runner(Protocol):
    @property
    def workspace(self) -> _Workspace: ...


_RunnerT = TypeVar("_RunnerT", bound=_Runner)


def alone(step: Callable[Concatenate[_RunnerT, _P], _T]) -> Callable[Concatenate[_RunnerT, _P], _T]:
    """A step of a runner that is refused while another run works on the same scratch.

    Args:
        step: A method that writes into the scratch.
    """

    @functools.wraps(step)
    def one_run(runner: _RunnerT, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with one_at_a_time(runner.workspace.state):
            return step(runner, *args, **kwargs)

    return one_run


def window_text(key: WindowKey) -> str:
    """A window's key as one word: ``group/name``."""
    return "/".join(key)


def counted(reasons: Mapping[WindowKey, str | None]) -> dict[str, str]:
    """Windows with a reason, by text key, in order."""
    return {window_text(key): reason for key, reason in sorted(reasons.items()) if reason is not None}


def spread(items: Sequence[_T], limit: int | None) -> list[_T]:
    """So many of some items, spread over all of them.

    Args:
        items: In their order.
        limit: How many at most; all if None.

    Raises:
        UsageError: If it is no whole number above 0.
    """
    if limit is None:
        return list(items)
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise UsageError(
            "Not a number of windows.", where="limit", expected="a whole number above 0", found=repr(limit)
        )
    count = min(limit, len(items))
    return [items[index] for index in np.linspace(0, len(items) - 1, count).round().astype(int)] if count else []


def several(given: object, *, what: str) -> list[Any]:
    """One thing or several as a list.

    Args:
        given: A text or an iterable.
        what: What they are, for the error.

    Raises:
        UsageError: If it is neither.
    """
    if isinstance(given, str):
        return [given]
    if not isinstance(given, Iterable) or isinstance(given, bytes):
        raise UsageError(f"These are no {what}.", expected="a text, or a list of texts", found=repr(given)[:200])
    return list(given)


def pick_ids(ids: Ids, known: list[str]) -> list[str]:
    """The partition ids that a call is about, each once, in order.

    Args:
        ids: What was given: one id, several, or None for all.
        known: All ids of the scratch.

    Raises:
        UsageError: If one is not known, or none is given.
    """
    wanted = known if ids is None else several(ids, what="partition ids")
    there = set(known)
    unknown = [one for one in wanted if not isinstance(one, str) or one not in there]
    if unknown or not wanted:
        shown = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
        raise UsageError(
            "There is no such partition.",
            expected=f"some of {shown}",
            found=", ".join(map(repr, unknown[:5])) or "none",
        )
    return list(dict.fromkeys(wanted))


def pick_steps(steps: Sequence[str] | None, known: Sequence[StepName]) -> list[StepName]:
    """The steps that a call is about, in the order of the workflow.

    Args:
        steps: Names, or None for all.
        known: The steps of the workflow.

    Raises:
        UsageError: If one is not known.
    """
    wanted = list(known) if steps is None else several(steps, what="steps")
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


def file_hash(path: Path, *, what: str = "file") -> str:
    """SHA-256 of a file, or of all files of a folder; read again only if size or time of change differ.

    Args:
        path: File or folder.
        what: What it is, for the error.

    Raises:
        InputFileError: If it can't be read.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        return " ".join(f"{file.relative_to(path)}:{file_hash(file)}" for file in files)
    try:
        stat = path.stat()
    except FileNotFoundError as error:
        raise InputFileError(
            f"The {what} is missing.", where=str(path), fix="Put it there, or check the path."
        ) from error
    except OSError as error:
        raise InputFileError(f"The {what} can't be read: {error.strerror}.", where=str(path)) from error
    return _hash(path, stat.st_size, stat.st_mtime_ns)


def model_hash(path: Path) -> str:
    """Changes when ``model.yaml`` says something else; comments and older spellings of the same don't count.

    Args:
        path: The file.

    Raises:
        InputFileError: If it can't be read.
    """
    return _model_hash(path, file_hash(path, what="model configuration"))


@functools.lru_cache(maxsize=16)
def _model_hash(path: Path, content: str) -> str:
    try:
        return hash_json(modern_model(parse_yaml(masked(read_text(path)), str(path)).value).value)
    except (ConfigError, TypeError):
        return content  # the check of the project says what is wrong with it; YAML has values that JSON has not


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


def scratch_folder(path: str | PathLike[str], project: Path) -> Path:
    """The scratch folder that was given, absolute.

    Args:
        path: What was given.
        project: The project folder.

    Raises:
        UsageError: If it is no path, or the project folder itself, whose files a run would replace.
    """
    folder = absolute_path(path, what="scratch folder")
    if folder.resolve() == project.resolve():
        raise UsageError(
            "The scratch folder is the project folder.",
            where=str(folder),
            fix=f"Use a folder of its own for what a run writes: {folder / 'scratches' / 'first'}, say.",
        )
    return folder


def build_options(given: object) -> BuildOptions:
    """The options that were given, or the usual ones.

    Args:
        given: What was given; None for the usual ones.

    Raises:
        UsageError: If it is something else.
    """
    if given is None:
        return BuildOptions()
    if not isinstance(given, BuildOptions):
        raise UsageError("These are no options.", where="build", expected="BuildOptions(…)", found=repr(given)[:200])
    return given


def refuse_foreign(*folders: Path, redo: str) -> None:
    """Refuses a scratch whose folders hold what no runner made: the first step would remove it.

    Args:
        folders: Those that a runner writes.
        redo: The call that removes it.

    Raises:
        StaleScratchError: Names the folders.
    """
    found = [folder for folder in folders if folder.is_dir() and any(folder.iterdir())]
    if found:
        raise StaleScratchError(
            f"The folder holds {', '.join(folder.name for folder in found)} that this runner did not make.",
            where=str(found[0].parent),
            fix=f"Use another scratch folder; {redo} removes what is in the way.",
        )


@contextlib.contextmanager
def remedy(place: Path, fix: str) -> Iterator[None]:
    """What is wrong with files of the scratch is said together with what makes them anew.

    Args:
        place: The file, or the folder that they lie in.
        fix: What to do.

    Raises:
        OlmoEarthError: The error of the block, with the remedy if it concerns the place and has none.
    """
    try:
        yield
    except OlmoEarthError as error:
        if error.fix is None and (error.where or "").startswith(str(place)):
            raise type(error)(
                error.what, where=error.where, expected=error.expected, found=error.found, fix=fix
            ) from error
        raise


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
