"""What a check of labels finds: a line of the report, with its verdict and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import geopandas as gpd

__all__ = ["VERDICTS", "LabelFinding", "Verdict", "named", "percent", "plural", "worst"]

Verdict: TypeAlias = Literal["bad", "look", "good"]
"""``bad`` spoils a training or a test, ``look`` may do so, ``good`` is in order."""

VERDICTS: tuple[Verdict, ...] = ("bad", "look", "good")
"""Worst first."""


@dataclass(frozen=True, kw_only=True)
class LabelFinding:
    """One check and what it found.

    Attributes:
        code: Which check, for programs: ``balance``, ``conflicts``, ``leakage`` and others.
        check: What was checked, for people.
        verdict: How it is.
        found: What was found, with numbers.
        advice: What to do; empty where all is well.
        numbers: The numbers behind it, as plain values.
        where: What it concerns, in WGS84; None if that is no place.
    """

    code: str
    check: str
    verdict: Verdict
    found: str
    advice: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    where: gpd.GeoDataFrame | None = None

    def __str__(self) -> str:
        return " ".join(part for part in (f"{self.verdict}: {self.check}: {self.found}", self.advice) if part)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of some verdicts; good if there is none.

    Args:
        verdicts: Any number.

    Example:
        >>> worst(["good", "look"])
        'look'
    """
    return min(verdicts, key=VERDICTS.index, default="good")


def plural(count: int, one: str, many: str = "") -> str:
    """A number with its noun.

    Args:
        count: How many.
        one: The noun.
        many: The noun for any other number than one; with an s if empty.

    Example:
        >>> plural(1, "class", "classes"), plural(2000, "task")
        ('1 class', '2,000 tasks')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """A part of 1, never 0 or 100 % where it is not quite.

    Args:
        share: 0..1.

    Example:
        >>> percent(0.001), percent(0.25)
        ('0.1%', '25%')
    """
    if share > 0.99 and share != 1:
        return f"{min(share, 0.9999):.2%}"
    return f"{share:.0%}" if share == 0 or share >= 0.01 else f"{100 * share:.2g}%"


def named(names: Iterable[object], *, most: int = 5) -> str:
    """A list in words.

    Args:
        names: Anything that has a text.
        most: How many to name.
    """
    texts = [str(name) for name in names]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most:,} more" if len(texts) > most else "")
