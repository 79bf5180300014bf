"""What a model says about some pixels of a crop as one number, as a function of its inputs that has gradients."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from rslearn.models.component import FeatureMaps, FeatureVector, Predictor
from rslearn.train.model_context import RasterImage
from rslearn.train.tasks import Task
from rslearn.train.tasks.multi_task import MultiTask
from rslearn.train.tasks.per_pixel_regression import PerPixelRegressionTask
from rslearn.train.tasks.regression import RegressionTask

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InferenceError, UnsupportedError
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.losses import watch_heads
from olmoearth_nb.model.samples import Sample
from olmoearth_nb.model.tasks import kind_of

__all__ = ["CropScore", "Target", "as_images", "single_precision"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """Whose score is meant.

    Attributes:
        task: Name of the task.
        classes: Index of a class -> its factor; empty for the value of a measurement.
    """

    task: str
    classes: Mapping[int, float]


class CropScore:
    """The score of a crop for inputs like its own: one number each, in the order of the batch.

    Everything runs in single precision: differences of scores are small where half of it has three digits.

    Args:
        loaded: The model.
        sample: The crop, after the transforms.
        target: Whose score.
        weights: Weight of each pixel of the crop, (h, w); of tasks without pixels their sum counts.

    Attributes:
        names: Of the inputs that it is a function of: images of floating point numbers. Others stay as they are.
        images: Those inputs, each (1, C, T, H, W).
        passed: Is told how many samples have gone through the model.
    """

    def __init__(self, loaded: LoadedModel, sample: Sample, target: Target, weights: torch.Tensor) -> None:
        self._module, self._target = loaded.module, target
        moved = loaded.module.transfer_batch_to_device([sample[0]], loaded.device, 0)
        self._inputs: dict[str, Any] = moved[0]
        self._metadata = sample[2]
        self._task = _task_of(loaded.task, target.task)
        self._head = _head_of(loaded.module, target.task)
        # Of merged tasks several share a head.
        offsets: Any = getattr(loaded.module.model, "task_label_offsets", None) or {}
        self._offset = int(offsets.get(target.task, {}).get("offset", 0))
        self._weights = weights.to(loaded.device)
        self.passed: Callable[[int], object] = lambda _: None
        images = as_images(self._inputs)
        self.names = tuple(images)
        self.images = tuple(image[None] for image in images.values())

    def __call__(self, *images: torch.Tensor) -> torch.Tensor:
        """Scores, (N,), of inputs in the order of ``names``, each (N, C, T, H, W)."""
        count = len(images[0])
        inputs = [
            self._with({name: image[i] for name, image in zip(self.names, images, strict=True)}) for i in range(count)
        ]
        targets: list[dict[str, Any]] = [{} for _ in inputs]
        batch = (inputs, targets, [self._metadata] * count)
        with watch_heads(self._module) as seen, foreign_code(InferenceError, "The model fails on it"):
            output: Any = self._module.predict_step(batch, 0)
        self.passed(count)
        if self._target.classes:
            logits = next((call[1] for call in seen.calls if call[0] is self._head), None)
            return self._of_classes(logits)
        values = [one[self._target.task] if self._is_one_of_several else one for one in output.outputs]
        return self._of_values(torch.stack([torch.as_tensor(value) for value in values]).float())

    @property
    def _is_one_of_several(self) -> bool:
        return hasattr(self._module.model, "decoders")

    def _with(self, images: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        """The crop's inputs with other images; copies, because models may work on them in place."""
        inputs: dict[str, Any] = {name: _copy(value) for name, value in self._inputs.items() if name not in images}
        for name, image in images.items():
            before = self._inputs[name]
            if isinstance(before, RasterImage):
                inputs[name] = replace(before, image=image.clone())
            else:
                inputs[name] = image[:, 0].clone()
        return {name: inputs[name] for name in self._inputs}

    def _of_classes(self, logits: Any) -> torch.Tensor:
        match logits:
            case FeatureMaps() if len(logits.feature_maps) == 1:
                scores = logits.feature_maps[0].float()
            case FeatureVector():
                scores = logits.feature_vector.float()
            case _:
                raise UnsupportedError(
                    "The task has no score for each class.",
                    where=f"task {self._target.task}",
                    expected="segmentation or classification",
                    found=kind_of(self._task),
                )
        factors = {index + self._offset: factor for index, factor in self._target.classes.items()}
        if scores.shape[1] <= max(factors):
            raise UnsupportedError(
                "The head has a score for fewer classes.",
                where=f"task {self._target.task}",
                expected=f"more than {max(factors)}",
                found=f"{scores.shape[1]}",
            )
        return self._mean(torch.stack([scores[:, index] * factor for index, factor in factors.items()]).sum(0))

    def _of_values(self, values: torch.Tensor) -> torch.Tensor:
        if not isinstance(self._task, PerPixelRegressionTask | RegressionTask):
            raise UnsupportedError(
                "The task has no values.",
                where=f"task {self._target.task}",
                expected="classes or measurements",
                found=kind_of(self._task),
            )
        if values.ndim == 4:
            values = values[:, 0]
        return self._mean(values / self._task.scale_factor)

    def _mean(self, scores: torch.Tensor) -> torch.Tensor:
        if scores.ndim == 1:
            return scores * self._weights.sum()
        if scores.ndim != 3:
            raise UnsupportedError("The model gives no map of scores.", found=f"shape {tuple(scores.shape[1:])}")
        return (scores * _fitted(self._weights, scores.shape[1:])).sum(dim=(1, 2))


def as_images(inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """The inputs of a sample that importance can be told of, (C, T, H, W): images of floating point numbers.

    Args:
        inputs: Of a sample.
    """
    found: dict[str, torch.Tensor] = {}
    for name, value in inputs.items():
        if isinstance(value, RasterImage) and value.image.is_floating_point():
            found[name] = value.image.detach()
        elif isinstance(value, torch.Tensor) and value.ndim == 3 and value.is_floating_point():
            found[name] = value.detach()[:, None]
    return found


@contextlib.contextmanager
def single_precision(module: torch.nn.Module) -> Iterator[None]:
    """Keeps parts of a model from computing in less than single precision by themselves, as OlmoEarth encoders do.

    Args:
        module: The model.
    """
    before = {part: part.autocast_dtype for part in module.modules() if hasattr(part, "autocast_dtype")}
    for part in before:
        part.autocast_dtype = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for part, dtype in before.items():
            part.autocast_dtype = dtype


def _copy(value: Any) -> Any:
    match value:
        case RasterImage():
            return replace(value, image=value.image.clone())
        case torch.Tensor():
            return value.clone()
        case dict():
            return dict(value)
        case _:
            return value


def _task_of(task: Task, name: str) -> Task:
    return task.tasks.get(name, task) if isinstance(task, MultiTask) else task


def _head_of(module: Any, name: str) -> torch.nn.Module | None:
    """The head of a task."""
    network = module.model
    decoders = getattr(network, "decoders", None)
    if decoders is not None:
        # Of merged tasks several share a decoder.
        key = getattr(network, "target_to_decoder", {}).get(name, name)
        return decoders[key][-1] if key in decoders else None
    heads = [part for part in module.modules() if isinstance(part, Predictor)]
    return heads[-1] if heads else None


def _fitted(weights: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """Weights of a crop's pixels as weights of the pixels that the model gives; their sum stays."""
    rows, columns = weights.shape
    height, width = shape
    if height >= rows and width >= columns:
        # Padding comes to the right and below, for the writer's merger too.
        return torch.nn.functional.pad(weights, (0, width - columns, 0, height - rows))
    step = rows // height
    if (height * step, width * step) != (rows, columns):
        raise UnsupportedError(
            "The model's map does not fit the crop.", expected=f"{rows} × {columns} pixels", found=f"{height} × {width}"
        )
    return weights.reshape(height, step, width, step).sum(dim=(1, 3))
