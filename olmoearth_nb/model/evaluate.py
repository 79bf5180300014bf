"""Measure a loaded model on windows: the metrics of its rslearn task, and what is right and wrong where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from rslearn.dataset import Window
from rslearn.train.data_module import RslearnDataModule
from rslearn.train.model_context import ModelContext
from rslearn.train.tasks import Task
from rslearn.train.tasks.multi_task import MultiTask

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InferenceError, UnsupportedError
from olmoearth_nb.evaluation.results import Measured
from olmoearth_nb.legend import Legend
from olmoearth_nb.model.batches import batches, window_order
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.losses import sample_losses, watch_heads
from olmoearth_nb.model.measures import class_names, measure_of
from olmoearth_nb.model.quiet import quiet
from olmoearth_nb.model.samples import Sample, WindowStream, check_layers, missing_input
from olmoearth_nb.model.splits import no_windows, split_windows
from olmoearth_nb.model.tasks import name_of, task_of_loss
from olmoearth_nb.progress import Progress, open_bar
from olmoearth_nb.store.dataset import open_dataset

__all__ = ["evaluate_split", "evaluate_windows", "label_layers", "labelled_windows"]


def evaluate_split(
    loaded: LoadedModel, split: str = "test", *, num_workers: int | None = None, progress: Progress = None
) -> Measured:
    """Measures the model on the windows of a split.

    Args:
        loaded: The model.
        split: ``train``, ``val`` or ``test``: the configuration's section of that name says which windows.
        num_workers: Processes that read; 0 reads in this one, None takes the configuration's number.
        progress: See :mod:`olmoearth_nb.progress`.

    Returns:
        See :func:`evaluate_windows`.

    Raises:
        TrainingError: If the split has no window to use.
        InferenceError: If a window can't be read or computed.
        UnsupportedError: If the data module is not rslearn's, or there is no such split.
    """
    data = _data(loaded)
    if split not in ("train", "val", "test"):
        raise UnsupportedError("There is no such split.", expected="train, val or test", found=repr(split))
    windows = split_windows(data, open_dataset(loaded.dataset_path), split)
    return evaluate_windows(loaded, windows, split=split, num_workers=num_workers, progress=progress)


def evaluate_windows(
    loaded: LoadedModel,
    windows: Sequence[Window],
    *,
    split: str = "test",
    labels: bool = True,
    legend: Legend | None = None,
    batch_size: int | None = None,
    num_workers: int | None = None,
    progress: Progress = None,
) -> Measured:
    """Measures the model on given windows of any split, in one pass.

    Windows without a label or an input are left out, as rslearn does. Predicted is the class of the highest
    probability, as in rslearn's metrics, before any ``prob_scales`` of the writer. Where crops of a window overlap,
    their pixels count once for each crop, as in rslearn's metrics.

    Args:
        loaded: The model.
        windows: Windows of the model's dataset, with their data.
        split: Whose transforms and crops to use.
        labels: Whether to read labels; without them there is no loss and no error, only what the model says.
        legend: What classes are called.
        batch_size: Crops in a forward pass; None for what the configuration says.
        num_workers: Processes that read; 0 reads in this one, None takes the configuration's number.
        progress: See :mod:`olmoearth_nb.progress`.

    Returns:
        What was measured. Its metrics are the tasks' by their names, ``loss`` where the heads have one, and
        ``windows``, the number of windows.

    Raises:
        ConfigError: If the configuration's inputs or crops don't fit the dataset.
        TrainingError: If no window has what the model needs.
        InferenceError: If a window can't be read or computed.
        UnsupportedError: If the data module is not rslearn's.
    """
    data = _data(loaded)
    dataset = open_dataset(loaded.dataset_path)
    inputs = {name: one for name, one in data.inputs.items() if labels or not one.is_target}
    check_layers(inputs, dataset)
    reasons: Counter[str] = Counter()
    usable: list[Window] = []
    for window in windows:
        reason = missing_input(inputs, window)
        if reason is None:
            usable.append(window)
        else:
            reasons[reason] += 1
    if not usable:
        raise no_windows(data, dataset, split, reasons)
    usable.sort(key=window_order)
    bar = open_bar(progress, total=len(usable), desc="Evaluating")
    try:
        with quiet():
            size = batch_size or data.batch_size
            stream = WindowStream(usable, dataset, data, split=split, chunk_size=size, targets=labels)
            scores = _Scores(loaded, usable, legend, labels=labels)
            for batch in batches(stream, size=size, num_workers=num_workers, failed=scores.fail):
                scores.add(batch)
                bar.update(sum(_is_last(sample) for _, sample in batch))
            return scores.measured(reasons)
    finally:
        bar.close()


def label_layers(loaded: LoadedModel) -> list[str]:
    """Layers of the dataset that hold the labels.

    Args:
        loaded: The model.

    Raises:
        UnsupportedError: If the data module is not rslearn's.
    """
    targets = [one for one in _data(loaded).inputs.values() if one.is_target]
    return list(dict.fromkeys(layer.split(".")[0] for one in targets for layer in one.layers))


def labelled_windows(loaded: LoadedModel, windows: Sequence[Window]) -> list[Window]:
    """The windows that have the labels that the model would be trained with.

    Args:
        loaded: The model.
        windows: Windows of its dataset.

    Raises:
        UnsupportedError: If the data module is not rslearn's.
    """
    targets = {name: one for name, one in _data(loaded).inputs.items() if one.is_target}
    layers = label_layers(loaded)
    if not layers or not set(layers) <= set(open_dataset(loaded.dataset_path).layers):
        return []
    return [window for window in windows if missing_input(targets, window) is None]


def _data(loaded: LoadedModel) -> RslearnDataModule:
    if not isinstance(loaded.data, RslearnDataModule):
        raise UnsupportedError(
            "Evaluation needs one dataset.",
            where=f"{loaded.model_yaml}: data.class_path",
            expected="rslearn.train.data_module.RslearnDataModule",
            found=type(loaded.data).__name__,
        )
    return loaded.data


def _is_last(sample: Sample) -> bool:
    return sample[2].crop_idx == sample[2].num_crops_in_window - 1


class _Scores:
    """Loss, metrics and what is kept of each window, added up over batches."""

    def __init__(self, loaded: LoadedModel, windows: Sequence[Window], legend: Legend | None, *, labels: bool) -> None:
        self.loaded = loaded
        self.windows = windows
        self.labels = labels
        self.metrics = loaded.task.get_metrics().to(loaded.device)
        self.multiple = isinstance(loaded.task, MultiTask)
        self.tasks: Mapping[str, Task] = (
            loaded.task.tasks if isinstance(loaded.task, MultiTask) else {name_of(loaded.task): loaded.task}
        )
        self.measures = {
            name: measure_of(task, len(windows), class_names(task, legend, name)) for name, task in self.tasks.items()
        }
        self.losses = {name: np.zeros(len(windows)) for name in self.tasks}
        self.counts = {name: np.zeros(len(windows)) for name in self.tasks}
        self.loss: float | None = None
        self.count = 0
        loaded.module.eval()

    def fail(self, index: int, reason: str) -> None:
        """A number that leaves out a window without a word would be wrong."""
        window = self.windows[index]
        raise InferenceError(reason, where=f"window {window.group}/{window.name}")

    def add(self, batch: list[tuple[int, Sample]]) -> None:
        """Adds a batch."""
        samples = [sample for _, sample in batch]
        inputs, targets = [sample[0] for sample in samples], [sample[1] for sample in samples]
        metadatas = [sample[2] for sample in samples]
        module, device = self.loaded.module, self.loaded.device
        where = f"window {metadatas[0].window_group}/{metadatas[0].window_name} and others of its batch"
        with foreign_code(InferenceError, "The model fails on it", where=where), torch.inference_mode():
            if device.type != "cpu":
                inputs, targets = module.transfer_batch_to_device((inputs, targets), device, 0)
            context = ModelContext(inputs=inputs, metadatas=metadatas)
            losses: list[dict[str, float]] = [{}] * len(samples)
            with self.loaded.autocast():
                if self.labels:
                    with watch_heads(module) as seen:
                        output = module(context, targets)
                    losses = sample_losses(module, seen, output, context, targets)
                else:
                    output = module(context)
            outputs = list(output.outputs)
            if self.labels:
                self._add_loss(output.loss_dict, len(samples))
                self.metrics.update(outputs if self.multiple else output.outputs, targets)
            for (row, _), one, target, metadata, loss in zip(batch, outputs, targets, metadatas, losses, strict=True):
                self._add_sample(row, one, target if self.labels else None, metadata, loss)

    def _add_loss(self, losses: Mapping[str, torch.Tensor], count: int) -> None:
        # Weighted as Lightning weighs its means over batches. Detection heads have none outside of training.
        if losses:
            self.loss = (self.loss or 0.0) + sum(float(loss) for loss in losses.values()) * count
        self.count += count

    def _add_sample(self, row: int, output: Any, target: Any, metadata: Any, losses: Mapping[str, float]) -> None:
        for name, measure in self.measures.items():
            if self.multiple and name not in output:
                continue
            said, meant = (output[name], target and target.get(name)) if self.multiple else (output, target)
            own = [
                loss for key, loss in losses.items() if task_of_loss(key, self.tasks, multiple=self.multiple) == name
            ]
            # Without a valid label it would be 0, as if all were right.
            if measure.add(row, said, meant or None, metadata) and own:
                self.losses[name][row] += sum(own)
                self.counts[name][row] += 1

    def measured(self, left_out: Mapping[str, int]) -> Measured:
        """All that was added up."""
        metrics: dict[str, float] = {}
        if self.labels:
            metrics |= {} if self.loss is None else {"loss": self.loss / self.count}
            # What is no number (a confusion matrix) is left out.
            for name, value in self.metrics.compute().items():
                if isinstance(value, torch.Tensor | float | int) and torch.as_tensor(value).numel() == 1:
                    metrics[name] = float(value)
        base = pd.DataFrame(
            {"group": [window.group for window in self.windows], "name": [window.name for window in self.windows]}
        )
        tasks = {}
        for name, measure in self.measures.items():
            prefix = f"{name}/" if self.multiple else ""
            own = {key.removeprefix(prefix): value for key, value in metrics.items() if key.startswith(prefix)}
            counts = self.counts[name]
            loss = np.divide(self.losses[name], counts, out=np.full(len(counts), np.nan), where=counts > 0)
            windows = base.assign(loss=loss) if self.labels else base
            own.pop("loss", None)
            tasks[name] = measure.result(name, windows, own, labelled=self.labels)
        return Measured(metrics=metrics | {"windows": float(len(self.windows))}, tasks=tasks, left_out=dict(left_out))
