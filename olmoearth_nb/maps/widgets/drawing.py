"""Features that people draw, and times that they write: any of their forms to one."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

import shapely
import yaml
from pydantic import TypeAdapter, ValidationError
from shapely.errors import GEOSException
from shapely.geometry import mapping, shape
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import InputFileError, UsageError
from olmoearth_nb.geojson import PredictionRequestCollection, normalise_lonlat

__all__ = [
    "as_drawing",
    "as_feature",
    "as_time",
    "of_drawing",
    "properties_of",
    "request_of",
    "shape_in",
    "text_of",
]

_KINDS = ("Polygon", "MultiPolygon", "Point")
_OWN = "own"
_TIMES = ("oe_start_time", "oe_end_time")
_EXPECTED = "a polygon or a point: shapely's, a GeoJSON geometry, or a GeoJSON feature"


def as_feature(given: object) -> dict[str, Any]:
    """A GeoJSON feature with its own properties only.

    Args:
        given: A shapely geometry, a GeoJSON geometry or feature.

    Raises:
        UsageError: If it is none of these, or no polygon or point.
    """
    properties: Mapping[str, Any] = {}
    match given:
        case BaseGeometry():
            geometry: Any = mapping(given)
        case {"type": "Feature", "geometry": geometry, "properties": own}:
            properties = own or {}
        case {"type": "Feature", "geometry": geometry}:
            pass
        case _:
            geometry = given
    if not isinstance(geometry, Mapping) or geometry.get("type") not in _KINDS or not isinstance(properties, Mapping):
        kind = geometry.get("type") if isinstance(geometry, Mapping) else type(geometry).__name__
        raise UsageError("This can't be requested.", expected=_EXPECTED, found=repr(kind))
    feature = {
        "type": "Feature",
        "geometry": {"type": geometry["type"], "coordinates": geometry.get("coordinates")},
        "properties": {str(key): value for key, value in properties.items()},
    }
    if shape_in(feature).is_empty:
        raise UsageError("This can't be requested: it is empty.", expected=_EXPECTED)
    # Tuples as lists, as they come back from a browser.
    plain: dict[str, Any] = json.loads(json.dumps(feature, default=str))
    return plain


def as_drawing(feature: Mapping[str, Any], style: Mapping[str, Any]) -> dict[str, Any]:
    """A feature as the map's drawing tools take it: they write properties of their own beside those of the feature.

    Args:
        feature: See :func:`as_feature`.
        style: Leaflet's options of a path.
    """
    return {**feature, "properties": {"style": dict(style), _OWN: feature["properties"]}}


def of_drawing(drawn: Mapping[str, Any]) -> dict[str, Any]:
    """The feature of what the map's drawing tools give.

    Args:
        drawn: A GeoJSON feature of theirs.

    Raises:
        UsageError: If it is no polygon or point.
    """
    return as_feature({**drawn, "properties": (drawn.get("properties") or {}).get(_OWN)})


def shape_in(feature: Mapping[str, Any]) -> BaseGeometry:
    """The geometry of a GeoJSON feature.

    Args:
        feature: The feature.

    Raises:
        UsageError: If its coordinates make none.
    """
    try:
        found = shape(feature["geometry"])
        if not shapely.get_coordinates(found).size and not found.is_empty:
            raise ValueError("no coordinates")
    except (TypeError, IndexError, ValueError, AttributeError, GEOSException) as error:
        raise UsageError("The coordinates make no geometry.", found=str(feature["geometry"])[:200]) from error
    return found


def as_time(given: object) -> datetime | None:
    """A moment in UTC; without a zone it is taken to be that.

    Args:
        given: A datetime, a date, text as ISO 8601 has it, or None.

    Raises:
        UsageError: If it is none of these.
    """
    match given:
        case None | "":
            return None
        case datetime():
            moment = given
        case date():
            moment = datetime(given.year, given.month, given.day)
        case str():
            try:
                moment = datetime.fromisoformat(given)
            except ValueError as error:
                raise UsageError("This is no time.", expected="2024-02-24 or 2024-02-24T05:57", found=given) from error
        case _:
            raise UsageError("This is no time.", expected="a date, a datetime or text", found=repr(given))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def properties_of(text: str) -> dict[str, Any]:
    """Properties that somebody wrote.

    Args:
        text: ``field: north, farm: 3``, as YAML has it between braces.

    Raises:
        UsageError: If it is nothing like that.
    """
    try:
        value = yaml.safe_load("{" + text.strip().removeprefix("{").removesuffix("}") + "}")
    except yaml.YAMLError as error:
        raise UsageError("These are no properties.", expected="field: north, farm: 3", found=repr(text)) from error
    return {str(key): item for key, item in value.items()}


def text_of(properties: Mapping[str, Any]) -> str:
    """Properties as somebody would write them.

    Args:
        properties: Of a request.
    """
    if not properties:
        return ""
    text: str = yaml.safe_dump(dict(properties), default_flow_style=True, width=math.inf, sort_keys=False)
    return text.strip().removeprefix("{").removesuffix("}")


def request_of(
    features: Sequence[Mapping[str, Any]],
    *,
    start: datetime | None,
    end: datetime | None,
    properties: Mapping[str, Any],
) -> PredictionRequestCollection:
    """A request of features.

    Args:
        features: GeoJSON features, see :func:`as_feature`.
        start: Of the time range.
        end: The same.
        properties: Of all features; a feature's own come first.

    Raises:
        UsageError: If something is missing, or the time range ends before it starts.
    """
    if not features:
        raise UsageError("There is nothing to request yet.", fix="Draw a polygon or a point on the map.")
    if start is None or end is None:
        raise UsageError("The request has no time range.", expected="a start and an end")
    if start > end:
        raise UsageError("The time range ends before it starts.", found=f"{start.isoformat()} to {end.isoformat()}")
    times = dict(zip(_TIMES, (start.isoformat(), end.isoformat()), strict=True))
    raw = {"type": "FeatureCollection", "features": [_placed(feature, properties, times) for feature in features]}
    try:
        return TypeAdapter(PredictionRequestCollection).validate_python(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise UsageError(f"The request would not be valid: {place}: {first['msg']}.") from error


def _placed(feature: Mapping[str, Any], properties: Mapping[str, Any], times: Mapping[str, str]) -> dict[str, Any]:
    try:
        # Somebody who drew on a map that goes around the globe is beyond 180°.
        geometry = mapping(normalise_lonlat(shape_in(feature), "the drawing"))
    except InputFileError as error:
        raise UsageError(error.what, expected=error.expected, found=error.found, fix=error.fix) from error
    return {
        "type": "Feature",
        "id": None,
        "bbox": None,
        "geometry": geometry,
        "properties": {**properties, **feature["properties"], **times},
    }
