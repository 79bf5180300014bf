"""Which files of a project go into its bundle."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from olmoearth_nb.bundles.modules import custom_modules
from olmoearth_nb.config import Project
from olmoearth_nb.config.datafiles import check_checkpoint
from olmoearth_nb.config.requirements import REQUIREMENTS_NAME, requirement_files
from olmoearth_nb.errors import BundleError, UsageError

__all__ = ["CONFIGURATIONS", "project_files"]

CONFIGURATIONS = ("dataset.json", "model.yaml", "olmoearth_run.yaml", "olmoearth_config.yaml")
"""The configuration files that a project may have."""

_CHECKPOINT = "checkpoint.ckpt"
_TEXTS = ("README*", "LICENSE*", "LICENCE*", "NOTICE*")
_LEFT_OUT = ("*.bak", "*~", "*.pyc", "*.pem", "*.key")
_NOT_ENTERED = {"scratches", "bundles", "__pycache__", "node_modules", "site-packages"}
# What only a scratch has.
_OF_SCRATCHES = {"dataset_0", "model_stage_0", "trainer_checkpoints"}


def project_files(
    project: Project, name: str, checkpoint: Path | None, *, annotations: bool, include: Sequence[str]
) -> dict[str, Path]:
    """The files, by their path from the folder above the project.

    Args:
        project: The project.
        name: What the project's folder is called in the bundle.
        checkpoint: The checkpoint; none if None.
        annotations: Whether to take the annotation files.
        include: Patterns of further files, relative to the project folder.

    Raises:
        BundleError: If the checkpoint is none, or a file lies elsewhere.
        UsageError: If a pattern finds no file.
    """
    folder = project.path
    files = [folder / name for name in CONFIGURATIONS]
    files += [*requirement_files(folder / REQUIREMENTS_NAME), *project.requests.values()]
    files += [path for pattern in _TEXTS for path in folder.glob(pattern)]
    files += project.annotation_paths if annotations else ()
    files += [path for path in _walk(folder) if path.suffix == ".py"]
    if project.extra_files_path is not None:
        files += _walk(project.extra_files_path)
    files += [path for pattern in include for path in _included(folder, pattern)]
    inner = [path for path in files if path.is_file()]
    found = {f"{name}/{_inner_name(path, folder)}": path for path in inner if not _is_left_out(path.name)}
    if checkpoint is not None:
        for problem in check_checkpoint(checkpoint):
            raise BundleError(problem.found, where=str(checkpoint), fix=problem.fix)
        found[f"{name}/{_CHECKPOINT}"] = checkpoint
    beside = custom_modules(project, [path for path in found.values() if path.suffix == ".py"])
    found |= {path.relative_to(folder.parent).as_posix(): path for path in beside}
    return dict(sorted(found.items()))


def _inner_name(path: Path, folder: Path) -> str:
    for base in (folder, folder.resolve()):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    raise BundleError(
        "The project needs a file that is not in its folder.",
        where=str(path),
        fix=f"Move it into {folder}, so that the bundle can have it.",
    )


def _included(folder: Path, pattern: str) -> list[Path]:
    if pattern.startswith(("/", "~")) or ".." in PurePosixPath(pattern).parts:
        raise UsageError("The pattern leaves the project folder.", where="include", found=repr(pattern))
    found = [path for path in folder.glob(pattern) if path.is_file()]
    if not found:
        raise UsageError("The pattern finds no file in the project folder.", where="include", found=repr(pattern))
    return found


def _is_left_out(name: str) -> bool:
    return name.startswith(".") or any(fnmatch(name.lower(), pattern) for pattern in _LEFT_OUT)


def _walk(folder: Path) -> Iterator[Path]:
    """Files of a folder, at any depth, without those of hidden folders, scratches and environments."""
    for root, folders, names in os.walk(folder):
        here = Path(root)
        if here != folder and ("pyvenv.cfg" in names or _OF_SCRATCHES & set(folders)):
            folders.clear()
            continue
        folders[:] = sorted(one for one in folders if one not in _NOT_ENTERED and not one.startswith("."))
        yield from (here / name for name in sorted(names))
