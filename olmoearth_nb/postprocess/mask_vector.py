"""Masks made of GeoJSON areas."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from affine import Affine
from rasterio.crs import CRS
from rasterio.features import geometry_mask
from rasterio.transform import array_bounds
from rslearn.utils.geometry import Projection
from shapely.geometry import shape
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import InputFileError
from olmoearth_nb.files import read_json
from olmoearth_nb.geojson import normalise_lonlat
from olmoearth_nb.geometry import footprints_touching, wgs84_outlines
from olmoearth_nb.postprocess.geotiffs import OpenRasters, Valid
from olmoearth_nb.postprocess.mask_projecting import WGS84, Floats, Geometries, move_shapes

__all__ = ["VectorMask"]

# Part of a pixel by which a box must reach into the mask to touch it; those that share an edge don't.
_HAIR = 1e-3


class VectorMask:
    """Areas of GeoJSON files.

    Args:
        paths: The files.

    Raises:
        InputFileError: If a file can't be read or has no geometries.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        shapes = [shp for path in paths for shp in _read_geojson(path)]
        self._shapes = np.asarray(shapely.make_valid(np.array(shapes, dtype=object)), dtype=object)
        self._tree = shapely.STRtree(self._shapes)

    def touched_boxes(self, projection: Projection, boxes: Floats) -> Valid:
        """Which boxes of a projection touch the mask; a shared edge is not enough.

        Args:
            projection: Projection of the boxes.
            boxes: Shape (N, 4), in pixels.
        """
        shrunk = boxes + np.array([_HAIR, _HAIR, -_HAIR, -_HAIR])
        return footprints_touching(wgs84_outlines(projection, shrunk), self._shapes.tolist())

    def touched_shapes(self, shapes: Geometries) -> Valid:
        """Which geometries touch the mask.

        Args:
            shapes: Geometries in degrees.
        """
        return footprints_touching(shapes, self._shapes.tolist())

    def valid_pixels(self, transform: Affine, crs: CRS, size: tuple[int, int], rasters: OpenRasters) -> Valid:  # noqa: ARG002
        """Which pixels of a raster have their centre in the mask.

        Args:
            transform: Of the raster.
            crs: Of the raster.
            size: Its height and width.
            rasters: Not used.

        Returns:
            Shape (H, W).
        """
        height, width = size
        extent = np.array([array_bounds(height, width, transform)], dtype=np.float64)
        (area,) = wgs84_outlines(Projection(crs, 1, 1), extent)
        parts = self._near(area)
        if not len(parts):
            return np.zeros(size, dtype=bool)
        parts = move_shapes(parts, WGS84, crs.to_wkt())
        return np.asarray(geometry_mask(parts.tolist(), size, transform, invert=True))

    def _near(self, area: BaseGeometry) -> Geometries:
        """The mask's geometries cut to the surroundings of an area.

        Far from there a projection may not be defined, and long edges would be bent by it.
        """
        west, south, east, north = area.bounds
        margin = 0.1 * max(east - west, north - south)
        found = []
        for shift in (0.0, 360.0):
            around = shapely.box(west - shift - margin, south - margin, east - shift + margin, north + margin)
            hits = self._shapes[np.sort(self._tree.query(around, predicate="intersects"))]
            parts = shapely.intersection(hits, around)
            found.extend(parts[~shapely.is_empty(parts)].tolist())
        result = np.empty(len(found), dtype=object)
        result[:] = found
        return result


def _read_geojson(path: Path) -> list[BaseGeometry]:
    data = read_json(path, what="mask")
    match data:
        case {"type": "FeatureCollection", "features": list(features)}:
            raw = [feature.get("geometry") for feature in features if isinstance(feature, dict)]
        case {"type": "Feature", "geometry": geometry}:
            raw = [geometry]
        case _:
            raw = [data]
    shapes = [_shape(path, index, geometry) for index, geometry in enumerate(raw) if geometry]
    if not shapes:
        raise InputFileError("The mask has no geometries.", where=str(path), fix="Add the area that is valid.")
    return shapes


def _shape(path: Path, index: int, geometry: object) -> BaseGeometry:
    where = f"{path}: features[{index}]"
    try:
        shp = shape(geometry)  # type: ignore[arg-type]  # what it is, is found out here
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, shapely.errors.ShapelyError) as error:
        raise InputFileError(
            f"Not a geometry: {error}.",
            where=where,
            expected="a GeoJSON geometry",
            found=repr(geometry)[:80],
        ) from error
    return normalise_lonlat(shp, where)
