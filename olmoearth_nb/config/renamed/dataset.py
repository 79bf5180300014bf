"""``dataset.json``: data sources by ``name``, formats by ``name``, and what else rslearn renamed or dropped.

The older forms are those of rslearn 0.0.1 to 0.1.15, found by comparing what its published versions accept. Several of
them its current version still takes, until dates that have passed: so they are translated as it does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from olmoearth_nb.config.renamed.draft import Draft, Keys, Modern
from olmoearth_nb.config.renamed.monthly import modern_monthly_source
from olmoearth_nb.config.renamed.platform import modern_platform_source

__all__ = ["modern_dataset"]

_SOURCES = "rslearn.data_sources."
_RASTER_FORMATS = {
    "image_tile": "rslearn.utils.raster_format.ImageTileRasterFormat",
    "geotiff": "rslearn.utils.raster_format.GeotiffRasterFormat",
    "single_image": "rslearn.utils.raster_format.SingleImageRasterFormat",
}
_VECTOR_FORMATS = {
    "geojson": "rslearn.utils.vector_format.GeojsonVectorFormat",
    "tile": "rslearn.utils.vector_format.TileVectorFormat",
}
# What stands beside class_path and init_args, and not among the arguments of the class.
_SOURCE_KEYS = ("query_config", "time_offset", "duration", "ingest")

_NO_CACHE = "It has no effect any more: items are handed on, so that the source need not keep them."
_NO_DELTA = "The source has no such argument any more; it only widened the search for items."
_DROPPED: dict[tuple[str, str], str] = {
    ("aws_landsat.LandsatOliTirs", "max_time_delta"): _NO_DELTA,
    ("aws_open_data.Sentinel2", "max_time_delta"): _NO_DELTA,
    ("gcp_public_data.Sentinel2", "max_time_delta"): _NO_DELTA,
    ("gcp_public_data.Sentinel2", "modality"): "It never had an effect: the images were those of level 1C.",
    ("usgs_landsat.LandsatOliTirs", "max_time_delta"): _NO_DELTA,
    ("aws_sentinel2_element84.Sentinel2", "harmonize"): "The images of this catalogue are harmonized already.",
    ("aws_sentinel2_element84.Sentinel2", "cache_dir"): _NO_CACHE,
    ("stac.StacDataSource", "cache_dir"): _NO_CACHE,
    ("planetary_computer.Sentinel2", "max_cloud_cover"): "It never had an effect.",
}
# Those that hold for every class of a module.
_DROPPED_IN_MODULE: dict[tuple[str, str], str] = {
    ("planetary_computer", "cache_dir"): _NO_CACHE,
    ("planetary_computer", "max_items_per_client"): "It has no effect any more: clients are renewed without it.",
}


def modern_dataset(value: Any) -> Modern:
    """``dataset.json`` in the spelling of today.

    Args:
        value: What the file says.

    Example:
        >>> modern = modern_dataset({"layers": {}, "tile_store": {"name": "file", "root_dir": "tiles"}})
        >>> modern.value["tile_store"]["init_args"]
        {'path_suffix': 'tiles'}
    """
    draft = Draft(value)
    if isinstance(draft.value, Mapping):
        for name in draft.mapping(("layers",)):
            _layer(draft, ("layers", name))
        _tile_store(draft, ("tile_store",))
    return draft.finished()


def _layer(draft: Draft, keys: Keys) -> None:
    layer = draft.mapping(keys)
    if layer.get("type") == "vector":
        _vector_format(draft, keys)
    bands = layer.get("band_sets")
    for index in range(len(bands) if isinstance(bands, list) else 0):
        _band_set(draft, (*keys, "band_sets", index))
    if isinstance(layer.get("data_source"), Mapping):
        source = (*keys, "data_source")
        _source_name(draft, source)
        _source_keys(draft, source)
        modern_platform_source(draft, keys)
        modern_monthly_source(draft, source)
        _source_arguments(draft, source)
        _query(draft, (*source, "query_config"))


# ---- formats ---------------------------------------------------------------------------------------------------


def _format_name(value: Any) -> tuple[str | None, dict[str, Any]]:
    """Name and options of an older format; no name where it is none."""
    match value:
        case str():
            return value, {}
        case {"name": str(name)} if "class_path" not in value:
            return name, {key: item for key, item in value.items() if key != "name"}
        case _:
            return None, {}


def _formatted(classes: Mapping[str, str], name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {"class_path": classes[name], **({"init_args": dict(options)} if options else {})}


def _band_set(draft: Draft, keys: Keys) -> None:
    name, options = _format_name(draft.mapping(keys).get("format"))
    place = (*keys, "format")
    if name in _RASTER_FORMATS:
        if name == "image_tile":
            options = {"format": "geotiff", **options}  # which was the default
        new = _formatted(_RASTER_FORMATS, name, options)
        old = draft.at(place)
        draft.put(place, "format", new)
        draft.changed(place, {"format": old}, {"format": new}, "Formats are given by class_path and init_args.")
    elif name is not None:
        fix = f"Give the class: class_path and init_args. The names were {', '.join(_RASTER_FORMATS)}."
        draft.unclear(place, f"There is no raster format of the name {name!r}.", fix)
    _nodata(draft, keys)


def _nodata(draft: Draft, keys: Keys) -> None:
    band_set = draft.mapping(keys)
    if "nodata_vals" not in band_set:
        return
    place, values, new = (*keys, "nodata_vals"), band_set["nodata_vals"], band_set.get("nodata_value")
    if new is not None:
        values = [*(values or []), new]
    distinct = {"nan" if isinstance(one, float) and math.isnan(one) else one: one for one in values or []}
    if len(distinct) > 1:
        fix = "Give one nodata_value, or put bands with another one into a band set of their own."
        draft.unclear(place, f"nodata_vals has several values: {', '.join(map(str, distinct))}.", fix)
    elif distinct and new is None:
        (value,) = distinct.values()
        draft.put(place, "nodata_value", value)
        draft.changed(place, {"nodata_vals": values}, {"nodata_value": value}, "One value holds for all bands.")
    else:
        draft.drop(place)
        draft.changed(place, {"nodata_vals": values}, None, "nodata_value says it.")


def _vector_format(draft: Draft, keys: Keys) -> None:
    layer = draft.mapping(keys)
    for key in ("format", "vector_format"):
        place, old = (*keys, key), layer.get(key)
        name, options = _format_name(old)
        if name in _VECTOR_FORMATS:
            new = _formatted(_VECTOR_FORMATS, name, _vector_options(options))
        elif name is not None:
            fix = f"Give the class: class_path and init_args. The names were {', '.join(_VECTOR_FORMATS)}."
            draft.unclear(place, f"There is no vector format of the name {name!r}.", fix)
            continue
        elif key == "format" and isinstance(old, Mapping):
            new = dict(old)
        else:
            continue
        draft.put(place, "vector_format", new)
        draft.changed(place, {key: old}, {"vector_format": new}, "Formats are given by class_path and init_args.")


def _vector_options(options: Mapping[str, Any]) -> dict[str, Any]:
    new = dict(options)
    if isinstance(new.get("coordinate_mode"), str):
        new["coordinate_mode"] = new["coordinate_mode"].upper()  # by name, where it was by value
    if isinstance(new.get("projection"), Mapping) and "class_path" not in new["projection"]:
        new["projection"] = {"class_path": "rslearn.utils.geometry.Projection", "init_args": dict(new["projection"])}
    return new


# ---- data sources ----------------------------------------------------------------------------------------------


def _source_name(draft: Draft, keys: Keys) -> None:
    """``name`` with the arguments beside it, to ``class_path`` and ``init_args``."""
    source = draft.mapping(keys)
    name = source.get("name")
    if not isinstance(name, str):
        return
    kept = ("name", "class_path", "init_args", *_SOURCE_KEYS)
    moved = {key: item for key, item in source.items() if key not in kept}
    given = source.get("init_args")
    arguments = {**(given if isinstance(given, Mapping) else {}), **moved}
    draft.put((*keys, "name"), "class_path")
    first, *others = moved or [None]
    if first is not None:
        draft.put((*keys, first), "init_args", arguments)
    for key in others:
        draft.drop((*keys, str(key)))
    new = f"class_path: {name}" + (f", init_args: {{{', '.join(arguments)}}}" if arguments else "")
    old = f"name: {name}" + (f", {', '.join(moved)}" if moved else "")
    draft.changed(keys, old, new, "Data sources are given by class_path, their arguments by init_args.")


def _source_keys(draft: Draft, keys: Keys) -> None:
    """What belongs beside the arguments and stands among them."""
    for key in _SOURCE_KEYS:
        place = (*keys, "init_args", key)
        if key in draft.mapping(place[:-1]) and key not in draft.mapping(keys):
            value = draft.at(place)
            draft.drop(place)
            draft.add((*keys, key), value)
            draft.changed(place, f"init_args.{key}", {key: value}, "It belongs beside init_args, not into it.")


def _source_arguments(draft: Draft, keys: Keys) -> None:
    path = draft.mapping(keys).get("class_path")
    if not isinstance(path, str) or not path.startswith(_SOURCES):
        return
    name = path.removeprefix(_SOURCES)
    module = name.partition(".")[0]
    for key, value in list(draft.mapping((*keys, "init_args")).items()):
        why = _DROPPED.get((name, key)) or _DROPPED_IN_MODULE.get((module, key))
        if why is not None:
            draft.drop((*keys, "init_args", key))
            draft.changed((*keys, "init_args", key), {key: value}, None, why)


def _query(draft: Draft, keys: Keys) -> None:
    query = draft.mapping(keys)
    if query.get("time_mode") == "WITHIN":
        draft.drop((*keys, "time_mode"))
        draft.changed((*keys, "time_mode"), {"time_mode": "WITHIN"}, None, "There is no other mode any more.")
    elif "time_mode" in query:
        fix = "Give the time range by time_offset and duration of the data source, and remove time_mode."
        draft.unclear((*keys, "time_mode"), f"rslearn is giving up time_mode {query['time_mode']}.", fix, works=True)
    if query.get("space_mode") == "PER_PERIOD_MOSAIC":
        period = query.get("period_duration")
        draft.put((*keys, "space_mode"), "space_mode", "MOSAIC")
        if period is None:
            draft.add((*keys, "period_duration"), "30d")  # which was the default
        draft.changed(
            (*keys, "space_mode"),
            "space_mode: PER_PERIOD_MOSAIC",
            {"space_mode": "MOSAIC", "period_duration": period or "30d"},
            "A mosaic with a period is one mosaic a period, newest first as before.",
        )


def _tile_store(draft: Draft, keys: Keys) -> None:
    if "tile_store" not in draft.value:
        return
    old = draft.at(keys)
    match old:
        case None:
            draft.drop(keys)
            draft.changed(keys, {"tile_store": None}, None, "The default one is used.")
        case {"name": "file", "root_dir": root}:
            new = {"class_path": "rslearn.tile_stores.default.DefaultTileStore", "init_args": {"path_suffix": root}}
            draft.put(keys, "tile_store", new)
            draft.changed(keys, {"tile_store": old}, {"tile_store": new}, "Tile stores are given by class_path.")
        case {"name": name} if "class_path" not in old:
            fix = "Give the class: class_path and init_args; rslearn.tile_stores.default.DefaultTileStore, say."
            draft.unclear(keys, f"There is no tile store of the name {name!r}.", fix)
