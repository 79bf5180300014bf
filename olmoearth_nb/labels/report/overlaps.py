"""The same place labelled twice: alike, or as two things at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely

from olmoearth_nb.labels.report.bounds import MOST_PAIRS, SLIVER_PIXELS
from olmoearth_nb.labels.report.facts import LabelFacts
from olmoearth_nb.labels.report.findings import LabelFinding, percent, plural
from olmoearth_nb.legend import ClassLegend, RangeLegend

__all__ = ["Pairs", "check_overlaps", "overlapping_pairs"]

Indices = npt.NDArray[np.int64]
# Polygons that ask the index at once.
_CHUNK = 256


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Annotations that share ground at the same time, two by two.

    Attributes:
        first: Row of one, the smaller number.
        second: Row of the other.
        pixels: Area that they share, in pixels.
        complete: Whether these are all.
    """

    first: Indices
    second: Indices
    pixels: npt.NDArray[np.float64]
    complete: bool = True


def check_overlaps(facts: LabelFacts, fields: Mapping[str, ClassLegend | RangeLegend | None]) -> Iterator[LabelFinding]:
    """Duplicates, overlaps and conflicts.

    Args:
        facts: What is labelled.
        fields: What the legend says of each label.
    """
    doubles = _duplicates(facts)
    yield _duplicates_finding(facts, doubles)
    pairs = overlapping_pairs(facts, leave_out=doubles)
    differ = _differ(facts, pairs, fields)
    yield _overlaps_finding(facts, pairs, differ)
    yield _conflicts_finding(facts, pairs, differ)


# ---- duplicates --------------------------------------------------------------------------------------------------


def _duplicates(facts: LabelFacts) -> Indices:
    """Annotations that an earlier one equals in geometry, time and labels."""
    table = facts.values.copy(deep=False)
    table = pd.DataFrame(table.to_numpy(), columns=range(table.shape[1]))
    table["geometry"] = shapely.to_wkb(shapely.normalize(facts.shapes))
    table[["start", "end"]] = facts.seconds
    return np.flatnonzero(table.duplicated().to_numpy())


def _duplicates_finding(facts: LabelFacts, doubles: Indices) -> LabelFinding:
    count, share = len(doubles), len(doubles) / max(len(facts.annotations), 1)
    return LabelFinding(
        code="duplicates",
        check="duplicates",
        verdict="look" if count else "good",
        found=f"{plural(count, 'annotation')} ({percent(share)}) repeat another: the same geometry, time and labels."
        if count
        else "No annotation is there twice.",
        advice="Remove the copies: they count twice, and one may come to train while the other tests." * bool(count),
        numbers={"duplicates": count},
        where=facts.frame(doubles) if count else None,
    )


# ---- pairs -------------------------------------------------------------------------------------------------------


def overlapping_pairs(facts: LabelFacts, *, leave_out: Indices | None = None) -> Pairs:
    """Pairs of annotations that share ground at overlapping times.

    Polygons share ground if they overlap by at least a pixel and not only in a sliver along a border; points and
    polygons if the point lies inside; points if they lie in the same pixel of their UTM/UPS zone.

    Args:
        facts: What is labelled.
        leave_out: Rows not to look at.
    """
    kept = np.setdiff1d(np.arange(len(facts.annotations)), [] if leave_out is None else leave_out)
    kinds = shapely.get_dimensions(facts.shapes)
    areas, points = kept[kinds[kept] == 2], kept[shapely.get_type_id(facts.shapes[kept]) == 0]
    found = [_polygon_pairs(facts, areas), _points_in_polygons(facts, points, areas), _points_together(facts, points)]
    first, second = (np.concatenate([getattr(one, name) for one in found]) for name in ("first", "second"))
    pixels = np.concatenate([one.pixels for one in found])
    together = _same_time(facts, first, second)
    first, second, pixels = first[together], second[together], pixels[together]
    order = np.lexsort((second, first))
    complete = all(one.complete for one in found)
    return Pairs(first=first[order], second=second[order], pixels=pixels[order], complete=complete)


def _polygon_pairs(facts: LabelFacts, rows: Indices) -> Pairs:
    shapes = facts.equal_area[rows]
    tree = shapely.STRtree(shapes)
    pixel = facts.resolution**2
    first, second, pixels, seen, complete = [], [], [], 0, True
    for start in range(0, len(rows), _CHUNK):
        asking, hit = tree.query(shapes[start : start + _CHUNK], predicate="intersects")
        asking = asking + start
        asking, hit = asking[asking < hit], hit[asking < hit]
        shared = shapely.intersection(shapes[asking], shapes[hit])
        area = shapely.area(shared)
        width = 2 * area / np.maximum(shapely.length(shared), 1e-9)
        real = (area >= pixel * (1 - 1e-9)) & (width >= SLIVER_PIXELS * facts.resolution)
        first.append(rows[asking[real]])
        second.append(rows[hit[real]])
        pixels.append(area[real] / pixel)
        seen += len(asking)
        if seen > MOST_PAIRS:
            complete = False
            break
    return _sorted_pairs(_joined(first), _joined(second), np.concatenate([np.zeros(0), *pixels]), complete=complete)


def _points_in_polygons(facts: LabelFacts, points: Indices, areas: Indices) -> Pairs:
    if not len(points) or not len(areas):
        return _sorted_pairs(_joined([]), _joined([]), np.zeros(0))
    asking, hit = shapely.STRtree(facts.shapes[areas]).query(facts.shapes[points], predicate="within")
    return _sorted_pairs(points[asking], areas[hit], np.ones(len(hit)))


def _points_together(facts: LabelFacts, points: Indices) -> Pairs:
    """Points in the same pixel: each with the first one there, and with the next."""
    if not len(points):
        return _sorted_pairs(_joined([]), _joined([]), np.zeros(0))
    xy = np.floor(shapely.get_coordinates(facts.pixels[points])).astype(np.int64)
    zones = [id(facts.projections[row]) for row in points]
    table = pd.DataFrame({"zone": zones, "x": xy[:, 0], "y": xy[:, 1], "row": points})
    groups = table.groupby(["zone", "x", "y"], sort=False)["row"]
    first, before = groups.transform("first").to_numpy(), groups.shift(1).to_numpy()
    later = ~np.isnan(before)
    pairs = np.unique(
        np.vstack(
            [
                np.column_stack([first[later], points[later]]),
                np.column_stack([before[later].astype(np.int64), points[later]]),
            ]
        ),
        axis=0,
    )
    return _sorted_pairs(pairs[:, 0], pairs[:, 1], np.ones(len(pairs)))


def _sorted_pairs(first: Indices, second: Indices, pixels: npt.NDArray[np.float64], *, complete: bool = True) -> Pairs:
    return Pairs(first=np.minimum(first, second), second=np.maximum(first, second), pixels=pixels, complete=complete)


def _joined(parts: list[Indices]) -> Indices:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


def _same_time(facts: LabelFacts, first: Indices, second: Indices) -> npt.NDArray[np.bool_]:
    """What changes between two times is no conflict; times that are not known may be the same."""
    one, other = facts.seconds[first], facts.seconds[second]
    apart = (one[:, 0] > other[:, 1]) | (other[:, 0] > one[:, 1])
    return np.asarray(~apart)


# ---- conflicts ---------------------------------------------------------------------------------------------------


def _differ(
    facts: LabelFacts, pairs: Pairs, fields: Mapping[str, ClassLegend | RangeLegend | None]
) -> npt.NDArray[np.bool_]:
    """Which pairs say different things: another class, or measurements over a standard deviation apart."""
    found = np.zeros(len(pairs.first), dtype=bool)
    for name in facts.values.columns:
        column = facts.values[name].to_numpy()
        away = np.abs(column[pairs.first] - column[pairs.second])
        least = float(np.nanstd(column)) if isinstance(fields.get(str(name)), RangeLegend) else 0.0
        found |= away > least  # false where one of them is NaN
    return found


def _overlaps_finding(facts: LabelFacts, pairs: Pairs, differ: npt.NDArray[np.bool_]) -> LabelFinding:
    alike = ~differ
    count, rows = int(alike.sum()), np.unique(np.concatenate([pairs.first[alike], pairs.second[alike]]))
    share = len(rows) / max(len(facts.annotations), 1)
    least = "" if pairs.complete else "at least "
    return LabelFinding(
        code="overlaps",
        check="overlaps",
        verdict="look" if count else "good",
        found=f"{least}{plural(count, 'pair')} of annotations ({percent(share)} of all) share ground and agree, "
        f"over {pairs.pixels[alike].sum():,.0f} pixels."
        if count
        else "No two annotations that agree share ground.",
        advice="Of points in one pixel keep one; join polygons that overlap, or cut one." * bool(count),
        numbers={"pairs": count, "annotations": len(rows), "pixels": float(pairs.pixels[alike].sum())},
        where=facts.frame(rows) if count else None,
    )


def _conflicts_finding(facts: LabelFacts, pairs: Pairs, differ: npt.NDArray[np.bool_]) -> LabelFinding:
    first, second = pairs.first[differ], pairs.second[differ]
    count, rows = len(first), np.unique(np.concatenate([first, second]))
    share = len(rows) / max(len(facts.annotations), 1)
    least = "" if pairs.complete else "at least "
    others = facts.annotations["feature"].to_numpy()[second]
    labels = facts.values.iloc[second].add_prefix("other_").reset_index(drop=True)
    where = facts.frame(first, other_feature=others, pixels=pairs.pixels[differ])
    return LabelFinding(
        code="conflicts",
        check="conflicts",
        verdict="bad" if count else "good",
        found=f"{least}{plural(count, 'pair')} of annotations ({percent(share)} of all) give the same ground different "
        f"labels at the same time, over {pairs.pixels[differ].sum():,.0f} pixels."
        if count
        else "No place has two labels at once.",
        advice="report.conflicts lists them: decide which label is right; of polygons, the later one in the file wins."
        * bool(count),
        numbers={"pairs": count, "annotations": len(rows), "pixels": float(pairs.pixels[differ].sum())},
        where=where.join(labels) if count else None,
    )
