"""A trace as layers of a map: imagery, what the model says, how sure it is, and what is true."""

from __future__ import annotations

from collections.abc import Iterator

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
import xarray as xr
from rasterio.enums import Resampling
from rslearn.utils.geometry import Projection

from olmoearth_nb.colors import RGB
from olmoearth_nb.legend import Legend
from olmoearth_nb.maps.frame import one_side
from olmoearth_nb.maps.grid import mosaic
from olmoearth_nb.maps.imagery import colored, stretch_over
from olmoearth_nb.maps.layers import Layer, LayerKind, PictureLayer, ShapeLayer, key_of_coloring
from olmoearth_nb.maps.overlay import Overlay, mercator_grid, pixels_overlay
from olmoearth_nb.maps.traced_colors import TraceColors
from olmoearth_nb.maps.traced_inputs import PanelChoice, image_of
from olmoearth_nb.maps.traced_objects import FOUND, LABELLED
from olmoearth_nb.maps.traced_outputs import output_panels
from olmoearth_nb.maps.traced_panels import Array, PixelMap, numbers
from olmoearth_nb.traces.data import TraceData, TraceOutput, TraceWindow
from olmoearth_nb.traces.pixels import input_layers, on_grid
from olmoearth_nb.types import PixelBounds

__all__ = ["trace_layers"]

_OUTLINE: RGB = (255, 255, 255)
# What is seen at first is what the model says; all else waits to be switched on.
_PARTS = {
    "label": LayerKind.LABELS,
    "prediction": LayerKind.PREDICTIONS,
    "values": LayerKind.PREDICTIONS,
    "confidence": LayerKind.CONFIDENCE,
    "entropy": LayerKind.CONFIDENCE,
    "margin": LayerKind.CONFIDENCE,
    "error": LayerKind.CONFIDENCE,
    "loss": LayerKind.CONFIDENCE,
    "seam": LayerKind.CONFIDENCE,
}
_SHOWN = ("prediction", "values")


def trace_layers(data: TraceData, *, choice: PanelChoice, legend: Legend | None = None) -> list[Layer]:
    """Layers of a map: imagery, prediction, confidence, entropy, label, error, loss, objects, the window's outline.

    Args:
        data: The trace.
        choice: The task (all if None), bands and time step of the imagery.
        legend: The project's legend; colours of our own without one.

    Raises:
        UsageError: If there is no such task, band or time step.
    """
    colors = TraceColors(data, legend)
    outputs = list(data.outputs.values()) if choice.task is None else [data.output(choice.task)]
    layers: list[Layer] = []
    for name, array in input_layers(data).items():
        shown = not layers
        layers.append(_imagery(data.window, name, array, choice if shown else PanelChoice(), shown=shown))
    for output in outputs:
        prefix = f"{output.task}: " if len(outputs) > 1 else ""
        layers += _pictures(data, output, colors, prefix)
        layers += _objects(output, prefix)
    return [*layers, _outline(data.window)]


def _imagery(window: TraceWindow, name: str, array: xr.DataArray, choice: PanelChoice, *, shown: bool) -> PictureLayer:
    values, date = image_of(array, choice.bands, step=choice.time_step)
    projection, bounds, pixels = _tile(window, values)
    grid = mercator_grid([(projection, bounds)])
    warped = mosaic(grid, [(projection, bounds, pixels)], count=len(pixels), resampling=Resampling.nearest)
    picture = Overlay(colored(warped, stretch_over([values])), grid.frame.bounds, photo=True)
    return PictureLayer(kind=LayerKind.IMAGERY, name=f"{name} {date}".strip(), picture=picture, shown=shown)


def _tile(window: TraceWindow, values: Array) -> tuple[Projection, PixelBounds, Array]:
    """Pixels (C, H, W) with their place: finer ones as they are, others at the window's resolution."""
    projection, (height, width) = window.projection, window.shape
    factor = values.shape[-2] // height
    if factor > 1 and values.shape[-2:] == (height * factor, width * factor):
        finer = Projection(projection.crs, projection.x_resolution / factor, projection.y_resolution / factor)
        x0, y0, x1, y1 = (end * factor for end in window.bounds)
        return finer, (x0, y0, x1, y1), values.astype(np.float32)
    placed = on_grid(values, window.shape)
    pixels = np.full((len(values), height, width), np.nan) if placed is None else placed
    return projection, window.bounds, pixels.astype(np.float32)


def _pictures(data: TraceData, output: TraceOutput, colors: TraceColors, prefix: str) -> Iterator[PictureLayer]:
    for name, kind in _PARTS.items():
        lost = None if output.loss is None else output.loss.map
        array: xr.DataArray | None = lost if name == "loss" else getattr(output, name)
        if array is None or array.dims != ("y", "x"):
            continue
        panels = output_panels(data, output, name, colors)
        coloring = panels[0].coloring if isinstance(panels[0], PixelMap) else colors.prediction(output)
        if coloring is None:
            continue
        picture = pixels_overlay([_tile(data.window, numbers(array)[np.newaxis])], coloring)
        # Prediction and label share a legend.
        title = f"{prefix}{name}" if name not in ("prediction", "values", "label") else output.task
        key = key_of_coloring(coloring, title=title)
        yield PictureLayer(kind=kind, name=prefix + name, key=key, picture=picture, shown=name in _SHOWN)


def _objects(output: TraceOutput, prefix: str) -> Iterator[ShapeLayer]:
    pairs: tuple[tuple[str, gpd.GeoDataFrame | None, RGB, LayerKind], ...] = (
        ("labelled objects", output.label_vectors, LABELLED, LayerKind.LABELS),
        ("found objects", output.vectors, FOUND, LayerKind.PREDICTIONS),
    )
    for name, table, color, kind in pairs:
        if table is None or not len(table):
            continue
        there = table[~(table.geometry.is_empty | table.geometry.isna())].to_crs("EPSG:4326")
        about = pd.DataFrame(there.drop(columns=there.geometry.name)).astype(object)
        about.insert(0, name, [f"{name[:-1]} {index}" for index in range(len(there))])
        yield ShapeLayer(
            kind=kind,
            name=f"{prefix}{name} ({len(there)})",
            shapes=one_side(there.geometry.to_numpy()),
            colors=[color] * len(there),
            about=about,
        )


def _outline(window: TraceWindow) -> ShapeLayer:
    table = window.outline()
    return ShapeLayer(
        kind=LayerKind.WINDOWS,
        name="window",
        shapes=np.array([shapely.force_2d(shape) for shape in one_side(table.geometry.to_numpy())]),
        colors=[_OUTLINE],
        about=pd.DataFrame({"name": [window.name], "group": [window.group]}),
        fill=0.0,
    )
