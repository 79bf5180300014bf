"""The windows tables of both workflows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
from rslearn.dataset import Dataset, Window

from olmoearth_nb.planning import Plan
from olmoearth_nb.runners.predict_scratch import PredictionScratch
from olmoearth_nb.store.dataset import imagery_layers
from olmoearth_nb.store.windows import WindowKey, WindowRow, completed_layers, read_failures, window_frame
from olmoearth_nb.store.workspace import OUTPUT_LAYER
from olmoearth_nb.types import WindowSpec

__all__ = ["finetune_frame", "plan_frame", "prediction_frame"]


def plan_frame(plan: Plan) -> gpd.GeoDataFrame:
    """The windows of a plan, one row a window.

    Args:
        plan: What would be made.

    Returns:
        Columns of :func:`olmoearth_nb.store.windows.window_frame` and ``partition``, ``partitions``, ``features`` and
        ``state`` as in :func:`prediction_frame`.
    """
    used = _used((partition.partition_id, partition.windows) for partition in plan.partitions)
    rows = [_prediction_row(use, {"state": "planned"}) for use in used.values()]
    return window_frame(rows, ["partition", "partitions", "features", "state"])


def prediction_frame(scratch: PredictionScratch, listed: Mapping[str, Sequence[WindowSpec]]) -> gpd.GeoDataFrame:
    """The windows of some partitions, one row a window.

    Args:
        scratch: The scratch.
        listed: Partition id -> its windows, as ``scratch.windows_of`` gives them.

    Returns:
        Columns of :func:`olmoearth_nb.store.windows.window_frame` and ``partition`` (the one that owns the window),
        ``partitions`` (all that need it), ``features`` (request features it was made for), ``state`` (planned, built,
        predicted or failed), ``reason``, and for each layer ``layer_<name>``: built or missing.
    """
    dataset = scratch.dataset
    layers = [*imagery_layers(dataset), OUTPUT_LAYER]
    used = _used(listed.items())
    failed = scratch.failures()
    rows = []
    for (key, use), done in zip(used.items(), completed_layers(dataset, used, layers), strict=True):
        state = "predicted" if done[-1] else "failed" if key in failed else "built" if all(done[:-1]) else "planned"
        reason = failed.get(key) if state == "failed" else None
        rows.append(_prediction_row(use, {"state": state, "reason": reason, **_layer_columns(layers, done)}))
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


@dataclass
class _Use:
    """A window, the partitions that need it, and for how many features."""

    spec: WindowSpec
    partitions: list[str] = field(default_factory=list)
    features: int = 0


def _used(partitions: Iterable[tuple[str, Iterable[WindowSpec]]]) -> dict[WindowKey, _Use]:
    used: dict[WindowKey, _Use] = {}
    for pid, specs in partitions:
        for spec in specs:
            use = used.setdefault((spec.group, spec.name), _Use(spec))
            use.partitions.append(pid)
            use.features += len(spec.features)
    return used


def _prediction_row(use: _Use, columns: Mapping[str, Any]) -> WindowRow:
    return WindowRow(
        key=(use.spec.group, use.spec.name),
        projection=use.spec.projection,
        bounds=use.spec.bounds,
        time_range=use.spec.time_range,
        columns={
            "partition": use.spec.group.removeprefix("group_"),
            "partitions": ", ".join(use.partitions),
            "features": use.features,
            **columns,
        },
    )


def _layer_columns(layers: Sequence[str], done: Sequence[bool]) -> dict[str, Any]:
    return {f"layer_{layer}": "built" if is_done else "missing" for layer, is_done in zip(layers, done, strict=True)}
