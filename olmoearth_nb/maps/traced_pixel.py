"""One pixel of a window through all stages: what the explorer shows beside its pictures."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyproj
import xarray as xr

from olmoearth_nb.colors import RGB
from olmoearth_nb.maps.traced_colors import TraceColors
from olmoearth_nb.maps.traced_inputs import step_lines
from olmoearth_nb.maps.traced_objects import objects_at
from olmoearth_nb.maps.traced_outputs import score_bars
from olmoearth_nb.maps.traced_panels import Bars, Lines, numbers
from olmoearth_nb.traces.data import TraceData, TraceOutput

__all__ = ["Fact", "PixelValues", "place_in", "read_pixel"]


@dataclass(frozen=True)
class Fact:
    """One line on a pixel.

    Attributes:
        name: What it is.
        text: Its value.
        color: Of its class, if it has one.
    """

    name: str
    text: str
    color: RGB | None = None


@dataclass(frozen=True)
class PixelValues:
    """What all stages have at a pixel.

    Attributes:
        pixel: Row and column, counted from the upper left corner of the window.
        place: Where it lies, in words.
        facts: What the model says there, and what is true.
        series: Bands as read, then after each transform that changes them.
        bars: Logits and probabilities.
    """

    pixel: tuple[int, int]
    place: str
    facts: tuple[Fact, ...]
    series: tuple[Lines, ...]
    bars: tuple[Bars, ...]


def read_pixel(data: TraceData, colors: TraceColors, pixel: tuple[int, int], task: str | None = None) -> PixelValues:
    """What all stages have at a pixel.

    Args:
        data: The trace.
        colors: Colours of the project.
        pixel: Row and column in pixels of the window.
        task: For which task; None for the only one, if there is one.
    """
    output = data.outputs.get(task) if task is not None else next(iter(data.outputs.values()), None)
    bars = () if output is None else tuple(_bars(data, output, colors, pixel))
    facts = [] if output is None else [*_answers(data, output, colors, pixel), *_scores(data, output, pixel)]
    facts += _written(data, pixel)
    return PixelValues(pixel, _place(data, pixel), tuple(facts), tuple(_series(data, pixel)), bars)


def place_in(array: xr.DataArray, data: TraceData, pixel: tuple[int, int]) -> tuple[int, int]:
    """Row and column of an array, which covers the window at any resolution, of a pixel of the window.

    Args:
        array: With ``y`` and ``x`` last.
        data: The trace.
        pixel: Row and column in pixels of the window.
    """
    row, column = (
        (2 * at + 1) * size // (2 * whole)
        for at, size, whole in zip(pixel, array.shape[-2:], data.window.shape, strict=True)
    )
    return row, column


def _at(array: xr.DataArray | None, data: TraceData, pixel: tuple[int, int]) -> float:
    """The value there, or that of the window; NaN if there is none."""
    if array is None:
        return math.nan
    if array.dims == ("y", "x"):
        row, column = place_in(array, data, pixel)
        array = array[row, column]
    return float(numbers(array)) if array.ndim == 0 else math.nan


@functools.cache
def _to_degrees(crs: str) -> pyproj.Transformer:
    return pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)


def _place(data: TraceData, pixel: tuple[int, int]) -> str:
    a, _, c, _, e, f = data.window.transform
    x, y = c + a * (pixel[1] + 0.5), f + e * (pixel[0] + 0.5)
    lon, lat = _to_degrees(data.window.crs).transform(x, y)
    text = f"row {pixel[0]}, column {pixel[1]}"
    if not math.isfinite(lon):
        return text
    return f"{text} · {abs(lat):.5f}° {'N' if lat >= 0 else 'S'}, {abs(lon):.5f}° {'E' if lon >= 0 else 'W'}"


def _series(data: TraceData, pixel: tuple[int, int]) -> Iterator[Lines]:
    """The first inputs, then those that differ from those before at this pixel."""
    before: dict[str, Any] = {}
    for stage in data.stages:
        for name, array in stage.inputs.items():
            if array.dims != ("time", "band", "y", "x") or not array.size:
                continue
            row, column = place_in(array, data, pixel)
            here = numbers(array[:, :, row : row + 1, column : column + 1])
            if name in before and np.array_equal(before[name], here, equal_nan=True):
                continue
            title = f"{name} as read" if name not in before else f"{name} after {stage.name}"
            before[name] = here
            yield step_lines(title, array, (row, column))
    if not data.stages:
        for name, layer in data.layers.items():
            if layer.data is not None and layer.role != "label" and layer.data.size:
                yield step_lines(f"{name} as read", layer.data, place_in(layer.data, data, pixel))


def _bars(data: TraceData, output: TraceOutput, colors: TraceColors, pixel: tuple[int, int]) -> Iterator[Bars]:
    for name in ("logits", "probabilities"):
        array: xr.DataArray | None = getattr(output, name)
        if array is not None and "class" in array.dims:
            yield score_bars(
                output, name, colors, place_in(array, data, pixel) if array.dims[-2:] == ("y", "x") else None
            )


def _answers(data: TraceData, output: TraceOutput, colors: TraceColors, pixel: tuple[int, int]) -> Iterator[Fact]:
    """What the model says, and what is true."""
    palette = colors.class_colors(output)
    for name, text in objects_at(data, output, colors, pixel).items():
        yield Fact(name, text)
    for name, array in (("prediction", output.prediction), ("value", output.values), ("label", output.label)):
        value = _at(array, data, pixel)
        if array is None:
            continue
        if math.isnan(value):
            yield Fact(name, "none")
        elif output.classes and name != "value":
            index = int(value)
            known = 0 <= index < len(output.classes)
            yield Fact(name, output.classes[index] if known else f"class {index}", palette[index] if known else None)
        else:
            yield Fact(name, f"{value:.5g}")


def _scores(data: TraceData, output: TraceOutput, pixel: tuple[int, int]) -> Iterator[Fact]:
    """How sure the model is, and how far off."""
    if output.logits is not None and "class" not in output.logits.dims:
        yield Fact("raw value", f"{_at(output.logits, data, pixel):.5g}")
    for name in ("confidence", "entropy", "margin", "seam"):
        value = _at(getattr(output, name), data, pixel)
        if not math.isnan(value):
            yield Fact(name, f"{value:.4g}")
    if not output.classes and output.error is not None:
        yield Fact("error", f"{_at(output.error, data, pixel):+.4g}")
    if output.loss is not None:
        share = _at(output.loss.map, data, pixel)
        text = (
            f"{share:.3g} of {output.loss.total:.4g}" if not math.isnan(share) else f"{output.loss.total:.4g} in total"
        )
        yield Fact("loss", text)


def _written(data: TraceData, pixel: tuple[int, int]) -> list[Fact]:
    raster = None if data.written is None else data.written.raster
    if raster is None or raster.dims != ("band", "y", "x"):
        return []
    row, column = place_in(raster, data, pixel)
    values = raster.values[:, row, column].tolist()
    facts = [Fact("written", ", ".join(f"{value:.5g}" for value in values[:8]) + ("…" if len(values) > 8 else ""))]
    if data.merged_from is not None and data.merged_from.shape == data.window.shape:
        facts.append(Fact("from crop", str(int(data.merged_from.values[pixel]))))
    return facts
