"""The drawn twin of a live map: the same layers, colours and legend, for where no widget can be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import shapely
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from olmoearth_nb.errors import GeometryError
from olmoearth_nb.maps.canvas import Picture, add_key_of, add_legend, draw_pixels, key_of, map_axes, plain, unit
from olmoearth_nb.maps.frame import MapFrame
from olmoearth_nb.maps.layers import Key, Layer, LayerKind, PictureLayer, ShapeLayer, lonlat_bounds, merged_keys
from olmoearth_nb.maps.mercator import MERCATOR, to_mercator
from olmoearth_nb.maps.shapes import ShapeStyle, draw_shapes

__all__ = ["draw_beside", "draw_halves", "draw_into", "draw_layers"]

_MARGIN = 0.04
# About 50 m, so that a map of a point is no point.
_LEAST_METRES = 50.0
_MOST_SHAPES = 2000
# Width of one of several maps, inches.
_PANEL = 3.3
# Outlines lie above fills, both above pictures.
_OUTLINES = (LayerKind.REQUEST,)


def draw_layers(layers: Sequence[Layer], *, title: str = "") -> Figure:
    """The layers that are on, as a matplotlib figure that shows itself.

    Args:
        layers: In their order from below, on one side of the antimeridian.
        title: One line above the map.

    Raises:
        GeometryError: If there is nothing on them.
    """
    frame = _frame(layers)
    ax = map_axes(frame, title=title)
    _draw(ax, frame, layers)
    return cast(Figure, ax.get_figure(root=True))


def draw_into(ax: Axes, layers: Sequence[Layer]) -> MapFrame:
    """The layers that are on, on axes that are there already, with the legend below.

    Args:
        ax: The axes.
        layers: In their order from below, on one side of the antimeridian.

    Returns:
        What the map shows, for drawing more onto it.

    Raises:
        GeometryError: If there is nothing on them.
    """
    frame = _frame(layers)
    _draw(map_axes(frame, ax=ax), frame, layers, below=True)
    return frame


def draw_halves(layers: Sequence[Layer]) -> Figure:
    """Both halves of a comparison, whole and beside each other.

    Args:
        layers: In their order from below, with their sides.

    Raises:
        GeometryError: If there is nothing on them.
    """
    sides = [[layer for layer in layers if layer.side in (None, side)] for side in ("left", "right")]
    panels = [(", ".join(layer.name for layer in seen if layer.side), seen) for seen in sides]
    return draw_beside(layers, panels)


def draw_beside(layers: Sequence[Layer], panels: Sequence[tuple[str, Sequence[Layer]]]) -> Figure:
    """Several maps of the same place beside each other, with one legend.

    Args:
        layers: All layers, for the extent and the legend.
        panels: Title and layers of each map, in their order from below.

    Raises:
        GeometryError: If there is nothing on them.
    """
    keys = merged_keys([layer.key for layer in reversed(layers) if layer.key is not None])
    frame = _frame(layers)
    tall = frame.height * frame.aspect / frame.width
    size = (len(panels) * _PANEL, max(_PANEL * min(tall, 1.5), 1.2) + 1.2)
    picture = Picture(figsize=size, dpi=100, layout="constrained")
    for ax, (title, seen) in zip(picture.subplots(1, len(panels)).tolist(), panels, strict=True):
        map_axes(frame, title=title, ax=ax)
        _draw(ax, frame, seen, below=None)
    _add_keys(picture.axes[len(panels) - 1], keys, below=False)
    return picture


def _draw(ax: Axes, frame: MapFrame, layers: Sequence[Layer], *, below: bool | None = False) -> None:
    """The layers that are on, and their legends beside or below the map, or nowhere if ``below`` is None."""
    shown = [layer for layer in layers if layer.shown]
    for layer in shown:
        match layer:
            case PictureLayer():
                draw_pixels(ax, layer.picture.frame, layer.picture.pixels, opacity=layer.opacity)
            case ShapeLayer() if len(layer.shapes) > _MOST_SHAPES:
                draw_pixels(ax, layer.picture.frame, layer.picture.pixels)
            case ShapeLayer():
                zorder = 4.0 if layer.kind in _OUTLINES else 3.0
                style = ShapeStyle(opacity=layer.fill, zorder=zorder)
                draw_shapes(ax, frame, layer.in_mercator, layer.colors, style)
                _write_labels(ax, layer)
    if below is not None:
        _add_keys(ax, [layer.key for layer in reversed(shown) if layer.key is not None], below=below)


def _frame(layers: Sequence[Layer]) -> MapFrame:
    bounds = lonlat_bounds(layers)
    if bounds is None:
        raise GeometryError("There is nothing to draw a map of.", expected="at least one geometry")
    west, south, east, north = bounds
    (left, bottom), (right, top) = to_mercator(np.array([(west, south), (east, north)])).tolist()
    margin = max(_MARGIN * max(right - left, top - bottom), _LEAST_METRES)
    return MapFrame(MERCATOR, (left - margin, bottom - margin, right + margin, top + margin))


def _write_labels(ax: Axes, layer: ShapeLayer) -> None:
    if not layer.labels:
        return
    halo = [patheffects.withStroke(linewidth=2, foreground="white")]
    middles = shapely.get_coordinates(shapely.centroid(layer.in_mercator)).tolist()
    for (x, y), text, color in zip(middles, layer.labels, layer.colors, strict=True):
        dark = tuple(part * 0.6 for part in unit(color))
        ax.annotate(plain(text), (x, y), fontsize=7, color=dark, ha="center", va="center", path_effects=halo, zorder=6)


def _add_keys(ax: Axes, keys: Sequence[Key], *, below: bool) -> None:
    lines: list[Artist] = []
    for key in keys:
        if key.entries:
            lines += [Line2D([], [], linestyle="none", label=plain(key.title))] if key.title else []
            lines += [key_of(label, color) for label, color in key.entries]
    add_legend(ax, lines, below=below)
    for key in keys:
        if key.scale is not None:
            add_key_of(ax, key.scale, below=below or bool(lines))
