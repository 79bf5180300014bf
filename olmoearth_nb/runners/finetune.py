"""The fine-tuning workflow, step by step: prepare labelled windows, build their imagery, train."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import rasterio
from rslearn.dataset import Window

from olmoearth_nb.errors import (
    BuildError,
    InputFileError,
)
from olmoearth_nb.files import kept_readings
from olmoearth_nb.labels.prepare import PreparedWindow, prepare_windows
from olmoearth_nb.many import rarely_collected
from olmoearth_nb.progress import open_bar
from olmoearth_nb.runners.base import (
    alone,
    counted,
    pick_steps,
    raise_if_failed,
    spread,
)
from olmoearth_nb.runners.components import check_once, with_modules
from olmoearth_nb.runners.engines import build_workers
from olmoearth_nb.runners.finetune_looks import STEPS, FineTuneLooks, training_summary
from olmoearth_nb.runners.home import at_home
from olmoearth_nb.runners.summaries import (
    BuildSummary,
    PrepareSummary,
    StepSummary,
    TrainingSummary,
)
from olmoearth_nb.store.label_layer import LabelWriter
from olmoearth_nb.store.materialize import build_windows
from olmoearth_nb.store.windows import update_failures
from olmoearth_nb.store.workspace import make_folder
from olmoearth_nb.types import DataSplitType, StepName, WindowSpec

if TYPE_CHECKING:
    pass

__all__ = ["OlmoEarthRunFineTuneRunner"]


class OlmoEarthRunFineTuneRunner(FineTuneLooks):
    """Fine-tunes on annotations, step by step; every step can be run alone, again, and in a new process.

    Args:
        project_path: The project folder; a URL (``s3://…``) or a ``UPath`` too.
        scratch_path: Folder for everything the run writes. On an object store, steps work in a copy on this machine,
            and what they make is sent there as they go, checkpoints too.
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

    @at_home(writes=True)
    @alone
    @with_modules
    @rarely_collected()
    def prepare_labeled_windows(self, *, overwrite: bool = False) -> PrepareSummary:
        """Makes labelled windows of the annotation tasks, with splits, and writes them into the dataset.

        Args:
            overwrite: Remove the windows that were made of other annotations or with another configuration.

        Raises:
            StaleScratchError: If the windows were made from other files and ``overwrite`` is not given.
            OlmoEarthError: If annotations or configuration are wrong.
        """
        start, step = time.monotonic(), StepName.PREPARE_LABELED_WINDOWS
        with kept_readings():
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
            with rasterio.Env():  # else each call of rasterio makes one, which takes longer than projecting a point
                for window in prepared:
                    splits[window.split.value] += 1
                    written += _write(writer, window, prep.split_property)
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

    @at_home("tiles", writes=True)
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
            in_workers=build_workers(None, self.project.search_path),
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

    @at_home("imagery", "training", writes=True)
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
        return training_summary(result, time.monotonic() - start, self.scratch.notes())

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


def _write(writer: LabelWriter, prepared: PreparedWindow, split_property: str) -> bool:
    """Writes a labelled window, unless it is there; returns whether it was written."""
    if writer.is_written(prepared.window.name):
        return False
    options = {split_property: prepared.split.value, "source_task_id": str(prepared.source_task_id)}
    writer.write(prepared.window, options)
    return True


def _spec(window: Window) -> WindowSpec:
    return WindowSpec(
        name=window.name,
        group=window.group,
        projection=window.projection,
        bounds=window.bounds,
        time_range=window.time_range,
        features=(),
    )
