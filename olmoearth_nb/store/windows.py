"""Create windows in a dataset and tell what state they are in."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from rslearn.dataset import Dataset, Window
from rslearn.dataset.storage.file import FileWindowStorage
from rslearn.dataset.storage.sqlite import SQLiteWindowStorage

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InputFileError, StorageError
from olmoearth_nb.files import read_json, write_json, write_text
from olmoearth_nb.geometry import wgs84_outlines
from olmoearth_nb.many import distinct
from olmoearth_nb.store.sqlite import completed
from olmoearth_nb.types import PixelBounds, TimeRange, WindowSpec

__all__ = [
    "WindowKey",
    "WindowRow",
    "create_window",
    "groups_label",
    "load_windows",
    "read_failures",
    "update_failures",
    "window_frame",
]

WindowKey = tuple[str, str]
"""Group and name of a window."""


def create_window(dataset: Dataset, spec: WindowSpec, options: Mapping[str, Any] | None = None) -> Window:
    """Creates a window in the dataset, or writes its metadata again.

    Args:
        dataset: The dataset.
        spec: What the window is.
        options: rslearn options of the window (split and the like).

    Raises:
        StorageError: If it can't be written.
    """
    window = as_window(dataset, spec, options)
    with foreign_code(StorageError, "The window can't be written", where=f"window {spec.group}/{spec.name}"):
        if isinstance(dataset.storage, FileWindowStorage):
            # As rslearn writes it, and with group and name, which the rslearn of olmoearth-runner 0.1.14 looks for.
            folder = Path(str(window.window_root))
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / "metadata.json", json.dumps(window.get_metadata()))
        else:
            window.save()
    return window


def as_window(dataset: Dataset, spec: WindowSpec, options: Mapping[str, Any] | None = None) -> Window:
    """The rslearn window of a spec, with access to its data; nothing is read or written.

    Args:
        dataset: The dataset.
        spec: What the window is.
        options: rslearn options of the window.
    """
    return Window(
        storage=dataset.storage,
        group=spec.group,
        name=spec.name,
        projection=spec.projection,
        bounds=spec.bounds,
        time_range=spec.time_range,
        options=dict(options or {}),
        data_factory=dataset.window_data_storage_factory,
    )


def groups_label(specs: Sequence[WindowSpec]) -> str:
    """Which partitions windows are of, for showing: ``partition_3``, ``partition_3+2`` of three.

    Args:
        specs: The windows.
    """
    groups = list(dict.fromkeys(spec.group.removeprefix("group_") for spec in specs))
    return groups[0] if len(groups) == 1 else f"{groups[0]}+{len(groups) - 1}"


def load_windows(dataset: Dataset, *, groups: Sequence[str]) -> list[Window]:
    """Windows of some groups, by name.

    Args:
        dataset: The dataset.
        groups: Group names; those that don't exist give no windows.

    Raises:
        StorageError: If a window's metadata can't be read.
    """
    existing = list(groups)
    if isinstance(dataset.storage, FileWindowStorage):  # rslearn warns of those that are not there
        existing = [group for group in groups if (Path(str(dataset.path)) / "windows" / group).is_dir()]
    if not existing:
        return []
    with foreign_code(StorageError, "The windows of the dataset can't be read", where=str(dataset.path)):
        windows: list[Window] = dataset.load_windows(groups=existing)
    return sorted(windows, key=lambda window: (window.group, window.name))


def completed_layers(dataset: Dataset, keys: Iterable[WindowKey], layers: Sequence[str]) -> Iterator[list[bool]]:
    """For each window, which layers are complete.

    Args:
        dataset: The dataset.
        keys: Group and name of each window.
        layers: Layer names.
    """
    storage = dataset.storage
    if isinstance(storage, SQLiteWindowStorage):
        keys = list(keys)
        complete = completed(storage, {group for group, _ in keys})
        for group, name in keys:
            yield [(group, name, layer) in complete for layer in layers]
        return
    if not isinstance(storage, FileWindowStorage) or not isinstance(storage.path, Path):
        for group, name in keys:
            yield [storage.is_layer_completed(group, name, layer) for layer in layers]
        return
    # What rslearn asks of the folder, without building six paths a question (13,000 windows: 0.3 s instead of 2.5 s).
    root = str(storage.path)
    for group, name in keys:
        folder = f"{root}/windows/{group}/{name}/layers"
        there = os.path.exists(folder)  # noqa: PTH110  # a path object takes longer than the question
        yield [there and os.path.exists(f"{folder}/{layer}/completed") for layer in layers]  # noqa: PTH110


def read_failures(path: Path) -> dict[WindowKey, str]:
    """Why windows failed in a step, as last recorded; a record that can't be read counts for none.

    Args:
        path: The step's record.
    """
    data = None
    with contextlib.suppress(InputFileError):
        data = read_json(path, what="record of failed windows")
    reasons = data.items() if isinstance(data, dict) else ()
    return {(group, name): str(reason) for key, reason in reasons for group, _, name in [key.partition("/")]}


def update_failures(path: Path, looked_at: Iterable[WindowKey], reasons: Mapping[WindowKey, str]) -> None:
    """Records the failures of the windows that a step looked at; those of others stay.

    Args:
        path: The step's record.
        looked_at: All windows of this run of the step.
        reasons: Those that failed, with the reason.
    """
    failures = read_failures(path)
    for key in looked_at:
        failures.pop(key, None)
    failures.update(reasons)
    if failures or path.exists():
        write_json(path, {f"{group}/{name}": reason for (group, name), reason in sorted(failures.items())})


@dataclass(frozen=True, kw_only=True)
class WindowRow:
    """A window and what is known of it.

    Attributes:
        key: Group and name.
        projection: Projection of the window.
        bounds: Whole pixels.
        time_range: Its time.
        columns: Further columns: partition, split, state, reason, layers.
    """

    key: WindowKey
    projection: Any
    bounds: PixelBounds
    time_range: TimeRange | None
    columns: dict[str, Any] = field(default_factory=dict)


def window_frame(rows: Sequence[WindowRow], columns: Sequence[str]) -> gpd.GeoDataFrame:
    """The windows table: one row a window, outlines in WGS84.

    Args:
        rows: The windows.
        columns: Names of the further columns, in order.

    Returns:
        Columns ``name``, ``group``, the further columns, ``x0 y0 x1 y1`` (pixels), ``crs``, ``resolution`` (CRS
        units a pixel), ``start``, ``end``, ``geometry``.
    """
    boxes = np.array([row.bounds for row in rows], dtype=np.int64).reshape(-1, 4)
    outlines = np.empty(len(rows), dtype=object)
    projections, projection_of = distinct([row.projection for row in rows])
    members = np.array(projection_of, dtype=np.int64)
    for index, projection in enumerate(projections):
        here = members == index
        outlines[here] = wgs84_outlines(projection, boxes[here].astype(float))
    crs_names = [projection.crs.to_string() for projection in projections]
    data: dict[str, Any] = {"name": [row.key[1] for row in rows], "group": [row.key[0] for row in rows]}
    data |= {column: [row.columns.get(column) for row in rows] for column in columns}
    data |= {name: boxes[:, i] for i, name in enumerate(("x0", "y0", "x1", "y1"))}
    data["crs"] = [crs_names[index] for index in projection_of]
    data["resolution"] = [abs(row.projection.x_resolution) for row in rows]
    for i, name in enumerate(("start", "end")):
        times = pd.Series([row.time_range[i] if row.time_range else None for row in rows], dtype=object)
        data[name] = pd.to_datetime(times, utc=True)
    return gpd.GeoDataFrame(data, geometry=list(outlines), crs="EPSG:4326")
