"""Other inputs, transforms or weights for a window: read and run again in this process, nothing on disk changes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from rslearn.train.model_context import RasterImage, SampleMetadata

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InferenceError, UnsupportedError, UsageError
from olmoearth_nb.model.checkpoints import load_weights, read_checkpoint
from olmoearth_nb.model.instantiate import instantiate
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.predict import rslearn_data
from olmoearth_nb.model.quiet import quiet
from olmoearth_nb.model.samples import Sample
from olmoearth_nb.model.trace.capture import TraceRequest, read_samples
from olmoearth_nb.model.trace.frame import Frame
from olmoearth_nb.model.trace.recording import Edit
from olmoearth_nb.store.dataset import open_dataset
from olmoearth_nb.traces.changes import Changes, Inputs, apply_changes, check_changes, filled
from olmoearth_nb.traces.data import TraceData

__all__ = ["baseline_samples", "changed"]

_STAGE = "task"
"""Where inputs are changed: read, and not transformed yet."""


def changed(
    loaded: LoadedModel, request: TraceRequest, data: TraceData, changes: Changes
) -> tuple[LoadedModel, TraceRequest]:
    """A model and a request with changes.

    Args:
        loaded: The model.
        request: What was traced.
        data: What was recorded.
        changes: What is to be changed.

    Raises:
        ConfigError: If a transform does not take the arguments.
        ModelError: If the checkpoint is not one of this model.
        UsageError: If there is no such band, date, window or transform.
    """
    if not data.stages:
        raise UsageError("The model was not run on the window.", found="; ".join(one.text for one in data.warnings))
    check_changes(changes, data)
    others = _other_inputs(loaded, request, data, changes)

    def change(inputs: Inputs, number: int) -> Inputs:
        swapped = {name: arrays[number] for name, arrays in others.items() if name in inputs}
        return apply_changes(inputs, changes, data=data, others=swapped)

    if changes.transforms:
        loaded = _with_transforms(loaded, request.split, data, changes)
    if changes.checkpoint is not None:
        loaded = _with_weights(loaded, Path(changes.checkpoint))
    return loaded, replace(request, edit=_then(request.edit, _edit(data, change)))


def baseline_samples(loaded: LoadedModel, request: TraceRequest, data: TraceData, name: str) -> list[Sample]:
    """Samples of which nothing is left, or those of another window.

    Args:
        loaded: The model.
        request: What was traced.
        data: What was recorded.
        name: ``nodata``, ``mean`` or ``window:NAME``.

    Raises:
        InferenceError: If they can't be read.
        UsageError: If there is no such window.
    """
    if name.startswith("window:"):
        return read_samples(loaded, _of_window(loaded, request, name.removeprefix("window:")))
    edit = _then(request.edit, _edit(data, lambda inputs, _: filled(inputs, name, data)))
    return read_samples(loaded, replace(request, edit=edit, labels=False))


# ---- inputs ----------------------------------------------------------------------------------------------------


def _then(first: Edit | None, second: Edit) -> Edit:
    if first is None:
        return second

    def both(stage: str, inputs: dict[str, Any], targets: dict[str, Any], metadata: SampleMetadata) -> None:
        first(stage, inputs, targets, metadata)
        second(stage, inputs, targets, metadata)

    return both


def _edit(data: TraceData, change: Callable[[Inputs, int], Inputs]) -> Edit:
    """Lets a change of named arrays change samples; it is told the number of the crop."""

    def edit(stage: str, inputs: dict[str, Any], _: dict[str, Any], metadata: SampleMetadata) -> None:
        if stage != _STAGE:
            return
        images = {name: value for name, value in inputs.items() if isinstance(value, RasterImage)}
        arrays = {name: _as_array(image, data.stages[0].inputs.get(name), metadata) for name, image in images.items()}
        with foreign_code(UsageError, "The inputs can't be changed", where="what_if"):
            found = change(dict(arrays), metadata.crop_idx)
        for name, array in found.items():
            # Tensors as read may be shared, with a label that is read from the same layer say.
            inputs[name] = _as_image(array, images[name], arrays[name])

    return edit


def _as_array(image: RasterImage, like: xr.DataArray | None, metadata: SampleMetadata) -> xr.DataArray:
    values = image.image.detach().cpu().numpy().transpose(1, 0, 2, 3).copy()
    coords: dict[str, Any] = {"band": [str(index) for index in range(values.shape[1])]}
    attrs: dict[str, Any] = {}
    if like is not None and {"time", "band"} <= set(like.dims):
        for name, coordinate in like.coords.items():
            if coordinate.dims and set(coordinate.dims) <= {"time", "band"}:
                dim = str(coordinate.dims[0])
                if coordinate.size == values.shape[0 if dim == "time" else 1]:
                    coords[str(name)] = coordinate
        attrs = {name: like.attrs[name] for name in ("nodata",) if name in like.attrs}
    projection = metadata.projection
    resolution = float(projection.x_resolution), float(projection.y_resolution)
    bounds = tuple(metadata.crop_bounds)
    crs = "" if like is None else str(like.attrs.get("crs", ""))
    return Frame(bounds, crs, resolution).raster(values, ("time", "band", "y", "x"), coords, **attrs)  # type: ignore[arg-type]


def _as_image(array: xr.DataArray, before: RasterImage, read: xr.DataArray) -> RasterImage:
    values = np.ascontiguousarray(array.values.transpose(1, 0, 2, 3))
    timestamps = before.timestamps
    if array.sizes["time"] != read.sizes["time"] and timestamps is not None:
        kept = [int(np.flatnonzero(read["time"].values == time)[0]) for time in array["time"].values]
        timestamps = [timestamps[index] for index in kept]
    return RasterImage(torch.from_numpy(values).to(before.image.dtype), timestamps)


def _other_inputs(
    loaded: LoadedModel, request: TraceRequest, data: TraceData, changes: Changes
) -> dict[str, list[xr.DataArray]]:
    """Input -> for each crop what another window has there."""
    if changes.swap is None:
        return {}
    names = list(data.stages[0].inputs)
    if isinstance(changes.swap, str):
        wanted = dict.fromkeys(names, changes.swap)
    else:
        wanted = {name: window for key, window in changes.swap.items() for name in _inputs_of(loaded, key, names)}
    found: dict[str, list[xr.DataArray]] = {}
    for window in dict.fromkeys(wanted.values()):
        chosen = [name for name in names if wanted.get(name) == window]
        crops = _read_inputs(loaded, _of_window(loaded, request, window), data)
        for name in chosen:
            found[name] = [one[name] for one in crops if name in one]
            _check_shape(name, found[name], data, window)
    return found


def _read_inputs(loaded: LoadedModel, request: TraceRequest, data: TraceData) -> list[Inputs]:
    read: list[Inputs] = []

    def note(inputs: Inputs, _: int) -> Inputs:
        read.append({name: array.copy() for name, array in inputs.items()})
        return inputs

    read_samples(loaded, replace(request, edit=_edit(data, note)))
    return read


def _check_shape(name: str, arrays: Sequence[xr.DataArray], data: TraceData, window: str) -> None:
    own = data.stages[0].inputs[name].shape
    shape = arrays[0].shape if arrays else ()
    if len(arrays) != len(data.crops) or shape[:2] != own[:2] or (len(arrays) == 1 and shape != own):
        raise UsageError(
            "The other window has another shape.",
            where=f"input {name}",
            expected=f"{len(data.crops)} crops, {own[0]} time steps, {own[1]} bands",
            found=f"{len(arrays)} crops of {shape} in {window}",
            fix="Choose a window of the same size, with as many dates.",
        )


def _inputs_of(loaded: LoadedModel, key: str, names: Sequence[str]) -> list[str]:
    """Inputs by their name, or by a layer that they are read from."""
    if key in names:
        return [key]
    inputs = rslearn_data(loaded).inputs
    found = [name for name in names if key in [layer.split(".")[0] for layer in inputs[name].layers]]
    if not found:
        raise UsageError("There is no such input.", where="swap", expected=", ".join(names), found=repr(key))
    return found


def _of_window(loaded: LoadedModel, request: TraceRequest, name: str) -> TraceRequest:
    """The same request of another window of the dataset, by its name or ``group/name``."""
    # One that was built for the trace lies in a dataset of its own, and others in the model's.
    datasets = [request.dataset]
    if str(request.dataset.path) != str(loaded.dataset_path):
        datasets.append(open_dataset(loaded.dataset_path))
    for dataset in datasets:
        windows = [
            window
            for window in dataset.load_windows(names=list({name, name.rpartition("/")[2]}))
            if name in (window.name, f"{window.group}/{window.name}")
        ]
        if len(windows) == 1:
            return replace(request, dataset=dataset, window=windows[0], labels=False)
        if windows:
            found = ", ".join(f"{one.group}/{one.name}" for one in windows)
            raise UsageError("There are several such windows.", expected="group/name", found=found)
    raise UsageError(
        "There is no such window.", where=str(datasets[-1].path), expected="a name, or group/name", found=repr(name)
    )


# ---- transforms and weights ------------------------------------------------------------------------------------


def _with_transforms(loaded: LoadedModel, split: str, data: TraceData, changes: Changes) -> LoadedModel:
    module = rslearn_data(loaded)
    config = module.split_configs[split]
    built = list(config.transforms or [])
    sections = _transform_sections(loaded.config, split)
    names = [stage.name for stage in data.stages[2:]]
    if not len(sections) == len(built) == len(names):
        raise UnsupportedError("Where the transforms are configured is not known.", where=str(loaded.model_yaml))
    where = f"{loaded.model_yaml}: transforms"
    transforms = []
    for name, section, transform in zip(names, sections, built, strict=True):
        if name not in changes.transforms:
            transforms.append(transform)
            continue
        arguments = changes.transforms[name]
        if arguments is not None:
            other = {**section, "init_args": {**(section.get("init_args") or {}), **arguments}}
            made = instantiate({"transform": other}, {"transform": torch.nn.Module}, where=f"{where}: {name}")
            transforms.append(made.transform)
    other_config, other_module = copy.copy(config), copy.copy(module)
    # rslearn takes an empty list for none given, which is the same here.
    other_config.transforms = transforms
    other_module.split_configs = {**module.split_configs, split: other_config}
    return replace(loaded, data=other_module)


def _transform_sections(config: Mapping[str, Any], split: str) -> list[dict[str, Any]]:
    """What ``model.yaml`` says of the transforms of a split."""
    arguments = config["data"].get("init_args") or {}
    for name in (f"{split}_config", "default_config"):
        section = arguments.get(name) or {}
        section = section.get("init_args", section)
        if section.get("transforms"):
            return [{"class_path": one} if isinstance(one, str) else dict(one) for one in section["transforms"]]
    return []


def _with_weights(loaded: LoadedModel, checkpoint: Path) -> LoadedModel:
    content = read_checkpoint(checkpoint)
    with quiet(), foreign_code(InferenceError, "The model can't be copied"):
        module = copy.deepcopy(loaded.module)
    load_weights(module, content["state_dict"], where=str(checkpoint))
    module.eval()
    return replace(loaded, module=module, checkpoint=checkpoint)
