"""Custom classes of the guide's kinds, in modules beside the project folder, through every step and every process."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import scenes
import yaml
from runners.own_components import write_modules

from olmoearth_nb import BuildOptions, OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner, Project
from olmoearth_nb.config import build_object, role_for
from olmoearth_nb.errors import StaleScratchError
from olmoearth_nb.geojson import PredictionRequestFeature, PredictionResultCollection
from olmoearth_nb.postprocess.calls import merged_features, processed_features


@pytest.fixture(autouse=True)
def _clean_modules() -> Iterator[None]:
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] in ("own_pkg", "own_model", "own_source")]:
        del sys.modules[name]


def _own(name: str, **arguments: Any) -> dict[str, Any]:
    return {"class_path": f"own_pkg.roles.{name}", "init_args": arguments}


def _use_own_components(project: Path) -> None:
    path = project / "olmoearth_run.yaml"
    config = yaml.safe_load(path.read_text())
    utm = config["partition_strategies"]["prepare_window_geometries"]["init_args"]
    config["partition_strategies"] = {
        "partition_request_geometry": _own("partitioners.Halves", shares=[0.5]),
        "prepare_window_geometries": _own(
            "partitioners.Blocks", output_projection=utm["output_projection"], use_utm=True
        ),
    }
    config["postprocessing_strategies"] = {
        "process_window": _own("postprocessors.PlusTen"),
        "process_partition": _own("postprocessors.KeepFiles"),
        "process_dataset": {"class_path": "own_pkg.roles.postprocessors.KeepFiles", "init_args": None},
    }
    like = {
        "class_path": "rslearn.utils.geometry.Projection",
        "init_args": {"crs": scenes.CRS_NAME, "x_resolution": 10, "y_resolution": -10},
    }
    config["window_prep"] |= {
        "sampler": _own("labels.EveryOther"),
        "labeled_window_preparer": _own(
            "labels.WholeTask",
            like=like,
            settings={"class_path": "own_pkg.roles.labels.Settings", "init_args": {"nodata": 255}},
        ),
        "data_splitter": _own("labels.ByRow"),
    }
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def _use_own_model(project: Path, note: Path) -> None:
    path = project / "model.yaml"
    model = yaml.safe_load(path.read_text())
    data = model["data"]["init_args"]
    data["task"]["init_args"]["tasks"]["segment"]["class_path"] = "own_model.OwnTask"
    data["default_config"]["transforms"].append({"class_path": "own_model.OwnTransform", "init_args": {"by": 10.0}})
    encoder = model["model"]["init_args"]["model"]["init_args"]["encoder"][0]["init_args"]["modules"][0]
    encoder["init_args"]["activation"]["class_path"] = "own_model.OwnActivation"
    callback = {"class_path": "own_model.OwnCallback", "init_args": {"path": str(note / "epochs.txt")}}
    model["trainer"]["callbacks"].append(callback)
    path.write_text(yaml.safe_dump(model, sort_keys=False))


def _use_own_source(project: Path, note: Path) -> None:
    path = project / "dataset.json"
    dataset = json.loads(path.read_text())
    source = dataset["layers"]["scene"]["data_source"]
    source["class_path"] = "own_source.OwnSource"
    source["init_args"]["note"] = str(note / "made.txt")
    path.write_text(json.dumps(dataset))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    made = scenes.make_raster_project(tmp_path / "project")
    write_modules(tmp_path)
    _use_own_components(made)
    return made


def test_every_role_is_checked_without_a_complaint(project: Path) -> None:
    report = Project(project).check(["partition", "postprocess", "combine", "prepare_labeled_windows"], model=False)
    assert report.errors == ()


def test_partitions_and_windows(project: Path, tmp_path: Path) -> None:
    runner = OlmoEarthRunPredictRunner(project, tmp_path / "scratch", progress=False)
    summary = runner.partition()
    assert list(summary.partitions) == ["partition_0", "partition_1"]
    windows = runner.windows()
    assert set(windows["x1"] - windows["x0"]) == {32}
    halves = {pid: runner.scratch.features_of(pid) for pid in summary.partitions}
    assert {feature.properties.half for one in halves["partition_1"].values() for feature in one} == {0.5}


def test_an_edited_partitioner_plans_anew(project: Path, tmp_path: Path) -> None:
    runner = OlmoEarthRunPredictRunner(project, tmp_path / "scratch", progress=False)
    before = {window.bounds for window in runner.plan().windows}
    module = tmp_path / "own_pkg" / "roles" / "partitioners.py"
    module.write_text(module.read_text().replace("box(x * WIDTH, ", "box(x * WIDTH - 16, "))
    after = {window.bounds for window in runner.plan().windows}
    assert len(before & after) == 0
    assert len(after) >= len(before)


def test_an_edited_class_is_noticed_and_another_class_of_its_module_is_not(project: Path, tmp_path: Path) -> None:
    def runner() -> OlmoEarthRunPredictRunner:
        return OlmoEarthRunPredictRunner(project, tmp_path / "scratch", progress=False)

    runner().partition()
    module = tmp_path / "own_pkg" / "roles" / "partitioners.py"
    text = module.read_text()
    module.write_text(text + "\n\nclass Another:\n    pass\n")
    assert runner().partition().counts["partitions"] == 2
    module.write_text(text.replace("self.shares = shares", "self.shares = [0.1, *shares]"))
    with pytest.raises(StaleScratchError, match=r"partitioners\.Halves changed.*partition\(overwrite=True"):
        runner().partition()
    assert runner().partition(overwrite=True).counts["partitions"] == 3


def test_labelled_windows(project: Path, tmp_path: Path) -> None:
    runner = OlmoEarthRunFineTuneRunner(project, tmp_path / "scratch", progress=False)
    assert runner.prepare_labeled_windows().counts["windows"] == 8
    windows = {window.name: window for window in runner.scratch.windows()}
    truth = scenes.class_map()
    for window in windows.values():
        x0, y0, x1, y1 = window.bounds
        column, row = x0 - scenes.CORNER[0], y0 - scenes.CORNER[1]
        assert window.options["split"] == ["train", "val", "train", "test"][y0 // 32 % 4]
        folder = tmp_path / "scratch" / "dataset" / "windows" / window.group / window.name / "layers" / "label"
        (file,) = folder.rglob("*.tif")
        with rasterio.open(file) as label:
            np.testing.assert_array_equal(label.read(1), truth[row : row + (y1 - y0), column : column + (x1 - x0)])


def test_features_of_the_guide(tmp_path: Path) -> None:
    write_modules(tmp_path)
    spec = Project(scenes.make_vector_project(tmp_path / "project")).run_config.postprocessing_strategies
    assert spec is not None
    named = spec.process_window.__class__(
        {"class_path": "own_pkg.roles.postprocessors.Named"}, "postprocessing_strategies.process_window"
    )
    made = build_object(named, role_for(named, "VECTOR"), search_path=[tmp_path])
    times = {"oe_start_time": "2024-06-01", "oe_end_time": "2024-06-02"}
    point = {"type": "Point", "coordinates": [3.0, 45.0]}
    request = PredictionRequestFeature.model_validate(
        {"type": "Feature", "geometry": point, "properties": {**times, "client": "me"}}
    )
    result = PredictionResultCollection.model_validate(
        {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "geometry": point, "properties": {"category": 1}}],
        }
    )
    found = processed_features(made, [request], result, mask=None, where="window")
    merged = merged_features(made, "process_dataset", [found, found], where="here")
    assert [(one.properties.name, one.properties.client) for one in merged.features] == [("forest", "me")] * 2


@pytest.mark.slow
def test_the_whole_way_with_processes(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = tmp_path / "notes"
    note.mkdir()
    _use_own_model(project, note)
    _use_own_source(project, note)
    monkeypatch.setenv("NUM_WORKERS", "2")
    build = BuildOptions(workers=2)
    tuning = OlmoEarthRunFineTuneRunner(project, tmp_path / "tuning", build=build, progress=False)
    steps = ["prepare_labeled_windows", "build_dataset_from_windows", "fine_tune", "partition", "postprocess"]
    assert tuning.project.check(steps).errors == ()
    tuning.prepare_labeled_windows()
    assert tuning.build_dataset_from_windows().counts["built"] == 8
    made_in = {line.split()[0] for line in (note / "made.txt").read_text().splitlines()}
    assert len(made_in - {str(os.getpid())}) >= 1
    checkpoint = tuning.fine_tune(max_epochs=2).best_checkpoint
    assert (note / "epochs.txt").read_text().count("epoch") == 2
    assert "segment/own" in " ".join(tuning.evaluate("test").metrics)

    runner = OlmoEarthRunPredictRunner(
        project, tmp_path / "scratch", checkpoint_path=checkpoint, build=build, progress=False
    )
    result = runner.run_pipeline()[-1]
    assert {path.name for path in result.files} >= {"partition_0_part_0.tif", "partition_1_part_0.tif"}
    for path in result.files:
        with rasterio.open(path) as tif:
            assert set(np.unique(tif.read(1))) <= {10, 11, 12, 255}

    # Where processes can't be forked they start from nothing, and unpickle task, transforms and windows.
    from olmoearth_nb.model import batches

    monkeypatch.setattr(batches, "worker_context", lambda: multiprocessing.get_context("spawn"))
    again = runner.run_inference(overwrite=True)
    assert again.counts["predicted"] == len(runner.windows())


def test_a_long_temporary_folder_does_not_hold_up_processes_that_read(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    code = """
    import multiprocessing, tempfile
    from multiprocessing import connection, process
    from olmoearth_nb.model.sockets import keep_sockets_short

    keep_sockets_short()
    keep_sockets_short()
    def work(queue):
        with connection.Listener(family="AF_UNIX") as listener:
            queue.put(listener.address)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    context.Process(target=work, args=(queue,)).start()
    print(queue.get(timeout=60))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    address = Path(done.stdout.strip())
    assert address.parts[1] in ("tmp", "var")
    assert len(str(address)) < 104
    assert not address.parent.exists()
