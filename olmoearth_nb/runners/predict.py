"""The prediction workflow, step by step: partition, build, infer, postprocess, combine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

from olmoearth_nb.errors import (
    BuildError,
    InferenceError,
    MissingStepError,
    UsageError,
)
from olmoearth_nb.labels.rasterize import whole_number
from olmoearth_nb.many import rarely_collected
from olmoearth_nb.progress import open_bar
from olmoearth_nb.runners import stages
from olmoearth_nb.runners.away import AwayEngine
from olmoearth_nb.runners.base import (
    Ids,
    alone,
    counted,
    pick_steps,
    raise_if_failed,
    several,
)
from olmoearth_nb.runners.combining import combine
from olmoearth_nb.runners.components import with_modules
from olmoearth_nb.runners.engines import Engine, build_workers, open_engine
from olmoearth_nb.runners.home import at_home
from olmoearth_nb.runners.jobs import ModelSource, chunk_length, postprocess_on, predict_on
from olmoearth_nb.runners.predict_looks import STEPS, PredictionLooks
from olmoearth_nb.runners.summaries import (
    BuildSummary,
    InferenceSummary,
    PartitionSummary,
    PostprocessSummary,
    PredictionResult,
    StepSummary,
)
from olmoearth_nb.runners.takeover import is_of_olmoearth_runner, take_over
from olmoearth_nb.runners.unfinished import Unfinished
from olmoearth_nb.store.materialize import build_windows
from olmoearth_nb.store.sqlite import ThreadedStorage, WindowStorage
from olmoearth_nb.store.windows import WindowKey, as_window, update_failures
from olmoearth_nb.types import StepName, WindowSpec

if TYPE_CHECKING:
    from olmoearth_nb.model.predict import WindowOutcome

__all__ = ["OlmoEarthRunPredictRunner"]

MANY_WINDOWS = 20_000
"""More windows than this are kept in SQLite, unless somebody says otherwise."""


class OlmoEarthRunPredictRunner(PredictionLooks):
    """Predicts for a request, step by step; every step can be run alone, again, and in a new process.

    Args:
        project_path: The project folder; like all paths here, a URL (``s3://…``) or a ``UPath`` too.
        scratch_path: Folder for everything the run writes. On an object store, steps work in a copy on this machine,
            and what they make is sent there as they go.
        request_geometry_path: The request; the project's own if None.
        checkpoint_path: The checkpoint; the project's own if None.
        random_weights: Use random weights, the same each time, in place of a checkpoint: to try a project without one.
            Nothing is fetched, and what is made says so.
        mask_path: GeoTIFF, GeoJSON or folder of one kind; only its valid area is predicted.
        mask_valid_values: Values of a raster mask that are valid.
        device: ``cuda``, ``mps`` or ``cpu``; the best there is if None.
        precision: ``32``, ``bf16-mixed`` or ``16-mixed``; single precision if None.
        batch_size: Crops or windows a batch; that of ``model.yaml`` if None.
        build: How to build the dataset (worker processes, retries).
        progress: See :mod:`olmoearth_nb.progress`.

    Raises:
        ProjectError: If the project folder or the request is not there.
        UsageError: If both a checkpoint and random weights are asked for.

    Example:
        >>> runner = OlmoEarthRunPredictRunner("project", "scratch")  # doctest: +SKIP
        >>> ids = runner.partition()  # doctest: +SKIP
        >>> runner.build_dataset(ids)  # doctest: +SKIP
    """

    _engine: Engine | None = None
    _threads: int | None = None

    @at_home(writes=True)
    @alone
    @with_modules
    @rarely_collected()
    def partition(self, *, overwrite: bool = False, storage: WindowStorage | None = None) -> PartitionSummary:
        """Splits the request into partitions and windows and creates them in the dataset.

        Those that olmoearth-runner made of the same request in this scratch are taken over.

        Args:
            overwrite: Remove the windows and results of another request or partitioning that lie in this scratch.
            storage: ``files`` for a folder with ``metadata.json`` for each window, as users' scripts read them;
                ``sqlite`` for rows of ``dataset_0/windows.sqlite3``. If None, what ``dataset.json`` says, else SQLite
                beyond 20,000 windows.

        Raises:
            StaleScratchError: If the scratch was made from other files and ``overwrite`` is not given.
            OlmoEarthError: If request, configuration or mask are wrong.
        """
        start, scratch, step = time.monotonic(), self.scratch, StepName.PARTITION
        notes = self._check(step)
        if not overwrite and is_of_olmoearth_runner(scratch):
            notes += (take_over(scratch, self.components, self.plan()),)
        elif not overwrite:
            scratch.check(step)
        if overwrite or not scratch.stamps.is_done(step):
            planned = self.plan()
            scratch.forget(step)
            if planned.counts.windows > MANY_WINDOWS and "storage" not in self.project.dataset_config():
                storage = storage or "sqlite"
            scratch.begin(step, storage=storage)
            scratch.write_plan(planned)
            scratch.stamps.finish(step, made=planned.partition_ids)
            partitions = {one.partition_id: one.windows for one in planned.partitions}
        else:
            partitions = {pid: tuple(scratch.windows_of(pid)) for pid in scratch.partition_ids()}
        scratch.stamps.begin_code(step, self.components.partitioning_code(), redo="runner.partition(overwrite=True)")
        uses = Counter((spec.group, spec.name) for windows in partitions.values() for spec in windows)
        if isinstance(scratch.dataset.storage, ThreadedStorage):
            notes += ("Windows are rows of dataset_0/windows.sqlite3; storage='files' makes a folder for each.",)
        return PartitionSummary(
            step=step,
            counts={
                "partitions": len(partitions),
                "windows": len(uses),
                "shared": sum(count > 1 for count in uses.values()),
            },
            seconds=time.monotonic() - start,
            notes=notes,
            partitions={pid: len(windows) for pid, windows in partitions.items()},
        )

    @at_home("tiles", writes=True)
    @with_modules
    def build_dataset(self, ids: Ids = None, *, overwrite: bool = False, strict: bool = False) -> BuildSummary:
        """Gets the imagery of the windows of some partitions; windows that have theirs are left as they are.

        Args:
            ids: One partition id, several, or None for all.
            overwrite: Build all windows anew that were built, with other files if need be.
            strict: Raise if any window has no imagery, not only if all have none.

        Raises:
            MissingStepError: If ``partition()`` has not been run.
            BuildError: If no window got its imagery.
        """
        start, scratch, step = time.monotonic(), self.scratch, StepName.DATASET_BUILD
        notes = self._check(step)
        specs = scratch.specs(scratch.partition_ids(ids))
        if overwrite:
            scratch.forget(step)
        scratch.begin(step)
        outcomes = build_windows(
            self.workspace.dataset,
            list(specs.values()),
            options=self.build_options,
            progress=self.progress,
            in_workers=build_workers(self._engine, self.project.search_path),
        )
        failed = {key: reason for key, reason in outcomes.items() if reason is not None}
        update_failures(scratch.failures_path(step), specs, failed)
        raise_if_failed(BuildError, "got its imagery", failed, len(specs), strict=strict)
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

    @at_home("imagery", writes=True)
    @with_modules
    def run_inference(self, ids: Ids = None, *, overwrite: bool = False, strict: bool = False) -> InferenceSummary:
        """Runs the model on the windows of some partitions; windows that have their output are skipped.

        Args:
            ids: One partition id, several, or None for all.
            overwrite: Predict all windows anew that were predicted, with another checkpoint if need be.
            strict: Raise if any window fails, not only if all do.

        Raises:
            MissingStepError: If the windows have not been built.
            InferenceError: If no window could be predicted.
            ModelError: If the model or the checkpoint can't be loaded.
        """
        start, scratch, step = time.monotonic(), self.scratch, StepName.INFERENCE
        self._check(step)
        specs = scratch.specs(scratch.partition_ids(ids))
        scratch.check(StepName.DATASET_BUILD)
        ready, without_imagery = scratch.with_imagery(specs)
        if overwrite:
            scratch.forget(step)
        scratch.begin(step)
        done = scratch.predicted(ready)
        unfinished = Unfinished(self.workspace.state, ready)
        before = unfinished.predicted_before(done)
        outcomes = self._predicted([spec for key, spec in ready.items() if key not in before], done)
        unfinished.end()
        failed = {
            (outcome.group, outcome.name): outcome.reason or outcome.state
            for outcome in outcomes
            if outcome.state in ("failed", "dropped")
        }
        update_failures(scratch.failures_path(step), ready, failed)
        # Windows without imagery were reported by the build; a loop over partitions goes on past them.
        raise_if_failed(InferenceError, "could be predicted", failed, len(ready), strict=False)
        failed |= without_imagery
        raise_if_failed(InferenceError, "could be predicted", failed, len(specs) + 1, strict=strict)
        return InferenceSummary(
            step=step,
            counts={
                "windows": len(specs),
                "predicted": sum(outcome.state == "written" for outcome in outcomes),
                "predicted before": len(done),
                "failed": len(failed),
            },
            seconds=time.monotonic() - start,
            problems=counted(failed),
            notes=scratch.notes(),
        )

    @at_home("output", "merged", writes=True)
    @with_modules
    def postprocess(self, ids: Ids = None) -> PostprocessSummary:
        """Postprocesses the windows of some partitions and merges them, partition by partition.

        A partition whose predictions and configuration have not changed since is left as it is.

        Args:
            ids: One partition id, several, or None for all.

        Raises:
            MissingStepError: If no window of these partitions has been predicted.
            PostprocessError: If a postprocessor fails.
        """
        start, scratch, step = time.monotonic(), self.scratch, StepName.POSTPROCESS
        self._check(step)
        wanted = scratch.partition_ids(ids)
        scratch.check(StepName.INFERENCE)
        stage = stages.PartitionStage(scratch, self.components, self._mask())
        outcomes: list[stages.PartitionOutcome] = []
        bar = open_bar(self.progress, total=len(wanted), desc="Postprocessing", unit="partition")
        try:
            if self._engine is not None:
                outcomes = postprocess_on(self._engine, stage, wanted, bar)
            else:
                for pid in wanted:
                    outcomes.append(stage.run(pid))
                    bar.update(1)
        finally:
            bar.close()
        unpredicted = scratch.not_yet_predicted(wanted)
        if unpredicted and not any(outcome.windows for outcome in outcomes):
            raise MissingStepError(
                f"None of the {unpredicted} windows of these partitions has been predicted.",
                where=str(self.workspace.root),
                fix="Call runner.run_inference() first.",
            )
        return PostprocessSummary(
            step=step,
            counts={
                "partitions": len(wanted),
                "processed": sum(not outcome.unchanged for outcome in outcomes),
                "unchanged": sum(outcome.unchanged for outcome in outcomes),
                "windows": sum(outcome.windows for outcome in outcomes),
            },
            seconds=time.monotonic() - start,
            files=tuple(path for outcome in outcomes for path in outcome.files),
            problems={
                outcome.partition_id: f"{outcome.missing} of its windows have no prediction."
                for outcome in outcomes
                if outcome.missing
            },
            notes=scratch.notes(),
        )

    @at_home("merged", "results", writes=True)
    @alone
    @with_modules
    def combine(self, ids: Ids = None) -> PredictionResult:
        """Combines the results of partitions into the result of the request.

        Args:
            ids: One partition id, several, or None for all.

        Raises:
            MissingStepError: If a partition has not been postprocessed.
            PostprocessError: If the postprocessor fails.
        """
        start, step = time.monotonic(), StepName.COMBINE
        self._check(step)
        wanted = self.scratch.partition_ids(ids)
        bar = open_bar(self.progress, total=len(wanted), desc="Combining", unit="partition")
        try:
            outcome = combine(self.scratch, self.components, wanted)
            bar.update(len(wanted))
        finally:
            bar.close()
        return PredictionResult(
            step=step,
            counts={"partitions": len(wanted), "files": len(outcome.files)},
            seconds=time.monotonic() - start,
            files=outcome.files,
            notes=outcome.notes + self.scratch.notes(),
            data_type=self.components.data_type,
            legend=self.project.legend,
        )

    def run_pipeline(self, steps: Sequence[str] | None = None, ids: Ids = None) -> list[StepSummary]:
        """Runs steps in their order.

        Args:
            steps: Names out of partition, dataset_build, inference, postprocess, combine; all if None.
            ids: Partitions for the steps after ``partition``; all if None.

        Raises:
            UsageError: If a step is not known.
            OlmoEarthError: Whatever a step raises; errors of the configuration before the first step starts.
        """
        wanted = pick_steps(steps, STEPS)
        self._check(*wanted)
        picked = None if ids is None else several(ids, what="partition ids")
        calls: dict[StepName, Callable[[], StepSummary]] = {
            StepName.PARTITION: self.partition,
            StepName.DATASET_BUILD: lambda: self.build_dataset(picked),
            StepName.INFERENCE: lambda: self.run_inference(picked),
            StepName.POSTPROCESS: lambda: self.postprocess(picked),
            StepName.COMBINE: lambda: self.combine(picked),
        }
        return [calls[step]() for step in wanted]

    def run(
        self,
        steps: Sequence[str] | None = None,
        ids: Ids = None,
        *,
        engine: str = "serial",
        workers: int | None = None,
        client: object = None,
        threads: int = 1,
    ) -> list[StepSummary]:
        """Runs steps in their order, in this process, in several, or on the workers of a cluster.

        The files are the same, bit for bit, with each engine and any number of workers, on machines of one kind. What a
        worker that dies had in hand is done again by another one. On a machine with several GPUs each worker computes
        on one of its own, in turn, or on the one that its cluster gave it (``CUDA_VISIBLE_DEVICES``).

        Args:
            steps: See :meth:`run_pipeline`.
            ids: See :meth:`run_pipeline`.
            engine: ``serial``: this process. ``processes``: worker processes of this machine. ``dask``: a Dask cluster.
            workers: Processes on this machine; as many as it has cores, at most 8, if None.
            client: For ``dask``: a ``distributed.Client``, or a scheduler's address, whose workers see project, scratch
                and imagery at the same paths, unless these are URLs; a cluster on this machine, for the length of the
                call, if None.
            threads: Threads of a forward pass on a CPU, in each worker; the last bits of a result depend on it.

        Raises:
            UsageError: If an argument does not fit.
            MissingDependencyError: If ``dask`` is wanted and is not installed.
            WorkerError: If workers die again and again.
            OlmoEarthError: Whatever a step raises.
        """
        whole_number(threads, where="threads", at_least=1, error=UsageError)
        path = self.project.search_path
        with open_engine(engine, workers=workers, client=client, search_path=path) as opened:
            self._engine, self._threads = self._reaching(opened) if client is not None else opened, threads
            try:
                return self.run_pipeline(steps, ids)
            finally:
                self._engine, self._threads = None, None

    def _reaching(self, engine: Engine | None) -> Engine | None:
        """The engine for workers that may be on other machines, where the scratch can be reached from there."""
        if engine is None or self.home is None:
            return engine
        return AwayEngine(
            engine,
            self.home,
            sources=self.sources,
            project=None if self.project.place is None else self.project.place.url,
            windows_of=self.scratch.windows_of,
            dataset=self.workspace.dataset.name,
        )

    def _predicted(self, specs: Sequence[WindowSpec], done: Collection[WindowKey]) -> Sequence[WindowOutcome]:
        """Predicts windows; those that are done are only computed with others of their batch."""
        if all((spec.group, spec.name) in done for spec in specs):
            return []
        if self._engine is None:
            from olmoearth_nb.model.predict import predict_windows

            dataset = self.scratch.dataset
            return predict_windows(
                self.model(),
                [as_window(dataset, spec) for spec in specs],
                batch_size=self.batch_size,
                progress=self.progress,
                chunk=chunk_length(len(specs)),
                fill=True,
                threads=self._threads,
            )
        source = ModelSource(
            project=self.project,
            checkpoint=self._weights(),
            variables=self._variables(),
            device=self.device,
            precision=self.precision,
            batch_size=self.batch_size,
            threads=self._threads,
        )
        bar = open_bar(self.progress, total=len(specs), desc="Predicting")
        try:
            return predict_on(self._engine, source, self.workspace.dataset, specs, bar, done=done)
        finally:
            bar.close()
