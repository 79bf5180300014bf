"""A plan as layers of a map: request, partitions, and windows by how many partitions need them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from olmoearth_nb.colors import RGB
from olmoearth_nb.geojson import PredictionRequestCollection
from olmoearth_nb.maps.features import partitions_layer, request_layer, windows_layer
from olmoearth_nb.maps.layers import Key, Layer
from olmoearth_nb.planning import Plan
from olmoearth_nb.store.windows import WindowKey, WindowRow, window_frame

__all__ = ["plan_layers"]

# More colours in a legend hide the map and can't be told apart.
_MOST_KEYS = 6
# None of those that partitions get.
_WINDOW_COLORS: dict[str, RGB] = {"one partition": (105, 105, 105), "several partitions": (63, 55, 201)}


def plan_layers(plan: Plan, request: PredictionRequestCollection) -> list[Layer]:
    """The layers that show a plan.

    Args:
        plan: The plan.
        request: What it was made for.
    """
    users: dict[WindowKey, list[str]] = {}
    for partition in plan.partitions:
        for spec in partition.windows:
            users.setdefault((spec.group, spec.name), []).append(partition.partition_id)
    rows = [
        WindowRow(
            key=key,
            projection=spec.projection,
            bounds=spec.bounds,
            time_range=spec.time_range,
            columns=_columns(users[key]),
        )
        for spec in plan.windows
        for key in [(spec.group, spec.name)]
    ]
    table = window_frame(rows, ["partition", "partitions", "needed by"])
    requests = {one.partition_id: one.request for one in plan.partitions}
    partitions = partitions_layer(requests, {one.partition_id: len(one.windows) for one in plan.partitions})
    if len(requests) > _MOST_KEYS:
        partitions = replace(partitions, key=None)
    windows = windows_layer(table, by="needed by")
    counts = Counter(table["needed by"])
    key = Key(
        "windows needed by", tuple((f"{name} ({counts[name]:,})", color) for name, color in _WINDOW_COLORS.items())
    )
    colors = [_WINDOW_COLORS[name] for name in table["needed by"]]
    return [request_layer(request), partitions, replace(windows, colors=colors, key=key)]


def _columns(users: list[str]) -> dict[str, Any]:
    return {
        "partition": users[0],
        "partitions": ", ".join(users),
        "needed by": "one partition" if len(users) == 1 else "several partitions",
    }
