"""Postprocessors of vector results (GeoJSON feature collections in WGS84)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

import numpy as np
import shapely
from geojson_pydantic.geometries import parse_geometry_obj
from shapely.geometry import mapping
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.geojson import (
    PredictionRequestFeature,
    PredictionResultCollection,
    PredictionResultFeature,
    PredictionResultProperties,
    feature_shape,
)
from olmoearth_nb.postprocess._arguments import check_argument, is_number
from olmoearth_nb.postprocess.duplicates import Flags, first_of_duplicates

__all__ = ["CombineAndDeduplicateGeojson", "CombineGeojson", "SimplifyPolygons"]

_POLYGONAL = ("Polygon", "MultiPolygon")


def _collection(features: Sequence[PredictionResultFeature]) -> PredictionResultCollection:
    return PredictionResultCollection(type="FeatureCollection", features=features)


def _features_of(results: Iterable[PredictionResultCollection]) -> list[PredictionResultFeature]:
    return [feature for collection in results for feature in collection.features]


class CombineGeojson:
    """Joins results, and gives each the geometry and the properties that are wanted.

    Args:
        geometry_source: ``request`` gives a result the geometry of the request feature that its window was
            made for, ``result`` leaves it its own.
        include_request_properties: Give a result the properties of the request feature, its times too, under
            its own: those of the result win unless they are null.

    Raises:
        ConfigError: If an argument can't be used.

    Example:
        >>> from olmoearth_nb.geojson import PredictionRequestFeature, PredictionResultCollection
        >>> point = {"type": "Point", "coordinates": [10.0, -50.0]}
        >>> times = {"oe_start_time": "2024-01-01T00:00:00Z", "oe_end_time": "2024-02-01T00:00:00Z"}
        >>> request = PredictionRequestFeature(type="Feature", geometry=point, properties={"name": "a", **times})
        >>> feature = {"type": "Feature", "geometry": point, "properties": {"ndvi": 0.5}}
        >>> result = PredictionResultCollection(type="FeatureCollection", features=[feature])
        >>> combined = CombineGeojson(geometry_source="result").process_window(request, result)
        >>> combined.features[0].properties.name, combined.features[0].properties.ndvi
        ('a', 0.5)
    """

    unsupported: ClassVar[dict[str, str]] = {}

    def __init__(
        self,
        geometry_source: Literal["request", "result"] = "request",
        include_request_properties: bool = True,
    ) -> None:
        check_argument(
            geometry_source in ("request", "result"),
            "CombineGeojson.geometry_source",
            expected="'request' or 'result'",
            found=geometry_source,
        )
        check_argument(
            isinstance(include_request_properties, bool),
            "CombineGeojson.include_request_properties",
            expected="true or false",
            found=include_request_properties,
        )
        self.geometry_source = geometry_source
        self.include_request_properties = include_request_properties

    def process_window(
        self, window_request: PredictionRequestFeature, window_result: PredictionResultCollection
    ) -> PredictionResultCollection:
        """Joins the results of a window with a request feature that it was made for.

        Args:
            window_request: The request feature.
            window_result: What the model found in the window.
        """
        return _collection([self._joined(window_request, feature) for feature in window_result.features])

    def process_partition(self, results: list[PredictionResultCollection]) -> PredictionResultCollection:
        """All features of the windows, in order.

        Args:
            results: Collections of the windows.
        """
        return _collection(_features_of(results))

    def process_dataset(self, results: list[PredictionResultCollection]) -> PredictionResultCollection:
        """All features of the partitions, in order.

        Args:
            results: Collections of the partitions.
        """
        return _collection(_features_of(results))

    def _joined(self, request: PredictionRequestFeature, result: PredictionResultFeature) -> PredictionResultFeature:
        properties = result.properties
        if self.include_request_properties:
            merged = request.properties.model_dump() if request.properties else {}
            own = properties.model_dump() if properties else {}
            merged.update({key: value for key, value in own.items() if value is not None})
            properties = PredictionResultProperties.model_validate(merged)
        if self.geometry_source == "result":
            return result.model_copy(update={"properties": properties})
        # The bounding box of the result, if it has one, is not that of the request's geometry.
        return result.model_copy(update={"properties": properties, "geometry": request.geometry, "bbox": None})


class CombineAndDeduplicateGeojson:
    """Joins results and drops, in order, what is a duplicate of something kept earlier.

    Valid polygons and multipolygons are compared with each other by their intersection over union in degrees,
    points by their distance, other geometries with those of their own type by equality. An invalid polygon is
    never a duplicate. Features without geometry are dropped. Properties play no part.

    Args:
        min_iou: Polygons whose intersection over union reaches this are duplicates; above 0 (above 1 keeps all).
        point_nearness: Points that are this near, in degrees, are duplicates; below 0 keeps all.

    Raises:
        ConfigError: If an argument can't be used.

    Example:
        >>> from olmoearth_nb.geojson import PredictionResultCollection
        >>> features = [
        ...     {"type": "Feature", "geometry": {"type": "Point", "coordinates": [x, 0.0]}, "properties": {"x": x}}
        ...     for x in (0.0, 0.0008, 0.0016)
        ... ]
        >>> result = PredictionResultCollection(type="FeatureCollection", features=features)
        >>> [f.properties.x for f in CombineAndDeduplicateGeojson().process_partition([result]).features]
        [0.0, 0.0016]
    """

    unsupported: ClassVar[dict[str, str]] = {}

    def __init__(self, min_iou: float = 0.9, point_nearness: float = 0.001) -> None:
        check_argument(
            is_number(min_iou) and min_iou > 0,
            "CombineAndDeduplicateGeojson.min_iou",
            expected="a number above 0 (an intersection over union, at most 1)",
            found=min_iou,
        )
        check_argument(
            is_number(point_nearness) and np.isfinite(point_nearness),
            "CombineAndDeduplicateGeojson.point_nearness",
            expected="a number of degrees",
            found=point_nearness,
        )
        self.min_iou = min_iou
        self.point_nearness = point_nearness

    def process_window(
        self,
        window_request: PredictionRequestFeature,  # noqa: ARG002  # the stage's signature
        window_result: PredictionResultCollection,
    ) -> PredictionResultCollection:
        """Drops duplicates within a window.

        Args:
            window_request: The request feature that the window was made for; not looked at.
            window_result: What the model found in the window.
        """
        return self._unique([window_result])

    def process_partition(self, results: list[PredictionResultCollection]) -> PredictionResultCollection:
        """Features of the windows, in order, without duplicates.

        Args:
            results: Collections of the windows.
        """
        return self._unique(results)

    def process_dataset(self, results: list[PredictionResultCollection]) -> PredictionResultCollection:
        """Features of the partitions, in order, without duplicates.

        Args:
            results: Collections of the partitions.
        """
        return self._unique(results)

    def kept(self, shapes: Sequence[BaseGeometry]) -> Flags:
        """Which geometries are no duplicates of an earlier one that is kept.

        Args:
            shapes: Geometries in degrees, in order.

        Returns:
            Booleans of shape (N,), one a geometry.
        """
        return first_of_duplicates(shapes, min_iou=self.min_iou, point_nearness=self.point_nearness)

    def _unique(self, results: Iterable[PredictionResultCollection]) -> PredictionResultCollection:
        features = [feature for feature in _features_of(results) if feature.geometry is not None]
        kept = self.kept([feature_shape(feature) for feature in features])
        return _collection([features[index] for index in np.flatnonzero(kept)])


class SimplifyPolygons:
    """Joins results and simplifies their polygons and multipolygons (Douglas-Peucker).

    What becomes empty or invalid is dropped; other geometries, and features without one, pass.

    Args:
        tolerance: No vertex moves the outline by more than this, in degrees; 0 or more.
        preserve_topology: Never collapse a polygon or a hole, or make it invalid.

    Raises:
        ConfigError: If an argument can't be used.

    Example:
        >>> from olmoearth_nb.geojson import PredictionResultCollection
        >>> ring = [[0.0, 0.0], [1.0, 0.001], [2.0, 0.0], [2.0, 2.0], [0.0, 2.0], [0.0, 0.0]]
        >>> feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": {}}
        >>> result = PredictionResultCollection(type="FeatureCollection", features=[feature])
        >>> len(SimplifyPolygons().process_partition([result]).features[0].geometry.coordinates[0])
        5
    """

    unsupported: ClassVar[dict[str, str]] = {}

    def __init__(self, tolerance: float = 0.01, preserve_topology: bool = True) -> None:
        check_argument(
            is_number(tolerance) and np.isfinite(tolerance) and tolerance >= 0,
            "SimplifyPolygons.tolerance",
            expected="a number of degrees, 0 or more",
            found=tolerance,
        )
        check_argument(
            isinstance(preserve_topology, bool),
            "SimplifyPolygons.preserve_topology",
            expected="true or false",
            found=preserve_topology,
        )
        self.tolerance = tolerance
        self.preserve_topology = preserve_topology

    def process_window(
        self,
        window_request: PredictionRequestFeature,  # noqa: ARG002  # the stage's signature
        window_result: PredictionResultCollection,
    ) -> PredictionResultCollection:
        """Simplifies the polygons of a window.

        Args:
            window_request: The request feature that the window was made for; not looked at.
            window_result: What the model found in the window.
        """
        return self._simplified([window_result])

    def process_partition(self, results: list[PredictionResultCollection]) -> PredictionResultCollection:
        """Features of the windows, in order, simplified.

        Args:
            results: Collections of the windows.
        """
        return self._simplified(results)

    def process_dataset(self, results: list[PredictionResultCollection]) -> PredictionResultCollection:
        """Features of the partitions, in order, simplified.

        Args:
            results: Collections of the partitions.
        """
        return self._simplified(results)

    def _simplified(self, results: Iterable[PredictionResultCollection]) -> PredictionResultCollection:
        features = _features_of(results)
        polygonal = [i for i, f in enumerate(features) if f.geometry is not None and f.geometry.type in _POLYGONAL]
        shapes = np.array([feature_shape(features[i]) for i in polygonal], dtype=object)
        simple = shapely.simplify(shapes, self.tolerance, preserve_topology=self.preserve_topology)
        usable = shapely.is_valid(simple) & ~shapely.is_empty(simple)
        changed = ~shapely.equals_identical(simple, shapes)
        replaced: dict[int, PredictionResultFeature | None] = {}
        for row, i in enumerate(polygonal):
            if not usable[row]:
                replaced[i] = None
            elif changed[row]:
                geometry = parse_geometry_obj(mapping(simple[row]))
                replaced[i] = features[i].model_copy(update={"geometry": geometry, "bbox": None})
        kept = (replaced.get(i, feature) for i, feature in enumerate(features))
        return _collection([feature for feature in kept if feature is not None])
