"""Other inputs for a window: without a band or a date, scaled, or those of another window, as named arrays."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, TypeAlias

import numpy as np
import xarray as xr

from olmoearth_nb.errors import UsageError
from olmoearth_nb.traces.data import TraceData
from olmoearth_nb.traces.naming import find_places, places_of

__all__ = ["Changes", "EditInputs", "Fill", "Inputs", "apply_changes", "band_means", "check_changes", "filled"]

Inputs: TypeAlias = dict[str, xr.DataArray]
"""Name of the input -> (time, band, y, x)."""

EditInputs: TypeAlias = Callable[[Inputs], Inputs | None]
"""Changes inputs in place, or gives others."""

Fill: TypeAlias = str | float
"""What comes instead of what is dropped: ``nodata``, ``mean`` of the training windows, a number, another date as
text, or ``remove`` for dates, which leaves the time step out."""

Numbers: TypeAlias = float | Mapping[str, float]
"""One number, or one for each band."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Changes:
    """What is changed. Bands are ``band``, in all inputs that have it, or ``input/band``; so are dates.

    Attributes:
        drop_bands: Bands without their values.
        drop_dates: Time steps without their values: dates as text (``2024-06`` is all of June), or numbers from 0 of
            all inputs that are series.
        fill: What comes instead.
        scale: Factors.
        offset: What is added, after the factors.
        swap: Another window whose inputs are taken, by name or ``group/name``; or one for each input or layer.
        transforms: Name of the transform, as the stages have it -> other arguments, or None to leave it out.
        checkpoint: Other weights.
        edit: Changes inputs as read, last of all.
    """

    drop_bands: Sequence[str] = ()
    drop_dates: Sequence[str | int] = ()
    fill: Fill = "nodata"
    scale: Numbers | None = None
    offset: Numbers | None = None
    swap: str | Mapping[str, str] | None = None
    transforms: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    checkpoint: str | PathLike[str] | None = None
    edit: EditInputs | None = None

    def __post_init__(self) -> None:
        for name in ("drop_bands", "drop_dates"):
            value = getattr(self, name)
            if isinstance(value, str | int):
                object.__setattr__(self, name, (value,))
        if self.fill == "remove" and self.drop_bands:
            raise UsageError("Only dates can be removed.", where="fill", expected="nodata, mean or a number for bands")

    def words(self) -> list[str]:
        """What is changed, a line each."""
        found = [f"band {name} → {self.fill}" for name in self.drop_bands]
        found += [f"date {name} → {self.fill}" for name in self.drop_dates]
        found += _words("×", self.scale) + _words("+", self.offset)
        match self.swap:
            case str():
                found.append(f"inputs of the window {self.swap}")
            case Mapping():
                found += [f"{name} of the window {window}" for name, window in self.swap.items()]
        for name, arguments in self.transforms.items():
            given = (
                "left out" if arguments is None else ", ".join(f"{key}={value!r}" for key, value in arguments.items())
            )
            found.append(f"{name}: {given}")
        if self.checkpoint is not None:
            found.append(f"checkpoint {self.checkpoint}")
        if self.edit is not None:
            found.append(f"inputs changed by {getattr(self.edit, '__name__', type(self.edit).__name__)}")
        return found


def _words(sign: str, numbers: Numbers | None) -> list[str]:
    if numbers is None:
        return []
    if isinstance(numbers, Mapping):
        return [f"band {name} {sign} {number:g}" for name, number in numbers.items()]
    return [f"all bands {sign} {numbers:g}"]


def check_changes(changes: Changes, data: TraceData) -> None:
    """Refuses bands, dates and transforms that the window does not have.

    Args:
        changes: What is to be changed.
        data: What was recorded of the window.

    Raises:
        UsageError: If there is no such band, date or transform.
    """
    inputs = {name: one for name, one in data.stages[0].inputs.items() if "band" in one.dims}
    for band in [*changes.drop_bands, *_keys(changes.scale), *_keys(changes.offset)]:
        find_places(inputs, band, "band")
    for date in changes.drop_dates:
        find_places(inputs, date, "time")
    if isinstance(changes.fill, str) and changes.fill not in ("nodata", "mean", "remove"):
        found = find_places(inputs, changes.fill, "time")
        if not changes.drop_dates or changes.drop_bands or any(len(steps) != 1 for steps in found.values()):
            raise UsageError(
                "Not what can come instead.",
                where="fill",
                expected="nodata, mean, a number, or one other date for dates",
                found=repr(changes.fill),
            )
    names = [stage.name for stage in data.stages[2:]]
    for name in changes.transforms:
        if name not in names:
            raise UsageError(
                "There is no such transform.", expected=", ".join(names) or "none: there are none", found=repr(name)
            )


def apply_changes(inputs: Inputs, changes: Changes, *, data: TraceData, others: Inputs) -> Inputs:
    """Inputs with the changes.

    Args:
        inputs: As read, of the window or a crop of it.
        changes: What is changed; ``transforms`` and ``checkpoint`` are not of the inputs.
        data: What was recorded of the window.
        others: The same of other windows, for those that are swapped.

    Raises:
        UsageError: If the edit gives something else than such arrays.
    """
    found = {name: array.copy() for name, array in inputs.items()} | others
    for name, array in found.items():
        for band in changes.drop_bands:
            for index in places_of({name: array}, band, "band").get(name, []):
                array[{"band": index}] = _value(changes.fill, data, name, array).isel(band=index)
        if changes.drop_dates:
            steps = [
                step for date in changes.drop_dates for step in places_of({name: array}, date, "time").get(name, [])
            ]
            found[name] = _without(array, steps, changes.fill, data, name)
    for numbers, scaled in ((changes.scale, True), (changes.offset, False)):
        for name, array in found.items():
            found[name] = _with_numbers(array, name, numbers, scaled=scaled)
    if changes.edit is None:
        return found
    given = changes.edit(found)
    return _checked(found if given is None else {**found, **given}, inputs)


def filled(inputs: Inputs, fill: Fill, data: TraceData) -> Inputs:
    """Inputs of which nothing is left.

    Args:
        inputs: As read.
        fill: ``nodata``, ``mean`` or a number.
        data: What was recorded of the window.
    """
    found = {}
    for name, array in inputs.items():
        values = np.broadcast_to(_value(fill, data, name, array).values[None, :, None, None], array.shape)
        found[name] = array.copy(data=values.astype(array.dtype))
    return found


def band_means(data: TraceData, name: str) -> dict[str, float]:
    """Mean of each band of an input in the training windows; in this one where there are none.

    Args:
        data: What was recorded of the window.
        name: The input.
    """
    for table in (data.training, data.stages[0].stats):
        if table is not None:
            own = table[table["input"] == name]
            if len(own) and np.isfinite(own["mean"].to_numpy(dtype=float)).all():
                return dict(zip(own["band"].astype(str), own["mean"].astype(float), strict=True))
    return {}


def _value(fill: Fill, data: TraceData, name: str, array: xr.DataArray) -> xr.DataArray:
    """What comes instead of each band."""
    bands = [str(band) for band in array["band"].values]
    if fill == "mean":
        means = band_means(data, name)
        values = [means.get(band, 0.0) for band in bands]
    elif isinstance(fill, str):
        values = [float(array.attrs.get("nodata", 0.0))] * len(bands)
    else:
        values = [float(fill)] * len(bands)
    return xr.DataArray(values, dims=("band",))


def _without(array: xr.DataArray, steps: Sequence[int], fill: Fill, data: TraceData, name: str) -> xr.DataArray:
    if not steps:
        return array
    if fill == "remove":
        kept = [step for step in range(array.sizes["time"]) if step not in steps]
        if not kept:
            raise UsageError(
                "No date of the input would be left.", where=f"input {name}", found=f"{len(steps)} dropped"
            )
        return array.isel(time=kept)
    if isinstance(fill, str) and fill not in ("nodata", "mean"):
        source = places_of({name: array}, fill, "time").get(name, [])
        if not source:
            raise UsageError("The input has no such date.", where=f"input {name}", found=repr(fill))
        instead = array.isel(time=source[0]).values.copy()
    else:
        instead = _value(fill, data, name, array).values[:, None, None]
    values = array.values.copy()
    values[list(steps)] = instead
    return array.copy(data=values)


def _with_numbers(array: xr.DataArray, name: str, numbers: Numbers | None, *, scaled: bool) -> xr.DataArray:
    if numbers is None or "band" not in array.dims:
        return array
    change = np.ones(array.sizes["band"]) if scaled else np.zeros(array.sizes["band"])
    for key, number in numbers.items() if isinstance(numbers, Mapping) else ():
        change[places_of({name: array}, key, "band").get(name, [])] = number
    if not isinstance(numbers, Mapping):
        change[:] = numbers
    shaped = change[None, :, None, None]
    values = array.values * shaped if scaled else array.values + shaped
    # What has nothing stays so.
    if "nodata" in array.attrs:
        values = np.where(array.values == array.attrs["nodata"], array.values, values)
    if array.dtype.kind in "iu":
        info = np.iinfo(array.dtype)
        values = np.clip(np.rint(values), info.min, info.max)
    return array.copy(data=values.astype(array.dtype))


def _checked(found: Mapping[str, Any], before: Inputs) -> Inputs:
    checked: Inputs = {}
    for name, value in found.items():
        old = before.get(name)
        if old is None:
            raise UsageError("The model has no such input.", where="edit", expected=", ".join(before), found=repr(name))
        array = value if isinstance(value, xr.DataArray) else None
        if array is None:
            values = np.asarray(value)
            array = old.copy(data=values.astype(old.dtype)) if values.shape == old.shape else None
        if array is None or array.dims != old.dims or array.shape[1:] != old.shape[1:]:
            raise UsageError(
                "The edit gives another shape.",
                where=f"input {name}",
                expected=f"{old.shape} ({', '.join(map(str, old.dims))}); only time steps may be fewer",
                found=f"{np.shape(value)}",
            )
        checked[name] = array.astype(old.dtype)
    return checked


def _keys(numbers: Numbers | None) -> list[str]:
    return list(numbers) if isinstance(numbers, Mapping) else []
