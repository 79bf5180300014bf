"""Annotation files with faults that are known."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import shapely
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.labels import PointToPixelWindowPreparer
from olmoearth_nb.labels.report.check import LabelContext, check_labels
from olmoearth_nb.labels.report.facts import LabelFacts, read_facts
from olmoearth_nb.labels.report.findings import LabelFinding
from olmoearth_nb.labels.report.planned import SplitWindows, plan_windows
from olmoearth_nb.types import DataSplitType

TIMES = ("2023-05-01T00:00:00Z", "2023-06-30T00:00:00Z")
NOW = datetime(2025, 1, 1, tzinfo=UTC)
# In the middle of zone 32633, where a degree of longitude is some 71.5 km and one of latitude 111.2 km.
LON, LAT = 15.0, 50.0


def task_id(number: int) -> str:
    return str(uuid.UUID(int=number + 1))


class Planted:
    """Tasks and annotations to be written; each task is a square of 0.01 degrees a step apart."""

    def __init__(self) -> None:
        self.tasks: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []

    def task(self, number: int, *, times: Sequence[str | None] = TIMES, shape: BaseGeometry | None = None) -> None:
        west, south = place(number)
        area = shape or shapely.box(west - 0.005, south - 0.005, west + 0.005, south + 0.005)
        properties = {"oe_annotations_task_id": task_id(number), "oe_start_time": times[0], "oe_end_time": times[1]}
        self.tasks.append({"type": "Feature", "geometry": mapping(area), "properties": properties})

    def label(self, number: int, value: Any, shape: BaseGeometry | None = None, **labels: Any) -> None:
        geometry = None if shape is None else mapping(shape)
        given = {"crop": value, **labels} if value != "none" else labels
        properties = {"oe_annotations_task_id": task_id(number), "oe_labels": given}
        self.annotations.append({"type": "Feature", "geometry": geometry, "properties": properties})

    def read(self, folder: Path, *, resolution: float = 10.0) -> LabelFacts:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / "tasks.geojson", folder / "annotations.geojson"]
        for path, features in zip(paths, (self.tasks, self.annotations), strict=True):
            path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
        return read_facts(*paths, resolution=resolution)


def place(number: int) -> tuple[float, float]:
    return LON + 0.02 * (number % 10 - 5), LAT + 0.02 * (number // 10 - 5)


class ByRow:
    """South, middle and north of the clean set become train, val and test."""

    def choose_split_for_window(self, window: Any) -> DataSplitType:
        row = int(uuid.UUID(window.name.split("_")[1])) - 1
        return DataSplitType.TRAIN if row < 60 else DataSplitType.VAL if row < 80 else DataSplitType.TEST


def clean() -> Planted:
    """A hundred tasks with a point each, two classes in turn."""
    planted = Planted()
    for number in range(100):
        planted.task(number)
        planted.label(number, number % 2 + 1, shapely.Point(place(number)))
    return planted


def windows_of(facts: LabelFacts, *, splitter: Any = None) -> SplitWindows:
    return plan_windows(
        facts.usable.tasks, sampler=None, preparer=PointToPixelWindowPreparer(), splitter=splitter or ByRow()
    )


def findings(facts: LabelFacts, *, windows: bool = False, **context: Any) -> dict[str, LabelFinding]:
    made = windows_of(facts) if windows else None
    return {one.code: one for one in check_labels(facts, LabelContext(now=NOW, windows=made, **context))}
