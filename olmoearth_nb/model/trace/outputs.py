"""The outputs of a trace: what was said of the crops, put together to the window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from rslearn.dataset import Window
from rslearn.train.tasks import Task
from rslearn.train.tasks.detection import DetectionTask

from olmoearth_nb.model.tasks import kind_of
from olmoearth_nb.model.trace.extract import Said
from olmoearth_nb.model.trace.frame import Crops
from olmoearth_nb.model.trace.writing import features_frame
from olmoearth_nb.traces.data import TraceLoss, TraceOutput

__all__ = ["TaskNotes", "make_output"]

Array = npt.NDArray[Any]


@dataclass
class TaskNotes:
    """What was noted of a task, crop by crop.

    Attributes:
        name: The task's name.
        task: The task.
        classes: Names of its classes.
        said: What it says.
        logits: What went into its head.
        loss_maps: Share of each pixel in the loss, weighted as in training.
        losses: Losses by name, weighted; those of crops without a label are left out.
        part: Name of the loss that the maps are shares of.
    """

    name: str
    task: Task
    classes: tuple[str, ...]
    said: list[Said] = field(default_factory=list)
    logits: list[Array | None] = field(default_factory=list)
    loss_maps: list[Array | None] = field(default_factory=list)
    losses: list[dict[str, float]] = field(default_factory=list)
    part: str | None = None


def make_output(notes: TaskNotes, crops: Crops, window: Window) -> TraceOutput:
    """The output of a task.

    Args:
        notes: What was noted.
        crops: Where the crops lie.
        window: The window.
    """
    whole = _Whole(notes, crops)
    probabilities = whole.array("probabilities", ("class",), units="1", note="probabilities as the model gives them")
    values = whole.array("values", (), note="values in the unit of the labels")
    prediction = whole.array("prediction", (), fill=-1, note="index of the class that is written")
    label = whole.array("label", (), fill=-1 if prediction is not None else np.nan, note="label")
    if values is None:
        logits = whole.raw(notes.logits, ("class",), note="what goes into the head")
    else:
        logits = whole.raw([_only(one) for one in notes.logits], (), note="what goes into the head")
    features = [feature for one in notes.said for feature in one.features]
    labelled = [feature for one in notes.said for feature in one.label_features or ()]
    has_objects = isinstance(notes.task, DetectionTask) or bool(features)
    return TraceOutput(
        task=notes.name,
        kind=kind_of(notes.task),
        classes=notes.classes,
        logits=logits,
        probabilities=probabilities,
        prediction=prediction,
        **_sureness(probabilities),
        values=values,
        vectors=features_frame(features, window) if has_objects else None,
        label=label,
        label_vectors=features_frame(labelled, window) if notes.said[0].label_features is not None else None,
        loss=_loss(notes, whole),
        error=_error(prediction, values, label),
        seam=whole.seam("probabilities" if probabilities is not None else "values"),
        by_crop=whole.by_crop("probabilities" if probabilities is not None else "values"),
    )


class _Whole:
    """Arrays of the window out of arrays of its crops."""

    def __init__(self, notes: TaskNotes, crops: Crops) -> None:
        self.notes, self.crops = notes, crops

    def array(self, name: str, dims: Sequence[str], *, fill: Any = np.nan, **attrs: Any) -> xr.DataArray | None:
        """An array by its name in :class:`Said`; None if a crop has none."""
        return self.raw([getattr(one, name) for one in self.notes.said], dims, fill=fill, **attrs)

    def raw(
        self, parts: Sequence[Array | None], dims: Sequence[str], *, fill: Any = np.nan, **attrs: Any
    ) -> xr.DataArray | None:
        """An array; ``y`` and ``x`` come after the dimensions if it has them."""
        found = [part for part in parts if part is not None]
        if not found or len(found) < len(parts):
            return None
        coords = {"class": self._class_names(len(found[0]))} if "class" in dims else {}
        if found[0].ndim == len(dims):
            return xr.DataArray(found[-1], dims=list(dims), coords=coords, attrs=attrs)
        found = [self._cut(part, index) for index, part in enumerate(found)]
        whole = self.crops.merged(found, found[0].dtype.type(fill))
        if whole is not None:
            return self.crops.frame.raster(whole, (*dims, "y", "x"), coords, **attrs)
        if len({part.shape for part in found}) > 1:
            return None
        numbered: dict[str, Any] = {**coords, "crop": list(range(len(found)))}
        return xr.DataArray(np.stack(found), dims=("crop", *dims, "y", "x"), coords=numbered, attrs=attrs)

    def _class_names(self, count: int) -> list[str]:
        names = self.notes.classes
        return list(names) if len(names) == count else [str(index) for index in range(count)]

    def _cut(self, part: Array, index: int) -> Array:
        """What lies over the crop, as the writer's merger takes it: padding comes to the right and below."""
        x0, y0, x1, y1 = self.crops.bounds[index]
        rows, columns = part.shape[-2:]
        larger = rows >= y1 - y0 and columns >= x1 - x0
        return part[..., : y1 - y0, : x1 - x0] if larger else part

    def seam(self, name: str) -> xr.DataArray | None:
        """How far crops differ where they overlap."""
        parts = [getattr(one, name) for one in self.notes.said]
        if len(parts) < 2 or any(part is None or part.ndim < 2 for part in parts):
            return None
        spread = self.crops.spread([self._cut(part, index) for index, part in enumerate(parts)])
        if spread is None:
            return None
        note = f"largest difference of {name} between the crops that overlap here"
        return self.crops.frame.raster(spread, ("y", "x"), note=note)

    def by_crop(self, name: str) -> xr.DataArray | None:
        """Outputs of a task by window for each crop."""
        parts = [getattr(one, name) for one in self.notes.said]
        if len(parts) < 2 or any(part is None or part.ndim > 1 for part in parts):
            return None
        coords: dict[str, Any] = {"crop": list(range(len(parts)))}
        if parts[0].ndim:
            coords["class"] = self._class_names(len(parts[0]))
        return xr.DataArray(np.stack(parts), dims=list(coords), coords=coords)


def _only(logits: Array | None) -> Array | None:
    """Logits of a measurement, without the axis for channels, of which there is one."""
    return None if logits is None or len(logits) != 1 else logits[0]


def _sureness(probabilities: xr.DataArray | None) -> dict[str, xr.DataArray]:
    if probabilities is None:
        return {}
    axis = probabilities.get_axis_num("class")
    values = probabilities.values
    ordered = np.sort(values, axis=axis)
    best, second = (
        (np.take(ordered, index, axis=axis) for index in (-1, -2))
        if values.shape[axis] > 1
        else (np.take(ordered, -1, axis=axis), np.zeros_like(np.take(ordered, -1, axis=axis)))
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -np.where(values > 0, values * np.log(values), np.where(np.isnan(values), np.nan, 0)).sum(axis=axis)
    like = probabilities.isel({"class": 0}, drop=True)
    found = {
        "confidence": (best, "1", "highest probability"),
        "entropy": (entropy, "nat", "entropy of the probabilities"),
        "margin": (best - second, "1", "difference of the best two probabilities"),
    }
    return {
        name: like.copy(data=array.astype(values.dtype)).assign_attrs(units=units, note=note)
        for name, (array, units, note) in found.items()
    }


def _loss(notes: TaskNotes, whole: _Whole) -> TraceLoss | None:
    labelled = [one for one in notes.losses if one]
    if not labelled:
        return None
    parts = {name: float(np.mean([one[name] for one in labelled])) for name in labelled[0]}
    shares = whole.raw(notes.loss_maps, (), note="share of each pixel in the loss of its crop")
    if shares is not None:
        shares.attrs["part"] = notes.part or ""
    return TraceLoss(total=sum(parts.values()), parts=parts, map=shares)


def _error(
    prediction: xr.DataArray | None, values: xr.DataArray | None, label: xr.DataArray | None
) -> xr.DataArray | None:
    if label is None:
        return None
    if prediction is not None and prediction.shape == label.shape:
        wrong = np.where(label.values < 0, np.nan, prediction.values != label.values).astype(np.float32)
        return label.copy(data=wrong).assign_attrs(note="1 where the class is wrong, 0 where it is right")
    if values is not None and values.shape == label.shape:
        return (values - label.values).assign_attrs({**values.attrs, "note": "prediction - label"})
    return None
