"""What lies in a prediction's scratch, and whether it was made from today's files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from olmoearth_nb.config import Project
from olmoearth_nb.errors import InputFileError, MissingStepError, ModelError
from olmoearth_nb.files import hash_json, write_text
from olmoearth_nb.geojson import (
    PredictionRequestCollection,
    PredictionRequestFeature,
    collection_text,
    read_request,
    write_collection,
)
from olmoearth_nb.planning import Partition, Plan
from olmoearth_nb.postprocess.mask import Mask
from olmoearth_nb.runners.base import Ids, file_hash, install_file, model_hash, pick_ids, refuse_foreign, remedy, remove
from olmoearth_nb.store.dataset import ScratchDataset, imagery_layers, open_dataset, write_dataset_config
from olmoearth_nb.store.folders import WindowFolders
from olmoearth_nb.store.index import read_index, write_index
from olmoearth_nb.store.local_listing import imagery_fingerprint
from olmoearth_nb.store.sqlite import (
    ThreadedStorage,
    WindowStorage,
    forget_layers,
    forget_windows,
    one_transaction,
    save_windows,
)
from olmoearth_nb.store.stamps import Stamps
from olmoearth_nb.store.windows import WindowKey, completed_layers, create_window, read_failures
from olmoearth_nb.store.workspace import (
    OUTPUT_LAYER,
    WINDOW_REQUEST,
    PredictionWorkspace,
    make_folder,
    partition_number,
)
from olmoearth_nb.types import StepName, WindowSpec

__all__ = ["RANDOM_WEIGHTS", "PredictionScratch"]

RANDOM_WEIGHTS = "random weights"
"""What stands for the checkpoint's fingerprint, and in what is shown, where there is none."""

Specs = dict[WindowKey, WindowSpec]

_REDO = {
    StepName.PARTITION: "runner.partition(overwrite=True)",
    StepName.DATASET_BUILD: "runner.build_dataset(overwrite=True)",
    StepName.INFERENCE: "runner.run_inference(overwrite=True)",
}


@dataclass(frozen=True)
class PredictionScratch:
    """The files of a prediction, and the state of its steps.

    Attributes:
        project: The project.
        workspace: Where files lie.
        request_path: The request.
        checkpoint_path: The checkpoint, or None if there is none.
        mask_path: The mask, or None.
        mask_valid_values: Values of a raster mask that are valid.
        random_weights: Whether the model has random weights in place of a checkpoint.
    """

    project: Project
    workspace: PredictionWorkspace
    request_path: Path
    checkpoint_path: Path | None
    mask_path: Path | None
    mask_valid_values: tuple[int, ...]
    random_weights: bool = False

    @cached_property
    def stamps(self) -> Stamps:
        """What each step was made from."""
        return Stamps(self.workspace.state / "stamps.json", self.workspace.root)

    @property
    def dataset(self) -> ScratchDataset:
        """The rslearn dataset of the scratch."""
        return open_dataset(self.workspace.dataset)

    def mask_inputs(self) -> list[Any] | None:
        """Fingerprint of the mask and its valid values."""
        if self.mask_path is None:
            return None
        return [file_hash(self.mask_path, what="mask"), list(self.mask_valid_values)]

    def mask(self) -> Mask | None:
        """The mask, or None if there is none.

        Raises:
            InputFileError: If it can't be read.
        """
        return None if self.mask_path is None else Mask.open(self.mask_path, valid_values=self.mask_valid_values)

    def inputs(self, step: StepName) -> dict[str, Any]:
        """Fingerprints of what a step is made from, by name.

        Args:
            step: ``PARTITION``, ``DATASET_BUILD`` or ``INFERENCE``.

        Raises:
            ModelError: If the checkpoint is needed and there is none.
            InputFileError: If a file can't be read.
        """
        match step:
            case StepName.PARTITION:
                strategies = self.project.run_config.require("partition_strategies", step.value)
                return {
                    "request": file_hash(self.request_path, what="request"),
                    "partition_strategies": hash_json(strategies.model_dump(mode="json")),
                    "mask": self.mask_inputs(),
                }
            case StepName.DATASET_BUILD:
                config = self.project.dataset_config()
                return {
                    "dataset.json": hash_json(
                        self.project.portable({key: value for key, value in config.items() if key != "storage"})
                    ),
                    "imagery": hash_json(imagery_fingerprint(config)),
                }
            case _:
                return {
                    "model.yaml": model_hash(self.project.model_config_path),
                    "checkpoint": RANDOM_WEIGHTS if self._is_random() else file_hash(self.checkpoint()),
                    "extra_model_files": self.extra_files_path and file_hash(self.extra_files_path),
                }

    @property
    def extra_files_path(self) -> Path | None:
        """The project's further model files, if it has any."""
        return self.project.extra_files_path

    def checkpoint(self) -> Path:
        """The checkpoint.

        Raises:
            ModelError: If there is none.
        """
        path = self.checkpoint_path
        if path is None or not path.is_file():
            raise ModelError(
                "There is no checkpoint.",
                where=str(path or self.project.path / "checkpoint.ckpt"),
                expected="a Lightning checkpoint of the model in model.yaml",
                fix="Put it there, give checkpoint_path=…, or make one: OlmoEarthRunFineTuneRunner(…).run_pipeline(). "
                "To try the project without one: random_weights=True (--random-weights).",
            )
        return path

    def _is_random(self) -> bool:
        """Whether it is about random weights: asked for, or used before where there is still no checkpoint."""
        missing = self.checkpoint_path is None or not self.checkpoint_path.is_file()
        return self.random_weights or (missing and self.predicted_at_random)

    @property
    def predicted_at_random(self) -> bool:
        """Whether the predictions that lie in the scratch were made with random weights."""
        return (self.stamps.inputs(StepName.INFERENCE) or {}).get("checkpoint") == RANDOM_WEIGHTS

    def notes(self) -> tuple[str, ...]:
        """What has to be known of the predictions in the scratch."""
        return (f"Made with {RANDOM_WEIGHTS}: the results mean nothing.",) if self.predicted_at_random else ()

    # ---- writing ---------------------------------------------------------------------------------------------

    def begin(self, step: StepName, *, storage: WindowStorage | None = None) -> None:
        """Notes what a step is made from, and puts its files into the scratch.

        Args:
            step: ``PARTITION``, ``DATASET_BUILD`` or ``INFERENCE``.
            storage: See :func:`write_dataset_config`.

        Raises:
            StaleScratchError: If the step was made from other files.
        """
        workspace, project = self.workspace, self.project
        make_folder(workspace.root)
        if self._is_void(step):
            self.forget(step)
        self.stamps.begin(step, self.inputs(step), redo=_REDO[step])
        if step in (StepName.PARTITION, StepName.DATASET_BUILD):
            write_dataset_config(workspace.dataset, project.dataset_config(), storage=storage)
        if step is StepName.PARTITION:
            install_file(self.request_path, workspace.request)
            install_file(project.run_config_path, workspace.model_stage / "olmoearth_run.yaml")
        elif step is StepName.INFERENCE:
            install_file(project.model_config_path, workspace.model_stage / "model.yaml")
            installed = workspace.model_stage / "checkpoint.ckpt"
            if self._is_random():
                remove(installed)
            else:
                install_file(self.checkpoint(), installed, link=True)

    def _is_void(self, step: StepName) -> bool:
        """Whether a step was begun from other files and came to nothing, so that nothing is lost with it."""
        if not self.stamps.is_of_others(step, self.inputs(step)):
            return False
        if step is StepName.PARTITION:
            return not self.stamps.is_done(step)
        layers = [OUTPUT_LAYER] if step is StepName.INFERENCE else list(imagery_layers(self.dataset))
        states = completed_layers(self.dataset, self.specs(self._partition_folders()), layers)
        return not any(any(done) for done in states)

    def check(self, step: StepName) -> None:
        """Raises StaleScratchError if a step was made from other files, or the scratch by somebody else."""
        workspace = self.workspace
        if not self.stamps.path.exists():
            refuse_foreign(workspace.partitions, workspace.dataset, workspace.results, redo=_REDO[StepName.PARTITION])
        if not self._is_void(step):
            self.stamps.check(step, self.inputs(step), redo=_REDO[step])

    def forget(self, step: StepName) -> None:
        """Removes what a step made, and what was made from it."""
        workspace = self.workspace
        steps = list(_REDO)[list(_REDO).index(step) :]
        folders = [workspace.partitions, workspace.dataset / "windows"] if step is StepName.PARTITION else []
        if not folders:
            folders = list(self._layer_folders(step))
            for pid in self._partition_folders():
                marker = workspace.partition_request(pid).with_name("postprocessed.json")
                remove(marker, workspace.partition_result(pid), workspace.partition_rasters(pid))
        if step is StepName.PARTITION:
            self.stamps.clear()
        else:
            self.stamps.drop(*steps)
        if (workspace.dataset / "config.json").exists():
            if step is StepName.PARTITION:
                forget_windows(self.dataset.storage)
            else:
                imagery = list(imagery_layers(self.dataset)) if step is StepName.DATASET_BUILD else []
                forget_layers(self.dataset.storage, [OUTPUT_LAYER, *imagery], items=bool(imagery))
        remove(workspace.results, *folders, *(self.failures_path(later) for later in steps))

    def _layer_folders(self, step: StepName) -> Iterable[Path]:
        imagery = set(imagery_layers(self.dataset)) if step is StepName.DATASET_BUILD else set()
        if imagery:
            yield self.workspace.dataset / "tiles"
        for spec in self.specs(self._partition_folders()).values():
            window = self.workspace.window(spec.group, spec.name)
            yield self.workspace.window_result(spec.group, spec.name)
            if imagery:
                yield window / "items.json"
            layers = (window / "layers").iterdir() if (window / "layers").is_dir() else ()
            # A layer's further time steps lie in folders named layer.1, layer.2, …
            yield from (path for path in layers if path.name.split(".")[0] in {OUTPUT_LAYER, *imagery})

    def write_plan(self, plan: Plan) -> None:
        """Writes partitions and windows.

        Args:
            plan: What to write.
        """
        dataset = self.dataset
        folders = WindowFolders(dataset) if WindowFolders.fits(dataset) else None
        with one_transaction(dataset.storage):
            for partition in plan.partitions:
                pid = partition.partition_id
                write_collection(self.workspace.partition_request(pid), partition.request)
                if isinstance(dataset.storage, ThreadedStorage):
                    save_windows(dataset.storage, partition.owned)
                else:
                    self._write_windows(partition, folders)
                write_index(self.workspace.partition_index(pid), partition.windows)

    def _write_windows(self, partition: Partition, folders: WindowFolders | None) -> None:
        """Writes the windows that a partition owns, each with the features that it was made for."""
        # Empty if others own all its windows; olmoearth-runner looks into it nevertheless.
        group = make_folder(self.workspace.dataset / "windows" / partition.group)
        texts: dict[tuple[int, ...], str] = {}
        for spec in partition.owned:
            if spec.features not in texts:
                texts[spec.features] = _features_text(partition, spec)
        if folders is not None and partition.owned and not any(group.iterdir()):
            files = {features: {WINDOW_REQUEST: text.encode()} for features, text in texts.items()}
            folders.make_group(partition.group, ((spec, files[spec.features]) for spec in partition.owned))
            return
        for spec in partition.owned:
            create_window(self.dataset, spec)
            write_text(self.workspace.window_request(spec.group, spec.name), texts[spec.features])

    # ---- reading ---------------------------------------------------------------------------------------------

    def _partition_folders(self) -> list[str]:
        folders = self.workspace.partitions.iterdir() if self.workspace.partitions.is_dir() else ()
        return sorted((path.name for path in folders if (path / "windows.json").exists()), key=partition_number)

    def partition_ids(self, ids: Ids = None) -> list[str]:
        """Ids of partitions, in order of their numbers.

        Args:
            ids: One id, several, or None for all of the scratch.

        Raises:
            MissingStepError: If ``partition()`` has not been run.
            StaleScratchError: If it was run for another request or partitioning.
            UsageError: If an id is not known.
        """
        step = StepName.PARTITION
        self.stamps.require(step, self.inputs(step), call="runner.partition()", redo=_REDO[step])
        return pick_ids(ids, self.stamps.made(step) or self._partition_folders())

    def features_of(self, partition_id: str) -> dict[str, list[PredictionRequestFeature]]:
        """For each window of a partition, by its name, the features that it was made for.

        Raises:
            InputFileError: If a file of the scratch is gone or damaged.
        """
        path = self.workspace.partition_request(partition_id)
        specs = self.windows_of(partition_id)
        with remedy(path, f"Call {_REDO[StepName.PARTITION]}."):
            features = read_request(path).features
            needed = max((index for spec in specs for index in spec.features), default=-1) + 1
            if len(features) < needed:
                raise InputFileError(
                    "The partition has lost features.",
                    where=str(path),
                    expected=f"at least {needed}",
                    found=str(len(features)),
                )
        return {spec.name: [features[index] for index in spec.features] for spec in specs}

    def windows_of(self, partition_id: str) -> list[WindowSpec]:
        """Windows of a partition, shared ones included.

        Raises:
            InputFileError: If the file of the scratch is gone or damaged.
        """
        path = self.workspace.partition_index(partition_id)
        with remedy(path, f"Call {_REDO[StepName.PARTITION]}."):
            return read_index(path)

    def specs(self, partition_ids: Iterable[str]) -> Specs:
        """Distinct windows of some partitions, by group and name."""
        return {(spec.group, spec.name): spec for pid in partition_ids for spec in self.windows_of(pid)}

    def failures_path(self, step: StepName) -> Path:
        """Record of the windows that failed in a step."""
        return self.workspace.state / f"failed_{step.value}.json"

    def predicted(self, keys: Iterable[WindowKey]) -> set[WindowKey]:
        """Which windows have their output."""
        keys = list(keys)
        states = completed_layers(self.dataset, keys, [OUTPUT_LAYER])
        return {key for key, (done,) in zip(keys, states, strict=True) if done}

    def failures(self) -> dict[WindowKey, str]:
        """Windows that failed, in building or inference, with the reason."""
        return {
            **read_failures(self.failures_path(StepName.DATASET_BUILD)),
            **read_failures(self.failures_path(StepName.INFERENCE)),
        }

    def not_yet_predicted(self, partition_ids: Iterable[str]) -> int:
        """Number of windows without a prediction that are not known to have failed.

        Args:
            partition_ids: The partitions.
        """
        keys = set(self.specs(partition_ids))
        return len(keys - self.predicted(keys) - self.failures().keys())

    def with_imagery(self, specs: Specs) -> tuple[Specs, Mapping[WindowKey, str]]:
        """Windows with at least one layer of imagery, and why the others have none.

        Whether a window with some layers missing can be predicted depends on the model's inputs.

        Args:
            specs: Windows.

        Raises:
            MissingStepError: If none of them has been built.
        """
        layers = list(imagery_layers(self.dataset))
        states = completed_layers(self.dataset, specs, layers)
        ready = {key: spec for (key, spec), done in zip(specs.items(), states, strict=True) if any(done) or not done}
        reasons = read_failures(self.failures_path(StepName.DATASET_BUILD))
        if specs and not ready and not reasons.keys() & specs.keys():
            raise MissingStepError(
                "The windows have no imagery yet.",
                where=str(self.workspace.root),
                fix="Call runner.build_dataset() first.",
            )
        return ready, {key: reasons.get(key, "not built yet.") for key in specs if key not in ready}


def _features_text(partition: Partition, spec: WindowSpec) -> str:
    """What a window was made for: one feature as it is, several as a collection."""
    where = f"window {spec.group}/{spec.name}"
    features = [partition.request.features[index] for index in spec.features]
    if len(features) == 1:
        return collection_text(features[0], where=where)
    collection = PredictionRequestCollection(type="FeatureCollection", features=features)
    return collection_text(collection, where=where)
