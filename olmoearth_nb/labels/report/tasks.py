"""Tasks and annotations that don't fit together, and geometries that say less than they seem to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import shapely

from olmoearth_nb.globe import shape_array
from olmoearth_nb.labels.report.bounds import EMPTY_TASKS
from olmoearth_nb.labels.report.facts import LabelFacts
from olmoearth_nb.labels.report.features import Refused
from olmoearth_nb.labels.report.findings import LabelFinding, named, percent, plural

__all__ = ["check_fit", "check_readable", "check_shapes"]

# In pixels: what a point goes wrong by on its way through a projection, and more.
_BESIDE = 1.0


def check_readable(facts: LabelFacts) -> Iterator[LabelFinding]:
    """What window preparation refuses or loses: features that can't be read, and null labels.

    Args:
        facts: What is labelled.
    """
    nulls = [one for one in facts.refused if one.fault == "null label"]
    others = [one for one in facts.refused if one.fault not in ("null label", "time")]
    kinds = Counter(one.fault for one in others)
    yield LabelFinding(
        code="unreadable",
        check="features that can't be used",
        verdict="bad" if others else "good",
        found=f"{plural(len(others), 'feature')} ({named(f'{fault}: {n:,}' for fault, n in kinds.items())}), such as "
        f"{others[0]}"
        if others
        else "Every feature can be read.",
        advice="Window preparation refuses the file: correct or remove them." * bool(others),
        numbers={str(fault): count for fault, count in kinds.items()},
        where=_refused_frame(others),
    )
    values = facts.values.isna().sum()
    some = {str(name): int(count) for name, count in values.items() if count}
    words = f"{plural(len(nulls), 'annotation')} without any value." if nulls else ""
    words += f" Null besides: {named(f'{name} {count:,}' for name, count in some.items())}." if some else ""
    yield LabelFinding(
        code="null-labels",
        check="null labels",
        verdict="bad" if nulls else "look" if some else "good",
        found=words.strip() or "Every annotation has all labels.",
        advice="Window preparation refuses a file with annotations that say nothing: label or remove them."
        if nulls
        else "Meant, where an annotation is of one label only." * bool(some),
        numbers={"without_any": len(nulls), "null": some},
        where=_refused_frame(nulls),
    )


def _refused_frame(refused: Sequence[Refused]) -> gpd.GeoDataFrame | None:
    if not refused:
        return None
    names = ("file", "feature", "fault", "words")
    data = {name: [getattr(one, name) for one in refused] for name in names}
    return gpd.GeoDataFrame(data, geometry=shape_array([one.shape or shapely.Point() for one in refused]), crs=4326)


def check_fit(facts: LabelFacts) -> Iterator[LabelFinding]:
    """Tasks without annotations, annotations without task, and those that lie beside theirs.

    Args:
        facts: What is labelled.
    """
    used = np.bincount(facts.task[facts.task >= 0], minlength=len(facts.tasks))
    empty = np.flatnonzero(used == 0)
    share = len(empty) / max(len(facts.tasks), 1)
    yield LabelFinding(
        code="empty-tasks",
        check="tasks without labels",
        verdict="bad" if share > EMPTY_TASKS else "look" if len(empty) else "good",
        found=f"{len(empty):,} of {plural(len(facts.tasks), 'task')} ({percent(share)}) have no annotation."
        if len(empty)
        else f"Each task has annotations ({plural(len(facts.tasks), 'task')}).",
        advice="They give no windows. If nothing is there to be found, label that as a class." * bool(len(empty)),
        numbers={"tasks": len(facts.tasks), "empty": len(empty)},
        where=facts.tasks.iloc[empty].reset_index(drop=True) if len(empty) else None,
    )
    lost = np.flatnonzero(facts.task < 0)
    ids = int(facts.annotations["task_id"].iloc[lost].nunique())
    yield LabelFinding(
        code="unknown-tasks",
        check="annotations without task",
        verdict="bad" if len(lost) else "good",
        found=f"{plural(len(lost), 'annotation')} of {plural(ids, 'task')} that are not in the file: they are left out."
        if len(lost)
        else "Each annotation has its task.",
        advice="Export tasks and annotations together." * bool(len(lost)),
        numbers={"annotations": len(lost)},
        where=facts.frame(lost) if len(lost) else None,
    )
    yield _beside(facts)


def _beside(facts: LabelFacts) -> LabelFinding:
    rows = np.flatnonzero(facts.task >= 0)
    shapes, areas = facts.pixels[rows], facts.task_pixels(rows)
    beside = ~shapely.covers(areas, shapes)
    beyond = np.zeros(len(rows))
    beyond[beside] = _pixels_beyond(shapes[beside], areas[beside])
    partly = beyond >= _BESIDE
    wholly = partly & ~shapely.intersects(areas, shapes)
    count, outside = int(partly.sum()), int(wholly.sum())
    return LabelFinding(
        code="outside-tasks",
        check="annotations outside their task",
        verdict="bad" if outside else "look" if count else "good",
        found=f"{plural(count, 'annotation')} by more than a pixel, {outside:,} of them wholly."
        if count
        else "Each annotation lies in its task's area.",
        advice="What lies beyond the task's area is cut off (of polygons; points keep their own window)." * bool(count),
        numbers={"partly": count, "wholly": outside},
        where=facts.frame(rows[partly], wholly=wholly[partly]) if count else None,
    )


def _pixels_beyond(shapes: npt.NDArray[np.object_], areas: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
    """How much lies beyond: pixels of a polygon, else the distance in pixels."""
    polygons = shapely.get_dimensions(shapes) == 2
    beyond = np.asarray(shapely.hausdorff_distance(shapes, shapely.intersection(shapes, areas)), dtype=np.float64)
    apart = np.asarray(shapely.distance(shapes, areas), dtype=np.float64)
    beyond = np.where(np.isnan(beyond), apart, beyond)
    beyond[polygons] = shapely.area(shapely.difference(shapes[polygons], areas[polygons]))
    return beyond


def check_shapes(facts: LabelFacts) -> LabelFinding:
    """Geometries that had to be repaired, and polygons smaller than a pixel.

    Args:
        facts: What is labelled.
    """
    faults = facts.annotations["fault"].to_numpy(dtype=object)
    repaired = np.flatnonzero(faults != "")
    areas = shapely.area(facts.equal_area) / facts.resolution**2
    tiny = np.flatnonzero((shapely.get_dimensions(facts.shapes) == 2) & (areas < 1 - 1e-6))
    rows = np.union1d(repaired, tiny)
    parts = [f"{len(repaired):,} repaired ({named(dict.fromkeys(faults[repaired]), most=3)})"] if len(repaired) else []
    parts += [f"{len(tiny):,} smaller than a pixel of {facts.resolution:g} m"] if len(tiny) else []
    advice = ["Look whether the repaired ones still cover what was meant."] if len(repaired) else []
    advice += ["A polygon labels the pixels whose centre it covers: tiny ones may label none."] if len(tiny) else []
    return LabelFinding(
        code="geometries",
        check="geometries",
        verdict="look" if len(rows) else "good",
        found="; ".join(parts) + "." if parts else "All are valid, and no polygon is smaller than a pixel.",
        advice=" ".join(advice),
        numbers={"repaired": len(repaired), "tiny": len(tiny)},
        where=facts.frame(rows, fault=faults[rows], area_pixels=areas[rows]) if len(rows) else None,
    )
