"""Gradients, integrated gradients and occlusion of scores; the latter two by captum."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from captum.attr import IntegratedGradients, Occlusion

from olmoearth_nb.errors import UnsupportedError
from olmoearth_nb.model.scores import CropScore
from olmoearth_nb.progress import Progress, open_bar
from olmoearth_nb.traces.attribution import Question

__all__ = ["METHODS", "Asked", "Found", "Images"]

Array = npt.NDArray[np.float64]
Images = tuple[torch.Tensor, ...]
"""Inputs of a crop, each (1, C, T, H, W)."""

Box: TypeAlias = Callable[[int, int, int, int], tuple[int, ...]]
"""Size of a box out of that of an input: C, T, H, W."""

_FIRST_STEPS = 16
_SMALLEST = 0.01
_PATCHES_ALONG = 16


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a method is asked.

    Attributes:
        scores: Of each crop.
        baselines: For each crop what importance is relative to.
        question: The question.
        size: Samples in a pass.
        progress: See :mod:`olmoearth_nb.progress`.
    """

    scores: Sequence[CropScore]
    baselines: Sequence[Images]
    question: Question
    size: int
    progress: Progress = None

    @contextlib.contextmanager
    def bar(self, total: int, what: str) -> Iterator[None]:
        """Shows how many samples of a total have gone through the model."""
        bar = open_bar(self.progress, total=total, desc=what, unit="pass")
        try:
            for score in self.scores:
                score.passed = bar.update
            yield
        finally:
            bar.close()
            for score in self.scores:
                score.passed = lambda _: None


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a method found.

    Attributes:
        score: The score, summed over the crops.
        baseline_score: That of the baseline.
        values: Input -> for each crop (T, C, H, W).
        by_band: Input -> (C,), of occlusion.
        by_time: Input -> (T,), of occlusion.
        maps: Input -> for each crop (H, W), of occlusion.
        steps: See :class:`Attribution`.
        gap: See :class:`Attribution`.
        notes: What to know.
    """

    score: float
    baseline_score: float | None = None
    values: Mapping[str, Sequence[Array]] = field(default_factory=dict)
    by_band: Mapping[str, Array] = field(default_factory=dict)
    by_time: Mapping[str, Array] = field(default_factory=dict)
    maps: Mapping[str, Sequence[Array]] = field(default_factory=dict)
    steps: int | None = None
    gap: float | None = None
    notes: tuple[str, ...] = ()


def _gradient(asked: Asked) -> Found:
    scores = asked.scores
    parts = [_gradients(score) for score in scores]
    names = scores[0].names
    values: dict[str, list[Array]] = {name: [] for name in names}
    for score, (_total, gradients) in zip(scores, parts, strict=True):
        for name, image, gradient in zip(names, score.images, gradients, strict=True):
            values[name].append(_as_array(torch.zeros_like(image) if gradient is None else gradient))
    return Found(score=sum(total for total, _ in parts), values=values, notes=_unused(names, parts))


def _gradients(score: CropScore) -> tuple[float, list[torch.Tensor | None]]:
    """The score of a crop, and its gradient by each input; None where it has none."""
    with torch.enable_grad():
        images = [image.clone().requires_grad_() for image in score.images]
        total = score(*images)[0]
        gradients: list[torch.Tensor | None] = [None] * len(images)
        if total.requires_grad:
            gradients = list(torch.autograd.grad(total, images, allow_unused=True))
    if all(one is None for one in gradients):
        raise UnsupportedError(
            "No gradient reaches the inputs of the model.",
            fix='A part of it works without gradients: ask with method="occlusion".',
        )
    return float(total), gradients


def _unused(names: Sequence[str], parts: Sequence[tuple[float, Sequence[torch.Tensor | None]]]) -> tuple[str, ...]:
    without = [name for i, name in enumerate(names) if all(gradients[i] is None for _, gradients in parts)]
    return (f"No gradient reaches {', '.join(without)}: the model does not use it.",) if without else ()


def _integrated(asked: Asked) -> Found:
    scores, question = asked.scores, asked.question
    parts = [_gradients(score) for score in scores]
    reached = [[one is not None for one in gradients] for _, gradients in parts]
    # What is not reached stays as it is, so that both ends of the path differ in what is explained alone.
    ends = [
        tuple(base if use else image for base, image, use in zip(one, score.images, uses, strict=True))
        for one, score, uses in zip(asked.baselines, scores, reached, strict=True)
    ]
    full = sum(total for total, _ in parts)
    start = sum(_score(score, end) for score, end in zip(scores, ends, strict=True))
    steps = min(_FIRST_STEPS, question.most_steps)
    while True:
        with asked.bar(steps * len(scores), f"Integrated gradients, {steps} steps"):
            found = [
                _integrate(score, end, uses, steps, asked.size)
                for score, end, uses in zip(scores, ends, reached, strict=True)
            ]
        gap = _gap(found, full - start)
        if gap <= question.tolerance or steps >= question.most_steps:
            break
        steps = min(steps * 2, question.most_steps)
    names = scores[0].names
    notes = _unused(names, parts)
    if gap > question.tolerance:
        notes += (f"The sum misses the difference of the scores by {gap:.1%} after {steps} steps: raise most_steps.",)
    return Found(
        score=full,
        baseline_score=start,
        values={name: [arrays[i] for arrays in found] for i, name in enumerate(names)},
        steps=steps,
        gap=gap,
        notes=notes,
    )


def _gap(found: Sequence[Sequence[Array]], difference: float) -> float:
    """By how much the sum misses the difference of the scores, as a share of it."""
    arrays = [array for arrays in found for array in arrays]
    explained = sum(float(array.sum()) for array in arrays)
    size = sum(float(np.abs(array).sum()) for array in arrays)
    # Where what speaks for it and against it cancel out, a share of next to nothing would never be small.
    return abs(explained - difference) / max(abs(difference), _SMALLEST * size, 1e-30)


def _integrate(score: CropScore, end: Images, uses: Sequence[bool], steps: int, size: int) -> list[Array]:
    chosen = [i for i, use in enumerate(uses) if use]

    def of_chosen(*images: torch.Tensor) -> torch.Tensor:
        whole = [image.expand(len(images[0]), *image.shape[1:]) for image in score.images]
        for place, image in zip(chosen, images, strict=True):
            whole[place] = image
        return score(*whole)

    with torch.enable_grad():
        found = IntegratedGradients(of_chosen).attribute(
            tuple(score.images[i] for i in chosen),
            baselines=tuple(end[i] for i in chosen),
            n_steps=steps,
            internal_batch_size=size,
        )
    arrays = dict(zip(chosen, map(_as_array, found), strict=True))
    return [arrays.get(i, np.zeros(_as_array(image).shape)) for i, image in enumerate(score.images)]


def _occlusion(asked: Asked) -> Found:
    scores = asked.scores
    names = scores[0].names
    by_band: dict[str, Array] = {}
    by_time: dict[str, Array] = {}
    maps: dict[str, list[Array]] = {name: [] for name in names}
    with asked.bar(sum(_covers(score, asked.question) for score in scores), "Occlusion"):
        for score, baseline in zip(scores, asked.baselines, strict=True):
            bands, times, squares = (_cover(score, baseline, shape, asked.size) for shape in _boxes(asked.question))
            for i, name in enumerate(names):
                # The score is a sum over crops, and so is what covering the same band in all of them does.
                by_band[name] = by_band.get(name, 0.0) + bands[i][0, :, 0, 0]
                by_time[name] = by_time.get(name, 0.0) + times[i][:, 0, 0, 0]
                maps[name].append(squares[i][0, 0])
    return Found(
        score=sum(_score(score, score.images) for score in scores),
        baseline_score=sum(_score(score, one) for score, one in zip(scores, asked.baselines, strict=True)),
        by_band=by_band,
        by_time=by_time,
        maps=maps,
    )


def _boxes(question: Question) -> tuple[Box, Box, Box]:
    """What is covered at a time: a band, a date, a square."""
    return (
        lambda _, t, h, w: (1, t, h, w),
        lambda c, _, h, w: (c, 1, h, w),
        lambda c, t, h, w: (c, t, *_patch(h, w, question.patch_size)),
    )


def _covers(score: CropScore, question: Question) -> int:
    """How many samples occlusion needs."""
    shapes = [tuple(image.shape[1:]) for image in score.images]
    boxes = [(shape, box(*shape)) for box in _boxes(question) for shape in shapes]
    # What is not covered at all goes through the model once each time.
    return len(_boxes(question)) + sum(
        math.prod(-(-size // side) for size, side in zip(shape, box, strict=True)) for shape, box in boxes
    )


def _cover(score: CropScore, baseline: Images, shape: Box, size: int) -> list[Array]:
    """What covering boxes of each input in turn takes from the score, (T, C, H, W)."""
    boxes = tuple(shape(*image.shape[1:]) for image in score.images)
    with torch.no_grad():
        found: Any = Occlusion(score).attribute(
            score.images,
            sliding_window_shapes=boxes,
            strides=boxes,
            baselines=baseline,
            perturbations_per_eval=size,
        )
    return [_as_array(one) for one in found]


def _patch(height: int, width: int, wanted: int | None) -> tuple[int, int]:
    side = wanted or max(1, max(height, width) // _PATCHES_ALONG)
    return min(side, height), min(side, width)


def _score(score: CropScore, images: Images) -> float:
    with torch.no_grad():
        return float(score(*images)[0])


def _as_array(image: torch.Tensor) -> Array:
    """(1, C, T, H, W) as (T, C, H, W)."""
    return image.detach()[0].transpose(0, 1).double().cpu().numpy()


METHODS: Mapping[str, Callable[[Asked], Found]] = {
    "gradient": _gradient,
    "integrated_gradients": _integrated,
    "occlusion": _occlusion,
}
