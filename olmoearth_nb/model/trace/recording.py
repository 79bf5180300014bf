"""Notes what becomes of a window's samples from transform to transform."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from rslearn.train.model_context import RasterImage, SampleMetadata

from olmoearth_nb.model.samples import WindowStream

__all__ = ["Edit", "Kept", "Noted", "Recorder"]

_LONGEST = 400

Edit: TypeAlias = Callable[[str, dict[str, Any], dict[str, Any], SampleMetadata], None]
"""Changes inputs and targets of a sample in place; is told the stage that they are at, ``task`` first."""


@dataclass(frozen=True)
class Kept:
    """An array as it was at some time.

    Attributes:
        values: A copy: (T, C, H, W) of images, else as the tensor was.
        timestamps: Of its time steps.
        image: Whether it is an image.
    """

    values: npt.NDArray[Any]
    timestamps: list[tuple[datetime, datetime]] | None = None
    image: bool = False


@dataclass
class Noted:
    """A sample at a stage: the transform before it, inputs and targets by name."""

    name: str
    note: str
    transform: torch.nn.Module | None = None
    inputs: dict[str, Kept] = field(default_factory=dict)
    targets: dict[str, Kept] = field(default_factory=dict)


class Recorder:
    """Notes the samples that a stream makes, after each transform in turn.

    Args:
        stream: The windows; from now on they are noted.
        edit: Changes samples on their way.

    Attributes:
        samples: For each sample its stages in order.
    """

    def __init__(self, stream: WindowStream, edit: Edit | None = None) -> None:
        windows = stream.windows
        self.samples: list[list[Noted]] = []
        self._edit = edit
        self._metadata: SampleMetadata | None = None
        self._labels = {name for name, one in windows.inputs.items() if one.is_target}
        transforms = list(getattr(windows.transforms, "transforms", []))
        names = _numbered([type(transform).__name__ for transform in transforms])
        self._transforms = list(zip(names, transforms, strict=True))
        self._task = windows.task
        # rslearn asks its dataset for both, whichever way it makes crops.
        vars(windows)["task"] = _Task(self)
        vars(windows)["transforms"] = _Transforms(self)

    def read(
        self, raw_inputs: Mapping[str, Any], metadata: SampleMetadata, *, load_targets: bool
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the task makes of what was read, which is noted.

        Args:
            raw_inputs: As read.
            metadata: Of the sample.
            load_targets: Whether to make targets.
        """
        self._metadata = metadata
        noted = Noted("read", "as read from the dataset")
        for name, value in raw_inputs.items():
            _note(noted.targets if name in self._labels else noted.inputs, name, value, {})
        self.samples.append([noted])
        return self._task.process_inputs(dict(raw_inputs), metadata=metadata, load_targets=load_targets)

    def transform(self, inputs: dict[str, Any], targets: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Applies the transforms and notes what each gives.

        Args:
            inputs: The sample's inputs.
            targets: The sample's targets.
        """
        self._add(Noted("task", f"{type(self._task).__name__} makes the targets"), inputs, targets)
        for name, transform in self._transforms:
            inputs, targets = transform(inputs, targets)
            self._add(Noted(name, _described(transform), transform), inputs, targets)
        return inputs, targets

    def _add(self, noted: Noted, inputs: dict[str, Any], targets: dict[str, Any]) -> None:
        if self._edit is not None and self._metadata is not None:
            self._edit(noted.name, inputs, targets, self._metadata)
        before = self.samples[-1][-1]
        for name, value in inputs.items():
            _note(noted.inputs, name, value, before.inputs)
        for name, value in targets.items():
            _note(noted.targets, name, value, before.targets)
        self.samples[-1].append(noted)


class _Task:
    """Stands in front of a task."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def process_inputs(
        self, raw_inputs: Mapping[str, Any], metadata: SampleMetadata, load_targets: bool = True
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._recorder.read(raw_inputs, metadata, load_targets=load_targets)


class _Transforms(torch.nn.Module):
    """Stands in front of the transforms."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def forward(self, inputs: dict[str, Any], targets: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._recorder.transform(inputs, targets)


def _note(into: dict[str, Kept], name: str, value: Any, before: Mapping[str, Kept]) -> None:
    match value:
        case dict():
            for key, one in value.items():
                _note(into, f"{name}/{key}", one, before)
        case RasterImage():
            into[name] = _kept(value.image.transpose(0, 1), value.timestamps, before.get(name), image=True)
        case torch.Tensor():
            into[name] = _kept(value, None, before.get(name), image=False)


def _kept(tensor: torch.Tensor, timestamps: Any, before: Kept | None, *, image: bool) -> Kept:
    """A copy, because the next transform changes the tensor in place; the one from before if nothing has changed."""
    values = tensor.detach().cpu().numpy()
    if before is not None and before.timestamps == timestamps and before.image == image:
        same = before.values.dtype == values.dtype and before.values.shape == values.shape
        if same and np.array_equal(before.values, values, equal_nan=values.dtype.kind == "f"):
            return before
    return Kept(values.copy(), None if timestamps is None else list(timestamps), image)


def _numbered(names: list[str]) -> list[str]:
    seen: dict[str, int] = {"read": 1, "task": 1}
    found = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return found


def _described(transform: torch.nn.Module) -> str:
    """A transform with its settings, on one line."""
    settings = []
    for name, value in {**vars(transform), **dict(transform.named_buffers())}.items():
        if name.startswith("_") or name == "training":
            continue
        text = repr(value.tolist() if isinstance(value, torch.Tensor | np.ndarray) else value)
        settings.append(f"{name}={text if len(text) <= _LONGEST else text[:_LONGEST] + '…'}")
    return f"{type(transform).__name__}({', '.join(settings)})"
