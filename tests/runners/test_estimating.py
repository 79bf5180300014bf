"""Estimates of whole requests: what they say agrees with what a run then makes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import scenes
import yaml
from requests_of import raw_feature
from shapely.geometry import MultiPolygon, Point, box

from olmoearth_nb import OlmoEarthRunPredictRunner
from olmoearth_nb.errors import OlmoEarthError
from olmoearth_nb.planning.estimate import Estimate
from olmoearth_nb.planning.rates import Rates

READY = Path(__file__).parents[2] / "olmoearth_run_data" / "s2_landcover"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.make_raster_project(tmp_path_factory.mktemp("estimating") / "project")


def _runner(project: Path, scratch: Path, *args: Any, **options: Any) -> OlmoEarthRunPredictRunner:
    return OlmoEarthRunPredictRunner(project, scratch, *args, progress=False, **options)


def test_what_it_says_is_what_a_run_makes(project: Path, tmp_path: Path) -> None:
    runner = _runner(project, tmp_path / "scratch", random_weights=True)
    estimate = runner.estimate()
    assert not runner.workspace.root.exists()
    assert {estimate.figures[name].source for name in ("seconds_per_window", "gflop_per_window")} == {"here"}
    assert estimate.figures["gflop_per_window"].value > 0
    assert estimate.step("dataset_build").note == "from local files"
    assert all(one.seconds is not None and one.seconds > 0 for one in estimate.steps)
    summaries = runner.run_pipeline()
    assert (estimate.costs.partitions, estimate.costs.windows) == (
        summaries[0].counts["partitions"],
        summaries[0].counts["windows"],
    )
    entries = sum(1 for _ in runner.workspace.root.rglob("*"))
    assert estimate.amounts.scratch_files == pytest.approx(entries, rel=0.3)
    stored = sum(path.stat().st_size for path in runner.workspace.dataset.rglob("layers/[!ol]*/*/geotiff.tif"))
    assert estimate.amounts.imagery_bytes == pytest.approx(stored, rel=0.5)


def test_a_project_of_a_catalogue_without_a_checkpoint(tmp_path: Path) -> None:
    estimate = _runner(READY, tmp_path / "scratch").estimate()
    # Four windows of 256 pixels, twelve images of 4 bands at 10 m, 6 at 20 m, 2 at 40 m.
    pixels = 4 * 256 * 256 * 12 * 2 * (4 + 6 / 4 + 2 / 16)
    assert estimate.costs.imagery_bytes == pixels
    assert estimate.amounts.imagery_bytes == pytest.approx(0.7 * pixels)
    # Whole blocks of 512: 1.5² of them at 10 m, 1.25² at 20 m, 1.125² at 40 m; 1.5 scenes, 0.7 of the bytes.
    fetched = 4 * 12 * 2 * 512**2 * (4 * 1.5**2 + 6 * 1.25**2 + 2 * 1.125**2) * 1.5 * 0.7
    assert estimate.amounts.fetched_bytes == pytest.approx(fetched)
    assert estimate.step("inference on GPUs").seconds is None
    assert estimate.dollars("GPUs") is None
    assert "measure=True" in repr(estimate)
    given = _runner(READY, tmp_path / "scratch").estimate(rates=Rates(gflop_per_window=100, gpus=8))
    assert given.dollars("GPUs") is not None
    assert given.dollars("CPUs") is None


def _request(path: Path, *shapes: Any) -> Path:
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [raw_feature(one) for one in shapes]}))
    return path


def test_over_the_antimeridian(tmp_path: Path) -> None:
    both = MultiPolygon([box(179.95, 10, 180, 10.05), box(-180, 10, -179.95, 10.05)])
    found = _runner(READY, tmp_path / "s", _request(tmp_path / "both.geojson", both)).estimate()
    inland = _runner(READY, tmp_path / "t", _request(tmp_path / "one.geojson", box(30, 10, 30.1, 10.05))).estimate()
    assert found.costs.requested_km2 == pytest.approx(inland.costs.requested_km2, rel=1e-3)
    assert found.costs.windows == pytest.approx(inland.costs.windows, rel=0.35)


@pytest.mark.parametrize(
    ("stages", "windows"),
    [
        (("NoopPartitioner", {}, "FixedWindowPartitioner", {"window_size": 8}), 3),
        (("ChunkPartitioner", {"num_geometries_per_partition": 2}, "FixedWindowPartitioner", {"window_size": 8}), 3),
        (("GridPartitioner", {"grid_size": 0.02}, "GridPartitioner", {"grid_size": 8}), 3),
        (("NoopPartitioner", {}, "ChunkPartitioner", {"num_geometries_per_partition": 1}), 3),
    ],
)
def test_points_with_every_partitioner(project: Path, tmp_path: Path, stages: tuple[Any, ...], windows: int) -> None:
    copied = tmp_path / "project"
    shutil.copytree(project, copied)
    path = copied / "olmoearth_run.yaml"
    config = yaml.safe_load(path.read_text())
    old = config["partition_strategies"]["prepare_window_geometries"]["init_args"]
    shared = {key: old[key] for key in ("output_projection", "use_utm") if key in old}
    first, first_args, second, second_args = stages
    config["partition_strategies"] = {
        "partition_request_geometry": {"class_path": first, "init_args": first_args},
        "prepare_window_geometries": {"class_path": second, "init_args": {**second_args, **shared}},
    }
    path.write_text(yaml.safe_dump(config))
    request = _request(tmp_path / "points.geojson", Point(3, 45), Point(3.2, 45.3), Point(4, 46))
    estimate = _runner(copied, tmp_path / "scratch", request).estimate()
    assert estimate.costs.windows == windows
    assert estimate.costs.requested_km2 == 0


def test_what_is_wrong_with_dataset_json_is_said_and_the_rest_is_counted(project: Path, tmp_path: Path) -> None:
    copied = tmp_path / "project"
    shutil.copytree(project, copied)
    (copied / "dataset.json").write_text("{")
    estimate = _runner(copied, tmp_path / "scratch").estimate()
    assert estimate.amounts.imagery_bytes is None
    assert estimate.step("dataset_build").seconds is None
    assert estimate.costs.windows == 16
    assert any("dataset.json" in note for note in estimate.notes)


def test_a_model_that_cannot_be_timed_is_said(project: Path, tmp_path: Path) -> None:
    copied = tmp_path / "project"
    shutil.copytree(project, copied)
    (copied / "model.yaml").write_text("model: 3\n")
    runner = _runner(copied, tmp_path / "scratch", random_weights=True)
    assert any("could not be timed" in note for note in runner.estimate().notes)
    with pytest.raises(OlmoEarthError):
        runner.estimate(measure=True)


def test_it_shows_itself(project: Path, tmp_path: Path) -> None:
    estimate = _runner(project, tmp_path / "scratch").estimate(rates=Rates(gflop_per_window=1, seconds_per_window=2))
    text, html = repr(estimate), estimate._repr_html_()
    for word in ("What the request takes", "What would break first", "What this rests on", "assumed", "dataset_build"):
        assert word in text
        assert word in html
    plain = json.loads(json.dumps(estimate.to_dict()))
    assert plain["costs"]["windows"] == 16
    assert plain["figures"]["gflop_per_window"] == {
        "value": 1.0,
        "unit": "GFLOP",
        "source": "given",
        "about": "operations of the same",
    }
    assert plain["breaks_first"] == estimate.limits[0].what
    assert isinstance(estimate, Estimate)


def test_the_command(project: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "olmoearth_nb", "plan", str(project), "--json"]
    command += ["--scratch-path", str(tmp_path / "scratch"), "--workers", "16", "--gflop-per-window", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert " torch\n" not in done.stderr  # planning needs none
    found = json.loads(done.stdout)
    assert found["figures"]["workers"]["value"] == 16
    assert found["steps"][3]["seconds"] > 0
    assert not (tmp_path / "scratch").exists()
