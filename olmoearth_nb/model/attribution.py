"""Importance of a model's inputs for what it says about some pixels, crop by crop, put together to the window."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import xarray as xr

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InferenceError, UnsupportedError, UsageError
from olmoearth_nb.model.importance import METHODS, Asked, Found, Images
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.placing import coordinates, place
from olmoearth_nb.model.predict import rslearn_data
from olmoearth_nb.model.quiet import quiet
from olmoearth_nb.model.samples import Sample
from olmoearth_nb.model.scores import CropScore, Target, as_images, single_precision
from olmoearth_nb.progress import Progress
from olmoearth_nb.traces.attribution import Attribution, Question
from olmoearth_nb.traces.data import TraceData, TraceOutput
from olmoearth_nb.traces.places import Pixels, pixels_of
from olmoearth_nb.types import PixelBounds

__all__ = ["ReadBaseline", "explain"]

ReadBaseline = Callable[[str], Sequence[Sample]]
"""Reads the samples of a baseline by its name: ``mean``, ``nodata`` or ``window:NAME``."""

_BASELINES = {
    "zero": "zeros after all transforms",
    "mean": "means of the training windows",
    "nodata": "nodata everywhere",
}


def explain(
    loaded: LoadedModel,
    data: TraceData,
    question: Question,
    *,
    read: Callable[[], Sequence[Sample]],
    read_baseline: ReadBaseline,
    progress: Progress = None,
) -> Attribution:
    """What the inputs of a window have to do with what the model says.

    Args:
        loaded: The model.
        data: What was recorded of the window.
        question: What is asked.
        read: Reads its crops as they are after the transforms.
        read_baseline: Asked for baselines that are read.
        progress: See :mod:`olmoearth_nb.progress`.

    Raises:
        InferenceError: If the model fails.
        UnsupportedError: If the task has no scores, or no gradient reaches the inputs.
        UsageError: If there is no such class, task, pixel or baseline.
    """
    start = time.monotonic()
    if not data.stages:
        raise UsageError("The model was not run on the window.", found="; ".join(one.text for one in data.warnings))
    output = data.output(question.task)
    pixels = pixels_of(data.window, at=question.at, pixel=question.pixel, region=question.region)
    target, name = _target(output, question, pixels)
    used = _used_crops(output, data, pixels)
    where = f"window {data.window.group}/{data.window.name}"
    with (
        quiet(),
        foreign_code(InferenceError, "The model can't be asked", where=where),
        single_precision(loaded.module),
    ):
        samples = read()
        scores = [CropScore(loaded, samples[index], target, weights) for index, weights in used.items()]
        if not scores[0].names:
            raise UnsupportedError("The model has no inputs that are images of floating point numbers.", where=where)
        baselines = _baselines(question, scores, list(used), read_baseline)
        size = question.batch_size or rslearn_data(loaded).batch_size
        asked = Asked(scores=scores, baselines=baselines, question=question, size=size, progress=progress)
        found = METHODS[question.method](asked)
    frame = [data.crops[index].bounds for index in used]
    return Attribution(
        window=data.window,
        task=output.task,
        target=name,
        pixels=pixels,
        method=question.method,
        baseline=_baseline_text(question, data),
        score=found.score,
        baseline_score=found.baseline_score,
        **_placed(found, frame, data),
        steps=found.steps,
        gap=found.gap,
        images=data.stages[0].inputs,
        notes=(*found.notes, *_notes(scores[0], data, frame, loaded.precision)),
        seconds=time.monotonic() - start,
    )


# ---- what is asked ---------------------------------------------------------------------------------------------


def _target(output: TraceOutput, question: Question, pixels: Pixels) -> tuple[Target, str]:
    """Whose score, and its name."""
    where = f"task {output.task}"
    if output.probabilities is None:
        if output.values is None:
            raise UnsupportedError(
                f"A task of {output.kind} has no score to explain.", where=where, expected="classes or measurements"
            )
        if question.target not in (None, "value") or question.against is not None:
            found = question.against if question.target in (None, "value") else question.target
            raise UsageError(
                "The task measures and has no classes.", where=where, expected="no target", found=repr(found)
            )
        return Target(task=output.task, classes={}), "value"
    names = [str(name) for name in output.probabilities["class"].values]
    index = _most_common(output, pixels) if question.target is None else _class_index(question.target, names, where)
    if question.against is None:
        return Target(task=output.task, classes={index: 1.0}), names[index]
    other = _class_index(question.against, names, where)
    if other == index:
        raise UsageError("A class can't be compared with itself.", where=where, found=repr(names[index]))
    return Target(task=output.task, classes={index: 1.0, other: -1.0}), f"{names[index]} - {names[other]}"


def _class_index(target: str | int, names: Sequence[str], where: str) -> int:
    if isinstance(target, int | np.integer) and not isinstance(target, bool) and 0 <= target < len(names):
        return int(target)
    if target in names:
        return names.index(str(target))
    near = difflib.get_close_matches(str(target), names, n=3) or names[:12]
    raise UsageError(
        "The task has no such class.",
        where=where,
        expected=f"{', '.join(map(repr, near))}" + (", …" if len(near) < len(names) else ""),
        found=repr(target),
    )


def _most_common(output: TraceOutput, pixels: Pixels) -> int:
    prediction = output.prediction
    if prediction is None:
        raise UsageError("The task predicts no class.", where=f"task {output.task}", fix="Name one: attribute('…').")
    values = prediction.values[pixels.mask] if prediction.shape == pixels.mask.shape else prediction.values.ravel()
    values = values[values >= 0]
    return int(np.bincount(values).argmax()) if len(values) else 0


def _used_crops(output: TraceOutput, data: TraceData, pixels: Pixels) -> dict[int, torch.Tensor]:
    """Number of each crop that the pixels of the output come from -> weight of each of its pixels; they add up to 1."""
    bounds = [crop.bounds for crop in data.crops]
    said = output.probabilities if output.probabilities is not None else output.values
    if said is not None and "y" not in said.dims:
        if not pixels.everything:
            raise UsageError(
                "The task says one thing of the whole window.",
                where=f"task {output.task}",
                expected="no pixel and no region",
                found=pixels.text,
            )
        height, width = _size(bounds[-1])
        return {len(bounds) - 1: torch.full((height, width), 1 / (height * width))}
    source = _sources(data)
    mask = pixels.mask & (source >= 0)
    if not mask.any():
        raise UsageError("The model says nothing of these pixels.", found=pixels.text)
    used: dict[int, torch.Tensor] = {}
    for index in np.unique(source[mask]).tolist():
        left, top = (bounds[index][axis] - data.window.bounds[axis] for axis in (0, 1))
        rows, columns = np.nonzero(mask & (source == index))
        weights = torch.zeros(_size(bounds[index]))
        weights[rows - top, columns - left] = 1 / int(mask.sum())
        used[int(index)] = weights
    return used


def _sources(data: TraceData) -> npt.NDArray[np.int64]:
    """Which crop each pixel of the output comes from, (y, x), -1 where none is."""
    if data.merged_from is not None:
        return data.merged_from.values
    source = np.full(data.window.shape, -1)
    (x0, y0, x1, y1), (left, top) = data.crops[0].bounds, data.window.bounds[:2]
    source[max(y0 - top, 0) : max(y1 - top, 0), max(x0 - left, 0) : max(x1 - left, 0)] = 0
    return source


def _size(bounds: PixelBounds) -> tuple[int, int]:
    return bounds[3] - bounds[1], bounds[2] - bounds[0]


# ---- baselines -------------------------------------------------------------------------------------------------


def _baselines(
    question: Question, scores: Sequence[CropScore], numbers: Sequence[int], read_baseline: ReadBaseline
) -> list[Images]:
    """For each crop an image for each of its inputs."""
    baseline = question.baseline
    if baseline == "zero" or question.method == "gradient":
        return [tuple(torch.zeros_like(image) for image in score.images) for score in scores]
    if isinstance(baseline, str):
        if baseline not in _BASELINES and not baseline.startswith("window:"):
            raise UsageError(
                "There is no such baseline.",
                expected="zero, mean, nodata, window:NAME, a number, or numbers for each input",
                found=repr(baseline),
            )
        samples = read_baseline(baseline)
        return [_of_sample(score, samples, number, baseline) for score, number in zip(scores, numbers, strict=True)]
    return [tuple(_given(score, i, baseline) for i in range(len(score.names))) for score in scores]


def _of_sample(score: CropScore, samples: Sequence[Sample], number: int, baseline: str) -> Images:
    images = as_images(samples[number][0]) if number < len(samples) else {}
    found: list[torch.Tensor] = []
    for name, image in zip(score.names, score.images, strict=True):
        one = images.get(name)
        if one is None or one.shape != image.shape[1:]:
            raise UsageError(
                "The baseline does not have the shape of the window.",
                where=f"input {name}",
                expected=f"{tuple(image.shape[1:])} (band, time, y, x)",
                found=f"{None if one is None else tuple(one.shape)} of {baseline}",
                fix="Choose a window of the same size, with as many dates.",
            )
        found.append(one.to(image)[None])
    return tuple(found)


def _given(score: CropScore, index: int, baseline: Any) -> torch.Tensor:
    image, name = score.images[index], score.names[index]
    value = baseline
    if isinstance(baseline, Mapping):
        unknown = [one for one in baseline if one not in score.names]
        if unknown:
            raise UsageError(
                "The model has no such input.",
                where="baseline",
                expected=", ".join(score.names),
                found=repr(unknown[0]),
            )
        value = baseline.get(name, 0.0)
    bands, steps, height, width = image.shape[1:]
    try:
        whole = np.broadcast_to(np.asarray(value, dtype=np.float32), (steps, bands, height, width))
    except ValueError as error:
        raise UsageError(
            "The baseline does not fit the input.",
            where=f"input {name}",
            expected=f"what broadcasts to {(steps, bands, height, width)} (time, band, y, x)",
            found=str(error),
        ) from error
    return torch.from_numpy(whole.copy()).transpose(0, 1).to(image)[None]


def _baseline_text(question: Question, data: TraceData) -> str:
    match question.baseline:
        case "mean" if data.training is None:
            return "means of this window, for lack of training windows"
        case str() as name:
            return _BASELINES.get(name, f"inputs of the window {name.removeprefix('window:')}")
        case Mapping():
            return "given numbers"
        case number:
            return f"{number:g} after all transforms"


# ---- what was found --------------------------------------------------------------------------------------------


def _placed(found: Found, frame: Sequence[PixelBounds], data: TraceData) -> dict[str, Any]:
    like = data.stages[-1].inputs
    inputs = {name: place(parts, frame, data.window, like=like[name]) for name, parts in found.values.items()}
    if found.maps:
        by_band = {name: _line(values, "band", like[name]) for name, values in found.by_band.items()}
        by_time = {name: _line(values, "time", like[name]) for name, values in found.by_time.items()}
        by_pixel = {
            name: place(parts, frame, data.window, like=like[name], dims=("y", "x"))
            for name, parts in found.maps.items()
        }
        magnitude = {
            name: {"band": np.abs(by_band[name].values), "time": np.abs(by_time[name].values)} for name in by_band
        }
    else:
        by_band = {name: _along(array, "band") for name, array in inputs.items()}
        by_time = {name: _along(array, "time") for name, array in inputs.items()}
        by_pixel = {name: array.sum(["time", "band"], keep_attrs=True) for name, array in inputs.items()}
        magnitude = {
            name: {dim: _along(abs(array), dim).values for dim in ("band", "time")} for name, array in inputs.items()
        }
    return {"inputs": inputs, "by_band": by_band, "by_time": by_time, "by_pixel": by_pixel, "magnitude": magnitude}


def _along(array: xr.DataArray, dim: str) -> xr.DataArray:
    return array.sum([str(one) for one in array.dims if one != dim])


def _line(values: Any, dim: str, like: xr.DataArray) -> xr.DataArray:
    coords = {name: one for name, one in coordinates(like).items() if one.dims == (dim,)}
    return xr.DataArray(values, dims=(dim,), coords=coords)


def _notes(score: CropScore, data: TraceData, frame: Sequence[PixelBounds], precision: str) -> tuple[str, ...]:
    notes = []
    if precision != "32":
        notes.append(f"Computed in single precision, the trace in {precision}: scores differ a little.")
    others = [name for name in data.stages[-1].inputs if name not in score.names]
    if others:
        notes.append(f"Stayed as they are, not being images of floating point numbers: {', '.join(others)}.")
    if len(data.crops) > 1:
        notes.append(f"The pixels of the output come from {len(frame)} of {len(data.crops)} crops.")
    return tuple(notes)
