from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from config_project import ProjectFolder
from rslearn.config import DatasetConfig
from rslearn.data_sources.planetary_computer import Sentinel1, Sentinel2

from olmoearth_nb import Project
from olmoearth_nb.config.renamed import Modern, modern_dataset
from olmoearth_nb.config.upgrade import upgrade_project

ROOT = "olmoearth_run.runner.tools.rslearn_data_sources.olmoearth_datasets."
OPTICAL, RADAR, LANDSAT = (
    f"{ROOT}{name}"
    for name in ("sentinel2_l2a.Sentinel2L2A", "sentinel1_rtc.Sentinel1RTC", "landsat_8_9_c2_l1.Landsat89C2L1")
)


def modern(class_path: str, bands: tuple[str, ...], **arguments: Any) -> Modern:
    layer = {
        "type": "raster",
        "band_sets": [{"bands": list(bands), "dtype": "float32"}],
        "data_source": {"class_path": class_path, "init_args": arguments, "ingest": False},
    }
    return modern_dataset({"layers": {"images": layer}})


def source(found: Modern) -> dict[str, Any]:
    assert not found.unclear
    return dict(found.value["layers"]["images"]["data_source"])


def test_clouds_decide_as_they_did() -> None:
    query = {"sort_by": "CLOUD_COVER", "sort_direction": "ASC"}
    found = modern(OPTICAL, ("B02",), harmonize=True, cache_dir="cache", query=query, timeout="0:0:20")
    assert source(found)["init_args"] == {
        "harmonize": True,
        "timeout": "0:0:20",
        "sort_by": "eo:cloud_cover",
        "query": {"eo:cloud_cover": {"gte": 0}},
    }
    made = DatasetConfig.model_validate(found.value).layers["images"].instantiate_data_source()
    assert isinstance(made, Sentinel2)
    assert (made.harmonize, made.sort_ascending) == (True, True)


def test_the_order_of_time_is_asked_for_and_scenes_without_a_band_are_left_out() -> None:
    found = modern(RADAR, ("vv", "vh"), query={})
    assert source(found)["init_args"] == {"skip_items_missing_assets": True, "sort_by": "datetime"}
    made = DatasetConfig.model_validate(found.value).layers["images"].instantiate_data_source()
    assert isinstance(made, Sentinel1)
    assert made.required_assets is not None
    assert set(made.required_assets) == {"vv", "vh"}


def test_filters_are_a_query_of_the_catalogue() -> None:
    query = {
        "orbit_direction": {"eq": "ascending"},
        "relative_orbit": {"gte": 20, "lt": 30, "eq": None},
        "satellite": {"inc": ["S1A", "S1C"]},
        "sort_direction": "desc",
    }
    assert source(modern(RADAR, ("vv",), query=query, skip_items_missing_assets=False))["init_args"] == {
        "skip_items_missing_assets": False,
        "sort_by": "datetime",
        "sort_ascending": False,
        "query": {
            "sat:orbit_state": {"eq": "ascending"},
            "sat:relative_orbit": {"gte": 20, "lt": 30},
            "platform": {"in": ["SENTINEL-1A", "SENTINEL-1C"]},
        },
    }
    query = {"cloud_cover": {"lt": 30}, "sort_by": "cloud_cover"}
    assert source(modern(OPTICAL, ("SCL",), query=query))["init_args"]["query"] == {"eo:cloud_cover": {"lt": 30}}


def test_landsat_comes_from_where_its_level_1_is() -> None:
    found = source(modern(LANDSAT, ("B8",), query={"sort_by": "cloud_cover"}, timeout="0:0:9"))
    assert found["class_path"] == "rslearn.data_sources.aws_landsat.LandsatOliTirs"
    assert found["init_args"] == {"metadata_cache_dir": "cache/landsat", "sort_by": "cloud_cover"}


@pytest.mark.parametrize(
    ("class_path", "band", "query", "named"),
    [
        (LANDSAT, "B4", {"wrs_row": {"eq": 20}}, "wrs_row"),
        (RADAR, "vv", {"cloud_cover": {"lt": 5}}, "cloud_cover"),
        (RADAR, "vv", {"satellite": {"ninc": ["S1B"]}}, "satellite"),
        (OPTICAL, "B02", {"sort_by": "created_at"}, "created_at"),
        (OPTICAL, "AOT", {}, "AOT"),
        (f"{ROOT}other.Other", "a", {}, "only open to the platform"),
    ],
)
def test_what_has_no_counterpart_is_named(class_path: str, band: str, query: dict[str, Any], named: str) -> None:
    (unclear,) = modern(class_path, (band,), query=query).unclear
    assert named in unclear.found
    assert not unclear.works


def test_a_project_is_checked_and_upgraded(folder: ProjectFolder) -> None:
    layer = {
        "type": "raster",
        "band_sets": [{"bands": ["B02", "B03"], "dtype": "uint16"}],
        "data_source": {"class_path": OPTICAL, "init_args": {"query": {"wrs_path": {"eq": 3}}}},
    }
    folder.dataset["layers"]["images"] = layer
    folder.write()
    project = Project(folder.path)
    (error,) = [one for one in project.check().errors if "wrs_path" in one.key]
    assert "It is in line" in error.found
    layer["data_source"]["init_args"] = {"query": {"sort_by": "CLOUD_COVER"}}
    folder.write()
    project = Project(folder.path)
    assert not [one for one in project.check().errors if "layers.images" in one.key]
    found = [one.found for one in project.check().problems if "layers.images" in one.key]
    assert any(OPTICAL in one and "planetary_computer.Sentinel2" in one for one in found)
    upgrade_project(project.path).write()
    assert not [one for one in Project(project.path).check().problems if "layers.images" in one.key]


def test_where_the_platform_is_installed_it_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "olmoearth_run", raising=False)
    (tmp_path / "olmoearth_run").mkdir()
    (tmp_path / "olmoearth_run" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert source(modern(OPTICAL, ("B02",)))["class_path"] == OPTICAL
