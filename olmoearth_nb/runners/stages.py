"""The postprocessing stages of a scratch: which files go into which postprocessor, and where results go.

Both stages work like make: a marker file says what a result was made from, and the same input is not processed again.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InputFileError, MissingStepError, PostprocessError
from olmoearth_nb.files import atomic_path, hash_json, read_json, write_json
from olmoearth_nb.geojson import (
    PredictionRequestFeature,
    PredictionResultCollection,
    PredictionResultFeature,
    read_result,
    write_collection,
)
from olmoearth_nb.postprocess.mask import Mask
from olmoearth_nb.postprocess.raster import NoopRaster
from olmoearth_nb.runners.base import remedy, remove
from olmoearth_nb.runners.components import Components
from olmoearth_nb.runners.predict_scratch import PredictionScratch
from olmoearth_nb.store.outputs import output_raster, output_vector, read_output_features
from olmoearth_nb.store.workspace import make_folder
from olmoearth_nb.types import WindowSpec

__all__ = ["CombineOutcome", "PartitionOutcome", "PartitionStage", "combine", "is_processed"]

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


@dataclass(frozen=True, kw_only=True)
class CombineOutcome:
    """What combining gave.

    Attributes:
        files: The combined result.
        notes: What to know when there is none.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...]


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
        specs = self.scratch.windows_of(partition_id)
        predicted = self.scratch.predicted((spec.group, spec.name) for spec in specs)
        present = [spec for spec in specs if (spec.group, spec.name) in predicted]
        marker = _marker(self.scratch, partition_id)
        with remedy(self.scratch.workspace.dataset, "Call runner.run_inference(overwrite=True) to make it anew."):
            inputs = self._inputs(present)
            unchanged = is_processed(self.scratch, partition_id) and _noted(marker).get("inputs") == inputs
            if not unchanged:
                remove(marker)
                make = self._rasters if self.components.is_raster else self._vector
                make(partition_id, present)
                results = _results(self.scratch, partition_id, self.components)
                sizes = {path.relative_to(marker.parent).as_posix(): path.stat().st_size for path in results}
                if present:
                    write_json(marker, {"inputs": inputs, "files": sizes})
        return PartitionOutcome(
            partition_id=partition_id,
            windows=len(present),
            missing=len(specs) - len(present),
            unchanged=unchanged,
            files=tuple(_results(self.scratch, partition_id, self.components)),
        )

    def _inputs(self, specs: list[WindowSpec]) -> str:
        return hash_json(
            [
                self.components.postprocessing_fingerprint(),
                self.scratch.mask_inputs(),
                [[spec.group, spec.name, spec.features, self._output_state(spec)] for spec in specs],
            ]
        )

    def _output_state(self, spec: WindowSpec) -> list[int]:
        key = (spec.group, spec.name)
        if self.components.is_raster:
            output = output_raster(self.dataset, key)
            raw = output.with_name(_RAW)
            path = raw if raw.exists() else output
        else:
            path = output_vector(self.dataset, key)
        with foreign_code(PostprocessError, "The output of a window is gone", where=str(path)):
            stat = path.stat()
        return [stat.st_mtime_ns, stat.st_size]

    # ---- raster ----------------------------------------------------------------------------------------------

    def _rasters(self, partition_id: str, specs: list[WindowSpec]) -> list[Path]:
        process = self.components.window_postprocessor()
        paths = []
        for spec in specs:
            path = output_raster(self.dataset, (spec.group, spec.name))
            if not isinstance(process, NoopRaster) or path.with_name(_RAW).exists():
                # By whichever partition comes first, for the feature of the one that owns it.
                self._process_in_place(process, self._requests_of_owner(spec)[0], path, spec)
            paths.append(path)
        merge = self.components.partition_postprocessor()
        masks_itself = self.mask is not None and hasattr(merge, "set_mask")
        if masks_itself:
            merge.set_mask(self.mask)
        with _fresh_folder(self.scratch.workspace.partition_rasters(partition_id)) as folder:
            with foreign_code(PostprocessError, f"{_name(merge)}.process_partition failed", where=partition_id):
                written = merge.process_partition(paths, folder)
            files = _checked_files(written, merge, folder)
            if self.mask is not None and not masks_itself:
                for path in files:
                    self.mask.apply(path)
        return files

    def _process_in_place(self, process: Any, request: PredictionRequestFeature, path: Path, spec: WindowSpec) -> None:
        # The model's own output is kept, so that the step can be repeated with another postprocessor.
        raw = path.with_name(_RAW)
        if not raw.exists():
            with atomic_path(raw) as beside:
                shutil.copyfile(path, beside)
        where = f"window {spec.group}/{spec.name}"
        with atomic_path(path) as beside:
            shutil.copyfile(raw, beside)
            with foreign_code(PostprocessError, f"{_name(process)}.process_window failed", where=where):
                process.process_window(request, beside)
            if not beside.is_file():
                raise PostprocessError(f"{_name(process)}.process_window removed the file of the window.", where=where)

    # ---- vector ----------------------------------------------------------------------------------------------

    def _vector(self, partition_id: str, specs: list[WindowSpec]) -> list[Path]:
        process = self.components.window_postprocessor()
        workspace = self.scratch.workspace
        requests = self._requests(partition_id)
        results = []
        for spec in specs:
            collection = read_output_features(self.dataset, (spec.group, spec.name))
            owned = spec.group == f"group_{partition_id}"
            seen = set() if owned else self._owners_features(process, spec, collection)
            result = self._window_result(process, requests[spec.name], collection, spec, seen)
            if owned:
                write_collection(workspace.window_result(spec.group, spec.name), result)
            results.append(result)
        merge = self.components.partition_postprocessor()
        with foreign_code(PostprocessError, f"{_name(merge)}.process_partition failed", where=partition_id):
            combined = merge.process_partition(results)
        target = workspace.partition_result(partition_id)
        write_collection(target, _checked_collection(combined, merge))
        return [target]

    def _owners_features(self, process: Any, spec: WindowSpec, collection: PredictionResultCollection) -> set[str]:
        """Features that the partition which owns a shared window has in its result already."""
        result = self._window_result(process, self._requests_of_owner(spec), collection, spec, set())
        return {feature.model_dump_json() for feature in result.features}

    def _requests_of_owner(self, spec: WindowSpec) -> list[PredictionRequestFeature]:
        return self._requests(spec.group.removeprefix("group_"))[spec.name]

    def _requests(self, partition_id: str) -> dict[str, list[PredictionRequestFeature]]:
        """Request features of each window of a partition, read once."""
        if partition_id not in self._features:
            self._features[partition_id] = self.scratch.features_of(partition_id)
        return self._features[partition_id]

    def _window_result(
        self,
        process: Any,
        requests: list[PredictionRequestFeature],
        collection: PredictionResultCollection,
        spec: WindowSpec,
        seen: set[str],
    ) -> PredictionResultCollection:
        """Results of a window, for every request feature that it was made for, each once."""
        features: list[PredictionResultFeature] = []
        where = f"window {spec.group}/{spec.name}"
        for request in requests:
            with foreign_code(PostprocessError, f"{_name(process)}.process_window failed", where=where):
                result = process.process_window(request, collection.model_copy(deep=True))
            result = _checked_collection(result, process)
            if self.mask is not None:
                result = self.mask.keep_features(result)
            with foreign_code(PostprocessError, f"{_name(process)}.process_window gave what is no JSON", where=where):
                texts = [feature.model_dump_json() for feature in result.features]
            features += [feature for feature, text in zip(result.features, texts, strict=True) if text not in seen]
            seen = seen | set(texts)
        return PredictionResultCollection(type="FeatureCollection", features=features)


def combine(scratch: PredictionScratch, components: Components, partition_ids: list[str]) -> CombineOutcome:
    """Combines the results of partitions into that of the request.

    Args:
        scratch: The scratch.
        components: The configured postprocessors.
        partition_ids: The partitions.

    Raises:
        MissingStepError: If one has not been postprocessed, though it has predictions.
        PostprocessError: If the postprocessor fails.
    """
    ready = [pid for pid in partition_ids if is_processed(scratch, pid)]
    unready = [pid for pid in partition_ids if pid not in set(ready)]
    waiting = [pid for pid in unready if scratch.predicted((s.group, s.name) for s in scratch.windows_of(pid))]
    if waiting or not ready:
        named = ", ".join((waiting or unready)[:5])
        raise MissingStepError(
            f"Some partitions have not been postprocessed: {named}.",
            where=str(scratch.workspace.root),
            fix="Call runner.postprocess() first.",
        )
    merge = components.dataset_postprocessor()
    inputs = [path for pid in ready for path in _results(scratch, pid, components)]
    files = (
        _combine_rasters(scratch, merge, inputs) if components.is_raster else _combine_vector(scratch, merge, inputs)
    )
    notes = [f"{pid} has no prediction and is not in the result." for pid in unready]
    if not files:
        notes.append(f"{_name(merge)} makes no combined file; the results lie in {scratch.workspace.partitions}.")
    return CombineOutcome(files=tuple(files), notes=tuple(notes))


def _combine_rasters(scratch: PredictionScratch, merge: Any, inputs: list[Path]) -> list[Path]:
    with _fresh_folder(scratch.workspace.rasters) as folder:
        with foreign_code(
            PostprocessError, f"{_name(merge)}.process_dataset failed", where=str(scratch.workspace.root)
        ):
            written = merge.process_dataset(inputs, folder)
        names = [path.name for path in _checked_files(written, merge, folder)]
    return [scratch.workspace.rasters / name for name in names]


def _combine_vector(scratch: PredictionScratch, merge: Any, inputs: list[Path]) -> list[Path]:
    with foreign_code(PostprocessError, f"{_name(merge)}.process_dataset failed", where=str(scratch.workspace.root)):
        combined = merge.process_dataset([read_result(path) for path in inputs])
    write_collection(scratch.workspace.result, _checked_collection(combined, merge))
    return [scratch.workspace.result]


def _results(scratch: PredictionScratch, partition_id: str, components: Components) -> Iterable[Path]:
    if not components.is_raster:
        path = scratch.workspace.partition_result(partition_id)
        return [path] if path.exists() else []
    folder = scratch.workspace.partition_rasters(partition_id)
    return sorted(path for path in folder.glob("*") if path.suffix.lower() in (".tif", ".tiff"))


def _name(component: Any) -> str:
    return type(component).__name__


def _checked_files(written: Any, component: Any, folder: Path) -> list[Path]:
    if not isinstance(written, list | tuple | None):
        raise PostprocessError(
            f"{_name(component)} did not return a list of files.", expected="a list of paths", found=repr(written)[:200]
        )
    paths = [Path(str(path)) for path in written or ()]
    bad = [path for path in paths if path.parent.resolve() != folder.resolve() or not path.is_file()]
    if bad:
        raise PostprocessError(
            f"{_name(component)} returned files that it did not write to the folder it was given.",
            expected=f"files in {folder}",
            found=", ".join(map(str, bad[:3])),
        )
    return paths


def _checked_collection(result: Any, component: Any) -> PredictionResultCollection:
    if isinstance(result, PredictionResultCollection):  # type: ignore[misc]  # pydantic makes it a class
        return result
    try:
        # Custom classes may return the equal model of another package.
        return PredictionResultCollection.model_validate(
            result.model_dump() if isinstance(result, BaseModel) else result
        )
    except ValidationError as error:
        raise PostprocessError(
            f"{_name(component)} did not return a feature collection.",
            expected="a PredictionResultCollection",
            found=type(result).__name__,
        ) from error


@contextlib.contextmanager
def _fresh_folder(target: Path) -> Iterator[Path]:
    """A new folder that takes the place of an old one when the block ends well."""
    folder = make_folder(target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}"))
    try:
        yield folder
        remove(target)
        with foreign_code(PostprocessError, "The folder of the results can't be put in its place", where=str(target)):
            folder.rename(target)
    finally:
        remove(folder)
