"""Browsers of the windows of a scratch; the maps room is imported when one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from olmoearth_nb.runners.base import Ids
from olmoearth_nb.runners.maps import labels_of
from olmoearth_nb.store.workspace import OUTPUT_LAYER

if TYPE_CHECKING:
    from olmoearth_nb.maps.imagery import ImageryView
    from olmoearth_nb.maps.widgets.browser import WindowBrowser
    from olmoearth_nb.maps.widgets.source import DatasetSource
    from olmoearth_nb.runners.finetune_looks import FineTuneLooks
    from olmoearth_nb.runners.predict_looks import PredictionLooks

__all__ = ["finetune_browser", "finetune_source", "prediction_browser", "prediction_source"]


def prediction_browser(
    runner: PredictionLooks, ids: Ids, *, color_by: str | None, view: ImageryView | None
) -> WindowBrowser:
    """The windows of a prediction, over the outline of the request.

    Args:
        runner: The runner.
        ids: One partition id, several, or None for all.
        color_by: Column of the windows table; ``state`` if None.
        view: Which imagery, and how; all layers in natural colours if None.

    Raises:
        OlmoEarthError: If there are no windows yet, or there is no such partition or column.
    """
    from olmoearth_nb.maps.features import request_layer
    from olmoearth_nb.maps.widgets.browser import WindowBrowser

    return WindowBrowser(
        runner.windows(ids),
        prediction_source(runner, view),
        color_by=color_by,
        background=[request_layer(runner.scratch.request_path)],
    )


def prediction_source(runner: PredictionLooks, view: ImageryView | None = None) -> DatasetSource:
    """Where a browser gets the imagery of a prediction's windows and what the model wrote.

    Args:
        runner: The runner.
        view: Which imagery, and how; all layers in natural colours if None.
    """
    from olmoearth_nb.maps.labels import LabelView
    from olmoearth_nb.maps.widgets.source import DatasetSource

    prediction = LabelView(layer=OUTPUT_LAYER, legend=runner.project.legend)
    return DatasetSource(dataset=runner.scratch.dataset, prediction=prediction, view=view)


def finetune_browser(
    runner: FineTuneLooks, *, color_by: str | None, label: str | None, view: ImageryView | None
) -> WindowBrowser:
    """The labelled windows of a fine-tuning.

    Args:
        runner: The runner.
        color_by: Column of the windows table; ``split`` if None.
        label: Name of the label; the first one if None.
        view: Which imagery, and how; all layers in natural colours if None.

    Raises:
        OlmoEarthError: If there are no windows yet, or there is no such column.
    """
    from olmoearth_nb.maps.widgets.browser import WindowBrowser

    return WindowBrowser(runner.windows(), finetune_source(runner, label, view), color_by=color_by)


def finetune_source(runner: FineTuneLooks, label: str | None = None, view: ImageryView | None = None) -> DatasetSource:
    """Where a browser gets imagery and labels of a fine-tuning's windows, and predictions where there are any.

    Args:
        runner: The runner.
        label: Name of the label; the first one if None.
        view: Which imagery, and how; all layers in natural colours if None.
    """
    from olmoearth_nb.maps.labels import LabelView
    from olmoearth_nb.maps.widgets.source import DatasetSource

    dataset = runner.scratch.dataset
    predicted = OUTPUT_LAYER in dataset.layers
    prediction = LabelView(layer=OUTPUT_LAYER, legend=runner.project.legend) if predicted else None
    return DatasetSource(dataset=dataset, labels=labels_of(runner, label), prediction=prediction, view=view)
