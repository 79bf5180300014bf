"""Read and write requests, annotations and results as GeoJSON (RFC 7946).

Models are geojson-pydantic's with the properties of OlmoEarth Run. Whatever is wrong with a file is reported
with the file, the feature's index and the key. Geometries with longitudes beyond 180°, or whose edges jump
across the antimeridian, are cut there, as RFC 7946 has them.
"""

from __future__ import annotations

import re
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Annotated, Any, TypeAlias, TypeVar

from geojson_pydantic import Feature, FeatureCollection
from geojson_pydantic.geometries import Geometry, GeometryCollection, MultiPolygon, Polygon
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictFloat,
    StrictInt,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticSerializationError
from rslearn.utils.geometry import WGS84_PROJECTION, STGeometry
from shapely.errors import GEOSException
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.border import describe
from olmoearth_nb.errors import GeometryError, InputFileError, StorageError
from olmoearth_nb.files import kept_within_block, write_text
from olmoearth_nb.geojson_text import load_features, stream_features
from olmoearth_nb.lonlat import normalise_lonlat
from olmoearth_nb.many import rarely_collected

__all__ = [
    "AnnotationCollection",
    "AnnotationFeature",
    "PredictionRequestCollection",
    "PredictionRequestFeature",
    "PredictionRequestProperties",
    "PredictionResultCollection",
    "PredictionResultFeature",
    "PredictionResultProperties",
    "TaskCollection",
    "TaskFeature",
    "Time",
    "collection_text",
    "feature_label",
    "feature_shape",
    "normalise_lonlat",
    "read_annotation_features",
    "read_request",
    "read_result",
    "read_task_features",
    "request_st_geometry",
    "stream_result",
    "write_collection",
]


_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")
# Features of a stream that are parsed at once.
_AT_ONCE = 100


def _as_text(value: object) -> object:
    # A bare number, in quotes too, would be read as a Unix time ("2024" as 1970-01-01T00:33:44Z).
    if isinstance(value, (int, float)) or (isinstance(value, str) and _NUMBER.fullmatch(value.strip())):
        raise ValueError("not a time: expected ISO 8601, such as 2024-02-24T05:57:00+00:00")
    return value


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


Time: TypeAlias = Annotated[datetime, BeforeValidator(_as_text), AfterValidator(_in_utc)]
"""A time as files have it: ISO 8601, UTC without a zone."""


def _check_order(start: datetime | None, end: datetime | None) -> None:
    if start is not None and end is not None and start > end:
        raise ValueError(f"oe_start_time ({start.isoformat()}) is after oe_end_time ({end.isoformat()})")


class PredictionRequestProperties(BaseModel):
    """Properties of a request feature; any other key is carried through to the results."""

    model_config = ConfigDict(extra="allow")

    oe_start_time: Time
    oe_end_time: Time

    @model_validator(mode="after")
    def _ordered(self) -> PredictionRequestProperties:
        _check_order(self.oe_start_time, self.oe_end_time)
        return self


class PredictionResultProperties(BaseModel):
    """Properties of a result feature; what the model found, under names of its own, and the request's."""

    model_config = ConfigDict(extra="allow")

    oe_start_time: Time | None = None
    oe_end_time: Time | None = None


def _time(new: str, old: str) -> Any:
    return Field(validation_alias=AliasChoices(new, old))


class TaskProperties(BaseModel):
    """Properties of an annotation task; the older ``es_`` spelling is read as well."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    oe_annotations_task_id: Annotated[uuid.UUID, _time("oe_annotations_task_id", "es_annotations_task_id")]
    oe_start_time: Annotated[Time, _time("oe_start_time", "es_start_time")]
    oe_end_time: Annotated[Time, _time("oe_end_time", "es_end_time")]

    @model_validator(mode="after")
    def _ordered(self) -> TaskProperties:
        _check_order(self.oe_start_time, self.oe_end_time)
        return self


class AnnotationProperties(BaseModel):
    """Properties of an annotation: its task and its labels, name -> number or null."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    oe_annotations_task_id: Annotated[uuid.UUID, _time("oe_annotations_task_id", "es_annotations_task_id")]
    oe_labels: dict[str, StrictInt | Annotated[StrictFloat, Field(allow_inf_nan=False)] | None]

    @model_validator(mode="after")
    def _labelled(self) -> AnnotationProperties:
        if all(value is None for value in self.oe_labels.values()):
            raise ValueError("oe_labels has no value: at least one must not be null")
        return self


PredictionRequestFeature: TypeAlias = Feature[Geometry, PredictionRequestProperties]
PredictionRequestCollection: TypeAlias = FeatureCollection[PredictionRequestFeature]
PredictionResultFeature: TypeAlias = Feature[Geometry, PredictionResultProperties]
PredictionResultCollection: TypeAlias = FeatureCollection[PredictionResultFeature]
TaskFeature: TypeAlias = Feature[Polygon | MultiPolygon, TaskProperties]
TaskCollection: TypeAlias = FeatureCollection[TaskFeature]
AnnotationFeature: TypeAlias = Feature[Geometry, AnnotationProperties]
AnnotationCollection: TypeAlias = FeatureCollection[AnnotationFeature]

FeatureT = TypeVar("FeatureT", bound=BaseModel)


def feature_shape(feature: Feature[Any, Any]) -> BaseGeometry:
    """The shapely geometry of a feature, in degrees.

    Args:
        feature: A feature with a geometry (those read by this module have one).
    """
    geometry = feature.geometry
    if geometry is None:
        raise GeometryError("A feature has no geometry.")
    try:
        if isinstance(geometry, GeometryCollection):
            return shape(geometry.model_dump(exclude={"bbox"}))
        return shape({"type": geometry.type, "coordinates": geometry.coordinates})
    except (IndexError, ValueError, GEOSException) as error:
        raise GeometryError(
            "The geometry can't be made.",
            expected="positions of numbers, all with a height or all without, closed rings and no empty parts",
        ) from error


def feature_label(index: int, feature: Feature[Any, Any]) -> str:
    """Which feature it is, for an error: ``features[3] (field 12)``.

    Args:
        index: Its place in the collection.
        feature: The feature; its id or the property ``name`` is shown where there is one.
    """
    identity = feature.id or getattr(feature.properties, "name", None)
    return f"features[{index}]" + (f" ({identity})" if identity else "")


def request_st_geometry(feature: PredictionRequestFeature) -> STGeometry:
    """A request feature in space and time, in WGS84.

    Args:
        feature: A feature of a request or of a partition.
    """
    properties = feature.properties
    if feature.geometry is None or properties is None:
        raise GeometryError("A request feature has no geometry or no properties.")
    return STGeometry(WGS84_PROJECTION, feature_shape(feature), (properties.oe_start_time, properties.oe_end_time))


def read_request(path: str | PathLike[str]) -> PredictionRequestCollection:
    """Reads a prediction request.

    Args:
        path: GeoJSON with a FeatureCollection (or one Feature).

    Raises:
        InputFileError: Names the file, the feature and the key that is wrong.
    """
    features = _read_features(path, PredictionRequestFeature, what="request")
    return PredictionRequestCollection(type="FeatureCollection", features=features)


@kept_within_block
def read_task_features(path: str | PathLike[str]) -> TaskCollection:
    """Reads annotation tasks (areas that annotators finished).

    Args:
        path: GeoJSON with Polygon or MultiPolygon features.

    Raises:
        InputFileError: Names the file, the feature and the key that is wrong.
    """
    features = _read_features(path, TaskFeature, what="annotation task")
    return TaskCollection(type="FeatureCollection", features=features)


@kept_within_block
def read_annotation_features(path: str | PathLike[str], *, label_property: str | None = None) -> AnnotationCollection:
    """Reads annotations; the older single ``es_label`` becomes the label named by ``label_property``.

    Args:
        path: GeoJSON with features of any geometry.
        label_property: Name for the value of ``es_label``; ``label`` if None.

    Raises:
        InputFileError: Names the file, the feature and the key that is wrong.
    """
    name = label_property or "label"

    def modern(raw: dict[str, Any]) -> dict[str, Any]:
        properties = raw.get("properties")
        if isinstance(properties, dict) and "oe_labels" not in properties and "es_label" in properties:
            properties = {k: v for k, v in properties.items() if k != "es_label"} | {
                "oe_labels": {name: properties["es_label"]}
            }
            return raw | {"properties": properties}
        return raw

    features = _read_features(path, AnnotationFeature, what="annotation", prepare=modern)
    return AnnotationCollection(type="FeatureCollection", features=features)


def read_result(path: str | PathLike[str]) -> PredictionResultCollection:
    """Reads a vector result of a window, a partition or a dataset.

    Args:
        path: GeoJSON with a FeatureCollection; no features at all is a valid result.

    Raises:
        InputFileError: If the file is missing or malformed.
    """
    features = _read_features(path, PredictionResultFeature, what="result", may_be_empty=True)
    return PredictionResultCollection(type="FeatureCollection", features=features)


def stream_result(path: str | PathLike[str]) -> Iterator[PredictionResultFeature]:
    """The features of :func:`read_result`, which are read as they are needed.

    Args:
        path: GeoJSON with a FeatureCollection.

    Raises:
        InputFileError: If the file is missing or malformed; some features may have come before.
    """
    raw = enumerate(stream_features(path, "result"))
    while some := list(islice(raw, _AT_ONCE)):
        yield from _parsed(path, some, PredictionResultFeature)


def write_collection(path: str | PathLike[str], collection: BaseModel) -> None:
    """Writes a feature or a collection; the file is complete or not there at all.

    Args:
        path: Where to; folders are made.
        collection: A GeoJSON model.

    Raises:
        StorageError: If the place can't be written, or a property is nothing that JSON can hold.
    """
    write_text(path, collection_text(collection, where=str(path)))


def collection_text(collection: BaseModel, *, where: str) -> str:
    """A feature or a collection as text.

    Args:
        collection: A GeoJSON model.
        where: Where it goes to, for the error.

    Raises:
        StorageError: If a property is nothing that JSON can hold.
    """
    try:
        return collection.model_dump_json(exclude_unset=False)
    except PydanticSerializationError as error:
        raise StorageError(
            "A feature's properties can't be written as JSON.", where=where, found=describe(error).rstrip(".")
        ) from error


@rarely_collected()
def _read_features(
    path: str | PathLike[str],
    model: type[FeatureT],
    *,
    what: str,
    prepare: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    may_be_empty: bool = False,
) -> list[FeatureT]:
    raw = load_features(path, what)
    if not raw and not may_be_empty:
        raise InputFileError(
            f"The {what} file has no features.", where=str(path), fix="Add at least one feature with a geometry."
        )
    return _parsed(path, enumerate(raw), model, prepare)


def _parsed(
    path: str | PathLike[str],
    raw: Iterable[tuple[int, Any]],
    model: type[FeatureT],
    prepare: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
) -> list[FeatureT]:
    with warnings.catch_warnings():
        # Every odd geometry collection warns, and all of them are taken.
        warnings.simplefilter("ignore", UserWarning)
        name = str(Path(path))
        return [_parse(f"{name}: features[{i}]", feature, model, prepare) for i, feature in raw]


def _parse(
    where: str,
    raw: Any,
    model: type[FeatureT],
    prepare: Callable[[dict[str, Any]], dict[str, Any]] | None,
) -> FeatureT:
    if not isinstance(raw, dict):
        raise InputFileError("A feature is not an object.", where=where, found=repr(raw))
    where += _identity(raw)
    if not raw.get("geometry"):
        raise InputFileError("The feature has no geometry.", where=f"{where}.geometry", fix="Give it one or remove it.")
    if raw.get("properties") is None and model is not PredictionResultFeature:
        raise InputFileError("The feature has no properties.", where=f"{where}.properties")
    raw = {"id": None, **raw, "bbox": None}
    if prepare is not None:
        raw = prepare(raw)
    try:
        feature = model.model_validate(raw)
    except ValidationError as error:
        raise InputFileError(*_first_problem(error, where)) from error
    return _normalise(feature, raw, model, where)


def _identity(raw: dict[str, Any]) -> str:
    properties = raw.get("properties")
    identity = raw.get("id") or (properties.get("name") if isinstance(properties, dict) else None)
    return f" ({identity})" if identity else ""


def _first_problem(error: ValidationError, where: str) -> tuple[str]:
    first = error.errors(include_url=False)[0]
    keys = [str(part) for part in first["loc"] if not str(part).startswith("function-")]
    value = repr(first.get("input"))
    found = f"; found {value[:80]}" if first["type"] != "missing" else ""
    count = len(error.errors())
    more = f" ({count - 1} more in this feature.)" if count > 1 else ""
    problem = first["msg"].removeprefix("Value error, ")
    return (f"{where}.{'.'.join(keys)}: {problem}{found}.{more}",)


def _normalise(feature: FeatureT, raw: dict[str, Any], model: type[FeatureT], where: str) -> FeatureT:
    try:
        shp = feature_shape(feature)  # type: ignore[arg-type]  # every model here is a Feature
    except GeometryError as error:
        place = f"{where}.geometry"
        raise InputFileError(error.what, where=place, expected=error.expected, found=error.found) from error
    fixed = normalise_lonlat(shp, where)
    if fixed is shp:
        return feature
    return model.model_validate(raw | {"geometry": mapping(fixed)})
