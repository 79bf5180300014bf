"""One pass of a window's samples through the model, noted: what heads were given, what they say, and the loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from rslearn.models.component import Predictor
from rslearn.train.lightning_module import RslearnLightningModule
from rslearn.train.model_context import ModelContext
from rslearn.train.tasks import Task
from rslearn.train.tasks.detection import DetectionTask
from rslearn.train.tasks.multi_task import MultiTask

from olmoearth_nb.border import describe, foreign_code
from olmoearth_nb.errors import InferenceError
from olmoearth_nb.legend import Legend
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.losses import HeadCalls, one_of, sample_losses, watch_heads
from olmoearth_nb.model.measures import class_names
from olmoearth_nb.model.predict import as_floats
from olmoearth_nb.model.samples import Sample
from olmoearth_nb.model.tasks import name_of, task_of_loss
from olmoearth_nb.model.trace.extract import has_label, logits_of, said
from olmoearth_nb.model.trace.hooks import ModuleWatch
from olmoearth_nb.model.trace.losses import drawn_losses, loss_map
from olmoearth_nb.model.trace.outputs import TaskNotes

__all__ = ["Passing"]


class Passing:
    """Runs batches of samples and notes all tasks.

    Args:
        loaded: The model.
        watch: Notes the modules.
        legend: What classes are called.
        labels: Whether the samples have labels.

    Attributes:
        notes: Name of the task -> what was noted.
        outputs: For each sample, as the writer takes it.
        losses: For each sample its losses by name, those without a label left out.
        no_loss: Why there is no loss though there is a label; None if there is one.
    """

    def __init__(self, loaded: LoadedModel, watch: ModuleWatch, legend: Legend | None, *, labels: bool) -> None:
        self.loaded, self.watch, self.labels = loaded, watch, labels
        self.multiple = isinstance(loaded.task, MultiTask)
        self.tasks: Mapping[str, Task] = (
            loaded.task.tasks if isinstance(loaded.task, MultiTask) else {name_of(loaded.task): loaded.task}
        )
        self.notes = {
            name: TaskNotes(name=name, task=task, classes=class_names(task, legend, name))
            for name, task in self.tasks.items()
        }
        self.outputs: list[Any] = []
        self.losses: list[dict[str, float]] = []
        self.no_loss: str | None = None
        loaded.module.eval()

    def run(self, samples: Sequence[Sample]) -> None:
        """Runs a batch.

        Args:
            samples: The samples.

        Raises:
            InferenceError: If the model fails.
        """
        module, device = self.loaded.module, self.loaded.device
        metadatas = [sample[2] for sample in samples]
        where = f"window {metadatas[0].window_group}/{metadatas[0].window_name}"
        with foreign_code(InferenceError, "The model fails on it", where=where), torch.inference_mode():
            inputs, targets = [sample[0] for sample in samples], [sample[1] for sample in samples]
            if device.type != "cpu":
                inputs, targets = module.transfer_batch_to_device((inputs, targets), device, 0)
            context = ModelContext(inputs=inputs, metadatas=metadatas)
            with self.loaded.autocast():
                seen, outputs, losses = self._forward(context, targets)
            if len(outputs) != len(samples):
                raise InferenceError(f"The model gives {len(outputs)} outputs for {len(samples)} inputs.", where=where)
            heads = self._heads(seen)
            outputs = as_floats(outputs)
            self._note(outputs, targets, metadatas, heads)
            self._note_losses(losses, outputs, targets, context, heads)
            self.outputs += outputs

    def drop_losses(self) -> None:
        """Forgets those of some crops where others have none: they would not be the window's."""
        self.losses = [{} for _ in self.losses]
        for notes in self.notes.values():
            notes.losses = [{} for _ in notes.losses]
            notes.loss_maps = [None for _ in notes.loss_maps]

    def _forward(
        self, context: ModelContext, targets: list[Any]
    ) -> tuple[HeadCalls, list[Any], list[dict[str, float]]]:
        if self.labels:
            try:
                return self._with_losses(context, targets)
            except (IndexError, RuntimeError, ValueError) as error:
                # A label outside of the classes, say, which training would end with.
                self.no_loss = describe(error)
        with self.watch.batch(), watch_heads(self.loaded.module) as seen:
            outputs = self._predict(context, targets)
        return seen, outputs, [{} for _ in outputs]

    def _predict(self, context: ModelContext, targets: list[Any]) -> list[Any]:
        module: Any = self.loaded.module
        return list(module.predict_step((context.inputs, targets, context.metadatas), 0).outputs)

    def _with_losses(
        self, context: ModelContext, targets: list[Any]
    ) -> tuple[HeadCalls, list[Any], list[dict[str, float]]]:
        module: Any = self.loaded.module
        if type(module).predict_step is RslearnLightningModule.predict_step:
            # What it computes is the same with targets, which then gives the loss too.
            with self.watch.batch(), watch_heads(module) as seen:
                output = module(context, targets)
            return seen, list(output.outputs), sample_losses(module, seen, output, context, targets)
        again = copy.deepcopy(context)
        with self.watch.batch():
            outputs = self._predict(context, targets)
        with watch_heads(module) as seen:
            output = module(again, targets)
        return seen, outputs, sample_losses(module, seen, output, again, targets)

    def _heads(self, seen: HeadCalls) -> dict[str, tuple[Predictor, Any, ModelContext, Any]]:
        """Name of the task -> its head, and what that was given."""
        model: Any = getattr(self.loaded.module, "model", None)
        decoders = getattr(model, "decoders", None)
        found: dict[str, tuple[Predictor, Any, ModelContext, Any]] = {}
        for head, intermediates, context, targets, _ in seen.calls:
            if not self.multiple:
                found.setdefault(next(iter(self.tasks)), (head, intermediates, context, targets))
                continue
            for decoder, parts in decoders.items() if decoders is not None else ():
                if parts[-1] is head:
                    names = [name for name in model._get_tasks_from_decoder(decoder) if name not in found]
                    found |= {names[0]: (head, intermediates, context, targets)} if names else {}
        return found

    def _note(self, outputs: list[Any], targets: list[Any], metadatas: list[Any], heads: Mapping[str, Any]) -> None:
        for name, notes in self.notes.items():
            head = heads.get(name)
            logits = logits_of(head[1], len(outputs)) if head is not None else [None] * len(outputs)
            for output, target, metadata, one in zip(outputs, targets, metadatas, logits, strict=True):
                if self.multiple and name not in output:
                    continue
                mine, meant = (output[name], target.get(name)) if self.multiple else (output, target)
                notes.said.append(said(notes.task, mine, meant if self.labels and meant else None, metadata))
                notes.logits.append(self._own_logits(name, one))

    def _own_logits(self, name: str, logits: Any) -> Any:
        """Those of the task, where several share a head."""
        offsets = getattr(getattr(self.loaded.module, "model", None), "task_label_offsets", None)
        if logits is None or not offsets or name not in offsets:
            return logits
        start = offsets[name]["offset"]
        return logits[start : start + offsets[name]["num_outputs"]]

    def _note_losses(
        self,
        losses: list[dict[str, float]],
        outputs: list[Any],
        targets: list[Any],
        context: ModelContext,
        heads: Mapping[str, Any],
    ) -> None:
        weights: Mapping[str, float] = getattr(getattr(self.loaded.module, "model", None), "loss_weights", None) or {}
        for index, found in enumerate(losses):
            counted: dict[str, float] = {}
            for name, notes in self.notes.items():
                target = targets[index].get(name) if self.multiple else targets[index]
                labelled = self.labels and has_label(target)
                own = {
                    key: loss
                    for key, loss in found.items()
                    if task_of_loss(key, self.tasks, multiple=self.multiple) == name
                }
                weight = weights.get(name, 1.0) if self.multiple else 1.0
                head = heads.get(name)
                shares = None
                if labelled and head is not None:
                    own = own or self._drawn(name, head, index, context, target, weight)
                    if own:
                        notes.part = next(iter(own))
                        meant = self._meant(outputs[index], target, name)
                        shares = loss_map(head[0], head[1], index, meant, own[notes.part] / (weight or 1.0))
                notes.loss_maps.append(self._no_map(notes) if shares is None else shares * np.float32(weight))
                notes.losses.append(own if labelled else {})
                counted |= own if labelled else {}
            self.losses.append(counted)

    def _meant(self, output: Any, target: Any, name: str) -> Any:
        """The label as the head's loss takes it: heads for time steps make it of the label's date."""
        mine = output.get(name) if self.multiple else output
        return mine["targets"] if isinstance(mine, Mapping) and "targets" in mine else target

    @staticmethod
    def _no_map(notes: TaskNotes) -> Any:
        """NaN for a crop without a label, so that the others' map is kept."""
        index = len(notes.loss_maps)
        label = notes.said[index].label if index < len(notes.said) else None
        if label is None or label.ndim != 2:
            return None
        empty = np.isnan(label) if label.dtype.kind == "f" else label < 0
        return np.full(label.shape, np.nan, dtype=np.float32) if empty.all() else None

    def _drawn(
        self, name: str, head: Any, index: int, context: ModelContext, target: Any, weight: float
    ) -> dict[str, float]:
        """Losses of a head that has some only in training."""
        one = one_of(head[1], index)
        if one is None or not isinstance(self.tasks[name], DetectionTask):
            return {}
        alone = ModelContext(inputs=[context.inputs[index]], metadatas=[context.metadatas[index]])
        prefix = f"{name}_" if self.multiple else ""
        return {f"{prefix}{key}": loss * weight for key, loss in drawn_losses(head[0], one, alone, [target]).items()}
