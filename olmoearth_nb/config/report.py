"""What a check finds: problems with their place and remedy, and which steps they block."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from olmoearth_nb.errors import ConfigError, ProjectError
from olmoearth_nb.tables import html_table, text_table
from olmoearth_nb.types import StepName

__all__ = [
    "ALL_STEPS",
    "FINE_TUNE_STEPS",
    "PREDICT_STEPS",
    "CheckReport",
    "Problem",
    "Severity",
    "config_error",
    "did_you_mean",
    "one_of",
]

Severity: TypeAlias = Literal["error", "warning"]

PREDICT_STEPS = frozenset(
    {StepName.PARTITION, StepName.DATASET_BUILD, StepName.INFERENCE, StepName.POSTPROCESS, StepName.COMBINE}
)
"""The steps of a prediction."""

FINE_TUNE_STEPS = frozenset({StepName.PREPARE_LABELED_WINDOWS, StepName.BUILD_DATASET_FROM_WINDOWS, StepName.FINE_TUNE})
"""The steps of a fine-tuning."""

ALL_STEPS = PREDICT_STEPS | FINE_TUNE_STEPS

_COLUMNS = ("", "file", "key", "found", "what to do", "blocks")


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something in a project that is wrong, or looks so.

    Attributes:
        file: Name of the file, relative to the project folder.
        key: YAML path, JSON path or feature; empty for the file as a whole.
        found: One sentence that says what was found.
        expected: What would have been right.
        fix: What to do about it.
        severity: An error blocks steps, a warning does not.
        steps: The steps that it concerns.
    """

    file: str
    key: str = ""
    found: str
    expected: str | None = None
    fix: str | None = None
    severity: Severity = "error"
    steps: frozenset[StepName] = ALL_STEPS

    @property
    def where(self) -> str:
        """File and key."""
        return f"{self.file}: {self.key}" if self.key else self.file

    @property
    def advice(self) -> str:
        """What would be right, and what to do."""
        expected = f"Expected {self.expected}." if self.expected else ""
        return " ".join(part for part in (expected, self.fix) if part)

    def for_steps(self, steps: Iterable[StepName]) -> Problem:
        """The same problem, concerning these steps.

        Args:
            steps: Names of steps.
        """
        return replace(self, steps=frozenset(steps))

    def __str__(self) -> str:
        return " ".join(part for part in (f"{self.where}: {self.found}", self.advice) if part)


def config_error(problems: Sequence[Problem]) -> ConfigError:
    """One error for problems of a configuration file; several are listed.

    Args:
        problems: At least one.
    """
    first = problems[0]
    if len(problems) == 1:
        return ConfigError(first.found, where=first.where, expected=first.expected, fix=first.fix)
    lines = "".join(f"\n- {problem}" for problem in problems)
    return ConfigError(f"{len(problems)} problems:{lines}", where=first.file)


def did_you_mean(name: str, options: Iterable[str]) -> str | None:
    """A question that names the nearest of some options, or None if none is near.

    Args:
        name: What was written.
        options: What is there.
    """
    by_lower = {option.lower(): option for option in options}
    near = difflib.get_close_matches(name.lower(), list(by_lower), n=1)
    return f"Did you mean {by_lower[near[0]]}?" if near else None


def one_of(options: Iterable[str], *, limit: int = 15) -> str:
    """A list of options for a message.

    Args:
        options: What is there.
        limit: How many to name.
    """
    names = list(options)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more if names else "none"


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """Everything that a check of a project found, all at once.

    Attributes:
        project: Name of the project.
        checked: The steps that were asked about.
        problems: Errors first.
    """

    project: str
    checked: frozenset[StepName]
    problems: tuple[Problem, ...]

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that block a step."""
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def steps(self) -> dict[StepName, bool]:
        """Step -> whether it can run, in the order of the workflows."""
        return {step: not self.blocking(step) for step in StepName if step in self.checked}

    @property
    def ok(self) -> bool:
        """Whether every step that was asked about can run."""
        return all(self.steps.values())

    def blocking(self, *steps: StepName | str) -> tuple[Problem, ...]:
        """The errors that block any of some steps.

        Args:
            steps: Names of steps.
        """
        return tuple(problem for problem in self.errors if not problem.steps.isdisjoint(steps))

    def raise_for(self, *steps: StepName | str) -> None:
        """Raises if any of some steps can't run.

        Args:
            steps: Names of steps.

        Raises:
            ProjectError: One that lists everything that blocks them.
        """
        problems = self.blocking(*steps)
        if not problems:
            return
        names = ", ".join(str(step) for step in steps)
        lines = "".join(f"\n- {problem}" for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ProjectError(f"{count} to solve before {names}:{lines}", where=f"project {self.project}")

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        problems = [
            {
                "severity": one.severity,
                "file": one.file,
                "key": one.key,
                "found": one.found,
                "expected": one.expected,
                "fix": one.fix,
                "blocks": self._blocks(one),
            }
            for one in self.problems
        ]
        steps = {step.value: ready for step, ready in self.steps.items()}
        return {"project": self.project, "ok": self.ok, "steps": steps, "problems": problems}

    def _step_rows(self) -> list[tuple[str, str]]:
        return [(str(step), "can run" if ready else "blocked") for step, ready in self.steps.items()]

    def _blocks(self, problem: Problem) -> list[str]:
        if problem.severity == "warning":
            return []
        return [step.value for step in StepName if step in problem.steps & self.checked]

    def __repr__(self) -> str:
        text = text_table(("step", ""), self._step_rows(), caption=f"Project {self.project}")
        # As a list: a table of sentences is wider than any terminal.
        lines = [f"{problem.severity}: {problem}" for problem in self.problems]
        return "\n".join([text, *([""] if lines else []), *lines])

    def _repr_html_(self) -> str:
        shown = html_table(("step", ""), self._step_rows(), caption=f"Project {self.project}")
        rows = [
            (one.severity, one.file, one.key, one.found, one.advice, ", ".join(self._blocks(one)))
            for one in self.problems
        ]
        return shown + (html_table(_COLUMNS, rows) if rows else "")
