"""Run a loaded model over given windows, in batches that span windows, and write each window when it is complete."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from rslearn.dataset import Window
from rslearn.train.data_module import RslearnDataModule
from rslearn.train.prediction_writer import RslearnWriter
from rslearn.train.tasks.segmentation import SegmentationTask
from upath import UPath

from olmoearth_nb.border import describe, foreign_code
from olmoearth_nb.errors import ConfigError, InferenceError, UnsupportedError
from olmoearth_nb.model.batches import batches, window_order
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.quiet import quiet
from olmoearth_nb.model.samples import Sample, WindowStream, check_layers, missing_input
from olmoearth_nb.progress import Progress, ProgressBar, open_bar
from olmoearth_nb.store.dataset import open_dataset
from olmoearth_nb.threads import Behind

__all__ = ["WindowOutcome", "WindowState", "as_floats", "forward", "open_writer", "predict_windows", "rslearn_data"]

WindowState: TypeAlias = Literal["written", "skipped", "failed", "dropped"]
"""Written now; has its output already; could not be read, computed or written; lacks an input that the model needs."""

_Key: TypeAlias = tuple[str, str]
_Batch: TypeAlias = list[tuple[int, Sample]]


@dataclass(frozen=True, kw_only=True)
class WindowOutcome:
    """What became of a window.

    Attributes:
        group: The window's group.
        name: The window's name.
        state: See :data:`WindowState`.
        reason: Why, if it was not written.

    Example:
        >>> WindowOutcome(group="group_partition_0", name="w", state="failed", reason="no such file").state
        'failed'
    """

    group: str
    name: str
    state: WindowState
    reason: str | None = None


def predict_windows(
    loaded: LoadedModel,
    windows: Sequence[Window],
    *,
    batch_size: int | None = None,
    num_workers: int | None = None,
    progress: Progress = None,
    overwrite: bool = False,
    fill: bool = False,
    chunk: int | None = None,
    threads: int | None = None,
) -> list[WindowOutcome]:
    """Predicts windows of any groups in one pass and writes them into the output layer.

    Samples are made as the configuration's ``predict_config`` says (transforms, crops); which groups, names and tags it
    names does not matter. The results are those of rslearn's ``Trainer.predict`` with its writer. They depend neither
    on the order of the windows nor on the number of workers. A window that can't be read, computed or written is
    reported and the others go on. A run that is killed leaves windows that are complete and windows without output.

    Args:
        loaded: The model.
        windows: Windows of the model's dataset, with their data, as ``Dataset.load_windows`` gives them.
        batch_size: Crops in a forward pass; None for what the configuration says.
        num_workers: Processes that read; 0 reads in this one, None takes the configuration's number.
        progress: See :mod:`olmoearth_nb.progress`.
        overwrite: Predict windows again that have their output.
        fill: Compute windows that have their output with others of their batch, and leave it as it is: batches are then
            those of a run in which no window had any, and so are the last bits of what is written.
        chunk: Windows, counted in their order, that no batch reaches beyond: the last bits of a result depend on the
            batch that it was computed in, and a chunk gives the same wherever it is predicted.
        threads: Threads of a forward pass, on which the last bits depend too; torch's own number if None.

    Returns:
        One outcome a window, in the order given.

    Raises:
        ConfigError: If the configuration's inputs, crops or output layer don't fit the dataset.
        InferenceError: If memory runs out, or a worker process dies.
        UnsupportedError: If the data module is not rslearn's.
    """
    data = rslearn_data(loaded)
    bar = open_bar(progress, total=len(windows), desc="Predicting")
    try:
        with quiet(), _threads(threads):
            run = _Run(loaded, data, open_writer(loaded), bar)
            run.choose(windows, overwrite=overwrite, fill=fill, chunk=chunk)
            run.predict(batch_size=batch_size or data.batch_size, num_workers=num_workers)
    finally:
        bar.close()
    return [run.outcomes[window.group, window.name] for window in windows]


@contextlib.contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def rslearn_data(loaded: LoadedModel) -> RslearnDataModule:
    """The data module of a model that reads one dataset.

    Args:
        loaded: The model.

    Raises:
        UnsupportedError: If the data module is not rslearn's.
    """
    data = loaded.data
    if not isinstance(data, RslearnDataModule):
        raise UnsupportedError(
            "Prediction needs one dataset.",
            where=f"{loaded.model_yaml}: data.class_path",
            expected="rslearn.train.data_module.RslearnDataModule",
            found=type(data).__name__,
        )
    return data


def open_writer(loaded: LoadedModel) -> RslearnWriter:
    """The model's writer, ready to write.

    Args:
        loaded: The model.

    Raises:
        ConfigError: If there is none, or it does not fit the dataset.
    """
    writer = loaded.writer
    where = f"{loaded.model_yaml}: trainer.callbacks"
    if writer is None:
        raise ConfigError(
            "The model has several tasks and there is no RslearnWriter whose selector says which one to write.",
            where=where,
        )
    dataset = open_dataset(loaded.dataset_path)
    if writer.layer_config is None and writer.output_layer not in dataset.layers:
        raise ConfigError(
            f"The dataset has no layer {writer.output_layer!r} to write to.",
            where=f"{loaded.dataset_path / 'config.json'}: layers",
            expected=f"a layer {writer.output_layer!r}",
            found=", ".join(dataset.layers),
            fix="Add it to dataset.json.",
        )
    with foreign_code(ConfigError, "The writer can't be set up", where=where):
        writer._initialize(UPath(loaded.dataset_path))
    # It keeps the storage that it was set up with, and the windows may have moved since, or it may be another thread.
    writer.dataset_storage = dataset.storage
    # An earlier run that was interrupted leaves crops in it.
    writer.pending_outputs.clear()
    return writer


def forward(loaded: LoadedModel, samples: Sequence[Sample]) -> list[Any]:
    """What the model says for a batch of samples, as its writer takes it.

    Args:
        loaded: The model.
        samples: The samples.

    Raises:
        InferenceError: If the model fails.
    """
    inputs = [sample[0] for sample in samples]
    module, device = loaded.module, loaded.device
    with foreign_code(InferenceError, "The model fails on it"), torch.inference_mode():
        if device.type != "cpu":
            inputs = module.transfer_batch_to_device(inputs, device, 0)
        batch = (inputs, [sample[1] for sample in samples], [sample[2] for sample in samples])
        with loaded.autocast():
            predicted: Any = module.predict_step(batch, 0)
        outputs = list(predicted.outputs)
        if len(outputs) != len(samples):
            raise InferenceError(f"The model gives {len(outputs)} outputs for {len(samples)} inputs")
        return as_floats(outputs)


def as_floats(outputs: list[Any]) -> list[Any]:
    """Outputs in single precision where they have less: numpy has no bfloat16.

    Args:
        outputs: Of a model.
    """
    return list(apply_to_collection(outputs, torch.Tensor, _as_float))


class _Run:
    """One pass over the windows."""

    def __init__(self, loaded: LoadedModel, data: RslearnDataModule, writer: RslearnWriter, bar: ProgressBar) -> None:
        self.loaded = loaded
        self.data = data
        self.writer = writer
        self.bar = bar
        self.outcomes: dict[_Key, WindowOutcome] = {}
        self.todo: list[Window] = []
        self.filling: set[_Key] = set()
        self.chunk_of: list[int] | None = None
        self.unwritable: set[int] = set()

    def choose(self, windows: Sequence[Window], *, overwrite: bool, fill: bool, chunk: int | None) -> None:
        """Decides which windows to predict, and in which order."""
        inputs = {name: data_input for name, data_input in self.data.inputs.items() if not data_input.is_target}
        targets = {name: data_input for name, data_input in self.data.inputs.items() if data_input.is_target}
        if self.data.split_configs["predict"].get_skip_targets():
            targets = {}
        check_layers({**inputs, **targets}, open_dataset(self.loaded.dataset_path))
        chosen: dict[_Key, Window] = {}
        for window in windows:
            key = window.group, window.name
            if key in chosen or key in self.outcomes:
                self.bar.update(1)
            elif not overwrite and window.is_layer_completed(self.writer.output_layer):
                self._settle(window, "skipped", "it has its output already")
                if fill and not missing_input(inputs | targets, window):
                    self.filling.add(key)
                    chosen[key] = window
            elif reason := missing_input(inputs, window):
                self._settle(window, "dropped", reason)
            elif reason := missing_input(targets, window):
                hint = "a label, which predict_config reads too unless it says skip_targets: true"
                self._settle(window, "dropped", f"{reason}: {hint}")
            else:
                chosen[key] = window
        self.todo = sorted(chosen.values(), key=window_order)
        if chunk is not None:
            # Counted before windows drop out, as whoever cuts them beforehand does.
            everything = sorted({(window.group, window.name): window for window in windows}.values(), key=window_order)
            places = {(window.group, window.name): place for place, window in enumerate(everything)}
            open_chunks = {places[key] // chunk for key in chosen if key not in self.filling}
            self.todo = [window for window in self.todo if places[window.group, window.name] // chunk in open_chunks]
            self.chunk_of = [places[window.group, window.name] // chunk for window in self.todo]
        self.unwritable = {
            index for index, window in enumerate(self.todo) if (window.group, window.name) in self.filling
        }

    def predict(self, *, batch_size: int, num_workers: int | None) -> None:
        """Predicts the chosen windows: threads read and write while the model computes."""
        if not self.todo:
            return
        dataset = open_dataset(self.loaded.dataset_path)
        stream = WindowStream(self.todo, dataset, self.data, split="predict", chunk_size=batch_size)
        self.loaded.module.eval()
        found = batches(stream, size=batch_size, num_workers=num_workers, failed=self._fail, chunk_of=self.chunk_of)
        with contextlib.closing(found), Behind(self._settle_all) as writing:
            for batch in found:
                for part, outputs in self._computed([item for item in batch if self._is_computed(item[0])]):
                    writing.call(functools.partial(self._write, part, outputs))
        self.writer.pending_outputs.clear()

    def _computed(self, batch: _Batch) -> Iterator[tuple[_Batch, list[Any]]]:
        """What the model says of a batch; a sample that it fails on is singled out."""
        if all(self._is_settled(index) for index, _ in batch):
            return
        try:
            yield batch, forward(self.loaded, [sample for _, sample in batch])
        except InferenceError as error:
            if isinstance(error.__cause__, Exception) and _is_out_of_memory(error.__cause__):
                raise InferenceError(
                    f"Memory ran out in a batch of {len(batch)}: {describe(error.__cause__)}",
                    fix="Use a smaller batch_size." if len(batch) > 1 else "Use smaller windows or crops.",
                ) from error
            if len(batch) == 1:
                self._fail(batch[0][0], error.what)
                return
            for item in batch:
                if not self._is_settled(item[0]):
                    yield from self._computed([item])

    def _write(self, batch: _Batch, outputs: list[Any]) -> list[tuple[int, str | None]]:
        """Writes what is complete, in the writer's thread; the windows that are done with, and why not if they failed.

        The writer keeps the crops of a window, in their order, until the last one.
        """
        settled: list[tuple[int, str | None]] = []
        # Windows come one after the other: one that has crops here, and none in this batch, was not completed.
        here = {self.todo[index].name for index, _ in batch}
        for name in self.writer.pending_outputs.keys() - here:
            del self.writer.pending_outputs[name]
        for (index, sample), output in zip(batch, outputs, strict=True):
            if index in self.unwritable:
                continue
            window, metadata = self.todo[index], sample[2]
            if metadata.crop_idx == 0:
                # Those of a window of the same name, in another group.
                self.writer.pending_outputs.pop(window.name, None)
            last = metadata.crop_idx == metadata.num_crops_in_window - 1
            try:
                with foreign_code(InferenceError, "It can't be written"), torch.inference_mode():
                    if last:
                        self._clear(window)
                    self.writer.process_output_batch(self.loaded.task, [self._quick_to_read(output)], [metadata])
            except InferenceError as error:
                self.unwritable.add(index)
                settled.append((index, error.what))
            else:
                settled += [(index, None)] if last else []
        return settled

    def _quick_to_read(self, output: Any) -> Any:
        """The same numbers, those of a pixel together where the task looks for its best class: a third of the time."""
        task = self.loaded.task
        if isinstance(task, SegmentationTask) and not task.output_probs and isinstance(output, torch.Tensor):
            return output.movedim(0, -1).contiguous().movedim(-1, 0)
        return output

    def _settle_all(self, settled: list[tuple[int, str | None]]) -> None:
        for index, reason in settled:
            if reason is not None:
                self._fail(index, reason)
            elif not self._is_settled(index):
                self._settle(self.todo[index], "written")

    def _clear(self, window: Window) -> None:
        """Removes an earlier output, first of all the mark that it is complete."""
        layer = window.window_root / "layers" / self.writer.output_layer
        (layer / "completed").unlink(missing_ok=True)
        if layer.exists():
            layer.fs.rm(layer.path, recursive=True)

    def _is_computed(self, index: int) -> bool:
        window = self.todo[index]
        return not self._is_settled(index) or (window.group, window.name) in self.filling

    def _is_settled(self, index: int) -> bool:
        window = self.todo[index]
        return (window.group, window.name) in self.outcomes

    def _fail(self, index: int, reason: str) -> None:
        window = self.todo[index]
        self.unwritable.add(index)
        if not self._is_settled(index):
            self._settle(window, "failed", reason)

    def _settle(self, window: Window, state: WindowState, reason: str | None = None) -> None:
        self.outcomes[window.group, window.name] = WindowOutcome(
            group=window.group, name=window.name, state=state, reason=reason
        )
        self.bar.update(1)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and ("out of memory" in str(error) or "can't allocate memory" in str(error))


def _as_float(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor
