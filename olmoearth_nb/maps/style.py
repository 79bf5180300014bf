"""What colour things have, in pictures and on live maps alike; no map library here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from olmoearth_nb.colors import RGB, ClassValue, fallback_colors
from olmoearth_nb.legend import ClassLegend, RangeLegend

__all__ = [
    "REQUEST_COLOR",
    "ClassColors",
    "ClassShare",
    "Coloring",
    "category_colors",
    "category_name",
    "class_value",
    "coloring_of",
    "colors_for",
    "painted",
]

REQUEST_COLOR: RGB = (20, 20, 20)

# Splits and states keep their colours whatever else is on the map. Told apart by people with red-green blindness too
# (after Okabe and Ito 2008, jfly.uni-koeln.de/color).
_FIXED: dict[str, RGB] = {
    "train": (0, 114, 178),
    "val": (230, 159, 0),
    "test": (204, 121, 167),
    "planned": (140, 140, 140),
    "labelled": (140, 140, 140),
    "built": (86, 180, 233),
    "predicted": (0, 158, 115),
    "failed": (213, 61, 0),
}
# The first few others, calmer than colours that must be told apart by the hundred (Tableau 10, without its greys).
_CALM: tuple[RGB, ...] = (
    (78, 121, 167),
    (242, 142, 43),
    (118, 183, 178),
    (225, 87, 89),
    (89, 161, 79),
    (176, 122, 161),
    (237, 201, 72),
    (156, 117, 95),
)
_MISSING: RGB = (190, 190, 190)
_MOST_CLASSES = 64


def category_colors(values: Iterable[object]) -> dict[str, RGB]:
    """Colours of the categories of a column, in the order of a legend.

    Splits and states come first, in the order of the workflow; missing values come last, in grey.

    Args:
        values: Cells of the column; None and NaN are missing values, called "none".

    Example:
        >>> category_colors(["test", None, "train"])
        {'train': (0, 114, 178), 'test': (204, 121, 167), 'none': (190, 190, 190)}
    """
    names = {category_name(value) for value in values}
    known = [name for name in _FIXED if name in names]
    others = sorted(names - set(known) - {"none"}, key=_natural)
    colors = {name: _FIXED[name] for name in known}
    if len(others) <= len(_CALM) and not known:
        colors |= dict(zip(others, _CALM, strict=False))
    else:
        free = fallback_colors(range(len(others)), avoid=list(colors.values()))
        colors |= {name: free[index] for index, name in enumerate(others)}
    return colors | ({"none": _MISSING} if "none" in names else {})


def category_name(value: object) -> str:
    """A cell of a column as a category.

    Args:
        value: Anything.
    """
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "none"
    return str(value)


def _natural(name: str) -> tuple[str, int, str]:
    """So that partition_10 comes after partition_9, and 10 after 9."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or -1), name


@dataclass(frozen=True)
class ClassShare:
    """A class as a legend shows it.

    Attributes:
        label: Its name.
        color: Its colour.
        share: Part of all that has a class, 0..1.
    """

    label: str
    color: RGB
    share: float


@dataclass(frozen=True)
class ClassColors:
    """Colours of the classes that occur somewhere.

    Attributes:
        name: What is classified.
        colors: Value -> colour.
        labels: Value -> name.
        counts: Value -> how often it occurs.
    """

    name: str
    colors: dict[ClassValue, RGB]
    labels: dict[ClassValue, str]
    counts: dict[ClassValue, int]

    @property
    def shares(self) -> list[ClassShare]:
        """The classes in the order of the legend, with their shares."""
        total = sum(self.counts.values()) or 1
        return [
            ClassShare(self.labels[value], color, self.counts[value] / total) for value, color in self.colors.items()
        ]


Coloring: TypeAlias = ClassColors | RangeLegend
"""Classes, or a range with a colormap."""


def coloring_of(
    values: npt.NDArray[np.generic] | Sequence[object], legend: ClassLegend | RangeLegend | None
) -> Coloring:
    """How to colour values: as the legend says; without one, whole numbers as classes and others as a range.

    Probabilities of classes are a range too, though the legend speaks of classes.

    Args:
        values: Pixels (NaN for nodata) or cells of a column (None for no value).
        legend: What the project says of them, if anything.
    """
    if isinstance(legend, RangeLegend):
        return legend
    unique, counts = _counted(values)
    if not _are_classes(unique) and (legend is None or _are_of_none(unique, legend)):
        numbers = np.asarray(values, dtype=np.float64)
        low, high = np.nanpercentile(numbers, (2, 98)).tolist() if np.isfinite(numbers).any() else (0.0, 1.0)
        name = "value" if legend is None else legend.property_name
        return RangeLegend(name, None, low, high if high > low else low + 1)
    legend = legend or ClassLegend("value", None, ())
    found: dict[ClassValue, int] = {}
    for value, count in zip(unique, counts, strict=True):
        found[class_value(value)] = found.get(class_value(value), 0) + count
    colors = legend.colors_of(found)
    order = {id(entry): place for place, entry in enumerate(legend.entries)}
    ordered = sorted(
        found, key=lambda value: (order.get(id(legend.entry_of(value)), len(order)), *_natural(str(value)))
    )
    return ClassColors(
        name=legend.property_name,
        colors={value: colors[value] for value in ordered},
        labels={value: legend.label_of(value) for value in ordered},
        counts={value: found[value] for value in ordered},
    )


def colors_for(values: Sequence[object], coloring: Coloring) -> list[RGB]:
    """A colour for each of several values; grey where there is no value.

    Args:
        values: Cells of a column, or labels.
        coloring: See :func:`coloring_of`; made from these values or from more.
    """
    if isinstance(coloring, RangeLegend):
        numbers = np.array([np.nan if category_name(value) == "none" else value for value in values], dtype=np.float64)
        return [_MISSING if a == 0 else (r, g, b) for r, g, b, a in coloring.colors_of(numbers).tolist()]
    return [coloring.colors.get(class_value(value), _MISSING) for value in values]


def painted(values: npt.NDArray[np.floating], coloring: Coloring) -> npt.NDArray[np.uint8]:
    """Pixels in their colours.

    Args:
        values: Shape (H, W), NaN for nodata.
        coloring: See :func:`coloring_of`; made from these values or from more.

    Returns:
        Shape (H, W, 4): red, green, blue, alpha; NaN is transparent.
    """
    if isinstance(coloring, RangeLegend):
        return coloring.colors_of(values)
    out = np.zeros((*values.shape, 4), dtype=np.uint8)
    for value, color in coloring.colors.items():
        if isinstance(value, int):
            out[values == value] = (*color, 255)
    return out


def class_value(value: object) -> ClassValue:
    """A pixel's value or a cell as the value of a class: whole numbers as int, written as text or not.

    Args:
        value: A number or a text.
    """
    if isinstance(value, float) and value.is_integer():
        return int(value)
    text = str(value)
    return int(text) if text.removeprefix("-").isdecimal() else text


def _counted(values: npt.NDArray[np.generic] | Sequence[object]) -> tuple[list[object], list[int]]:
    if isinstance(values, np.ndarray) and values.dtype != object:
        there = values[np.isfinite(values)]
        unique, counts = np.unique(there, return_counts=True)
        return unique.tolist(), counts.tolist()
    found: dict[object, int] = {}
    for value in values:
        if category_name(value) != "none":
            found[value] = found.get(value, 0) + 1
    return list(found), list(found.values())


def _are_of_none(unique: Sequence[object], legend: ClassLegend) -> bool:
    """Whether there are fractions, none of which a legend knows as a class."""
    fractions = [value for value in unique if isinstance(value, float) and not value.is_integer()]
    return bool(fractions) and not any(legend.entry_of(value) for value in fractions[:_MOST_CLASSES])


def _are_classes(unique: Sequence[object]) -> bool:
    texts = any(isinstance(value, str) for value in unique)
    whole = all(isinstance(value, str | int) or (isinstance(value, float) and value.is_integer()) for value in unique)
    return texts or (whole and len(unique) <= _MOST_CLASSES)
