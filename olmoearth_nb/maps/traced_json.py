"""Panels of a trace as the browser gets them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import shapely

from olmoearth_nb.legend import RangeLegend
from olmoearth_nb.maps.layers import hex_color
from olmoearth_nb.maps.overlay import Overlay
from olmoearth_nb.maps.style import ClassColors, Coloring
from olmoearth_nb.maps.traced_charts import ranked
from olmoearth_nb.maps.traced_panels import Bars, Lines, Mark, PixelMap
from olmoearth_nb.maps.traced_pixel import PixelValues

__all__ = ["chart_json", "key_json", "picture_json", "values_json"]

_MOST_BARS, _MOST_LINES, _MOST_MARKS = 10, 14, 300
_NOWHERE = (0.0, 0.0, 1.0, 1.0)
_STEPS, _SHARP = 17, 128


def picture_json(panel: PixelMap, shape: tuple[int, int]) -> dict[str, Any]:
    """A map.

    Args:
        panel: The map.
        shape: Height and width of the window in pixels.
    """
    # Twelve dates of 256 pixels are three megabytes otherwise; single pixels of small windows stay sharp.
    photo = panel.coloring is None and max(panel.rgba.shape[:2]) > _SHARP
    return {
        "title": panel.title,
        "caption": panel.caption,
        "src": Overlay(panel.rgba, _NOWHERE, photo=photo).data_uri(),
        "marks": [one for mark in panel.marks[:_MOST_MARKS] for one in _mark_json(mark, shape)],
    }


def _mark_json(mark: Mark, shape: tuple[int, int]) -> Iterable[dict[str, Any]]:
    """Outlines in parts of a hundred of the window."""
    height, width = shape
    scaled = shapely.transform(mark.shape, lambda points: points * np.array([100 / width, 100 / height]))
    for part in shapely.get_parts(scaled):
        if part.geom_type == "Point":
            part = part.buffer(1.2)
        line = part.exterior if part.geom_type == "Polygon" else part
        if not line.is_empty:
            points = [[round(x, 2), round(y, 2)] for x, y in np.array(line.coords)[:, :2].tolist()]
            yield {"points": points, "color": hex_color(mark.color), "dashed": mark.dashed, "text": mark.text}


def chart_json(panel: Bars | Lines) -> dict[str, Any]:
    """Bars or lines; NaN is None.

    Args:
        panel: The bars or lines; of many bars the largest ones are taken.
    """
    if isinstance(panel, Lines):
        lines = [[name, _finite(values), hex_color(color)] for name, values, color in panel.lines[:_MOST_LINES]]
        return {"title": panel.title, "steps": list(panel.steps), "lines": lines}
    shown = ranked(panel, _MOST_BARS)
    values = _finite(panel.values)
    return {
        "title": panel.title,
        "bars": [[panel.names[at], values[at], hex_color(panel.colors[at]), at == panel.marked] for at in shown],
        "limits": None if panel.limits is None else list(panel.limits),
        "more": len(panel.names) - len(shown),
    }


def key_json(coloring: Coloring) -> dict[str, Any]:
    """What colours mean.

    Args:
        coloring: Classes or a range.
    """
    if isinstance(coloring, ClassColors):
        entries = [[one.label, hex_color(one.color), one.share] for one in coloring.shares]
        return {"title": coloring.name, "entries": entries}
    return _ramp_json(coloring)


def _ramp_json(scale: RangeLegend) -> dict[str, Any]:
    colors = scale.colors_of(np.linspace(scale.min_value, scale.max_value, _STEPS))[:, :3].tolist()
    ends = [f"{scale.min_value:.4g}", f"{scale.max_value:.4g}"]
    return {"title": scale.property_name, "stops": [hex_color((r, g, b)) for r, g, b in colors], "ends": ends}


def values_json(values: PixelValues) -> dict[str, Any]:
    """All that is known of a pixel.

    Args:
        values: What is known.
    """
    return {
        "pixel": list(values.pixel),
        "place": values.place,
        "facts": [[one.name, one.text, "" if one.color is None else hex_color(one.color)] for one in values.facts],
        "series": [chart_json(one) for one in values.series],
        "bars": [chart_json(one) for one in values.bars],
    }


def _finite(values: Sequence[float]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values]
