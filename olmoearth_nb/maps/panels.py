"""Windows one by one: a sheet of examples, and all layers of one window beside each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rslearn.config import LayerType
from rslearn.dataset import Dataset, Window

from olmoearth_nb.errors import MissingStepError
from olmoearth_nb.maps.canvas import Picture, add_key_of, add_scale_bar, draw_pixels, plain
from olmoearth_nb.maps.frame import MapFrame
from olmoearth_nb.maps.grid import extent_in
from olmoearth_nb.maps.imagery import ImageryView, colored, stretch_over, with_layer
from olmoearth_nb.maps.labels import LabelView, WindowLabels, field_of, read_labels
from olmoearth_nb.maps.shapes import ShapeStyle, draw_shapes
from olmoearth_nb.maps.style import ClassColors, Coloring, class_value, coloring_of, colors_for, painted
from olmoearth_nb.store.dataset import imagery_layers

__all__ = ["plot_examples", "plot_window"]

_COLUMNS = 6
# Inches.
_THUMBNAIL, _LEGEND = 1.15, 1.6
# Fewer labelled pixels than this part of a window are framed, so that they can be found.
_SPARSE = 0.1
_WHITE = (255, 255, 255)


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
        _draw_window(ax, there[index], colored(pixels, stretch, colormap=view.colormap))
        _draw_labels(ax, there[index], found[index], coloring, over=True)
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


def plot_window(
    dataset: Dataset,
    window: Window,
    *,
    labels: LabelView | None = None,
    prediction: LabelView | None = None,
    view: ImageryView | None = None,
) -> Figure:
    """All layers of a window beside each other: imagery, labels, prediction.

    Args:
        dataset: The dataset of the window.
        window: The window.
        labels: Which labels; none if None.
        prediction: Which prediction; none if None.
        view: Which imagery, and how; if None, each layer of imagery in its natural colours.

    Raises:
        MissingStepError: If the window has none of these layers.
    """
    views = [view] if view is not None else [ImageryView(layer=name) for name in _imagery(dataset)]
    views = [one for one in views if window.is_layer_completed(one.resolved(dataset)[0])]
    shown = [one for one in (labels, prediction) if one is not None and window.is_layer_completed(one.layer)]
    panels = len(views) + len(shown)
    if not panels:
        raise MissingStepError(
            "The window has nothing to show yet.",
            where=f"window {window.group}/{window.name}",
            fix="Build the dataset first.",
        )
    figure = Picture(figsize=(2.9 * panels, 3.6), dpi=100, layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for ax, one in zip(axes, views, strict=False):
        pixels = one.read(dataset, window)
        _draw_window(ax, window, colored(pixels, stretch_over([pixels], one.percentiles), colormap=one.colormap))
        layer, bands = one.resolved(dataset)
        ax.set_title(plain(f"{layer}: {', '.join(bands)}"), fontsize=9, loc="left")
    for ax, chosen in zip(axes[len(views) :], shown, strict=True):
        found = read_labels(dataset, window, chosen)
        field = field_of(chosen.legend, name=found.name) or field_of(chosen.legend, band=1)
        coloring = coloring_of(found.all_values, field)
        _draw_labels(ax, window, found, coloring)
        ax.set_title(
            plain(chosen.layer if found.name == chosen.layer else f"{chosen.layer}: {found.name}"),
            fontsize=9,
            loc="left",
        )
        add_key_of(ax, coloring, below=True)
    add_scale_bar(axes[0], _frame(window))
    figure.suptitle(plain(window.name), fontsize=9, x=0.01, ha="left")
    return figure


def _imagery(dataset: Dataset) -> list[str]:
    return [name for name, config in imagery_layers(dataset).items() if config.type == LayerType.RASTER]


def _frame(window: Window) -> MapFrame:
    return MapFrame(window.projection.crs, extent_in(window.projection, window.bounds, window.projection.crs))


def _prepare(ax: Axes, window: Window) -> MapFrame:
    """Axes that show a window, north up."""
    frame = _frame(window)
    left, bottom, right, top = frame.bounds
    ax.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[], facecolor="#f4f4f2")
    ax.set_aspect(frame.aspect)
    return frame


def _draw_window(ax: Axes, window: Window, rgba: npt.NDArray[np.uint8], *, opacity: float = 1.0) -> None:
    frame = _prepare(ax, window)
    if window.projection.y_resolution > 0:
        rgba = rgba[::-1]
    draw_pixels(ax, frame, rgba, opacity=opacity)


def _draw_labels(ax: Axes, window: Window, found: WindowLabels, coloring: Coloring, *, over: bool = False) -> None:
    """The labels of a window: few pixels and shapes as they are, with an edge; many as a picture."""
    frame = _prepare(ax, window)
    few = found.pixels is None or np.isfinite(found.pixels).mean() < _SPARSE
    if found.pixels is not None and not (few and over):
        _draw_window(ax, window, painted(found.pixels, coloring), opacity=0.6 if over else 1.0)
        return
    shapes = frame.from_pixels(window.projection, found.as_shapes(window.bounds))
    draw_shapes(ax, frame, shapes, colors_for(found.all_values, coloring), ShapeStyle(opacity=1.0, edge=_WHITE))


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
