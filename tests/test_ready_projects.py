"""The ready projects: every part but the catalogue and the real weights, with OlmoEarth's smallest encoder."""

from __future__ import annotations

import json
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import published
import pytest
import rasterio
import shapely
import torch
import yaml
from olmoearth_pretrain_minimal.olmoearth_pretrain_v1.data.normalize import load_computed_config
from rslearn.config import LayerConfig
from rslearn.data_sources import Item
from rslearn.data_sources.planetary_computer import Sentinel2
from rslearn.data_sources.utils import match_candidate_items_to_window
from rslearn.utils.geometry import WGS84_PROJECTION, STGeometry

from olmoearth_nb import OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner, Project
from olmoearth_nb.labels import prepare_windows, read_annotation_tasks
from olmoearth_nb.newproject.imagery import MODALITIES
from olmoearth_nb.newproject.propose import propose_project
from olmoearth_nb.newproject.writing import write_project
from olmoearth_nb.runners.components import Components
from olmoearth_nb.types import StepName

DATA = Path(__file__).parents[1] / "olmoearth_run_data"
PROJECTS = ("s2_landcover", "s2_regression")
BANDS = MODALITIES["sentinel2"].bands
YEAR = {"start_time": "2024-01-01", "end_time": "2025-01-01"}
START, END = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
NANO, BASE = 128, 768


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def small_copy(name: str, folder: Path, *, tasks: int = 0) -> Path:
    """A copy with the smallest encoder, a small request and, if wanted, only some of the tasks."""
    project = published.copy_project(DATA / name, folder / name, window_size=32)
    model = (project / "model.yaml").read_text(encoding="utf-8")
    for old, new in (("V1_2_BASE", "V1_2_NANO"), (str(BASE), str(NANO)), ("at_epoch: 20", "at_epoch: 1")):
        assert old in model
        model = model.replace(old, new)
    (project / "model.yaml").write_text(model, encoding="utf-8")
    if tasks:
        path = project / "olmoearth_run.yaml"
        run = yaml.safe_load(path.read_text(encoding="utf-8"))
        run["window_prep"]["sampler"] = {"class_path": "ChooseNSampler", "init_args": {"n": tasks, "seed": 1}}
        path.write_text(yaml.safe_dump(run, sort_keys=False), encoding="utf-8")
    return project


@pytest.mark.parametrize("name", PROJECTS)
def test_check_misses_nothing_but_a_checkpoint(name: str) -> None:
    report = Project(DATA / name).check()
    assert {problem.file for problem in report.problems} == {"checkpoint.ckpt"}
    assert {step for step, can_run in report.steps.items() if not can_run} == {StepName.INFERENCE}
    assert Project(DATA / name).check(random_weights=True).ok


@pytest.mark.parametrize(
    ("name", "labels", "options"),
    [
        ("s2_landcover", "coast_landcover", {"task": "segmentation", "window_size": 32, "grid_size": 160}),
        ("s2_regression", "coast_tree_cover", {"task": "regression"}),
    ],
)
def test_files_are_what_the_command_of_the_readme_writes(
    name: str, labels: str, options: dict[str, Any], tmp_path: Path
) -> None:
    source = DATA / "labels" / f"{labels}.geojson"
    proposal = propose_project(source, source="sentinel2", encoder="olmoearth-base", **options, **YEAR)
    made = write_project(proposal, tmp_path / name).path
    for file in ("annotation_features.geojson", "annotation_task_features.geojson", Project.REQUEST_NAME):
        written, kept = (_features(folder / file) for folder in (made, DATA / name))
        assert [properties for _, properties in written] == [properties for _, properties in kept]
        # Another build of GEOS cuts and projects a hair elsewhere, of which the ids of tasks are made.
        assert all(one.equals_exact(other, 1e-9) for (one, _), (other, _) in zip(written, kept, strict=True))
    for file in ("model.yaml", "olmoearth_run.yaml"):
        written, kept = (yaml.safe_load((folder / file).read_text(encoding="utf-8")) for folder in (made, DATA / name))
        assert written == kept


def _features(path: Path) -> list[tuple[Any, dict[str, Any]]]:
    """Shape and properties of each feature, without the ids of tasks."""
    features = json.loads(path.read_text(encoding="utf-8"))["features"]
    return [
        (
            shapely.geometry.shape(one["geometry"]),
            {key: value for key, value in one["properties"].items() if not key.endswith("_id")},
        )
        for one in features
    ]


def test_every_split_has_every_class() -> None:
    components = Components(Project(DATA / "s2_landcover"))
    windows = prepare_windows(
        read_annotation_tasks(*components.project.annotation_paths).tasks,
        sampler=components.sampler(),
        preparer=components.window_preparer(),
        splitter=components.data_splitter(),
    )
    labels: dict[str, list[Any]] = {}
    for one in windows:
        labels.setdefault(one.split.value, []).append(one.window.labels[0].value)
    assert {split: len(found) for split, found in labels.items()} == {"train": 149, "val": 44, "test": 31}
    assert all(set(np.unique(found)) == {0, 1, 2, 3, 4, 255} for found in labels.values())


def test_bands_lie_in_the_three_groups_of_their_resolution() -> None:
    project = Project(DATA / "s2_landcover")
    layer = json.loads(project.dataset_config_path.read_text(encoding="utf-8"))["layers"]["sentinel2"]
    groups = {tuple(one["bands"]): one.get("zoom_offset", 0) for one in layer["band_sets"]}
    assert list(groups.values()) == [0, -1, -2]
    assert tuple(band for group in groups for band in group) == BANDS
    assert set(BANDS) <= set(Sentinel2.BANDS)


@pytest.mark.parametrize("name", PROJECTS)
def test_the_catalogue_is_asked_for_twelve_months_in_order(name: str) -> None:
    config = json.loads((DATA / name / "dataset.json").read_text(encoding="utf-8"))["layers"]["sentinel2"]
    query = LayerConfig.model_validate(config).data_source.query_config
    area = STGeometry(WGS84_PROJECTION, shapely.box(-75.62, 37.69, -75.61, 37.70), (START, END))
    # Every fifth day, as Sentinel-2 passes; the catalogue gives the least cloudy first.
    days = [START + timedelta(days=5 * index) for index in range(74)]
    passes = [Item(f"{day:%m%d}", STGeometry(area.projection, area.shp, (day, day))) for day in days]
    random.Random(0).shuffle(passes)
    groups = match_candidate_items_to_window(area, passes, query)
    months = [[item.geometry.time_range[0] for item in group.items] for group in groups]
    assert len(months) == 12
    assert [month for (month,) in months] == sorted(month for (month,) in months)
    # Half of the months is enough, fewer is nothing.
    assert len(match_candidate_items_to_window(area, _until(passes, days=181), query)) == 6
    assert match_candidate_items_to_window(area, _until(passes, days=150), query) == []


def _until(passes: list[Item], *, days: int) -> list[Item]:
    return [item for item in passes if item.geometry.time_range[0] < START + timedelta(days=days)]


@pytest.mark.parametrize("name", PROJECTS)
def test_the_model_gets_twelve_months_of_each_band_normalised(name: str, tmp_path: Path) -> None:
    project = small_copy(name, tmp_path)
    runner = OlmoEarthRunPredictRunner(project, tmp_path / "scratch", random_weights=True, device="cpu", progress=False)
    runner.partition()
    published.generate_imagery(runner)
    runner.build_dataset()
    trace = runner.trace(runner.windows()["name"].iloc[0])
    read, given = (trace.stage(stage).inputs["sentinel2_l2a"] for stage in (0, "OlmoEarthNormalize"))
    assert dict(read.sizes) == dict(given.sizes)
    assert (read.sizes["time"], tuple(read["band"].values)) == (12, BANDS)
    assert list(np.diff(read["time"].values).astype("timedelta64[D]").astype(int)) == [30] * 11
    known = load_computed_config()["sentinel2_l2a"]
    for band in BANDS:
        low = known[band]["mean"] - 2 * known[band]["std"]
        wanted = (read.sel(band=band).values - low) / (4 * known[band]["std"])
        np.testing.assert_allclose(given.sel(band=band).values, wanted, atol=1e-4)


@pytest.mark.parametrize("name", PROJECTS)
def test_a_request_becomes_a_result_with_random_weights(name: str, tmp_path: Path) -> None:
    project = small_copy(name, tmp_path)
    runner = published.predict_at_random(project, tmp_path / "scratch")
    if name == "s2_regression":
        (feature,) = json.loads(runner.workspace.result.read_text(encoding="utf-8"))["features"]
        assert np.isfinite(feature["properties"]["tree_cover"])
        assert feature["properties"]["label_tree_cover"] == 50
        return
    (path,) = runner.workspace.rasters.glob("*.tif")
    with rasterio.open(path) as file:
        assert (file.crs.to_epsg(), file.res, file.nodata) == (32618, (10, 10), 255)
        values = file.read(1)
    assert set(np.unique(values)) <= {0, 1, 2, 3, 4, 255}
    assert (values != 255).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", PROJECTS)
def test_the_encoder_of_the_project_itself_runs(name: str, tmp_path: Path) -> None:
    project = published.copy_project(DATA / name, tmp_path / name, window_size=32)
    runner = published.predict_at_random(project, tmp_path / "scratch")
    network = runner.model().module.model.encoder[0]
    assert network.get_backbone_channels() == [(4, BASE)]
    assert runner.workspace.result.exists() or any(runner.workspace.rasters.glob("*.tif"))


@pytest.mark.parametrize(("name", "tasks"), [("s2_landcover", 4), ("s2_regression", 6)])
def test_training_begins_with_the_decoder_and_goes_on_with_all(name: str, tasks: int, tmp_path: Path) -> None:
    project = small_copy(name, tmp_path, tasks=tasks)
    runner = OlmoEarthRunFineTuneRunner(
        project, tmp_path / "scratch", random_weights=True, device="cpu", progress=False
    )
    runner.prepare_labeled_windows()
    # Some windows lack months: there were clouds.
    assert published.generate_training_imagery(runner, missing=4) == tasks
    assert runner.build_dataset_from_windows().counts["built before"] == tasks
    assert set(Counter(runner.windows()["split"])) >= {"train", "val"}

    frozen = last_checkpoint(runner, epochs=1)
    trained = last_checkpoint(runner, epochs=2)
    encoder = [key for key in frozen["state_dict"] if key.startswith("model.encoder.")]
    decoder = [key for key in frozen["state_dict"] if key.startswith("model.decoder.")]
    rates = [[group["lr"] for group in one["optimizer_states"][0]["param_groups"]] for one in (frozen, trained)]
    assert rates == [[pytest.approx(1e-4)], [pytest.approx(1e-4), pytest.approx(1e-5)]]
    assert changed(frozen, trained, encoder)
    assert changed(frozen, trained, decoder)
    # What the optimiser knew of in the first epoch: the decoder alone.
    assert len(frozen["optimizer_states"][0]["state"]) == len(decoder)


def last_checkpoint(runner: OlmoEarthRunFineTuneRunner, *, epochs: int) -> dict[str, Any]:
    """What training holds after so many epochs."""
    summary = runner.fine_tune(max_epochs=epochs)
    assert summary.best_checkpoint.exists()
    content: dict[str, Any] = torch.load(runner.workspace.trainer / "last.ckpt", weights_only=False)
    return content


def changed(before: dict[str, Any], after: dict[str, Any], keys: list[str]) -> bool:
    """Whether any of the weights did."""
    return any(not torch.equal(before["state_dict"][key], after["state_dict"][key]) for key in keys)
