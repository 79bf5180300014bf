from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import predictions
import pytest
import rasterio
import scenes
import shapely
import yaml
from shapely.geometry import box

from olmoearth_nb import OlmoEarthRunPredictRunner
from olmoearth_nb.errors import ConfigError, MissingStepError, PostprocessError, UsageError
from olmoearth_nb.geojson import read_result
from olmoearth_nb.postprocess.trial import StageChoice
from olmoearth_nb.runners import trial as trials
from olmoearth_nb.runners.trial import PostprocessingBench

PLUS_TEN = '''
import rasterio

class PlusTen:
    """Adds 10 to what is data."""

    def process_window(self, window_request, window_result_path):
        with rasterio.open(window_result_path, "r+") as file:
            pixels = file.read(1)
            pixels[pixels != 255] += 10
            file.write(pixels, 1)

    def process_partition(self, paths, output_dir):
        return []

    def process_dataset(self, paths, output_dir):
        return []
'''


def bench_of(runner: OlmoEarthRunPredictRunner) -> PostprocessingBench:
    return PostprocessingBench(runner.scratch, runner.components, runner._mask())


def state_of(folder: Path) -> dict[str, tuple[str, int]]:
    """Hash and time of change of every file."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(one): (hashlib.sha256(one.read_bytes()).hexdigest(), one.stat().st_mtime_ns) for one in files}


def pixels_of(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return source.read()


@pytest.fixture
def rasters(tmp_path: Path) -> OlmoEarthRunPredictRunner:
    return predictions.predicted_rasters(scenes.make_raster_project(tmp_path / "project"))


def features(tmp_path: Path, **stages: Any) -> OlmoEarthRunPredictRunner:
    project = scenes.make_vector_project(tmp_path / "project")
    keep = {"class_path": "CombineGeojson", "init_args": {"geometry_source": "result"}}
    predictions.configure(project, "postprocessing_strategies", process_window=keep, **stages)
    spots = [shapely.Point(*spot) for spot in scenes.request_spots()]
    # Around two points of different partitions, so that both find it; and one around each.
    shapes = {"shared": box(spots[4].x - 3, spots[4].y - 3, spots[5].x + 3, spots[5].y + 3)}
    shapes |= {f"own {n}": spot.buffer(1.9, quad_segs=16) for n, spot in enumerate(spots)}
    return predictions.predicted_features(project, shapes)


@pytest.mark.parametrize("stage", ["window", "partition", "dataset"])
def test_as_configured_a_trial_gives_what_the_run_gives(rasters: OlmoEarthRunPredictRunner, stage: str) -> None:
    rasters.postprocess()
    combined = rasters.combine()
    bench = bench_of(rasters)
    pid = bench.partitions()[1]
    component, arguments = bench.configured(stage)  # type: ignore[arg-type]
    choice = StageChoice(
        stage=stage,  # type: ignore[arg-type]
        partition="" if stage == "dataset" else pid,
        window=bench.windows(pid)[0] if stage == "window" else "",
        component=component,
        arguments=arguments,
    )
    tried = bench.run(choice)
    made = {
        "window": list(tried.before),
        "partition": sorted(rasters.workspace.partition_rasters(pid).glob("*.tif")),
        "dataset": list(combined.files),
    }[stage]
    assert len(tried.after) == len(made) == 1
    np.testing.assert_array_equal(pixels_of(tried.after[0]), pixels_of(made[0]))
    assert tried.changes.counts["value changed"] == tried.changes.counts["inputs overlap and disagree"] == 0
    assert tried.changes.counts["pixels before"] == tried.changes.counts["pixels after"] > 1000
    tried.close()
    assert not tried.after[0].exists()


def test_nothing_in_the_scratch_changes(rasters: OlmoEarthRunPredictRunner) -> None:
    (rasters.project.path / "custom_plus.py").write_text(PLUS_TEN)
    rasters.postprocess()
    before = state_of(rasters.workspace.root)
    bench = bench_of(rasters)
    pid = bench.partitions()[0]
    window = bench.windows(pid)[0]
    scaled = {"value_transform": {"scale": 3.0, "output_dtype": "int16"}, "nodata_value": -1}
    window_choice = StageChoice(stage="window", partition=pid, window=window, component="custom_plus.PlusTen")
    partition = bench.run(StageChoice(stage="partition", partition=pid, component="CombineGeotiff", arguments=scaled))
    assert partition.changes.counts["value changed"] > 1000
    tried = [
        bench.run(window_choice),
        partition,
        bench.run(StageChoice(stage="dataset", component="CombineGeotiff", arguments={"max_pixels_per_dimension": 40})),
        bench.run(StageChoice(stage="dataset", component="NoopRaster")),
    ]
    assert [len(one.after) > 0 for one in tried] == [True, True, True, False]
    table = tried[0].changes.table
    assert (table["after"] - table["before"] == 10).all()
    assert state_of(rasters.workspace.root) == before
    for one in tried:
        one.close()


def test_a_stage_gets_what_the_configured_stage_before_makes(rasters: OlmoEarthRunPredictRunner) -> None:
    (rasters.project.path / "custom_before.py").write_text(PLUS_TEN)
    predictions.configure(
        rasters.project.path, "postprocessing_strategies", process_window={"class_path": "custom_before.PlusTen"}
    )
    runner = OlmoEarthRunPredictRunner(
        rasters.project.path, rasters.workspace.root, checkpoint_path=rasters.scratch.checkpoint_path, progress=False
    )
    bench = bench_of(runner)
    before = state_of(runner.workspace.root)
    pid = bench.partitions()[0]
    tried = bench.run(
        StageChoice(stage="partition", partition=pid, component="CombineGeotiff", arguments={"nodata_value": 255})
    )
    values = pixels_of(tried.after[0])
    assert set(np.unique(values[values != 255])) == {10, 11, 12}
    assert state_of(runner.workspace.root) == before
    runner.postprocess(pid)
    (made,) = runner.workspace.partition_rasters(pid).glob("*.tif")
    np.testing.assert_array_equal(values, pixels_of(made))
    # And again from the model's own output, not from what has been processed in place.
    again = bench.run(
        StageChoice(stage="window", partition=pid, window=bench.windows(pid)[0], component="custom_before.PlusTen")
    )
    assert set((again.changes.table["after"] - again.changes.table["before"]).tolist()) == {10}


def test_the_mask_tells_what_it_takes(tmp_path: Path) -> None:
    mask = tmp_path / "mask.geojson"
    mask.write_text(json.dumps(scenes.collection([(scenes.pixel_box(0, 0, 128, 40), {})])))
    runner = predictions.predicted_rasters(scenes.make_raster_project(tmp_path / "project"), mask=mask)
    bench = bench_of(runner)
    pid = bench.partitions()[0]
    component, arguments = bench.configured("partition")
    tried = bench.run(StageChoice(stage="partition", partition=pid, component=component, arguments=arguments))
    counts = tried.changes.counts
    assert counts["outside of the mask"] > 0
    assert counts["became nodata"] == 0
    assert counts["pixels before"] - counts["pixels after"] == counts["outside of the mask"]


def test_duplicates_across_partitions(tmp_path: Path) -> None:
    runner = features(tmp_path)
    runner.postprocess()
    before = state_of(runner.workspace.root)
    bench = bench_of(runner)
    plain = bench.run(StageChoice(stage="dataset", component="CombineGeojson"))
    tried = bench.run(StageChoice(stage="dataset", component="CombineAndDeduplicateGeojson"))
    assert plain.changes.counts["dropped"] == 0
    table = tried.changes.table
    across = table[table["source"] != table["duplicate_source"]]
    assert len(across) > 0
    assert set(table["reason"]) == {"duplicate"}
    assert table["iou"].min() > 0.99
    (path,) = tried.after
    assert len(read_result(path).features) == plain.changes.counts["features after"] - len(table)
    assert state_of(runner.workspace.root) == before


def test_the_window_stage_of_features(tmp_path: Path) -> None:
    runner = features(tmp_path)
    bench = bench_of(runner)
    pid = bench.partitions()[0]
    window = bench.windows(pid)[0]
    component, arguments = bench.configured("window")
    tried = bench.run(
        StageChoice(stage="window", partition=pid, window=window, component=component, arguments=arguments)
    )
    assert set(tried.changes.table["change"]) == {"properties"}
    assert "+ name: spot 0" in tried.changes.table["properties"].iloc[0]
    moved = bench.run(StageChoice(stage="window", partition=pid, window=window, component="CombineGeojson"))
    assert set(moved.changes.table["change"]) == {"geometry and properties"}
    simple = bench.run(
        StageChoice(
            stage="window", partition=pid, window=window, component="SimplifyPolygons", arguments={"tolerance": 1e-5}
        )
    )
    assert simple.changes.counts["vertices after"] < simple.changes.counts["vertices before"]
    assert simple.changes.counts["geometry changed"] == 1


def test_features_outside_of_the_mask(tmp_path: Path) -> None:
    project = scenes.make_vector_project(tmp_path / "project")
    keep = {"class_path": "CombineGeojson", "init_args": {"geometry_source": "result"}}
    predictions.configure(project, "postprocessing_strategies", process_window=keep)
    spot = shapely.Point(*scenes.request_spots()[0])
    mask = tmp_path / "mask.geojson"
    mask.write_text(json.dumps(scenes.collection([(scenes.pixel_box(spot.x - 2, spot.y - 2, spot.x, spot.y + 2), {})])))
    left, right = spot.x - 1, spot.x + 1
    shapes = {"in": shapely.Point(left, spot.y), "out": shapely.Point(right, spot.y)}
    bench = bench_of(predictions.predicted_features(project, shapes, mask=mask))
    (pid,) = [pid for pid in bench.partitions() if bench.windows(pid)]
    (window,) = bench.windows(pid)
    component, arguments = bench.configured("window")
    tried = bench.run(
        StageChoice(stage="window", partition=pid, window=window, component=component, arguments=arguments)
    )
    dropped = tried.changes.table.query("change == 'dropped'")
    assert dropped["reason"].tolist() == ["outside of the mask"]
    assert tried.changes.counts["features after"] == 1


def test_partitions_without_files_are_named(rasters: OlmoEarthRunPredictRunner) -> None:
    predictions.configure(
        rasters.project.path, "postprocessing_strategies", process_partition={"class_path": "NoopRaster"}
    )
    runner = OlmoEarthRunPredictRunner(
        rasters.project.path, rasters.workspace.root, checkpoint_path=rasters.scratch.checkpoint_path, progress=False
    )
    runner.postprocess()
    with pytest.raises(MissingStepError, match="NoopRaster made no result of any partition"):
        bench_of(runner).run(StageChoice(stage="dataset", component="CombineGeotiff"))


def test_a_partition_is_shown_with_its_neighbours(rasters: OlmoEarthRunPredictRunner) -> None:
    rasters.postprocess()
    bench = bench_of(rasters)
    every = bench.run(StageChoice(stage="dataset", component="CombineGeotiff", arguments={"nodata_value": 255}))
    assert set(every.places["name"]) == set(bench.partitions())
    some = bench.run(
        StageChoice(
            stage="dataset", partition="partition_0", component="CombineGeotiff", arguments={"nodata_value": 255}
        )
    )
    assert "partition_0" in set(some.places["name"]) <= set(every.places["name"])


def test_of_too_much_the_first_inputs_are_taken(
    rasters: OlmoEarthRunPredictRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    rasters.postprocess()
    bench = bench_of(rasters)
    monkeypatch.setattr(trials, "_MOST_FILES", 2)
    tried = bench.run(StageChoice(stage="dataset", component="CombineGeotiff", arguments={"nodata_value": 255}))
    assert len(tried.before) == len(tried.places) == 2
    assert "Only the first 2 inputs are shown, up to partition_1" in tried.notes[0]
    monkeypatch.setattr(trials, "_MOST_PIXELS", 1)
    tried = bench.run(StageChoice(stage="dataset", component="CombineGeotiff", arguments={"nodata_value": 255}))
    assert len(tried.before) == 1


def test_what_can_be_chosen(rasters: OlmoEarthRunPredictRunner) -> None:
    bench = bench_of(rasters)
    assert [name.rpartition(".")[2] for name in bench.components("window")] == ["NoopRaster"]
    assert [name.rpartition(".")[2] for name in bench.components("dataset")] == ["CombineGeotiff", "NoopRaster"]
    names = {one.name: one.kind for one in bench.inputs("CombineGeotiff")}
    assert names == {
        "max_pixels_per_dimension": "whole",
        "nodata_value": "number",
        "value_transform": "yaml",
        "overlap": "choice",
    }
    text = bench.settings(StageChoice(stage="dataset", component="CombineGeotiff", arguments={"nodata_value": 7}))
    assert yaml.safe_load(text) == {
        "postprocessing_strategies": {
            "process_dataset": {"class_path": "CombineGeotiff", "init_args": {"nodata_value": 7}}
        }
    }


def test_what_is_wrong_is_said(rasters: OlmoEarthRunPredictRunner, tmp_path: Path) -> None:
    bench = bench_of(rasters)
    with pytest.raises(MissingStepError, match=r"Call runner.postprocess\(\) first"):
        bench.run(StageChoice(stage="dataset", component="CombineGeotiff"))
    pid = bench.partitions()[0]

    def run(component: str, **arguments: Any) -> None:
        bench.run(StageChoice(stage="partition", partition=pid, component=component, arguments=arguments))

    with pytest.raises(ConfigError, match=r"max_pixels_per_dimension.*above 0; found 0"):
        run("CombineGeotiff", max_pixels_per_dimension=0)
    with pytest.raises(ConfigError, match="no component 'Combine'"):
        run("Combine")
    with pytest.raises(ConfigError, match="works on VECTOR results"):
        run("CombineGeojson")
    with pytest.raises(PostprocessError, match="nodata value does not fit"):
        run("CombineGeotiff", nodata_value=-5)
    with pytest.raises(UsageError, match="no such window in this partition"):
        bench.run(StageChoice(stage="window", partition=pid, window="w", component="NoopRaster"))
    fresh = OlmoEarthRunPredictRunner(rasters.project.path, tmp_path / "fresh", progress=False)
    fresh.partition()
    with pytest.raises(MissingStepError, match=r"Call runner.run_inference\(\) first"):
        bench_of(fresh).run(StageChoice(stage="partition", partition=pid, component="CombineGeotiff"))
