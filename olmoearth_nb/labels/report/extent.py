"""Where annotations are: how far they reach, how dense they lie, and how much of a request they speak for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import shapely
from scipy.spatial import cKDTree
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.geometry import equal_area
from olmoearth_nb.globe import shape_array, valid_shapes
from olmoearth_nb.labels.report.bounds import CLUSTERED, CROWDED_TASK, LEAST_COVERED
from olmoearth_nb.labels.report.facts import LabelFacts
from olmoearth_nb.labels.report.findings import LabelFinding, percent, plural
from olmoearth_nb.labels.report.leakage import EARTH_METRES, on_sphere
from olmoearth_nb.lonlat import unwrap_antimeridian

__all__ = ["check_density", "check_extent"]

# A ratio of fewer places says nothing.
_FEWEST_PLACES = 10


def check_extent(facts: LabelFacts, requests: Mapping[str, Sequence[BaseGeometry]]) -> LabelFinding:
    """The area that annotations span, and how much of each request lies in it.

    Args:
        facts: What is labelled.
        requests: Name -> geometries in degrees.
    """
    hull = _hull(facts)
    west, south, east, north = unwrap_antimeridian(shapely.GeometryCollection(list(facts.shapes))).bounds
    hull_km2 = hull.area / 1e6
    task_km2 = float(shapely.area(equal_area(shape_array(list(facts.tasks.geometry)))).sum()) / 1e6
    zones = sorted({one.crs.to_string() for one in facts.projections})
    covered = {name: share for name, shapes in requests.items() if (share := _covered(shapes, hull)) is not None}
    least = min(covered.values(), default=1.0)
    words = f"{hull_km2:,.4g} km² from {west:.4f}, {south:.4f} to {east:.4f}, {north:.4f} (longitude, latitude); "
    words += (
        f"tasks {task_km2:,.4g} km²; {plural(len(zones), 'UTM zone')} ({', '.join(zones[:3])}{'…' * (len(zones) > 3)})."
    )
    words += "".join(
        f" Of request {name} {percent(share)} lies among the annotations." for name, share in covered.items()
    )
    return LabelFinding(
        code="extent",
        check="extent",
        verdict="look" if least < LEAST_COVERED else "good",
        found=words,
        advice="Beyond the annotations a prediction is a guess: label there too, or check it there."
        * (least < LEAST_COVERED),
        numbers={
            "hull_km2": hull_km2,
            "tasks_km2": task_km2,
            "bounds": [west, south, east, north],
            "zones": zones,
            "requests": covered,
        },
    )  # fmt: skip


def _hull(facts: LabelFacts) -> BaseGeometry:
    """The convex hull in metres of a projection that keeps areas, on one side of 180°."""
    moved = unwrap_antimeridian(shapely.GeometryCollection(list(facts.shapes)))
    return shapely.convex_hull(
        shapely.GeometryCollection(list(equal_area(shape_array(list(shapely.get_parts(moved))))))
    )


def _covered(shapes: Sequence[BaseGeometry], hull: BaseGeometry) -> float | None:
    moved = [unwrap_antimeridian(shape) for shape in shapes]
    request = shapely.union_all(valid_shapes(equal_area(shape_array(moved))))
    if request.area > 0:
        return float(shapely.intersection(request, hull).area / request.area)
    points = shapely.get_parts(request)
    return float(shapely.intersects(points, hull).mean()) if len(points) else None


def check_density(facts: LabelFacts) -> LabelFinding:
    """How many annotations a task and a square kilometre have, and whether they lie in heaps.

    Args:
        facts: What is labelled.
    """
    known = facts.task[facts.task >= 0]
    counts = np.bincount(known, minlength=len(facts.tasks))
    counts = counts[counts > 0]
    hull = _hull(facts)
    area, number = float(hull.area), len(facts.annotations)
    nearest = _nearest_metres(facts)
    middle = float(np.median(nearest)) if len(nearest) else float("nan")
    ratio = None
    if number >= _FEWEST_PLACES and area > 0:
        ratio = float(nearest.mean() / (0.5 / np.sqrt(number / area)))
    crowded = len(counts) > 1 and counts.max() > CROWDED_TASK * counts.sum()
    clustered = ratio is not None and ratio < CLUSTERED
    words = f"{plural(number, 'annotation')} in {plural(len(counts), 'task')}"
    words += f" (median {np.median(counts):g}, most {counts.max():,} in one)" if len(counts) else ""
    words += f", {number / (area / 1e6):.3g} a km²" if area > 0 else ""
    words += f"; nearest neighbour {middle:,.0f} m away (median)" if len(nearest) else ""
    words += "" if ratio is None else f"; {_evenness(ratio)} (Clark–Evans ratio {ratio:.2f})"
    advice = ["Neighbours tell the same: count heaps rather than annotations, and split by place."] if clustered else []
    advice += ["One task has most annotations: sample it, or label others."] if crowded else []
    return LabelFinding(
        code="density",
        check="density",
        verdict="look" if crowded or clustered else "good",
        found=words + ".",
        advice=" ".join(advice),
        numbers={
            "annotations": number,
            "tasks": len(counts),
            "median_in_task": float(np.median(counts)) if len(counts) else 0.0,
            "nearest_metres": middle,
            "clark_evans": ratio,
        },
    )


def _nearest_metres(facts: LabelFacts) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Distance of each annotation's middle to that of its nearest neighbour."""
    if len(facts.annotations) < 2:
        return np.zeros(0)
    places = on_sphere(facts.centres)
    chords = cKDTree(places).query(places, k=2)[0][:, 1]
    return np.asarray(2 * EARTH_METRES * np.arcsin(np.minimum(chords / 2, 1.0)))


def _evenness(ratio: float) -> str:
    return "in clusters" if ratio < CLUSTERED else "more even than at random" if ratio > 1.5 else "about at random"
