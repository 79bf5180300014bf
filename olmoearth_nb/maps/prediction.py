"""Combined results on a map."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import cast

import geopandas as gpd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InputFileError, UsageError
from olmoearth_nb.legend import ClassLegend, Legend, RangeLegend
from olmoearth_nb.maps.canvas import Picture, add_key_of, draw_pixels, map_axes
from olmoearth_nb.maps.frame import MapFrame, frame_around, one_side
from olmoearth_nb.maps.labels import field_of, property_of
from olmoearth_nb.maps.results import read_geotiffs
from olmoearth_nb.maps.shapes import OUTLINE, RequestSource, ShapeStyle, draw_shapes, request_shapes
from olmoearth_nb.maps.style import REQUEST_COLOR, coloring_of, colors_for, painted

__all__ = ["plot_prediction", "raster_field"]

_VECTOR_SUFFIXES = {".geojson", ".json"}


def plot_prediction(
    files: str | PathLike[str] | Sequence[str | PathLike[str]],
    legend: Legend | None = None,
    *,
    field: str | None = None,
    request: RequestSource | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Combined results in the colours of the legend, with the share of each class.

    Rasters are read no finer than the map shows them; shares are those of the pixels (or features) on the map.

    Args:
        files: GeoTIFFs, or one GeoJSON.
        legend: The project's legend; without one, values get distinct colours or a colour bar.
        field: Name of a class field or measurement of the legend, or of any property of vector results; the first if
            None.
        request: Request whose outline is drawn too.
        ax: Where to draw.

    Raises:
        InputFileError: If there is no file, or one can't be read.
        UsageError: If there is no such field.
    """
    paths = [Path(files)] if isinstance(files, str | PathLike) else [Path(file) for file in files]
    outlines = request_shapes(request)
    if paths and paths[0].suffix.lower() in _VECTOR_SUFFIXES:
        if len(paths) > 1:
            raise UsageError("Vector results are one file.", found=f"{len(paths)} files")
        return _plot_features(paths[0], legend, field, outlines, ax)
    named = raster_field(legend, field)
    grid, pixels = read_geotiffs(paths, band=(named.band_index if named else None) or 1)
    coloring = coloring_of(pixels, named)
    ax = map_axes(grid.frame, title=named.property_name if named else paths[0].name, ax=ax)
    draw_pixels(ax, grid.frame, painted(pixels[0], coloring))
    add_key_of(ax, coloring)
    _draw_request(ax, grid.frame, outlines)
    return cast(Figure, ax.get_figure(root=True))


def raster_field(legend: Legend | None, field: str | None) -> ClassLegend | RangeLegend | None:
    """The field of a legend that a raster is coloured by.

    Args:
        legend: The project's legend.
        field: Its name; the first one if None.

    Raises:
        UsageError: If there is no such field.
    """
    fields: list[ClassLegend | RangeLegend] = [*legend.classes, *legend.ranges] if legend is not None else []
    if field is None:
        return fields[0] if fields else None
    chosen = legend.of_property(field) if legend is not None else None
    if chosen is None:
        raise UsageError(
            f"The legend has no field {field!r}.",
            expected=f"one of {', '.join(one.property_name for one in fields)}" if fields else "a legend with fields",
        )
    return chosen


def _plot_features(
    path: Path, legend: Legend | None, field: str | None, outlines: list[BaseGeometry], ax: Axes | None
) -> Figure:
    with foreign_code(InputFileError, "The result can't be read", where=str(path)):
        table = gpd.read_file(path)
    columns = [str(name) for name in table.columns if name != "geometry"]
    if field is not None and field not in columns:
        raise UsageError(f"The result has no property {field!r}.", where=str(path), expected=f"one of {columns}")
    table = table[~(table.geometry.is_empty | table.geometry.isna())]
    if not len(table) and not outlines:
        return _nothing(path)
    shapes = one_side([*table.geometry, *outlines])
    frame = frame_around(shapes)
    name = field or property_of(legend, columns)
    cells = table[name].tolist() if name in table.columns else [None] * len(table)
    coloring = coloring_of(cells, field_of(legend, name=name))
    ax = map_axes(frame, title=f"{len(table):,} results by {name}", ax=ax)
    draw_shapes(ax, frame, shapes[: len(table)], colors_for(cells, coloring), ShapeStyle(opacity=0.6))
    add_key_of(ax, coloring)
    _draw_request(ax, frame, outlines)
    return cast(Figure, ax.get_figure(root=True))


def _nothing(path: Path) -> Figure:
    picture = Picture(figsize=(4, 0.6), dpi=100)
    picture.text(0.5, 0.5, f"{path.name} has no features.", ha="center", va="center", fontsize=9)
    return picture


def _draw_request(ax: Axes, frame: MapFrame, outlines: list[BaseGeometry]) -> None:
    if outlines:
        shapes = frame.from_lonlat(one_side(outlines))
        draw_shapes(ax, frame, shapes, [REQUEST_COLOR] * len(outlines), OUTLINE)
