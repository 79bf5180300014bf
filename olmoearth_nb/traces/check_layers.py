"""Layers as they were read: what is missing, empty, constant, filled or coarser than it seems."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import xarray as xr

from olmoearth_nb.traces.data import TraceData
from olmoearth_nb.traces.fills import fill_values
from olmoearth_nb.traces.findings import Finding, FindingSeverity
from olmoearth_nb.traces.pixels import Array, Mask, input_layers, is_empty, plural

__all__ = ["check_layers"]

# Fewer values say little.
_MIN_PIXELS = 16
# Bands of Sentinel-2 whose own pixels are 10 m.
_TEN_METRES = re.compile(r"B0?[2348]|blue|green|red|nir", re.IGNORECASE)


def check_layers(data: TraceData) -> Iterator[Finding]:
    """Findings about layers as they were read.

    Args:
        data: The trace.
    """
    for name, layer in data.layers.items():
        if layer.role != "label" and layer.data is None and layer.features is None:
            reason = layer.reason or "No reason is known."
            yield Finding(
                severity="error", code="layer-missing", where=f"layer {name}", words=f"It is missing: {reason}"
            )
    constant = _constant_in_training(data)
    for name, array in input_layers(data).items():
        where = f"layer {name}"
        empty = is_empty(array)
        if empty.all():
            yield Finding(
                severity="error",
                code="all-nodata",
                where=where,
                words="All of it is nodata: the model has seen nothing. Look at the items of the layer, and whether "
                "the "
                "imagery reaches the window.",
                number=1.0,
            )
            continue
        yield from _empty_parts(array, empty, where)
        yield from _outside(empty, where)
        yield from _infinite(array, where)
        yield from _fill_values(array, empty, where)
        yield from _constant(array, empty, where, constant)
        yield from _blocks(array, where, abs(data.window.resolution[0]) * data.window.shape[1] / array.shape[-1])


def _constant_in_training(data: TraceData) -> set[str]:
    if data.training is None:
        return set()
    return {str(band) for band, std in zip(data.training["band"], data.training["std"], strict=True) if std == 0}


def _names(array: xr.DataArray) -> list[str]:
    return (
        [str(band) for band in array["band"].values] if "band" in array.coords else [*map(str, range(array.shape[1]))]
    )


def _empty_parts(array: xr.DataArray, empty: Mask, where: str) -> Iterator[Finding]:
    bands, steps = np.asarray(empty.all(axis=(0, 2, 3))), np.asarray(empty.all(axis=(1, 2, 3)))
    if bands.any():
        named = ", ".join(name for name, none in zip(_names(array), bands, strict=True) if none)
        yield Finding(
            severity="error",
            code="band-nodata",
            where=where,
            words=f"All of {named} is nodata, and other bands are not. Look at the bands' files and at the band_sets "
            "of "
            "dataset.json.",
            number=float(bands.mean()),
        )
    if steps.any():
        yield Finding(
            severity="warning",
            code="step-nodata",
            where=where,
            words=f"{steps.sum()} of {plural(len(steps), 'time step')} hold nothing but nodata: "
            f"{_steps(array, np.flatnonzero(steps))}.",
            number=float(steps.mean()),
        )


def _steps(array: xr.DataArray, indices: Array) -> str:
    dates = array["time"].values if "time" in array.coords else None
    dated = dates is not None and dates.dtype.kind == "M"
    texts = [f"step {i} ({str(dates[i])[:10]})" if dated and dates is not None else f"step {i}" for i in indices[:6]]
    return ", ".join(texts) + (" and more" if len(indices) > 6 else "")


def _outside(empty: Mask, where: str) -> Iterator[Finding]:
    nothing = np.asarray(empty.all(axis=(0, 1)))
    share = float(nothing.mean())
    if share < 0.01:
        return
    edges = {
        "north": nothing[0].mean(),
        "south": nothing[-1].mean(),
        "west": nothing[:, 0].mean(),
        "east": nothing[:, -1].mean(),
    }
    sides = ", ".join(f"{side} {part:.0%}" for side, part in edges.items())
    severity: FindingSeverity = "warning" if share > 0.25 else "note"
    if max(edges.values()) > 0.3:
        words = (
            f"{share:.0%} of the window has no imagery at any time; of its sides without: {sides}. The window reaches "
            "beyond the imagery. Look at the footprints of the items."
        )
        yield Finding(severity=severity, code="outside-imagery", where=where, words=words, number=share)
    elif share > 0.05:
        words = f"{share:.0%} of the window is nodata at every time, not along one side: clouds or a mask?"
        yield Finding(severity=severity, code="much-nodata", where=where, words=words, number=share)


def _infinite(array: xr.DataArray, where: str) -> Iterator[Finding]:
    values = array.values
    if values.dtype.kind != "f":
        return
    infinite = float(np.isinf(values).mean())
    if infinite:
        words = f"{infinite:.2%} of its values are infinite: a division by zero or a logarithm of 0 before?"
        yield Finding(severity="error", code="infinite", where=where, words=words, number=infinite)
    nans = float(np.isnan(values).mean())
    nodata = array.attrs.get("nodata")
    if nans and not (nodata is not None and np.isnan(nodata)):
        words = (
            f"{nans:.2%} of its values are NaN, which is not what the layer declares as nodata. NaN spreads in a model."
        )
        yield Finding(severity="error", code="nan", where=where, words=words, number=nans)


def _fill_values(array: xr.DataArray, empty: Mask, where: str) -> Iterator[Finding]:
    for fill, masks in fill_values(array.values, empty).items():
        share = max(float(mask.mean()) for mask in masks.values())
        words = (
            f"{share:.1%} of the pixels are {fill:g}, far from all others, in {plural(len(masks), 'band')}. That looks "
            "like nodata that nobody declared: set nodata_value of the band set in dataset.json."
        )
        yield Finding(severity="warning", code="fill-value", where=where, words=words, number=fill)


def _constant(array: xr.DataArray, empty: Mask, where: str, usual: set[str]) -> Iterator[Finding]:
    flat: dict[str, list[str]] = {}
    for index, name in enumerate(_names(array)):
        band, valid = array.values[:, index], ~empty[:, index]
        steps = [
            step
            for step in range(len(band))
            if valid[step].sum() >= _MIN_PIXELS and np.ptp(band[step][valid[step]]) == 0
        ]
        if name in usual or not steps:
            continue
        value = band[steps[0]][valid[steps[0]]][0]
        every = len(steps) == sum(valid[step].sum() >= _MIN_PIXELS for step in range(len(band)))
        flat.setdefault("at every time" if every else f"at {_steps(array, np.array(steps))}", []).append(
            f"{name} ({value:g})"
        )
    for when, names in flat.items():
        if when == "at every time" and len(names) == array.sizes["band"] == 1 and array.values.dtype.kind in "bu":
            severity: FindingSeverity = "note"  # A mask or a class may well be the same everywhere.
        else:
            severity = "warning"
        words = f"{', '.join(names)} has the same value everywhere {when}. Look at the file of the band."
        yield Finding(severity=severity, code="constant-band", where=where, words=words, number=float(len(names)))


def _blocks(array: xr.DataArray, where: str, size: float) -> Iterator[Finding]:
    factors = {name: _block_size(array.values[:, index]) for index, name in enumerate(_names(array))}
    wrong = {name: k for name, k in factors.items() if k > 1 and _TEN_METRES.fullmatch(name) and size <= 10.5}
    everything = all(k > 1 for k in factors.values())
    if everything or wrong:
        yield _blocky(factors if everything else wrong, where, size, sure=bool(wrong) and size > 5)


def _blocky(factors: Mapping[str, int], where: str, size: float, *, sure: bool) -> Finding:
    sizes = sorted(set(factors.values()))
    blocks = " and ".join(f"{k} × {k}" for k in sizes)
    return Finding(
        severity="warning" if sure else "note",
        code="blocky",
        where=where,
        words=f"Pixels of {', '.join(list(factors)[:8])} come in equal blocks of {blocks}: the imagery is coarser "
        f"({' and '.join(f'{k * size:g}' for k in sizes)}) than the pixels of {size:g} that it is read in.",
        number=float(sizes[-1]),
    )


def _block_size(band: Array) -> int:
    """Side of the blocks that pixels come in, 1 if they don't."""
    step = band[np.argmax([np.ptp(one[np.isfinite(one)]) if np.isfinite(one).any() else 0 for one in band])]
    if min(step.shape) < 12:
        return 1
    # Where a row or a column is not like the one before.
    columns, rows = (step[:, 1:] != step[:, :-1]).mean(axis=0), (step[1:] != step[:-1]).mean(axis=1)
    for k in (16, 10, 8, 6, 5, 4, 3, 2):
        if min(step.shape) >= 3 * k and _changes_every(columns, k) and _changes_every(rows, k):
            return k
    return 1


def _changes_every(changes: Array, k: int) -> bool:
    for phase in range(k):
        on_edge = (np.arange(len(changes)) + 1 + phase) % k == 0
        if on_edge.any() and changes[on_edge].mean() > 0.5 and not changes[~on_edge].any():
            return True
    return False
