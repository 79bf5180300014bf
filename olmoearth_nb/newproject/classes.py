"""Classes of labels: their numbers, names, colours and counts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import geopandas as gpd
import pandas as pd

from olmoearth_nb.colors import RGB, fallback_colors
from olmoearth_nb.errors import InputFileError, UsageError
from olmoearth_nb.labels.classes import class_numbers, plain_value
from olmoearth_nb.newproject.columns import find_names_column

__all__ = ["NODATA", "LabelClass", "as_color", "classes_of", "named_classes", "recolored"]

NODATA = 255
"""What pixels hold that nobody labelled, and that the model has not seen."""

_MOST = 255
_GAPS = 20
"""Numbers that no class has, that a legend keeps its own numbers for."""

# What maps of land usually look like; the first that a name contains counts.
_USUAL: tuple[tuple[str, RGB], ...] = (
    (r"cloud|snow|\bice\b|glacier", (235, 240, 245)),
    (r"wetland|marsh|swamp|mangrove|flooded|bog", (70, 160, 150)),
    (r"water|lake|river|ocean|sea\b|pond|reservoir", (54, 120, 190)),
    (r"urban|built|develop|build|settle|city|imperv|road|residential|industr", (215, 48, 39)),
    (r"forest|tree|wood", (35, 110, 55)),
    (r"crop|agric|farm|cultivat|arable|plantation|field", (244, 165, 66)),
    (r"shrub|bush|scrub|savanna", (166, 150, 92)),
    (r"grass|herb|pasture|meadow|range", (170, 200, 90)),
    (r"bare|barren|sand|desert|rock|soil|beach", (200, 185, 160)),
    (r"burn|fire", (90, 40, 30)),
)


@dataclass(frozen=True, kw_only=True)
class LabelClass:
    """A class of the labels.

    Attributes:
        value: Its number in labels, model and result, 0..254.
        name: What it is called.
        color: Red, green, blue.
        count: How many features have it.
    """

    value: int
    name: str
    color: RGB
    count: int


def classes_of(
    frame: gpd.GeoDataFrame, column: str, *, where: str
) -> tuple[tuple[LabelClass, ...], list[int | None], str]:
    """The classes of a column.

    Args:
        frame: The labels.
        column: Its column of classes: names, or numbers.
        where: The source, for errors.

    Returns:
        The classes by value; the value of each row, None for null; and why these numbers.

    Raises:
        InputFileError: If a cell is neither a name nor a number, or there are too many classes or none.
    """
    numbers, _ = class_numbers(frame[column], None, where=f"{where}, column {column!r}")
    other = find_names_column(frame, column)
    by_number, by_name = (column, other) if pd.api.types.is_numeric_dtype(frame[column]) else (other, column)
    own = None if by_number is None else [plain_value(cell) for cell in frame[by_number]]
    names = [None if value is None else str(value) for value in map(plain_value, frame[by_name or column])]
    present = Counter(number for number in numbers if number is not None)
    if not present:
        raise InputFileError("No feature has a class.", where=f"{where}, column {column!r}")
    if len(present) > _MOST:
        raise InputFileError(
            "There are too many classes.", where=f"{where}, column {column!r}", expected=f"at most {_MOST}",
            found=str(len(present)), fix="Choose another column, or a regression task.",
        )  # fmt: skip
    values, reason = _values(own, numbers, by_number)
    counts = Counter(value for value in values if value is not None)
    called = {value: name for value, name in zip(values, names, strict=True) if value is not None and name is not None}
    colors = _colors({value: called.get(value, str(value)) for value in counts})
    classes = tuple(
        LabelClass(value=value, name=called.get(value, str(value)), color=colors[value], count=counts[value])
        for value in sorted(counts)
    )
    return classes, values, reason


def named_classes(classes: tuple[LabelClass, ...]) -> list[str]:
    """A name for each number from 0 to the last class, for the model; numbers between that no class has are unused.

    Args:
        classes: Classes by value.
    """
    names = {one.value: one.name for one in classes}
    return [names.get(value, f"unused_{value}") for value in range(classes[-1].value + 1)]


def recolored(classes: tuple[LabelClass, ...], colors: Mapping[Any, Any]) -> tuple[LabelClass, ...]:
    """The classes with other colours.

    Args:
        classes: Classes.
        colors: Name or value of a class -> its colour, as in :func:`as_color`.

    Raises:
        UsageError: If there is no such class, or it is no colour.
    """
    by_key = {one.name: one.value for one in classes} | {str(one.value): one.value for one in classes}
    unknown = [key for key in colors if str(key) not in by_key]
    if unknown:
        raise UsageError(
            "There is no such class.",
            where="colors",
            expected=f"one of {', '.join(one.name for one in classes)}",
            found=repr(unknown[0]),
        )
    wanted = {by_key[str(key)]: as_color(color) for key, color in colors.items()}
    return tuple(replace(one, color=wanted.get(one.value, one.color)) for one in classes)


def as_color(color: Any) -> RGB:
    """A colour as three numbers.

    Args:
        color: ``#rrggbb``, or three numbers 0..255.

    Raises:
        UsageError: If it is neither.
    """
    if isinstance(color, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
        return red, green, blue
    try:
        red, green, blue = (int(part) for part in color)
    except (TypeError, ValueError):
        red = green = blue = -1
    if not all(0 <= part <= 255 for part in (red, green, blue)):
        raise UsageError(
            "It is no colour.", where="colors", expected="#rrggbb or [r, g, b], each 0..255", found=repr(color)
        )
    return red, green, blue


def _values(
    own: list[Any] | None, numbers: list[int | float | None], column: str | None
) -> tuple[list[int | None], str]:
    """The source's own numbers where they can stay, else 0, 1, 2 … in the order of the classes."""
    if own is not None:
        there = {value for value in own if value is not None}
        if all(isinstance(value, int) and 0 <= value < NODATA for value in there) and max(there) < len(there) + _GAPS:
            return own, f"the numbers of column {column!r}"
    order = {value: index for index, value in enumerate(sorted({one for one in numbers if one is not None}))}
    return [None if one is None else order[one] for one in numbers], "counted from 0 in sorted order"


def _colors(names: Mapping[int, str]) -> dict[int, RGB]:
    chosen: dict[int, RGB] = {}
    for value, name in names.items():
        usual = next((color for pattern, color in _USUAL if re.search(pattern, name, re.I)), None)
        if usual is not None and usual not in chosen.values():
            chosen[value] = usual
    others = fallback_colors([value for value in names if value not in chosen], avoid=chosen.values())
    return chosen | {value: others[value] for value in names if value not in chosen}
