"""The layers that a model reads, as they lie in the dataset, and the items that they were made of."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import torch
from rslearn.config import LayerConfig, LayerType
from rslearn.data_sources import Item
from rslearn.data_sources.local_files import LocalFiles
from rslearn.dataset import Dataset, Window
from rslearn.dataset.window import WindowLayerData, get_layer_and_group_from_dir_name
from rslearn.train.dataset import (
    DataInput,
    read_layer_time_range,
    read_raster_layer_groups_for_data_input,
    resolve_raster_data_input_bands,
)
from rslearn.utils.geometry import STGeometry

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InferenceError
from olmoearth_nb.model.instantiate import component_class
from olmoearth_nb.model.trace.frame import Frame
from olmoearth_nb.model.trace.stages import InputFacts, time_coords
from olmoearth_nb.model.trace.writing import features_frame
from olmoearth_nb.sources import LocalRasters, LocalVectors
from olmoearth_nb.traces.data import LayerRole, TraceItem, TraceLayer

__all__ = ["input_facts", "read_layers"]

Times = tuple[datetime, datetime]


def read_layers(
    dataset: Dataset, window: Window, inputs: Mapping[str, DataInput], *, failure: str | None = None
) -> dict[str, TraceLayer]:
    """Every layer that some input reads, inputs first.

    Args:
        dataset: The dataset.
        window: The window.
        inputs: What the model reads.
        failure: Why the window could not be built, as the build said.

    Raises:
        InferenceError: If a layer can't be read.
    """
    readers: dict[str, list[DataInput]] = {}
    for one in sorted(inputs.values(), key=lambda data_input: data_input.is_target):
        for option in one.layers:
            name = option if one.load_all_item_groups else get_layer_and_group_from_dir_name(option)[0]
            readers.setdefault(name, []).append(one)
    matched = window.load_layer_datas()
    done: dict[str, list[int]] = {}
    for name, group in window.list_completed_layers():
        done.setdefault(name, []).append(group)
    found = {}
    for name, ones in readers.items():
        with foreign_code(InferenceError, f"The layer {name!r} can't be read", where=f"window {window.name}"):
            found[name] = _read_layer(
                dataset, window, name, ones, matched.get(name), sorted(done.get(name, [])), failure
            )
    return found


def _read_layer(
    dataset: Dataset,
    window: Window,
    name: str,
    inputs: list[DataInput],
    matched: WindowLayerData | None,
    groups: list[int],
    failure: str | None,
) -> TraceLayer:
    roles = {one.is_target for one in inputs}
    role: LayerRole = "both" if len(roles) == 2 else "label" if True in roles else "input"
    config = dataset.layers.get(name)
    if config is None:
        return TraceLayer(name=name, role=role, reason="the dataset has no such layer")
    items, note = _items(dataset, config, window, matched)
    if not groups:
        reason = _why_missing(config, matched, failure)
        return TraceLayer(name=name, role=role, items=items, reason=reason, note=note)
    if config.type == LayerType.VECTOR:
        form = config.instantiate_vector_format()
        features = [one for group in groups for one in window.data.read_vector(name, form, group_idx=group)]
        return TraceLayer(name=name, role=role, features=features_frame(features, window), items=items, note=note)
    images, times = _read_groups(window, name, groups, config, inputs, matched)
    values = torch.cat(images, dim=1).transpose(0, 1).numpy()
    bands = _all_bands(inputs, name, config)
    flat = [pair for pairs in times for pair in pairs or ()]
    coords = {"band": bands, **time_coords(flat if len(flat) == len(values) else None, None)}
    sources = [
        _source(group, matched) for group, image in zip(groups, images, strict=True) for _ in range(image.shape[1])
    ]
    if None not in sources:
        coords["source"] = ("time", sources)
    data = Frame.of(window).raster(
        values,
        ("time", "band", "y", "x"),
        coords,
        nodata=_nodata(config),
        note=f"layer {name} as read",
        units="as stored",
    )
    return TraceLayer(name=name, role=role, data=data, items=items, note=note)


def _read_groups(
    window: Window,
    name: str,
    groups: list[int],
    config: LayerConfig,
    inputs: list[DataInput],
    matched: WindowLayerData | None,
) -> tuple[list[torch.Tensor], list[list[Times] | None]]:
    first = inputs[0]
    everything = DataInput(
        data_type="raster",
        layers=[name],
        bands=_all_bands(inputs, name, config),
        dtype=first.dtype,
        resolution_factor=first.resolution_factor,
    )
    images, times = read_raster_layer_groups_for_data_input(window, window.bounds, name, groups, config, everything)
    for slot, (image, pairs) in enumerate(zip(images, times, strict=True)):
        if pairs is None and image.shape[1] == 1:
            # What rslearn takes for the time of an image that has none itself.
            whole = read_layer_time_range(matched, groups[slot]) if matched is not None else None
            times[slot] = None if whole is None else [whole]
    return images, times


def _all_bands(inputs: list[DataInput], name: str, config: LayerConfig) -> list[str]:
    lists = [resolve_raster_data_input_bands(one, name, config) for one in inputs if one.data_type == "raster"]
    return list(dict.fromkeys(band for bands in lists for band in bands))


def _source(group: int, matched: WindowLayerData | None) -> str | None:
    """Names of the items of a group."""
    if matched is None or group >= len(matched.serialized_item_groups):
        return None
    return ", ".join(str(item["name"]) for item in matched.serialized_item_groups[group])


def _nodata(config: LayerConfig) -> float | None:
    """The value of nodata: where a layer from a data source does not say, rslearn leaves 0 where there is nothing."""
    values = {band_set.nodata_value for band_set in config.band_sets}
    if len(values) == 1 and None not in values:
        value = values.pop()
        return None if value is None else float(value)
    return 0.0 if config.data_source is not None else None


def input_facts(
    dataset: Dataset, inputs: Mapping[str, DataInput], layers: Mapping[str, TraceLayer]
) -> dict[str, InputFacts]:
    """Names of bands, nodata and source items of the inputs that are rasters.

    Args:
        dataset: The dataset.
        inputs: What the model reads.
        layers: Layers as read.
    """
    facts = {}
    for name, one in inputs.items():
        if one.data_type != "raster":
            continue
        names = [option if one.load_all_item_groups else option.split(".")[0] for option in one.layers]
        config = dataset.layers.get(names[0])
        if config is None:
            continue
        sources: dict[tuple[np.datetime64, np.datetime64], str] = {}
        for layer in (layers[n] for n in names if n in layers):
            sources |= _layer_sources(layer)
        facts[name] = InputFacts(
            bands=resolve_raster_data_input_bands(one, names[0], config), nodata=_nodata(config), sources=sources
        )
    return facts


def _layer_sources(layer: TraceLayer) -> dict[tuple[np.datetime64, np.datetime64], str]:
    """Start and end of the time steps of a layer -> names of items."""
    if layer.data is None or not {"source", "time_end"} <= set(layer.data.coords):
        return {}
    coords = layer.data.coords
    return dict(
        zip(
            zip(coords["time"].values, coords["time_end"].values, strict=True),
            map(str, coords["source"].values),
            strict=True,
        )
    )


def _why_missing(config: LayerConfig, matched: WindowLayerData | None, failure: str | None) -> str:
    if config.data_source is None:
        return "nothing was written into it: it comes from no data source"
    if failure is not None:
        return f"it could not be built: {failure.rstrip('.')}"
    if matched is None:
        return "its data source was never asked: the window has not been built"
    if not any(matched.serialized_item_groups):
        return "its data source has no item that fits the place, the time and the query"
    return "items were matched, but nothing was materialized"


def _items(
    dataset: Dataset, config: LayerConfig, window: Window, matched: WindowLayerData | None
) -> tuple[tuple[TraceItem, ...], str | None]:
    """Items that were matched, and those at the place that were not."""
    if config.data_source is None:
        return (), None
    used = [
        (group, Item.deserialize(item))
        for group, items in enumerate(matched.serialized_item_groups if matched is not None else [])
        for item in items
    ]
    found = [_item(item, group=group) for group, item in used]
    candidates = _candidates(dataset, config)
    if candidates is None:
        return tuple(found), "Which other items there are only the data source knows: asking it needs a connection."
    geometry = window.get_geometry()
    time_range = config.data_source.get_request_time_range(window.time_range)
    here = [
        item
        for item in candidates
        if STGeometry(geometry.projection, geometry.shp, None).intersects(
            STGeometry(item.geometry.projection, item.geometry.shp, None)
        )
    ]
    names = {item.name for _, item in used}
    others = [item for item in here if item.name not in names]
    found += [_item(item, reason=_why_rejected(item, time_range, config)) for item in others]
    elsewhere = len(candidates) - len(here)
    return tuple(found), f"{elsewhere:,} other items lie elsewhere." if elsewhere else None


def _item(item: Item, *, group: int | None = None, reason: str | None = None) -> TraceItem:
    start, end = item.geometry.time_range or (None, None)
    return TraceItem(name=item.name, used=reason is None, group=group, start=start, end=end, reason=reason)


def _why_rejected(item: Item, time_range: Times | None, config: LayerConfig) -> str:
    taken: Times | None = item.geometry.time_range
    if taken is not None and time_range is not None and (taken[1] < time_range[0] or taken[0] >= time_range[1]):
        return f"it was taken {taken[0]:%Y-%m-%d}, outside of {time_range[0]:%Y-%m-%d} to {time_range[1]:%Y-%m-%d}"
    query: Any = config.data_source.query_config if config.data_source is not None else None
    mode = str(getattr(query.space_mode, "value", query.space_mode)).lower()
    if mode == "contains":
        return f"it does not contain the window, or {query.max_matches} others were matched first"
    return f"others were matched first (space_mode {mode}, max_matches {query.max_matches})"


def _candidates(dataset: Dataset, config: LayerConfig) -> list[Item] | None:
    """All items of a source of local files, without writing its listing; None for other sources."""
    cls = component_class(config.data_source.class_path) if config.data_source is not None else None
    # Others may open a connection as soon as they are made.
    if cls is None or not issubclass(cls, (LocalFiles, LocalRasters, LocalVectors)):
        return None
    source: Any = config.instantiate_data_source(dataset.path)
    if isinstance(source, (LocalRasters, LocalVectors)):
        return list(source.list_items())
    if source.get_cache_fname().exists():
        items: list[Item] = source.list_items()
        return items
    return list(source.importer.list_items(source.src_dir))
