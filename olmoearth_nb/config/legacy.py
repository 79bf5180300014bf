"""The few names of OlmoEarth Run that have no counterpart elsewhere in this package.

Custom components import them under their old paths; see :mod:`olmoearth_nb.config.aliases`.
"""

from __future__ import annotations

from typing import TypeAlias

from rslearn.utils.geometry import STGeometry

from olmoearth_nb.geojson import PredictionRequestCollection, PredictionRequestFeature, request_st_geometry
from olmoearth_nb.types import LabeledSTGeometry, RasterLabel

__all__ = ["PostprocessInterface", "STGeometryConverter", "TrainingWindowLabelsTypes"]

TrainingWindowLabelsTypes: TypeAlias = list[LabeledSTGeometry] | list[RasterLabel]
"""What a labelled window may hold."""


class PostprocessInterface:
    """Base for postprocessors of either kind; define the stages it is named for.

    The guide's name. Whether such a class is for rasters or for features shows in its methods: those for rasters
    take an output folder in ``process_partition`` and ``process_dataset``.
    """


class STGeometryConverter:
    """Requests as geometries in space and time."""

    @staticmethod
    def from_prediction_request_feature(feature: PredictionRequestFeature) -> STGeometry:
        """The geometry of a feature, in WGS84, with its time range.

        Args:
            feature: Feature of a request or of a partition.

        Raises:
            GeometryError: If it has no geometry or no properties.
        """
        return request_st_geometry(feature)

    @staticmethod
    def from_prediction_request_geometry(feature_collection: PredictionRequestCollection) -> list[STGeometry]:
        """The same for every feature of a collection.

        Args:
            feature_collection: A request or a partition.

        Raises:
            GeometryError: If a feature has no geometry or no properties.
        """
        return [request_st_geometry(feature) for feature in feature_collection.features]
