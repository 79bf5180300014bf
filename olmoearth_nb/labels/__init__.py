"""From annotations to labelled windows: read, sample, make windows, rasterize, split; and annotations from any file.

Names are resolved when they are first used, so that what needs no geopandas does not wait for it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from olmoearth_nb.labels.annotations import AnnotationFiles, make_annotations
    from olmoearth_nb.labels.points import PointToPixelWindowPreparer, PointToRasterWindowPreparer
    from olmoearth_nb.labels.polygons import GridConfig, GriddingStrategy, PolygonToRasterWindowPreparer
    from olmoearth_nb.labels.prepare import PreparedWindow, PreparedWindows, prepare_task, prepare_windows
    from olmoearth_nb.labels.sampling import ChooseNSampler, NoopSampler
    from olmoearth_nb.labels.splitting import RandomDataSplitter, SpatialDataSplitter
    from olmoearth_nb.labels.tasks import AnnotationTasks, read_annotation_tasks

__all__ = [
    "AnnotationFiles",
    "AnnotationTasks",
    "ChooseNSampler",
    "GridConfig",
    "GriddingStrategy",
    "NoopSampler",
    "PointToPixelWindowPreparer",
    "PointToRasterWindowPreparer",
    "PolygonToRasterWindowPreparer",
    "PreparedWindow",
    "PreparedWindows",
    "RandomDataSplitter",
    "SpatialDataSplitter",
    "make_annotations",
    "prepare_task",
    "prepare_windows",
    "read_annotation_tasks",
]

_HOME = {
    "AnnotationFiles": "annotations",
    "AnnotationTasks": "tasks",
    "ChooseNSampler": "sampling",
    "GridConfig": "polygons",
    "GriddingStrategy": "polygons",
    "NoopSampler": "sampling",
    "PointToPixelWindowPreparer": "points",
    "PointToRasterWindowPreparer": "points",
    "PolygonToRasterWindowPreparer": "polygons",
    "PreparedWindow": "prepare",
    "PreparedWindows": "prepare",
    "RandomDataSplitter": "splitting",
    "SpatialDataSplitter": "splitting",
    "make_annotations": "annotations",
    "prepare_task": "prepare",
    "prepare_windows": "prepare",
    "read_annotation_tasks": "tasks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
