"""Tries a stage of postprocessing with other settings, on a copy: nothing in the scratch changes.

The stages run through the functions that the real run calls (:mod:`olmoearth_nb.runners.stages`,
:mod:`olmoearth_nb.postprocess.calls`); only where files go is different.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
import yaml
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.border import foreign_code
from olmoearth_nb.config import (
    ArgumentInput,
    ObjectSpec,
    build_object,
    import_object,
    importable_from,
    inputs_of,
    role_for,
)
from olmoearth_nb.errors import MissingStepError, PostprocessError, UsageError
from olmoearth_nb.geojson import (
    PredictionResultCollection,
    feature_shape,
    read_request,
    read_result,
    write_collection,
)
from olmoearth_nb.geometry import wgs84_outlines
from olmoearth_nb.legend import Legend
from olmoearth_nb.postprocess.calls import Merging, merged_features, merged_rasters, takes_windows
from olmoearth_nb.postprocess.changes import Changes
from olmoearth_nb.postprocess.changes_raster import raster_changes
from olmoearth_nb.postprocess.changes_vector import feature_changes
from olmoearth_nb.postprocess.mask import Mask
from olmoearth_nb.postprocess.raster import NoopRaster
from olmoearth_nb.postprocess.trial import Stage, StageChoice, StageTrial
from olmoearth_nb.runners.combining import processed_partitions
from olmoearth_nb.runners.components import Components
from olmoearth_nb.runners.predict_scratch import PredictionScratch
from olmoearth_nb.runners.stages import PartitionStage, results_of
from olmoearth_nb.store.outputs import read_output_features
from olmoearth_nb.types import StepName, TimeRange, WindowSpec

__all__ = ["PostprocessingBench"]

# What is looked at once; of more, the rest is left out and named.
_MOST_FILES = 400
_MOST_PIXELS = 64_000_000
_MOST_FEATURES = 20_000


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One input of a stage.

    Attributes:
        name: Its window or partition.
        outline: Where it lies, in degrees.
        file: Its GeoTIFF, if results are rasters.
        times: Its time range, if it is a window that has one.
        features: Its features, if they are vectors.
    """

    name: str
    outline: BaseGeometry
    file: Path | None = None
    times: TimeRange | None = None
    features: PredictionResultCollection | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Pixels and features."""
        if self.features is not None:
            return 0, len(self.features.features)
        if self.file is None:
            return 0, 0
        with (
            foreign_code(PostprocessError, "The raster can't be read", where=str(self.file)),
            rasterio.open(self.file) as source,
        ):
            return source.width * source.height, 0


class PostprocessingBench:
    """Runs stages of a scratch on copies of their inputs.

    Args:
        scratch: The scratch.
        components: The configured postprocessors: of the stages before the one that is tried.
        mask: Valid area, or None.
    """

    def __init__(self, scratch: PredictionScratch, components: Components, mask: Mask | None) -> None:
        self._scratch, self._components, self._mask = scratch, components, mask
        self._stage = PartitionStage(scratch, components, mask)
        self._section = components.project.run_config.require("postprocessing_strategies", step=StepName.POSTPROCESS)

    # ---- what can be chosen ----------------------------------------------------------------------------------

    @property
    def legend(self) -> Legend | None:
        """What the values of results mean."""
        return self._components.project.legend

    def partitions(self) -> list[str]:
        """Ids of the partitions."""
        return self._scratch.partition_ids()

    def windows(self, partition: str) -> list[str]:
        """Names of the windows of a partition that have a prediction.

        Args:
            partition: Its id.
        """
        return [spec.name for spec in self._stage.predicted(self._scratch.windows_of(partition))]

    def configured(self, stage: Stage) -> tuple[str, dict[str, Any]]:
        """Class and arguments of the postprocessor that ``olmoearth_run.yaml`` has for a stage.

        Args:
            stage: The stage.
        """
        spec = self._configured(stage)
        return spec.target, spec.arguments

    def components(self, stage: Stage) -> list[str]:
        """Classes that a stage can have: that of the project, and those of this package.

        Args:
            stage: The stage.
        """
        configured = self._configured(stage)
        role = role_for(configured, self._data_type)
        others = [] if role is None else [name for name in role.builtin if self._can(name, stage)]
        short = configured.target.rpartition(".")[2]
        return [configured.target, *(name for name in others if name != short)]

    def inputs(self, component: str) -> tuple[ArgumentInput, ...]:
        """The arguments of a class.

        Args:
            component: Its name.
        """
        return inputs_of(component, search_path=self._components.project.search_path)

    def settings(self, choice: StageChoice) -> str:
        """A choice as YAML for ``olmoearth_run.yaml``.

        Args:
            choice: What was chosen.
        """
        entry: dict[str, Any] = {"class_path": choice.component}
        if choice.arguments:
            entry["init_args"] = dict(choice.arguments)
        section = {"postprocessing_strategies": {f"process_{choice.stage}": entry}}
        with foreign_code(UsageError, "The arguments can't be written as YAML"):
            return yaml.safe_dump(section, sort_keys=False, allow_unicode=True)

    @property
    def _data_type(self) -> Any:
        return self._components.data_type

    def _configured(self, stage: Stage) -> ObjectSpec:
        spec: ObjectSpec = getattr(self._section, f"process_{stage}")
        return spec

    def _can(self, name: str, stage: Stage) -> bool:
        spec = ObjectSpec({"class_path": name}, f"postprocessing_strategies.process_{stage}")
        role = role_for(spec, self._data_type)
        target = import_object(spec.target)
        return role is not None and isinstance(target, type) and role.refusal(target) is None

    # ---- trying ----------------------------------------------------------------------------------------------

    def run(self, choice: StageChoice) -> StageTrial:
        """Runs a stage on a copy.

        Args:
            choice: The stage, its inputs, the postprocessor and its arguments.

        Raises:
            ConfigError: If the class or its arguments are wrong.
            MissingStepError: If what goes into the stage has not been made yet.
            OlmoEarthError: If a postprocessor fails.
        """
        component = self._made(choice)
        with importable_from(self._components.project.search_path):
            folder = TemporaryDirectory(prefix="olmoearth_nb_trial_")
            try:
                return self._tried(choice, component, folder)
            except BaseException:
                folder.cleanup()
                raise

    def _made(self, choice: StageChoice) -> Any:
        raw = {"class_path": choice.component, "init_args": dict(choice.arguments)}
        spec = ObjectSpec(raw, f"postprocessing_strategies.process_{choice.stage}", file="this choice")
        return build_object(spec, role_for(spec, self._data_type), search_path=self._components.project.search_path)

    def _tried(self, choice: StageChoice, component: Any, folder: TemporaryDirectory[str]) -> StageTrial:
        root = Path(folder.name)
        (root / "inputs").mkdir()
        (root / "result").mkdir()
        parts, left_out = _within_limits(self._parts(choice, component, root / "inputs"), choice.stage)
        if not parts:
            raise self._nothing(choice)
        make = self._rasters if self._components.is_raster else self._features
        before, after, changes = make(choice, component, parts, root)
        return StageTrial(
            choice=choice,
            before=before,
            after=tuple(after),
            changes=changes,
            places=gpd.GeoDataFrame(
                {"name": [part.name for part in parts]}, geometry=[part.outline for part in parts], crs="EPSG:4326"
            ),
            notes=(*left_out, *changes.notes),
            folder=folder,
        )

    def _nothing(self, choice: StageChoice) -> MissingStepError:
        where = choice.window or choice.partition or str(self._scratch.workspace.root)
        if choice.stage == "dataset":
            name = self._configured("partition").target.rpartition(".")[2]
            fix = "Configure another postprocessor for process_partition, and call runner.postprocess()."
            return MissingStepError(f"{name} made no result of any partition.", where=where, fix=fix)
        return MissingStepError(
            "There is no prediction to postprocess.", where=where, fix="Call runner.run_inference() first."
        )

    def _rasters(
        self, choice: StageChoice, component: Any, parts: Sequence[_Part], root: Path
    ) -> tuple[dict[Path, str], list[Path], Changes]:
        files = {part.file: part.name for part in parts if part.file is not None}
        where = choice.partition or str(self._scratch.workspace.root)
        # Of partitions, what lies outside of the mask is gone already.
        mask = self._mask if choice.stage == "partition" or takes_windows(component) else None
        result = root / "result"
        if choice.stage == "window":
            after = [result / "window.tif"]
            self._stage.process_window_raster(component, self._spec(choice), after[0])
        else:
            method: Merging = "process_partition" if choice.stage == "partition" else "process_dataset"
            windows = {part.file: part.times for part in parts if part.file is not None}
            after = merged_rasters(component, method, windows, result, mask=mask, where=where)
        return files, after, raster_changes(files, after, root, mask=mask)

    def _features(
        self, choice: StageChoice, component: Any, parts: Sequence[_Part], root: Path
    ) -> tuple[dict[Path, str], list[Path], Changes]:
        inputs = {part.name: part.features for part in parts if part.features is not None}
        where = choice.partition or str(self._scratch.workspace.root)
        unmasked = None
        if choice.stage == "window":
            spec = self._spec(choice)
            result = self._stage.window_features(component, choice.partition, spec)
            if self._mask is not None:
                without = PartitionStage(self._scratch, self._components, None)
                unmasked = without.window_features(component, choice.partition, spec)
        elif choice.stage == "partition":
            result = merged_features(component, "process_partition", list(inputs.values()), where=where)
        else:
            result = merged_features(component, "process_dataset", list(inputs.values()), where=where)
        before, after = root / "inputs" / "before.geojson", root / "result" / "result.geojson"
        together = [feature for one in inputs.values() for feature in one.features]
        write_collection(before, PredictionResultCollection(type="FeatureCollection", features=together))
        write_collection(after, result)
        name = f"{len(inputs):,} inputs" if len(inputs) > 1 else next(iter(inputs))
        return {before: name}, [after], feature_changes(inputs, result, component=component, unmasked=unmasked)

    # ---- what goes into a stage ------------------------------------------------------------------------------

    def _parts(self, choice: StageChoice, component: Any, folder: Path) -> Iterator[_Part]:
        if choice.stage == "dataset":
            outlines = self._partitions_around(choice.partition)
            from_windows = self._components.is_raster and takes_windows(component)
            yield from self._window_results(outlines) if from_windows else self._partition_results(outlines)
            return
        specs = [self._spec(choice)] if choice.stage == "window" else self._scratch.windows_of(choice.partition)
        process = None if choice.stage == "window" else self._components.window_postprocessor()
        for spec in self._stage.predicted(specs):
            outline = wgs84_outlines(spec.projection, np.array([spec.bounds]))[0]
            if self._components.is_raster:
                file = self._window_raster(process, spec, folder)
                yield _Part(name=spec.name, outline=outline, file=file, times=spec.time_range)
            else:
                features = self._window_features(process, choice.partition, spec)
                yield _Part(name=spec.name, outline=outline, features=features)

    def _spec(self, choice: StageChoice) -> WindowSpec:
        specs = [spec for spec in self._scratch.windows_of(choice.partition) if spec.name == choice.window]
        if not specs:
            raise UsageError(
                "There is no such window in this partition.", where=choice.partition, found=repr(choice.window)
            )
        return specs[0]

    def _window_raster(self, process: Any, spec: WindowSpec, folder: Path) -> Path:
        """What goes into the next stage: as the model wrote it, or a copy that is processed."""
        if process is None or isinstance(process, NoopRaster):
            return self._stage.model_raster(spec)
        target = folder / f"{spec.group}_{spec.name}.tif"
        self._stage.process_window_raster(process, spec, target)
        return target

    def _window_features(self, process: Any, partition_id: str, spec: WindowSpec) -> PredictionResultCollection:
        if process is None:
            return read_output_features(self._scratch.dataset, (spec.group, spec.name))
        return self._stage.window_features(process, partition_id, spec)

    def _partitions_around(self, chosen: str) -> dict[str, BaseGeometry]:
        """Outlines of all partitions that have a result, or of one and those that it touches."""
        ready, _ = processed_partitions(self._scratch, self._scratch.partition_ids())
        outlines = {pid: self._partition_outline(pid) for pid in ready}
        if not chosen:
            return outlines
        around = outlines.get(chosen)
        return {pid: outline for pid, outline in outlines.items() if around is not None and outline.intersects(around)}

    def _window_results(self, partition_ids: Iterable[str]) -> Iterator[_Part]:
        specs = self._stage.current_windows(partition_ids)
        files = self._stage.processed_rasters(specs)
        for spec, (file, times) in zip(specs, files.items(), strict=True):
            outline = wgs84_outlines(spec.projection, np.array([spec.bounds]))[0]
            yield _Part(name=spec.name, outline=outline, file=file, times=times)

    def _partition_results(self, outlines: Mapping[str, BaseGeometry]) -> Iterator[_Part]:
        for pid, outline in outlines.items():
            for path in results_of(self._scratch, pid, self._components):
                is_raster = self._components.is_raster
                yield _Part(
                    name=pid,
                    outline=outline,
                    file=path if is_raster else None,
                    features=None if is_raster else read_result(path),
                )

    def _partition_outline(self, partition_id: str) -> BaseGeometry:
        features = read_request(self._scratch.workspace.partition_request(partition_id)).features
        shapes = [feature_shape(feature) for feature in features]
        outline: BaseGeometry = shapely.union_all(shapes)
        # Of points, the area that they are spread over.
        return outline if shapely.get_dimensions(outline) == 2 else outline.convex_hull


def _within_limits(parts: Iterator[_Part], stage: Stage) -> tuple[list[_Part], list[str]]:
    """The first parts, as many as can be looked at, and a word on the others."""
    taken: list[_Part] = []
    pixels = features = 0
    for part in parts:
        more_pixels, more_features = part.size
        pixels, features = pixels + more_pixels, features + more_features
        over = len(taken) >= _MOST_FILES or pixels > _MOST_PIXELS or features > _MOST_FEATURES
        if taken and over:
            text = (
                f"Only the first {len(taken):,} inputs are shown, up to {taken[-1].name}: more would be over "
                f"{_MOST_FILES} files, {_MOST_PIXELS:,} pixels or {_MOST_FEATURES:,} features."
            )
            text += " Choose a partition to see it with its neighbours." if stage == "dataset" else ""
            return taken, [text]
        taken.append(part)
    return taken, []
