"""Traces one window: reads it, runs the model on it and notes everything on the way; writes nothing of the dataset."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from rslearn.dataset import Dataset, Window
from rslearn.train.data_module import RslearnDataModule
from rslearn.train.dataset import DataInput
from rslearn.train.prediction_writer import RasterMerger, RslearnWriter

from olmoearth_nb.errors import ConfigError, InferenceError, UsageError
from olmoearth_nb.legend import Legend
from olmoearth_nb.model.batches import batches
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.predict import open_writer, rslearn_data
from olmoearth_nb.model.quiet import quiet
from olmoearth_nb.model.samples import Sample, WindowStream, check_layers, missing_input
from olmoearth_nb.model.trace.facts import model_facts, window_facts
from olmoearth_nb.model.trace.features import feature_arrays
from olmoearth_nb.model.trace.frame import Crops
from olmoearth_nb.model.trace.hooks import ModuleWatch, check_features
from olmoearth_nb.model.trace.layers import input_facts, read_layers
from olmoearth_nb.model.trace.outputs import make_output
from olmoearth_nb.model.trace.passing import Passing
from olmoearth_nb.model.trace.ranges import range_warnings
from olmoearth_nb.model.trace.recording import Edit, Recorder
from olmoearth_nb.model.trace.stages import make_stages
from olmoearth_nb.model.trace.writing import would_write
from olmoearth_nb.traces.data import TraceCrop, TraceData, TraceWarning

__all__ = ["TraceRequest", "capture", "read_samples"]


@dataclass(frozen=True, kw_only=True)
class TraceRequest:
    """What to trace.

    Attributes:
        window: The window, with its data.
        dataset: The dataset it is in: the model's, or one with the same configuration.
        split: Whose transforms and crops to use.
        features: Names of the modules whose outputs are kept.
        labels: Whether to read the label; None reads it if there is one.
        legend: What classes are called.
        batch_size: Crops in a forward pass; None for what the configuration says.
        training: Ranges of the training windows, see :mod:`olmoearth_nb.model.trace.ranges`.
        failure: Why the window could not be built.
        temporary: Whether it was built for the trace.
        edit: Changes samples on their way, see :data:`olmoearth_nb.model.trace.recording.Edit`.
    """

    window: Window
    dataset: Dataset
    split: str = "predict"
    features: Sequence[str] = ()
    labels: bool | None = None
    legend: Legend | None = None
    batch_size: int | None = None
    training: pd.DataFrame | None = None
    failure: str | None = None
    temporary: bool = False
    edit: Edit | None = None


def capture(loaded: LoadedModel, request: TraceRequest) -> TraceData:
    """Traces a window.

    Args:
        loaded: The model.
        request: What to trace.

    Returns:
        The trace. Of a window that lacks an input that the model needs there are only the layers, and a warning.

    Raises:
        ConfigError: If the configuration's inputs or crops don't fit the dataset.
        InferenceError: If the window can't be read or computed.
        UnsupportedError: If the data module is not rslearn's.
        UsageError: If there is no module of a name.
    """
    with quiet():
        return _Capture(loaded, request).run()


def read_samples(loaded: LoadedModel, request: TraceRequest) -> list[Sample]:
    """The samples that a trace runs through the model: inputs after all transforms, targets, metadata.

    Args:
        loaded: The model.
        request: What to trace.

    Raises:
        InferenceError: If the window can't be read.
    """
    with quiet():
        one = _Capture(loaded, request)
        stream = one.stream(labels=one.has_labels())
        if request.edit is not None:
            Recorder(stream, request.edit)
        return [sample for batch in one.batches(stream) for sample in batch]


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)
    start: float = field(default_factory=time.perf_counter)

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self.start
        self.start = now


class _Capture:
    """One trace."""

    def __init__(self, loaded: LoadedModel, request: TraceRequest) -> None:
        self.loaded, self.request = loaded, request
        self.data: RslearnDataModule = rslearn_data(loaded)
        self.window, self.dataset = request.window, request.dataset
        self.warnings: list[TraceWarning] = []
        self.clock = _Clock()
        if request.split not in self.data.split_configs:
            raise UsageError(
                "There is no such split.", expected=", ".join(self.data.split_configs), found=repr(request.split)
            )
        check_features(self.network, request.features)

    @property
    def network(self) -> torch.nn.Module:
        """What ``features`` are parts of."""
        network: torch.nn.Module = getattr(self.loaded.module, "model", self.loaded.module)
        return network

    def inputs(self, *, targets: bool) -> dict[str, DataInput]:
        """What the model reads, of one kind."""
        return {name: one for name, one in self.data.inputs.items() if one.is_target is targets}

    def has_labels(self) -> bool:
        """Whether the window has the labels that the model would be trained with."""
        targets = self.inputs(targets=True)
        layers = {option.split(".")[0] for one in targets.values() for option in one.layers}
        if self.request.labels is False or not targets or not layers <= set(self.dataset.layers):
            return False
        return missing_input(targets, self.window) is None

    def stream(self, *, labels: bool) -> WindowStream:
        """The window's samples."""
        return WindowStream(
            [self.window],
            self.dataset,
            self.data,
            split=self.request.split,
            chunk_size=self._batch_size,
            targets=labels,
        )

    @property
    def _batch_size(self) -> int:
        return self.request.batch_size or self.data.batch_size

    def batches(self, stream: WindowStream) -> list[list[Sample]]:
        """The samples in the batches that prediction would make of this window alone."""

        def fail(_: int, reason: str) -> None:
            raise InferenceError(reason, where=f"window {self.window.group}/{self.window.name}")

        found = batches(stream, size=self._batch_size, num_workers=0, failed=fail)
        return [[sample for _, sample in batch] for batch in found]

    def run(self) -> TraceData:
        """Traces the window."""
        needed = self.inputs(targets=False)
        check_layers(needed, self.dataset)
        layers = read_layers(self.dataset, self.window, self.data.inputs, failure=self.request.failure)
        self.clock.lap("layers")
        for layer in layers.values():
            if layer.reason is not None and layer.role != "label":
                self._warn("layer", f"The layer {layer.name!r} is missing: {layer.reason}.")
        base: dict[str, Any] = {
            "window": window_facts(self.window, temporary=self.request.temporary),
            "model": model_facts(self.loaded, self.network, self.request.split),
            "layers": layers,
            "legend": self.request.legend,
        }
        self.clock.lap("model")
        reason = missing_input(needed, self.window)
        if reason is not None:
            self._warn("layer", f"The model was not run: {reason}.")
            nothing: dict[str, Any] = {"stages": (), "modules": (), "features": {}, "outputs": {}, "crops": ()}
            return TraceData(**base, **nothing, warnings=tuple(self.warnings), seconds=self.clock.seconds)
        return self._through_the_model(base)

    def _through_the_model(self, base: Mapping[str, Any]) -> TraceData:
        labels, writer = self.has_labels(), self._writer()
        stream = self.stream(labels=labels)
        recorder = Recorder(stream, self.request.edit)
        read = self.batches(stream)
        samples = [sample for batch in read for sample in batch]
        self.clock.lap("read")
        watch = ModuleWatch(self.network, self.request.features)
        passing = Passing(self.loaded, watch, self.request.legend, labels=labels)
        sizes = [[_input_size(sample) for sample in batch] for batch in read]
        for batch in read:
            passing.run(batch)
        if passing.no_loss is not None:
            passing.drop_losses()
            self._warn("loss", f"The label has no loss, and training would end with it: {passing.no_loss}")
        self.clock.lap("model run")
        crops = Crops(self.window, [sample[2].crop_bounds for sample in samples], self._merger(writer))
        facts = input_facts(self.dataset, self.data.inputs, base["layers"])
        stages = make_stages(recorder.samples, crops, facts)
        self.clock.lap("stages")
        outputs = {name: make_output(notes, crops, self.window) for name, notes in passing.notes.items() if notes.said}
        features = feature_arrays(watch, sizes, crops)
        self.clock.lap("outputs")
        written = None
        if writer is not None:
            name = str(writer.selector[0]) if writer.selector else next(iter(passing.notes))
            written = would_write(writer, self.loaded.task, self.window, samples, passing.outputs, name=name)
        self.clock.lap("written")
        self._compare_with_training(stages[0].inputs)
        self._note_choices()
        return TraceData(
            **base,
            stages=stages,
            modules=watch.modules(),
            features=features,
            outputs=outputs,
            crops=tuple(
                TraceCrop(index=index, bounds=bounds, losses=losses)
                for index, (bounds, losses) in enumerate(zip(crops.bounds, passing.losses, strict=True))
            ),
            merged_from=self._merged_from(crops),
            written=written,
            losses=_means(passing),
            training=self.request.training,
            warnings=tuple(self.warnings),
            seconds=self.clock.seconds,
        )

    # ---- parts -----------------------------------------------------------------------------------------------

    def _warn(self, kind: str, text: str) -> None:
        self.warnings.append(TraceWarning(kind=kind, text=text))

    def _writer(self) -> RslearnWriter | None:
        try:
            return open_writer(self.loaded)
        except ConfigError as error:
            self._warn("writer", f"Nothing would be written: {error.what}")
            return None

    def _merger(self, writer: RslearnWriter | None) -> Any:
        if writer is not None and isinstance(writer.merger, RasterMerger):
            return writer.merger
        return RasterMerger(overlap_pixels=self.data.split_configs[self.request.split].get_overlap_pixels())

    def _merged_from(self, crops: Crops) -> xr.DataArray | None:
        if len(crops.bounds) == 1:
            return None
        return crops.frame.raster(crops.source, ("y", "x"), note="number of the crop that the output comes from")

    def _compare_with_training(self, inputs: Mapping[str, xr.DataArray]) -> None:
        ranges = self.request.training
        if ranges is None:
            self._warn("training", "There are no training windows to compare the inputs with.")
        else:
            self.warnings += range_warnings(inputs, ranges)

    def _note_choices(self) -> None:
        for name, one in self.data.inputs.items():
            several = len(one.layers) > 1 or one.load_all_item_groups
            if several and not one.load_all_layers and not one.is_target:
                self._warn("layer", f"The input {name!r} is read from one of several layers, picked at random.")
        config = self.data.split_configs[self.request.split]
        if config.get_crop_size() is not None and not config.get_load_all_crops():
            self._warn("crops", f"{self.request.split}_config reads one crop of the window, picked at random.")


def _means(passing: Passing) -> dict[str, float]:
    """Losses by name, the mean over the crops that have a label."""
    names = list(dict.fromkeys(name for one in passing.losses for name in one))
    return {name: float(np.mean([one[name] for one in passing.losses if name in one])) for name in names}


def _input_size(sample: Sample) -> tuple[int, int]:
    """Height and width of the largest image that the model gets."""
    sizes = [
        (int(image.shape[-2]), int(image.shape[-1]))
        for value in sample[0].values()
        if isinstance(image := getattr(value, "image", value), torch.Tensor) and image.ndim >= 2
    ]
    return max(sizes, default=(1, 1))
