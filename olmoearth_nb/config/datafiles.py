"""Checks of the data files of a project: requests, annotations, checkpoint."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from olmoearth_nb.config.report import Problem, one_of
from olmoearth_nb.errors import InputFileError
from olmoearth_nb.geojson import AnnotationFeature, read_annotation_features, read_request, read_task_features
from olmoearth_nb.legend import Legend
from olmoearth_nb.types import StepName

__all__ = ["check_annotations", "check_checkpoint", "check_request"]

_REQUEST_STEPS = frozenset({StepName.PARTITION, StepName.POSTPROCESS})
_PREPARE = frozenset({StepName.PREPARE_LABELED_WINDOWS})
_INFERENCE = frozenset({StepName.INFERENCE})

_LFS_POINTER = b"version https://git-lfs"
_PICKLE = b"\x80"


def check_request(path: Path, *, folder: Path) -> Iterator[Problem]:
    """Whether a request can be read.

    Args:
        path: The file.
        folder: The project folder.
    """
    try:
        read_request(path)
    except InputFileError as error:
        yield _unreadable(path, folder, error, _REQUEST_STEPS)


def check_annotations(
    tasks: Path, annotations: Path, *, label_property: str | None, folder: Path, legend: Legend | None = None
) -> tuple[list[Problem], tuple[str, ...] | None]:
    """Whether annotation files can be read.

    Args:
        tasks: File of the tasks.
        annotations: File of the annotations.
        label_property: Name for the value of ``es_label``.
        folder: The project folder.
        legend: Classes of the results; a label whose name has classes should have one of their values.

    Returns:
        Problems, and the names of the labels in alphabetical order (None if they can't be read).
    """
    problems = []
    names: tuple[str, ...] | None = None
    for path in (tasks, annotations):
        if not path.exists():
            fix = "Export it from the annotation tool, or make both files with olmoearth_nb.make_annotations."
            found = "The file is missing."
            problems.append(Problem(file=path.name, found=found, fix=fix, steps=_PREPARE))
            continue
        try:
            if path == tasks:
                read_task_features(path)
            else:
                features = read_annotation_features(path, label_property=label_property).features
                labels = {name for one in features if one.properties for name in one.properties.oe_labels}
                names = tuple(sorted(labels))
                problems += _outside_legend(path, features, legend)
        except InputFileError as error:
            problems.append(_unreadable(path, folder, error, _PREPARE))
    return problems, names


def _outside_legend(path: Path, features: Sequence[AnnotationFeature], legend: Legend | None) -> Iterator[Problem]:
    for classes in legend.classes if legend else ():
        name = classes.property_name
        strange = [
            (index, value)
            for index, feature in enumerate(features)
            if feature.properties and (value := feature.properties.oe_labels.get(name)) is not None
            if classes.entry_of(value) is None
        ]
        if strange:
            index, value = strange[0]
            more = f" So have {len(strange) - 1} more annotations a value that the legend lacks." if strange[1:] else ""
            yield Problem(
                file=path.name,
                key=f"features[{index}].properties.oe_labels.{name}",
                found=f"The legend has no class {value}.{more}",
                expected=f"one of {one_of(str(entry.value) for entry in classes.entries)}",
                fix="Correct the label, or add the class to inference_results_config.",
                # A value may stand for "not labelled" on purpose, and a model may learn a class that nobody shows.
                severity="warning",
                steps=_PREPARE,
            )


def _unreadable(path: Path, folder: Path, error: InputFileError, steps: frozenset[StepName]) -> Problem:
    name = _relative(path, folder)
    # The reader's error has file, feature and key in front.
    text = error.what.removeprefix(f"{path}: ")
    key = (error.where or "").removeprefix(str(path)).removeprefix(": ")
    found = f"{text} Found {error.found}." if error.found else text
    return Problem(file=name, key=key, found=found, expected=error.expected, fix=error.fix, steps=steps)


def check_checkpoint(path: Path | None) -> Iterator[Problem]:
    """Whether there is a checkpoint that torch could have written.

    Args:
        path: The file; None if there is none.
    """
    if path is None or not path.is_file():
        yield Problem(
            file="checkpoint.ckpt" if path is None else path.name,
            found="The checkpoint is missing.",
            fix="Put the model's checkpoint there, train one (fine_tune), or give the path of another.",
            steps=_INFERENCE,
        )
        return
    try:
        with path.open("rb") as file:
            start = file.read(len(_LFS_POINTER))
    except OSError as error:
        found = f"The checkpoint can't be read: {error.strerror}."
        yield Problem(file=path.name, found=found, steps=_INFERENCE)
        return
    if start == _LFS_POINTER:
        found = "It is a pointer of Git LFS, not the checkpoint itself."
        yield Problem(file=path.name, found=found, fix="Run: git lfs pull", steps=_INFERENCE)
    elif not zipfile.is_zipfile(path) and not start.startswith(_PICKLE):
        fix = "Download it again: it may be incomplete, or a web page."
        yield Problem(file=path.name, found="It is not a checkpoint of torch.", fix=fix, steps=_INFERENCE)


def _relative(path: Path, folder: Path) -> str:
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()
