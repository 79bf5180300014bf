"""The postprocessing of windows and partitions: which files go into which postprocessor, and where results go.

It works like make: a marker file says what a result was made from, and the same input is not processed again.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InputFileError, MissingStepError, PostprocessError
from olmoearth_nb.files import atomic_path, hash_json, read_json, write_json
from olmoearth_nb.geojson import (
    PredictionRequestFeature,
    PredictionResultCollection,
    write_collection,
)
from olmoearth_nb.postprocess.calls import merged_rasters, process_raster, processed_features
from olmoearth_nb.postprocess.mask import Mask
from olmoearth_nb.postprocess.merging import write_merged
from olmoearth_nb.postprocess.raster import NoopRaster
from olmoearth_nb.runners.base import remedy, remove
from olmoearth_nb.runners.components import Components
from olmoearth_nb.runners.predict_scratch import PredictionScratch
from olmoearth_nb.store.outputs import output_raster, output_vector, read_output_features
from olmoearth_nb.store.workspace import make_folder
from olmoearth_nb.types import TimeRange, WindowSpec

__all__ = [
    "PartitionOutcome",
    "PartitionStage",
    "fresh_folder",
    "is_processed",
    "results_of",
]

_RAW = "unprocessed.tif"


@dataclass(frozen=True, kw_only=True)
class PartitionOutcome:
    """What postprocessing a partition gave.

    Attributes:
        partition_id: The partition.
        windows: Windows with a prediction.
        missing: Windows without one.
        unchanged: Whether the result was there already.
        files: The partition's result.
    """

    partition_id: str
    windows: int
    missing: int
    unchanged: bool
    files: tuple[Path, ...]


def is_processed(scratch: PredictionScratch, partition_id: str) -> bool:
    """Whether a partition has been postprocessed, and its result is there as it was written."""
    marker = _marker(scratch, partition_id)
    files = _noted(marker).get("files")
    if not isinstance(files, dict):
        return False
    paths = {marker.parent / name: size for name, size in files.items()}
    return all(path.is_file() and path.stat().st_size == size for path, size in paths.items())


def _noted(marker: Path) -> dict[str, Any]:
    """What a result was made from, and the sizes of its files; nothing if the marker can't be read."""
    with contextlib.suppress(InputFileError):
        noted = read_json(marker)
        if isinstance(noted, dict):
            return noted
    return {}


def _marker(scratch: PredictionScratch, partition_id: str) -> Path:
    return scratch.workspace.partition_request(partition_id).with_name("postprocessed.json")


class PartitionStage:
    """Postprocesses windows and merges them into the result of their partition.

    Args:
        scratch: The scratch.
        components: The configured postprocessors.
        mask: Valid area, or None.
    """

    def __init__(self, scratch: PredictionScratch, components: Components, mask: Mask | None) -> None:
        self.scratch = scratch
        self.components = components
        self.mask = mask
        self.dataset = scratch.dataset
        self._features: dict[str, dict[str, list[PredictionRequestFeature]]] = {}

    def run(self, partition_id: str) -> PartitionOutcome:
        """Postprocesses one partition, unless nothing has changed since.

        Args:
            partition_id: The partition.

        Raises:
            PostprocessError: If a postprocessor fails.
        """
        changed = self.begin(partition_id)
        if changed:
            if self.components.is_raster:
                self.process_windows(self.predicted(self.scratch.windows_of(partition_id)))
            self.merge(partition_id)
        return self.outcome(partition_id, unchanged=not changed)

    def begin(self, partition_id: str) -> bool:
        """Whether a partition has to be postprocessed; if so, what there was counts no more.

        Args:
            partition_id: The partition.
        """
        with self._remedy():
            if self.is_current(partition_id):
                return False
            remove(_marker(self.scratch, partition_id))
        return True

    def is_current(self, partition_id: str) -> bool:
        """Whether a partition has been postprocessed, and nothing has changed since.

        Args:
            partition_id: The partition.
        """
        inputs = self._inputs(self.predicted(self.scratch.windows_of(partition_id)))
        noted = _noted(_marker(self.scratch, partition_id))
        return is_processed(self.scratch, partition_id) and noted.get("inputs") == inputs

    def merge(self, partition_id: str) -> None:
        """Merges a partition, whose windows have been processed if they are rasters.

        Args:
            partition_id: The partition.

        Raises:
            PostprocessError: If a postprocessor fails.
        """
        marker = _marker(self.scratch, partition_id)
        with self._remedy():
            present = self.predicted(self.scratch.windows_of(partition_id))
            inputs = self._inputs(present)
            make = self._rasters if self.components.is_raster else self._vector
            make(partition_id, present)
            results = results_of(self.scratch, partition_id, self.components)
            sizes = {path.relative_to(marker.parent).as_posix(): path.stat().st_size for path in results}
            if present:
                write_json(marker, {"inputs": inputs, "files": sizes})

    def outcome(self, partition_id: str, *, unchanged: bool) -> PartitionOutcome:
        """What there is of a partition now.

        Args:
            partition_id: The partition.
            unchanged: Whether it was there before.
        """
        specs = self.scratch.windows_of(partition_id)
        present = self.predicted(specs)
        return PartitionOutcome(
            partition_id=partition_id,
            windows=len(present),
            missing=len(specs) - len(present),
            unchanged=unchanged,
            files=tuple(results_of(self.scratch, partition_id, self.components)),
        )

    def _remedy(self) -> AbstractContextManager[None]:
        return remedy(self.scratch.workspace.dataset, "Call runner.run_inference(overwrite=True) to make it anew.")

    def predicted(self, specs: Iterable[WindowSpec]) -> list[WindowSpec]:
        """The windows that have a prediction, in their order."""
        specs = list(specs)
        there = self.scratch.predicted((spec.group, spec.name) for spec in specs)
        return [spec for spec in specs if (spec.group, spec.name) in there]

    def _inputs(self, specs: list[WindowSpec]) -> str:
        return hash_json(
            [
                self.components.postprocessing_fingerprint(),
                self.scratch.mask_inputs(),
                [[spec.group, spec.name, spec.features, self._output_state(spec)] for spec in specs],
            ]
        )

    def _output_state(self, spec: WindowSpec) -> list[int]:
        is_raster = self.components.is_raster
        path = self.model_raster(spec) if is_raster else output_vector(self.dataset, (spec.group, spec.name))
        with foreign_code(PostprocessError, "The output of a window is gone", where=str(path)):
            stat = path.stat()
        return [stat.st_mtime_ns, stat.st_size]

    # ---- raster ----------------------------------------------------------------------------------------------

    def model_raster(self, spec: WindowSpec) -> Path:
        """The GeoTIFF that the model wrote for a window, whether or not it has been processed since."""
        output = output_raster(self.dataset, (spec.group, spec.name))
        raw = output.with_name(_RAW)
        return raw if raw.exists() else output

    def process_window_raster(self, process: Any, spec: WindowSpec, target: Path) -> None:
        """Processes a copy of what the model wrote for a window.

        By whichever partition comes first, for the feature of the one that owns it.

        Args:
            process: The postprocessor of windows.
            spec: The window.
            target: Where the copy goes.
        """
        request = self.requests_of_owner(spec)[0]
        process_raster(process, request, self.model_raster(spec), target, where=_where(spec))

    def process_windows(self, specs: Sequence[WindowSpec]) -> None:
        """Processes the rasters of windows, in their place.

        Args:
            specs: Windows with a prediction.

        Raises:
            PostprocessError: If the postprocessor fails.
        """
        process = self.components.window_postprocessor()
        with self._remedy():
            for spec in specs:
                path = output_raster(self.dataset, (spec.group, spec.name))
                raw = path.with_name(_RAW)
                if isinstance(process, NoopRaster) and not raw.exists():
                    continue
                if not raw.exists():
                    # The model's own output is kept, so that the step can be repeated with another postprocessor.
                    with atomic_path(raw) as beside:
                        shutil.copyfile(path, beside)
                self.process_window_raster(process, spec, path)

    def processed_rasters(self, specs: Iterable[WindowSpec]) -> dict[Path, TimeRange | None]:
        """The GeoTIFFs of windows as they go into the stages that merge, in order, with their time ranges.

        Args:
            specs: Windows with a prediction, whose rasters have been processed.
        """
        return {output_raster(self.dataset, (spec.group, spec.name)): spec.time_range for spec in specs}

    def _rasters(self, partition_id: str, specs: list[WindowSpec]) -> None:
        windows = self.processed_rasters(specs)
        merge = self.components.partition_postprocessor()
        with fresh_folder(self.scratch.workspace.partition_rasters(partition_id)) as folder:
            merged_rasters(merge, "process_partition", windows, folder, mask=self.mask, where=partition_id)

    def current_windows(self, partition_ids: Iterable[str]) -> list[WindowSpec]:
        """All windows with a prediction of some partitions, each once.

        Args:
            partition_ids: The partitions.

        Raises:
            MissingStepError: If windows have been predicted since a partition was postprocessed.
        """
        partition_ids = list(partition_ids)
        changed = [pid for pid in partition_ids if not self.is_current(pid)]
        if changed:
            raise MissingStepError(
                f"Some partitions have changed since they were postprocessed: {', '.join(changed[:5])}.",
                where=str(self.scratch.workspace.root),
                fix="Call runner.postprocess() first.",
            )
        return self.predicted(self.scratch.specs(partition_ids).values())

    # ---- vector ----------------------------------------------------------------------------------------------

    def _vector(self, partition_id: str, specs: list[WindowSpec]) -> None:
        merge = self.components.partition_postprocessor()
        target = self.scratch.workspace.partition_result(partition_id)
        results = self._written_results(partition_id, specs)
        write_merged(target, merge, "process_partition", results, where=partition_id)

    def _written_results(self, partition_id: str, specs: list[WindowSpec]) -> Iterator[PredictionResultCollection]:
        process = self.components.window_postprocessor()
        workspace = self.scratch.workspace
        for spec in specs:
            result = self.window_features(process, partition_id, spec)
            if _owned(spec, partition_id):
                write_collection(workspace.window_result(spec.group, spec.name), result)
            yield result

    def window_features(self, process: Any, partition_id: str, spec: WindowSpec) -> PredictionResultCollection:
        """What the model found in a window, processed for a partition.

        Args:
            process: The postprocessor of windows.
            partition_id: A partition that needs the window.
            spec: The window.
        """
        collection = read_output_features(self.dataset, (spec.group, spec.name))
        seen: set[str] = set()
        if not _owned(spec, partition_id):
            # What the partition that owns a shared window has in its result already.
            owners = processed_features(
                process, self.requests_of_owner(spec), collection, mask=self.mask, where=_where(spec)
            )
            seen = {feature.model_dump_json() for feature in owners.features}
        requests = self.requests_of(partition_id)[spec.name]
        return processed_features(process, requests, collection, mask=self.mask, seen=seen, where=_where(spec))

    def requests_of_owner(self, spec: WindowSpec) -> list[PredictionRequestFeature]:
        """Request features, of the partition that owns a window, that it was made for."""
        return self.requests_of(spec.group.removeprefix("group_"))[spec.name]

    def requests_of(self, partition_id: str) -> dict[str, list[PredictionRequestFeature]]:
        """Request features of each window of a partition, read once."""
        if partition_id not in self._features:
            self._features[partition_id] = self.scratch.features_of(partition_id)
        return self._features[partition_id]


def _owned(spec: WindowSpec, partition_id: str) -> bool:
    return spec.group == f"group_{partition_id}"


def _where(spec: WindowSpec) -> str:
    return f"window {spec.group}/{spec.name}"


def results_of(scratch: PredictionScratch, partition_id: str, components: Components) -> list[Path]:
    """Files of the result of a partition.

    Args:
        scratch: The scratch.
        partition_id: The partition.
        components: The configured postprocessors.
    """
    if not components.is_raster:
        path = scratch.workspace.partition_result(partition_id)
        return [path] if path.exists() else []
    folder = scratch.workspace.partition_rasters(partition_id)
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in (".tif", ".tiff"))


@contextlib.contextmanager
def fresh_folder(target: Path) -> Iterator[Path]:
    """A new folder that takes the place of an old one when the block ends well.

    Args:
        target: The folder.

    Raises:
        PostprocessError: If it can't be put there.
    """
    folder = make_folder(target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}"))
    try:
        yield folder
        remove(target)
        with foreign_code(PostprocessError, "The folder of the results can't be put in its place", where=str(target)):
            folder.rename(target)
    finally:
        remove(folder)
