"""The windows tables of both workflows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
from rslearn.dataset import Dataset, Window

from olmoearth_nb.runners.predict_scratch import PredictionScratch
from olmoearth_nb.store.dataset import imagery_layers
from olmoearth_nb.store.windows import WindowRow, completed_layers, read_failures, window_frame
from olmoearth_nb.store.workspace import OUTPUT_LAYER

__all__ = ["finetune_frame", "prediction_frame"]


def prediction_frame(scratch: PredictionScratch, partition_ids: Sequence[str]) -> gpd.GeoDataFrame:
    """The windows of some partitions, one row a window.

    Args:
        scratch: The scratch.
        partition_ids: The partitions.

    Returns:
        Columns of :func:`olmoearth_nb.store.windows.window_frame` and ``partition`` (the one that owns the window),
        ``partitions`` (all that need it), ``features`` (request features it was made for), ``state`` (planned, built,
        predicted or failed), ``reason``, and for each layer ``layer_<name>``: built or missing.
    """
    dataset = scratch.dataset
    layers = [*imagery_layers(dataset), OUTPUT_LAYER]
    specs = scratch.specs(partition_ids)
    sharing: dict[tuple[str, str], list[str]] = {}
    features: dict[tuple[str, str], int] = {}
    for pid in partition_ids:
        for spec in scratch.windows_of(pid):
            key = (spec.group, spec.name)
            sharing.setdefault(key, []).append(pid)
            features[key] = features.get(key, 0) + len(spec.features)
    failed = scratch.failures()
    rows = []
    for (key, spec), done in zip(specs.items(), completed_layers(dataset, specs, layers), strict=True):
        state = "predicted" if done[-1] else "failed" if key in failed else "built" if all(done[:-1]) else "planned"
        rows.append(
            WindowRow(
                key=key,
                projection=spec.projection,
                bounds=spec.bounds,
                time_range=spec.time_range,
                columns={
                    "partition": spec.group.removeprefix("group_"),
                    "partitions": ", ".join(sharing[key]),
                    "features": features[key],
                    "state": state,
                    "reason": failed.get(key) if state == "failed" else None,
                    **_layer_columns(layers, done),
                },
            )
        )
    names = ["partition", "partitions", "features", "state", "reason", *(f"layer_{layer}" for layer in layers)]
    return window_frame(rows, names)


def finetune_frame(
    dataset: Dataset, windows: Sequence[Window], *, split_property: str, label_layer: str, failures: Path
) -> gpd.GeoDataFrame:
    """The labelled windows of a fine-tuning, one row a window.

    Args:
        dataset: The dataset.
        windows: Its windows.
        split_property: Key of the split in the windows' options.
        label_layer: Layer of the labels.
        failures: Record of the windows that could not be built.

    Returns:
        Columns of :func:`olmoearth_nb.store.windows.window_frame` and ``split``, ``task`` (id of the annotation task),
        ``state`` (labelled, built or failed), ``reason``, and for each layer ``layer_<name>``: built or missing.
    """
    imagery = list(imagery_layers(dataset))
    layers = [label_layer, *imagery]
    keys = [(window.group, window.name) for window in windows]
    failed = read_failures(failures)
    rows = []
    for window, key, done in zip(windows, keys, completed_layers(dataset, keys, layers), strict=True):
        state = "built" if all(done[1:]) and imagery else "failed" if key in failed else "labelled"
        rows.append(
            WindowRow(
                key=key,
                projection=window.projection,
                bounds=window.bounds,
                time_range=window.time_range,
                columns={
                    "split": window.options.get(split_property),
                    "task": window.options.get("source_task_id"),
                    "state": state,
                    "reason": failed.get(key) if state == "failed" else None,
                    **_layer_columns(layers, done),
                },
            )
        )
    return window_frame(rows, ["split", "task", "state", "reason", *(f"layer_{layer}" for layer in layers)])


def _layer_columns(layers: Sequence[str], done: Sequence[bool]) -> dict[str, Any]:
    return {f"layer_{layer}": "built" if is_done else "missing" for layer, is_done in zip(layers, done, strict=True)}
