"""Areas of annotation tasks that are made of features: squares, envelopes, groups, or shapes of their own.

Squares and envelopes are whole pixels of the UTM/UPS zone that window preparers choose, so that a window over such a
task has exactly those pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
import shapely
from rslearn.utils.geometry import Projection, STGeometry
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import GeometryError, InputFileError
from olmoearth_nb.geometry import utm_projection_for, wgs84_outlines
from olmoearth_nb.globe import WGS84_PROJECTION, Shapes, centroids, project_all, shape_array
from olmoearth_nb.labels.shapes import repaired
from olmoearth_nb.lonlat import normalise_lonlat
from olmoearth_nb.types import shape_of

__all__ = ["TaskArea", "drawn_areas", "envelopes", "group_envelopes", "squares"]

LabelT = TypeVar("LabelT", int, str)

Boxes: TypeAlias = npt.NDArray[np.float64]
"""Shape (N, 4): x0, y0, x1, y1 in pixels."""

# Twice as they are, in the zone of the shape and in that of the area; then a pixel aside.
_STEPS = ((0, 0), (0, 0), (1, 0), (-1, 0), (0, 1), (0, -1))

# A side that lies on a pixel's edge must not gain a pixel by the last bits of a projection: a millionth of a pixel.
_DIGITS = 6
# Distinguishes shapes that are a tenth of a millimetre apart, and none that differ in the last bits only.
_KEY_DIGITS = 9


@dataclass(frozen=True, kw_only=True)
class TaskArea:
    """Area of a task.

    Attributes:
        key: What makes the task: the same text for the same task, on every machine.
        shp: Polygon or MultiPolygon in degrees, cut at the antimeridian.
    """

    key: str
    shp: BaseGeometry


def squares(
    shapes: Sequence[BaseGeometry | None], *, size: int, resolution: float, where: str
) -> list[TaskArea | None]:
    """A square of whole pixels around the centroid of each shape.

    Args:
        shapes: Geometries in degrees, row by row; None for a row that is not used.
        size: Width and height in pixels.
        resolution: Metres per pixel.
        where: The source, for errors.

    Returns:
        Areas, one a row; the centroid is in the middle pixel (of an even size: within half a pixel of the middle),
        except that a square on the border of two zones may lie one pixel aside.

    Raises:
        InputFileError: If a shape can't be projected.
    """

    def around_centroid(projected: Shapes, step: tuple[int, int]) -> Boxes:
        low = np.floor(centroids(projected) - size / 2 + 0.5) + step
        return np.hstack([low, low + size])

    areas = _pixel_areas(_rows(shapes), around_centroid, resolution, f"{where}, row")
    return [areas.get(row) for row in range(len(shapes))]


def envelopes(shapes: Sequence[BaseGeometry | None], *, resolution: float, where: str) -> list[TaskArea | None]:
    """The pixels that the bounding box of each shape touches, at least one.

    Args:
        shapes: Geometries in degrees, row by row; None for a row that is not used.
        resolution: Metres per pixel.
        where: The source, for errors.

    Raises:
        InputFileError: If a shape can't be projected.
    """
    areas = _pixel_areas(_rows(shapes), _touched, resolution, f"{where}, row")
    return [areas.get(row) for row in range(len(shapes))]


def group_envelopes(
    shapes: Sequence[BaseGeometry | None], groups: Sequence[str | None], *, resolution: float, where: str
) -> list[TaskArea | None]:
    """The pixels that the bounding box of all shapes of a group touches, as the area of each of them.

    Args:
        shapes: Geometries in degrees, row by row; None for a row that is not used.
        groups: Group of each row; None for one without.
        resolution: Metres per pixel.
        where: The source, for errors.

    Returns:
        Areas, one a row; None where the group or the shape is None.

    Raises:
        InputFileError: If the shapes of a group lie too far apart for one projection.
    """
    members: dict[str, list[BaseGeometry]] = {}
    for shp, group in zip(shapes, groups, strict=True):
        if shp is not None and group is not None:
            members.setdefault(group, []).append(shp)
    together = {group: shapely.GeometryCollection(parts) for group, parts in members.items()}
    areas = _pixel_areas(together, _touched, resolution, f"{where}, task")
    named = {group: TaskArea(key=f"{group} {area.key}", shp=area.shp) for group, area in areas.items()}
    return [None if shp is None or group is None else named[group] for shp, group in zip(shapes, groups, strict=True)]


def drawn_areas(shapes: Sequence[BaseGeometry | None], *, where: str) -> list[TaskArea | None]:
    """Areas that somebody has drawn.

    Args:
        shapes: Polygons in degrees, row by row; None or empty for a row without a task.
        where: The source, for errors.

    Raises:
        InputFileError: If a shape is not a polygon or has no area.
    """
    areas: list[TaskArea | None] = []
    for row, shp in enumerate(shapes):
        if shp is None or shp.is_empty:
            areas.append(None)
            continue
        place = f"{where}, row {row}"
        if shp.geom_type not in ("Polygon", "MultiPolygon"):
            raise InputFileError(
                "The area of a task is not a polygon.",
                where=place,
                expected="a Polygon or MultiPolygon",
                found=f"a {shp.geom_type}",
            )
        fixed = repaired(normalise_lonlat(shapely.force_2d(shp), place), where=place)
        areas.append(TaskArea(key=shapely.to_wkt(fixed, rounding_precision=_KEY_DIGITS), shp=fixed))
    return areas


def _rows(shapes: Sequence[BaseGeometry | None]) -> dict[int, BaseGeometry]:
    return {row: shp for row, shp in enumerate(shapes) if shp is not None}


def _touched(projected: Shapes, step: tuple[int, int]) -> Boxes:
    bounds = shapely.bounds(projected).round(_DIGITS)
    low = np.floor(bounds[:, :2])
    high = np.maximum(np.ceil(bounds[:, 2:]), low + 1)
    # Two pixels more on one side move the centre by one and leave nothing out.
    return np.hstack([low + 2 * np.minimum(step, 0), high + 2 * np.maximum(step, 0)])


def _pixel_areas(
    shapes: Mapping[LabelT, BaseGeometry],
    boxes_of: Callable[..., Boxes],
    resolution: float,
    where: str,
) -> dict[LabelT, TaskArea]:
    """Areas of whole pixels by the label of their shape, each in the zone of its own centroid.

    That is the zone that a window preparer takes. Near a border it can be another than that of the shape's centroid,
    and on a border the pixels of either zone can have their centre in the other: then a step aside decides.
    """

    def zone_of(shp: BaseGeometry) -> Projection:
        return utm_projection_for(shp, resolution, -resolution)

    areas: dict[LabelT, TaskArea] = {}
    pending = {label: zone_of(shp) for label, shp in shapes.items()}
    for turn, step in enumerate(_STEPS):
        areas |= _areas_in(pending, shapes, functools.partial(boxes_of, step=step), where)
        found = {label: zone_of(areas[label].shp) for label in pending}
        pending = {
            label: found[label] if turn == 0 else zone
            for label, zone in pending.items()
            if found[label].crs != zone.crs
        }
    return areas


def _areas_in(
    projections: Mapping[LabelT, Projection],
    shapes: Mapping[LabelT, BaseGeometry],
    boxes_of: Callable[[Shapes], Boxes],
    where: str,
) -> dict[LabelT, TaskArea]:
    """The same in given projections, a zone at a time."""
    zones: dict[str, tuple[Projection, list[LabelT]]] = {}
    for label, projection in projections.items():
        zones.setdefault(projection.crs.to_string(), (projection, []))[1].append(label)
    areas: dict[LabelT, TaskArea] = {}
    for crs, (projection, labels) in zones.items():
        boxes = boxes_of(shape_array(_in_pixels(labels, shapes, projection, where)))
        for label, box, outline in zip(labels, boxes, wgs84_outlines(projection, boxes), strict=True):
            sides = ",".join(str(int(side)) for side in box)
            key = f"{crs} {projection.x_resolution} {sides}"
            areas[label] = TaskArea(key=key, shp=normalise_lonlat(outline, f"{where} {label!r}"))
    return areas


def _in_pixels(
    labels: Sequence[LabelT], shapes: Mapping[LabelT, BaseGeometry], projection: Projection, where: str
) -> list[BaseGeometry]:
    geometries = [STGeometry(WGS84_PROJECTION, shapes[label], None) for label in labels]
    try:
        return [shape_of(geometry) for geometry in project_all(geometries, [projection] * len(labels))]
    except GeometryError as error:
        if len(labels) > 1:  # one after the other, to find the one that it is
            return [_in_pixels([label], shapes, projection, where)[0] for label in labels]
        raise InputFileError(
            "The area is too large for one projection.",
            where=f"{where} {labels[0]!r}",
            expected="features within some hundred kilometres",
            fix="Divide it into several tasks.",
        ) from error
