"""Panels of a trace on a sheet, by matplotlib: maps, bars and lines in rows, with what their colours mean below.

Everything has its place in inches: leaving the arrangement of sixty maps to matplotlib takes seconds.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from rasterio.crs import CRS

from olmoearth_nb.legend import RangeLegend
from olmoearth_nb.maps.canvas import Picture, add_scale_bar, key_of, plain, unit
from olmoearth_nb.maps.frame import MapFrame
from olmoearth_nb.maps.style import ClassColors, Coloring
from olmoearth_nb.maps.traced_charts import CHART_WIDTH, MOST_BARS, clipped, draw_bars, draw_histogram, draw_lines
from olmoearth_nb.maps.traced_panels import Bars, Lines, Mark, Panel, PixelMap
from olmoearth_nb.traces.data import TraceWindow

__all__ = ["Group", "colorings_of", "draw_sheet_of", "window_tall"]

_WIDTH = 9.6
_GAP, _TITLE, _CAPTION, _HISTOGRAM = 0.12, 0.2, 0.17, 0.5
_HEADING, _SUBHEADING = 0.34, 0.24
_BAR, _LINES_HEIGHT = 0.17, 1.5
_KEY_ROW, _KEY_WIDTH, _RAMP_WIDTH, _RAMP_HEIGHT = 0.18, 1.85, 2.1, 0.5
_TALLEST = 1.6
_LINE, _LINE_HEIGHT = 116, 0.16
_MOST_KEYS = 80
_SIDES = ((3, 2.6), (8, 2.25), (12, 1.5), (24, 1.1))
_SMALLEST = 0.86
_GREY = "#555555"


@dataclass(frozen=True)
class Group:
    """Panels that belong together.

    Attributes:
        title: What they are; nothing if empty.
        panels: The panels.
        side: Width of its maps in inches; by their number if None.
    """

    title: str
    panels: Sequence[Panel]
    side: float | None = None


@dataclass(frozen=True)
class _Place:
    """Where a panel lies, inches from the upper left corner."""

    panel: Panel
    left: float
    top: float
    width: float
    height: float


def draw_sheet_of(
    window: TraceWindow, groups: Sequence[Group], *, title: str, most_classes: int = _MOST_KEYS
) -> Figure:
    """All panels of some groups.

    Args:
        window: The window that the maps show.
        groups: In their order from above.
        title: One line above all.
        most_classes: So many are in a legend, those with the largest shares.
    """
    groups = [group for group in groups if group.panels]
    frame = _frame_of(window)
    tall = window_tall(window)
    places: list[_Place] = []
    headings: list[tuple[float, str]] = []
    top = _HEADING
    for group in groups:
        for line in textwrap.wrap(group.title, _LINE) if group.title else ():
            headings.append((top, line))
            top += _LINE_HEIGHT
        top += _SUBHEADING - _LINE_HEIGHT if group.title else 0.0
        found, top = _flow(group, tall, top)
        places += found
    colorings = colorings_of([place.panel for place in places if isinstance(place.panel, PixelMap)])
    classes = [_keys_of(one, most_classes) for one in colorings if isinstance(one, ClassColors)]
    width = max([place.left + place.width for place in places] + [3.6])
    keys_top = top
    height = top + sum(_key_height(len(keys), width) for _, keys in classes)
    ramps = [one for one in colorings if isinstance(one, RangeLegend)]
    height += _RAMP_HEIGHT * -(-len(ramps) // _in_row(width, _RAMP_WIDTH))
    figure = Picture(figsize=(width, height), dpi=100)
    figure.text(0, 1, plain(clipped(title, max(width, 6.0) * 0.85)), fontsize=9.5, va="top", ha="left")
    for at, text in headings:
        figure.text(0, 1 - at / height, plain(text), fontsize=8, va="top", ha="left", color=_GREY, weight="bold")
    first = next((place for place in places if isinstance(place.panel, PixelMap)), None)
    for place in places:
        _draw(figure, place, window, frame, tall, scale=place is first and window.shape != (1, 1))
    _draw_keys(figure, classes, ramps, keys_top)
    return figure


def window_tall(window: TraceWindow) -> float:
    """Height of a picture of a window as a multiple of its width; very tall ones are squeezed.

    Args:
        window: The window.
    """
    frame = _frame_of(window)
    return min(frame.height * frame.aspect / frame.width, _TALLEST)


def _frame_of(window: TraceWindow) -> MapFrame:
    a, _, c, _, e, f = window.transform
    height, width = window.shape
    low, high = sorted((f, f + e * height))
    return MapFrame(CRS.from_user_input(window.crs), (min(c, c + a * width), low, max(c, c + a * width), high))


def _flow(group: Group, tall: float, top: float) -> tuple[list[_Place], float]:
    """Panels in rows from left to right, and where the rows end."""
    maps = sum(isinstance(panel, PixelMap) for panel in group.panels)
    side = group.side or next((size for count, size in _SIDES if maps <= count), _SMALLEST)
    places: list[_Place] = []
    left = deepest = 0.0
    for panel in group.panels:
        width, height = _size(panel, side, tall)
        if left and left + width > _WIDTH + 1e-6:
            left, top, deepest = 0.0, top + deepest + _GAP, 0.0
        places.append(_Place(panel, left, top, width, height))
        left, deepest = left + width + _GAP, max(deepest, height)
    return places, top + deepest + _GAP


def _size(panel: Panel, side: float, tall: float) -> tuple[float, float]:
    if isinstance(panel, PixelMap):
        below = _HISTOGRAM + _GAP if panel.histogram is not None else 0.0
        return side, _TITLE + side * tall + _CAPTION + below
    if isinstance(panel, Bars):
        return CHART_WIDTH, _TITLE + 0.35 + _BAR * (min(len(panel.names), MOST_BARS) + 1)
    return CHART_WIDTH * 1.5, _TITLE + _LINES_HEIGHT + 0.35


def _draw(figure: Figure, place: _Place, window: TraceWindow, frame: MapFrame, tall: float, *, scale: bool) -> None:
    panel = place.panel
    if isinstance(panel, Bars):
        draw_bars(_axes(figure, place, left=1.0, below=0.28), panel)
        return
    if isinstance(panel, Lines):
        draw_lines(_axes(figure, place, left=0.5, below=0.35, right=0.85), panel)
        return
    below = place.height - _TITLE - place.width * tall
    ax = _axes(figure, place, below=below)
    _draw_map(ax, panel, window, frame, place.width)
    if scale:
        add_scale_bar(ax, frame)
    if panel.histogram is not None:
        draw_histogram(_axes(figure, place, top=place.height - _HISTOGRAM, below=0.14), panel.histogram)


def _axes(
    figure: Figure, place: _Place, *, left: float = 0.0, below: float = 0.0, right: float = 0.0, top: float = _TITLE
) -> Axes:
    width, height = figure.get_size_inches()
    box = (place.left + left, height - place.top - place.height + below)
    size = (place.width - left - right, place.height - top - below)
    return figure.add_axes((box[0] / width, box[1] / height, size[0] / width, size[1] / height))


def _draw_map(ax: Axes, panel: PixelMap, window: TraceWindow, frame: MapFrame, width: float) -> None:
    a, _, c, _, e, f = window.transform
    rows, columns = window.shape
    extent = (c, c + a * columns, f + e * rows, f)
    ax.set(xticks=[], yticks=[], facecolor="#f4f4f2")
    for spine in ax.spines.values():
        spine.set(color="#bbbbbb", linewidth=0.5)
    fine = max(panel.rgba.shape[:2]) > 2 * width * 100
    ax.imshow(
        panel.rgba,
        extent=extent,
        interpolation="antialiased" if fine else "nearest",
        interpolation_stage="rgba",
        aspect=frame.aspect,
    )
    for mark in panel.marks:
        _draw_mark(ax, mark, window)
    ax.set(xlim=extent[:2], ylim=extent[2:])
    small = 8.0 if width > 1.3 else 6.5
    ax.set_title(plain(clipped(panel.title, width * 8.5 / small)), loc="left", fontsize=small, pad=2.5)
    if panel.caption:
        text = plain(clipped(panel.caption, width * 1.25))
        ax.annotate(text, (0, 0), (0, -2.5), "axes fraction", "offset points", fontsize=6.2, va="top", color=_GREY)


def _draw_mark(ax: Axes, mark: Mark, window: TraceWindow) -> None:
    a, _, c, _, e, f = window.transform
    shape = shapely.transform(mark.shape, lambda points: points * [a, e] + [c, f])
    if shapely.is_empty(shape):
        return
    halo = [withStroke(linewidth=2.4, foreground="#222222")]
    line: dict[str, Any] = {
        "color": unit(mark.color),
        "linewidth": 1.1,
        "linestyle": "--" if mark.dashed else "-",
        "path_effects": halo,
    }
    for part in shapely.get_parts(shape):
        if part.geom_type == "Polygon":
            for ring in (part.exterior, *part.interiors):
                ax.plot(*np.array(ring.coords).T[:2], **line)
        elif part.geom_type == "Point":
            ax.plot([part.x], [part.y], marker="o", markersize=4, **line | {"linestyle": ""})
        else:
            ax.plot(*np.array(part.coords).T[:2], **line)
    if mark.text:
        left, _, _, top = shapely.bounds(shape).tolist()
        ax.annotate(
            plain(clipped(mark.text, 1.2)), (left, top), (0, 1.5), "data", "offset points",
            fontsize=5.5, color=unit(mark.color), path_effects=[withStroke(linewidth=1.6, foreground="#222222")],
            clip_on=True,
        )  # fmt: skip


# ---- what colours mean -----------------------------------------------------------------------------------------


def colorings_of(maps: Sequence[PixelMap]) -> list[Coloring]:
    """What needs a legend, each once; classes of one thing, prediction and label, together. Bands do without.

    Args:
        maps: The maps.
    """
    found: dict[object, Coloring] = {}
    for one in (panel.coloring for panel in maps):
        if isinstance(one, RangeLegend):
            if one.colormap != "gray":
                found.setdefault(one, one)
        elif one is not None:
            key = (one.name,)
            before = found.get(key)
            if isinstance(before, ClassColors):
                # The counts stay those of the first one: shares of what was predicted.
                one = ClassColors(
                    one.name,
                    before.colors | one.colors,
                    before.labels | one.labels,
                    dict.fromkeys(one.colors, 0) | before.counts,
                )
            found[key] = one
    return list(found.values())


def _in_row(width: float, one: float) -> int:
    return max(1, int((width + 0.2) / one))


def _keys_of(coloring: ClassColors, most: int) -> tuple[str, list[Artist]]:
    """Title and entries of a legend, in its order."""
    shares = coloring.shares
    kept = set(sorted(range(len(shares)), key=lambda at: -shares[at].share)[:most])
    keys = [key_of(_share_text(one.label, one.share), one.color) for at, one in enumerate(shares) if at in kept]
    if len(shares) > most:
        keys.append(key_of(f"… and {len(shares) - most} more", (255, 255, 255)))
    return coloring.name, keys


def _key_height(count: int, width: float) -> float:
    return _KEY_ROW * (1 + -(-count // _in_row(width, _KEY_WIDTH))) + 0.06


def _draw_keys(
    figure: Figure, classes: Sequence[tuple[str, list[Artist]]], ramps: Sequence[RangeLegend], top: float
) -> None:
    width, height = figure.get_size_inches()
    for name, keys in classes:
        room = _key_height(len(keys), width)
        ax = figure.add_axes((0, 1 - (top + room) / height, 1, room / height))
        ax.axis("off")
        if keys:
            ax.legend(
                handles=keys, title=plain(name), loc="upper left", borderaxespad=0, borderpad=0, frameon=False,
                fontsize=7, title_fontsize=7.5, alignment="left", ncols=min(_in_row(width, _KEY_WIDTH), len(keys)),
            )  # fmt: skip
        top += room
    for index, ramp in enumerate(ramps):
        row, column = divmod(index, _in_row(width, _RAMP_WIDTH))
        at = top + row * _RAMP_HEIGHT
        box = (
            (column * _RAMP_WIDTH + 0.02) / width,
            1 - (at + 0.32) / height,
            (_RAMP_WIDTH - 0.35) / width,
            0.09 / height,
        )
        scale = ScalarMappable(Normalize(ramp.min_value, ramp.max_value), colormaps[ramp.colormap_name])
        bar = figure.colorbar(scale, cax=figure.add_axes(box), orientation="horizontal")
        bar.outline.set(linewidth=0.4)
        bar.ax.locator_params(axis="x", nbins=4)
        bar.ax.tick_params(labelsize=6.5, length=2, pad=1.5)
        bar.ax.set_title(plain(clipped(ramp.property_name, _RAMP_WIDTH)), fontsize=7, loc="left", pad=2)


def _share_text(label: str, share: float) -> str:
    text = f"{share:.0%}" if share >= 0.095 else f"{share:.1%}" if share >= 0.001 else "<0.1%" if share else ""
    return f"{clipped(label, 1.2)}  {text}".rstrip()
