from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import shapely
from config_project import ProjectFolder
from rslearn.config import DatasetConfig, QueryConfig
from rslearn.const import WGS84_PROJECTION
from rslearn.data_sources import Item
from rslearn.data_sources.planetary_computer import Sentinel1, Sentinel2
from rslearn.data_sources.utils import match_candidate_items_to_window
from rslearn.utils.geometry import STGeometry

from olmoearth_nb import Project
from olmoearth_nb.config.renamed import Modern, modern_dataset
from olmoearth_nb.config.upgrade import upgrade_project

ROOT = "rslp.satlas.data_sources."
START = datetime(2024, 1, 1, tzinfo=UTC)


def layer(name: str, bands: tuple[str, ...] = ("B02",), **source: Any) -> dict[str, Any]:
    data_source = {"name": f"{ROOT}{name}", **source}
    return {"type": "raster", "band_sets": [{"bands": list(bands), "dtype": "float32"}], "data_source": data_source}


def modern(name: str, **source: Any) -> Modern:
    return modern_dataset({"layers": {"images": layer(name, **source)}})


def matched(query: QueryConfig, days: dict[str, int], length: int) -> list[list[str]]:
    """Names of the scenes of each mosaic, for scenes taken so many days after the start of a window."""
    square = shapely.box(0, 0, 1, 1)

    def over(begin: int, end: int) -> STGeometry:
        times = (START + timedelta(days=begin), START + timedelta(days=end))
        return STGeometry(WGS84_PROJECTION, square, times)

    items = [Item(name, over(day, day)) for name, day in days.items()]
    groups = match_candidate_items_to_window(over(0, length), items, query)
    return [[item.name for item in group.items] for group in groups]


@pytest.mark.filterwarnings("ignore:QueryConfig.per_period_mosaic_reverse_time_order")
def test_mosaics_are_one_a_period_the_newest_first_or_none() -> None:
    found = modern("MonthlyAzureSentinel2", period_days=20, query_config={"max_matches": 2, "min_matches": 1})
    assert not found.unclear
    query = DatasetConfig.model_validate(found.value).layers["images"].data_source
    assert query is not None
    days = {"day 5": 5, "day 15": 15, "day 25": 25, "day 50": 50}
    # The periods are days 40 to 60, 20 to 40, 0 to 20; the first two have scenes.
    assert matched(query.query_config, days, 60) == [["day 50"], ["day 25"]]
    # A period without scenes is passed over.
    assert matched(query.query_config, {"day 5": 5, "day 50": 50}, 60) == [["day 50"], ["day 5"]]
    assert matched(query.query_config, {"day 50": 50}, 60) == []


def test_arguments_go_to_the_source_of_the_scenes() -> None:
    given = {"harmonize": True, "max_cloud_cover": 50, "cache_dir": "cache", "sort_by": "eo:cloud_cover"}
    optical = modern("MonthlyAzureSentinel2", ingest=False, query_config={"max_matches": 4}, **given).value
    made = DatasetConfig.model_validate(optical).layers["images"].instantiate_data_source()
    assert isinstance(made, Sentinel2)
    assert (made.harmonize, made.sort_by) == (True, "eo:cloud_cover")
    assert optical["layers"]["images"]["data_source"]["query_config"]["period_duration"] == "30d"
    query = {"sar:instrument_mode": {"eq": "IW"}}
    radar = modern("MonthlySentinel1", bands=("vv",), ingest=False, query=query).value
    made = DatasetConfig.model_validate(radar).layers["images"].instantiate_data_source()
    assert isinstance(made, Sentinel1)
    assert made.query == query


def test_scenes_of_google_are_sorted_by_clouds_as_they_were() -> None:
    found = modern("MonthlySentinel2", index_cache_dir="cache", modality="L1C", max_time_delta="0d")
    source = found.value["layers"]["images"]["data_source"]
    assert source["init_args"] == {"index_cache_dir": "cache", "sort_by": "cloud_cover"}


@pytest.mark.parametrize(
    ("name", "source", "key", "named"),
    [
        ("MonthlySentinel2", {"max_cloud_cover": 50}, "max_cloud_cover", "more than 50% of clouds"),
        ("MonthlySentinel1", {"query_config": {"space_mode": "CONTAINS"}}, "space_mode", "CONTAINS"),
        ("MonthlySentinel1", {"query_config": {"max_matches": 4}, "duration": "100d"}, "duration", "4 periods of 30"),
    ],
)
def test_what_would_not_be_the_same_is_named_with_its_line(
    folder: ProjectFolder, name: str, source: dict[str, Any], key: str, named: str
) -> None:
    folder.dataset["layers"]["images"] = layer(name, **source)
    folder.write()
    (error,) = [one for one in Project(folder.path).check(model=False).errors if named in one.found]
    lines = (folder.path / "dataset.json").read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if f'"{key}"' in text)
    assert f"It is in line {line}." in error.found


def test_periods_that_just_fit_are_the_same() -> None:
    query = {"max_matches": 4}
    assert not modern("MonthlySentinel1", query_config=query, duration="120d").unclear
    # What is wrong with it, the check of the file says.
    assert not modern("MonthlySentinel1", query_config=query, duration=120).unclear


def test_a_source_of_today_is_left_alone() -> None:
    source = {"class_path": f"{ROOT}MonthlySentinel1", "init_args": {"sentinel1": {"class_path": "a.B"}}}
    given = {"layers": {"images": {**layer("MonthlySentinel1"), "data_source": source}}}
    assert modern_dataset(given).value == given


def test_a_project_is_upgraded(folder: ProjectFolder) -> None:
    folder.dataset["layers"]["images"] = layer("MonthlyAzureSentinel2", period_days=10, max_cloud_cover=50)
    folder.write()
    upgrade_project(folder.path).write()
    written = json.loads((folder.path / "dataset.json").read_text())["layers"]["images"]["data_source"]
    assert written["class_path"] == "rslearn.data_sources.planetary_computer.Sentinel2"
    assert written["query_config"]["period_duration"] == "10d"
    assert not [one for one in Project(folder.path).check(model=False).problems if "layers.images" in one.key]
