"""Read any vector file that geopandas reads, with errors for people."""

from __future__ import annotations

import importlib.util
import re
from os import PathLike
from pathlib import Path
from typing import Any, cast

import geopandas as gpd
import numpy as np
import shapely
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InputFileError, MissingDependencyError, UsageError

__all__ = ["column_shapes", "in_wgs84", "name_of", "read_vector", "require_column"]

_POLYGON = re.compile(r"\s*(MULTI)?POLYGON\b", re.IGNORECASE)
_PARQUET = (".parquet", ".geoparquet")


def name_of(source: str | PathLike[str] | gpd.GeoDataFrame) -> str:
    """What to call a source in messages.

    Args:
        source: A path or a frame.
    """
    return "the GeoDataFrame" if isinstance(source, gpd.GeoDataFrame) else str(Path(source))


def read_vector(
    source: str | PathLike[str] | gpd.GeoDataFrame, *, layer: str | None = None, crs: str | int | CRS | None = None
) -> gpd.GeoDataFrame:
    """The features of a vector file, in its own CRS, rows numbered from 0.

    Args:
        source: GeoJSON, GeoPackage, Shapefile (zipped too), GeoParquet or whatever else GDAL reads; or a frame.
        layer: Layer of a file that has several.
        crs: CRS of a source that does not say which it has.

    Raises:
        InputFileError: If it is missing, not readable, without geometry or CRS, or has several layers and none is
            named.
        MissingDependencyError: If it is GeoParquet and pyarrow is not installed.
        UsageError: If ``crs`` is unknown, or contradicts the file.
    """
    where = name_of(source)
    frame = source if isinstance(source, gpd.GeoDataFrame) else _read_file(Path(source), layer)
    if not isinstance(frame, gpd.GeoDataFrame) or frame.active_geometry_name is None:
        raise InputFileError(
            "There is no geometry.", where=where, expected="features with a geometry", fix="Choose another file."
        )
    return _with_crs(frame.reset_index(drop=True), crs, where)


def require_column(frame: gpd.GeoDataFrame, column: str, *, role: str, where: str) -> None:
    """Checks that a column is there.

    Args:
        frame: The features.
        column: Name that was given.
        role: The argument that named it.
        where: The source.

    Raises:
        InputFileError: If there is no such column.
    """
    if column not in frame.columns:
        others = ", ".join(repr(str(name)) for name in frame.columns if name != frame.active_geometry_name)
        raise InputFileError(
            f"There is no column {column!r}.", where=f"{where} ({role})", expected=f"one of {others or 'no columns'}"
        )


def in_wgs84(geometries: gpd.GeoSeries, *, where: str) -> gpd.GeoSeries:
    """Geometries in degrees, longitude first.

    Args:
        geometries: Geometries with a CRS.
        where: The source.

    Raises:
        InputFileError: If they can't be converted.
    """
    with foreign_code(
        InputFileError,
        "The geometries can't be converted to longitude and latitude",
        where=where,
        fix="Export them in a CRS of the globe; EPSG:4326, say.",
    ):
        converted = geometries.to_crs(4326)
    # PROJ gives infinity for a place that a CRS does not reach.
    lost = ~np.isfinite(shapely.bounds(converted.values)).all(axis=1) & np.isfinite(
        shapely.bounds(geometries.values)
    ).all(axis=1)
    if lost.any():
        row = int(np.flatnonzero(lost)[0])
        raise InputFileError(
            "The geometry has no longitude and latitude.",
            where=f"{where}, row {row}",
            expected=f"coordinates of {cast(CRS, geometries.crs).name}",
            found=f"bounds {tuple(shapely.bounds(geometries.iloc[row]).tolist())}",
            fix="Check that the file has the CRS that it says.",
        )
    return converted


def column_shapes(frame: gpd.GeoDataFrame, column: str, *, where: str) -> gpd.GeoSeries | None:
    """The shapes of a second geometry column, which may be one of WKT text (most formats have one geometry only).

    Args:
        frame: The features.
        column: A column of them.
        where: The source.

    Returns:
        Geometries in degrees; None if the column holds something else.

    Raises:
        InputFileError: If text that begins like a polygon is not WKT, or the shapes can't be converted.
    """
    cells = frame[column]
    if not isinstance(cells, gpd.GeoSeries):
        text = cells.dropna()
        if not len(text) or not all(isinstance(cell, str) and _POLYGON.match(cell) for cell in text):
            return None
        place = f"{where}, column {column!r}"
        shapes = [_from_wkt(cell, f"{place}, row {row}") for row, cell in enumerate(cells)]
        cells = gpd.GeoSeries(np.asarray(shapes, dtype=object))
    if cells.crs is None:
        cells = cells.set_crs(cast(CRS, frame.crs))
    return in_wgs84(cells, where=where)


def _from_wkt(cell: object, where: str) -> BaseGeometry | None:
    if not isinstance(cell, str):
        return None
    with foreign_code(InputFileError, "The text is not WKT", where=where):
        return shapely.from_wkt(cell)


def _read_file(path: Path, layer: str | None) -> Any:
    if not path.exists():
        raise InputFileError("The vector file is missing.", where=str(path))
    if path.suffix.lower() in _PARQUET:
        return _read_parquet(path)
    with foreign_code(
        InputFileError,
        "The vector file can't be read",
        where=str(path),
        fix="Export it as GeoPackage or GeoJSON and try again.",
    ):
        found = gpd.list_layers(path)
        layers = dict(zip(found["name"], found["geometry_type"], strict=True))
    chosen = _choose_layer(layers, layer, path)
    with foreign_code(
        InputFileError,
        "The vector file can't be read",
        where=str(path),
        fix="Export it as GeoPackage or GeoJSON, of points, lines and polygons only, and try again.",
    ):
        return gpd.read_file(path, layer=chosen)


def _read_parquet(path: Path) -> Any:
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingDependencyError(
            "GeoParquet is read with pyarrow, which is not installed.", where=str(path), fix="Run: pip install pyarrow"
        )
    with foreign_code(InputFileError, "The GeoParquet file can't be read", where=str(path)):
        return gpd.read_parquet(path)


def _choose_layer(layers: dict[str, Any], wanted: str | None, path: Path) -> str:
    if wanted is not None and wanted not in layers:
        raise InputFileError(
            "The file has no such layer.", where=str(path), expected=f"one of {list(layers)}", found=repr(wanted)
        )
    spatial = [name for name, kind in layers.items() if kind is not None]
    if wanted is not None:
        return wanted
    if len(spatial) > 1:
        raise InputFileError(
            "The file has several layers.", where=str(path), expected=f"layer to be one of {spatial}", found="none"
        )
    return (spatial or list(layers))[0]


def _with_crs(frame: gpd.GeoDataFrame, crs: str | int | CRS | None, where: str) -> gpd.GeoDataFrame:
    if crs is None:
        if frame.crs is None:
            raise InputFileError(
                "The file does not say which coordinate reference system it has.",
                where=where,
                fix='Tell it with crs="EPSG:…"; for longitude and latitude that is EPSG:4326.',
            )
        return frame
    with foreign_code(UsageError, f"The coordinate reference system {crs!r} is unknown", where="crs"):
        given = CRS.from_user_input(crs)
    if frame.crs is not None and not frame.crs.equals(given, ignore_axis_order=True):
        raise UsageError(
            "The file has a coordinate reference system of its own.",
            where="crs",
            expected=f"none, since {where} is in {frame.crs.to_string()}",
            found=given.to_string(),
        )
    return frame.set_crs(given, allow_override=True)
