"""From a request to partitions and windows: what a prediction will do, nothing written.

Partitions and windows that don't touch the request are left out. A window that several partitions cover belongs to
the first of them and is listed by the others, so that it is computed once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import shapely
from rslearn.utils.geometry import Projection, STGeometry

from olmoearth_nb.errors import GeometryError, InputFileError
from olmoearth_nb.geojson import PredictionRequestCollection
from olmoearth_nb.geometry import Shapes, footprints_touching, shape_array, valid_shapes
from olmoearth_nb.many import distinct
from olmoearth_nb.partitioner_base import features_of, has_geometry
from olmoearth_nb.planning.calls import at_most, limit_of, partitions_from, windows_from
from olmoearth_nb.planning.windows import Candidates, Sifted, WindowFilter, sift
from olmoearth_nb.protocols import Partitioner
from olmoearth_nb.tables import html_table
from olmoearth_nb.types import TimeRange, WindowSpec, shape_of

__all__ = ["Partition", "Plan", "PlanCounts", "WindowFilter", "plan", "window_name", "window_names"]

Listing: TypeAlias = dict[int, list[int]]
"""Window -> the candidates that are this window."""

_ROWS_SHOWN = 20


@dataclass(frozen=True, kw_only=True, repr=False)
class Partition:
    """A part of a request: one unit of work, one group of windows.

    Attributes:
        partition_id: ``partition_{i}``, i the index in the partitioner's list.
        request: Its features, in WGS84.
        windows: Windows that it covers, in order; those of another group are shared with the partition that owns them.
    """

    partition_id: str
    request: PredictionRequestCollection
    windows: tuple[WindowSpec, ...]

    def __repr__(self) -> str:
        return f"Partition({self.partition_id}, {len(self.request.features)} features, {len(self.windows)} windows)"

    @property
    def group(self) -> str:
        """Window group (of rslearn) of the windows that this partition owns."""
        return _group(self.partition_id)

    @property
    def owned(self) -> tuple[WindowSpec, ...]:
        """Windows that this partition makes."""
        return tuple(spec for spec in self.windows if spec.group == self.group)


@dataclass(frozen=True, kw_only=True)
class PlanCounts:
    """What was looked at and what became of it.

    ``candidates`` is the sum of what follows it.

    Attributes:
        partitions_made: Partitions that the partitioner made.
        partitions_beside_request: Of these, left out because they don't touch the request.
        partitions_without_windows: Of these, left out because none of their windows is left.
        candidates: Windows that the partitioner made, each as often as it did.
        empty: Left out because they have no extent.
        beside_request: Left out because they don't touch the request.
        masked: Left out because the mask has nothing valid there.
        over_limit: Left out because the partition has its ``limit`` of windows.
        merged: Further features of a partition in a window that it has already.
        shared: Windows of an earlier partition that a later one covers too.
        windows: Distinct windows that are left.
    """

    partitions_made: int
    partitions_beside_request: int = 0
    partitions_without_windows: int = 0
    candidates: int = 0
    empty: int = 0
    beside_request: int = 0
    masked: int = 0
    over_limit: int = 0
    merged: int = 0
    shared: int = 0
    windows: int = 0

    def __str__(self) -> str:
        left_out = {
            "partitions beside the request": self.partitions_beside_request,
            "partitions without windows": self.partitions_without_windows,
            "windows without extent": self.empty,
            "windows beside the request": self.beside_request,
            "windows outside the mask": self.masked,
            "windows over the limit": self.over_limit,
        }
        text = ", ".join(f"{count:,} {what}" for what, count in left_out.items() if count)
        made = f"{self.partitions_made:,} partitions and {self.candidates:,} windows looked at"
        return f"{made}; left out: {text}" if text else made


@dataclass(frozen=True, kw_only=True, repr=False)
class Plan:
    """Partitions and windows of a request.

    Attributes:
        partitions: In the order of the partitioner.
        counts: What was looked at and what was left out.
    """

    partitions: tuple[Partition, ...]
    counts: PlanCounts

    @property
    def partition_ids(self) -> list[str]:
        """Ids of the partitions, in order."""
        return [partition.partition_id for partition in self.partitions]

    @property
    def windows(self) -> tuple[WindowSpec, ...]:
        """Distinct windows, each as its owner lists it."""
        return tuple(spec for partition in self.partitions for spec in partition.owned)

    def __repr__(self) -> str:
        return f"Plan({len(self.partitions):,} partitions, {self.counts.windows:,} windows; {self.counts})"

    def _repr_html_(self) -> str:
        rows: list[tuple[object, ...]] = [
            (one.partition_id, len(one.request.features), len(owned), len(one.windows) - len(owned))
            for one in self.partitions[:_ROWS_SHOWN]
            for owned in [one.owned]
        ]
        if len(self.partitions) > _ROWS_SHOWN:
            rows.append((f"… {len(self.partitions) - _ROWS_SHOWN:,} more", "", "", ""))
        return html_table(("partition", "features", "windows", "shared with earlier"), rows, caption=repr(self))


def plan(
    request: PredictionRequestCollection,
    to_partitions: Partitioner,
    to_windows: Partitioner,
    *,
    accept: WindowFilter | None = None,
    max_partitions: int | None = None,
    max_windows: int | None = None,
) -> Plan:
    """Plans a prediction.

    Args:
        request: Features in WGS84, with times.
        to_partitions: Splits the request.
        to_windows: Splits a partition; a ``limit`` of it counts the windows that are left.
        accept: Which windows to make, from a mask, say; asked once, for the distinct windows.
        max_partitions: Refuse to make more, before they are made where the partitioner allows it.
        max_windows: The same for windows, counted as the partitioner makes them.

    Returns:
        The partitions with their windows.

    Raises:
        GeometryError: If nothing is left, saying why, there are too many, or a feature can't be projected.
        InputFileError: If a feature has no times or is off the globe.
        UnsupportedError: If a partitioner is used for what it does not do.
        ProjectError: If a partitioner of one's own fails or gives something else.
    """
    area = _area(request)
    to_partitions, to_windows = at_most(to_partitions, max_partitions), at_most(to_windows, max_windows)
    made = partitions_from(to_partitions, request)
    if max_partitions is not None and len(made) > max_partitions:
        raise GeometryError(
            f"The request gives more than {max_partitions:,} partitions.",
            found=f"{len(made):,}",
            fix="Make partitions larger (partition_request_geometry), or split the request.",
        )
    parts = _touching(made, request, area)
    counts = PlanCounts(partitions_made=len(made), partitions_beside_request=len(made) - len(parts))
    if not parts:
        raise _nothing_left("partition", counts, to_partitions)
    candidates = Candidates() if max_windows is None else Candidates(max_windows)
    for index in parts:
        parts[index], windows = windows_from(to_windows, parts[index], _partition_id(index))
        candidates.add(index, windows)
    sifted = sift(candidates, area, accept)
    listings, over_limit = _listings(candidates, sifted, limit_of(to_windows))
    partitions = _partitions(parts, listings, candidates, sifted)
    listed = sum(len(one.windows) for one in partitions)
    windows_left = sum(len(one.owned) for one in partitions)
    counts = replace(
        counts,
        partitions_without_windows=len(parts) - len(partitions),
        candidates=len(candidates.geometry),
        empty=sifted.empty,
        beside_request=sifted.beside_request,
        masked=sifted.masked,
        over_limit=over_limit,
        merged=len(sifted.candidates) - over_limit - listed,
        shared=listed - windows_left,
        windows=windows_left,
    )
    if not partitions:
        raise _nothing_left("window", counts, to_windows)
    return Plan(partitions=partitions, counts=counts)


def window_name(partition_id: str, geometry: STGeometry) -> str:
    """Name of a window: the partition that owns it and a hash of its extent, so that a second run has the same.

    Args:
        partition_id: ``partition_{i}``.
        geometry: Extent in pixels, as the partitioner gave it.
    """
    return window_names([partition_id], [geometry])[0]


def window_names(partition_ids: Sequence[str], geometries: Sequence[STGeometry]) -> list[str]:
    """Names of many windows, see :func:`window_name`.

    Args:
        partition_ids: One for each.
        geometries: Their extents.
    """
    shapes = shapely.to_wkt(shape_array([shape_of(one) for one in geometries]), rounding_precision=-1)
    # The JSON of ``STGeometry.serialize()`` with sorted keys, put together of parts that most windows share. By text:
    # equal ones may be written in several ways (10 and 10.0, 12:00+00:00 and 14:00+02:00).
    projections, projection_of = distinct([one.projection for one in geometries], _projection_text)
    times, time_of = distinct([one.time_range for one in geometries], _time_text)
    starts = [f'{{"projection": {_projection_text(one)}, "shp": "' for one in projections]
    ends = [f'", "time_range": {_time_text(one)}}}' for one in times]
    return [
        f"{partition_id}_{hashlib.sha256(f'{starts[p]}{shape}{ends[t]}'.encode()).hexdigest()[:20]}"
        for partition_id, shape, p, t in zip(partition_ids, shapes, projection_of, time_of, strict=True)
    ]


def _projection_text(projection: Projection) -> str:
    return json.dumps(projection.serialize(), sort_keys=True)


def _time_text(time_range: TimeRange | None) -> str:
    return json.dumps(None if time_range is None else [time.isoformat() for time in time_range])


def _partition_id(index: int) -> str:
    return f"partition_{index}"


def _group(partition_id: str) -> str:
    return f"group_{partition_id}"


def _area(request: PredictionRequestCollection) -> Shapes:
    """Geometries of the request, valid."""
    shapes = []
    for label, feature, shp in features_of(request):
        if feature.properties is None:
            raise InputFileError("The feature has no times.", where=label, expected="oe_start_time and oe_end_time")
        shapes.append(shp)
    if not shapes:
        raise GeometryError(
            "The request has nothing to predict for.",
            expected="at least one feature with a geometry",
            found=f"{len(request.features)} features, none with a geometry" if request.features else "no features",
        )
    return valid_shapes(shape_array(shapes))


def _touching(
    made: Mapping[int, PredictionRequestCollection], request: PredictionRequestCollection, area: Shapes
) -> dict[int, PredictionRequestCollection]:
    """Partitions with a feature that touches the request; a feature of the request itself does."""
    own = {id(feature) for feature in request.features if has_geometry(feature)}
    touching = {index for index, part in made.items() if any(id(feature) in own for feature in part.features)}
    others = [(index, shp) for index, part in made.items() if index not in touching for _, _, shp in features_of(part)]
    hits = footprints_touching(shape_array([shp for _, shp in others]), area)
    touching.update(index for (index, _), hit in zip(others, hits, strict=True) if hit)
    return {index: part for index, part in made.items() if index in touching}


def _listings(candidates: Candidates, sifted: Sifted, limit: int | None) -> tuple[dict[int, Listing], int]:
    """For each partition its windows in order, each with its candidates; and how many went over the limit."""
    listings: dict[int, Listing] = {}
    over = 0
    for candidate, window in zip(sifted.candidates, sifted.window, strict=True):
        listing = listings.setdefault(candidates.partition[candidate], {})
        if window in listing:
            listing[window].append(candidate)
        elif limit is None or len(listing) < limit:
            listing[window] = [candidate]
        else:
            over += 1
    return listings, over


def _partitions(
    parts: Mapping[int, PredictionRequestCollection],
    listings: Mapping[int, Listing],
    candidates: Candidates,
    sifted: Sifted,
) -> tuple[Partition, ...]:
    owners: dict[int, tuple[int, int]] = {}
    for index, listing in listings.items():
        for window, members in listing.items():
            owners.setdefault(window, (index, members[0]))
    names = window_names(
        [_partition_id(index) for index, _ in owners.values()],
        [candidates.geometry[member] for _, member in owners.values()],
    )
    name_of = dict(zip(owners, names, strict=True))
    partitions = []
    for index, listing in listings.items():
        partition_id = _partition_id(index)
        specs = []
        for window, members in listing.items():
            name, group = name_of[window], _group(_partition_id(owners[window][0]))
            projection, time_range, bounds = sifted.extents[window]
            features = tuple(dict.fromkeys(candidates.feature[member] for member in members))
            specs.append(
                WindowSpec(
                    name=name,
                    group=group,
                    projection=projection,
                    bounds=bounds,
                    time_range=time_range,
                    features=features,
                )
            )
        partitions.append(Partition(partition_id=partition_id, request=parts[index], windows=tuple(specs)))
    return tuple(partitions)


def _nothing_left(what: str, counts: PlanCounts, partitioner: Partitioner) -> GeometryError:
    return GeometryError(
        f"The request gives no {what}.",
        where=type(partitioner).__name__,
        expected=f"at least one {what} that touches the request" + (" and the mask" if counts.masked else ""),
        found=str(counts),
        fix="Check the request's coordinates (longitude first), the partitioners of olmoearth_run.yaml"
        + (" and the mask." if counts.masked else "."),
    )
