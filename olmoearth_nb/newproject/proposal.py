"""What a new project will be, before anything is written: every choice with its reason."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

import geopandas as gpd

from olmoearth_nb.newproject.choices import Task
from olmoearth_nb.newproject.classes import LabelClass
from olmoearth_nb.newproject.imagery import Encoder, Imagery
from olmoearth_nb.newproject.splits import Split
from olmoearth_nb.newproject.values import ValueRange
from olmoearth_nb.tables import html_table, text_table
from olmoearth_nb.types import TimeRange

__all__ = ["PATCH", "Proposal"]

PATCH = 4
"""Width of OlmoEarth's patches in pixels, as in the published projects."""

_COLUMNS = ("choice", "proposal", "why")
_CLASS_COLUMNS = ("value", "class", "colour", "features")
_MOST_SHOWN = 30


@dataclass(frozen=True, kw_only=True, repr=False)
class Proposal:
    """A project that could be written; shows itself as tables.

    Attributes:
        labels: Where the labels come from, as it is shown.
        task: What the model shall say.
        encoder: The encoder.
        imagery: What it looks at.
        column: Of the class or value.
        label_name: Name of the label and of the result's property.
        classes: Classes by value; empty for a regression.
        values: Range of the values; None for classes.
        time_range: From the start of the first label to the end of the last.
        window_size: Width and height of the training windows, pixels.
        resolution: Metres per pixel.
        split: How windows are divided, and how many each split gets.
        epochs: Passes over the training windows.
        kinds: Kind of geometry -> how many features of the source.
        feature_count: Features of the source.
        left_out: Reason -> features that were left out for it.
        reasons: Choice -> why.
        notes: What else is worth knowing.
        annotations: A row for each annotation to be written: geometry, ``row`` (of the source), ``value``, ``start``,
            ``end`` and, for rasters, ``task_area`` (WKT of its window).
    """

    labels: str
    task: Task
    encoder: Encoder
    imagery: Imagery
    column: str
    label_name: str
    classes: tuple[LabelClass, ...]
    values: ValueRange | None
    time_range: TimeRange
    window_size: int
    resolution: float
    split: Split
    epochs: int
    kinds: dict[str, int]
    feature_count: int
    left_out: dict[str, int]
    reasons: dict[str, str]
    notes: tuple[str, ...]
    annotations: gpd.GeoDataFrame = field(repr=False)

    @property
    def window_count(self) -> int:
        """Labelled windows that there will be."""
        return sum(self.split.counts.values())

    def rows(self) -> list[tuple[str, str, str]]:
        """Choice, what is proposed and why, for tables."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.items())
        start, end = (moment.date().isoformat() for moment in self.time_range)
        counts = self.split.counts
        chosen = {
            "labels": f"{self.feature_count} features: {kinds}",
            "column": self.column,
            "label name": self.label_name,
            "time": f"{start} to {end}",
            "imagery": f"{self.imagery.source}: {len(self.imagery.bands)} bands, {self.imagery.dates} date(s)",
            "encoder": self.encoder.name,
            "resolution": f"{self.resolution:g} m",
            "window": f"{self.window_size} × {self.window_size} pixels",
            "split": f"{counts['train']} train, {counts['val']} val, {counts['test']} test",
            "epochs": str(self.epochs),
        }
        if self.values is not None:
            chosen["values"] = f"{self.values.low:g} to {self.values.high:g}"
        rows = [(name, value, self.reasons.get(name, "")) for name, value in chosen.items()]
        return rows + [("left out", str(count), reason) for reason, count in self.left_out.items()]

    def _caption(self) -> str:
        return f"{self.task.value} from {self.labels}: {self.window_count} labelled windows"

    def _class_rows(self) -> list[tuple[object, ...]]:
        return [(one.value, one.name, hex_of(one), one.count) for one in self.classes[:_MOST_SHOWN]]

    def _more(self) -> list[str]:
        hidden = len(self.classes) - _MOST_SHOWN
        return ([f"{hidden} more classes."] if hidden > 0 else []) + [f"Note: {note}." for note in self.notes]

    def __repr__(self) -> str:
        parts = [text_table(_COLUMNS, self.rows(), caption=self._caption())]
        if self.classes:
            parts.append(text_table(_CLASS_COLUMNS, self._class_rows()))
        return "\n\n".join([*parts, *self._more()])

    def _repr_html_(self) -> str:
        parts = [html_table(_COLUMNS, self.rows(), caption=self._caption())]
        if self.classes:
            # The colour itself, not only its number; values are ours, names are escaped by the table.
            swatches = "".join(
                f'<span title="{html.escape(one.name)}" style="display:inline-block;width:18px;height:18px;'
                f'background:{hex_of(one)}"></span>'
                for one in self.classes[:_MOST_SHOWN]
            )
            parts += [f"<div>{swatches}</div>", html_table(_CLASS_COLUMNS, self._class_rows())]
        return "".join([*parts, *(f"<p>{html.escape(text)}</p>" for text in self._more())])

    def to_dict(self) -> dict[str, Any]:
        """What is proposed, as plain data."""
        return {
            "labels": self.labels,
            "task": self.task.value,
            "choices": [{"choice": name, "proposal": value, "why": why} for name, value, why in self.rows()],
            "classes": [
                {"value": one.value, "name": one.name, "color": list(one.color), "features": one.count}
                for one in self.classes
            ],
            "notes": list(self.notes),
        }


def hex_of(one: LabelClass) -> str:
    """The colour of a class as ``#rrggbb``.

    Args:
        one: The class.
    """
    return "#{:02x}{:02x}{:02x}".format(*one.color)
