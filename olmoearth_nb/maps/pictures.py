"""Imagery, labels, predictions, confidence and masks as layers of a map."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio
import shapely
from rasterio.enums import ColorInterp
from rslearn.dataset import Dataset, Window

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InputFileError
from olmoearth_nb.globe import WGS84_PROJECTION, shape_array
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend, RangeLegend
from olmoearth_nb.maps.features import CONFIDENCE_COLORMAP, full_confidence
from olmoearth_nb.maps.frame import Bounds, MapFrame, frame_around, one_side
from olmoearth_nb.maps.imagery import ImageryView, with_layer
from olmoearth_nb.maps.labels import LabelView, WindowLabels, field_of, read_labels
from olmoearth_nb.maps.layers import Key, Layer, LayerKind, PictureLayer, ShapeLayer, TileSource, key_of_coloring
from olmoearth_nb.maps.mercator import to_mercator
from olmoearth_nb.maps.overlay import (
    OUTSIDE_MASK,
    Overlay,
    geotiff_imagery_overlay,
    geotiff_overlay,
    imagery_overlay,
    mask_overlay,
    mercator_grid,
    pixels_overlay,
)
from olmoearth_nb.maps.prediction import raster_field
from olmoearth_nb.maps.results import geotiff_place, read_geotiffs
from olmoearth_nb.maps.style import Coloring, coloring_of, colors_for, painted
from olmoearth_nb.postprocess.mask import Mask

__all__ = ["geotiff_layers", "imagery_layer", "labels_layer", "mask_layer"]

Paths = Sequence[str | PathLike[str]]

# Reading a window takes some milliseconds; a map should be there in two seconds.
_MOST_WINDOWS = 400
# A ramp does not shrink as classes do.
_CONFIDENCE_PIXELS = 1024
_BYTE = 255


def _few(windows: Sequence[Window], layer: str, what: str) -> tuple[list[Window], str]:
    """The first windows that have a layer, and a word on the others."""
    there = with_layer(windows[:_MOST_WINDOWS], layer)
    if len(windows) <= _MOST_WINDOWS:
        return there, ""
    return there, f"{what}: the first {_MOST_WINDOWS} of {len(windows):,} windows; give ids for that of others."


def imagery_layer(dataset: Dataset, windows: Sequence[Window], view: ImageryView | None = None) -> PictureLayer | None:
    """The imagery of windows; of very many, of the first few hundred.

    Args:
        dataset: The dataset of the windows.
        windows: Those without imagery are left out.
        view: Layer, bands, time step, stretch.

    Returns:
        The layer, or None if none of them has imagery.

    Raises:
        UsageError: If there is no such layer, band or time step.
    """
    view = view or ImageryView()
    layer, bands = view.resolved(dataset)
    there, note = _few(windows, layer, "imagery")
    if not there:
        return None
    step = f", time step {view.time_step}" if view.time_step else ""
    return PictureLayer(
        kind=LayerKind.IMAGERY,
        name=f"{layer}: {', '.join(bands)}{step}",
        picture=imagery_overlay(dataset, there, view),
        note=note,
    )


def labels_layer(
    dataset: Dataset, windows: Sequence[Window], labels: LabelView, *, kind: LayerKind = LayerKind.LABELS
) -> Layer | None:
    """The labels of windows, or what the model wrote for them; of very many, of the first few hundred.

    Args:
        dataset: The dataset of the windows.
        windows: Those without this layer are left out.
        labels: Which labels.
        kind: ``LABELS`` or ``PREDICTIONS``.

    Returns:
        A picture of raster labels, shapes of vector labels, None if no window has any.

    Raises:
        UsageError: If there is no such layer or band.
        StorageError: If one can't be read.
    """
    there, note = _few(windows, labels.layer, labels.layer)
    if not there:
        return None
    found = [read_labels(dataset, window, labels) for window in there]
    field = field_of(labels.legend, name=found[0].name) or field_of(labels.legend, band=1)
    if found[0].pixels is None:
        return _shapes_layer(there, found, field, kind=kind, name=f"{labels.layer}: {found[0].name}", note=note)
    tiles = [
        (window.projection, window.bounds, one.pixels[np.newaxis])
        for window, one in zip(there, found, strict=True)
        if one.pixels is not None
    ]
    coloring = coloring_of(np.concatenate([pixels.ravel() for *_, pixels in tiles]), field)
    return PictureLayer(
        kind=kind,
        name=f"{labels.layer}: {found[0].name}",
        picture=pixels_overlay(tiles, coloring),
        key=key_of_coloring(coloring, title=found[0].name),
        note=note,
    )


def _shapes_layer(
    windows: Sequence[Window],
    found: Sequence[WindowLabels],
    field: ClassLegend | RangeLegend | None,
    *,
    kind: LayerKind,
    name: str,
    note: str,
) -> ShapeLayer:
    degrees = MapFrame(WGS84_PROJECTION.crs, (-180.0, -90.0, 180.0, 90.0))
    shapes = [degrees.from_pixels(w.projection, one.shapes) for w, one in zip(windows, found, strict=True)]
    values = [value for one in found for value in one.values]
    coloring = coloring_of(values, field)
    names = [window.name for window, one in zip(windows, found, strict=True) for _ in one.values]
    return ShapeLayer(
        kind=kind,
        name=name,
        shapes=one_side(np.concatenate(shapes).tolist()),
        colors=colors_for(values, coloring),
        about=pd.DataFrame({"window": names, found[0].name: values}),
        fill=0.5,
        key=key_of_coloring(coloring, title=found[0].name),
        note=note,
    )


def geotiff_layers(
    paths: Paths,
    legend: Legend | None = None,
    *,
    field: str | None = None,
    view: ImageryView | None = None,
) -> list[Layer]:
    """Raster results in the colours of the legend and their confidence; without a legend, what the files look like.

    Files of three bands or more that no legend explains are shown as imagery. A colour table in the file counts as a
    legend.

    Args:
        paths: GeoTIFFs.
        legend: The project's legend.
        field: Which field of the legend; the first one if None.
        view: Stretch of imagery.

    Raises:
        InputFileError: If there is no file, or one can't be read.
        UsageError: If there is no such field.
    """
    files = [Path(path) for path in paths]
    if not files:
        raise InputFileError("There is no GeoTIFF to show.", fix="Run the steps up to runner.combine() first.")
    chosen = raster_field(legend, field)
    title = files[0].name if len(files) == 1 else f"{files[0].name} and {len(files) - 1} more"
    bands = _colors_in(files[0]) if chosen is None else None
    if bands is not None:
        picture = geotiff_imagery_overlay(files, bands, view=view)
        return [PictureLayer(kind=LayerKind.IMAGERY, name=title, picture=picture)]
    named = chosen or _color_table(files[0])
    number = (named.band_index if named else None) or 1
    picture, coloring = geotiff_overlay(files, named, band=number)
    name = named.property_name if named else title
    result = PictureLayer(
        kind=LayerKind.PREDICTIONS,
        name=f"prediction: {name}",
        picture=picture,
        source=_tile_source(files, number, coloring, named),
        key=key_of_coloring(coloring, title=name),
    )
    band = named.confidence_band_index if isinstance(named, ClassLegend) else None
    return [result] if band is None else [result, _confidence_layer(files, band)]


def _tile_source(
    files: Sequence[Path], band: int, coloring: Coloring, legend: ClassLegend | RangeLegend | None
) -> TileSource | None:
    """The files for tiles, unless they have classes beyond a byte."""
    if isinstance(coloring, RangeLegend):
        return TileSource(paths=tuple(files), band=band, legend=coloring)
    if not all(isinstance(value, int) and 0 <= value <= _BYTE for value in coloring.colors):
        return None
    return TileSource(paths=tuple(files), band=band, legend=legend or ClassLegend("value", None, ()))


def _colors_in(path: Path) -> tuple[int, ...] | None:
    """Bands to show as red, green and blue, if it looks as if there are."""
    with foreign_code(InputFileError, "The GeoTIFF can't be read", where=str(path)), rasterio.open(path) as source:
        meant = list(source.colorinterp)
        count = source.count
    wanted = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
    if set(wanted) <= set(meant):
        return tuple(meant.index(color) + 1 for color in wanted)
    # Sensors number their bands from blue to red.
    return (3, 2, 1) if count >= 3 else None


def _color_table(path: Path) -> ClassLegend | None:
    """The colour table of a file as a legend."""
    with foreign_code(InputFileError, "The GeoTIFF can't be read", where=str(path)), rasterio.open(path) as source:
        if source.colorinterp[0] != ColorInterp.palette:
            return None
        table = source.colormap(1)
    entries = (ClassEntry(value, str(value), (red, green, blue)) for value, (red, green, blue, _) in table.items())
    return ClassLegend("value", 1, tuple(entries))


def _confidence_layer(files: Sequence[Path], band: int) -> PictureLayer:
    grid = mercator_grid([geotiff_place(path, band) for path in files], max_pixels=_CONFIDENCE_PIXELS)
    _, pixels = read_geotiffs(files, band=band, grid=grid)
    scale = RangeLegend("confidence", band, 0.0, full_confidence(pixels), CONFIDENCE_COLORMAP)
    return PictureLayer(
        kind=LayerKind.CONFIDENCE,
        name="confidence",
        picture=Overlay(painted(pixels[0], scale), grid.frame.bounds),
        shown=False,
        key=Key("confidence", scale=scale),
    )


def mask_layer(mask: Mask, around: Bounds) -> PictureLayer:
    """What a mask leaves out, dark.

    Args:
        mask: The mask.
        around: West, south, east, north in degrees of the area to show; a margin is added.
    """
    frame = frame_around(shape_array([shapely.box(*around)]))
    west, south, east, north = frame.bounds
    (left, bottom), (right, top) = to_mercator(np.array([(west, south), (east, north)])).tolist()
    return PictureLayer(
        kind=LayerKind.MASK,
        name="outside of the mask",
        picture=mask_overlay(mask, (left, bottom, right, top)),
        opacity=0.8,
        key=Key("", (("outside of the mask", OUTSIDE_MASK),)),
    )
