from __future__ import annotations

import hashlib
import json
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import scenes
import shapely
import torch
from shapely.geometry import mapping

from olmoearth_nb import OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner
from olmoearth_nb.errors import MissingStepError, UsageError
from olmoearth_nb.runners.window_trace import WindowTrace
from olmoearth_nb.store.outputs import output_raster

from .conftest import Trained


def listing(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file and folder with its time of change and content."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture(scope="module")
def predicted(trained_raster: Trained, tmp_path_factory: pytest.TempPathFactory) -> OlmoEarthRunPredictRunner:
    """The raster project's request, predicted in crops of 16 pixels that overlap."""
    folder = tmp_path_factory.mktemp("predicted")
    project = folder / "project"
    shutil.copytree(trained_raster.project, project, ignore=shutil.ignore_patterns("summary.json"))
    runner = OlmoEarthRunPredictRunner(
        project, folder / "scratch", checkpoint_path=trained_raster.checkpoint, progress=False
    )
    runner.run_pipeline(["partition", "dataset_build", "inference"])
    return runner


def test_what_would_be_written_is_what_was_written(predicted: OlmoEarthRunPredictRunner) -> None:
    windows = predicted.windows()
    predicted.trace(windows.iloc[0])
    before = listing(predicted.workspace.root), listing(predicted.project.path)

    traces = {
        (row.group, row.name): predicted.trace(f"{row.group}/{row.name}") for row in windows.itertuples(index=False)
    }

    assert (listing(predicted.workspace.root), listing(predicted.project.path)) == before
    assert len(traces) == 16
    for key, trace in traces.items():
        with rasterio.open(output_raster(predicted.scratch.dataset, key)) as file:
            written = file.read()
        raster = trace.data.written.raster  # type: ignore[union-attr]
        assert raster is not None
        assert raster.dtype == written.dtype
        assert raster.values.tobytes() == written.tobytes()
        assert trace.data.output().classes == scenes.CLASSES


def test_a_window_by_name_row_place_or_itself(predicted: OlmoEarthRunPredictRunner) -> None:
    windows = predicted.windows()
    row = windows.iloc[5]
    centre = row["geometry"].centroid
    (window,) = predicted.scratch.dataset.load_windows(groups=[row["group"]], names=[row["name"]])

    named = [row["name"], f"{row['group']}/{row['name']}", row, windows.iloc[[5]], window]
    placed = [centre, (centre.x, centre.y), dict(mapping(centre)), {"type": "Feature", "geometry": mapping(centre)}]

    for given in [*named, *placed]:
        trace = predicted.trace(given)
        assert (trace.data.window.group, trace.name) == (row["group"], row["name"])
        assert not trace.data.window.temporary


def test_a_polygon_is_built_elsewhere(predicted: OlmoEarthRunPredictRunner) -> None:
    """20 x 14 pixels across windows of the dataset."""
    polygon = scenes.pixel_shape(shapely.box(25.01, 40.01, 44.99, 53.99))
    before = listing(predicted.workspace.root), listing(predicted.project.path)

    trace = predicted.trace(polygon)

    data = trace.data
    assert data.window.temporary
    assert data.window.shape == (14, 20)
    assert data.window.bounds[:2] == (scenes.CORNER[0] + 25, scenes.CORNER[1] + 40)
    assert data.window.time_range == tuple(map(datetime.fromisoformat, scenes.TIMES))
    np.testing.assert_array_equal(trace.inputs["scene"].values[0], scenes.scene_array()[:, 40:54, 25:45])
    truth = scenes.class_map()[40:54, 25:45]
    assert (trace.prediction.values == truth).mean() > 0.8  # type: ignore[union-attr]
    assert (listing(predicted.workspace.root), listing(predicted.project.path)) == before
    engine: Any = trace._engine
    folder = Path(str(engine.request.dataset.path))
    assert folder.is_dir()
    np.testing.assert_array_equal(engine.capture().output().prediction.values, trace.prediction.values)  # type: ignore[union-attr]
    del engine, trace
    assert not folder.exists()


def test_a_place_outside_of_all_windows(predicted: OlmoEarthRunPredictRunner) -> None:
    place = scenes.pixel_shape(shapely.Point(140.5, 20.5))

    data = predicted.trace(place).data

    assert data.window.temporary
    assert data.window.shape == (32, 32)
    x0, y0, x1, y1 = data.window.bounds
    assert (x0 + x1) / 2 == pytest.approx(scenes.CORNER[0] + 140.5, abs=1)
    assert (y0 + y1) / 2 == pytest.approx(scenes.CORNER[1] + 20.5, abs=1)


def test_a_place_without_imagery_says_why(predicted: OlmoEarthRunPredictRunner) -> None:
    data = predicted.trace(scenes.pixel_shape(shapely.Point(1000, 1000))).data

    assert "no imagery of the source covers the window" in str(data.layers["scene"].reason)
    assert not data.outputs
    assert "The model was not run" in data.warnings[-1].text
    assert data.layers["scene"].note == "1 other items lie elsewhere."


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("window_0", r"no such window.*16 windows"),
        ("group_partition_0/x", "no such window"),
        ("", "no such window"),
        (7, r"That is no window.*a name, a row"),
        ((1, 2, 3), "That is no window"),
        ((200.0, 10.0), "not on the map.*longitude"),
        ({"type": "Nothing"}, "GeoJSON"),
        (shapely.Polygon(), "not on the map"),
        (shapely.box(0, 40, 5, 45), "too large for one window"),
    ],
)
def test_what_is_no_window(predicted: OlmoEarthRunPredictRunner, given: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        predicted.trace(given)


def test_rows_of_several_windows_and_of_other_datasets(
    predicted: OlmoEarthRunPredictRunner, trained_raster: Trained
) -> None:
    with pytest.raises(UsageError, match=r"One window can be traced at a time.*2 rows"):
        predicted.trace(predicted.windows().iloc[:2])
    with pytest.raises(UsageError, match="not in this dataset"):
        predicted.trace(trained_raster.runner.windows().iloc[0])


def test_steps_that_are_missing(raster_project: Path, tmp_path: Path) -> None:
    runner = OlmoEarthRunPredictRunner(raster_project, tmp_path / "scratch", progress=False)
    with pytest.raises(MissingStepError, match=r"runner\.partition\(\)"):
        runner.trace("w")
    runner.partition()
    data = runner.trace(runner.windows().iloc[0]).data
    assert data.layers["scene"].reason == "its data source was never asked: the window has not been built"
    tuning = OlmoEarthRunFineTuneRunner(raster_project, tmp_path / "tuning", progress=False)
    with pytest.raises(MissingStepError, match="prepare_labeled_windows"):
        tuning.trace("w")


def test_another_checkpoint(predicted: OlmoEarthRunPredictRunner, trained_raster: Trained, tmp_path: Path) -> None:
    content = torch.load(trained_raster.checkpoint, weights_only=True)
    bias = next(name for name in content["state_dict"] if name.endswith("decoders.segment.0.layer.bias"))
    content["state_dict"][bias][:] = torch.tensor([0.0, 0.0, 1000.0])
    torch.save(content, tmp_path / "field.ckpt")
    name = predicted.windows()["name"].iloc[0]

    trace = predicted.trace(name, checkpoint=tmp_path / "field.ckpt")

    assert set(trace.prediction.values.ravel()) == {2}  # type: ignore[union-attr]
    assert trace.data.model.checkpoint == str(tmp_path / "field.ckpt")
    assert trace.data.model.checkpoint_sha256 == hashlib.sha256((tmp_path / "field.ckpt").read_bytes()).hexdigest()
    assert set(predicted.trace(name).prediction.values.ravel()) != {2}  # type: ignore[union-attr]
    assert predicted.model() is predicted.model()
    assert predicted.model() is not predicted.model(tmp_path / "field.ckpt")


def test_a_labelled_window(trained_raster: Trained) -> None:
    runner = trained_raster.runner
    table = runner.evaluate("val").windows

    for row in table.itertuples(index=False):
        trace = runner.trace(row.name)
        assert trace.loss == pytest.approx(row.loss, rel=1e-5)
        assert float(trace.output().error.mean()) == pytest.approx(row.error, abs=1e-6)  # type: ignore[union-attr]
        assert len(trace.data.crops) == 1
    assert trace.data.model.checkpoint == str(trained_raster.checkpoint)
    assert len(runner.trace(table["name"].iloc[0], split="predict").data.crops) == 9
    with pytest.raises(UsageError, match="no such split"):
        runner.trace(table["name"].iloc[0], split="x")


def test_inputs_are_compared_with_those_of_the_training(
    predicted: OlmoEarthRunPredictRunner, trained_raster: Trained, tmp_path: Path
) -> None:
    trace = predicted.trace(predicted.windows().iloc[0])

    ranges = trace.data.training
    assert ranges is not None
    assert list(ranges["band"]) == list(scenes.BANDS)
    count = (trained_raster.runner.windows()["split"] == "train").sum()
    assert set(ranges["windows"]) == {count}
    assert ranges["min"].min() >= 1
    assert not [warning for warning in trace.data.warnings if warning.kind == "range"]
    (kept,) = predicted.workspace.state.glob("training_ranges_*.json")
    stamp = kept.stat().st_mtime_ns
    again = OlmoEarthRunPredictRunner(
        predicted.project.path, predicted.workspace.root, checkpoint_path=trained_raster.checkpoint, progress=False
    )
    assert again.trace(again.windows().iloc[0]).data.training.equals(ranges)  # type: ignore[union-attr]
    assert kept.stat().st_mtime_ns == stamp


def test_values_that_training_never_had_are_a_warning(trained_raster: Trained, tmp_path: Path) -> None:
    """The scene in another unit, ten times as large."""
    project = tmp_path / "project"
    shutil.copytree(trained_raster.project, project, ignore=shutil.ignore_patterns("summary.json"))
    with rasterio.open(project / "scenes" / "scene.tif", "r+") as scene:
        scene.write(scene.read() * 10)
    runner = OlmoEarthRunPredictRunner(
        project, tmp_path / "scratch", checkpoint_path=trained_raster.checkpoint, progress=False
    )
    runner.run_pipeline(["partition", "dataset_build"])

    warnings = runner.trace(runner.windows().iloc[3]).data.warnings

    assert [(warning.kind, warning.input, warning.band) for warning in warnings] == [
        ("range", "image", band) for band in scenes.BANDS
    ]
    assert "98% of the values" in warnings[0].text
    copy = shutil.copyfile(trained_raster.checkpoint, tmp_path / "copy.ckpt")
    alone = OlmoEarthRunPredictRunner(project, tmp_path / "scratch", checkpoint_path=copy, progress=False)
    assert [one.kind for one in alone.trace(alone.windows().iloc[3]).data.warnings] == ["training"]
    told = alone.trace(alone.windows().iloc[3], training=trained_raster.runner)
    assert len(told.data.warnings) == 3


def test_items_that_were_not_used(trained_raster: Trained, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(trained_raster.project, project, ignore=shutil.ignore_patterns("summary.json"))
    scenes.write_scene(project / "scenes", name="second")
    scenes.write_scene(project / "scenes", name="far", origin=(700_000.0, 5_000_000.0))
    runner = OlmoEarthRunPredictRunner(
        project, tmp_path / "scratch", checkpoint_path=trained_raster.checkpoint, progress=False
    )
    runner.run_pipeline(["partition", "dataset_build"])

    layer = runner.trace(runner.windows().iloc[0]).data.layers["scene"]

    assert layer.data is not None
    used = [item for item in layer.items if item.used]
    unused = [item for item in layer.items if not item.used]
    assert [item.group for item in used] == [0]
    assert list(layer.data["source"].values) == [used[0].name]
    assert {used[0].name, unused[0].name} == {"scene", "second"}
    assert str(unused[0].reason).startswith("others were matched first")
    assert layer.note == "1 other items lie elsewhere."


def test_a_saved_trace_is_the_same(predicted: OlmoEarthRunPredictRunner, tmp_path: Path) -> None:
    trace = predicted.trace(predicted.windows().iloc[0], features=["encoder.0"])

    loaded = WindowTrace.load(trace.save(tmp_path / "trace.zip"))

    assert repr(loaded) == repr(trace)
    assert loaded.features["encoder.0"].identical(trace.features["encoder.0"])
    assert loaded.modules().equals(trace.modules())
    assert loaded.data.seconds == trace.data.seconds
    assert loaded.legend == trace.legend == predicted.project.legend


def test_a_classification_of_windows(vector_project: Path, tmp_path: Path) -> None:
    runner = OlmoEarthRunPredictRunner(vector_project, tmp_path / "scratch", progress=False)
    runner.run_pipeline(["partition", "dataset_build", "inference"])

    for row in runner.windows().itertuples(index=False):
        trace = runner.trace(row.name)
        file = runner.workspace.window(row.group, row.name) / "layers" / "output" / "data.geojson"
        written, expected = (json.loads(text) for text in (trace.data.written.geojson, file.read_text()))  # type: ignore[union-attr, arg-type]
        (one,), (other,) = written.pop("features"), expected.pop("features")
        assert written == expected
        assert one["geometry"] == other["geometry"]
        assert one["properties"]["category"] == other["properties"]["category"]
        # The windows went through the model in batches of eight, whose last bits are others.
        assert one["properties"]["probs"] == pytest.approx(other["properties"]["probs"], rel=1e-5)
        assert trace.probabilities.dims == ("class",)  # type: ignore[union-attr]
