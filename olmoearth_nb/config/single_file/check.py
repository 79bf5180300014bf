"""What the check of a project says of its ``olmoearth_config.yaml``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from olmoearth_nb.config.report import Problem
from olmoearth_nb.config.single_file.converted import examine
from olmoearth_nb.config.single_file.origins import at_origin
from olmoearth_nb.config.single_file.schema import SINGLE_CONFIG_NAME
from olmoearth_nb.errors import OlmoEarthError
from olmoearth_nb.files import read_text

if TYPE_CHECKING:
    from olmoearth_nb.config.project import Project

__all__ = ["SingleCheck", "check_single"]


@dataclass(frozen=True)
class SingleCheck:
    """What was found.

    Attributes:
        problems: What is wrong with the file, or looks so.
        is_right: Whether the project can be looked at further.
        is_used: Whether the three other files are made of it.
    """

    problems: Sequence[Problem] = ()
    is_right: bool = True
    is_used: bool = False

    def at_origin(self, problem: Problem) -> Problem:
        """A problem of the three files, at its place in ``olmoearth_config.yaml`` if they are made of that.

        Args:
            problem: Any.
        """
        return at_origin(problem) if self.is_used else problem


def check_single(project: Project) -> SingleCheck:
    """Checks ``olmoearth_config.yaml`` in itself.

    Args:
        project: The project, whether it has one or not.
    """
    path = project.single_config_path
    if path is None:
        return SingleCheck([_ignored(project)] if (project.path / SINGLE_CONFIG_NAME).exists() else [])
    try:
        problems = examine(read_text(path, what="configuration file"), where=str(path))[2]
        right = all(problem.severity == "warning" for problem in problems)
        if right:
            _ = project.config_folder
    except OlmoEarthError as error:
        # Line and column stand behind the path.
        key = (error.where or "").removeprefix(str(path)).lstrip(", ")
        problem = Problem(file=SINGLE_CONFIG_NAME, key=key, found=error.what, expected=error.expected, fix=error.fix)
        return SingleCheck([problem], is_right=False, is_used=True)
    return SingleCheck(problems, is_right=right, is_used=True)


def _ignored(project: Project) -> Problem:
    names = [name for name in ("dataset.json", "model.yaml", "olmoearth_run.yaml") if (project.path / name).exists()]
    return Problem(
        file=SINGLE_CONFIG_NAME,
        found=f"It is ignored: the project has {', '.join(names)}, which count.",
        fix=f"Remove one of the two forms. To use {SINGLE_CONFIG_NAME}, move {', '.join(names)} elsewhere.",
        severity="warning",
    )
