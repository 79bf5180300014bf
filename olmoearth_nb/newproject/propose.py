"""From a file of labels to a proposal: reads, finds columns, chooses times, windows and splits."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from olmoearth_nb.errors import InputFileError
from olmoearth_nb.files import absolute_path, shown_path
from olmoearth_nb.newproject.annotating import point_annotations, raster_annotations
from olmoearth_nb.newproject.cells import in_pixels
from olmoearth_nb.newproject.choices import Choices, Task, choices_of, task_named
from olmoearth_nb.newproject.classes import LabelClass, classes_of, recolored
from olmoearth_nb.newproject.columns import Found, find_class_column, find_value_column
from olmoearth_nb.newproject.imagery import ENCODERS, Encoder, Imagery, catalogue, encoder_named
from olmoearth_nb.newproject.local import read_local
from olmoearth_nb.newproject.places import Places, places_of
from olmoearth_nb.newproject.proposal import Proposal
from olmoearth_nb.newproject.reading import Labels, read_labels
from olmoearth_nb.newproject.splits import Split, choose_split, split_with
from olmoearth_nb.newproject.times import times_of
from olmoearth_nb.newproject.values import ValueRange, values_of
from olmoearth_nb.types import TimeRange

__all__ = ["propose_project"]

_LOCAL = "local:"
# Of the published projects: crops of 16 pixels around points.
_POINT_WINDOW, _SMALL_WINDOW, _LARGE_WINDOW, _PLACE_WINDOW = 16, 32, 64, 8
_EPOCHS = 100
_RARE = 10
_NO_PIXEL = "covering the centre of no pixel"


@dataclass(frozen=True, kw_only=True)
class _Meaning:
    """What the labels say."""

    found: Found
    classes: tuple[LabelClass, ...]
    range: ValueRange | None
    values: list[Any]
    reason: str


def propose_project(
    labels: Labels,
    *,
    task: str,
    source: str = "sentinel2",
    encoder: str | None = None,
    project_dir: str | PathLike[str] | None = None,
    **choices: Any,
) -> Proposal:
    """Reads labels and proposes a project; nothing is written.

    Args:
        labels: Any vector file that geopandas reads, in any CRS; a table (CSV, TSV, Parquet) with longitude and
            latitude, or x and y; or a frame of either.
        task: ``segmentation`` (a class for each pixel), ``classification`` (a class for a place),
            ``per-pixel-regression`` (a number for each pixel) or ``regression`` (a number for a place).
        source: ``sentinel2``, ``sentinel1``, ``landsat``, or ``local:`` and a glob of raster files.
        encoder: ``olmoearth-nano``, ``-tiny``, ``-small`` or ``-base``, or ``unet``, a small convolutional network. If
            None, OlmoEarth's smallest where it knows the imagery, else ``unet``.
        project_dir: Where the project will be, for relative paths to local imagery.
        **choices: What shall be otherwise than proposed, see :class:`olmoearth_nb.newproject.choices.Choices`.

    Returns:
        The proposal; it shows itself.

    Raises:
        InputFileError: If the labels or the imagery can't be read or used.
        UsageError: If there is no such task, source, encoder or choice.

    Example:
        >>> labels = "olmoearth_run_data/labels/landcover_points.geojson"
        >>> propose_project(labels, task="segmentation").window_size  # doctest: +SKIP
        16
    """
    what, wanted = task_named(task), choices_of(choices)
    where = _name_of(labels)
    chosen = None if encoder is None else encoder_named(encoder)
    imagery, chosen = _imagery(source, chosen, project_dir)
    frame, places_from = read_labels(labels, layer=wanted.layer, crs=wanted.crs)
    meaning = _meaning(frame, what, wanted, where)
    times, time_reason = times_of(frame, imagery, wanted)
    labelled = [value is not None and time is not None for value, time in zip(meaning.values, times, strict=True)]
    places = places_of(frame, labelled, footprint=imagery.footprint, where=where)
    resolution = wanted.resolution or imagery.resolution
    size, size_reason = _window_size(what, places, resolution, wanted.window_size)
    if what.is_raster:
        annotations, windows = raster_annotations(
            places, meaning.values, times, size=size, resolution=resolution, where=where
        )
    else:
        annotations, windows = point_annotations(places, meaning.values, times, buffer=size // 2, resolution=resolution)
    classes = _counted(meaning.classes, annotations, meaning.values)
    split = _split(windows, size, wanted, where)
    return Proposal(
        labels=where,
        task=what,
        encoder=chosen,
        imagery=imagery,
        column=meaning.found.column,
        label_name=_label_name(wanted.label_name or meaning.found.column),
        classes=classes,
        values=meaning.range,
        time_range=_span(times),
        window_size=size,
        resolution=resolution,
        split=split,
        epochs=wanted.epochs or _EPOCHS,
        kinds=places.kinds,
        feature_count=len(frame),
        left_out=_left_out(places, annotations),
        reasons={
            "labels": f"read from {places_from}, in {_crs_name(frame)}",
            "column": meaning.found.reason,
            "label name": "given" if wanted.label_name else "that of the column",
            "values": meaning.reason,
            "time": time_reason,
            "imagery": "; ".join(imagery.notes) or f"Planetary Computer, {_dates_said(imagery)}",
            "encoder": _encoder_reason(chosen, given=encoder is not None),
            "resolution": "given" if wanted.resolution else "that of the imagery",
            "window": size_reason,
            "split": split.reason,
            "epochs": "given" if wanted.epochs else "as in the published projects",
        },
        notes=_notes(classes, meaning.reason, what, places),
        annotations=annotations,
    )


def _name_of(labels: Labels) -> str:
    if isinstance(labels, pd.DataFrame):
        return "the table"
    return str(shown_path(absolute_path(labels, what="labels")))


def _crs_name(frame: gpd.GeoDataFrame) -> str:
    crs = frame.crs
    if crs is None:
        return "an unknown CRS"
    authority = crs.to_authority()
    return ":".join(authority) if authority else str(crs.name)


def _imagery(source: str, encoder: Encoder | None, project_dir: str | PathLike[str] | None) -> tuple[Imagery, Encoder]:
    if source.startswith(_LOCAL):
        folder = absolute_path(project_dir or "project", what="project")
        return read_local(source.removeprefix(_LOCAL), encoder, project_dir=folder)
    # Landsat's bands for OlmoEarth need an account; the others are free for all.
    chosen = encoder or ENCODERS["unet" if source == "landsat" else "olmoearth-nano"]
    return catalogue(source, chosen), chosen


def _meaning(frame: gpd.GeoDataFrame, task: Task, choices: Choices, where: str) -> _Meaning:
    if not len(frame):
        raise InputFileError("There are no features.", where=where)
    if task.has_classes:
        found = find_class_column(frame, choices.column, where=where)
        classes, values, reason = classes_of(frame, found.column, where=where)
        if choices.colors:
            classes = recolored(classes, choices.colors)
        return _Meaning(found=found, classes=classes, range=None, values=list(values), reason=reason)
    found = find_value_column(frame, choices.column, where=where)
    value_range, numbers = values_of(frame, found.column, where=where)
    return _Meaning(
        found=found,
        classes=(),
        range=value_range,
        values=list(numbers),
        reason="2nd to 98th percentile, for the colours",
    )


def _window_size(task: Task, places: Places, resolution: float, given: int | None) -> tuple[int, str]:
    if given is not None:
        return given, "given"
    if not task.is_raster:
        return _PLACE_WINDOW, "the place and what is around it"
    polygons = shapely.get_dimensions(places.shapes) == 2
    if not polygons.any():
        return _POINT_WINDOW, "labels are points: a small window around them, as in the published projects"
    bounds = np.array([shp.bounds for _, shp in in_pixels(places.shapes[polygons], resolution)])
    side = float(np.percentile((bounds[:, 2:] - bounds[:, :2]).max(axis=1), 75))
    size = _SMALL_WINDOW if side <= _SMALL_WINDOW else _LARGE_WINDOW
    return size, f"three of four polygons are at most {side:.3g} pixels wide"


def _split(windows: Sequence[Any], size: int, choices: Choices, where: str) -> Split:
    if choices.grid_size is None:
        return choose_split(windows, size=size, shares=choices.split, where=where)
    found = choose_split(windows, size=size, shares=choices.split, where=where)
    return split_with(windows, grid_size=choices.grid_size, shares=found.shares)


def _counted(
    classes: tuple[LabelClass, ...], annotations: gpd.GeoDataFrame, values: Sequence[Any]
) -> tuple[LabelClass, ...]:
    """The classes that have a usable feature, with the number of these."""
    counts = Counter(values[row] for row in annotations["row"].unique())
    return tuple(replace(one, count=counts[one.value]) for one in classes if counts[one.value])


def _left_out(places: Places, annotations: gpd.GeoDataFrame) -> dict[str, int]:
    lost = len(set(places.rows.tolist()) - set(annotations["row"]))
    return places.left_out | ({_NO_PIXEL: lost} if lost else {})


def _label_name(column: str) -> str:
    name = re.sub(r"\W+", "_", column).strip("_").lower()
    return re.sub(r"_(name|id|code)$", "", name) or "label"


def _span(times: Sequence[TimeRange | None]) -> TimeRange:
    spans = [one for one in times if one is not None]
    return min(start for start, _ in spans), max(end for _, end in spans)


def _dates_said(imagery: Imagery) -> str:
    return "one image of the time range" if imagery.dates == 1 else f"{imagery.dates} monthly mosaics"


def _encoder_reason(encoder: Encoder, *, given: bool) -> str:
    if given:
        return "given"
    if encoder.model_id is None:
        return "takes any bands"
    return "runs on any machine; with a GPU take olmoearth-base, as the published projects do"


def _notes(classes: Sequence[LabelClass], numbered: str, task: Task, places: Places) -> tuple[str, ...]:
    rare = [one for one in classes if one.count < _RARE]
    notes = [f"{one.name!r} has only {one.count} feature{'s' * (one.count > 1)}" for one in rare]
    if len(notes) > 3:
        notes = [f"{len(notes)} classes have fewer than {_RARE} features"]
    if classes:
        notes.append(f"class values are {numbered}")
    if len({_dimension(kind) for kind in places.kinds}) > 1:
        how = "points and lines count as the pixels they touch" if task.is_raster else "a point inside stands for each"
        notes.append(f"geometries are mixed: {how}")
    return tuple(notes)


def _dimension(kind: str) -> str:
    return kind.removeprefix("Multi")
