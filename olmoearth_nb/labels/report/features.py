"""Features of annotation files one by one: what they say, or what is wrong with each."""

from __future__ import annotations

import functools
import json
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import shapely
from pydantic import TypeAdapter, ValidationError
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import InputFileError
from olmoearth_nb.geojson import Time, normalise_lonlat
from olmoearth_nb.geojson_text import load_features
from olmoearth_nb.globe import Shapes
from olmoearth_nb.labels.shapes import polygonal_part

__all__ = ["AnnotationRow", "Fault", "Refused", "TaskRow", "read_annotation_rows", "read_task_rows"]

Fault: TypeAlias = Literal["geometry", "task id", "same id", "time", "label", "null label"]
"""What is wrong with a feature."""

_TIME: TypeAdapter[datetime] = TypeAdapter(Time)


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A feature, or a part of one, that window preparation refuses.

    Attributes:
        file: Name of the file.
        feature: Its number in it, counted from 0.
        fault: What is wrong.
        words: The same in words.
        shape: Its geometry in degrees, if that can be read.
    """

    file: str
    feature: int
    fault: Fault
    words: str
    shape: BaseGeometry | None = None

    def __str__(self) -> str:
        return f"{self.file}: features[{self.feature}]: {self.words}"


@dataclass(frozen=True, kw_only=True)
class TaskRow:
    """A task.

    Attributes:
        feature: Its number in the file.
        task_id: Its id.
        shape: Its area, degrees, valid.
        start: When it begins; None if that can't be read.
        end: When it ends.
    """

    feature: int
    task_id: str
    shape: BaseGeometry
    start: datetime | None
    end: datetime | None


@dataclass(frozen=True, kw_only=True)
class AnnotationRow:
    """An annotation.

    Attributes:
        feature: Its number in the file.
        task_id: Id of its task.
        shape: Its geometry, degrees, valid.
        labels: Label -> value; at least one is not None.
        fault: Why its geometry had to be repaired; empty if it was valid.
    """

    feature: int
    task_id: str
    shape: BaseGeometry
    labels: dict[str, float | None]
    fault: str


class _Fault(Exception):  # noqa: N818  # it never leaves this module
    """Something wrong with a feature."""

    def __init__(self, fault: Fault, words: str) -> None:
        super().__init__(words)
        self.fault, self.words = fault, words


def read_task_rows(path: str | PathLike[str]) -> tuple[list[TaskRow], list[Refused]]:
    """Tasks of a file.

    Args:
        path: GeoJSON.

    Returns:
        Those that can be used, and what is wrong with others, or with their times.

    Raises:
        InputFileError: If the file is missing or no GeoJSON.
    """
    raw = load_features(path, "annotation task")
    file = Path(path).name
    shapes, _, refused = _shapes(raw, file)
    rows: dict[str, TaskRow] = {}
    for index in np.flatnonzero(~shapely.is_missing(shapes)).tolist():
        try:
            row, fault = _task(raw[index], index, shapes[index])
        except _Fault as error:
            refused.append(_refused(file, index, error, shapes[index]))
            continue
        if fault is not None:
            refused.append(_refused(file, index, fault, shapes[index]))
        if row.task_id in rows:
            words = f"features[{rows[row.task_id].feature}] has the id {row.task_id} too."
            refused.append(_refused(file, index, _Fault("same id", words), shapes[index]))
        else:
            rows[row.task_id] = row
    return list(rows.values()), refused


def read_annotation_rows(path: str | PathLike[str], label: str) -> tuple[list[AnnotationRow], list[Refused]]:
    """Annotations of a file.

    Args:
        path: GeoJSON.
        label: Name for the value of the older ``es_label``.

    Returns:
        Those that can be used, and what is wrong with others.

    Raises:
        InputFileError: If the file is missing or no GeoJSON.
    """
    raw = load_features(path, "annotation")
    file = Path(path).name
    shapes, faults, refused = _shapes(raw, file)
    rows = []
    for index in np.flatnonzero(~shapely.is_missing(shapes)).tolist():
        try:
            properties = _properties(raw[index])
            rows.append(
                AnnotationRow(
                    feature=index,
                    task_id=_task_id(properties),
                    shape=shapes[index],
                    labels=_labels(properties, label),
                    fault=faults.get(index, ""),
                )
            )
        except _Fault as error:
            refused.append(_refused(file, index, error, shapes[index]))
    return rows, refused


def _refused(file: str, index: int, error: _Fault, shape: BaseGeometry | None = None) -> Refused:
    return Refused(file=file, feature=index, fault=error.fault, words=error.words, shape=shape)


# ---- properties --------------------------------------------------------------------------------------------------


def _properties(raw: Any) -> dict[str, Any]:
    properties = raw.get("properties")
    if not isinstance(properties, dict):
        raise _Fault("label", "It has no properties.")
    return properties


def _either(properties: dict[str, Any], name: str) -> Any:
    """A property in today's or the older spelling."""
    return properties.get(f"oe_{name}", properties.get(f"es_{name}"))


def _task_id(properties: dict[str, Any]) -> str:
    value = _either(properties, "annotations_task_id")
    try:
        return str(uuid.UUID(value))
    except (AttributeError, TypeError, ValueError) as error:
        raise _Fault("task id", f"Its task has no UUID: {value!r:.60}.") from error


def _task(raw: Any, index: int, shape: BaseGeometry) -> tuple[TaskRow, _Fault | None]:
    properties = _properties(raw)
    task_id = _task_id(properties)
    fault: _Fault | None = None
    start = end = None
    try:
        start, end = (_time(_either(properties, name), name) for name in ("start_time", "end_time"))
        if start > end:
            fault = _Fault("time", f"It ends ({end:%Y-%m-%d}) before it starts ({start:%Y-%m-%d}).")
    except _Fault as error:
        fault = error
    return TaskRow(feature=index, task_id=task_id, shape=shape, start=start, end=end), fault


def _time(value: Any, name: str) -> datetime:
    time = _parsed(value) if isinstance(value, str) else None
    if time is None:
        raise _Fault("time", f"Its {name} is no time: {value!r:.60}.")
    return time


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> datetime | None:
    try:
        return _TIME.validate_python(text)
    except ValidationError:
        return None


def _labels(properties: dict[str, Any], name: str) -> dict[str, float | None]:
    labels = properties.get("oe_labels", {name: properties["es_label"]} if "es_label" in properties else None)
    if not isinstance(labels, dict):
        raise _Fault("label", "It has no oe_labels.")
    for key, value in labels.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not number:
            raise _Fault("label", f"Its label {key} is no number: {value!r:.60}.")
    if all(value is None for value in labels.values()):
        raise _Fault("null label", "None of its labels has a value.")
    return labels


# ---- geometries --------------------------------------------------------------------------------------------------


def _shapes(raw: Sequence[Any], file: str) -> tuple[Shapes, dict[int, str], list[Refused]]:
    """A valid geometry of each feature or None; why some were repaired; and what is wrong with others."""
    geometries = [one.get("geometry") if isinstance(one, dict) else None for one in raw]
    texts = np.array([json.dumps(one) if isinstance(one, dict) else None for one in geometries], dtype=object)
    # All at once: a tenth of the time that making them one by one takes.
    shapes = np.asarray(shapely.from_geojson(texts, on_invalid="ignore"), dtype=object)
    shapes[shapely.is_empty(shapes)] = None
    refused = [
        Refused(
            file=file,
            feature=index,
            fault="geometry",
            words="Its geometry can't be made, or is empty." if geometries[index] else "It has no geometry.",
        )
        for index in np.flatnonzero(shapely.is_missing(shapes)).tolist()
    ]
    bounds = shapely.bounds(shapes)
    inside = (np.abs(bounds[:, [0, 2]]) <= 180).all(axis=1) & (np.abs(bounds[:, [1, 3]]) <= 90).all(axis=1)
    odd = ~(inside & (bounds[:, 2] - bounds[:, 0] <= 180)) & ~shapely.is_missing(shapes)
    for index in np.flatnonzero(odd).tolist():
        try:
            shapes[index] = normalise_lonlat(shapes[index], "")
        except InputFileError as error:
            shapes[index] = None
            refused.append(Refused(file=file, feature=index, fault="geometry", words=error.what))
    return shapes, _repair(shapes, file, refused), refused


def _repair(shapes: Shapes, file: str, refused: list[Refused]) -> dict[int, str]:
    """Repairs polygons as window preparation does; those without area become None."""
    polygons = shapely.get_dimensions(shapes) == 2
    faulty = polygons & ~(shapely.is_valid(shapes) & (shapely.area(shapes) > 0))
    faults = {}
    for index in np.flatnonzero(faulty).tolist():
        reason = str(shapely.is_valid_reason(shapes[index])).split("[")[0].strip()
        fixed = polygonal_part(shapely.make_valid(shapes[index]))
        if fixed.area > 0:
            faults[index], shapes[index] = reason, fixed
        else:
            words = f"The polygon has no area ({reason})."
            refused.append(Refused(file=file, feature=index, fault="geometry", words=words))
            shapes[index] = None
    return faults
