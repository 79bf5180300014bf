"""Custom classes where olmoearth-runner is installed: they derive from its interfaces and work with its models.

Its models are pydantic's and refuse an equal model of another package inside of them. So such a class gets its
requests, results and tasks as that package's; what it gives back is understood as it is.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

from olmoearth_nb.geojson import PredictionRequestCollection, PredictionRequestFeature, PredictionResultCollection
from olmoearth_nb.types import AnnotationTask

__all__ = ["with_their_models"]

_GEOJSON = "olmoearth_shared.api.run.prediction_geometry"
_LABELS = "olmoearth_run.runner.models.training.labeled_data"
_METHODS = (
    "partition_request_geometry",
    "prepare_window_geometries",
    "sample",
    "prepare_labeled_windows",
    "process_window",
    "process_partition",
    "process_dataset",
)


def with_their_models(target: type) -> type:
    """A class that gets olmoearth-runner's models, if it derives from one of its interfaces; else the class itself.

    Args:
        target: A component's class.
    """
    # Without that package the same interfaces are this one's, see olmoearth_nb.config.aliases.
    if not any(base.__module__.startswith("olmoearth_run.") for base in target.__mro__):
        return target
    made = type(target)(target.__name__, (target,), {"__module__": target.__module__, "__doc__": target.__doc__})
    for name in _METHODS:
        if callable(getattr(target, name, None)):
            setattr(made, name, _translating(made, name))
    return made


def _translating(owner: type, name: str) -> Callable[..., Any]:
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        method = getattr(super(owner, self), name)
        return method(*map(_theirs, arguments), **{key: _theirs(value) for key, value in named.items()})

    return functools.wraps(getattr(owner, name))(call)


def _theirs(value: Any) -> Any:
    match value:
        case list():
            return [_theirs(item) for item in value]
        case AnnotationTask():
            models = importlib.import_module(_LABELS)
            annotations = [
                models.LabeledSTGeometry(st_geometry=one.st_geometry, labels=one.labels) for one in value.annotations
            ]
            return models.AnnotationTask(
                task_id=value.task_id, task_st_geometry=value.task_st_geometry, annotations=annotations
            )
        case _:
            return _their_geojson(value)


def _their_geojson(value: Any) -> Any:
    ours = {
        PredictionRequestCollection: "PredictionRequestCollection",
        PredictionRequestFeature: "PredictionRequestFeature",
        PredictionResultCollection: "PredictionResultCollection",
    }
    name = next((name for model, name in ours.items() if isinstance(value, model)), None)
    if name is None:
        return value
    return getattr(importlib.import_module(_GEOJSON), name).model_validate(value.model_dump())
