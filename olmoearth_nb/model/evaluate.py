"""Measure a loaded model on labelled windows with the metrics of its rslearn task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
from rslearn.dataset import Window
from rslearn.train.data_module import RslearnDataModule
from rslearn.train.model_context import ModelContext

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InferenceError, UnsupportedError
from olmoearth_nb.model.batches import batches, window_order
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.quiet import quiet
from olmoearth_nb.model.samples import Sample, WindowStream, check_layers, missing_input
from olmoearth_nb.model.splits import no_windows, split_windows
from olmoearth_nb.progress import Progress, open_bar
from olmoearth_nb.store.dataset import open_dataset

__all__ = ["evaluate_split", "evaluate_windows"]


def evaluate_split(
    loaded: LoadedModel, split: str = "test", *, num_workers: int | None = None, progress: Progress = None
) -> dict[str, float]:
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
    num_workers: int | None = None,
    progress: Progress = None,
) -> dict[str, float]:
    """Measures the model on given windows of any split.

    Windows without a label or an input are left out, as rslearn does.

    Args:
        loaded: The model.
        windows: Windows of the model's dataset, with their data.
        split: Whose transforms and crops to use.
        num_workers: Processes that read; 0 reads in this one, None takes the configuration's number.
        progress: See :mod:`olmoearth_nb.progress`.

    Returns:
        The task's metrics by their names, ``loss`` and its parts, and ``windows``, the number of windows.

    Raises:
        ConfigError: If the configuration's inputs or crops don't fit the dataset.
        TrainingError: If no window has what the model needs.
        InferenceError: If a window can't be read or computed.
        UnsupportedError: If the data module is not rslearn's.
    """
    data = _data(loaded)
    dataset = open_dataset(loaded.dataset_path)
    check_layers(data.inputs, dataset)
    reasons: Counter[str] = Counter()
    usable: list[Window] = []
    for window in windows:
        reason = missing_input(data.inputs, window)
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
            stream = WindowStream(usable, dataset, data, split=split, chunk_size=data.batch_size)
            scores = _Scores(loaded, usable)
            for batch in batches(stream, size=data.batch_size, num_workers=num_workers, failed=scores.fail):
                scores.add([sample for _, sample in batch])
                bar.update(sum(_is_last(sample) for _, sample in batch))
            return {**scores.compute(), "windows": float(len(usable))}
    finally:
        bar.close()


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
    """Loss and metrics, added up over batches."""

    def __init__(self, loaded: LoadedModel, windows: Sequence[Window]) -> None:
        self.loaded = loaded
        self.windows = windows
        self.metrics = loaded.task.get_metrics().to(loaded.device)
        self.loss = 0.0
        self.count = 0
        loaded.module.eval()

    def fail(self, index: int, reason: str) -> None:
        """A number that leaves out a window without a word would be wrong."""
        window = self.windows[index]
        raise InferenceError(reason, where=f"window {window.group}/{window.name}")

    def add(self, samples: list[Sample]) -> None:
        """Adds a batch."""
        inputs, targets = [sample[0] for sample in samples], [sample[1] for sample in samples]
        metadatas = [sample[2] for sample in samples]
        module, device = self.loaded.module, self.loaded.device
        where = f"window {metadatas[0].window_group}/{metadatas[0].window_name} and others of its batch"
        with foreign_code(InferenceError, "The model fails on it", where=where), torch.inference_mode():
            if device.type != "cpu":
                inputs, targets = module.transfer_batch_to_device((inputs, targets), device, 0)
            with self.loaded.autocast():
                output = module(ModelContext(inputs=inputs, metadatas=metadatas), targets)
            # Weighted as Lightning weighs its means over batches.
            self.loss += sum(float(loss) for loss in output.loss_dict.values()) * len(samples)
            self.count += len(samples)
            self.metrics.update(output.outputs, targets)

    def compute(self) -> dict[str, float]:
        """Loss and metrics by name; what is no number (a confusion matrix) is left out."""
        scores = {"loss": self.loss / self.count}
        for name, value in self.metrics.compute().items():
            if isinstance(value, torch.Tensor | float | int) and torch.as_tensor(value).numel() == 1:
                scores[name] = float(value)
        return scores
