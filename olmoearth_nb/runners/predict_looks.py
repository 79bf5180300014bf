"""What can be looked at of a prediction, whichever of its steps have been run; the scratch stays as it is."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd

from olmoearth_nb.config import PartitionStrategies, Project
from olmoearth_nb.errors import (
    MissingStepError,
    OlmoEarthError,
    StaleScratchError,
    UsageError,
)
from olmoearth_nb.evaluation.ranking import check_criterion
from olmoearth_nb.geojson import PredictionRequestCollection, read_request
from olmoearth_nb.labels.rasterize import whole_number
from olmoearth_nb.many import rarely_collected
from olmoearth_nb.planning import Plan, plan
from olmoearth_nb.postprocess.mask import Mask
from olmoearth_nb.progress import Progress
from olmoearth_nb.remote.layout import Kind, Needs
from olmoearth_nb.runners import stages
from olmoearth_nb.runners.base import (
    Ids,
    build_options,
    several,
    window_filter,
)
from olmoearth_nb.runners.components import Components, check_once, with_modules
from olmoearth_nb.runners.evaluation import Evaluation
from olmoearth_nb.runners.frames import prediction_frame
from olmoearth_nb.runners.home import EVERYTHING, at_home, input_path, open_scratch, shown, sources_of
from olmoearth_nb.runners.measuring import measured_partitions
from olmoearth_nb.runners.models import Models
from olmoearth_nb.runners.plots import PredictPlots
from olmoearth_nb.runners.predict_scratch import PredictionScratch
from olmoearth_nb.runners.summaries import (
    STALE,
    PredictionResult,
    Status,
    progress_state,
)
from olmoearth_nb.runners.tracing import trace_prediction
from olmoearth_nb.runners.window_trace import WindowTrace
from olmoearth_nb.runners.worst import WorstWindows
from olmoearth_nb.store.dataset import imagery_layers
from olmoearth_nb.store.materialize import BuildOptions
from olmoearth_nb.store.windows import completed_layers
from olmoearth_nb.store.workspace import OUTPUT_LAYER, PredictionWorkspace
from olmoearth_nb.types import StepName

if TYPE_CHECKING:
    from olmoearth_nb.maps.compare import CompareView
    from olmoearth_nb.maps.imagery import ImageryView
    from olmoearth_nb.maps.layers import Layer
    from olmoearth_nb.maps.view import MapView
    from olmoearth_nb.maps.widgets.browser import WindowBrowser
    from olmoearth_nb.maps.widgets.explorer import PartitionExplorer
    from olmoearth_nb.maps.widgets.postprocessing import PostprocessingView
    from olmoearth_nb.model.load import LoadedModel
    from olmoearth_nb.planning.estimate import Estimate
    from olmoearth_nb.planning.rates import Rates
    from olmoearth_nb.runners.finetune import OlmoEarthRunFineTuneRunner

__all__ = ["STEPS", "PredictionLooks"]

STEPS = (
    StepName.PARTITION,
    StepName.DATASET_BUILD,
    StepName.INFERENCE,
    StepName.POSTPROCESS,
    StepName.COMBINE,
)


# Partitions and windows: planning and drawing so many takes ten seconds, longer than people wait for a slider.
_MOST_SHOWN = (20_000, 150_000)


class PredictionLooks:
    """A project, a request and a scratch, and what is to be seen of them; see the runner for the arguments."""

    def __init__(
        self,
        project_path: str | PathLike[str],
        scratch_path: str | PathLike[str],
        request_geometry_path: str | PathLike[str] | None = None,
        checkpoint_path: str | PathLike[str] | None = None,
        *,
        random_weights: bool = False,
        mask_path: str | PathLike[str] | None = None,
        mask_valid_values: Sequence[int] = (1,),
        device: str | None = None,
        precision: str | None = None,
        batch_size: int | None = None,
        build: BuildOptions | None = None,
        progress: Progress = None,
    ) -> None:
        if random_weights and checkpoint_path is not None:
            raise UsageError(
                "A checkpoint and random weights exclude each other.",
                expected="checkpoint_path or random_weights",
                found=f"both, checkpoint_path={str(checkpoint_path)!r}",
            )
        self.project = Project(project_path)
        root, self.home = open_scratch(scratch_path, self.project)
        self.workspace = PredictionWorkspace(root)
        self.scratch = PredictionScratch(
            project=self.project,
            workspace=self.workspace,
            request_path=input_path(request_geometry_path, "request") or self.project.request(),
            checkpoint_path=input_path(checkpoint_path, "checkpoint") or self.project.checkpoint_path,
            mask_path=input_path(mask_path, "mask"),
            mask_valid_values=tuple(several(mask_valid_values, what="valid values of a mask")),
            random_weights=random_weights,
        )
        if batch_size is not None:
            whole_number(batch_size, where="batch_size", at_least=1, error=UsageError)
        inputs = (request_geometry_path, checkpoint_path, mask_path)
        found = (self.scratch.request_path, self.scratch.checkpoint_path, self.scratch.mask_path)
        self.sources = sources_of(self.project, zip(inputs, found, strict=True))
        self.device = device
        self.precision = precision
        self.batch_size = batch_size
        self.build_options = build_options(build)
        self.progress = progress
        self.components = Components(self.project)
        self._models = Models(self.project, device=device, precision=precision)

    def __repr__(self) -> str:
        return shown(self)

    def _repr_html_(self) -> str:
        return self.status()._repr_html_()

    def plan(self) -> Plan:
        """Partitions and windows as they would be, nothing written: for looking before paying for imagery.

        Raises:
            OlmoEarthError: If request, configuration or mask are wrong.
        """
        return self._plan(read_request(self.scratch.request_path), self._mask())

    @with_modules
    def estimate(self, *, measure: bool | None = None, rates: Rates | None = None) -> Estimate:
        """What the request takes, nothing fetched and nothing written: bytes, files, memory, hours, money, limits.

        Args:
            measure: Time the model with random weights on a window of random pixels, which takes some seconds. If None,
                where there is a checkpoint or random weights are asked for, and ``rates`` does not say it.
            rates: What is known about machines, catalogue and prices; the rest is measured or assumed, and shown.

        Raises:
            OlmoEarthError: If request, configuration or mask are wrong, or a model that is asked for can't be timed.
        """
        from olmoearth_nb.runners.estimating import estimate_request

        return estimate_request(self, measure=measure, rates=rates)

    @with_modules
    def _plan(
        self,
        request: PredictionRequestCollection,
        mask: Mask | None,
        strategies: PartitionStrategies | None = None,
        *,
        max_partitions: int | None = None,
        max_windows: int | None = None,
    ) -> Plan:
        to_partitions, to_windows = self.components.partitioners(strategies)
        return plan(
            request,
            to_partitions,
            to_windows,
            accept=None if mask is None else window_filter(mask),
            max_partitions=max_partitions,
            max_windows=max_windows,
        )

    @at_home()
    def partition_ids(self) -> list[str]:
        """Ids of the partitions of this scratch, in order of their numbers.

        Raises:
            MissingStepError: If ``partition()`` has not been run.
        """
        return self.scratch.partition_ids()

    @at_home()
    @rarely_collected()
    def windows(self, ids: Ids = None) -> gpd.GeoDataFrame:
        """The windows of some partitions: name, partition, bounds, time range, state of every layer, reasons.

        Args:
            ids: One partition id, several, or None for all.

        Returns:
            One row a window with its outline in WGS84, see :func:`olmoearth_nb.runners.frames.prediction_frame`.
        """
        scratch = self.scratch
        return prediction_frame(scratch, {pid: scratch.windows_of(pid) for pid in scratch.partition_ids(ids)})

    @property
    @at_home(*EVERYTHING)
    def plot(self) -> PredictPlots:
        """Pictures of what there is by now: ``runner.plot.windows()``, ``runner.plot.imagery()`` and others."""
        return PredictPlots(self)

    @at_home(*EVERYTHING)
    def map(
        self,
        ids: Ids = None,
        *,
        color_by: str | None = None,
        bands: str | Sequence[str] | None = None,
        layer: str | None = None,
        time_step: int = 0,
        percentiles: tuple[float, float] = (2.0, 98.0),
        colormap: str = "gray",
        tiles: bool = False,
    ) -> MapView:
        """A live map of what there is by now, for looking and picking windows: ``runner.map().selected``.

        Args:
            ids: One partition id, several, or None for all.
            color_by: Column of ``runner.windows()`` to colour windows by; ``state`` if None.
            bands: Names of the bands of imagery: one, or three as red, green and blue; natural colours if None.
            layer: Layer of dataset.json; the first one with imagery if None.
            time_step: Which image of a series, counted from 0.
            percentiles: What becomes darkest and brightest.
            colormap: Name of a matplotlib colormap, for one band.
            tiles: Show every pixel of the combined result when zooming in, by a tile server on this machine; where the
                browser does not reach it, the picture stays.

        Raises:
            MissingDependencyError: If leafmap is not installed, or localtileserver for tiles.
            UsageError: If there is no such partition, column, layer or band, or no combined GeoTIFF for tiles.
        """
        from olmoearth_nb.maps.imagery import ImageryView
        from olmoearth_nb.maps.preview import build_map
        from olmoearth_nb.runners.maps import prediction_layers

        view = ImageryView(layer=layer, bands=bands, time_step=time_step, percentiles=percentiles, colormap=colormap)
        shown = build_map(prediction_layers(self, ids, color_by=color_by, view=view))
        if tiles:
            shown.use_tiles()
        return shown

    @at_home(*EVERYTHING)
    def layers(self, *, view: ImageryView | None = None) -> list[Layer]:
        """What there is by now as layers of a map, for maps of your own: ``olmoearth_nb.maps.preview.build_map(…)``.

        Args:
            view: Which imagery, and how.
        """
        from olmoearth_nb.maps.imagery import ImageryView
        from olmoearth_nb.runners.maps import prediction_layers

        return prediction_layers(self, None, color_by=None, view=view or ImageryView())

    def explore_partitions(self) -> PartitionExplorer:
        """Settings of both stages of partitioning, with what they lead to on a map and in numbers; nothing is written.

        It starts from what ``olmoearth_run.yaml`` says; ``save()`` or its button writes the choice there.

        Raises:
            ConfigError: If ``partition_strategies`` are missing or wrong.
            InputFileError: If the request is wrong.
            MissingDependencyError: If leafmap is not installed.
        """
        from olmoearth_nb.maps.widgets.explorer import PartitionExplorer

        request, mask = read_request(self.scratch.request_path), self._mask()

        def planned(strategies: PartitionStrategies) -> Plan:
            return self._plan(request, mask, strategies, max_partitions=_MOST_SHOWN[0], max_windows=_MOST_SHOWN[1])

        return PartitionExplorer(self.project, request, planned)

    @at_home(*EVERYTHING)
    def explore_postprocessing(self, stage: str = "partition", *, partition: str | None = None) -> PostprocessingView:
        """A stage of postprocessing before and after, to try other settings on: nothing in the scratch changes.

        Args:
            stage: ``window``, ``partition`` or ``dataset``; can be changed in the view.
            partition: A partition; the first one if None, or all of them for ``dataset``.

        Raises:
            MissingStepError: If what goes into the stage has not been made yet.
            MissingDependencyError: If leafmap is not installed.
            UsageError: If there is no such stage or partition.
        """
        from olmoearth_nb.maps.widgets.postprocessing import PostprocessingView
        from olmoearth_nb.runners.trial import PostprocessingBench

        bench = PostprocessingBench(self.scratch, self.components, self._mask())
        return PostprocessingView(bench, stage=stage, partition=partition)

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
        self, ids: Ids = None, *, color_by: str | None = None, bands: str | Sequence[str] | None = None
    ) -> WindowBrowser:
        """The windows one by one, on a map, in a table and in detail: ``browser.selected``, ``browser.state``.

        Args:
            ids: One partition id, several, or None for all.
            color_by: Column of ``runner.windows()`` to colour windows by; ``state`` if None.
            bands: Names of the bands of the first layer of imagery; all layers in natural colours if None.

        Raises:
            MissingStepError: If ``partition()`` has not been run.
            MissingDependencyError: If leafmap is not installed.
            UsageError: If there is no such partition or column.
        """
        from olmoearth_nb.maps.imagery import ImageryView
        from olmoearth_nb.runners.browsing import prediction_browser

        view = None if bands is None else ImageryView(bands=bands)
        return prediction_browser(self, ids, color_by=color_by, view=view)

    @at_home("merged", "results")
    def status(self) -> Status:
        """How far this scratch is: per step done, partly (n of m) or missing."""
        scratch, workspace = self.scratch, self.workspace
        try:
            pids = scratch.partition_ids()
        except StaleScratchError:
            return Status(dict.fromkeys(STEPS, STALE))
        except OlmoEarthError:
            return Status(dict.fromkeys(STEPS, "missing"))
        specs = scratch.specs(pids)
        layers = list(imagery_layers(scratch.dataset))
        built = sum(all(done) for done in completed_layers(scratch.dataset, specs, layers))
        processed = sum(stages.is_processed(scratch, pid) for pid in pids)
        return Status(
            {
                StepName.PARTITION: "done",
                StepName.DATASET_BUILD: progress_state(built, len(specs)),
                StepName.INFERENCE: progress_state(len(scratch.predicted(specs)), len(specs)),
                StepName.POSTPROCESS: progress_state(processed, len(pids)),
                StepName.COMBINE: "done" if workspace.result.exists() or workspace.rasters.is_dir() else "missing",
            },
            notes=scratch.notes(),
        )

    def result(self) -> PredictionResult:
        """The combined result that lies in this scratch, as ``combine()`` gave it: to plot, or to export.

        Raises:
            MissingStepError: If there is none.
            StaleScratchError: If the scratch was made for another request or partitioning.
        """
        start, pids, files = time.monotonic(), self.scratch.partition_ids(), self.workspace.combined
        if not files:
            raise MissingStepError(
                "There is no combined result yet.", where=str(self.workspace.root), fix="Call runner.combine() first."
            )
        return PredictionResult(
            step=StepName.COMBINE,
            counts={"partitions": len(pids), "files": len(files)},
            seconds=time.monotonic() - start,
            files=files,
            notes=self.scratch.notes(),
            data_type=self.components.data_type,
            legend=self.project.legend,
        )

    def model(self, checkpoint: str | PathLike[str] | None = None) -> LoadedModel:
        """The model with its checkpoint, or with random weights, loaded once for this runner.

        Args:
            checkpoint: Another checkpoint than the runner's.

        Raises:
            ModelError: If the model or the checkpoint can't be loaded.
        """
        return self._models.load(input_path(checkpoint, "checkpoint") or self._weights(), self._variables())

    def traced_model(self, checkpoint: str | PathLike[str] | None = None) -> LoadedModel:
        """The model for looking at what it does: without any checkpoint, with random weights.

        Args:
            checkpoint: Another checkpoint than the runner's.

        Raises:
            ModelError: If the model or a checkpoint that was given can't be loaded.
        """
        if checkpoint is None and self.scratch.checkpoint_path is None:
            return self._models.load(None, self._variables())
        return self.model(checkpoint)

    @at_home()
    @with_modules
    def trace(
        self,
        window: object,
        *,
        features: Sequence[str] = (),
        checkpoint: str | PathLike[str] | None = None,
        training: OlmoEarthRunFineTuneRunner | None = None,
    ) -> WindowTrace:
        """One window on its way through the model, from the file on disk to what would be written; nothing is written.

        Where there is no checkpoint the weights are random, and the trace says so.

        Args:
            window: Its name (``name`` or ``group/name``), a row of ``runner.windows()``, an rslearn window, a place
                (longitude, latitude), or a polygon in WGS84 (shapely or GeoJSON). A place takes the window that it lies
                in. Where there is none, and for a polygon, a window is built in a temporary dataset.
            features: Names of modules whose outputs are kept; ``trace.modules()`` lists them.
            checkpoint: Another checkpoint than the runner's.
            training: The runner that trained the model, whose windows inputs are compared with; found by itself where
                the checkpoint lies in its scratch.

        Raises:
            MissingStepError: If there are no windows yet.
            UsageError: If there is no such window or module.
            InferenceError: If the window can't be read or computed.
        """
        return trace_prediction(self, window, features=features, checkpoint=checkpoint, training=training)

    @at_home(*EVERYTHING)
    @with_modules
    def evaluate(self, ids: Ids = None) -> Evaluation:
        """How right the model is on the windows of some partitions that have a label layer.

        Samples are made as for prediction, with the labels that ``model.yaml`` trains with.

        Args:
            ids: One partition id, several, or None for all.

        Raises:
            MissingStepError: If no window has been built.
            UsageError: If no window has labels.
        """
        return measured_partitions(self, ids, labels=True)

    @at_home(*EVERYTHING)
    @with_modules
    def worst(self, n: int = 10, *, by: str = "entropy", ids: Ids = None) -> WorstWindows:
        """The windows that the model is least sure of, or, where there are labels, does worst on.

        Args:
            n: How many.
            by: ``entropy``, which needs no labels; ``loss`` as in training, or ``error`` (share of wrong labels, or
                mean absolute error), for windows with a label layer.
            ids: One partition id, several, or None for all.

        Raises:
            MissingStepError: If no window has been built.
            UsageError: If there are no labels, or the task has no such value.
        """
        check_criterion(n, by)
        return measured_partitions(self, ids, labels=by != "entropy").worst(n, by=by)

    def needed(self, kinds: frozenset[Kind], ids: Ids) -> Needs:
        """Files of some partitions.

        Args:
            kinds: Which of them.
            ids: One partition id, several, or None for all.
        """
        if ids is None or not kinds:
            return Needs(kinds=kinds)
        wanted = self.scratch.partition_ids(ids)
        return Needs(kinds=kinds, windows=frozenset(self.scratch.specs(wanted)), partitions=frozenset(wanted))

    # ---- inner -----------------------------------------------------------------------------------------------

    def _variables(self) -> Mapping[str, str]:
        from olmoearth_nb.model.load import template_variables

        return template_variables(
            dataset_path=self.workspace.dataset,
            # Where it would be: a checkpoint makes weights there unnecessary.
            extra_files_path=self.scratch.extra_files_path or self.project.path / "extra_model_files",
            trainer_data_path=self.workspace.model_stage,
            num_workers=0,
            output_layer=OUTPUT_LAYER,
        )

    def _weights(self) -> Path | None:
        return None if self.scratch.random_weights else self.scratch.checkpoint()

    def _check(self, *steps: StepName) -> tuple[str, ...]:
        return check_once(self.project, self.workspace.state, steps)

    def _mask(self) -> Mask | None:
        return self.scratch.mask()
