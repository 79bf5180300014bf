"""Pictures of what a scratch holds by now: ``runner.plot.windows()`` and the like.

Pictures are drawn by :mod:`olmoearth_nb.maps.static`, which is imported when the first one is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rslearn.dataset import Window

from olmoearth_nb.errors import MissingStepError, UsageError
from olmoearth_nb.runners.base import Ids
from olmoearth_nb.runners.frames import plan_frame
from olmoearth_nb.runners.maps import labels_of
from olmoearth_nb.store.windows import as_window
from olmoearth_nb.store.workspace import OUTPUT_LAYER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from olmoearth_nb.maps.static import LabelView
    from olmoearth_nb.runners.finetune_looks import FineTuneLooks
    from olmoearth_nb.runners.predict_looks import PredictionLooks

__all__ = ["FineTunePlots", "PredictPlots"]

Bands = str | Sequence[str] | None
"""One band, three as red, green and blue, or None for natural colours."""


class PredictPlots:
    """Pictures of a prediction; each is a matplotlib figure that shows itself.

    Args:
        runner: The runner.
    """

    def __init__(self, runner: PredictionLooks) -> None:
        self._runner = runner

    def plan(self, *, by: str = "partition") -> Figure:
        """Partitions and windows as they would be, nothing written.

        Args:
            by: Column of the windows table to colour by: partition, partitions, features.

        Raises:
            OlmoEarthError: As ``runner.plan()``.
        """
        from olmoearth_nb.maps.static import plot_windows

        return plot_windows(plan_frame(self._runner.plan()), by=by, request=self._runner.scratch.request_path)

    def windows(self, ids: Ids = None, *, by: str | None = None) -> Figure:
        """The windows of some partitions and the request.

        Args:
            ids: One partition id, several, or None for all.
            by: Column of ``runner.windows()`` to colour by; ``state`` if None.

        Raises:
            MissingStepError: If ``partition()`` has not been run.
            UsageError: If there is no such column.
        """
        from olmoearth_nb.maps.static import plot_windows

        return plot_windows(self._runner.windows(ids), by=by, request=self._runner.scratch.request_path)

    def imagery(
        self,
        ids: Ids = None,
        *,
        bands: Bands = None,
        layer: str | None = None,
        time_step: int = 0,
        percentiles: tuple[float, float] = (2.0, 98.0),
        colormap: str = "gray",
    ) -> Figure:
        """The imagery of the windows of some partitions on one map, with one stretch for all.

        Args:
            ids: One partition id, several, or None for all.
            bands: Names of bands.
            layer: Layer of dataset.json; the first one with imagery if None.
            time_step: Which image of a series, counted from 0.
            percentiles: What becomes darkest and brightest.
            colormap: Name of a matplotlib colormap, for one band.

        Raises:
            MissingStepError: If no window has its imagery.
            UsageError: If there is no such layer or band.
        """
        from olmoearth_nb.maps.static import ImageryView, plot_imagery

        view = ImageryView(layer=layer, bands=bands, time_step=time_step, percentiles=percentiles, colormap=colormap)
        return plot_imagery(self._runner.scratch.dataset, self._windows(ids), view=view)

    def output(self, ids: Ids = None, *, bands: Bands = None) -> Figure:
        """What the model wrote for the windows of some partitions, before postprocessing.

        Args:
            ids: One partition id, several, or None for all.
            bands: Names of the bands of the imagery below.

        Raises:
            MissingStepError: If no window has been predicted.
        """
        from olmoearth_nb.maps.static import ImageryView, plot_labels

        view = ImageryView(bands=bands)
        return plot_labels(self._runner.scratch.dataset, self._windows(ids), self._output(), view=view)

    def window(self, name: str | None = None, *, bands: Bands = None) -> Figure:
        """All layers of a window beside each other: imagery and what the model wrote.

        Args:
            name: Name of the window; the first one if None.
            bands: Names of bands of the first layer of imagery; all layers in natural colours if None.

        Raises:
            UsageError: If there is no such window.
            MissingStepError: If it has no imagery yet.
        """
        from olmoearth_nb.maps.static import ImageryView, plot_window

        view = None if bands is None else ImageryView(bands=bands)
        chosen = _pick(self._windows(None), name)
        return plot_window(self._runner.scratch.dataset, chosen, prediction=self._output(), view=view)

    def prediction(self, *, field: str | None = None) -> Figure:
        """The combined result in the colours of the legend, with the share of each class.

        Args:
            field: Which field of the legend; the first one if None.

        Raises:
            MissingStepError: If ``combine()`` has not been run.
        """
        from olmoearth_nb.maps.static import plot_prediction

        workspace = self._runner.workspace
        files = workspace.combined
        if not files:
            raise MissingStepError(
                "There is no combined result yet.", where=str(workspace.root), fix="Call runner.combine() first."
            )
        request = self._runner.scratch.request_path
        return plot_prediction(files, self._runner.project.legend, field=field, request=request)

    def _windows(self, ids: Ids) -> list[Window]:
        scratch = self._runner.scratch
        return [as_window(scratch.dataset, spec) for spec in scratch.specs(scratch.partition_ids(ids)).values()]

    def _output(self) -> LabelView:
        from olmoearth_nb.maps.static import LabelView

        return LabelView(layer=OUTPUT_LAYER, legend=self._runner.project.legend)


class FineTunePlots:
    """Pictures of a fine-tuning; each is a matplotlib figure that shows itself.

    Args:
        runner: The runner.
    """

    def __init__(self, runner: FineTuneLooks) -> None:
        self._runner = runner

    def annotations(self, *, label: str | None = None) -> Figure:
        """The annotations of the project, coloured by the value of a label.

        Args:
            label: Name of the label; the first one if None.

        Raises:
            InputFileError: If a file is missing or malformed.
        """
        from olmoearth_nb.maps.static import plot_annotations

        return plot_annotations(self._runner.annotation_tasks(), label=label, legend=self._runner.project.legend)

    def windows(self, *, by: str | None = None) -> Figure:
        """The labelled windows.

        Args:
            by: Column of ``runner.windows()`` to colour by; ``split`` if None.

        Raises:
            MissingStepError: If ``prepare_labeled_windows()`` has not been run.
            UsageError: If there is no such column.
        """
        from olmoearth_nb.maps.static import plot_windows

        return plot_windows(self._runner.windows(), by=by)

    def labels(self, *, label: str | None = None, bands: Bands = None) -> Figure:
        """The labels of all windows over their imagery.

        Args:
            label: Name of the label; the first one if None.
            bands: Names of bands.

        Raises:
            MissingStepError: If there are no labelled windows.
        """
        from olmoearth_nb.maps.static import ImageryView, plot_labels

        runner = self._runner
        view = ImageryView(bands=bands)
        return plot_labels(runner.scratch.dataset, runner.scratch.windows(), self._labels(label), view=view)

    def examples(self, count: int = 12, *, label: str | None = None, bands: Bands = None) -> Figure:
        """A sheet of labelled windows, classes in turn.

        Args:
            count: Number of windows.
            label: Name of the label; the first one if None.
            bands: Names of bands.

        Raises:
            MissingStepError: If no window has both imagery and labels.
        """
        from olmoearth_nb.maps.static import ImageryView, plot_examples

        runner, view = self._runner, ImageryView(bands=bands)
        windows = runner.scratch.windows()
        return plot_examples(runner.scratch.dataset, windows, self._labels(label), view=view, count=count)

    def window(self, name: str | None = None, *, label: str | None = None, bands: Bands = None) -> Figure:
        """All layers of a window beside each other: imagery and labels.

        Args:
            name: Name of the window; the first one if None.
            label: Name of the label; the first one if None.
            bands: Names of bands of the first layer of imagery; all layers in natural colours if None.

        Raises:
            UsageError: If there is no such window.
        """
        from olmoearth_nb.maps.static import ImageryView, plot_window

        view = None if bands is None else ImageryView(bands=bands)
        chosen = _pick(self._runner.scratch.windows(), name)
        return plot_window(self._runner.scratch.dataset, chosen, labels=self._labels(label), view=view)

    def training(self) -> Figure:
        """Losses and metrics of the training, epoch by epoch.

        Raises:
            MissingStepError: If no training has begun.
        """
        from olmoearth_nb.maps.static import plot_training

        training = self._runner.training()
        if training is None:
            raise MissingStepError("No training has begun.", fix="Call runner.fine_tune() first.")
        return plot_training(training.history, monitor=training.monitor, best_score=training.best_score)

    def _labels(self, label: str | None) -> LabelView:
        return labels_of(self._runner, label)


def _pick(windows: Sequence[Window], name: str | None) -> Window:
    found = [window for window in windows if name is None or name in (window.name, f"{window.group}/{window.name}")]
    if not found:
        raise UsageError(
            "There is no such window." if name else "There are no windows yet.",
            expected="a name from runner.windows()",
            found=repr(name) if name else None,
        )
    return found[0]
