"""Save a trace and read it again, without torch.

A trace is one zip archive: ``trace.json`` says what there is, ``arrays.nc`` (netCDF 4) has the arrays, each in a group
of its own with its coordinates and attributes, ``features/N.geojson`` have the vectors, in the CRS that they name. In
``trace.json`` an object with the key ``$array`` names a group of ``arrays.nc`` (``attrs``: its attributes),
``$features`` a file, and ``$class`` is the class of :mod:`olmoearth_nb.traces.data` or :mod:`olmoearth_nb.legend`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import tempfile
import zipfile
from collections.abc import Mapping
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InputFileError, StorageError
from olmoearth_nb.files import absolute_path, atomic_path, parse_json
from olmoearth_nb.legend import ClassEntry, ClassLegend, DetectionLegend, Legend, RangeLegend
from olmoearth_nb.traces import data as _data
from olmoearth_nb.traces.data import TraceData

__all__ = ["load_trace", "save_trace"]

_FORMAT = "olmoearth_nb trace"
_VERSION = 1
_JSON, _ARRAYS = "trace.json", "arrays.nc"
# Attributes by which readers of netCDF change values.
_INSTRUCTIONS = frozenset(
    {"_FillValue", "missing_value", "scale_factor", "add_offset", "calendar", "_Unsigned", "dtype"}
)
_TIME_UNITS = frozenset({"days", "hours", "minutes", "seconds", "milliseconds", "microseconds", "nanoseconds"})
_LEGEND = (ClassEntry, ClassLegend, DetectionLegend, Legend, RangeLegend)
_CLASSES: dict[str, type] = {name: getattr(_data, name) for name in _data.__all__}
_CLASSES |= {one.__name__: one for one in _LEGEND}


def save_trace(trace: TraceData, path: str | PathLike[str]) -> Path:
    """Writes a trace; the file is complete or not there at all.

    Args:
        trace: The trace.
        path: Where to, with any suffix; folders are made, a file that is there is replaced.

    Returns:
        The file.

    Raises:
        StorageError: If it can't be written.
    """
    target = absolute_path(path, what="trace")
    writer = _Writer()
    content = {"format": _FORMAT, "version": _VERSION, "trace": writer.encode(trace, "trace")}
    with tempfile.TemporaryDirectory() as folder, atomic_path(target) as beside:
        arrays = Path(folder) / _ARRAYS
        with foreign_code(StorageError, "The arrays can't be written", where=str(target)):
            writer.write_arrays(arrays)
        with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_JSON, json.dumps(content, indent=1, allow_nan=False))
            for name, text in writer.features.items():
                archive.writestr(name, text)
            # Compressed already.
            archive.write(arrays, _ARRAYS, compress_type=zipfile.ZIP_STORED)
    return target


def load_trace(path: str | PathLike[str]) -> TraceData:
    """Reads a trace.

    Args:
        path: The file.

    Raises:
        InputFileError: If it is missing, damaged or something else.
    """
    source = absolute_path(path, what="trace")
    where = str(source)
    if not source.is_file():
        raise InputFileError("The trace is missing.", where=where, expected="a file that trace.save(path) wrote")
    try:
        with zipfile.ZipFile(source) as archive, tempfile.TemporaryDirectory() as folder:
            content = parse_json(archive.read(_JSON).decode())
            _check_format(content, where)
            texts = {name: archive.read(name).decode() for name in archive.namelist() if name.endswith(".geojson")}
            arrays = _read_arrays(Path(archive.extract(_ARRAYS, folder)), where)
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise InputFileError(
            f"The trace can't be read: {error}.", where=where, expected="a file that trace.save(path) wrote"
        ) from error
    with foreign_code(InputFileError, "The trace can't be read", where=where):
        trace = _decode(content["trace"], arrays, texts)
    if not isinstance(trace, TraceData):
        raise InputFileError("The file holds no trace.", where=where, found=type(trace).__name__)
    return trace


def _check_format(content: Any, where: str) -> None:
    if not isinstance(content, dict) or content.get("format") != _FORMAT or "trace" not in content:
        raise InputFileError("The file is no trace.", where=where, expected="a file that trace.save(path) wrote")
    version = content.get("version")
    if version != _VERSION:
        raise InputFileError(
            "The trace has another version.",
            where=where,
            expected=f"version {_VERSION}",
            found=repr(version),
            fix="Read it with the version of olmoearth_nb that wrote it.",
        )


class _Writer:
    """Turns a trace into JSON and collects what does not go into it."""

    def __init__(self) -> None:
        self.arrays: dict[str, xr.DataArray] = {}
        self.features: dict[str, str] = {}

    def encode(self, value: Any, place: str) -> Any:
        """JSON for a value.

        Args:
            value: Anything that a trace has.
            place: Where it is, for the names of arrays.
        """
        match value:
            case xr.DataArray():
                attrs = {str(name): one for name, one in value.attrs.items()}
                kept = {"attrs": self.encode(attrs, place), "dtype": str(value.dtype)}
                return {"$array": self._add(value, place), **kept}
            case gpd.GeoDataFrame():
                return {"$features": self._add_features(value)}
            case pd.DataFrame():
                return {"$table": {str(name): self._list(column, place) for name, column in value.items()}}
            case datetime():
                return {"$time": value.isoformat()}
            case Mapping():
                return {"$map": [[str(key), self.encode(one, f"{place}/{key}")] for key, one in value.items()]}
            case list():
                return {"$list": self._list(value, place)}
            case tuple():
                return self._list(value, place)
            case np.ndarray():
                return {"$list": self._list(value.tolist(), place)}
            case np.generic():
                return self.encode(value.item(), place)
        return self._encode_plain(value, place)

    def _encode_plain(self, value: Any, place: str) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return {"$float": str(value)}
        if dataclasses.is_dataclass(value):
            names = [one.name for one in dataclasses.fields(value)]
            fields = {name: self.encode(getattr(value, name), f"{place}/{name}") for name in names}
            return {"$class": type(value).__name__, **fields}
        # Options of a window may be anything.
        return value if value is None or isinstance(value, str | int | float) else str(value)

    def _list(self, values: Any, place: str) -> list[Any]:
        return [self.encode(one, f"{place}/{getattr(one, 'name', index)}") for index, one in enumerate(values)]

    def _add(self, array: xr.DataArray, place: str) -> str:
        # Names of modules and layers can have any characters; a slash would be a group.
        parts = [re.sub(r"[^\w.\-\[\] ]", "_", part).strip() or "_" for part in place.split("/")[1:]]
        group = "/".join(part if part not in (".", "..") else "_" for part in parts)
        number = 2
        while group in self.arrays:
            group = f"{group.rpartition('~')[0] or group}~{number}"
            number += 1
        self.arrays[group] = _for_netcdf(array)
        return group

    def _add_features(self, frame: gpd.GeoDataFrame) -> str:
        name = f"features/{len(self.features)}.geojson"
        content = json.loads(frame.to_json(na="null", drop_id=True))
        content["columns"] = [str(column) for column in frame.columns if column != frame.geometry.name]
        if frame.crs is not None:
            content["crs"] = {"type": "name", "properties": {"name": frame.crs.to_string()}}
        self.features[name] = json.dumps(content)
        return name

    def write_arrays(self, path: Path) -> None:
        """Writes the netCDF file.

        Args:
            path: Where to.
        """
        nodes = {f"/{group}": array.rename("values").to_dataset() for group, array in self.arrays.items()}
        encoding = {
            group: {"values": {"zlib": True, "complevel": 1}} for group, node in nodes.items() if node["values"].ndim
        }
        xr.DataTree.from_dict(nodes).to_netcdf(path, engine="netcdf4", encoding=encoding)


def _for_netcdf(array: xr.DataArray) -> xr.DataArray:
    """The array without what netCDF lacks, or takes for instructions; ``trace.json`` has it all."""
    attrs = {}
    for name, value in array.attrs.items():
        is_time = name == "units" and (" since " in str(value) or str(value) in _TIME_UNITS)
        if value is not None and name not in _INSTRUCTIONS and not is_time:
            attrs[name] = value
    array = array.astype(np.float32) if array.dtype == np.float16 else array.copy(deep=False)
    array.attrs = attrs
    return array


def _read_arrays(path: Path, where: str) -> dict[str, xr.DataArray]:
    reading = foreign_code(InputFileError, "The arrays of the trace can't be read", where=where)
    with reading, xr.open_datatree(path, engine="netcdf4") as tree:
        return {
            node.path.lstrip("/"): node.to_dataset()["values"].load().rename(None)
            for node in tree.subtree
            if "values" in node.data_vars
        }


def _decode(value: Any, arrays: Mapping[str, xr.DataArray], texts: Mapping[str, str]) -> Any:
    match value:
        case list():
            return tuple(_decode(one, arrays, texts) for one in value)
        case {"$array": name, "attrs": attrs, "dtype": dtype}:
            array = arrays[name]
            # Text and dates come back in types of their own.
            array = array.astype(dtype) if dtype == "float16" else array
            return array.assign_attrs(_decode(attrs, arrays, texts))
        case {"$features": name}:
            return _frame(json.loads(texts[name]))
        case {"$table": columns}:
            return pd.DataFrame({name: list(_decode(column, arrays, texts)) for name, column in columns.items()})
        case {"$time": text}:
            return datetime.fromisoformat(text)
        case {"$map": pairs}:
            return {key: _decode(one, arrays, texts) for key, one in pairs}
        case {"$list": values}:
            return [_decode(one, arrays, texts) for one in values]
        case {"$float": text}:
            return float(text)
        case {"$class": name, **fields}:
            return _CLASSES[name](**{str(key): _decode(one, arrays, texts) for key, one in fields.items()})
    return value


def _frame(content: Mapping[str, Any]) -> gpd.GeoDataFrame:
    crs = content.get("crs", {}).get("properties", {}).get("name")
    columns = [*content["columns"], "geometry"]
    if not content["features"]:
        return gpd.GeoDataFrame({name: [] for name in columns}, geometry="geometry", crs=crs)
    return gpd.GeoDataFrame.from_features(content["features"], crs=crs, columns=columns)
