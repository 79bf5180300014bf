"""Dates of layers: missing, twice, out of order, out of the window's time range."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
import xarray as xr

from olmoearth_nb.traces.data import TraceData, TraceLayer
from olmoearth_nb.traces.findings import Finding, FindingSeverity
from olmoearth_nb.traces.pixels import Array, input_layers, is_empty, plural
from olmoearth_nb.types import TimeRange

__all__ = ["check_dates"]


def check_dates(data: TraceData) -> Iterator[Finding]:
    """Findings about dates of layers, and about time steps that are the same.

    Args:
        data: The trace.
    """
    orders = {}
    for name, array in input_layers(data).items():
        where = f"layer {name}"
        yield from _same_steps(array, where)
        times = _times(array)
        if times is None:
            if array.sizes["time"] > 1:
                yield Finding(
                    severity="warning",
                    code="dates-missing",
                    where=where,
                    words=f"It has {array.sizes['time']} time steps, of some or all of which no date is known. Look at "
                    "the items' times.",
                )
            continue
        starts, ends = times
        yield from _out_of_range(starts, ends, data.window.time_range, where)
        yield from _order(starts, where)
        yield from _other_items(starts, ends, data.layers[name], where)
        if len(starts) > 1 and (np.diff(starts) != np.timedelta64(0)).all():
            orders[name] = bool(starts[0] > starts[-1])
    if len(set(orders.values())) > 1:
        newest = ", ".join(name for name, reverse in orders.items() if reverse)
        yield Finding(
            severity="warning",
            code="dates-order",
            where="layers",
            words=f"{newest} begins with the newest image, other layers with the oldest.",
        )


def _times(array: xr.DataArray) -> tuple[Array, Array] | None:
    if "time" not in array.coords or array["time"].values.dtype.kind != "M":
        return None
    starts = array["time"].values
    if np.isnat(starts).any() or (starts <= np.datetime64("1970-01-02")).any():
        return None
    ends = array["time_end"].values if "time_end" in array.coords else starts
    return starts, np.where(np.isnat(ends), starts, ends)


def _same_steps(array: xr.DataArray, where: str) -> Iterator[Finding]:
    values, empty = array.values, is_empty(array)
    used = [step for step in range(len(values)) if not empty[step].all() and values[step].size >= 16]
    # Of the same bytes; a step of one value is another finding.
    groups: dict[bytes, list[int]] = {}
    for step in used:
        if any(np.ptp(band[np.isfinite(band)]) > 0 for band in values[step] if np.isfinite(band).any()):
            groups.setdefault(values[step].tobytes(), []).append(step)
    twice = [steps for steps in groups.values() if len(steps) > 1]
    if twice:
        count = sum(map(len, twice))
        yield Finding(
            severity="warning",
            code="steps-identical",
            where=where,
            words=f"{count} of {len(values)} time steps are the same to the last pixel: "
            f"{'; '.join(', '.join(map(str, steps)) for steps in twice[:4])}. One image was used again and again?",
            number=float(count),
        )


def _out_of_range(starts: Array, ends: Array, window: TimeRange | None, where: str) -> Iterator[Finding]:
    if window is None:
        return
    first, last = (np.datetime64(pd.Timestamp(one).tz_convert("UTC").tz_localize(None)) for one in window)
    outside = (ends < first) | (starts > last)
    if outside.any():
        days = ", ".join(str(one)[:10] for one in starts[outside][:6])
        severity: FindingSeverity = "warning"
        yield Finding(
            severity=severity,
            code="dates-range",
            where=where,
            words=f"{outside.sum()} of {plural(len(starts), 'time step')} lie outside the window's time range "
            f"{str(first)[:10]} to {str(last)[:10]}: {days}. That is in order only if dataset.json has a time_offset "
            "for the layer.",
            number=float(outside.sum()),
        )


def _order(starts: Array, where: str) -> Iterator[Finding]:
    if len(starts) < 2:
        return
    twice = len(starts) - len(np.unique(starts))
    if twice:
        yield Finding(
            severity="warning",
            code="dates-twice",
            where=where,
            words=f"Of {len(starts)} time steps {twice} have the date of another one.",
            number=float(twice),
        )
    steps = np.diff(starts)
    if (steps < np.timedelta64(0)).any() and (steps > np.timedelta64(0)).any():
        yield Finding(
            severity="warning",
            code="dates-order",
            where=where,
            words="Time steps are in no order: " + ", ".join(str(one)[:10] for one in starts[:12]) + ".",
        )
    elif (steps <= np.timedelta64(0)).all() and (steps < np.timedelta64(0)).any():
        yield Finding(
            severity="note",
            code="dates-newest-first",
            where=where,
            words="The newest image comes first. In order if it was so in training: rslearn's mosaics by period do "
            "that, "
            "time series of OlmoEarth go from the oldest to the newest.",
        )


def _other_items(starts: Array, ends: Array, layer: TraceLayer, where: str) -> Iterator[Finding]:
    """Items of other dates than the step that was made of them."""
    count = len(starts)
    dated = [(one.group, one.start, one.end or one.start) for one in layer.items if one.used and one.start and one.end]
    known = [(group, _utc(start), _utc(end)) for group, start, end in dated if group is not None and group < count]
    wrong = [(group, start, end) for group, start, end in known if ends[group] < start or starts[group] > end]
    if not wrong:
        return
    turned = all(ends[count - 1 - g] >= start and starts[count - 1 - g] <= end for g, start, end in known)
    hint = "The time series is turned round." if turned and count > 1 else "Dates and images don't belong together."
    yield Finding(
        severity="warning",
        code="dates-items",
        where=where,
        words=f"{plural(len(wrong), 'item')} of {len(known)} are of another date than their time step. {hint}",
        number=float(len(wrong)),
    )


def _utc(time: object) -> np.datetime64:
    stamp = pd.Timestamp(time)  # type: ignore[arg-type]
    return np.datetime64(stamp.tz_convert("UTC").tz_localize(None) if stamp.tzinfo is not None else stamp)
