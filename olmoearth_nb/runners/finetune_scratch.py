"""What lies in a fine-tuning's scratch, and whether it was made from today's files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rslearn.dataset import Window

from olmoearth_nb.config import Project, WindowPrep
from olmoearth_nb.files import hash_json
from olmoearth_nb.runners.base import file_hash, model_hash, refuse_foreign, remove
from olmoearth_nb.store.dataset import ScratchDataset, imagery_layers, open_dataset, write_dataset_config
from olmoearth_nb.store.local_listing import imagery_fingerprint
from olmoearth_nb.store.sqlite import forget_layers, forget_windows
from olmoearth_nb.store.stamps import Stamps
from olmoearth_nb.store.windows import completed_layers, load_windows
from olmoearth_nb.store.workspace import FineTuneWorkspace, make_folder
from olmoearth_nb.types import StepName

__all__ = ["FineTuneScratch"]

_CALLS = {
    StepName.PREPARE_LABELED_WINDOWS: "runner.prepare_labeled_windows({})",
    StepName.BUILD_DATASET_FROM_WINDOWS: "runner.build_dataset_from_windows({})",
    StepName.FINE_TUNE: "runner.fine_tune({})",
}
_STEPS = tuple(_CALLS)
# Noted only where it is not the usual way.
_START = "pretrained weights"


@dataclass(frozen=True)
class FineTuneScratch:
    """The files of a fine-tuning, and the state of its steps.

    Attributes:
        project: The project.
        workspace: Where files lie.
        random_weights: Whether a training starts from random weights in place of pretrained ones.
    """

    project: Project
    workspace: FineTuneWorkspace
    random_weights: bool = False

    @cached_property
    def stamps(self) -> Stamps:
        """What each step was made from."""
        return Stamps(self.workspace.state / "stamps.json", self.workspace.root)

    @property
    def window_prep(self) -> WindowPrep:
        """The section ``window_prep`` of the project."""
        return self.project.run_config.require("window_prep", step=StepName.PREPARE_LABELED_WINDOWS)

    @property
    def dataset(self) -> ScratchDataset:
        """The rslearn dataset of the scratch."""
        return open_dataset(self.workspace.dataset)

    @property
    def failures_path(self) -> Path:
        """Record of the windows that could not be built."""
        return self.workspace.state / "failed_build.json"

    def windows(self) -> list[Window]:
        """The labelled windows, by name."""
        return load_windows(self.dataset, groups=[self.window_prep.group_name])

    def inputs(self, step: StepName) -> dict[str, Any]:
        """Fingerprints of what a step is made from, by name.

        Args:
            step: A step of fine-tuning.

        Raises:
            InputFileError: If a file can't be read.
        """
        project = self.project
        match step:
            case StepName.PREPARE_LABELED_WINDOWS:
                tasks, annotations = project.annotation_paths
                return {
                    "annotation_task_features": file_hash(tasks, what="file of annotation tasks"),
                    "annotation_features": file_hash(annotations, what="file of annotations"),
                    "window_prep": hash_json(self.window_prep.model_dump(mode="json")),
                }
            case StepName.BUILD_DATASET_FROM_WINDOWS:
                config = project.dataset_config()
                without_storage = {key: value for key, value in config.items() if key != "storage"}
                imagery = hash_json(imagery_fingerprint(config))
                return {"dataset.json": hash_json(project.portable(without_storage)), "imagery": imagery}
            case _:
                inputs = {"model.yaml": model_hash(project.model_config_path)}
                return {**inputs, _START: "random"} if self.random_weights else inputs

    def notes(self) -> tuple[str, ...]:
        """What has to be known of the training in the scratch."""
        random = _START in (self.stamps.inputs(StepName.FINE_TUNE) or {})
        return ("Training started from random weights, not from pretrained ones.",) if random else ()

    def check(self, step: StepName) -> None:
        """Raises StaleScratchError if a step was made from other files, or the scratch by somebody else."""
        if not self.stamps.path.exists():
            redo = _CALLS[_STEPS[0]].format("overwrite=True")
            refuse_foreign(self.workspace.dataset, self.workspace.trainer, redo=redo)
        if not self._is_void(step):
            self.stamps.check(step, self.inputs(step), redo=_CALLS[step].format("overwrite=True"))

    def _is_void(self, step: StepName) -> bool:
        """Whether a step was begun from other files and came to nothing, so that nothing is lost with it."""
        if not self.stamps.is_of_others(step, self.inputs(step)):
            return False
        match step:
            case StepName.PREPARE_LABELED_WINDOWS:
                return not self.stamps.is_done(step)
            case StepName.FINE_TUNE:
                return not any(self.workspace.trainer.glob("*.ckpt"))
            case _:
                keys = [(window.group, window.name) for window in self.windows()]
                states = completed_layers(self.dataset, keys, list(imagery_layers(self.dataset)))
                return not any(any(done) for done in states)

    def begin(self, step: StepName) -> None:
        """Notes what a step is made from, and puts its files into the scratch.

        Raises:
            StaleScratchError: If the step was made from other files.
        """
        make_folder(self.workspace.root)
        if self._is_void(step):
            self.forget(step)
        self.stamps.begin(step, self.inputs(step), redo=_CALLS[step].format("overwrite=True"))
        if step is not StepName.FINE_TUNE:
            write_dataset_config(self.workspace.dataset, self.project.dataset_config())

    def require(self, *steps: StepName) -> None:
        """Checks that earlier steps were finished with today's files.

        Raises:
            MissingStepError: If one has not been finished.
            StaleScratchError: If one was made from other files.
        """
        for step in steps:
            call = _CALLS[step]
            self.stamps.require(step, self.inputs(step), call=call.format(""), redo=call.format("overwrite=True"))

    def forget(self, step: StepName) -> None:
        """Removes what a step made, and what was made from it."""
        dataset = self.workspace.dataset
        if step is StepName.PREPARE_LABELED_WINDOWS:
            remove(dataset / "windows")
            if (dataset / "config.json").exists():
                forget_windows(self.dataset.storage)
        elif step is StepName.BUILD_DATASET_FROM_WINDOWS and (dataset / "config.json").exists():
            layers = set(imagery_layers(self.dataset))
            for window in self.windows():
                root = Path(str(window.window_root))
                folders = (root / "layers").iterdir() if (root / "layers").is_dir() else ()
                remove(root / "items.json", *(path for path in folders if path.name.split(".")[0] in layers))
            forget_layers(self.dataset.storage, layers, items=True)
            remove(dataset / "tiles")
        remove(self.workspace.trainer)
        if step is not StepName.FINE_TUNE:
            remove(self.failures_path)
        if step is _STEPS[0]:
            self.stamps.clear()
        else:
            self.stamps.drop(*_STEPS[_STEPS.index(step) :])
