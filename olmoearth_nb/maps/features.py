"""Requests, partitions, windows, annotations and vector results as layers of a map."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.border import foreign_code
from olmoearth_nb.colors import RGB
from olmoearth_nb.errors import InputFileError, UsageError
from olmoearth_nb.geojson import PredictionRequestCollection, feature_shape, read_request
from olmoearth_nb.labels.tasks import AnnotationTasks
from olmoearth_nb.legend import ClassLegend, DetectionLegend, Legend, RangeLegend
from olmoearth_nb.maps.frame import one_side
from olmoearth_nb.maps.labels import field_of, property_of
from olmoearth_nb.maps.layers import Key, LayerKind, ShapeLayer, key_of_coloring
from olmoearth_nb.maps.shapes import RequestSource
from olmoearth_nb.maps.style import REQUEST_COLOR, category_colors, category_name, coloring_of, colors_for
from olmoearth_nb.types import shape_of

__all__ = [
    "CONFIDENCE_COLORMAP",
    "annotations_layer",
    "full_confidence",
    "partitions_layer",
    "request_layer",
    "results_layers",
    "windows_layer",
]

# A column of numbers with more values than this is a measurement.
_MOST_NUMBERS = 12
# Beyond so many, names of partitions would hide the map.
_MOST_LABELS = 40
_MOST_KEYS = 40
_WINDOW_COLUMNS = (
    "name",
    "partition",
    "partitions",
    "split",
    "state",
    "reason",
    "features",
    "task",
    "group",
    "start",
    "end",
)
CONFIDENCE_COLORMAP = "viridis"


def request_layer(request: RequestSource) -> ShapeLayer:
    """The outline of a request; what is said of a feature are its properties.

    Args:
        request: The request or its file.

    Raises:
        InputFileError: If the file can't be read.
    """
    collection = read_request(request) if isinstance(request, str | PathLike) else request
    shapes = one_side([feature_shape(feature) for feature in collection.features])
    rows = [feature.properties.model_dump() if feature.properties else {} for feature in collection.features]
    names = [
        str(row.pop("name", None) or feature.id or f"feature {index}")
        for index, (row, feature) in enumerate(zip(rows, collection.features, strict=True))
    ]
    return ShapeLayer(
        kind=LayerKind.REQUEST,
        name=f"request ({len(shapes):,})",
        shapes=shapes,
        colors=[REQUEST_COLOR] * len(shapes),
        about=_about("request", names, pd.DataFrame(rows)),
        fill=0.0,
        key=Key("", (("request", REQUEST_COLOR),)),
    )


def partitions_layer(
    requests: Mapping[str, PredictionRequestCollection], windows: Mapping[str, int] | None = None
) -> ShapeLayer:
    """Partitions in colours that can be told apart.

    Args:
        requests: Partition id -> its features.
        windows: Partition id -> number of its windows.
    """
    ids = list(requests)
    features = [[feature_shape(feature) for feature in requests[pid].features] for pid in ids]
    shapes = one_side([_together(shapes) for shapes in features])
    colors = category_colors(ids)
    about = pd.DataFrame({"partition": ids, "features": [len(shapes) for shapes in features]})
    if windows is not None:
        about["windows"] = [windows[pid] for pid in ids]
    return ShapeLayer(
        kind=LayerKind.PARTITIONS,
        name=f"partitions ({len(ids):,})",
        shapes=shapes,
        colors=[colors[pid] for pid in ids],
        about=about,
        fill=0.1,
        labels=tuple(ids) if len(ids) <= _MOST_LABELS else (),
        key=Key("partition", tuple(colors.items())) if len(ids) <= _MOST_KEYS else None,
    )


def _about(title: str, names: Sequence[str], table: pd.DataFrame) -> pd.DataFrame:
    """A table with names in front, whatever its own columns are called."""
    return pd.concat([pd.DataFrame({title: list(names)}), table], axis=1)


def _together(shapes: Sequence[BaseGeometry]) -> BaseGeometry:
    return shapes[0] if len(shapes) == 1 else shapely.GeometryCollection(list(shapes))


def windows_layer(table: gpd.GeoDataFrame, *, by: str | None = None, also: Sequence[str] = ()) -> ShapeLayer:
    """Windows, coloured by a column.

    Args:
        table: A windows table, as ``runner.windows()`` gives, or part of it.
        by: Column; ``split`` or ``state`` if None. Measurements get a colour bar.
        also: Further columns that are said of a window.

    Raises:
        UsageError: If the table has no such column.
    """
    column = by or next((name for name in ("split", "state") if name in table.columns), "group")
    if column not in table.columns or column == "geometry":
        names = [name for name in table.columns if name != "geometry"]
        raise UsageError(f"The windows table has no column {column!r}.", expected=f"one of {', '.join(names)}")
    colors, key = _column_colors(table[column])
    columns = [name for name in dict.fromkeys((*_WINDOW_COLUMNS, column, *also)) if name in table.columns]
    return ShapeLayer(
        kind=LayerKind.WINDOWS,
        name=f"windows ({len(table):,})",
        shapes=one_side(list(table.geometry)),
        colors=colors,
        about=pd.DataFrame(table[columns]).reset_index(drop=True),
        key=key,
    )


def _column_colors(cells: pd.Series[Any]) -> tuple[list[RGB], Key]:
    column = str(cells.name)
    if pd.api.types.is_numeric_dtype(cells) and (cells.nunique() > _MOST_NUMBERS or _are_fractions(cells)):
        low, high = float(cells.min()), float(cells.max())
        scale = RangeLegend(column, None, low, high if high > low else low + 1)
        return colors_for(cells.tolist(), scale), Key(column, scale=scale)
    names = [category_name(cell) for cell in cells]
    colors, counts = category_colors(cells), Counter(names)
    entries = [(f"{name} ({counts[name]:,})", color) for name, color in colors.items()]
    if len(entries) > _MOST_KEYS:
        entries = [*entries[:_MOST_KEYS], (f"… and {len(entries) - _MOST_KEYS} more", (255, 255, 255))]
    return [colors[name] for name in names], Key(column, tuple(entries))


def _are_fractions(cells: pd.Series[Any]) -> bool:
    return pd.api.types.is_float_dtype(cells) and bool((cells.dropna() % 1 != 0).any())


def annotations_layer(tasks: AnnotationTasks, *, label: str | None = None, legend: Legend | None = None) -> ShapeLayer:
    """Annotations, coloured by the value of a label.

    Args:
        tasks: What ``runner.annotation_tasks()`` gives.
        label: Name of the label; the first one in alphabetical order if None.
        legend: The project's legend.

    Raises:
        UsageError: If there is no such label.
    """
    names = list(tasks.label_counts)
    name = label or next(iter(names), "label")
    if names and name not in names:
        raise UsageError(f"No annotation has a label {name!r}.", expected=f"one of {', '.join(names)}")
    found = [
        (shape_of(annotation.st_geometry), annotation.labels[name], str(task.task_id))
        for task in tasks.tasks
        for annotation in task.annotations
        if annotation.labels.get(name) is not None
    ]
    values = [value for _, value, _ in found]
    coloring = coloring_of(values, field_of(legend, name=name))
    return ShapeLayer(
        kind=LayerKind.LABELS,
        name=f"annotations ({len(found):,})",
        shapes=one_side([shape for shape, *_ in found]),
        colors=colors_for(values, coloring),
        about=pd.DataFrame({"annotation": [name] * len(found), name: values, "task": [task for *_, task in found]}),
        fill=0.5,
        key=key_of_coloring(coloring, title=name),
    )


def results_layers(
    path: str | PathLike[str], legend: Legend | None = None, *, field: str | None = None
) -> list[ShapeLayer]:
    """Vector results by class, and by confidence where they have one.

    Args:
        path: GeoJSON.
        legend: The project's legend; without one, values get distinct colours.
        field: Property to colour by; one that the legend knows if None.

    Raises:
        InputFileError: If the file can't be read.
        UsageError: If there is no such property.
    """
    with foreign_code(InputFileError, "The result can't be read", where=str(path)):
        table = gpd.read_file(path)
    table = table[~(table.geometry.is_empty | table.geometry.isna())].reset_index(drop=True)
    columns = [str(name) for name in table.columns if name != "geometry"]
    if field is not None and field not in columns:
        raise UsageError(f"The result has no property {field!r}.", where=str(path), expected=f"one of {columns}")
    name = field or property_of(legend, columns)
    cells = table[name].tolist() if name in columns else [None] * len(table)
    coloring = coloring_of(cells, field_of(legend, name=name))
    layer = ShapeLayer(
        kind=LayerKind.PREDICTIONS,
        name=f"results by {name} ({len(table):,})",
        shapes=one_side(list(table.geometry)),
        colors=colors_for(cells, coloring),
        about=_about("result", [Path(path).stem] * len(table), pd.DataFrame(table[columns])),
        fill=0.5,
        key=key_of_coloring(coloring, title=name),
    )
    confidence = _confidence_of(legend, name, columns)
    return [layer] if confidence is None else [layer, _confidence_layer(layer, table, confidence)]


def _confidence_of(legend: Legend | None, name: str, columns: Sequence[str]) -> str | None:
    fields: list[ClassLegend | DetectionLegend] = [*legend.classes, *legend.detections] if legend else []
    fields.sort(key=lambda one: isinstance(one, DetectionLegend) or one.property_name != name)
    found = (one.confidence_property_name for one in fields)
    return next((one for one in found if one in columns), None)


def _confidence_layer(layer: ShapeLayer, table: gpd.GeoDataFrame, name: str) -> ShapeLayer:
    cells = pd.to_numeric(table[name], errors="coerce").to_numpy(dtype=np.float64)
    scale = RangeLegend(name, None, 0.0, full_confidence(cells), CONFIDENCE_COLORMAP)
    return ShapeLayer(
        kind=LayerKind.CONFIDENCE,
        name=f"confidence ({name})",
        shapes=layer.shapes,
        colors=colors_for(cells.tolist(), scale),
        about=layer.about,
        fill=0.5,
        shown=False,
        key=Key(name, scale=scale),
    )


def full_confidence(values: npt.NDArray[np.floating]) -> float:
    """What stands for certainty: 1, 100 or 255, whichever the values fit in.

    Args:
        values: Confidences; NaN where there is none.
    """
    highest = float(np.nanmax(values)) if np.isfinite(values).any() else 1.0
    return next((full for full in (1.0, 100.0, 255.0) if highest <= full), highest)
