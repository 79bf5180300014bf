"""What a scratch holds by now as layers of a map; the maps room is imported when a map is asked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import geopandas as gpd
from rslearn.dataset import Window

from olmoearth_nb.config import Project
from olmoearth_nb.errors import MissingStepError, UsageError
from olmoearth_nb.geojson import read_request
from olmoearth_nb.postprocess.mask import Mask
from olmoearth_nb.runners.base import Ids
from olmoearth_nb.runners.frames import prediction_frame
from olmoearth_nb.runners.predict_scratch import RANDOM_WEIGHTS
from olmoearth_nb.store.dataset import ScratchDataset, imagery_layers
from olmoearth_nb.store.windows import WindowKey, as_window
from olmoearth_nb.store.workspace import OUTPUT_LAYER

if TYPE_CHECKING:
    from olmoearth_nb.maps.compare import CompareView
    from olmoearth_nb.maps.imagery import ImageryView
    from olmoearth_nb.maps.labels import LabelView
    from olmoearth_nb.maps.layers import Layer
    from olmoearth_nb.runners.finetune_looks import FineTuneLooks
    from olmoearth_nb.runners.predict_looks import PredictionLooks

__all__ = ["HasLayers", "comparison", "finetune_layers", "labels_of", "prediction_layers"]


@runtime_checkable
class HasLayers(Protocol):
    """Either runner, as far as maps need it."""

    project: Project

    def layers(self, *, view: ImageryView | None = None) -> list[Layer]:
        """What there is by now as layers of a map."""


def prediction_layers(runner: PredictionLooks, ids: Ids, *, color_by: str | None, view: ImageryView) -> list[Layer]:
    """Request, partitions and windows, and of imagery, predictions, confidence and mask what there is.

    Args:
        runner: The runner.
        ids: One partition id, several, or None for all.
        color_by: Column of the windows table; ``state`` if None.
        view: Which imagery, and how.

    Raises:
        OlmoEarthError: If a file is wrong, or there is no such partition, column, layer or band.
    """
    from olmoearth_nb.maps.features import partitions_layer, request_layer, windows_layer
    from olmoearth_nb.maps.layers import lonlat_bounds
    from olmoearth_nb.maps.pictures import mask_layer

    scratch = runner.scratch
    layers: list[Layer] = [request_layer(scratch.request_path)]
    try:
        pids = scratch.partition_ids(ids)
    except MissingStepError:
        pids = []
    if pids:
        listed = {pid: scratch.windows_of(pid) for pid in pids}
        table = prediction_frame(scratch, listed)
        requests = {pid: read_request(scratch.workspace.partition_request(pid)) for pid in pids}
        counts = {pid: len(specs) for pid, specs in listed.items()}
        layers += [partitions_layer(requests, counts), windows_layer(table, by=color_by or "state")]
        by_key = {(spec.group, spec.name): spec for specs in listed.values() for spec in specs}

        def having(layer: str | None) -> list[Window]:
            return [as_window(scratch.dataset, by_key[key]) for key in _having(table, layer)]

        layers += _imagery(scratch.dataset, having(_imagery_name(scratch.dataset, view)), view)
        layers += _predictions(runner, having(OUTPUT_LAYER))
    bounds = lonlat_bounds(layers)
    if scratch.mask_path is not None and bounds is not None:
        layers.append(mask_layer(Mask.open(scratch.mask_path, valid_values=scratch.mask_valid_values), bounds))
    return layers


def finetune_layers(
    runner: FineTuneLooks, *, color_by: str | None, view: ImageryView, label: str | None = None
) -> list[Layer]:
    """Labelled windows, their labels and imagery; before they are made, the annotations.

    Args:
        runner: The runner.
        color_by: Column of the windows table; ``split`` if None.
        view: Which imagery, and how.
        label: Name of the label; the first one if None.

    Raises:
        OlmoEarthError: If a file is wrong, or there is no such column, layer, band or label.
    """
    from olmoearth_nb.maps.features import annotations_layer, windows_layer
    from olmoearth_nb.maps.pictures import labels_layer

    try:
        table = runner.windows()
    except MissingStepError:
        return [annotations_layer(runner.annotation_tasks(), label=label, legend=runner.project.legend)]
    dataset = runner.scratch.dataset
    windows = {(window.group, window.name): window for window in runner.scratch.windows()}
    labels = labels_of(runner, label)
    labelled = [windows[key] for key in _having(table, labels.layer)]
    built = [windows[key] for key in _having(table, _imagery_name(dataset, view))]
    shown = labels_layer(dataset, labelled, labels) if labelled else None
    layers: list[Layer] = [windows_layer(table, by=color_by or "split"), *([] if shown is None else [shown])]
    return layers + _imagery(dataset, built, view)


def comparison(runner: HasLayers, left: object, right: object, *, view: ImageryView) -> CompareView:
    """A map with a line between two things.

    Args:
        runner: The runner whose things words mean.
        left: A word (imagery, labels, prediction, confidence), another runner (its prediction), or anything that
            :func:`olmoearth_nb.maps.preview.preview` shows.
        right: The same.
        view: Which imagery, and how.

    Raises:
        UsageError: If a word is not known.
        MissingStepError: If what it means does not exist yet.
    """
    from olmoearth_nb.maps.layers import LayerKind, ShapeLayer
    from olmoearth_nb.maps.preview import build_comparison
    from olmoearth_nb.maps.things import layers_of

    words = {
        "imagery": LayerKind.IMAGERY,
        "labels": LayerKind.LABELS,
        "prediction": LayerKind.PREDICTIONS,
        "confidence": LayerKind.CONFIDENCE,
    }
    own = runner.layers(view=view)

    def side(given: object) -> list[Layer]:
        if isinstance(given, HasLayers):
            found = [layer for layer in given.layers(view=view) if layer.kind is LayerKind.PREDICTIONS]
        elif isinstance(given, str) and given in words:
            found = [layer for layer in own if layer.kind is words[given]]
        elif isinstance(given, str) and not Path(given).exists():
            raise UsageError(
                "This is nothing to compare.",
                expected=f"{', '.join(words)}, a file, or another runner",
                found=repr(given),
            )
        else:
            found = layers_of(given, legend=runner.project.legend, view=view)
        if not found:
            raise MissingStepError(
                f"There is no {given if isinstance(given, str) else 'prediction'} to compare yet.",
                where=repr(given if isinstance(given, HasLayers) else runner),
                fix="runner.status() shows which steps are done.",
            )
        return found

    windows = [
        replace(layer, shown=False, fill=0.0, key=None)
        for layer in own
        if isinstance(layer, ShapeLayer) and layer.kind is LayerKind.WINDOWS
    ]
    return build_comparison(side(left), side(right), both=windows)


def labels_of(runner: FineTuneLooks, label: str | None) -> LabelView:
    """Which labels of a fine-tuning to show, and what they mean.

    Args:
        runner: The runner.
        label: Name of the label; the first one if None.
    """
    from olmoearth_nb.maps.labels import LabelView

    return LabelView(
        layer=runner.scratch.window_prep.label_layer,
        name=label,
        nodata=getattr(runner.components.window_preparer(), "nodata_value", None),
        legend=runner.project.legend,
    )


def _imagery_name(dataset: ScratchDataset, view: ImageryView) -> str | None:
    """The layer of imagery to show; None where the dataset has none."""
    return view.resolved(dataset)[0] if view.layer or imagery_layers(dataset) else None


def _having(table: gpd.GeoDataFrame, layer: str | None) -> list[WindowKey]:
    """The windows of a table whose layer is built, in its order."""
    column = f"layer_{layer}"
    if column not in table.columns:
        return []
    there = table.loc[table[column] == "built", ["group", "name"]]
    return [(str(group), str(name)) for group, name in there.itertuples(index=False)]


def _imagery(dataset: ScratchDataset, windows: list[Window], view: ImageryView) -> list[Layer]:
    from olmoearth_nb.maps.pictures import imagery_layer

    shown = imagery_layer(dataset, windows, view) if windows else None
    return [] if shown is None else [shown]


def _predictions(runner: PredictionLooks, windows: list[Window]) -> list[Layer]:
    """The combined result, or what the model wrote for windows as long as there is none."""
    shown = _predicted(runner, windows)
    if not runner.scratch.predicted_at_random:
        return shown
    return [replace(layer, name=f"{layer.name} ({RANDOM_WEIGHTS})") for layer in shown]


def _predicted(runner: PredictionLooks, windows: list[Window]) -> list[Layer]:
    from olmoearth_nb.maps.features import results_layers
    from olmoearth_nb.maps.labels import LabelView
    from olmoearth_nb.maps.layers import LayerKind
    from olmoearth_nb.maps.pictures import geotiff_layers, labels_layer

    workspace, legend = runner.workspace, runner.project.legend
    rasters = sorted(workspace.rasters.glob("*.tif"))
    if rasters:
        return geotiff_layers(rasters, legend)
    if workspace.result.exists():
        return [*results_layers(workspace.result, legend)]
    if not windows:
        return []
    labels = LabelView(layer=OUTPUT_LAYER, legend=legend)
    shown = labels_layer(runner.scratch.dataset, windows, labels, kind=LayerKind.PREDICTIONS)
    return [] if shown is None else [shown]
