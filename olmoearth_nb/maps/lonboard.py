"""Outlines by the hundred thousand, drawn by the graphics card: for a browser with internet, which lonboard needs."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np

from olmoearth_nb.errors import MissingDependencyError
from olmoearth_nb.maps.layers import ShapeLayer

__all__ = ["lonboard_map"]

_OUTLINE = 255


def lonboard_map(layer: ShapeLayer) -> Any:
    """The outlines of a layer, every one, in its colours, as a lonboard map.

    Args:
        layer: Polygons; what is known of each is shown when it is picked.

    Returns:
        A ``lonboard.Map``.

    Raises:
        MissingDependencyError: If lonboard is not installed.
    """
    try:
        import lonboard
    except ImportError as error:
        raise MissingDependencyError(
            f"This map needs lonboard: {error}.",
            fix="pip install 'olmoearth-nb[lonboard]'; runner.map() needs neither it nor internet.",
        ) from error
    table = gpd.GeoDataFrame(layer.about.astype("string"), geometry=layer.shapes, crs="EPSG:4326")
    colors = np.asarray(layer.colors, dtype=np.uint8)
    fill = np.column_stack([colors, np.full(len(colors), round(layer.fill * _OUTLINE), dtype=np.uint8)])
    shapes = lonboard.PolygonLayer.from_geopandas(
        table, get_fill_color=fill, get_line_color=colors, line_width_min_pixels=1, pickable=True
    )
    return lonboard.Map(shapes)
