"""What is wrong with labels as layers of a map."""

from __future__ import annotations

from collections.abc import Mapping

import geopandas as gpd
import pandas as pd

from olmoearth_nb.colors import RGB
from olmoearth_nb.labels.tasks import AnnotationTasks
from olmoearth_nb.legend import Legend
from olmoearth_nb.maps.features import annotations_layer, windows_layer
from olmoearth_nb.maps.frame import one_side
from olmoearth_nb.maps.layers import Key, Layer, LayerKind, ShapeLayer

__all__ = ["report_layers"]

_Look = tuple[str, LayerKind, RGB, float]
# What a check found -> name on the map, place in the order, colour, filling. None of the colours is one of a split.
_LOOKS: Mapping[str, _Look] = {
    "empty-tasks": ("tasks without labels", LayerKind.REQUEST, (90, 90, 90), 0.0),
    "duplicates": ("duplicates", LayerKind.CHANGES, (121, 85, 72), 0.2),
    "overlaps": ("overlaps", LayerKind.CHANGES, (255, 143, 0), 0.2),
    "conflicts": ("conflicts", LayerKind.CHANGES, (213, 0, 0), 0.4),
    "leakage": ("too near to train", LayerKind.CHANGES, (106, 27, 154), 0.0),
}


def report_layers(
    tasks: AnnotationTasks,
    found: Mapping[str, gpd.GeoDataFrame],
    *,
    windows: gpd.GeoDataFrame | None = None,
    label: str | None = None,
    legend: Legend | None = None,
) -> list[Layer]:
    """Annotations by class, windows by split, and above them what checks found.

    Args:
        tasks: The annotations.
        found: Code of a check -> places that it concerns, in WGS84.
        windows: With the columns ``name`` and ``split``; None if there are none.
        label: Which label to colour by; the first one if None.
        legend: The project's legend.

    Raises:
        UsageError: If there is no such label.
    """
    layers: list[Layer] = []
    if tasks.annotation_count:
        layers.append(annotations_layer(tasks, label=label, legend=legend))
    if windows is not None and len(windows):
        layers.append(windows_layer(windows, by="split", also=("task",)))
    layers += [_layer(found[code], look) for code, look in _LOOKS.items() if code in found and len(found[code])]
    return layers


def _layer(table: gpd.GeoDataFrame, look: _Look) -> ShapeLayer:
    name, kind, color, fill = look
    there = table[~(table.geometry.isna() | table.geometry.is_empty)]
    about = pd.DataFrame(there.drop(columns="geometry")).reset_index(drop=True)
    about.insert(0, name, [name] * len(there))
    title = f"{name} ({len(there):,})"
    return ShapeLayer(
        kind=kind,
        name=title,
        shapes=one_side(list(there.geometry)),
        colors=[color] * len(there),
        about=about,
        fill=fill,
        key=Key("", ((title, color),)),
    )
