"""What a stage did to features: dropped (and why), added, moved or simplified, with other properties."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from scipy.spatial import cKDTree
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.geojson import PredictionResultCollection, PredictionResultFeature, feature_shape
from olmoearth_nb.postprocess.changes import Changes, changes_frame
from olmoearth_nb.postprocess.duplicates import originals_of
from olmoearth_nb.postprocess.vector import CombineAndDeduplicateGeojson, SimplifyPolygons

__all__ = ["COLUMNS", "feature_changes"]

COLUMNS = (
    "change",
    "reason",
    "before",
    "after",
    "source",
    "duplicate_of",
    "duplicate_source",
    "iou",
    "distance",
    "vertices_before",
    "vertices_after",
    "properties",
)
"""Columns of the table.

``before``, ``after`` and ``duplicate_of`` are indices of features, in the inputs one after the other and in the result;
``source`` is the window or partition that a feature comes from; distances are in degrees.
"""

# How many of the nearest features may be the one that another came from.
_NEAREST = 8
_MOST_PAIRS = 1_000_000

Indices: TypeAlias = npt.NDArray[np.intp]


def feature_changes(
    before: Mapping[str, PredictionResultCollection],
    after: PredictionResultCollection,
    *,
    component: object,
    unmasked: PredictionResultCollection | None = None,
) -> Changes:
    """Compares the inputs of a stage with what it made of them.

    A feature of the result came from the one with the same geometry and properties; failing that, from one with the
    same geometry; failing that, from the nearest one whose properties it has, others apart.

    Args:
        before: Collections by the name of where they come from, in order.
        after: The result.
        component: The postprocessor, asked why it drops what it drops.
        unmasked: The same result without the mask that the stage was given, or None.
    """
    old = _Features([feature for one in before.values() for feature in one.features])
    new = _Features(after.features)
    sources = [name for name, one in before.items() for _ in one.features]
    partner = _partners(old, new)
    beside = None if unmasked is None else _partners(old, _Features(unmasked.features))
    rows = [*_dropped(old, partner, sources, component, beside), *_others(old, new, partner, sources)]
    counts = Counter(str(row["change"]) for row in rows)
    reasons = Counter(str(row["reason"]) for row in rows if row["change"] == "dropped")
    named: dict[str, int] = {
        "features before": len(old.features),
        "features after": len(new.features),
        "unchanged": len(new.features) - sum(count for name, count in counts.items() if name != "dropped"),
        "dropped": counts["dropped"],
        **{f"dropped: {reason}": count for reason, count in sorted(reasons.items())},
        "added": counts["added"],
        "geometry changed": counts["geometry"] + counts["geometry and properties"],
        "properties changed": counts["properties"] + counts["geometry and properties"],
        "vertices before": int(old.vertices.sum()),
        "vertices after": int(new.vertices.sum()),
    }
    return Changes(table=changes_frame(rows, COLUMNS), counts=named)


class _Features:
    """Features with what they are compared by."""

    def __init__(self, features: Sequence[PredictionResultFeature]) -> None:
        self.features = features
        shapes = [None if one.geometry is None else feature_shape(one) for one in features]
        self.shapes = np.empty(len(features), dtype=object)
        self.shapes[:] = shapes
        self.wkb: list[Hashable] = shapely.to_wkb(self.shapes).tolist()
        self.vertices = shapely.get_num_coordinates(self.shapes)
        self.properties = [one.properties.model_dump(mode="json") if one.properties else {} for one in features]
        self.texts = [repr(sorted(one.items(), key=lambda item: item[0])) for one in self.properties]


def _partners(old: _Features, new: _Features) -> Indices:
    """For each feature of the result, the index of the one that it came from, or -1."""
    partner = np.full(len(new.features), -1, dtype=np.intp)
    free = np.ones(len(old.features), dtype=bool)
    keys: tuple[Callable[[_Features, int], Hashable], ...] = (
        lambda them, index: (them.wkb[index], them.texts[index]),
        lambda them, index: them.wkb[index],
    )
    for key in keys:
        waiting: defaultdict[Hashable, deque[int]] = defaultdict(deque)
        for index in np.flatnonzero(free).tolist():
            waiting[key(old, index)].append(index)
        for index in np.flatnonzero(partner < 0).tolist():
            found = waiting.get(key(new, index))
            if found:
                partner[index] = found.popleft()
                free[partner[index]] = False
    _pair_nearest(old, new, partner, free)
    _pair_in_order(old, new, partner, free)
    return partner


def _pair_nearest(old: _Features, new: _Features, partner: Indices, free: npt.NDArray[np.bool_]) -> None:
    left = np.flatnonzero(free & ~shapely.is_missing(old.shapes) & ~shapely.is_empty(old.shapes))
    todo = np.flatnonzero((partner < 0) & ~shapely.is_missing(new.shapes) & ~shapely.is_empty(new.shapes))
    if not len(left) or not len(todo):
        return
    middles = [shapely.get_coordinates(shapely.centroid(shapes)) for shapes in (old.shapes[left], new.shapes[todo])]
    tree = cKDTree(middles[0])
    _, nearest = tree.query(middles[1], k=min(_NEAREST, len(left)))
    for index, near in zip(todo.tolist(), nearest.reshape(len(todo), -1), strict=True):
        candidates = [candidate for candidate in left[near].tolist() if free[candidate]]
        known = (candidate for candidate in candidates if _has(new.properties[index], old.properties[candidate]))
        touching = (one for one in candidates if new.shapes[index].intersects(old.shapes[one]))
        found = next(known, None)
        found = next(touching, None) if found is None else found
        if found is not None:
            partner[index] = found
            free[found] = False


def _pair_in_order(old: _Features, new: _Features, partner: Indices, free: npt.NDArray[np.bool_]) -> None:
    """What is left got its place from elsewhere, from a request's area say."""
    todo = np.flatnonzero(partner < 0).tolist()
    if len(todo) * int(free.sum()) > _MOST_PAIRS:
        return
    for index in todo:
        left = np.flatnonzero(free).tolist()
        found = next((one for one in left if _has(new.properties[index], old.properties[one])), None)
        if found is not None:
            partner[index] = found
            free[found] = False


def _has(properties: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    return all(properties.get(key) == value for key, value in others.items() if value is not None)


# ---- rows ------------------------------------------------------------------------------------------------------------


def _dropped(
    old: _Features, partner: Indices, sources: Sequence[str], component: object, unmasked: Indices | None
) -> list[dict[str, Any]]:
    kept = np.zeros(len(old.features), dtype=bool)
    kept[partner[partner >= 0]] = True
    beside = set() if unmasked is None else set(unmasked[unmasked >= 0].tolist())
    after_of = {index: position for position, index in enumerate(partner.tolist()) if index >= 0}
    gone = np.flatnonzero(~kept).tolist()
    located = np.flatnonzero(~shapely.is_missing(old.shapes))
    originals = {}
    if isinstance(component, CombineAndDeduplicateGeojson) and gone:
        found = originals_of(
            old.shapes[located].tolist(),
            kept[located],
            min_iou=component.min_iou,
            point_nearness=component.point_nearness,
        )
        originals = {int(located[index]): (int(located[one.index]), one) for index, one in found.items()}
    rows = []
    for index in gone:
        row = _row("dropped", old.shapes[index], before=index, source=sources[index])
        row["vertices_before"] = int(old.vertices[index])
        if index in beside:
            row["reason"] = "outside of the mask"
        elif index in originals:
            first, original = originals[index]
            row |= {"reason": "duplicate", "duplicate_of": first, "iou": original.iou, "distance": original.distance}
            row |= {"after": after_of[first], "duplicate_source": sources[first]}
        else:
            row["reason"] = _reason(old.shapes[index], component)
        rows.append(row)
    return rows


def _reason(shape: BaseGeometry | None, component: object) -> str:
    if shape is None:
        return "without geometry"
    if isinstance(component, SimplifyPolygons):
        return "simplified away"
    return f"by {type(component).__name__}"


def _others(old: _Features, new: _Features, partner: Indices, sources: Sequence[str]) -> list[dict[str, Any]]:
    rows = []
    for index, before in enumerate(partner.tolist()):
        shape = new.shapes[index]
        if before < 0:
            rows.append(_row("added", shape, after=index) | {"vertices_after": int(new.vertices[index])})
            continue
        moved = new.wkb[index] != old.wkb[before]
        differs = new.texts[index] != old.texts[before]
        if moved or differs:
            kind = " and ".join(name for name, there in (("geometry", moved), ("properties", differs)) if there)
            row = _row(kind, shape, before=before, after=index, source=sources[before])
            row |= {"vertices_before": int(old.vertices[before]), "vertices_after": int(new.vertices[index])}
            row["properties"] = _differences(old.properties[before], new.properties[index])
            rows.append(row)
    return rows


def _row(change: str, shape: BaseGeometry | None, **cells: Any) -> dict[str, Any]:
    return {"change": change, "geometry": shape, **cells}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    changed = (key for key in dict.fromkeys((*old, *new)) if old.get(key) != new.get(key))
    return "; ".join(_difference(key, old, new) for key in changed)


def _difference(key: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    if old.get(key) is None:
        return f"+ {key}: {new[key]}"
    return f"- {key}" if new.get(key) is None else f"{key}: {old[key]} → {new[key]}"
