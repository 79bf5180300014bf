"""Calls partitioners, which may be anybody's, and checks what they give before planning relies on it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias, TypeGuard

from geojson_pydantic import FeatureCollection
from pydantic import BaseModel, ValidationError
from rslearn.utils.geometry import STGeometry
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import GeometryError, InputFileError, ProjectError, UnsupportedError
from olmoearth_nb.geojson import PredictionRequestCollection, PredictionRequestFeature
from olmoearth_nb.partitioner_base import PartitionerBase, has_geometry
from olmoearth_nb.partitioners import GridPartitioner
from olmoearth_nb.protocols import Partitioner

IndexedWindows: TypeAlias = list[tuple[int, STGeometry]]
"""Index of the feature that each window is for, and its extent in pixels."""

__all__ = ["at_most", "limit_of", "partitions_from", "windows_from"]


def partitions_from(
    partitioner: Partitioner, request: PredictionRequestCollection
) -> dict[int, PredictionRequestCollection]:
    """Partitions of a request by their index; features without a geometry are left out of them.

    Args:
        partitioner: Anybody's.
        request: The request.

    Raises:
        UnsupportedError: If it makes no partitions.
        ProjectError: If it fails, or gives something else than a list of feature collections.
    """
    name = type(partitioner).__name__
    raw = _called(partitioner, "partition_request_geometry", request, where=None)
    partitions: dict[int, PredictionRequestCollection] = {}
    for index, partition in enumerate(_as_list(raw, name, "feature collections")):
        given = partition.get("features") if isinstance(partition, dict) else getattr(partition, "features", None)
        if not isinstance(given, list | tuple):
            raise ProjectError(
                f"Partition {index} of {name} is not a feature collection.",
                expected="an object with a list of features",
                found=type(partition).__name__,
            )
        features = [_as_feature(feature, f"{name}, partition {index}") for feature in given]
        features = [feature for feature in features if has_geometry(feature)]
        same = isinstance(partition, FeatureCollection) and _same(features, given)
        partitions[index] = partition if same else _collection(features)
    return partitions


def windows_from(
    partitioner: Partitioner, partition: PredictionRequestCollection, partition_id: str
) -> tuple[PredictionRequestCollection, IndexedWindows]:
    """Windows of a partition, all of them where the ``limit`` is one of this package's (see :func:`limit_of`).

    Args:
        partitioner: Anybody's.
        partition: The partition.
        partition_id: Its id, for errors.

    Returns:
        The partition, with the features that the partitioner made anew at its end, and the windows.

    Raises:
        UnsupportedError: If it makes no windows.
        GeometryError: If a feature can't be projected; names partition and feature.
        ProjectError: If it fails, or gives something else than a list of (feature, STGeometry).
    """
    name = type(partitioner).__name__
    where = f"{name}, {partition_id}"
    method = "window_candidates" if _leaves_the_limit(partitioner) else "prepare_window_geometries"
    features = _Features(partition.features, where)
    windows: IndexedWindows = []
    for item in _as_list(_called(partitioner, method, partition, where=partition_id), name, "(feature, STGeometry)"):
        match item:
            case (feature, STGeometry(shp=BaseGeometry()) as geometry):
                windows.append((features.index(feature), _timed(geometry, where)))
            case _:
                raise ProjectError(
                    "A window is not what it has to be.",
                    where=where,
                    expected="a pair of a feature and an rslearn STGeometry with a shapely geometry",
                    found=repr(item)[:200],
                )
    return (partition if _same(features.all, partition.features) else _collection(features.all)), windows


def _same(features: Sequence[object], others: Sequence[object]) -> bool:
    return len(features) == len(others) and all(one is other for one, other in zip(features, others, strict=True))


def _timed(geometry: STGeometry, where: str) -> STGeometry:
    """The same extent, its times in UTC where they had no zone."""
    match geometry.time_range:
        case None:
            return geometry
        case (datetime() as start, datetime() as end):
            pass
        case other:
            raise ProjectError(
                "A window's time range is not what it has to be.",
                where=where,
                expected="two datetimes, or None",
                found=repr(other)[:200],
            )
    if start.tzinfo and end.tzinfo:
        return geometry
    times = [moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in (start, end)]
    return STGeometry(geometry.projection, geometry.shp, (times[0], times[1]))


def at_most(partitioner: Partitioner, count: int | None) -> Partitioner:
    """A partitioner that refuses to make more, if it is one that knows before it makes them; else the same.

    Args:
        partitioner: Anybody's; it is left as it is.
        count: How many partitions, or windows of a partition; any number if None.
    """
    if count is None or not isinstance(partitioner, GridPartitioner):
        return partitioner
    limited = copy.copy(partitioner)
    limited.max_partitions = limited.max_windows = count
    return limited


def limit_of(partitioner: Partitioner) -> int | None:
    """How many windows of each partition planning has to keep; None if all, or if the partitioner sees to it.

    Args:
        partitioner: Anybody's.
    """
    return partitioner.limit if _leaves_the_limit(partitioner) else None


def _leaves_the_limit(partitioner: Partitioner) -> TypeGuard[PartitionerBase]:
    # A subclass that makes its windows another way has to be asked for these.
    return (
        isinstance(partitioner, PartitionerBase)
        and type(partitioner).prepare_window_geometries is PartitionerBase.prepare_window_geometries
    )


class _Features:
    """Features of a partition by identity, else by content; new ones get the next index."""

    def __init__(self, features: Sequence[PredictionRequestFeature], where: str) -> None:
        self.all = list(features)
        self._where = where
        self._by_id = {id(feature): index for index, feature in enumerate(self.all)}
        self._by_content: dict[str, int] = {}

    def index(self, feature: object) -> int:
        """Place of a feature in the collection."""
        known = self._by_id.get(id(feature))
        if known is not None:
            return known
        one = _as_feature(feature, self._where)
        if not has_geometry(one):
            raise ProjectError("A window is for a feature without a geometry.", where=self._where)
        if not self._by_content:
            self._by_content = {other.model_dump_json(): index for index, other in reversed([*enumerate(self.all)])}
        content = one.model_dump_json()
        if content not in self._by_content:
            self._by_content[content] = len(self.all)
            self.all.append(one)
        return self._by_content[content]


def _called(
    partitioner: Partitioner, method: str, collection: PredictionRequestCollection, *, where: str | None
) -> object:
    name = type(partitioner).__name__
    function = getattr(partitioner, method, None)
    if not callable(function):
        raise UnsupportedError(f"{name} has no method {method}.")
    try:
        with foreign_code(ProjectError, f"{name}.{method} failed", where=where):
            return _implemented(function, collection, f"{name} does not implement {method}.")
    except (GeometryError, InputFileError) as error:
        if where is None:
            raise
        place = f"{where}, {error.where}" if error.where else where
        raise type(error)(error.what, where=place, expected=error.expected, found=error.found, fix=error.fix) from error


def _implemented(function: Callable[[Any], object], collection: PredictionRequestCollection, what: str) -> object:
    try:
        return function(collection)
    except NotImplementedError as error:
        raise UnsupportedError(what, fix=str(error) or None) from error


def _as_list(raw: object, name: str, of: str) -> Sequence[Any]:
    if not isinstance(raw, list | tuple):
        raise ProjectError(f"{name} gave no list.", expected=f"a list of {of}", found=type(raw).__name__)
    return raw


def _as_feature(value: object, where: str) -> PredictionRequestFeature:
    if isinstance(value, PredictionRequestFeature):  # type: ignore[misc]  # pydantic makes it a class
        return value
    try:
        return PredictionRequestFeature.model_validate(value.model_dump() if isinstance(value, BaseModel) else value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ProjectError(
            f"A feature is not a request feature: {'.'.join(map(str, first['loc']))}: {first['msg']}.",
            where=where,
            expected="a GeoJSON feature with oe_start_time and oe_end_time",
            found=repr(value)[:200],
        ) from error


def _collection(features: list[PredictionRequestFeature]) -> PredictionRequestCollection:
    return PredictionRequestCollection(type="FeatureCollection", features=features)
