"""Objects that a model finds in a window, as outlines over imagery."""

from __future__ import annotations

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
import shapely

from olmoearth_nb.colors import RGB
from olmoearth_nb.maps.style import category_name
from olmoearth_nb.maps.traced_colors import TraceColors
from olmoearth_nb.maps.traced_inputs import thumbnail
from olmoearth_nb.maps.traced_panels import Mark, PixelMap
from olmoearth_nb.traces.data import TraceData, TraceOutput, TraceWindow
from olmoearth_nb.traces.pixels import input_layers

__all__ = ["FOUND", "LABELLED", "found_text", "marks_of", "object_map", "objects_at", "over_imagery"]

FOUND: RGB = (255, 221, 51)
"""Colour of objects without a class."""
LABELLED: RGB = (255, 255, 255)
"""Colour of labels."""

_MOST_TEXTS, _MOST_MARKS = 20, 60


def object_map(data: TraceData, output: TraceOutput, colors: TraceColors) -> PixelMap:
    """Objects over the imagery; labels are dashed.

    Args:
        data: The trace.
        output: What the model says.
        colors: Colours of the project.
    """
    marks = [*marks_of(data.window, output.label_vectors, output, colors, label=True)]
    marks += marks_of(data.window, output.vectors, output, colors, label=False)
    return over_imagery(data, "detections", marks, found_text(output.vectors) + _labels_text(output))


def found_text(table: gpd.GeoDataFrame | None) -> str:
    """How many objects there are.

    Args:
        table: The objects.
    """
    more = f", the best {_MOST_MARKS} drawn" if _count(table) > _MOST_MARKS else ""
    return f"{_count(table)} found{more}"


def _labels_text(output: TraceOutput) -> str:
    return "" if output.label_vectors is None else f", {_count(output.label_vectors)} labelled (dashed)"


def _count(table: gpd.GeoDataFrame | None) -> int:
    return 0 if table is None else len(table)


def over_imagery(data: TraceData, title: str, marks: Sequence[Mark], caption: str) -> PixelMap:
    """Objects on the first input.

    Args:
        data: The trace.
        title: What they are.
        marks: The objects.
        caption: A line below.
    """
    layers = input_layers(data)
    blank = np.full((1, 1, 4), 235, dtype=np.uint8)
    rgba = thumbnail(next(iter(layers.values())))[0] if layers else blank
    return PixelMap(title=title, rgba=rgba, caption=caption, marks=tuple(marks))


def objects_at(data: TraceData, output: TraceOutput, colors: TraceColors, pixel: tuple[int, int]) -> dict[str, str]:
    """Objects that a pixel is part of: ``found`` and ``labelled``, where the task has such.

    Args:
        data: The trace.
        output: What the model says.
        colors: Colours of the project.
        pixel: Row and column in pixels of the window.
    """
    row, column = pixel
    square = shapely.box(column, row, column + 1, row + 1)
    texts = {}
    for name, table in (("found", output.vectors), ("labelled", output.label_vectors)):
        if table is None:
            continue
        marks = marks_of(data.window, table, output, colors, label=False)
        here = [mark.text or "an object" for mark in marks if shapely.intersects(mark.shape, square)]
        texts[name] = ", ".join(here[:4]) + (f" and {len(here) - 4} more" if len(here) > 4 else "") or "nothing"
    return texts


def marks_of(
    window: TraceWindow, table: gpd.GeoDataFrame | None, output: TraceOutput | None, colors: TraceColors, *, label: bool
) -> list[Mark]:
    """Objects of a table, the best of very many.

    Args:
        window: The window.
        table: In the window's CRS.
        output: What the model says.
        colors: Colours of the project.
        label: Whether they are labels.
    """
    if table is None or not len(table):
        return []
    if "score" in table:
        table = table.sort_values("score", ascending=False).head(_MOST_MARKS)
    a, _, c, _, e, f = window.transform
    shapes = shapely.transform(table.geometry.to_numpy(), lambda points: (points - [c, f]) / [a, e])
    names = _names_of(table, output)
    known = {} if output is None else {entry.label: entry.color for entry in colors.classes(output).entries}
    scores = table["score"] if "score" in table else [None] * len(table)
    few = len(table) <= _MOST_TEXTS
    marks = []
    for shape, name, score in zip(shapes, names, scores, strict=True):
        chance = "" if score is None or not np.isfinite(score) else f"{score:.0%}"
        text = " ".join(part for part in (name, chance) if part) if few and not label else ""
        marks.append(Mark(shape, LABELLED if label else known.get(name, FOUND), text, dashed=label))
    return marks


def _names_of(table: gpd.GeoDataFrame, output: TraceOutput | None) -> list[str]:
    """The class of each object: what a column says that has a class."""
    columns = [name for name in table.columns if name not in (table.geometry.name, "score")]
    classes = () if output is None else output.classes
    for column in columns:
        cells = [category_name(cell) for cell in table[column]]
        if column in ("class", "category", "label") or (classes and set(cells) <= set(classes)):
            return cells
    return [""] * len(table)
