"""Layers as read, and the model's inputs after each transform, as panels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pandas as pd
import xarray as xr

from olmoearth_nb.errors import UsageError
from olmoearth_nb.legend import RangeLegend
from olmoearth_nb.maps.imagery import colored, composite_of, stretch_over
from olmoearth_nb.maps.style import category_colors, coloring_of
from olmoearth_nb.maps.traced_colors import TraceColors
from olmoearth_nb.maps.traced_panels import Array, Histogram, Lines, Panel, PixelMap, colored_map, numbers, spread
from olmoearth_nb.traces.data import TraceData, TraceLayer, TraceStage

__all__ = [
    "PanelChoice",
    "band_names",
    "dates_of",
    "image_of",
    "layer_panels",
    "stage_panels",
    "step_lines",
    "thumbnail",
]

_MOST_VALUES = 200_000
_PERCENTILES = (2.0, 98.0)
Bands: TypeAlias = str | Sequence[str] | None
"""A band, or three as red, green and blue; None for a choice of our own."""


@dataclass(frozen=True, kw_only=True)
class PanelChoice:
    """What of a stop is shown.

    Attributes:
        task: For which task; None for the only one.
        bands: See :data:`Bands`.
        time_step: Which one, counted from 0; None for all of layers and for the one with the most data of inputs.
        channel: Which channel of features; None for their first three principal components.
    """

    task: str | None = None
    bands: Bands = None
    time_step: int | None = None
    channel: int | None = None


def layer_panels(layer: TraceLayer, choice: PanelChoice, colors: TraceColors) -> list[Panel]:
    """A raster layer through time, one picture a time step; of windows with a single pixel lines.

    Args:
        layer: A layer that has pixels.
        choice: Bands and time step.
        colors: Colours of the project.

    Raises:
        UsageError: If it has no such band or time step.
    """
    data = layer.data
    if data is None or not data.size:
        return []
    if layer.role == "label" and choice.bands is None:
        values = numbers(data)
        coloring = coloring_of(values[0, 0], colors.label_field)
        return [
            colored_map(f"{layer.name} {name}".strip(), values[0, at], coloring)
            for at, name in enumerate(band_names(data))
        ]
    if data.shape[-2:] == (1, 1):
        return [step_lines(layer.name, data)]
    return list(_strip(layer.name, data, choice))


def _strip(name: str, data: xr.DataArray, choice: PanelChoice) -> list[PixelMap]:
    """One picture a time step, all in one stretch so that dates can be compared."""
    names = band_names(data)
    picked = _picked(name, names, choice.bands) if choice.bands is not None else composite_of(names)
    values = _images(data, picked)
    steps = _steps(name, data, choice.time_step)
    stretch = stretch_over(list(values), _PERCENTILES)
    dates = dates_of(data)
    single = len(picked) == 1
    scale = RangeLegend(picked[0], None, stretch.low[0], stretch.high[0], "gray") if single else None
    return [
        PixelMap(
            title=dates[step],
            rgba=colored(values[step], stretch),
            caption=_share(values[step]) or (f"{name} {', '.join(picked)}" if step == steps[0] else ""),
            coloring=scale,
        )
        for step in steps
    ]


def thumbnail(data: xr.DataArray, *, step: int | None = None) -> tuple[Array, str]:
    """A first look at a layer, see :func:`image_of`.

    Args:
        data: (time, band, y, x).
        step: Another time step.

    Returns:
        (H, W, 4), and its date.
    """
    values, date = image_of(data, step=step)
    return colored(values, stretch_over([values])), date


def image_of(data: xr.DataArray, bands: Bands = None, *, step: int | None = None) -> tuple[Array, str]:
    """An image of a layer.

    Args:
        data: (time, band, y, x).
        bands: Which ones; natural colours where it has them if None.
        step: Which time step; the one with the most data if None.

    Returns:
        (1, H, W) or (3, H, W), NaN where there is nothing, and its date.

    Raises:
        UsageError: If there is no such band or time step.
    """
    names = band_names(data)
    values = _images(data, composite_of(names) if bands is None else _picked("the imagery", names, bands))
    best = int(np.isfinite(values).sum(axis=(1, 2, 3)).argmax())
    best = best if step is None else _steps("the imagery", data, step)[0]
    return values[best], dates_of(data)[best]


def stage_panels(data: TraceData, stage: TraceStage, choice: PanelChoice, colors: TraceColors) -> list[Panel]:
    """The inputs after a transform: one picture a band with its range, or bands of one's choice through time.

    Args:
        data: The trace, for what training windows had.
        stage: The stage.
        choice: Bands and time step.
        colors: Colours of the project.

    Raises:
        UsageError: If no input has such a band or time step.
    """
    wanted = [choice.bands] if isinstance(choice.bands, str) else list(choice.bands or ())
    images = {name: one for name, one in stage.inputs.items() if one.dims == ("time", "band", "y", "x") and one.size}
    mine = {name: one for name, one in images.items() if not wanted or set(wanted) & set(band_names(one))}
    if wanted and not mine:
        known = dict.fromkeys(band for one in images.values() for band in band_names(one))
        raise UsageError(
            "The inputs have no such band.", expected=f"one of {', '.join(known)}", found=", ".join(wanted)
        )
    panels: list[Panel] = []
    for name, array in mine.items():
        if wanted:
            panels += _strip(name, array, choice)
        elif array.shape[-2:] == (1, 1):
            panels.append(step_lines(name, array))
        else:
            panels += _band_maps(data, stage, name, array, choice.time_step, several=len(mine) > 1)
    if not wanted:
        panels += [one for name, array in stage.inputs.items() if name not in images for one in _other(name, array)]
        panels += [one for name, array in stage.targets.items() for one in _target(name, array, colors)]
    return panels


def _band_maps(
    data: TraceData, stage: TraceStage, name: str, array: xr.DataArray, time_step: int | None, *, several: bool
) -> list[Panel]:
    values = numbers(array)
    step = int(np.isfinite(values).sum(axis=(1, 2, 3)).argmax())
    if time_step is not None:
        step = _steps(name, array, time_step)[0]
    panels: list[Panel] = []
    for index, band in enumerate(band_names(array)):
        scale = spread(values[step, index], band, colormap="gray", percentiles=_PERCENTILES)
        panels.append(
            PixelMap(
                title=f"{name} {band}" if several else band,
                rgba=scale.colors_of(values[step, index]),
                caption=_range_text(stage.stats, name, band),
                histogram=Histogram(_sample(values[:, index]), _usual(data, stage, name, band)),
            )
        )
    return panels


def _range_text(stats: pd.DataFrame, name: str, band: str) -> str:
    row = stats[(stats["input"] == name) & (stats["band"].astype(str) == band)] if len(stats) else stats
    if not len(row):
        return ""
    return ", ".join(f"{column} {float(row[column].iloc[0]):.3g}" for column in ("min", "mean", "max"))


def _usual(data: TraceData, stage: TraceStage, name: str, band: str) -> tuple[float, float] | None:
    """Where the values of training windows lie after the transforms, as far as those of this window tell.

    What is known are the values as read; a transform that maps them along a line maps their range along it too.
    """
    table = data.training
    if table is None or not data.stages or name not in data.stages[0].inputs:
        return None
    row = table[(table["input"] == name) & (table["band"].astype(str) == band)]
    before, after = data.stages[0].inputs[name], stage.inputs[name]
    if not len(row) or before.shape != after.shape or band not in band_names(before):
        return None
    at = band_names(before).index(band)
    x, y = (
        _sample(numbers(before)[:, at], paired=True),
        _sample(numbers(after)[:, band_names(after).index(band)], paired=True),
    )
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    if x.size < 3 or np.ptp(x) == 0:
        return None
    slope, start = np.polyfit(x, y, 1)
    if np.abs(slope * x + start - y).max() > 1e-3 * max(float(np.ptp(y)), 1e-12):
        return None
    ends = sorted(float(slope * row[column].iloc[0] + start) for column in ("p01", "p99"))
    return ends[0], ends[1]


def _sample(values: Array, *, paired: bool = False) -> Array:
    flat = values.ravel()[:: max(1, values.size // _MOST_VALUES)]
    return flat if paired else flat[np.isfinite(flat)]


def _other(name: str, array: xr.DataArray) -> list[Panel]:
    """Inputs that are no images."""
    values = array.values
    if values.dtype.kind not in "iufb" or not values.size:
        return []
    if {"y", "x"} <= set(array.dims) and array.dims[-2:] == ("y", "x"):
        flat = values.astype(np.float64).reshape(-1, *values.shape[-2:])
        return [
            colored_map(f"{name} {index}" if len(flat) > 1 else name, one, spread(one, name, colormap="gray"))
            for index, one in enumerate(flat[:64])
        ]
    flat = values.astype(np.float64).ravel()
    return [
        Lines(
            title=name, steps=tuple(map(str, range(flat.size))), lines=((name, tuple(flat.tolist()), (44, 111, 187)),)
        )
    ]


def _target(name: str, array: xr.DataArray, colors: TraceColors) -> list[Panel]:
    if array.dims[-2:] != ("y", "x") or array.dtype.kind not in "iufb" or not array.size:
        return []
    values = array.values.astype(np.float64).reshape(-1, *array.shape[-2:])
    return [colored_map(f"target {name}", values[0], colors.of_target(name, values[0]))]


def step_lines(title: str, data: xr.DataArray, pixel: tuple[int, int] = (0, 0)) -> Lines:
    """Bands of one pixel through time; along the bands if there is one time step.

    Args:
        title: What they are.
        data: (time, band, y, x).
        pixel: Row and column of the array.
    """
    values = numbers(data[:, :, pixel[0] : pixel[0] + 1, pixel[1] : pixel[1] + 1])[:, :, 0, 0]
    names = band_names(data)
    colors = category_colors(names)
    if len(values) == 1:
        date = dates_of(data)[0]
        return Lines(title=title, steps=tuple(names), lines=((date, tuple(values[0].tolist()), (44, 111, 187)),))
    lines = tuple((name, tuple(values[:, at].tolist()), colors[name]) for at, name in enumerate(names))
    return Lines(title=title, steps=tuple(dates_of(data)), lines=lines)


def band_names(data: xr.DataArray) -> list[str]:
    """Names of bands, numbers where they have none.

    Args:
        data: With ``band``.
    """
    if "band" in data.coords:
        return [str(name) for name in data["band"].values]
    return [str(index) for index in range(data.sizes["band"])]


def dates_of(data: xr.DataArray) -> list[str]:
    """The day on which each time step begins, or its number.

    Args:
        data: With ``time``.
    """
    if "time" not in data.coords:
        several = data.sizes["time"] > 1
        return [f"step {index}" if several else "" for index in range(data.sizes["time"])]
    return ["" if pd.isna(one) else pd.Timestamp(one).strftime("%Y-%m-%d") for one in data["time"].values]


def _images(data: xr.DataArray, picked: Sequence[str]) -> Array:
    """(time, C, H, W); nothing where all bands of a picture are nodata. Imagery without nodata has 0 there."""
    names = band_names(data)
    values = data.values[:, [names.index(band) for band in picked]].astype(np.float32)
    nodata = float(data.attrs.get("nodata", 0.0 if data.dtype.kind == "u" else np.nan))
    empty = (values == nodata).all(axis=1, keepdims=True)
    return np.where(empty, np.float32(np.nan), values)


def _share(values: Array) -> str:
    nothing = float((~np.isfinite(values)).all(axis=0).mean())
    return f"{nothing:.0%} nodata" if nothing >= 0.005 else ""


def _picked(where: str, names: Sequence[str], bands: str | Sequence[str]) -> tuple[str, ...]:
    picked = (bands,) if isinstance(bands, str) else tuple(bands)
    if len(picked) not in (1, 3):
        raise UsageError("A picture has one band or three.", found=f"{len(picked)} bands")
    missing = [band for band in picked if band not in names]
    if missing:
        raise UsageError("There is no such band.", where=where, expected=f"one of {', '.join(names)}", found=missing[0])
    return picked


def _steps(where: str, data: xr.DataArray, time_step: int | None) -> list[int]:
    count = data.sizes["time"]
    if time_step is None:
        return list(range(count))
    if not -count <= time_step < count:
        raise UsageError("There is no such time step.", where=where, expected=f"0 to {count - 1}", found=str(time_step))
    return [time_step % count]
