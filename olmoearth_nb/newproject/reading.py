"""Labels as people have them: a vector file, or a table with longitude and latitude."""

from __future__ import annotations

import importlib.util
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
from pyproj import CRS

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InputFileError, MissingDependencyError
from olmoearth_nb.labels.sources import name_of, read_vector

__all__ = ["Labels", "column_examples", "read_labels"]

Labels = str | PathLike[str] | gpd.GeoDataFrame | pd.DataFrame
"""A vector file, a table, or a frame of either."""

_TABLES = (".csv", ".tsv", ".txt", ".parquet")
_LONLAT = (
    ("lon", "lat"),
    ("longitude", "latitude"),
    ("long", "lat"),
    ("lng", "lat"),
    ("decimallongitude", "decimallatitude"),
)
_METRES = (("x", "y"), ("easting", "northing"), ("east", "north"), ("utm_x", "utm_y"), ("utm_e", "utm_n"))
_WKT = ("wkt", "geometry", "geom", "the_geom")
_EXAMPLES = 3


def read_labels(
    source: Labels, *, layer: str | None = None, crs: str | int | CRS | None = None
) -> tuple[gpd.GeoDataFrame, str]:
    """Reads labels.

    Args:
        source: Any vector file that geopandas reads, a table (CSV, TSV, Parquet) with columns of longitude and latitude
            or x and y, or a frame of either.
        layer: Layer of a file that has several.
        crs: CRS of a source that does not say which it has; a table with longitude and latitude needs none.

    Returns:
        The features in their own CRS, rows numbered from 0; and where the places were found.

    Raises:
        InputFileError: If it is missing, not readable, or has no places or CRS.
        MissingDependencyError: If it is Parquet and pyarrow is not installed.
        UsageError: If ``crs`` is unknown, or contradicts the source.
    """
    if isinstance(source, gpd.GeoDataFrame):
        return read_vector(source, layer=layer, crs=crs), "its geometries"
    if isinstance(source, pd.DataFrame):
        return _placed(source, crs, "the table")
    path = Path(source)
    if path.suffix.lower() in _TABLES:
        table = _read_table(path)
        if not isinstance(table, gpd.GeoDataFrame):
            return _placed(table, crs, name_of(source))
        return read_vector(table, crs=crs), "its geometries"
    return read_vector(path, layer=layer, crs=crs), "its geometries"


def column_examples(frame: pd.DataFrame) -> str:
    """The columns of a table with some values of each, for messages.

    Args:
        frame: The table.
    """
    parts = []
    geometry = frame.active_geometry_name if isinstance(frame, gpd.GeoDataFrame) else None
    for name in frame.columns:
        if name == geometry:
            continue
        values = [str(value)[:20] for value in frame[name].dropna().unique()[:_EXAMPLES]]
        parts.append(f"{str(name)!r} ({', '.join(values) or 'empty'})")
    return ", ".join(parts) or "no columns"


def _read_table(path: Path) -> pd.DataFrame:
    if not path.exists():
        raise InputFileError("The table is missing.", where=str(path))
    if path.suffix.lower() != ".parquet":
        with foreign_code(InputFileError, "The table can't be read", where=str(path)):
            # The separator is found by the first lines: comma, semicolon and tab are all in use.
            return pd.read_csv(path, sep=None, engine="python", encoding="utf-8-sig")
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingDependencyError(
            "Parquet is read with pyarrow, which is not installed.", where=str(path), fix="Run: pip install pyarrow"
        )
    try:
        return gpd.read_parquet(path)
    except ValueError:  # no geometry: a table
        with foreign_code(InputFileError, "The table can't be read", where=str(path)):
            return pd.read_parquet(path)


def _placed(table: pd.DataFrame, crs: Any, where: str) -> tuple[gpd.GeoDataFrame, str]:
    """A table with its places as points, or as the shapes of a column of WKT."""
    names = {str(name).strip().lower(): name for name in table.columns}
    for pairs, usual in ((_LONLAT, 4326), (_METRES, None)):
        for x, y in pairs:
            if x not in names or y not in names:
                continue
            if crs is None and usual is None:
                raise InputFileError(
                    f"The table has {names[x]!r} and {names[y]!r}, and does not say in which coordinates.",
                    where=where,
                    fix="Tell it with crs (--crs), such as EPSG:32633.",
                )
            columns = [pd.to_numeric(table[names[name]], errors="coerce") for name in (x, y)]
            points = gpd.points_from_xy(*columns)
            missing = columns[0].isna() | columns[1].isna()
            geometry = gpd.GeoSeries(points, index=table.index).where(~missing, None)
            frame = gpd.GeoDataFrame(table.drop(columns=[names[x], names[y]]), geometry=geometry)
            return _with_crs(frame, usual if crs is None else crs), f"columns {names[x]!r} and {names[y]!r}"
    for name in _WKT:
        if name in names:
            with foreign_code(InputFileError, f"Column {names[name]!r} is not WKT", where=where):
                geometry = gpd.GeoSeries.from_wkt(table[names[name]], on_invalid="raise")
            frame = gpd.GeoDataFrame(table.drop(columns=[names[name]]), geometry=geometry)
            return _with_crs(frame, 4326 if crs is None else crs), f"column {names[name]!r}"
    raise InputFileError(
        "The table has no places.",
        where=where,
        expected="columns lon and lat, or x and y with a CRS, or wkt",
        found=column_examples(table),
    )


def _with_crs(frame: gpd.GeoDataFrame, crs: Any) -> gpd.GeoDataFrame:
    return read_vector(frame, crs=crs)
