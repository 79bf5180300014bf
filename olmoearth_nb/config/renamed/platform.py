"""Data sources of the OlmoEarth platform, which only it can read, to open catalogues with the same images.

What they take was read from olmoearth-runner 0.1.14; ``provider_excludes`` and ``provider_priority`` from newer
configurations.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from olmoearth_nb.config.renamed.draft import Draft, Keys

__all__ = ["modern_platform_source"]

_ROOT = "olmoearth_run.runner.tools.rslearn_data_sources.olmoearth_datasets."
_PLANETARY = "rslearn.data_sources.planetary_computer."
_CLOUDS = "eo:cloud_cover"
# As the platform names comparisons -> as a query of STAC does.
_COMPARISONS = {"inc": "in", **{name: name for name in ("eq", "neq", "gte", "gt", "lte", "lt")}}
# Options that say how the platform's servers are asked.
_ACCESS = ("retry_config", "provider_excludes", "provider_priority")


@dataclass(frozen=True)
class _Catalogue:
    """An open catalogue.

    Attributes:
        class_path: rslearn's class.
        images: What it has, for the reader.
        bands: The bands that it has.
        filters: Filter of the platform -> property of the catalogue's items.
        sorting: Field of the platform -> what to sort by.
        dropped: Argument of the platform -> why the catalogue needs none.
        added: Arguments that the platform needs none of, or has another default for.
        satellites: Name of a satellite at the platform, up to its letter -> at the catalogue.
    """

    class_path: str
    images: str
    bands: frozenset[str]
    filters: Mapping[str, str] = field(default_factory=dict)
    sorting: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    added: Mapping[str, Any] = field(default_factory=dict)
    satellites: Mapping[str, str] = field(default_factory=dict)


_OF_LAYER = "The bands of the layer decide."
_ALWAYS = "Scenes that lack a band of the layer are always left out."
_CATALOGUES = {
    "sentinel2_l2a.Sentinel2L2A": _Catalogue(
        class_path=f"{_PLANETARY}Sentinel2",
        images="Planetary Computer has the same images",
        bands=frozenset((*(f"B{number:02}" for number in (*range(1, 10), 11, 12)), "B8A", "SCL", "R", "G", "B")),
        filters={"cloud_cover": _CLOUDS, "mgrs_tile": "s2:mgrs_tile", "satellite": "platform"},
        sorting={"collected_at": "datetime", "cloud_cover": _CLOUDS},
        dropped={"band_sets": _OF_LAYER, "skip_items_missing_assets": _ALWAYS},
        satellites={"S2": "Sentinel-2"},
    ),
    "sentinel1_rtc.Sentinel1RTC": _Catalogue(
        class_path=f"{_PLANETARY}Sentinel1",
        images="Planetary Computer has the same images",
        bands=frozenset(("vv", "vh", "hh", "hv")),
        filters={
            "orbit_direction": "sat:orbit_state",
            "relative_orbit": "sat:relative_orbit",
            "instrument_mode": "sar:instrument_mode",
            "satellite": "platform",
        },
        sorting={"collected_at": "datetime"},
        dropped={"band_sets": _OF_LAYER},
        added={"skip_items_missing_assets": True},
        satellites={"S1": "SENTINEL-1"},
    ),
    # Planetary Computer has no Level-1 of Landsat.
    "landsat_8_9_c2_l1.Landsat89C2L1": _Catalogue(
        class_path="rslearn.data_sources.aws_landsat.LandsatOliTirs",
        images="the archive at AWS has the same images, for those who have an account there",
        bands=frozenset(f"B{number}" for number in range(1, 12)),
        # It has no order by time: the empty name is no sort_by.
        sorting={"collected_at": "", "cloud_cover": "cloud_cover"},
        dropped={
            "band_sets": _OF_LAYER,
            "skip_items_missing_assets": "Scenes have all bands.",
            "timeout": "The class has no such argument.",
        },
        added={"metadata_cache_dir": "cache/landsat"},
    ),
}


def modern_platform_source(draft: Draft, layer: Keys) -> None:
    """Puts an open catalogue in the place of a data source of the platform, unless olmoearth-runner is installed.

    Args:
        draft: The configuration.
        layer: The layer that has the data source.
    """
    keys = (*layer, "data_source")
    path = draft.mapping(keys).get("class_path")
    if not isinstance(path, str) or not path.startswith(_ROOT) or _has_platform():
        return
    catalogue = _CATALOGUES.get(path.removeprefix(_ROOT))
    if catalogue is None:
        fix = f"Give another one: {', '.join(sorted({one.class_path for one in _CATALOGUES.values()}))}, say."
        draft.unclear((*keys, "class_path"), f"{path} is only open to the platform itself.", fix)
        return
    draft.put((*keys, "class_path"), "class_path", catalogue.class_path)
    why = f"That source is only open to the platform itself; {catalogue.images}."
    draft.changed((*keys, "class_path"), {"class_path": path}, {"class_path": catalogue.class_path}, why)
    arguments = (*keys, "init_args")
    if not isinstance(draft.at(arguments), Mapping):
        draft.add(arguments, {})
    _bands(draft, layer, catalogue)
    dropped = {**dict.fromkeys(_ACCESS, "It only says how the platform is asked."), **catalogue.dropped}
    for key, reason in dropped.items():
        if key in draft.mapping(arguments):
            draft.changed((*arguments, key), {key: draft.at((*arguments, key))}, None, reason)
            draft.drop((*arguments, key))
    for key, value in catalogue.added.items():
        if key not in draft.mapping(arguments):
            draft.add((*arguments, key), value)
            draft.changed(arguments, f"no {key}", {key: value}, "The platform does so unless it is told otherwise.")
    _query(draft, arguments, catalogue)


def _has_platform() -> bool:
    """Whether olmoearth-runner is installed; this package's stand-in for its names does not count."""
    spec = importlib.util.find_spec("olmoearth_run")
    return spec is not None and spec.origin != "olmoearth_nb.config.aliases"


def _bands(draft: Draft, layer: Keys, catalogue: _Catalogue) -> None:
    band_sets = draft.mapping(layer).get("band_sets")
    for index in range(len(band_sets) if isinstance(band_sets, list) else 0):
        keys = (*layer, "band_sets", index, "bands")
        bands = draft.at(keys)
        missing = [str(band) for band in bands if band not in catalogue.bands] if isinstance(bands, list) else []
        if missing:
            found = f"Only the platform has the bands {', '.join(missing)}, not {catalogue.class_path}."
            draft.unclear(keys, found, "Leave them out, or give the layer another data source.")


def _query(draft: Draft, arguments: Keys, catalogue: _Catalogue) -> None:
    """Filters and the order of the scenes; left as they are where one of them has no counterpart."""
    keys = (*arguments, "query")
    query = draft.mapping(keys)
    found, lost = _filters(query, catalogue)
    order = str(query.get("sort_by", "collected_at")).lower()
    descending = str(query.get("sort_direction", "asc")).lower() == "desc"
    if order not in catalogue.sorting:
        lost.append("sort_by")
    for name in lost:
        there = ", ".join(sorted({"sort_by", "sort_direction", *catalogue.filters}))
        text = f"{catalogue.class_path} can't choose scenes by {name} ({query[name]})."
        draft.unclear((*keys, name), text, f"Remove it. These can be carried over: {there}.")
    if lost:
        return
    new: dict[str, Any] = {}
    if catalogue.sorting[order]:
        new["sort_by"] = catalogue.sorting[order]
        if descending:
            new["sort_ascending"] = False
        if order == "cloud_cover" and catalogue.filters:
            found.setdefault(_CLOUDS, {"gte": 0})  # leaves out scenes that don't say, which could not be sorted
    if found:
        new["query"] = found
    old: Any = {"query": query} if draft.at(arguments).get("query") is not None else "no query"
    if "query" in draft.mapping(arguments):
        draft.drop(keys)
    for key, value in new.items():
        draft.add((*arguments, key), value)
    draft.changed(keys, old, new or None, "The same scenes in the same order, as the catalogue is asked for them.")


def _filters(query: Mapping[str, Any], catalogue: _Catalogue) -> tuple[dict[str, Any], list[str]]:
    """The filters in terms of the catalogue, and the names of those that have none."""
    found, lost = {}, []
    for name, given in query.items():
        if name in ("sort_by", "sort_direction") or given is None:
            continue
        filters = {key: value for key, value in given.items() if value is not None} if isinstance(given, dict) else {}
        if name not in catalogue.filters or not filters or not set(filters) <= set(_COMPARISONS):
            lost.append(name)
            continue
        names = catalogue.satellites if name == "satellite" else {}
        found[catalogue.filters[name]] = {_COMPARISONS[key]: _named(value, names) for key, value in filters.items()}
    return found, lost


def _named(value: Any, names: Mapping[str, str]) -> Any:
    """A value or several, satellites as the catalogue names them: ``S2A`` is ``Sentinel-2A``."""
    match value:
        case list():
            return [_named(one, names) for one in value]
        case str() if value[:-1] in names:
            return names[value[:-1]] + value[-1]
        case _:
            return value
