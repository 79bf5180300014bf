"""Requests of shapes, for tests of partitioners, planning and geometry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rasterio.crs import CRS
from rslearn.utils.geometry import Projection
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.geojson import PredictionRequestCollection

TIMES = {"oe_start_time": "2024-03-01T00:00:00+00:00", "oe_end_time": "2024-06-01T00:00:00+00:00"}
TEN_METRES = Projection(CRS.from_epsg(3857), 10, -10)
UTM: dict[str, Any] = {"output_projection": TEN_METRES, "use_utm": True}
GOLDEN = Path(__file__).parents[1] / ".." / "shared" / "golden" / "partitioners.json"


def raw_feature(shp: BaseGeometry | None, **properties: Any) -> dict[str, Any]:
    """A request feature as it stands in a file."""
    return {"type": "Feature", "geometry": mapping(shp) if shp is not None else None, "properties": TIMES | properties}


def request_of(*shapes: BaseGeometry | None) -> PredictionRequestCollection:
    """A request of one feature a shape, named f0, f1, …"""
    features = [raw_feature(shp, name=f"f{index}") for index, shp in enumerate(shapes)]
    return PredictionRequestCollection.model_validate({"type": "FeatureCollection", "features": features})


def shapes_of(collection: PredictionRequestCollection) -> list[BaseGeometry]:
    """Geometries of a collection's features."""
    return [shape(feature.geometry.model_dump()) for feature in collection.features]
