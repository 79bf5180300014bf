from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from olmoearth_nb.config import ObjectSpec, Project, build_object
from olmoearth_nb.config.choices import StageChoice, choice_of, with_choice
from olmoearth_nb.config.strategies import PartitionSettings
from olmoearth_nb.errors import ConfigError

SAMPLE = Path(__file__).parents[2] / "olmoearth_run_data" / "sample"
PROJECTION = {
    "class_path": "rslearn.utils.geometry.Projection",
    "init_args": {"crs": "EPSG:32617", "x_resolution": 30, "y_resolution": -30},
}
GRID = {
    "class_path": "GridPartitioner",
    "init_args": {"grid_size": 128, "output_projection": PROJECTION, "clip": True, "limit": 5},
}
WINDOWS, REQUESTS = "partition_strategies.prepare_window_geometries", "partition_strategies.partition_request_geometry"

OWN = """
from olmoearth_nb.partitioners import GridPartitioner

class Rows(GridPartitioner):
    def __init__(self, rows: int):
        super().__init__(rows)
"""


def changed(raw: dict[str, Any], path: str = WINDOWS, **settings: Any) -> dict[str, Any]:
    spec = ObjectSpec(raw, path)
    before = choice_of(spec)
    after = with_choice(spec, before, replace(before, **settings), windows=path == WINDOWS)
    build_object(after)
    return dict(after.raw)


def test_what_is_configured_is_read_from_the_object() -> None:
    assert choice_of(ObjectSpec(GRID, WINDOWS)) == StageChoice(
        partitioner="GridPartitioner", size=128, crs="EPSG:32617", resolution=30
    )
    fixed = {"class_path": "olmoearth_run.tools.partitioners.fixed_window_partitioner.FixedWindowPartitioner"}
    chosen = choice_of(ObjectSpec({**fixed, "init_args": {"window_size": 64, "use_utm": True}}, WINDOWS))
    assert chosen == StageChoice(partitioner="FixedWindowPartitioner", size=64, use_utm=True)
    chunk = {"class_path": "ChunkPartitioner", "init_args": {"num_geometries_per_partition": 7}}
    assert choice_of(ObjectSpec(chunk, REQUESTS)) == StageChoice(partitioner="ChunkPartitioner", chunk=7)


def test_only_what_differs_is_written() -> None:
    assert changed(GRID, size=256.0)["init_args"] == {**GRID["init_args"], "grid_size": 256}  # type: ignore[dict-item]
    assert changed(GRID, overlap=8)["init_args"]["overlap_size"] == 8
    assert changed(GRID, use_utm=True)["init_args"]["output_projection"] == PROJECTION
    arguments = changed(GRID, crs="EPSG:3857")["init_args"]["output_projection"]["init_args"]
    assert arguments == {"crs": "EPSG:3857", "x_resolution": 30, "y_resolution": -30}
    arguments = changed(GRID, resolution=2.5)["init_args"]["output_projection"]["init_args"]
    assert arguments == {"crs": "EPSG:32617", "x_resolution": 2.5, "y_resolution": -2.5}
    assert isinstance(changed(GRID, size=256.0)["init_args"]["grid_size"], int)


def test_another_class_keeps_what_all_have_and_how_it_was_named() -> None:
    assert changed(GRID, partitioner="FixedWindowPartitioner", size=64) == {
        "class_path": "FixedWindowPartitioner",
        "init_args": {"output_projection": PROJECTION, "limit": 5, "window_size": 64},
    }
    dotted = {**GRID, "class_path": "olmoearth_nb.partitioners.GridPartitioner"}
    assert changed(dotted, partitioner="ReprojectionPartitioner") == {
        "class_path": "olmoearth_nb.partitioners.ReprojectionPartitioner",
        "init_args": {"output_projection": PROJECTION, "limit": 5},
    }
    assert changed(GRID, partitioner="ChunkPartitioner")["init_args"]["num_geometries_per_partition"] == 1
    noop = {"class_path": "NoopPartitioner"}
    assert changed(noop, REQUESTS, partitioner="GridPartitioner", size=0.25) == {
        "class_path": "GridPartitioner",
        "init_args": {"grid_size": 0.25},
    }


def test_a_projection_that_is_written_in_another_way_is_written_anew_only_if_it_changes() -> None:
    crs = {"_module_": "rasterio.crs", "_callable_": "CRS.from_epsg", "code": 32617}
    projection = {"_module_": "rslearn.utils.geometry", "_callable_": "Projection", "crs": crs}
    raw = {
        "_module_": "olmoearth_nb.partitioners",
        "_callable_": "GridPartitioner",
        "grid_size": 64,
        "output_projection": {**projection, "x_resolution": 10, "y_resolution": -10},
    }
    after = changed(raw, size=32)
    assert after == {**raw, "grid_size": 32}
    after = changed(raw, resolution=20)
    assert after["output_projection"] == {
        "class_path": "rslearn.utils.geometry.Projection",
        "init_args": {"crs": "EPSG:32617", "x_resolution": 20, "y_resolution": -20},
    }
    assert after["_callable_"] == "GridPartitioner"


# ---- a project's file ------------------------------------------------------------------------------------------


def project_with(folder: Path, strategies: Any) -> Project:
    shutil.copytree(SAMPLE, folder / "project")
    (folder / "project" / "olmoearth_run.yaml").write_text(
        yaml.safe_dump({"partition_strategies": strategies}, sort_keys=False)
    )
    return Project(folder / "project")


def test_a_class_of_ones_own_is_kept_as_it_is(tmp_path: Path) -> None:
    own = {"class_path": "rows_of_mine.Rows", "init_args": {"rows": 3}}
    project = project_with(tmp_path, {"partition_request_geometry": own, "prepare_window_geometries": GRID})
    (project.path / "rows_of_mine.py").write_text(OWN)
    settings = PartitionSettings(project)
    assert settings.own_class("partition") == "rows_of_mine.Rows(rows=3)"
    assert settings.own_class("window") is None
    assert settings.classes("partition")[:2] == ("rows_of_mine.Rows", "NoopPartitioner")
    choices = {**settings.configured, "window": replace(settings.configured["window"], size=64)}
    settings.write(choices)
    after = yaml.safe_load(project.run_config_path.read_text())["partition_strategies"]
    assert after["partition_request_geometry"] == own
    assert after["prepare_window_geometries"]["init_args"] == {**GRID["init_args"], "grid_size": 64}  # type: ignore[dict-item]
    choices = {
        **settings.configured,
        "partition": replace(settings.configured["partition"], partitioner="NoopPartitioner"),
    }
    assert settings.strategies(choices).partition_request_geometry.raw == {"class_path": "NoopPartitioner"}


def test_a_bare_name_becomes_a_mapping_when_it_gets_arguments(tmp_path: Path) -> None:
    project = project_with(
        tmp_path, {"partition_request_geometry": "NoopPartitioner", "prepare_window_geometries": GRID}
    )
    settings = PartitionSettings(project)
    grid = replace(settings.configured["partition"], partitioner="GridPartitioner", size=0.5)
    settings.write({**settings.configured, "partition": grid})
    raw = yaml.safe_load(project.run_config_path.read_text())["partition_strategies"]["partition_request_geometry"]
    assert raw == {"class_path": "GridPartitioner", "init_args": {"grid_size": 0.5}}


def test_a_project_without_the_section_says_so(tmp_path: Path) -> None:
    project = project_with(tmp_path, None)
    with pytest.raises(ConfigError, match="The section partition_strategies is missing"):
        PartitionSettings(project)
