"""Features as they can be learnt from: valid shapes in degrees, of one kind, inside the imagery."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import GeometryError, InputFileError
from olmoearth_nb.geometry import shape_array
from olmoearth_nb.labels.shapes import polygonal_part
from olmoearth_nb.labels.sources import in_wgs84
from olmoearth_nb.lonlat import normalise_lonlat

__all__ = ["Places", "places_of"]

_NO_GEOMETRY, _NOT_USABLE, _NO_LABEL = "no geometry", "a geometry that can't be repaired", "no label"
_OUTSIDE = "outside the imagery"


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where the labels are.

    Attributes:
        rows: Row of each place in the source; a row may have several.
        shapes: Points, lines and polygons in degrees.
        kinds: Kind of geometry in the source -> how many.
        left_out: Reason -> how many features were left out for it.
    """

    rows: npt.NDArray[np.int64]
    shapes: npt.NDArray[np.object_]
    kinds: dict[str, int]
    left_out: dict[str, int]


def places_of(
    frame: gpd.GeoDataFrame, labelled: Sequence[bool], *, footprint: BaseGeometry | None, where: str
) -> Places:
    """The places of the features that have a label.

    Args:
        frame: The labels, in any CRS.
        labelled: Whether each row has a label.
        footprint: Where there is imagery, in degrees; None means everywhere.
        where: The source, for errors.

    Raises:
        InputFileError: If no feature can be used, or the geometries can't be converted.
    """
    reasons: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    rows: list[int] = []
    shapes: list[BaseGeometry] = []
    for row, shp in enumerate(in_wgs84(frame.geometry, where=where)):
        if shp is None or shp.is_empty:
            reasons[_NO_GEOMETRY] += 1
            continue
        kinds[shp.geom_type] += 1
        if not labelled[row]:
            reasons[_NO_LABEL] += 1
            continue
        parts = _parts(shp, f"{where}, row {row}")
        if not parts:
            reasons[_NOT_USABLE] += 1
        rows += [row] * len(parts)
        shapes += parts
    kept = _inside(shapes, footprint)
    outside = set(rows) - {row for row, inside in zip(rows, kept, strict=True) if inside}
    if outside:
        reasons[_OUTSIDE] += len(outside)
    if not any(kept):
        raise InputFileError(
            "No feature can be used.",
            where=where,
            found=", ".join(f"{count} with {reason}" for reason, count in reasons.items()) or "no features at all",
            fix="Are the labels and the imagery of one place?" if outside else None,
        )
    return Places(
        rows=np.array(rows)[kept],
        shapes=shape_array(shapes)[kept],
        kinds=dict(kinds),
        left_out=dict(reasons),
    )


def _parts(shp: BaseGeometry, where: str) -> list[BaseGeometry]:
    """Points, lines and polygons of a shape, repaired and cut at the antimeridian; none if there is nothing left."""
    if not np.isfinite(shapely.bounds(shp)).all():
        return []
    try:
        whole = normalise_lonlat(shapely.make_valid(shapely.force_2d(shp)), where)
    except GeometryError:
        return []
    parts = [part for part in _atoms(whole) if not part.is_empty]
    polygons = [part for part in parts if part.geom_type == "Polygon"]
    others = [part for part in parts if part.geom_type != "Polygon"]
    # Of a polygon that was repaired, lines and points are what it had pinched off.
    if polygons and shp.geom_type in ("Polygon", "MultiPolygon"):
        others = []
    return ([polygonal_part(shapely.union_all(polygons))] if polygons else []) + others


def _atoms(shp: BaseGeometry) -> list[BaseGeometry]:
    parts = list(shapely.get_parts(shp))
    if len(parts) == 1 and parts[0] == shp:
        return parts
    return [atom for part in parts for atom in _atoms(part)]


def _inside(shapes: Sequence[BaseGeometry], footprint: BaseGeometry | None) -> npt.NDArray[np.bool_]:
    """Whether the middle of each shape has imagery."""
    if footprint is None or not shapes:
        return np.ones(len(shapes), dtype=bool)
    shapely.prepare(footprint)
    inside: npt.NDArray[np.bool_] = shapely.covers(footprint, shapely.point_on_surface(shape_array(shapes)))
    return inside
