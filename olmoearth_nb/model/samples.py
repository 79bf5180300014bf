"""Samples of given windows, as rslearn's datasets make them, one window at a time so that a bad one harms no other."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from rslearn.dataset import Dataset, Window
from rslearn.train.all_crops_dataset import IterableAllCropsDataset, MapAllCropsDataset
from rslearn.train.data_module import RslearnDataModule
from rslearn.train.dataset import DataInput, IndexMode, ModelDataset, SplitConfig, check_window
from rslearn.train.model_context import SampleMetadata
from torch.utils.data import IterableDataset, get_worker_info

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import ConfigError, InferenceError

__all__ = [
    "Chunk",
    "Sample",
    "WindowStream",
    "check_layers",
    "missing_input",
]

Sample: TypeAlias = tuple[dict[str, Any], dict[str, Any], SampleMetadata]
"""Inputs, targets and metadata of one crop, after the transforms."""


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Some samples of a window.

    Attributes:
        index: The window's index.
        samples: Crops in order.
        last: Whether the window has no more.
        error: Why it has no more, if it could not be read to its end.
    """

    index: int
    samples: tuple[Sample, ...]
    last: bool
    error: str | None = None


class _GivenWindows(ModelDataset):
    """rslearn's dataset over windows that are given instead of listed."""

    def __init__(
        self, windows: Sequence[Window], dataset: Dataset, data: RslearnDataModule, config: SplitConfig
    ) -> None:
        super().__init__(
            dataset=dataset,
            split_config=config,
            # With skip_targets it removes the targets from what it is given.
            inputs=dict(data.inputs),
            task=data.task,
            workers=0,
            name=data.name,
            fix_crop_pick=True,
        )
        # rslearn keeps the windows in a file for its workers, which nobody deletes; here they have them already.
        Path(self.dataset_examples_fname).unlink()
        self.dataset_examples = list(windows)
        self.num_dataset_examples = len(windows)

    def _load_windows(self, split_config: SplitConfig, workers: int, index_mode: IndexMode) -> list[Window]:  # noqa: ARG002
        return []


class _OneWindow(IterableAllCropsDataset):
    """rslearn's crops, of one window at a time."""

    _index = 0

    def of(self, index: int) -> Iterator[Sample]:
        """Crops of a window, in order."""
        self._index = index
        return iter(self)

    def _get_worker_iteration_data(self) -> tuple[list[int], int]:
        return [self._index], self.get_window_num_crops(self.windows[self._index].bounds)


class WindowStream(IterableDataset[Chunk]):
    """Reads windows and yields their samples in chunks; a window that fails yields its reason.

    Args:
        windows: The windows, with their data.
        dataset: The dataset they are in.
        data: Data module, for its inputs, task and transforms; it is not changed.
        split: Which of its split configurations to use.
        chunk_size: At most that many samples to a chunk.
        targets: Whether to read the labels; what the split says if None.

    Raises:
        ConfigError: If the crops of the configuration can't be.
    """

    def __init__(
        self,
        windows: Sequence[Window],
        dataset: Dataset,
        data: RslearnDataModule,
        *,
        split: str,
        chunk_size: int,
        targets: bool | None = None,
    ) -> None:
        super().__init__()
        self.chunk_size = chunk_size
        self.num_workers = data.num_workers
        config = data.split_configs[split]
        if targets is not None:
            config = copy.copy(config)
            config.skip_targets = not targets
        self.windows = _GivenWindows(windows, dataset, data, config)
        self._crops: _OneWindow | MapAllCropsDataset | None = None
        if config.get_load_all_crops():
            crop_size, overlap = _crop_size(config, split)
            if data.use_map_all_crops_dataset:
                self._crops = MapAllCropsDataset(self.windows, crop_size, overlap)
                self._numbers: defaultdict[int, list[int]] = defaultdict(list)
                for number, (index, *_) in enumerate(self._crops.crops):
                    self._numbers[index].append(number)
            else:
                self._crops = _OneWindow(self.windows, crop_size, overlap)

    def __iter__(self) -> Iterator[Chunk]:
        """Chunks of this worker's windows, in order."""
        worker = get_worker_info()
        first, step = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        for index in range(first, len(self.windows), step):
            yield from self._chunks(index)

    def _chunks(self, index: int) -> Iterator[Chunk]:
        samples: list[Sample] = []
        reader = self._read(index)
        while True:
            try:
                with foreign_code(InferenceError, "It can't be read"):
                    sample = next(reader, None)
            except InferenceError as error:
                yield Chunk(index=index, samples=(), last=True, error=error.what)
                return
            if sample is None:
                yield Chunk(index=index, samples=tuple(samples), last=True)
                return
            if len(samples) == self.chunk_size:
                yield Chunk(index=index, samples=tuple(samples), last=False)
                samples = []
            samples.append(sample)

    def _read(self, index: int) -> Iterator[Sample]:
        match self._crops:
            case None:
                yield self.windows[index]
            case _OneWindow() as crops:
                yield from crops.of(index)
            case MapAllCropsDataset() as crops:
                yield from (crops[number] for number in self._numbers[index])


def check_layers(inputs: Mapping[str, DataInput], dataset: Dataset) -> None:
    """Refuses inputs from layers that the dataset doesn't have, of which rslearn would only leave out every window.

    Args:
        inputs: What the model reads.
        dataset: The dataset.

    Raises:
        ConfigError: If a layer is missing.
    """
    for name, data_input in inputs.items():
        for layer in data_input.layers:
            # "scene.2" is the third item group of the layer "scene".
            if layer.split(".")[0] not in dataset.layers:
                raise ConfigError(
                    f"The dataset has no layer {layer!r}.",
                    where=f"model.yaml: data.init_args.inputs.{name}.layers",
                    expected="one of " + ", ".join(dataset.layers),
                )


def _crop_size(config: SplitConfig, split: str) -> tuple[tuple[int, int], int]:
    crop_size, overlap = config.get_crop_size(), config.get_overlap_pixels()
    where = f"model.yaml: data.init_args.{split}_config"
    if crop_size is None:
        raise ConfigError("load_all_crops needs a crop_size.", where=where)
    if overlap >= min(crop_size):
        raise ConfigError("overlap_pixels has to be smaller than crop_size.", where=where, found=f"{overlap}")
    return crop_size, overlap


def missing_input(inputs: dict[str, DataInput], window: Window) -> str | None:
    """Why rslearn would leave a window out without a word, or None if it would take it.

    Args:
        inputs: What the model reads.
        window: The window.
    """
    kept, result = check_window(inputs, window)
    if kept is not None:
        return None
    name = next(iter(result.missing_data_input_counts))
    layers = inputs[name].layers
    return f"nothing was materialized for the input {name!r} (layer{'s' * (len(layers) > 1)} {', '.join(layers)})"
