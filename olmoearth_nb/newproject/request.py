"""A first request: a part of the labels' extent that costs minutes."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from rslearn.utils.geometry import STGeometry
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.geometry import WGS84_PROJECTION, project, shape_array, utm_projection_for
from olmoearth_nb.newproject.proposal import Proposal
from olmoearth_nb.newproject.run import prediction_window
from olmoearth_nb.types import shape_of

__all__ = ["request_of"]

_SIDE = 256
"""Pixels: a few windows."""

_POINTS = 100


def request_of(proposal: Proposal) -> dict[str, Any]:
    """A request where labels are: a square for rasters, some labelled places with what their label says for vectors.

    Args:
        proposal: The project.

    Returns:
        GeoJSON; a model that was trained on these places has seen them.
    """
    start, end = proposal.annotations["start"].max(), proposal.annotations["end"].max()
    times = {"oe_start_time": start.isoformat(), "oe_end_time": end.isoformat()}
    if proposal.task.is_raster:
        return _collection([_feature(_square(proposal), times)])
    frame = proposal.annotations
    picked = np.unique(np.linspace(0, len(frame) - 1, min(_POINTS, len(frame))).round().astype(int))
    label = f"label_{proposal.label_name}"
    return _collection(
        [_feature(frame.geometry.iloc[row], {**times, label: _plain(frame["value"].iloc[row])}) for row in picked]
    )


def _square(proposal: Proposal) -> BaseGeometry:
    """A square around the label nearest to the middle of all; if that can be, with imagery in all of its windows."""
    centres = shapely.get_coordinates(shapely.centroid(shape_array(list(proposal.annotations.geometry))))
    nearest = centres[np.linalg.norm(centres - np.median(centres, axis=0), axis=1).argmin()]
    point = shapely.Point(nearest)
    zone = utm_projection_for(point, proposal.resolution, -proposal.resolution)
    x, y = shapely.get_coordinates(shape_of(project(STGeometry(WGS84_PROJECTION, point, None), zone)))[0].round()
    square = shapely.box(x - _SIDE / 2, y - _SIDE / 2, x + _SIDE / 2, y + _SIDE / 2)
    if proposal.imagery.footprint is not None:
        footprint = shape_of(project(STGeometry(WGS84_PROJECTION, proposal.imagery.footprint, None), zone))
        # A window at the rim of the request reaches up to its own width beyond it.
        for margin in (prediction_window(proposal), 0):
            inside = square.intersection(footprint.buffer(-margin))
            if "Polygon" in inside.geom_type and not inside.is_empty:
                square = inside
                break
    return shape_of(STGeometry(zone, square, None).to_projection(WGS84_PROJECTION))


def _plain(value: Any) -> int | float:
    return int(value) if float(value).is_integer() else float(value)


def _feature(shp: BaseGeometry, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": mapping(shapely.set_precision(shp, 1e-7)), "properties": properties}


def _collection(features: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": features}
