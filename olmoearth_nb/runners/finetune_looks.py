"""What can be looked at of a fine-tuning, whichever of its steps have been run; the scratch stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd

from olmoearth_nb.config import Project
from olmoearth_nb.errors import (
    MissingStepError,
    OlmoEarthError,
    ProjectError,
    StaleScratchError,
)
from olmoearth_nb.evaluation.ranking import check_criterion
from olmoearth_nb.labels.tasks import AnnotationTasks, read_annotation_tasks
from olmoearth_nb.many import rarely_collected
from olmoearth_nb.progress import Progress
from olmoearth_nb.remote.layout import Kind, Needs
from olmoearth_nb.runners.base import Ids, build_options
from olmoearth_nb.runners.components import Components, with_modules
from olmoearth_nb.runners.evaluation import Evaluation
from olmoearth_nb.runners.finetune_scratch import FineTuneScratch
from olmoearth_nb.runners.frames import finetune_frame
from olmoearth_nb.runners.home import EVERYTHING, at_home, input_path, open_scratch, shown
from olmoearth_nb.runners.label_report import LabelReport, make_label_report
from olmoearth_nb.runners.measuring import measured_splits
from olmoearth_nb.runners.models import Models
from olmoearth_nb.runners.plots import FineTunePlots
from olmoearth_nb.runners.summaries import (
    STALE,
    Status,
    TrainingSummary,
    progress_state,
)
from olmoearth_nb.runners.tracing import trace_labelled
from olmoearth_nb.runners.window_trace import WindowTrace
from olmoearth_nb.runners.worst import WorstWindows
from olmoearth_nb.store.dataset import imagery_layers
from olmoearth_nb.store.materialize import BuildOptions
from olmoearth_nb.store.windows import completed_layers
from olmoearth_nb.store.workspace import OUTPUT_LAYER, FineTuneWorkspace
from olmoearth_nb.types import StepName

if TYPE_CHECKING:
    from olmoearth_nb.maps.compare import CompareView
    from olmoearth_nb.maps.imagery import ImageryView
    from olmoearth_nb.maps.layers import Layer
    from olmoearth_nb.maps.view import MapView
    from olmoearth_nb.maps.widgets.browser import WindowBrowser
    from olmoearth_nb.model.finetune import TrainingResult
    from olmoearth_nb.model.load import LoadedModel

__all__ = ["STEPS", "FineTuneLooks", "training_summary"]

STEPS = (StepName.PREPARE_LABELED_WINDOWS, StepName.BUILD_DATASET_FROM_WINDOWS, StepName.FINE_TUNE)


class FineTuneLooks:
    """A project and a scratch, and what is to be seen of them; see the runner for the arguments."""

    def __init__(
        self,
        project_path: str | PathLike[str],
        scratch_path: str | PathLike[str],
        *,
        random_weights: bool = False,
        device: str | None = None,
        precision: str | None = None,
        build: BuildOptions | None = None,
        progress: Progress = None,
    ) -> None:
        self.project = Project(project_path)
        root, self.home = open_scratch(scratch_path, self.project)
        self.workspace = FineTuneWorkspace(root)
        self.device = device
        self.precision = precision
        self.build_options = build_options(build)
        self.progress = progress
        self.components = Components(self.project)
        self.scratch = FineTuneScratch(self.project, self.workspace, random_weights)
        self._models = Models(self.project, device=device, precision=precision)

    def __repr__(self) -> str:
        return shown(self)

    def _repr_html_(self) -> str:
        return self.status()._repr_html_()

    def annotation_tasks(self) -> AnnotationTasks:
        """The annotation tasks of the project, before sampling.

        Raises:
            InputFileError: If a file is missing or malformed.
            ProjectError: If the project is a bundle without annotations.
        """
        tasks, annotations = self.project.annotation_paths
        if self.project.bundle is not None and not (tasks.exists() and annotations.exists()):
            raise ProjectError(
                "The bundle has no annotations.",
                where=str(self.project.bundle),
                fix="Get one that was made with them, or unbundle it and put annotations of your own into the folder.",
            )
        return read_annotation_tasks(tasks, annotations, label_property=self.scratch.window_prep.label_property)

    @at_home(*EVERYTHING)
    def label_report(self) -> LabelReport:
        """What is doubtful about the labels, before imagery is paid for; works before windows are prepared and after.

        Returns:
            A table with a verdict a line; its ``map()`` shows where, its ``conflicts``, ``leaks`` and others what.

        Raises:
            InputFileError: If an annotation file is missing or no GeoJSON.
        """
        return make_label_report(self)

    @at_home(*EVERYTHING)
    @with_modules
    def evaluate(self, split: str | Sequence[str] | None = "test", *, apart_from: str | None = None) -> Evaluation:
        """How right the best checkpoint is on a split: by class, by window, with intervals, and where it is wrong.

        Samples are made as for testing (without random changes), those of ``val`` alone as for validation.

        Args:
            split: ``train``, ``val`` or ``test``, or several; all if None.
            apart_from: Leave out windows whose centre (a point's label, say) a window of this split covers.

        Returns:
            The evaluation; its ``metrics`` are the task's and ``loss`` by name, and ``windows``, their number.

        Raises:
            MissingStepError: If there is no checkpoint, or no window of the split.
        """
        return measured_splits(self, split, apart_from=apart_from)

    @at_home(*EVERYTHING)
    @with_modules
    def worst(self, n: int = 10, *, by: str = "loss", split: str | Sequence[str] | None = "test") -> WorstWindows:
        """The windows of a split that the best checkpoint does worst on, or is least sure of.

        Args:
            n: How many.
            by: ``loss`` as in training, ``error`` (share of wrong labels, or mean absolute error), or ``entropy``.
            split: ``train``, ``val`` or ``test``, or several; all if None.

        Raises:
            MissingStepError: If there is no checkpoint, or no window of the split.
            UsageError: If the task has no such value.
        """
        check_criterion(n, by)
        return self.evaluate(split).worst(n, by=by)

    @at_home()
    @rarely_collected()
    def windows(self) -> gpd.GeoDataFrame:
        """The labelled windows: name, split, bounds, time range, state of every layer, reasons.

        Returns:
            One row a window with its outline in WGS84, see :func:`olmoearth_nb.runners.frames.finetune_frame`.

        Raises:
            MissingStepError: If ``prepare_labeled_windows()`` has not been run.
        """
        self.scratch.require(STEPS[0])
        prep = self.scratch.window_prep
        return finetune_frame(
            self.scratch.dataset,
            self.scratch.windows(),
            split_property=prep.split_property,
            label_layer=prep.label_layer,
            failures=self.scratch.failures_path,
        )

    @at_home("training")
    def training(self) -> TrainingSummary | None:
        """The training of this scratch as far as it is, or None if none has begun."""
        from olmoearth_nb.model.finetune import read_training

        result = read_training(self.workspace.trainer)
        return None if result is None else training_summary(result, result.seconds, self.scratch.notes())

    @property
    @at_home(*EVERYTHING)
    def plot(self) -> FineTunePlots:
        """Pictures of what there is by now: ``runner.plot.labels()``, ``runner.plot.training()`` and others."""
        return FineTunePlots(self)

    @at_home(*EVERYTHING)
    def map(
        self,
        *,
        color_by: str | None = None,
        bands: str | Sequence[str] | None = None,
        layer: str | None = None,
        time_step: int = 0,
        percentiles: tuple[float, float] = (2.0, 98.0),
        colormap: str = "gray",
    ) -> MapView:
        """A live map of what there is by now, for looking and picking windows: ``runner.map().selected``.

        Args:
            color_by: Column of ``runner.windows()`` to colour windows by; ``split`` if None.
            bands: Names of the bands of imagery: one, or three as red, green and blue; natural colours if None.
            layer: Layer of dataset.json; the first one with imagery if None.
            time_step: Which image of a series, counted from 0.
            percentiles: What becomes darkest and brightest.
            colormap: Name of a matplotlib colormap, for one band.

        Raises:
            MissingDependencyError: If leafmap is not installed.
            UsageError: If there is no such column, layer or band.
        """
        from olmoearth_nb.maps.imagery import ImageryView
        from olmoearth_nb.maps.preview import build_map
        from olmoearth_nb.runners.maps import finetune_layers

        view = ImageryView(layer=layer, bands=bands, time_step=time_step, percentiles=percentiles, colormap=colormap)
        return build_map(finetune_layers(self, color_by=color_by, view=view))

    @at_home(*EVERYTHING)
    def layers(self, *, view: ImageryView | None = None) -> list[Layer]:
        """What there is by now as layers of a map, for maps of your own: ``olmoearth_nb.maps.preview.build_map(…)``.

        Args:
            view: Which imagery, and how.
        """
        from olmoearth_nb.maps.imagery import ImageryView
        from olmoearth_nb.runners.maps import finetune_layers

        return finetune_layers(self, color_by=None, view=view or ImageryView())

    @at_home(*EVERYTHING)
    def compare(self, left: object, right: object, *, bands: str | Sequence[str] | None = None) -> CompareView:
        """A live map with a line across that can be moved: left of it one thing is seen, right of it another.

        Args:
            left: ``imagery``, ``labels``, ``prediction`` or ``confidence`` of this runner, another runner (its
                prediction), or anything that :func:`olmoearth_nb.preview` shows, a GeoTIFF, say.
            right: The same.
            bands: Names of the bands of imagery; natural colours if None.

        Raises:
            UsageError: If a word or a band is not known.
            MissingStepError: If what it means does not exist yet.
        """
        from olmoearth_nb.maps.imagery import ImageryView
        from olmoearth_nb.runners.maps import comparison

        return comparison(self, left, right, view=ImageryView(bands=bands))

    @at_home(*EVERYTHING)
    def browse(
        self, *, color_by: str | None = None, label: str | None = None, bands: str | Sequence[str] | None = None
    ) -> WindowBrowser:
        """The windows one by one, on a map, in a table and in detail: ``browser.selected``, ``browser.split``.

        Args:
            color_by: Column of ``runner.windows()`` to colour windows by; ``split`` if None.
            label: Name of the label; the first one if None.
            bands: Names of the bands of the first layer of imagery; all layers in natural colours if None.

        Raises:
            MissingStepError: If ``prepare_labeled_windows()`` has not been run.
            MissingDependencyError: If leafmap is not installed.
            UsageError: If there is no such column.
        """
        from olmoearth_nb.maps.imagery import ImageryView
        from olmoearth_nb.runners.browsing import finetune_browser

        view = None if bands is None else ImageryView(bands=bands)
        return finetune_browser(self, color_by=color_by, label=label, view=view)

    @at_home()
    def status(self) -> Status:
        """How far this scratch is: per step done, partly (n of m) or missing."""
        prepare, build, train = STEPS
        states = dict.fromkeys(STEPS, "missing")
        try:
            self.scratch.require(STEPS[0])
        except StaleScratchError:
            return Status(dict.fromkeys(STEPS, STALE))
        except OlmoEarthError:
            return Status(states)
        windows = self.scratch.windows()
        layers = list(imagery_layers(self.scratch.dataset))
        done = completed_layers(self.scratch.dataset, [(window.group, window.name) for window in windows], layers)
        states[prepare] = "done"
        states[build] = progress_state(sum(map(all, done)), len(windows))
        if self.scratch.stamps.is_done(train):
            states[train] = "done"
        elif self.scratch.stamps.inputs(train) is not None:
            states[train] = "partly (not finished)"
        return Status(states)

    def model(self, checkpoint: str | PathLike[str] | None = None) -> LoadedModel:
        """The model with its best checkpoint, loaded once for this runner.

        Args:
            checkpoint: Another checkpoint.

        Raises:
            MissingStepError: If there is no checkpoint.
            ModelError: If the model can't be loaded.
        """
        chosen = input_path(checkpoint, "checkpoint") or self.best_checkpoint()
        return self._models.load(chosen, self._variables())

    @at_home("training")
    def traced_model(self, checkpoint: str | PathLike[str] | None = None) -> LoadedModel:
        """The model for looking at what it does: before any training, with random weights.

        Args:
            checkpoint: Another checkpoint than the best of the training.

        Raises:
            ModelError: If the model or a checkpoint that was given can't be loaded.
        """
        training = self.training()
        if checkpoint is None and (training is None or training.best_checkpoint is None):
            return self._models.load(None, self._variables())
        return self.model(checkpoint)

    @at_home(*EVERYTHING)
    @with_modules
    def trace(
        self,
        window: object,
        *,
        features: Sequence[str] = (),
        checkpoint: str | PathLike[str] | None = None,
        split: str = "test",
    ) -> WindowTrace:
        """One window on its way through the model, from the file on disk to the loss; nothing is written.

        Before any training the weights are random, and the trace says so.

        Args:
            window: Its name (``name`` or ``group/name``), a row of ``runner.windows()``, an rslearn window, a place
                (longitude, latitude), or a polygon in WGS84 (shapely or GeoJSON). A place takes the window that it lies
                in. Where there is none, and for a polygon, a window is built in a temporary dataset.
            features: Names of modules whose outputs are kept; ``trace.modules()`` lists them.
            checkpoint: Another checkpoint than the best of the training.
            split: Whose transforms and crops to use: those of ``test``, as evaluations do, of ``predict``, as a
                prediction does, of ``val`` or, with its random changes, of ``train``.

        Raises:
            MissingStepError: If there are no windows yet.
            UsageError: If there is no such window, module or split.
            InferenceError: If the window can't be read or computed.
        """
        return trace_labelled(self, window, features=features, checkpoint=checkpoint, split=split)

    def best_checkpoint(self) -> Path:
        """What the training found best.

        Raises:
            MissingStepError: If there is none.
        """
        training = self.training()
        if training is None or training.best_checkpoint is None:
            raise MissingStepError(
                "There is no checkpoint yet.", where=str(self.workspace.trainer), fix="Call runner.fine_tune() first."
            )
        return training.best_checkpoint

    def needed(self, kinds: frozenset[Kind], ids: Ids) -> Needs:  # noqa: ARG002  # of runners with partitions
        """Files of the windows, and of the training.

        Args:
            kinds: Which of them.
            ids: Nothing; a fine-tuning has no partitions.
        """
        return Needs(kinds=kinds)

    # ---- inner -----------------------------------------------------------------------------------------------

    def _variables(self) -> Mapping[str, str]:
        from olmoearth_nb.model.load import template_variables

        return template_variables(
            dataset_path=self.workspace.dataset,
            # Where it would be: weights there are not needed to go on with a training, or with random ones.
            extra_files_path=self.project.extra_files_path or self.project.path / "extra_model_files",
            trainer_data_path=self.workspace.trainer,
            num_workers=0,
            output_layer=OUTPUT_LAYER,
        )


def training_summary(result: TrainingResult, seconds: float, notes: tuple[str, ...]) -> TrainingSummary:
    """A training as its step tells of it.

    Args:
        result: The training.
        seconds: How long it took.
        notes: What else to say.
    """
    checkpoints = (result.best_checkpoint, result.last_checkpoint)
    return TrainingSummary(
        step=StepName.FINE_TUNE,
        counts={"epochs": result.epochs},
        seconds=seconds,
        files=tuple(dict.fromkeys(path for path in checkpoints if path is not None)),
        notes=notes,
        best_checkpoint=result.best_checkpoint,
        last_checkpoint=result.last_checkpoint,
        monitor=result.monitor,
        best_score=result.best_score,
        history=tuple(result.history),
    )
