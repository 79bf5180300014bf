"""Windows one by one: their pictures and labels, and a sheet of examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rslearn.dataset import Dataset, Window

from olmoearth_nb.colors import RGB
from olmoearth_nb.errors import MissingStepError
from olmoearth_nb.maps.canvas import Picture, add_key_of, draw_pixels, plain
from olmoearth_nb.maps.frame import MapFrame
from olmoearth_nb.maps.grid import extent_in
from olmoearth_nb.maps.imagery import ImageryView, colored, stretch_over, with_layer
from olmoearth_nb.maps.labels import LabelView, WindowLabels, field_of, read_labels
from olmoearth_nb.maps.shapes import ShapeStyle, draw_shapes
from olmoearth_nb.maps.style import ClassColors, Coloring, class_value, coloring_of, colors_for, painted

__all__ = ["draw_window", "draw_window_labels", "plot_examples", "window_frame"]

_COLUMNS = 6
# Inches.
_THUMBNAIL, _LEGEND = 1.15, 1.6
# Fewer labelled pixels than this part of a window are framed, so that they can be found.
_SPARSE = 0.1
_WHITE: RGB = (255, 255, 255)


def plot_examples(
    dataset: Dataset,
    windows: Sequence[Window],
    labels: LabelView,
    *,
    view: ImageryView | None = None,
    count: int = 12,
) -> Figure:
    """A sheet of labelled windows, classes in turn, with one stretch for all.

    Args:
        dataset: The dataset of the windows.
        windows: Those without imagery or labels are left out.
        labels: Which labels.
        view: Which imagery, and how.
        count: Number of windows.

    Raises:
        MissingStepError: If no window has both.
    """
    view = view or ImageryView()
    there = with_layer(with_layer(windows, labels.layer), view.resolved(dataset)[0])
    if not there:
        raise MissingStepError(
            "No window has both imagery and labels.", where=str(dataset.path), fix="Build the dataset first."
        )
    found = [read_labels(dataset, window, labels) for window in there]
    coloring = coloring_of(
        [value for one in found for value in one.all_values], field_of(labels.legend, name=found[0].name)
    )
    chosen = _in_turn([_main_value(one) for one in found])[:count]
    pictures = [view.read(dataset, there[index]) for index in chosen]
    stretch = stretch_over(pictures, view.percentiles)
    figure, axes = _sheet(len(chosen))
    for ax, index, pixels in zip(axes.flat, chosen, pictures, strict=False):
        draw_window(ax, there[index], colored(pixels, stretch, colormap=view.colormap))
        draw_window_labels(ax, there[index], found[index], coloring, over=True)
        ax.set_title(plain(_title(found[index], coloring)), fontsize=7, pad=2)
    add_key_of(axes[0, -1], coloring, sheet=axes.flatten().tolist())
    return figure


def _sheet(count: int) -> tuple[Picture, npt.NDArray[Any]]:
    """Axes in rows, with room for titles and for a legend to the right."""
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    figure = Picture(figsize=(_THUMBNAIL * columns + _LEGEND, (_THUMBNAIL + 0.1) * rows), dpi=100)
    room = {"left": 0.01, "right": 1 - _LEGEND / figure.get_figwidth(), "bottom": 0.01, "top": 1 - 0.2 / rows}
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw={**room, "wspace": 0.06, "hspace": 0.2})
    for ax in axes.flat[count:]:
        ax.axis("off")
    return figure, axes


def window_frame(window: Window) -> MapFrame:
    """The extent of a window in its own projection.

    Args:
        window: The window.
    """
    return MapFrame(window.projection.crs, extent_in(window.projection, window.bounds, window.projection.crs))


def _prepare(ax: Axes, window: Window) -> MapFrame:
    """Axes that show a window, north up."""
    frame = window_frame(window)
    left, bottom, right, top = frame.bounds
    ax.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], facecolor="#f4f4f2")
    ax.set_aspect(frame.aspect)
    return frame


def draw_window(ax: Axes, window: Window, rgba: npt.NDArray[np.uint8], *, opacity: float = 1.0) -> None:
    """A picture of a window's pixels, north up.

    Args:
        ax: Where to draw.
        window: The window.
        rgba: Shape (H, W, 4), in the window's order of rows.
        opacity: 0..1.
    """
    frame = _prepare(ax, window)
    if window.projection.y_resolution > 0:
        rgba = rgba[::-1]
    draw_pixels(ax, frame, rgba, opacity=opacity)


def draw_window_labels(
    ax: Axes, window: Window, found: WindowLabels, coloring: Coloring, *, over: bool = False, edge: RGB = _WHITE
) -> None:
    """The labels of a window: few pixels and shapes as they are, with an edge; many as a picture.

    Args:
        ax: Where to draw.
        window: The window.
        found: Its labels.
        coloring: Their colours.
        over: There is a picture below that should be seen too.
        edge: Colour of the edges.
    """
    frame = _prepare(ax, window)
    few = found.pixels is None or np.isfinite(found.pixels).mean() < _SPARSE
    if found.pixels is not None and not few:
        draw_window(ax, window, painted(found.pixels, coloring), opacity=0.6 if over else 1.0)
        return
    shapes = frame.from_pixels(window.projection, found.as_shapes(window.bounds))
    draw_shapes(ax, frame, shapes, colors_for(found.all_values, coloring), ShapeStyle(opacity=1.0, edge=edge))


def _main_value(found: WindowLabels) -> object:
    counts = Counter(found.all_values)
    return min(counts, key=lambda value: (-counts[value], str(value)), default=None)


def _title(found: WindowLabels, coloring: Coloring) -> str:
    value = _main_value(found)
    if value is None:
        return "no label"
    if isinstance(coloring, ClassColors):
        return coloring.labels[class_value(value)]
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _in_turn(values: Sequence[object]) -> list[int]:
    """Indices so that the different values come in turn, each in its order; windows without a value come last."""
    places: dict[str, list[int]] = {}
    for index, value in enumerate(values):
        places.setdefault(str(value), []).append(index)
    rounds = [(turn, value == str(None), value, i) for value, group in places.items() for turn, i in enumerate(group)]
    return [index for *_, index in sorted(rounds, key=lambda one: (one[1], *one))]
