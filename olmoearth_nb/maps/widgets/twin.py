"""The drawn twin of the browser of windows, for where no widget can be."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.colors import RGB
from olmoearth_nb.globe import shape_array, transformed
from olmoearth_nb.maps.canvas import Picture, plain
from olmoearth_nb.maps.detail import WindowDetail
from olmoearth_nb.maps.layers import Layer
from olmoearth_nb.maps.mercator import to_mercator
from olmoearth_nb.maps.shapes import ShapeStyle, draw_shapes
from olmoearth_nb.maps.sheet import SHEET_WIDTH, SheetPlan, draw_sheet
from olmoearth_nb.maps.twin import draw_into

__all__ = ["SELECTED_COLOR", "draw_browser"]

SELECTED_COLOR: RGB = (255, 0, 200)
"""Of the outline of the selected window."""

# Inches.
_MAP_WIDE, _MAP_TALL, _MARGIN, _LEGEND = 3.9, 3.6, 0.3, 1.0
_HEAD, _GAP = 0.26, 0.4


def draw_browser(
    layers: Sequence[Layer],
    name: str | None,
    outline: BaseGeometry | None,
    detail: WindowDetail | None,
    *,
    caption: str = "",
) -> Figure:
    """The map to the left, the selected window to the right.

    Args:
        layers: Those of the map, in their order from below.
        name: Name of the selected window, if one is selected.
        outline: Its outline in degrees.
        detail: What is known of it; None if that can't be read.
        caption: One line above.

    Raises:
        GeometryError: If there is nothing on the map.
    """
    plan = None if detail is None or detail.is_empty else SheetPlan(detail)
    height = max(_MAP_TALL + _LEGEND, plan.height if plan else 0.0) + _HEAD
    width = _MAP_WIDE + _GAP + SHEET_WIDTH
    figure = Picture(figsize=(width, height), dpi=100)
    place = (_MARGIN / width, 1 - (_HEAD + _MAP_TALL) / height, (_MAP_WIDE - _MARGIN) / width, _MAP_TALL / height)
    ax = figure.add_axes(place, anchor="NW")
    frame = draw_into(ax, layers)
    legend = ax.get_legend()
    if legend is not None:
        # Below the scale bar.
        below = ax.transAxes + ScaledTranslation(-_MARGIN, -0.55, figure.dpi_scale_trans)
        legend.set_bbox_to_anchor((0, 0), transform=below)
    if outline is not None:
        shapes = transformed(shape_array([outline]), to_mercator)
        draw_shapes(ax, frame, shapes, [SELECTED_COLOR], ShapeStyle(opacity=0.0, zorder=7.0))
    left = _MAP_WIDE + _GAP
    figure.text(0.0, 1.0, plain(caption), fontsize=10, va="top")
    figure.text(left / width, 1.0, plain(name or "No window is selected."), fontsize=9, va="top")
    if plan is not None:
        draw_sheet(figure, plan, left=left, bottom=height - _HEAD - plan.height)
    elif name:
        note = "Its layers can't be read." if detail is None else "Nothing of it has been built yet."
        figure.text(left / width, 1 - _HEAD / height, note, fontsize=8, color="#555555", va="top")
    return figure
