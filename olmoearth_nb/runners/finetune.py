"""The fine-tuning workflow, step by step: prepare labelled windows, build their imagery, train."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd
from rslearn.dataset import Window

from olmoearth_nb.config import Project
from olmoearth_nb.errors import (
    BuildError,
    InputFileError,
    MissingStepError,
    OlmoEarthError,
    ProjectError,
    StaleScratchError,
)
from olmoearth_nb.evaluation.ranking import check_criterion
from olmoearth_nb.files import absolute_path
from olmoearth_nb.labels.prepare import prepare_windows
from olmoearth_nb.labels.tasks import AnnotationTasks, read_annotation_tasks
from olmoearth_nb.progress import Progress, open_bar
from olmoearth_nb.runners.base import (
    alone,
    build_options,
    counted,
    pick_steps,
    raise_if_failed,
    scratch_folder,
    spread,
)
from olmoearth_nb.runners.components import Components, check_once, with_modules, worker_start
from olmoearth_nb.runners.evaluation import Evaluation
from olmoearth_nb.runners.finetune_scratch import FineTuneScratch
from olmoearth_nb.runners.frames import finetune_frame
from olmoearth_nb.runners.label_report import LabelReport, make_label_report
from olmoearth_nb.runners.measuring import measured_splits
from olmoearth_nb.runners.models import Models
from olmoearth_nb.runners.plots import FineTunePlots
from olmoearth_nb.runners.summaries import (
    STALE,
    BuildSummary,
    PrepareSummary,
    Status,
    StepSummary,
    TrainingSummary,
    progress_state,
)
from olmoearth_nb.runners.tracing import trace_labelled
from olmoearth_nb.runners.window_trace import WindowTrace
from olmoearth_nb.runners.worst import WorstWindows
from olmoearth_nb.store.dataset import imagery_layers
from olmoearth_nb.store.label_layer import LabelWriter
from olmoearth_nb.store.materialize import BuildOptions, build_windows
from olmoearth_nb.store.windows import completed_layers, update_failures
from olmoearth_nb.store.workspace import OUTPUT_LAYER, FineTuneWorkspace, make_folder
from olmoearth_nb.types import DataSplitType, StepName, WindowSpec

if TYPE_CHECKING:
    from olmoearth_nb.maps.compare import CompareView
    from olmoearth_nb.maps.imagery import ImageryView
    from olmoearth_nb.maps.layers import Layer
    from olmoearth_nb.maps.view import MapView
    from olmoearth_nb.maps.widgets.browser import WindowBrowser
    from olmoearth_nb.model.finetune import TrainingResult
    from olmoearth_nb.model.load import LoadedModel

__all__ = ["OlmoEarthRunFineTuneRunner"]

STEPS = (StepName.PREPARE_LABELED_WINDOWS, StepName.BUILD_DATASET_FROM_WINDOWS, StepName.FINE_TUNE)


class OlmoEarthRunFineTuneRunner:
    """Fine-tunes on annotations, step by step; every step can be run alone, again, and in a new process.

    Args:
        project_path: The project folder.
        scratch_path: Folder for everything the run writes.
        random_weights: Start training from random weights in place of pretrained ones, which would be fetched.
        device: ``cuda``, ``mps`` or ``cpu``; the best there is if None.
        precision: ``32``, ``bf16-mixed`` or ``16-mixed``; that of ``model.yaml`` if None.
        build: How to build the dataset (worker processes, retries).
        progress: See :mod:`olmoearth_nb.progress`.

    Raises:
        ProjectError: If the project folder is not there.

    Example:
        >>> runner = OlmoEarthRunFineTuneRunner("project", "scratch")  # doctest: +SKIP
        >>> runner.prepare_labeled_windows()  # doctest: +SKIP
    """

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
        self.workspace = FineTuneWorkspace(scratch_folder(scratch_path, self.project.path))
        self.device = device
        self.precision = precision
        self.build_options = build_options(build)
        self.progress = progress
        self.components = Components(self.project)
        self.scratch = FineTuneScratch(self.project, self.workspace, random_weights)
        self._models = Models(self.project, device=device, precision=precision)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(project={str(self.project.path)!r}, scratch={str(self.workspace.root)!r})"

    def _repr_html_(self) -> str:
        return self.status()._repr_html_()

    # ---- the steps -------------------------------------------------------------------------------------------

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

    def label_report(self) -> LabelReport:
        """What is doubtful about the labels, before imagery is paid for; works before windows are prepared and after.

        Returns:
            A table with a verdict a line; its ``map()`` shows where, its ``conflicts``, ``leaks`` and others what.

        Raises:
            InputFileError: If an annotation file is missing or no GeoJSON.
        """
        return make_label_report(self)

    @alone
    @with_modules
    def prepare_labeled_windows(self, *, overwrite: bool = False) -> PrepareSummary:
        """Makes labelled windows of the annotation tasks, with splits, and writes them into the dataset.

        Args:
            overwrite: Remove the windows that were made of other annotations or with another configuration.

        Raises:
            StaleScratchError: If the windows were made from other files and ``overwrite`` is not given.
            OlmoEarthError: If annotations or configuration are wrong.
        """
        start, step = time.monotonic(), StepName.PREPARE_LABELED_WINDOWS
        notes = check_once(self.project, self.workspace.state, [step])
        if not overwrite:
            self.scratch.check(step)
        tasks = self.annotation_tasks()
        prepared = prepare_windows(
            tasks.tasks,
            sampler=self.components.sampler(),
            preparer=self.components.window_preparer(),
            splitter=self.components.data_splitter(),
        )
        if overwrite:
            self.scratch.forget(step)
        self.scratch.begin(step)
        redo = "runner.prepare_labeled_windows(overwrite=True)"
        self.scratch.stamps.begin_code(step, self.components.labelling_code(), redo=redo)
        prep = self.scratch.window_prep
        writer = LabelWriter(self.scratch.dataset, group=prep.group_name, layer=prep.label_layer)
        written, shown, splits = 0, 0, Counter[str]()
        bar = open_bar(self.progress, total=len(prepared.tasks), desc="Preparing labelled windows", unit="task")
        try:
            for window in prepared:
                splits[window.split.value] += 1
                written += self.scratch.write(writer, window)
                bar.update(prepared.done_tasks - shown)
                shown = prepared.done_tasks
            bar.update(len(prepared.tasks) - shown)
        finally:
            bar.close()
        if not splits:
            raise InputFileError(
                "The annotation tasks give no labelled windows.",
                where=str(self.project.annotation_paths[0]),
                found=f"{tasks.task_count} tasks with {tasks.annotation_count} annotations; "
                f"{len(prepared.tasks)} tasks after sampling",
                fix="Check that annotations lie in their tasks, and the sampler and window preparer.",
            )
        self.scratch.stamps.finish(step)
        return PrepareSummary(
            step=step,
            counts={
                "tasks": tasks.task_count,
                "tasks sampled": len(prepared.tasks),
                "tasks without windows": len(prepared.empty_tasks),
                "annotations without task": tasks.left_out_count,
                "windows": sum(splits.values()),
                "written": written,
                **{split.value: splits[split.value] for split in DataSplitType},
            },
            seconds=time.monotonic() - start,
            files=(self.workspace.dataset,),
            notes=notes,
        )

    @alone
    @with_modules
    def build_dataset_from_windows(
        self, *, overwrite: bool = False, strict: bool = False, limit: int | None = None
    ) -> BuildSummary:
        """Gets the imagery of the labelled windows; windows that have theirs are left as they are.

        Args:
            overwrite: Build all windows anew, with other files if need be.
            strict: Raise if any window has no imagery, not only if all have none.
            limit: Build only so many windows, spread over all, to look at first; a call without it builds the others.

        Raises:
            UsageError: If ``limit`` is no number above 0.
            MissingStepError: If ``prepare_labeled_windows()`` has not been run.
            BuildError: If no window got its imagery.
        """
        start, step = time.monotonic(), StepName.BUILD_DATASET_FROM_WINDOWS
        notes = check_once(self.project, self.workspace.state, [step])
        self.scratch.require(STEPS[0])
        if overwrite:
            self.scratch.forget(step)
        self.scratch.begin(step)
        every = [_spec(window) for window in self.scratch.windows()]
        specs = spread(every, limit)
        outcomes = build_windows(
            self.workspace.dataset,
            specs,
            options=self.build_options,
            progress=self.progress,
            start_worker=worker_start(self.project),
        )
        failed = {key: reason for key, reason in outcomes.items() if reason is not None}
        update_failures(self.scratch.failures_path, [(spec.group, spec.name) for spec in specs], failed)
        raise_if_failed(BuildError, "got its imagery", failed, len(specs), strict=strict)
        if len(specs) == len(every):
            self.scratch.stamps.finish(step)
        else:
            notes = (*notes, f"{len(specs)} of {len(every)} windows were wanted; the step is not done.")
        return BuildSummary(
            step=step,
            counts={
                "windows": len(specs),
                "built": len(outcomes) - len(failed),
                "built before": len(specs) - len(outcomes),
                "without imagery": len(failed),
            },
            seconds=time.monotonic() - start,
            problems=counted(failed),
            notes=notes,
        )

    @alone
    @with_modules
    def fine_tune(self, *, max_epochs: int | None = None, overwrite: bool = False) -> TrainingSummary:
        """Trains the model of ``model.yaml`` on the labelled windows; a training that was ended goes on.

        Args:
            max_epochs: Instead of the number in ``model.yaml``.
            overwrite: Train anew, with another model if need be.

        Raises:
            MissingStepError: If the windows have not been built.
            TrainingError: If training can't start or fails.
        """
        from olmoearth_nb.model.finetune import fine_tune, read_training

        start, step = time.monotonic(), StepName.FINE_TUNE
        check_once(self.project, self.workspace.state, [step])
        self.scratch.require(STEPS[0], STEPS[1])
        if overwrite:
            self.scratch.forget(step)
        self.scratch.check(step)
        result = read_training(self.workspace.trainer) if self.scratch.stamps.is_done(step) else None
        if result is None or result.epochs < (max_epochs or 0):
            self.scratch.begin(step)
            result = fine_tune(
                self.project.model_config_path,
                variables=self._variables(),
                dataset_path=self.workspace.dataset,
                trainer_dir=make_folder(self.workspace.trainer),
                max_epochs=max_epochs,
                device=self.device,
                precision=self.precision,
                progress=self.progress,
                random_weights=self.scratch.random_weights,
            )
            self.scratch.stamps.finish(step)
        return _training_summary(result, time.monotonic() - start, self.scratch.notes())

    def run_pipeline(self, steps: Sequence[str] | None = None) -> list[StepSummary]:
        """Runs steps in their order.

        Args:
            steps: Names out of prepare_labeled_windows, build_dataset_from_windows, fine_tune; all if None.

        Raises:
            UsageError: If a step is not known.
            OlmoEarthError: Whatever a step raises; errors of the configuration before the first step starts.
        """
        wanted = pick_steps(steps, STEPS)
        check_once(self.project, self.workspace.state, wanted)
        calls: dict[StepName, Callable[[], StepSummary]] = {
            StepName.PREPARE_LABELED_WINDOWS: self.prepare_labeled_windows,
            StepName.BUILD_DATASET_FROM_WINDOWS: self.build_dataset_from_windows,
            StepName.FINE_TUNE: self.fine_tune,
        }
        return [calls[step]() for step in wanted]

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

    # ---- looking ---------------------------------------------------------------------------------------------

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

    def training(self) -> TrainingSummary | None:
        """The training of this scratch as far as it is, or None if none has begun."""
        from olmoearth_nb.model.finetune import read_training

        result = read_training(self.workspace.trainer)
        return None if result is None else _training_summary(result, result.seconds, self.scratch.notes())

    @property
    def plot(self) -> FineTunePlots:
        """Pictures of what there is by now: ``runner.plot.labels()``, ``runner.plot.training()`` and others."""
        return FineTunePlots(self)

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

    def layers(self, *, view: ImageryView | None = None) -> list[Layer]:
        """What there is by now as layers of a map, for maps of your own: ``olmoearth_nb.maps.preview.build_map(…)``.

        Args:
            view: Which imagery, and how.
        """
        from olmoearth_nb.maps.imagery import ImageryView
        from olmoearth_nb.runners.maps import finetune_layers

        return finetune_layers(self, color_by=None, view=view or ImageryView())

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
        chosen = self.best_checkpoint() if checkpoint is None else absolute_path(checkpoint, what="checkpoint")
        return self._models.load(chosen, self._variables())

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


def _spec(window: Window) -> WindowSpec:
    return WindowSpec(
        name=window.name,
        group=window.group,
        projection=window.projection,
        bounds=window.bounds,
        time_range=window.time_range,
        features=(),
    )


def _training_summary(result: TrainingResult, seconds: float, notes: tuple[str, ...]) -> TrainingSummary:
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
