"""Vector results in other formats than GeoJSON: for GIS, for tables of millions, for maps on the web."""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
from shapely.geometry import shape

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InputFileError, MissingDependencyError, StorageError, UsageError
from olmoearth_nb.files import absolute_path, atomic_path, shown_path, write_text
from olmoearth_nb.geojson_text import load_features
from olmoearth_nb.legend import ClassLegend, Legend, RangeLegend
from olmoearth_nb.tables import html_table, text_table

__all__ = ["FORMATS", "Export", "check_target", "export_features"]

FORMATS = {
    ".parquet": "GeoParquet",
    ".fgb": "FlatGeobuf",
    ".gpkg": "GPKG",
    ".pmtiles": "PMTiles",
    ".geojson": "GeoJSON",
}
"""Suffix -> format, by GDAL's name for it where GDAL writes it."""

_CRS = "EPSG:4326"
# 2.4 m a step of a tile's coordinates at the equator; clients enlarge from there.
_FINEST_ZOOM = 12
# Columns that formats have of their own.
_RESERVED = ("geometry", "geom", "fid", "ogc_fid", "mvt_id")
_INT64 = np.iinfo(np.int64)


@dataclass(frozen=True, kw_only=True, repr=False)
class Export:
    """A file that results were exported to.

    Attributes:
        path: The file.
        format: Its format.
        features: Number of features.
        columns: Properties that they have.
    """

    path: Path
    format: str
    features: int
    columns: tuple[str, ...]

    def __fspath__(self) -> str:
        return str(self.path)

    def _rows(self) -> list[tuple[str, object]]:
        return [
            ("file", shown_path(self.path)),
            ("format", self.format),
            ("features", f"{self.features:,}"),
            ("properties", ", ".join(self.columns) or "none"),
            ("bytes", f"{self.path.stat().st_size:,}" if self.path.exists() else "gone"),
        ]

    def __repr__(self) -> str:
        return text_table(("export", ""), self._rows())

    def _repr_html_(self) -> str:
        return html_table(("export", ""), self._rows())

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "path": str(self.path),
            "format": self.format,
            "features": self.features,
            "properties": list(self.columns),
        }


def check_target(path: str | PathLike[str], *, overwrite: bool = False) -> Path:
    """Where results can be exported to.

    Args:
        path: The file; its suffix says which format.
        overwrite: Whether it may be there already.

    Returns:
        The path, absolute.

    Raises:
        UsageError: If the suffix is not known, or the file is there.
        MissingDependencyError: If the format can't be written here.
    """
    target = absolute_path(path, what="export")
    suffix = target.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(
            "The suffix does not say which format is wanted.",
            where=str(target),
            expected=", ".join(f"{end} ({name})" for end, name in FORMATS.items()),
            found=repr(target.suffix),
        )
    if target.exists() and not overwrite:
        fix = "Choose another name, or say overwrite=True (--overwrite)."
        raise UsageError("The file is there already.", where=str(target), fix=fix)
    if suffix == ".parquet":
        if importlib.util.find_spec("pyarrow") is None:
            fix = "Run: pip install 'olmoearth-nb[parquet]'"
            raise MissingDependencyError(
                "GeoParquet is written with pyarrow, which is not installed.", where=str(target), fix=fix
            )
    elif suffix != ".geojson" and "w" not in pyogrio.list_drivers().get(FORMATS[suffix], ""):
        raise MissingDependencyError(
            f"GDAL {'.'.join(map(str, pyogrio.__gdal_version__))} here has no driver that writes {FORMATS[suffix]}.",
            where=str(target),
            fix="Choose another format: .parquet, .gpkg, .geojson.",
        )
    return target


def export_features(
    source: str | PathLike[str], target: str | PathLike[str], *, legend: Legend | None = None, overwrite: bool = False
) -> Export:
    """Writes the features of a GeoJSON file in another format; complete or not at all.

    Properties keep their types; where one has values of several types, or lists, tables have them as text (JSON).
    Classes of the legend are there as ``label`` and ``color`` (``#rrggbb``), measurements as ``color``, unless features
    have such a property. Coordinates are degrees (WGS84); PMTiles has Web Mercator, as all tiles.

    Args:
        source: GeoJSON with a FeatureCollection.
        target: The file; its suffix says which format: see :data:`FORMATS`.
        legend: What the values mean.
        overwrite: Replace a file that is there.

    Raises:
        UsageError: If the suffix is not known, the file is there, or there are no features for PMTiles.
        MissingDependencyError: If the format can't be written here.
        InputFileError: If the source can't be read.
        StorageError: If the file can't be written.
    """
    path = check_target(target, overwrite=overwrite)
    kind = FORMATS[path.suffix.lower()]
    if path == absolute_path(source, what="result"):
        raise UsageError("The result can't be exported to itself.", where=str(path), fix="Choose another name.")
    features = _read(source, legend)
    shapes = [feature["geometry"] for feature in features]
    if kind == "PMTiles" and not any(shapes):
        fix = "Choose another format, which may be empty: .parquet, .fgb, .gpkg, .geojson."
        raise UsageError("There are no features, and so no tiles.", where=str(path), fix=fix)
    if kind == "GeoJSON":
        columns = _keys(features)
        write_text(path, json.dumps({"type": "FeatureCollection", "features": features}, ensure_ascii=False))
    else:
        frame = _frame(features, where=str(source))
        columns = [str(column) for column in frame.columns if column != "geometry"]
        with atomic_path(path) as beside, foreign_code(StorageError, f"{kind} can't be written", where=str(path)):
            _write(frame, beside, kind, layer=path.stem)
    return Export(path=path, format=kind, features=len(features), columns=tuple(columns))


def _write(frame: gpd.GeoDataFrame, path: Path, kind: str, *, layer: str) -> None:
    if kind == "GeoParquet":
        frame.to_parquet(path, index=False, compression="zstd")
        return
    options: dict[str, Any] = _zooms(frame) if kind == "PMTiles" else {}
    if kind == "FlatGeobuf" and frame.geometry.isna().any():
        options["SPATIAL_INDEX"] = "NO"  # it has no place for what lies nowhere
    types = frame.geometry.geom_type.dropna().unique()
    with warnings.catch_warnings():
        # Tiles of very many features are coarser, seen from afar.
        warnings.filterwarnings("ignore", message=".*exceeded the default maximum tile size", category=RuntimeWarning)
        pyogrio.write_dataframe(
            frame,
            path,
            driver=kind,
            layer=layer,
            geometry_type=types[0] if len(types) == 1 else "Unknown",
            promote_to_multi=False,
            **options,
        )


def _zooms(frame: gpd.GeoDataFrame) -> dict[str, int]:
    """Levels of tiles, from the one where all features together are an eighth of a tile: coarser ones cost as much."""
    west, south, east, north = frame.total_bounds.tolist()
    tiles = 360 / max(east - west, north - south, 360 / 2**_FINEST_ZOOM)
    return {"MINZOOM": max(int(np.log2(tiles)) - 3, 0), "MAXZOOM": _FINEST_ZOOM}


def _read(source: str | PathLike[str], legend: Legend | None) -> list[dict[str, Any]]:
    """Features with a geometry (or None) and properties, and what the legend says of them."""
    raw = load_features(source, "result")
    with foreign_code(InputFileError, "The features of the result can't be read", where=str(source)):
        features = [{**one, "geometry": one.get("geometry"), "properties": one.get("properties") or {}} for one in raw]
    there = {key.casefold() for key in _keys(features)}
    for name, cells in _colors(features, legend).items():
        if name not in there:
            for feature, cell in zip(features, cells, strict=True):
                feature["properties"] = {**feature["properties"], name: cell}
    return features


def _keys(features: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(key for feature in features for key in feature["properties"]))


def _colors(features: Sequence[Mapping[str, Any]], legend: Legend | None) -> dict[str, list[str | None]]:
    """Labels and colours of the first field of a legend that the features have."""
    fields: list[ClassLegend | RangeLegend] = [*legend.classes, *legend.ranges] if legend is not None else []
    keys = set(_keys(features))
    field = next((one for one in fields if one.property_name in keys), None)
    if field is None:
        return {}
    cells = [feature["properties"].get(field.property_name) for feature in features]
    if isinstance(field, ClassLegend):
        entries = [field.entry_of(cell) for cell in cells]
        return {
            "label": [None if entry is None else entry.label for entry in entries],
            "color": [None if entry is None else _hex(entry.color) for entry in entries],
        }
    numbers = [cell if isinstance(cell, int | float) else np.nan for cell in cells]
    return {"color": [_hex(color[:3]) if color[3] else None for color in field.colors_of(numbers).tolist()]}


def _hex(color: Sequence[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*color)


def _frame(features: Sequence[Mapping[str, Any]], *, where: str) -> gpd.GeoDataFrame:
    """Features as a table with one type a column."""
    with foreign_code(InputFileError, "The geometries of the result can't be read", where=where):
        shapes = np.array([shape(one["geometry"]) if one["geometry"] else None for one in features], dtype=object)
    keys = _keys(features)
    columns = {
        name: _column([one["properties"].get(key) for one in features])
        for name, key in zip(_names(keys), keys, strict=True)
    }
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(shapes, crs=_CRS), crs=_CRS)


def _names(keys: Sequence[str]) -> list[str]:
    """Names for columns: not empty, none that a format has already, no two that differ by case alone."""
    taken, names = set(_RESERVED), []
    for key in keys:
        name = key or "_"
        while name.casefold() in taken:
            name += "_"
        taken.add(name.casefold())
        names.append(name)
    return names


def _column(values: Sequence[Any]) -> pd.Series[Any]:
    """Values of one property in the type that all of them have; else as text."""
    types = {type(value) for value in values if value is not None}
    if types == {bool}:
        return pd.Series(values, dtype="boolean")
    if types == {int} and all(_INT64.min <= value <= _INT64.max for value in values if value is not None):
        return pd.Series(values, dtype="Int64" if None in values else "int64")
    if types and types <= {int, float}:
        return pd.Series(values, dtype="float64")
    texts = [
        value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values
    ]
    return pd.Series(texts, dtype="string")
