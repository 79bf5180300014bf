"""What the partitioners have in common: the arguments for all, features located and projected, the limit."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias, TypeGuard

from geojson_pydantic import GeometryCollection, MultiPolygon, Point
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import ConfigError, GeometryError, InputFileError, UnsupportedError
from olmoearth_nb.geojson import (
    PredictionRequestCollection,
    PredictionRequestFeature,
    feature_label,
    feature_shape,
)
from olmoearth_nb.geometry import project, project_all, utm_projection_for
from olmoearth_nb.lonlat import normalise_lonlat
from olmoearth_nb.protocols import PartitionInterface
from olmoearth_nb.types import TimeRange

__all__ = ["Located", "PartitionerBase", "WindowCandidate", "features_of", "has_geometry", "is_number", "named"]

WindowCandidate: TypeAlias = tuple[PredictionRequestFeature, STGeometry]
"""The feature a window is for, and its extent in pixels."""


@dataclass(frozen=True)
class Located:
    """A feature with its geometry.

    Attributes:
        label: What errors call it.
        feature: The feature as it was given.
        degrees: Its geometry in WGS84, within -180..180 and cut at the antimeridian.
        pixels: The same in pixels of its output projection.
    """

    label: str
    feature: PredictionRequestFeature
    degrees: BaseGeometry
    pixels: STGeometry


class PartitionerBase(PartitionInterface):
    """Base of the partitioners of this package.

    Attributes:
        unsupported: Method that the class does not offer -> why.

    Args:
        output_projection: Projection of the windows; WGS84 with one degree a pixel if None.
        use_utm: Take the UTM/UPS zone of each feature instead of the CRS of ``output_projection``.
        limit: Number of windows to keep of each partition.

    Raises:
        ConfigError: If an argument is wrong.
    """

    unsupported: ClassVar[dict[str, str]] = {}

    def __init__(
        self, output_projection: Projection | None = None, use_utm: bool = False, limit: int | None = None
    ) -> None:
        if output_projection is not None and not isinstance(output_projection, Projection):
            raise self.wrong("output_projection", "an rslearn Projection", output_projection)
        super().__init__(output_projection, self.flag("use_utm", use_utm))
        self.limit = None if limit is None else self.whole("limit", limit)
        for axis in ("x_resolution", "y_resolution"):
            value = getattr(self.output_projection, axis)
            if not is_number(value) or value == 0:
                raise self.wrong(f"output_projection.{axis}", "a number that is not 0", value)

    def partition_request_geometry(
        self,
        request_extents: PredictionRequestCollection,  # noqa: ARG002  # the interface's
    ) -> list[PredictionRequestCollection]:
        """Partitions of a request, each a collection in WGS84.

        Args:
            request_extents: The request; features without a geometry are left out.

        Raises:
            UnsupportedError: If this class makes no partitions; says why.
            GeometryError: Names the feature that can't be used.
            InputFileError: The same.
        """
        raise self._cannot("partition_request_geometry")

    def prepare_window_geometries(self, request_extents: PredictionRequestCollection) -> list[WindowCandidate]:
        """Windows of a partition, the first ``limit`` of them.

        Args:
            request_extents: The partition; features without a geometry are left out.

        Returns:
            For each window the feature it is for and its extent in pixels.

        Raises:
            UnsupportedError: If this class makes no windows; says why.
            GeometryError: Names the feature that can't be projected.
            InputFileError: Names the feature that is off the globe.
        """
        return self.window_candidates(request_extents)[: self.limit]

    def window_candidates(
        self,
        request_extents: PredictionRequestCollection,  # noqa: ARG002  # that of those that make windows
    ) -> list[WindowCandidate]:
        """All windows of a partition, whatever ``limit`` says.

        For planning, which leaves out what does not touch the request before it counts.

        Args:
            request_extents: The partition.

        Raises:
            UnsupportedError: As :meth:`prepare_window_geometries`.
            GeometryError: The same.
            InputFileError: The same.
        """
        raise self._cannot("prepare_window_geometries")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def located(self, request: PredictionRequestCollection) -> list[Located]:
        """Features in degrees and in pixels of their output projection; those without a geometry are left out."""
        found = list(features_of(request))
        labels = [label for label, _, _ in found]
        here = [STGeometry(WGS84_PROJECTION, shp, _time_range(label, feature)) for label, feature, shp in found]
        there = _projected(labels, here, [self._target(label, shp) for label, _, shp in found])
        return [Located(*item, pixels) for item, pixels in zip(found, there, strict=True)]

    def _target(self, label: str, shp: BaseGeometry) -> Projection:
        target = self.output_projection
        if not self.use_utm:
            return target
        try:
            return utm_projection_for(shp, target.x_resolution, target.y_resolution)
        except GeometryError as error:
            raise named(error, label) from error

    def _cannot(self, method: str) -> UnsupportedError:
        name = type(self).__name__
        what = "partitions of a request" if method == "partition_request_geometry" else "windows of a partition"
        return UnsupportedError(f"{name} can't make {what}: {self.unsupported[method]}")

    def wrong(self, name: str, expected: str, found: object) -> ConfigError:
        """The error for an argument."""
        return ConfigError(
            "The argument is wrong.", where=f"{type(self).__name__}.{name}", expected=expected, found=repr(found)
        )

    def flag(self, name: str, value: object) -> bool:
        """An argument that is true or false."""
        if not isinstance(value, bool):
            raise self.wrong(name, "true or false", value)
        return value

    def whole(self, name: str, value: object) -> int:
        """An argument that is a whole number from 1."""
        if not is_number(value) or value < 1 or value != int(value):
            raise self.wrong(name, "a whole number of at least 1", value)
        return int(value)


def features_of(request: PredictionRequestCollection) -> Iterator[tuple[str, PredictionRequestFeature, BaseGeometry]]:
    """Features that have a geometry: label for errors, feature, geometry in degrees, cut at the antimeridian.

    Args:
        request: A request or a partition.

    Raises:
        InputFileError: If a geometry is off the globe.
    """
    for index, feature in enumerate(request.features):
        if has_geometry(feature):
            label = feature_label(index, feature)
            yield label, feature, normalise_lonlat(feature_shape(feature), label)


def has_geometry(feature: PredictionRequestFeature) -> bool:
    """Whether a feature has a geometry with at least one position.

    Args:
        feature: Any feature.
    """
    geometry = feature.geometry
    if geometry is None or isinstance(geometry, Point):
        return geometry is not None
    if isinstance(geometry, GeometryCollection | MultiPolygon):
        return not feature_shape(feature).is_empty
    return bool(geometry.coordinates)


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is a finite number; a bool is none.

    Args:
        value: Anything.
    """
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def named(error: GeometryError, label: str) -> GeometryError:
    """The same error, saying which feature it concerns.

    Args:
        error: From a function that knows only the geometry.
        label: What to call the feature.
    """
    return GeometryError(error.what, where=label, expected=error.expected, found=error.found, fix=error.fix)


def _time_range(label: str, feature: PredictionRequestFeature) -> TimeRange:
    properties = feature.properties
    if properties is None:
        raise InputFileError("The feature has no times.", where=label, expected="oe_start_time and oe_end_time")
    return properties.oe_start_time, properties.oe_end_time


def _projected(
    labels: Sequence[str], geometries: Sequence[STGeometry], targets: Sequence[Projection]
) -> list[STGeometry]:
    try:
        return project_all(geometries, targets)
    except GeometryError as error:
        # All at once is fast but does not say which; one by one it comes out.
        for label, geometry, target in zip(labels, geometries, targets, strict=True):
            try:
                project(geometry, target)
            except GeometryError as culprit:
                raise named(culprit, label) from culprit
        raise error from error
