"""``requirements.txt`` of a project: read it, and compare it with what is installed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from olmoearth_nb.config.report import Problem
from olmoearth_nb.errors import InputFileError
from olmoearth_nb.files import read_text

__all__ = [
    "REQUIREMENTS_NAME",
    "RequirementLine",
    "check_requirements",
    "read_requirements",
    "requirement_files",
    "shown_file",
]

REQUIREMENTS_NAME = "requirements.txt"

# What this package stands in for.
_REPLACED = {"olmoearth-runner", "olmoearth-run"}


@dataclass(frozen=True, kw_only=True)
class RequirementLine:
    """One requirement.

    Attributes:
        text: As it is written, without comment, hash and continuation.
        file: The file it stands in.
        number: Its line, from 1.
        requirement: The same, understood; None if it is no name with a version (a URL or a folder, say).
    """

    text: str
    file: Path
    number: int
    requirement: Requirement | None

    @property
    def applies(self) -> bool:
        """Whether it is asked for here: its marker holds, and it is nothing that this package stands in for."""
        if self.requirement is None:
            return True
        if canonicalize_name(self.requirement.name) in _REPLACED:
            return False
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def requirement_files(path: Path) -> list[Path]:
    """``requirements.txt`` and the files that it includes with ``-r``, resolved, whether they are there or not.

    Args:
        path: The file.
    """
    return list(_files(path))


def read_requirements(path: Path) -> Iterator[RequirementLine]:
    """What a project asks for, files that ``requirements.txt`` includes with ``-r`` as well; what is missing is empty.

    Args:
        path: The file.
    """
    for file, text in _files(path).items():
        for number, line in _lines(text or ""):
            if not line.startswith("-"):
                try:
                    requirement = Requirement(line)
                except InvalidRequirement:
                    requirement = None
                yield RequirementLine(text=line, file=file, number=number, requirement=requirement)


def check_requirements(path: Path, *, folder: Path) -> Iterator[Problem]:
    """Whether what the project asks for is installed, each missing or wrong version by name.

    Args:
        path: ``requirements.txt``; files that it includes with ``-r`` count as well.
        folder: The project folder.
    """
    for file, text in _files(path).items():
        if text is None:
            try:
                read_text(file, what="list of requirements")
            except InputFileError as error:
                yield Problem(file=shown_file(file, folder), found=error.what)
    for line in read_requirements(path):
        if line.applies:
            yield from _compare(line, shown_file(line.file, folder))


def shown_file(file: Path, folder: Path) -> str:
    """A file as it is named in problems: relative to the project folder if it lies there.

    Args:
        file: The file.
        folder: The project folder.
    """
    file, folder = file.resolve(), folder.resolve()
    return (file.relative_to(folder) if file.is_relative_to(folder) else file).as_posix()


def _files(path: Path) -> dict[Path, str | None]:
    """File -> its text, or None if it can't be read."""
    todo, found = [path], dict[Path, str | None]()
    while todo:
        current = todo.pop(0).resolve()
        if current in found:
            continue
        try:
            found[current] = text = read_text(current, what="list of requirements")
        except InputFileError:
            found[current] = None
            continue
        todo += [
            current.parent / line.removeprefix("--requirement").removeprefix("-r").strip(" =")
            for _, line in _lines(text)
            if line.startswith(("-r", "--requirement"))
        ]
    return found


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        short = f" {line}".split(" #", 1)[0].split(" --hash", 1)[0].strip().rstrip("\\").strip()
        if short:
            yield number, short


def _compare(line: RequirementLine, file: str) -> Iterator[Problem]:
    key, wanted = f"line {line.number}", line.requirement
    if wanted is None:
        found = f"{line.text!r} can't be checked: it is no name with a version."
        yield Problem(file=file, key=key, found=found, severity="warning")
        return
    fix = f"Run: pip install '{wanted}'"
    try:
        version = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        yield Problem(file=file, key=key, found=f"The package {wanted.name} is not installed.", fix=fix)
        return
    if not wanted.specifier.contains(version, prereleases=True):
        found = f"The package {wanted.name} is installed as {version}."
        yield Problem(file=file, key=key, found=found, expected=f"version {wanted.specifier}", fix=fix)
