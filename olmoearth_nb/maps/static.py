"""Pictures of every step: windows, annotations, imagery, labels, predictions, training.

Each function returns a matplotlib figure that shows itself in a notebook and can be saved with ``savefig``. The map
functions draw into ``ax`` if it is given, for pictures beside each other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import cast

import geopandas as gpd
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rasterio.enums import Resampling
from rslearn.dataset import Dataset, Window

from olmoearth_nb.errors import MissingStepError, UsageError
from olmoearth_nb.globe import Shapes
from olmoearth_nb.labels.tasks import AnnotationTasks
from olmoearth_nb.legend import Legend, RangeLegend
from olmoearth_nb.maps.canvas import add_key_of, add_legend, draw_pixels, key_of, map_axes
from olmoearth_nb.maps.frame import frame_around, one_side
from olmoearth_nb.maps.grid import Grid, grid_over, mosaic
from olmoearth_nb.maps.imagery import ImageryView, colored, stretch_over, with_layer
from olmoearth_nb.maps.labels import LabelView, WindowLabels, field_of, read_labels
from olmoearth_nb.maps.panels import plot_examples
from olmoearth_nb.maps.prediction import plot_prediction
from olmoearth_nb.maps.shapes import OUTLINE, RequestSource, ShapeStyle, draw_shapes, request_shapes
from olmoearth_nb.maps.sheet import plot_window
from olmoearth_nb.maps.style import (
    REQUEST_COLOR,
    category_colors,
    category_name,
    coloring_of,
    colors_for,
    painted,
)
from olmoearth_nb.maps.training import plot_training
from olmoearth_nb.types import shape_of

__all__ = [
    "ImageryView",
    "LabelView",
    "plot_annotations",
    "plot_examples",
    "plot_imagery",
    "plot_labels",
    "plot_prediction",
    "plot_training",
    "plot_window",
    "plot_windows",
]

_MAX_PIXELS = 1200
# Up to so many labelled pixels are drawn one by one, so that single ones can be seen on a map of hundreds of windows.
_FEW_PIXELS = 4000
# A column of numbers with more values than this is a measurement.
_MOST_NUMBERS = 12


def plot_windows(
    table: gpd.GeoDataFrame, *, by: str | None = None, request: RequestSource | None = None, ax: Axes | None = None
) -> Figure:
    """Windows on a map, coloured by a column of the windows table.

    Args:
        table: What ``runner.windows()`` gives, or part of it.
        by: Column; ``split`` or ``state`` if None. Numbers with many values get a colour bar.
        request: Request whose outline is drawn too.
        ax: Where to draw.

    Raises:
        UsageError: If the table has no such column.
        GeometryError: If it has no rows.
    """
    column = by or next((name for name in ("split", "state") if name in table.columns), "group")
    if column not in table.columns or column == "geometry":
        names = [name for name in table.columns if name != "geometry"]
        raise UsageError(f"The windows table has no column {column!r}.", expected=f"one of {', '.join(names)}")
    outlines = request_shapes(request)
    shapes = one_side([*table.geometry, *outlines])
    windows, request_outlines = shapes[: len(table)], shapes[len(table) :]
    frame = frame_around(shapes)
    ax = map_axes(frame, title=f"{len(table):,} windows by {column}", ax=ax)
    cells = table[column]
    if pd.api.types.is_numeric_dtype(cells) and cells.nunique() > _MOST_NUMBERS:
        scale = RangeLegend(column, None, float(cells.min()), float(cells.max()))
        draw_shapes(ax, frame, windows, [scale.color_of(cell) for cell in cells], ShapeStyle(opacity=0.7))
        add_key_of(ax, scale)
    else:
        names = [category_name(cell) for cell in cells]
        colors, counts = category_colors(cells), Counter(names)
        draw_shapes(ax, frame, windows, [colors[name] for name in names])
        keys = [key_of(f"{name} ({counts[name]:,})", color) for name, color in colors.items()]
        add_legend(ax, [*keys, *[key_of("request", REQUEST_COLOR, line=True)] * bool(outlines)], title=column)
    draw_shapes(ax, frame, request_outlines, [REQUEST_COLOR] * len(outlines), OUTLINE)
    return _figure(ax)


def plot_annotations(
    tasks: AnnotationTasks, *, label: str | None = None, legend: Legend | None = None, ax: Axes | None = None
) -> Figure:
    """Annotations on a map, coloured by the value of a label.

    Args:
        tasks: What ``runner.annotation_tasks()`` gives.
        label: Name of the label; the first one in alphabetical order if None.
        legend: The project's legend.
        ax: Where to draw.

    Raises:
        UsageError: If there is no such label.
        GeometryError: If there are no annotations.
    """
    names = list(tasks.label_counts)
    name = label or next(iter(names), "label")
    if names and name not in names:
        raise UsageError(f"No annotation has a label {name!r}.", expected=f"one of {', '.join(names)}")
    labelled = [
        (shape_of(annotation.st_geometry), annotation.labels[name])
        for task in tasks.tasks
        for annotation in task.annotations
        if annotation.labels.get(name) is not None
    ]
    shapes, values = one_side([shape for shape, _ in labelled]), [value for _, value in labelled]
    coloring = coloring_of(values, field_of(legend, name=name))
    frame = frame_around(shapes)
    ax = map_axes(frame, title=f"{len(labelled):,} annotations by {name}", ax=ax)
    draw_shapes(ax, frame, shapes, colors_for(values, coloring), ShapeStyle(opacity=0.6))
    add_key_of(ax, coloring)
    return _figure(ax)


def plot_imagery(
    dataset: Dataset, windows: Sequence[Window], *, view: ImageryView | None = None, ax: Axes | None = None
) -> Figure:
    """The imagery of windows on one map, in the projection that most of them have, with one stretch for all.

    Args:
        dataset: The dataset of the windows.
        windows: Those without imagery are left out.
        view: Layer, bands, stretch.
        ax: Where to draw.

    Raises:
        MissingStepError: If no window has imagery.
        UsageError: If there is no such layer or band.
    """
    view = view or ImageryView()
    layer, bands = view.resolved(dataset)
    there = with_layer(windows, layer)
    if not there:
        raise MissingStepError(
            f"None of the {len(windows)} windows has the layer {layer!r}.",
            where=str(dataset.path),
            fix="Build the dataset first.",
        )
    grid = _grid_of(there)
    ax = map_axes(grid.frame, title=f"{layer}: {', '.join(bands)}", ax=ax)
    _draw_imagery(ax, grid, dataset, there, view)
    return _figure(ax)


def plot_labels(
    dataset: Dataset,
    windows: Sequence[Window],
    labels: LabelView,
    *,
    view: ImageryView | None = None,
    ax: Axes | None = None,
) -> Figure:
    """The labels (or predictions) of windows on one map, above their imagery where that is built.

    Args:
        dataset: The dataset of the windows.
        windows: Those without labels are left out.
        labels: Which labels.
        view: Which imagery, and how.
        ax: Where to draw.

    Raises:
        MissingStepError: If no window has labels.
        UsageError: If there is no such layer or band.
    """
    view = view or ImageryView()
    there = with_layer(windows, labels.layer)
    if not there:
        raise MissingStepError(
            f"None of the {len(windows)} windows has the layer {labels.layer!r}.", where=str(dataset.path)
        )
    found = [read_labels(dataset, window, labels) for window in there]
    values = [value for one in found for value in one.all_values]
    coloring = coloring_of(values, field_of(labels.legend, name=found[0].name))
    grid = _grid_of(there)
    name = "" if found[0].name == labels.layer else f" {found[0].name}"
    ax = map_axes(grid.frame, title=f"{labels.layer}{name} of {len(there):,} windows", ax=ax)
    _draw_imagery(ax, grid, dataset, with_layer(there, view.resolved(dataset)[0]), view)
    tiles = [
        (w.projection, w.bounds, one.pixels[None])
        for w, one in zip(there, found, strict=True)
        if one.pixels is not None
    ]
    if len(tiles) == len(found) and len(values) > _FEW_PIXELS:
        draw_pixels(ax, grid.frame, painted(mosaic(grid, tiles, count=1)[0], coloring), opacity=0.75)
    else:
        draw_shapes(
            ax, grid.frame, _label_shapes(grid, there, found), colors_for(values, coloring), ShapeStyle(opacity=0.85)
        )
    add_key_of(ax, coloring)
    return _figure(ax)


def _label_shapes(grid: Grid, windows: Sequence[Window], found: Sequence[WindowLabels]) -> Shapes:
    """The labels of all windows as shapes in units of the map."""
    pairs = zip(windows, found, strict=True)
    shapes = [grid.frame.from_pixels(window.projection, one.as_shapes(window.bounds)) for window, one in pairs]
    return np.concatenate(shapes)


def _grid_of(windows: Sequence[Window]) -> Grid:
    return grid_over([(window.projection, window.bounds) for window in windows], max_pixels=_MAX_PIXELS)


def _draw_imagery(ax: Axes, grid: Grid, dataset: Dataset, windows: Sequence[Window], view: ImageryView) -> None:
    count = len(view.resolved(dataset)[1])
    tiles = ((window.projection, window.bounds, view.read(dataset, window)) for window in windows)
    # Where a pixel of the map is many of a window, their mean shows more than one of them.
    pixels = mosaic(grid, tiles, count=count, resampling=Resampling.average)
    stretch = stretch_over([pixels], view.percentiles)
    draw_pixels(ax, grid.frame, colored(pixels, stretch, colormap=view.colormap))


def _figure(ax: Axes) -> Figure:
    return cast(Figure, ax.get_figure(root=True))
