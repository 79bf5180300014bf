"""Stages of a trace out of what was noted of its samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from rslearn.train.transforms.concatenate import Concatenate, ConcatenateDim

from olmoearth_nb.model.trace.frame import Crops
from olmoearth_nb.model.trace.recording import Kept, Noted
from olmoearth_nb.traces.data import TraceStage

__all__ = ["InputFacts", "make_stages", "statistics", "time_coords", "utc"]

Array = npt.NDArray[Any]
Times = tuple[datetime, datetime]

# Of their results pixels are not where they seem to be.
_MOVING = ("Crop", "Pad")
_STATS = ("input", "band", "min", "mean", "max", "std", "nodata", "infinite", "values")


@dataclass(frozen=True, kw_only=True)
class InputFacts:
    """What the configurations know of an input.

    Attributes:
        bands: Names of its bands.
        nodata: The value that means nothing is there.
        sources: Start and end of a time step, UTC -> names of the items it was made of.
    """

    bands: Sequence[str]
    nodata: float | None = None
    sources: Mapping[tuple[np.datetime64, np.datetime64], str] = field(default_factory=dict)


def make_stages(
    samples: Sequence[Sequence[Noted]], crops: Crops, facts: Mapping[str, InputFacts]
) -> tuple[TraceStage, ...]:
    """The stages of a window.

    Args:
        samples: For each crop its stages.
        crops: Where the crops lie.
        facts: Of each input and target.
    """
    stages: list[TraceStage] = []
    bands: dict[str, list[str]] = {name: list(one.bands) for name, one in facts.items()}
    empty: dict[str, npt.NDArray[np.bool_]] = {}
    moved = False
    for index, first in enumerate(samples[0]):
        moved = moved or type(first.transform).__name__ in _MOVING
        bands = _bands_after(first, bands)
        made: dict[str, dict[str, xr.DataArray]] = {"inputs": {}, "targets": {}}
        for side, arrays in made.items():
            for name in getattr(first, side):
                parts = [getattr(sample[index], side)[name] for sample in samples]
                arrays[name] = _array(parts, crops, bands.get(name), facts.get(name), placed=not moved)
        if not stages:
            for name, array in made["inputs"].items():
                if "nodata" in array.attrs:
                    empty[name] = array.values == array.attrs["nodata"]
        else:
            for array in made["inputs"].values():
                array.attrs.pop("nodata", None)
        stats = statistics(made["inputs"], empty)
        stages.append(TraceStage(name=first.name, note=first.note, stats=stats, **made))
    return tuple(stages)


def _bands_after(noted: Noted, before: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Names of bands after a transform: as before, where their number has not changed."""
    bands = dict(before)
    transform = noted.transform
    if isinstance(transform, Concatenate) and transform.concatenate_dim == ConcatenateDim.CHANNEL.value:
        parts = {name.removeprefix("input/"): chosen for name, chosen in transform.selections.items()}
        found = [
            (name, before[name][i])
            for name, chosen in parts.items()
            if name in before
            for i in (chosen or range(len(before[name])))
        ]
        labels = [band for _, band in found]
        if len(set(labels)) != len(labels):
            labels = [f"{name} {band}" for name, band in found]
        bands[transform.output_selector.removeprefix("input/")] = labels
    elif isinstance(transform, Concatenate):
        first = next(iter(transform.selections)).removeprefix("input/")
        bands[transform.output_selector.removeprefix("input/")] = list(before.get(first, []))
    for name, kept in {**noted.inputs, **noted.targets}.items():
        count = kept.values.shape[-3] if kept.values.ndim >= 3 else 1
        if len(bands.get(name, [])) != count:
            bands[name] = [str(i) for i in range(count)]
    return bands


def _array(
    parts: Sequence[Kept], crops: Crops, bands: Sequence[str] | None, facts: InputFacts | None, *, placed: bool
) -> xr.DataArray:
    first = parts[0]
    coords: dict[str, Any] = {"band": list(bands or [])}
    values = [_as_image(part.values) for part in parts]
    same = len({part.shape for part in values}) == 1
    if values[0].ndim != 4:
        stacked = np.stack(values) if len(values) > 1 and same else values[0]
        return xr.DataArray(stacked, dims=_other_dims(stacked, crop=len(values) > 1 and same))
    coords |= time_coords(first.timestamps, facts)
    attrs = {"nodata": facts.nodata} if facts is not None and facts.nodata is not None else {}
    whole = crops.merged(values, _fill(values[0].dtype)) if placed else None
    if whole is not None:
        return crops.frame.raster(whole, ("time", "band", "y", "x"), coords, **attrs)
    note = "Transforms have cut or padded it, so that its pixels have no coordinates."
    if len(values) == 1 or not same:
        return xr.DataArray(values[0], dims=("time", "band", "y", "x"), coords=coords, attrs={**attrs, "note": note})
    numbers = {"crop": list(range(len(values)))}
    return xr.DataArray(
        np.stack(values),
        dims=("crop", "time", "band", "y", "x"),
        coords=coords | numbers,
        attrs={**attrs, "note": note},
    )


def _as_image(values: Array) -> Array:
    """(C, H, W) and (H, W) with one time step; what is no raster as it is."""
    if values.ndim == 3:
        return values[None]
    return values[None, None] if values.ndim == 2 and min(values.shape) > 1 and values.shape[1] != 4 else values


def _other_dims(values: Array, *, crop: bool) -> list[str]:
    dims = ["crop"] if crop else []
    return dims + [f"axis_{i}" for i in range(values.ndim - len(dims))]


def _fill(dtype: np.dtype[Any]) -> Any:
    return np.nan if dtype.kind == "f" else dtype.type(0)


def time_coords(timestamps: Sequence[Times] | None, facts: InputFacts | None) -> dict[str, Any]:
    """Coordinates along ``time``.

    Args:
        timestamps: Start and end of each time step; None if not known.
        facts: For the items.
    """
    if timestamps is None:
        return {}
    starts, ends = (np.array([utc(pair[i]) for pair in timestamps], dtype="datetime64[ns]") for i in (0, 1))
    coords: dict[str, Any] = {"time": starts, "time_end": ("time", ends)}
    names = [facts.sources.get(pair) for pair in zip(starts, ends, strict=True)] if facts is not None else []
    if names and None not in names:
        coords["source"] = ("time", names)
    return coords


def utc(time: datetime) -> datetime:
    """A time in UTC, without saying so: netCDF and pandas' arrays have no time zones.

    Args:
        time: A time.
    """
    return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo is not None else time


def statistics(arrays: Mapping[str, xr.DataArray], empty: Mapping[str, npt.NDArray[np.bool_]]) -> pd.DataFrame:
    """Statistics of each band, see :class:`olmoearth_nb.traces.data.TraceStage`.

    Args:
        arrays: Inputs by name.
        empty: Where there was nodata when they were read; used where the shape is still the same.
    """
    rows: list[dict[str, Any]] = []
    for name, array in arrays.items():
        nothing = empty.get(name)
        if nothing is None or nothing.shape != array.shape:
            nothing = np.zeros(array.shape, dtype=bool)
        if "band" not in array.dims:
            rows.append({"input": name, "band": "", **_numbers(array.values, nothing)})
            continue
        axis = array.get_axis_num("band")
        for index, band in enumerate(array["band"].values):
            part = np.take(array.values, index, axis=axis)
            rows.append({"input": name, "band": str(band), **_numbers(part, np.take(nothing, index, axis=axis))})
    return pd.DataFrame(rows, columns=list(_STATS))


def _numbers(values: Array, nothing: npt.NDArray[np.bool_]) -> dict[str, float]:
    total = max(values.size, 1)
    floating = values.dtype.kind == "f"
    missing = nothing | np.isnan(values) if floating else nothing
    infinite = np.isinf(values) if floating else np.zeros(values.shape, dtype=bool)
    used = values[~(missing | infinite)].astype(np.float64)
    numbers = {name: float("nan") for name in ("min", "mean", "max", "std")}
    if used.size:
        numbers = {"min": used.min(), "mean": used.mean(), "max": used.max(), "std": used.std()}
    return {
        **{name: float(value) for name, value in numbers.items()},
        "nodata": float(missing.sum() / total),
        "infinite": float(infinite.sum() / total),
        "values": int(values.size),
    }
