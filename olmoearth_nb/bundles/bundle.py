"""Make a bundle of a project, verify one, and unpack it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from olmoearth_nb import archive
from olmoearth_nb.archive import Source
from olmoearth_nb.bundles.contents import project_files
from olmoearth_nb.bundles.draft import Draft
from olmoearth_nb.bundles.facts import imagery_facts, legend_facts, model_facts, needed_folders
from olmoearth_nb.bundles.lockfile import LOCK_NAME, package_versions, requirements_lock
from olmoearth_nb.bundles.modules import modules_elsewhere
from olmoearth_nb.bundles.results import Bundle, Unbundled, read_bundle
from olmoearth_nb.bundles.training import (
    HasMetrics,
    annotation_facts,
    metric_facts,
    scratch_training,
    training_facts,
    window_facts,
)
from olmoearth_nb.config import PREDICT_STEPS, Project
from olmoearth_nb.errors import BundleError
from olmoearth_nb.files import absolute_path, hash_file

__all__ = ["bundle_project", "unbundle", "verify_bundle"]


def bundle_project(
    project: Project | str | PathLike[str],
    path: str | PathLike[str] | None = None,
    *,
    version: str | None = None,
    scratch: str | PathLike[str] | None = None,
    checkpoint: str | PathLike[str] | None = None,
    evaluations: Mapping[str, HasMetrics | Mapping[str, float]] | None = None,
    annotations: bool = False,
    licence: str | None = None,
    description: str | None = None,
    include: Sequence[str] = (),
    force: bool = False,
    overwrite: bool = False,
) -> Bundle:
    """Makes one archive of a project: all that somebody needs to predict with it, and what they should know.

    The same content gives the same bytes. Imagery, scratches and hidden files are never part of it.

    Args:
        project: The project, or its folder.
        path: Folder for the bundle, or its file if it ends with ``.zip``; ``bundles`` in the project if None.
        version: As Python packages have them (``1.2.0``); if None the one after the newest bundle in the folder, or
            that one itself if nothing has changed.
        scratch: Scratch of the fine-tuning: its windows and training are described in the model card.
        checkpoint: The checkpoint; if None the project's, or the best of the scratch if the project has none.
        evaluations: Split -> what ``runner.evaluate(split)`` returned, for the model card.
        annotations: Take the annotation files too; they may be private.
        licence: What others may do with it.
        description: One paragraph for the model card.
        include: Patterns of further files in the project folder: ``tables/*.csv``.
        force: Make it even if the project's check finds that prediction can't run.
        overwrite: Replace a bundle of this version with other content.

    Raises:
        BundleError: If the check finds something, or there is a bundle of this version with other content.
        UsageError: If the version is none.

    Example:
        >>> bundle_project("water", version="1.0.0", scratch="scratch", licence="CC-BY-4.0")  # doctest: +SKIP
    """
    project = project if isinstance(project, Project) else Project(project)
    if project.bundle is not None:
        raise BundleError("It is a bundle already.", where=str(project.bundle))
    tuning = None if scratch is None else absolute_path(scratch, what="scratch folder")
    weights = _checkpoint(project, checkpoint, tuning)
    problems = _problems(project, weights, force=force)
    name = re.sub(r"[^\w.-]+", "_", project.name).strip(".") or "project"
    sources: dict[str, Source] = dict(project_files(project, name, weights, annotations=annotations, include=include))
    sources[LOCK_NAME] = requirements_lock(project).encode()
    facts = _facts(project, tuning, weights)
    facts |= {
        "name": name,
        "licence": licence,
        "description": description,
        "metrics": metric_facts(evaluations or {}),
        "annotations_included": annotations,
    }
    facts["limits"] = [*_limits(facts), *problems]
    return Draft(name, sources, facts).write(path or project.path / "bundles", version, overwrite=overwrite)


def verify_bundle(path: str | PathLike[str]) -> Bundle:
    """Reads a bundle to its end and compares every file with its hash.

    Args:
        path: The bundle.

    Raises:
        BundleError: Says what is wrong with it.
    """
    file = absolute_path(path, what="bundle")
    return read_bundle(file, archive.verified(file))


def unbundle(
    path: str | PathLike[str], out_dir: str | PathLike[str] | None = None, *, overwrite: bool = False
) -> Unbundled:
    """Unpacks a bundle; every file is compared with its hash before it is there.

    Args:
        path: The bundle.
        out_dir: Folder for everything; the bundle's name and version in the working folder if None.
        overwrite: Replace files that are there with other content.

    Raises:
        BundleError: If the bundle is damaged, or a file is in the way.
        StorageError: If the folder can't be written.
    """
    file = absolute_path(path, what="bundle")
    manifest = archive.verified(file)
    folder = absolute_path(out_dir or f"{manifest.name}-{manifest.version}", what="output folder")
    for name, record in manifest.files.items():
        target = folder / name
        if target.is_file() and not overwrite and hash_file(target) != record.sha256:
            raise BundleError(
                "A file with other content is in the way.",
                where=str(target),
                fix="Choose another folder, or give overwrite=True.",
            )
    archive.unpack(file, folder)
    return Unbundled(bundle=read_bundle(file, manifest), path=folder, project=folder / manifest.name)


def _checkpoint(project: Project, given: str | PathLike[str] | None, scratch: Path | None) -> Path | None:
    if given is not None:
        path = absolute_path(given, what="checkpoint")
        if not path.is_file():
            raise BundleError("The checkpoint is missing.", where=str(path))
        return path
    if project.checkpoint_path is None and scratch is not None:
        return scratch_training(scratch).best_checkpoint
    return project.checkpoint_path


def _problems(project: Project, checkpoint: Path | None, *, force: bool) -> list[str]:
    """What the check of the project finds; an error unless ``force``."""
    report = project.check(PREDICT_STEPS)
    # Whoever gets the bundle may bring a request, and the checkpoint may come from elsewhere.
    elsewhere = {Project.REQUEST_NAME: project.requests, "checkpoint.ckpt": not checkpoint}
    found = [one for one in report.errors if one.file not in elsewhere or elsewhere[one.file]]
    if found and not force:
        lines = "".join(f"\n- {problem}" for problem in found)
        raise BundleError(
            f"The project can't predict yet:{lines}\n",
            where=f"project {project.name}",
            fix="Solve this first, or make the bundle nevertheless with force=True.",
        )
    return [f"The project's check finds: {problem.where}: {problem.found}" for problem in found]


def _facts(project: Project, scratch: Path | None, checkpoint: Path | None) -> dict[str, Any]:
    training = None if scratch is None else scratch_training(scratch)
    best = training.best_checkpoint if training is not None else None
    same = best is None or checkpoint is None or hash_file(best) == hash_file(checkpoint)
    return {
        "legend": legend_facts(project.legend),
        "model": model_facts(project),
        "imagery": imagery_facts(project),
        "folders": needed_folders(project),
        "modules_elsewhere": sorted(modules_elsewhere(project)),
        "annotations": annotation_facts(project),
        "training_windows": None if scratch is None else window_facts(project, scratch),
        "training": None if training is None else training_facts(training),
        "checkpoint_is_best_of_training": same if training is not None else None,
        "versions": package_versions(project),
    }


def _limits(facts: Mapping[str, Any]) -> list[str]:
    """What to keep in mind, in sentences."""
    limits = []
    if facts["training_windows"] is not None:
        limits.append("Outside the extent and the time of its training data it has not been measured.")
    if not facts["metrics"]:
        limits.append("No evaluation was given.")
    if facts["checkpoint_is_best_of_training"] is False:
        limits.append("The checkpoint is not the best one of the training described here.")
    limits += [
        f"The imagery in {folder} is not part of the bundle: put that folder beside the bundle, or into the project "
        "folder when it is unpacked."
        for folder in facts["folders"]
    ]
    limits += [
        f"The module {module} is not part of the bundle: it came from PYTHONPATH."
        for module in facts["modules_elsewhere"]
    ]
    if facts["annotations"] is not None:
        limits.append(f"Annotations are {'' if facts['annotations_included'] else 'not '}part of the bundle.")
    return limits
