"""Where a project is: its local imagery, annotations and requests, faintly, as something to draw on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
from geojson_pydantic import FeatureCollection

from olmoearth_nb.config import Project
from olmoearth_nb.errors import OlmoEarthError
from olmoearth_nb.geojson import feature_shape, read_annotation_features, read_request, read_task_features
from olmoearth_nb.maps.frame import one_side
from olmoearth_nb.maps.layers import Layer, LayerKind, ShapeLayer
from olmoearth_nb.maps.pictures import geotiff_layers

__all__ = ["context_layers"]

# Seen on imagery and on an empty background.
_REQUEST = (0, 160, 190)
_ANNOTATED = (150, 120, 60)
_FAINT = 0.75
# Reading each takes some tens of milliseconds.
_MOST_FILES = 8
_RASTERS = {".tif", ".tiff"}


def context_layers(project: Project) -> tuple[list[Layer], list[str]]:
    """Layers that show where a project is.

    Args:
        project: The project.

    Returns:
        The layers, from below, and a line on each file that can't be shown.
    """
    layers: list[Layer] = []
    notes: list[str] = []
    for part in (_imagery, _annotations, _requests):
        for make in part(project):
            try:
                layers += make()
            except OlmoEarthError as error:
                notes.append(str(error))
    there = [layer for layer in layers if layer.bounds is not None]
    if any(layer.kind is LayerKind.IMAGERY for layer in there):
        # Hundreds of tasks would hide what somebody wants to draw on.
        there = [replace(layer, shown=layer.kind is not LayerKind.LABELS) for layer in there]
    return there, notes


def _imagery(project: Project) -> Iterator[Callable[[], list[Layer]]]:
    """The first raster files of data sources that are folders."""

    def pictures() -> list[Layer]:
        files: list[Path] = []
        for layer in project.dataset_config().get("layers", {}).values():
            source = layer.get("data_source") or {}
            folder = source.get("init_args", source).get("src_dir")
            if folder is not None:
                files += sorted(path for path in Path(folder).rglob("*") if path.suffix.lower() in _RASTERS)
        shown = geotiff_layers(files[:_MOST_FILES]) if files else []
        return [replace(one, name="imagery", opacity=_FAINT) for one in shown if one.kind is LayerKind.IMAGERY]

    if project.dataset_config_path.exists():
        yield pictures


def _annotations(project: Project) -> Iterator[Callable[[], list[Layer]]]:
    tasks, annotations = project.annotation_paths
    if tasks.exists():
        yield lambda: [_outlines(read_task_features(tasks), "annotation tasks")]
    elif annotations.exists():
        yield lambda: [_outlines(read_annotation_features(annotations), "annotations")]


def _outlines(collection: FeatureCollection, name: str) -> ShapeLayer:  # type: ignore[type-arg]  # of any features
    shapes = one_side([feature_shape(feature) for feature in collection.features])
    return ShapeLayer(
        kind=LayerKind.LABELS,
        name=f"{name} ({len(shapes):,})",
        shapes=shapes,
        colors=[_ANNOTATED] * len(shapes),
        about=pd.DataFrame({name: [f"{name} {index}" for index in range(len(shapes))]}),
        fill=0.1,
    )


def _requests(project: Project) -> Iterator[Callable[[], list[Layer]]]:
    for name, path in project.requests.items():
        yield lambda name=name, path=path: [_request(name, path)]  # type: ignore[misc]  # of this turn of the loop


def _request(name: str, path: Path) -> ShapeLayer:
    shapes = one_side([feature_shape(feature) for feature in read_request(path).features])
    return ShapeLayer(
        kind=LayerKind.REQUEST,
        name=f"request {name}",
        shapes=shapes,
        colors=[_REQUEST] * len(shapes),
        about=pd.DataFrame({"request": [f"request {name}"] * len(shapes)}),
        fill=0.0,
    )
