"""Two traces next to each other, stage by stage: where they begin to differ, and by how much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from olmoearth_nb.errors import UsageError
from olmoearth_nb.tables import html_table, text_table
from olmoearth_nb.traces.data import TraceData, TraceOutput

__all__ = ["Comparison", "Difference", "Traced", "compare"]

_OUTPUTS = ("logits", "probabilities", "prediction", "confidence", "values", "label", "error")
_COLUMNS = ("stage", "name", "largest difference", "mean", "differs", "")


class Traced(Protocol):
    """What has a trace: what ``runner.trace`` gives."""

    @property
    def data(self) -> TraceData:
        """The trace."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Difference:
    """How far one array of two traces differs.

    Attributes:
        stage: ``layer``, ``stage NAME``, ``features``, ``task NAME``, ``loss`` or ``written``.
        name: What it is of the stage: the layer, input, module, ``logits``, ``prediction`` and so on.
        largest: Largest absolute difference where both have a value; NaN if they can't be compared. Of classes, text
            and vectors 1 if they differ, else 0.
        mean: Mean absolute difference; of classes the share that differs.
        share: Share of the values that differ, among them those that only one of the two has.
        note: Why they can't be compared, or what to know.
    """

    stage: str
    name: str
    largest: float
    mean: float
    share: float
    note: str = ""

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return self.share == 0


class Comparison:
    """Two traces, stage by stage, in the order in which a window goes through the model.

    Args:
        left: The first trace.
        right: The second trace.

    Example:
        >>> comparison = olmoearth_nb.compare(trace, runner.trace("window_0", checkpoint="old.ckpt"))  # doctest: +SKIP
        >>> comparison.first.stage  # doctest: +SKIP
        'features'
    """

    def __init__(self, left: TraceData, right: TraceData) -> None:
        self.left, self.right = left, right
        pairs = list(_pairs(left, right))
        self._parts = {(stage, name): (a, b) for stage, name, a, b in pairs}
        self.differences = tuple(_difference(stage, name, a, b) for stage, name, a, b in pairs)

    @property
    def first(self) -> Difference | None:
        """Where they begin to differ; None if they are the same throughout."""
        return next((one for one in self.differences if not one.same), None)

    def difference(self, stage: str, name: str | None = None) -> xr.DataArray:
        """Right minus left: an array with the coordinates of the left one; of classes 1 where they differ, else 0.

        Args:
            stage: ``layer``, ``stage Normalize``, ``features``, ``task NAME``, ``written``; stages of the
                model's inputs also by their name alone.
            name: The layer, input, module or array; None if there is only one.

        Raises:
            UsageError: If there is no such array, or the two can't be subtracted.
        """
        stages = {key[0] for key in self._parts}
        chosen = stage if stage in stages else f"stage {stage}"
        names = [key[1] for key in self._parts if key[0] == chosen]
        if name is None and len(names) == 1:
            name = names[0]
        if not names or name not in names:
            raise UsageError(
                "There is no such array in the comparison.",
                expected=", ".join(names) if names else ", ".join(dict.fromkeys(key[0] for key in self._parts)),
                found=f"{stage!r}, {name!r}",
            )
        left, right = self._parts[chosen, name]
        if not isinstance(left, xr.DataArray) or not isinstance(right, xr.DataArray):
            raise UsageError(
                "Both traces must have an array there.", where=f"{chosen}, {name}", found=_missing(left, right)
            )
        if left.shape != right.shape or left.dims != right.dims:
            raise UsageError(
                "The arrays have other shapes, so that they can't be subtracted.",
                where=f"{chosen}, {name}",
                found=f"{_shape(left)} and {_shape(right)}",
            )
        result = _named_classes(left, name)
        values = (left.values != right.values) if result else _minus(right.values, left.values)
        return left.copy(data=np.asarray(values, dtype=float)).assign_attrs(note=f"difference of {name}, right - left")

    def table(self) -> pd.DataFrame:
        """One row an array: ``stage``, ``name``, ``largest``, ``mean``, ``share``, ``note``."""
        names = ["stage", "name", "largest", "mean", "share", "note"]
        return pd.DataFrame([[getattr(one, name) for name in names] for one in self.differences], columns=names)

    def _caption(self) -> str:
        left, right = (f"{one.window.group}/{one.window.name}" for one in (self.left, self.right))
        who = f"{left} and {right}" if left != right else f"{left} twice"
        first = self.first
        if first is None:
            return f"{who}: the same at every stage"
        return f"{who}: they differ from {first.stage}, {first.name} on"

    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                one.stage,
                one.name,
                "–" if np.isnan(one.largest) else f"{one.largest:.4g}",
                "–" if np.isnan(one.mean) else f"{one.mean:.4g}",
                "same" if one.same else f"{one.share:.2%}",
                one.note,
            )
            for one in self.differences
        ]

    def __repr__(self) -> str:
        return text_table(_COLUMNS, self._rows(), caption=self._caption())

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, self._rows(), caption=self._caption())


def compare(left: Traced | TraceData, right: Traced | TraceData) -> Comparison:
    """Two windows, or one window with two models, stage by stage, with the first stage at which they differ.

    ``runner.compare(left, right)`` is something else: two maps under one line.

    Args:
        left: What ``runner.trace`` gave, or a trace that was loaded.
        right: The same.

    Raises:
        UsageError: If one of them is no trace.
    """
    return Comparison(_data(left, "left"), _data(right, "right"))


def _data(trace: object, side: str) -> TraceData:
    data = getattr(trace, "data", trace)
    if isinstance(data, TraceData):
        return data
    raise UsageError(
        "Traces of windows are compared here.",
        where=f"compare, {side}",
        expected="what runner.trace(window) or WindowTrace.load(path) gives",
        found=type(trace).__name__,
        fix="Two maps are compared by runner.compare(left, right).",
    )


_Pair: TypeAlias = tuple[str, str, Any, Any]


def _pairs(left: TraceData, right: TraceData) -> Iterator[_Pair]:
    yield from _both("layer", _layers(left), _layers(right))
    names = list(dict.fromkeys(one.name for data in (left, right) for one in data.stages))
    stages = [{one.name: one for one in data.stages} for data in (left, right)]
    for name in names:
        sides: list[Mapping[str, Any]] = []
        for known in stages:
            stage = known.get(name)
            targets = {} if stage is None else {f"target {key}": value for key, value in stage.targets.items()}
            sides.append({} if stage is None else {**stage.inputs, **targets})
        yield from _both(f"stage {name}", sides[0], sides[1])
    yield from _both("features", left.features, right.features)
    for task in dict.fromkeys([*left.outputs, *right.outputs]):
        yield from _both(f"task {task}", _outputs(left.outputs.get(task)), _outputs(right.outputs.get(task)))
    yield from _both("loss", left.losses, right.losses)
    yield from _both("written", _written(left), _written(right))


def _both(stage: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> Iterator[_Pair]:
    for name in dict.fromkeys([*left, *right]):
        a, b = left.get(name), right.get(name)
        if a is not None or b is not None:
            yield stage, name, a, b


def _layers(data: TraceData) -> dict[str, Any]:
    return {name: layer.data if layer.data is not None else layer.features for name, layer in data.layers.items()}


def _outputs(output: TraceOutput | None) -> dict[str, Any]:
    if output is None:
        return {}
    found = {name: getattr(output, name) for name in (*_OUTPUTS, "vectors", "label_vectors", "by_crop")}
    if output.loss is not None:
        found |= {"loss": output.loss.total, "loss by pixel": output.loss.map}
    return found


def _written(data: TraceData) -> dict[str, Any]:
    written = data.written
    if written is None:
        return {}
    return {written.layer: written.raster if written.raster is not None else written.vectors}


def _difference(stage: str, name: str, left: Any, right: Any) -> Difference:
    nan = float("nan")
    if left is None or right is None:
        return Difference(stage=stage, name=name, largest=nan, mean=nan, share=1.0, note=_missing(left, right))
    if isinstance(left, xr.DataArray) and isinstance(right, xr.DataArray):
        if left.dims != right.dims or left.shape != right.shape:
            note = f"other shapes: {_shape(left)} and {_shape(right)}"
            return Difference(stage=stage, name=name, largest=nan, mean=nan, share=1.0, note=note)
        return _arrays(stage, name, left, right)
    if isinstance(left, gpd.GeoDataFrame) and isinstance(right, gpd.GeoDataFrame):
        same = _same_features(left, right)
        note = "" if same else f"{len(left)} and {len(right)} features"
        return Difference(stage=stage, name=name, largest=float(not same), mean=nan, share=float(not same), note=note)
    if isinstance(left, int | float) and isinstance(right, int | float):
        gap = abs(float(left) - float(right))
        note = "" if gap == 0 else f"{left:.4g} and {right:.4g}"
        return Difference(
            stage=stage, name=name, largest=gap, mean=gap, share=float(not _equal(float(left), float(right))), note=note
        )
    return Difference(stage=stage, name=name, largest=nan, mean=nan, share=1.0, note="one is a raster, the other not")


def _missing(left: Any, right: Any) -> str:
    if left is None and right is None:
        return "neither has it"
    return "only the right one has it" if left is None else "only the left one has it" if right is None else "no array"


def _shape(array: xr.DataArray) -> str:
    return " × ".join(f"{size} {dim}" for dim, size in zip(array.dims, array.shape, strict=True)) or "one number"


def _arrays(stage: str, name: str, left: xr.DataArray, right: xr.DataArray) -> Difference:
    a, b = left.values, right.values
    differs = np.asarray(a != b)
    if a.dtype.kind == "f" and b.dtype.kind == "f":
        differs &= ~(np.isnan(a) & np.isnan(b))
    share = float(differs.mean()) if differs.size else 0.0
    notes = _labels(left, right)
    if a.dtype.kind not in "biuf" or b.dtype.kind not in "biuf":
        largest = mean = float("nan")
    elif _named_classes(left, name):
        largest, mean = float(differs.any()), share
    else:
        gaps = np.abs(_minus(b, a))[differs]
        both = gaps[np.isfinite(gaps)]
        largest = float(both.max()) if both.size else 0.0
        mean = float(both.sum() / max(differs.size, 1))
        if len(gaps) > len(both):
            notes.append(f"{len(gaps) - len(both)} values only one of them has")
    return Difference(stage=stage, name=name, largest=largest, mean=mean, share=share, note="; ".join(notes))


def _labels(left: xr.DataArray, right: xr.DataArray) -> list[str]:
    """Coordinates by which the same places of two arrays are not the same thing."""
    notes = []
    for dim in ("band", "class", "channel"):
        if dim in left.coords and dim in right.coords:
            a, b = (list(map(str, one[dim].values)) for one in (left, right))
            if a != b:
                notes.append(f"other {dim} names: {_short(a)} and {_short(b)}")
    if (
        "time" in left.coords
        and "time" in right.coords
        and not np.array_equal(left["time"].values, right["time"].values)
    ):
        notes.append("other dates")
    if any(dim in left.coords and dim in right.coords and not left[dim].equals(right[dim]) for dim in ("y", "x")):
        notes.append("another place")
    if left.dtype != right.dtype:
        notes.append(f"{left.dtype} and {right.dtype}")
    return notes


def _short(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (" …" if len(names) > 6 else "")


def _named_classes(array: xr.DataArray, name: str) -> bool:
    """Whether values are numbers of classes, between which there is no distance."""
    return name in ("prediction", "label") and array.dtype.kind in "iu"


def _minus(a: Any, b: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)


def _equal(a: float, b: float) -> bool:
    return a == b or (np.isnan(a) and np.isnan(b))


def _same_features(left: gpd.GeoDataFrame, right: gpd.GeoDataFrame) -> bool:
    if len(left) != len(right) or list(left.columns) != list(right.columns) or left.crs != right.crs:
        return False
    if list(left.geometry.to_wkb()) != list(right.geometry.to_wkb()):
        return False
    plain = [pd.DataFrame(one.drop(columns=one.geometry.name)).reset_index(drop=True) for one in (left, right)]
    return bool(plain[0].equals(plain[1]))
