"""Which layers show a single thing: a request, a plan, a table, a window, a file, a result."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import geopandas as gpd
from geojson_pydantic import FeatureCollection
from rslearn.config import LayerType
from rslearn.dataset import Dataset, Window

from olmoearth_nb.errors import InputFileError, MissingStepError, UsageError
from olmoearth_nb.geojson import PredictionRequestCollection, read_request
from olmoearth_nb.labels.tasks import AnnotationTasks
from olmoearth_nb.legend import Legend
from olmoearth_nb.maps.features import (
    annotations_layer,
    partitions_layer,
    request_layer,
    results_layers,
    windows_layer,
)
from olmoearth_nb.maps.imagery import ImageryView
from olmoearth_nb.maps.labels import LabelView
from olmoearth_nb.maps.layers import Layer, LayerKind
from olmoearth_nb.maps.pictures import geotiff_layers, imagery_layer, labels_layer
from olmoearth_nb.planning import Partition, Plan
from olmoearth_nb.store.dataset import imagery_layers, open_dataset
from olmoearth_nb.store.windows import WindowRow, window_frame
from olmoearth_nb.store.workspace import OUTPUT_LAYER

__all__ = ["layers_of"]

_EXPECTED = (
    "a request or its file, a plan or partitions, a windows table, a window, GeoTIFFs, a vector result, the result of "
    "a prediction, or annotation tasks"
)
_RASTERS, _VECTORS = {".tif", ".tiff"}, {".geojson", ".json"}


@runtime_checkable
class HasFiles(Protocol):
    """The result of a prediction."""

    @property
    def files(self) -> Sequence[Path]:
        """GeoTIFFs, or one GeoJSON."""

    @property
    def legend(self) -> Legend | None:
        """What their values mean."""


def layers_of(
    thing: object, *, legend: Legend | None = None, by: str | None = None, view: ImageryView | None = None
) -> list[Layer]:
    """The layers that show a thing.

    Args:
        thing: See :func:`olmoearth_nb.maps.preview.preview`.
        legend: What the values of labels and results mean.
        by: What to colour by.
        view: Bands, time step and stretch of imagery.

    Raises:
        UsageError: If it is nothing that can be shown.
        InputFileError: If a file can't be read.
    """
    match thing:
        case Plan():
            return _partitions(thing.partitions, by)
        case gpd.GeoDataFrame():
            # Windows are in degrees already; labels of one's own are in any CRS.
            return [windows_layer(thing if thing.crs is None else thing.to_crs(4326), by=by)]
        case AnnotationTasks():
            return [annotations_layer(thing, label=by, legend=legend)]
        case Window():
            return _window(thing, legend, by, view)
        case HasFiles():
            return _files([Path(path) for path in thing.files], legend or thing.legend, by, view)
        case FeatureCollection():
            return [request_layer(cast(PredictionRequestCollection, thing))]
        case _:
            return _several(thing, legend, by, view)


def _several(thing: object, legend: Legend | None, by: str | None, view: ImageryView | None) -> list[Layer]:
    """One file or partition, or a sequence of them."""
    single = isinstance(thing, str | PathLike | Partition) or not isinstance(thing, Sequence)
    several = [thing] if single else list(cast(Sequence[object], thing))
    partitions = [one for one in several if isinstance(one, Partition)]
    paths = [Path(one) for one in several if isinstance(one, str | PathLike)]
    if several and len(partitions) == len(several):
        return _partitions(partitions, by)
    if several and len(paths) == len(several):
        return _files(paths, legend, by, view)
    raise UsageError("This can't be shown on a map.", expected=_EXPECTED, found=type(thing).__name__)


def _partitions(partitions: Sequence[Partition], by: str | None) -> list[Layer]:
    """Partitions and their windows; a window that several need, once."""
    rows = {
        (spec.group, spec.name): WindowRow(
            key=(spec.group, spec.name),
            projection=spec.projection,
            bounds=spec.bounds,
            time_range=spec.time_range,
            columns={"partition": spec.group.removeprefix("group_"), "state": "planned"},
        )
        for partition in partitions
        for spec in partition.windows
    }
    table = window_frame(list(rows.values()), ["partition", "state"])
    counts = {one.partition_id: len(one.windows) for one in partitions}
    requests = {one.partition_id: one.request for one in partitions}
    return [partitions_layer(requests, counts), windows_layer(table, by=by or "partition")]


def _files(paths: Sequence[Path], legend: Legend | None, by: str | None, view: ImageryView | None) -> list[Layer]:
    kinds = {path.suffix.lower() for path in paths}
    if not paths:
        raise MissingStepError("There is no file to show.", fix="Run the steps up to runner.combine() first.")
    if kinds <= _RASTERS:
        return geotiff_layers(paths, legend, field=by, view=view)
    if kinds <= _VECTORS:
        return [layer for path in paths for layer in _vectors(path, legend, by)]
    raise UsageError("This can't be shown on a map.", expected=_EXPECTED, found=", ".join(sorted(kinds)))


def _vectors(path: Path, legend: Legend | None, by: str | None) -> list[Layer]:
    """A request as an outline; anything else by class."""
    if legend is None and by is None and not path.stem.startswith("result"):
        try:
            return [request_layer(read_request(path))]
        except InputFileError:
            pass  # no request; what is wrong with a result, its own reader says
    return [*results_layers(path, legend, field=by)]


def _window(window: Window, legend: Legend | None, by: str | None, view: ImageryView | None) -> list[Layer]:
    dataset = _dataset_of(window)
    imagery = [name for name, config in imagery_layers(dataset).items() if config.type == LayerType.RASTER]
    views = [view] if view is not None else [ImageryView(layer=name) for name in imagery]
    layers: list[Layer | None] = [imagery_layer(dataset, [window], one) for one in views]
    for name in dataset.layers:
        if name not in imagery_layers(dataset):
            kind = LayerKind.PREDICTIONS if name == OUTPUT_LAYER else LayerKind.LABELS
            labels = LabelView(layer=name, name=by, legend=legend)
            layers.append(labels_layer(dataset, [window], labels, kind=kind))
    row = WindowRow(
        key=(window.group, window.name),
        projection=window.projection,
        bounds=window.bounds,
        time_range=window.time_range,
        columns=dict(window.options),
    )
    table = window_frame([row], list(window.options))
    outline = windows_layer(table, by=None if "split" in table.columns else "group")
    return [*(layer for layer in layers if layer is not None), outline]


def _dataset_of(window: Window) -> Dataset:
    # <dataset>/windows/<group>/<name>
    return open_dataset(Path(str(window.window_root)).parents[2])
