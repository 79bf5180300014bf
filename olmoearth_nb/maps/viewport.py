"""Where a map looks at first, so that all of its layers fill what is seen of it. No map library here."""

from __future__ import annotations

import math

import numpy as np

from olmoearth_nb.maps.frame import Bounds
from olmoearth_nb.maps.mercator import WORLD, to_lonlat, to_mercator

__all__ = ["USUAL_WIDTH", "ZOOM_STEP", "centre_and_zoom"]

USUAL_WIDTH = 800
"""Pixels; a map in a notebook is about as wide, until the browser says how wide it is."""

ZOOM_STEP = 0.25
"""What zooms are multiples of: with whole ones, layers may be half as large as the map."""

_FILLED = 0.92
_MAX_ZOOM = 20
_TILE_PIXELS = 256
# The panel to the right, which layers should not lie under; on both sides, as they are in the middle.
_PANEL_PIXELS, _LEAST_PART = 170, 0.7


def centre_and_zoom(bounds: Bounds, width: float, height: float) -> tuple[tuple[float, float], float]:
    """The view of a web map in which bounds are as large as can be.

    Args:
        bounds: West, south, east, north in degrees.
        width: Of the map, pixels.
        height: The same.

    Returns:
        Latitude and longitude of the centre, and the zoom.
    """
    west, south, east, north = bounds
    (left, bottom), (right, top) = to_mercator(np.array([(west, south), (east, north)])).tolist()
    room = max(width - 2 * _PANEL_PIXELS, _LEAST_PART * width)
    # Metres for a pixel.
    wanted = max((right - left) / room, (top - bottom) / (height * _FILLED), 1e-3)
    zoom = math.floor(math.log2(WORLD / _TILE_PIXELS / wanted) / ZOOM_STEP) * ZOOM_STEP
    ((_, lat),) = to_lonlat(np.array([(0.0, (bottom + top) / 2)])).tolist()
    return (lat, (west + east) / 2), max(1, min(zoom, _MAX_ZOOM))
