"""Monthly mosaics of rslearn_projects (``rslp.satlas.data_sources``), which rslearn makes itself now.

What the classes do was read from rslearn_projects of 2025: one mosaic for each 30 days, counted back from the end of
the time range, newest first; a window with fewer mosaics than asked for gets none.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pydantic import ValidationError
from rslearn.config import DataSourceConfig

from olmoearth_nb.config.renamed.draft import Draft, Keys

__all__ = ["modern_monthly_source"]

_ROOT = "rslp.satlas.data_sources."
_GOOGLE = "rslearn.data_sources.gcp_public_data.Sentinel2"
# Class -> the one whose scenes it puts together.
_SOURCES = {
    "MonthlySentinel2": _GOOGLE,
    "MonthlyAzureSentinel2": "rslearn.data_sources.planetary_computer.Sentinel2",
    "MonthlySentinel1": "rslearn.data_sources.planetary_computer.Sentinel1",
}
_SAME = "rslearn makes the same mosaics: one a period, newest first, none for a window that has fewer of them."


def modern_monthly_source(draft: Draft, keys: Keys) -> None:
    """Puts rslearn's own mosaics by period in the place of those of rslearn_projects, where they are the same.

    Args:
        draft: The configuration.
        keys: The data source.
    """
    path = draft.mapping(keys).get("class_path")
    source = _SOURCES.get(path.removeprefix(_ROOT)) if isinstance(path, str) and path.startswith(_ROOT) else None
    arguments = draft.mapping((*keys, "init_args"))
    # A source inside another one was written for the rslearn of today.
    if source is None or not {"sentinel1", "sentinel2"}.isdisjoint(arguments):
        return
    if _differs(draft, keys, source):
        return
    matches = draft.mapping((*keys, "query_config")).get("max_matches", 1)
    new = {
        "space_mode": "MOSAIC",
        "max_matches": matches,
        "min_matches": matches,
        "period_duration": f"{arguments.get('period_days', 30)}d",
        "per_period_mosaic_reverse_time_order": True,
    }
    draft.put((*keys, "class_path"), "class_path", source)
    if "period_days" in arguments:
        draft.drop((*keys, "init_args", "period_days"))
    if source == _GOOGLE and arguments.get("sort_by") != "cloud_cover":
        # It sorted them so whatever it was told.
        draft.add((*keys, "init_args", "sort_by"), "cloud_cover")
    if not isinstance(draft.at((*keys, "query_config")), dict):
        draft.add((*keys, "query_config"), {})
    for key, value in new.items():
        draft.add((*keys, "query_config", key), value)
    draft.changed((*keys, "class_path"), {"class_path": path}, {"class_path": source, "query_config": new}, _SAME)


def _differs(draft: Draft, keys: Keys, source: str) -> bool:
    """Names what rslearn's mosaics can't do as those did."""
    arguments, query = draft.mapping((*keys, "init_args")), draft.mapping((*keys, "query_config"))
    period, matches = arguments.get("period_days", 30), query.get("max_matches", 1)
    days = _days(draft.mapping(keys).get("duration"))
    if source == _GOOGLE and arguments.get("max_cloud_cover") is not None:
        found = f"{source} can't leave out scenes with more than {arguments['max_cloud_cover']}% of clouds."
        fix = "Remove max_cloud_cover, if a mosaic may have them where there is no other scene: clear ones come first."
        draft.unclear((*keys, "init_args", "max_cloud_cover"), found, fix)
        return True
    if query.get("space_mode", "MOSAIC") != "MOSAIC":
        found = f"Monthly mosaics with space_mode {query['space_mode']} were refused before, too."
        draft.unclear((*keys, "query_config", "space_mode"), found, "Write MOSAIC.")
        return True
    if days is not None and isinstance(period, int) and isinstance(matches, int) and days < matches * period:
        found = f"{days:g} days hold fewer than {matches} periods of {period} days, and rslearn takes whole ones only."
        fix = f"Make it {matches * period}d, and let time_offset be earlier by as much, or ask for fewer max_matches."
        draft.unclear((*keys, "duration"), found, fix)
        return True
    return False


def _days(duration: Any) -> float | None:
    try:
        made = DataSourceConfig(class_path="", duration=duration).duration
    except (TypeError, ValidationError):
        return None  # the check of the file says so
    return made / timedelta(days=1) if made is not None else None
