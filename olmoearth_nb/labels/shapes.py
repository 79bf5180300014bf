"""Small repairs of annotated shapes."""

from __future__ import annotations

import shapely
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import InputFileError

__all__ = ["polygonal_part", "repaired"]


def polygonal_part(shp: BaseGeometry) -> BaseGeometry:
    """The polygons of a geometry; the lines and points that a repair can leave beside them have no area.

    Args:
        shp: Any geometry.

    Returns:
        A Polygon or MultiPolygon, empty if there is no area.
    """
    if shp.geom_type in ("Polygon", "MultiPolygon"):
        return shp
    parts = shapely.get_parts(shapely.get_parts(shp))
    return MultiPolygon([part for part in parts if isinstance(part, Polygon) and not part.is_empty])


def repaired(shp: BaseGeometry, *, where: str) -> BaseGeometry:
    """A valid geometry that covers the same area; valid geometries and those without area come back as they are.

    Args:
        shp: Geometry in any coordinates.
        where: File and feature, for the error.

    Raises:
        InputFileError: If a polygon has no area.
    """
    if shp.geom_type == "GeometryCollection" and not shp.is_valid:
        return shapely.make_valid(shp)
    if "Polygon" not in shp.geom_type or (shp.is_valid and shp.area > 0):
        return shp
    result = polygonal_part(shapely.make_valid(shp))
    if result.is_empty or not result.area > 0:
        raise InputFileError(
            "The polygon has no area.",
            where=f"{where}.geometry",
            expected="a ring of at least three different positions",
            found=shapely.is_valid_reason(shp),
            fix="Draw it again, or remove the feature.",
        )
    return result
