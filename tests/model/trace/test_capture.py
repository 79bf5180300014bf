from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import scenes
import task_models
import torch
from places import Place
from rslearn.dataset import Window
from rslearn.train.model_context import ModelContext

from olmoearth_nb.errors import UsageError
from olmoearth_nb.model.evaluate import evaluate_windows
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.predict import predict_windows
from olmoearth_nb.model.trace.capture import TraceRequest, capture, read_samples
from olmoearth_nb.traces.check import findings
from olmoearth_nb.traces.data import TraceData

EMBEDDING = "encoder.0.model.patch_embeddings.per_modality_embeddings.sentinel2_l2a.sentinel2_l2a__0"


def trace(loaded: LoadedModel, place: Place, window: Window, **options: Any) -> TraceData:
    return capture(loaded, TraceRequest(window=window, dataset=place.dataset, **options))


def listing(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file and folder with its time of change and content."""
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
    }


def output_files(window: Window) -> list[Path]:
    layer = Path(str(window.window_root)) / "layers" / "output"
    return [path for path in layer.rglob("*") if path.suffix in (".tif", ".geojson")]


def assert_written(data: TraceData, window: Window) -> None:
    (file,) = output_files(window)
    assert data.written is not None
    if file.suffix == ".geojson":
        assert data.written.geojson == file.read_text()
        return
    with rasterio.open(file) as raster:
        values = raster.read()
        assert data.written.raster is not None
        assert tuple(data.written.raster.attrs["transform"]) == pytest.approx(tuple(raster.transform)[:6])
        assert data.written.raster.attrs["crs"] == raster.crs.to_string()
    assert data.written.raster.dtype == values.dtype
    assert data.written.raster.values.tobytes() == values.tobytes()


@pytest.mark.parametrize("kind", task_models.MOST_KINDS)
def test_what_is_written_is_what_a_prediction_writes(tmp_path: Path, kind: str) -> None:
    """Windows of 32 pixels in overlapping crops of 16."""
    place = task_models.task_place(tmp_path / "place", kind)
    # A detector takes seconds for a window.
    loaded, windows = task_models.load(place), task_models.windows_of(place)[: 2 if kind == "detection" else None]
    before = listing(tmp_path)

    traces = [trace(loaded, place, window) for window in windows]

    assert listing(tmp_path) == before
    for data, window in zip(traces, windows, strict=True):
        # Of several windows in a batch the last bits of floating-point numbers may differ.
        assert predict_windows(loaded, [window], progress=False)[0].state == "written"
        assert_written(data, window)
        assert len(data.crops) == 9


@pytest.mark.parametrize("crop", [None, 16])
@pytest.mark.parametrize("kind", ["segmentation", "multi"])
def test_classes_are_those_of_all_windows_in_one_run(tmp_path: Path, kind: str, crop: int | None) -> None:
    place = task_models.task_place(tmp_path / "place", kind, count=9, crop_size=crop)
    loaded, windows = task_models.load(place), task_models.windows_of(place)

    predict_windows(loaded, windows, progress=False)

    for window in windows:
        assert_written(trace(loaded, place, window), window)


@pytest.mark.parametrize(("size", "crop", "overlap"), [(32, None, 0), (32, 24, 6), (20, 32, 0), (21, 8, 3)])
def test_windows_and_crops_of_other_sizes(tmp_path: Path, size: int, crop: int | None, overlap: int) -> None:
    place = task_models.task_place(
        tmp_path / "place", "per-pixel regression", count=2, size=size, crop_size=crop, overlap=overlap
    )
    loaded, windows = task_models.load(place), task_models.windows_of(place)

    traces = [trace(loaded, place, window) for window in windows]

    for data, window in zip(traces, windows, strict=True):
        predict_windows(loaded, [window], progress=False)
        assert_written(data, window)
        values = data.output().values
        assert values is not None
        assert data.written is not None
        np.testing.assert_array_equal(values.values, data.written.raster.values[0])  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", task_models.MOST_KINDS)
def test_the_loss_is_that_of_training(tmp_path: Path, kind: str) -> None:
    place = task_models.task_place(tmp_path / "place", kind, crop_size=None)
    loaded = task_models.load(place)
    window, unlabelled = task_models.windows_of(place)[0], task_models.windows_of(place)[-1]

    data = trace(loaded, place, window)

    samples = read_samples(loaded, TraceRequest(window=window, dataset=place.dataset))
    inputs, targets, metadatas = ([sample[i] for sample in samples] for i in range(3))
    if kind == "detection":
        # Its head has losses in training only, of a random sample of boxes.
        loaded.module.train()
        torch.manual_seed(0)
    output = loaded.module(ModelContext(inputs=inputs, metadatas=metadatas), targets)
    expected = {name: float(loss) for name, loss in output.loss_dict.items()}
    assert dict(data.losses) == expected
    assert data.loss == sum(expected.values())
    assert len(expected) == {"detection": 4, "multi": 3}.get(kind, 1)
    without = trace(loaded, place, unlabelled)
    assert without.loss is None
    assert all(one.loss is None and one.error is None and one.label is None for one in without.outputs.values())


def test_the_loss_by_pixel_adds_up(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path / "place", "multi", crop_size=None)

    data = trace(task_models.load(place), place, task_models.windows_of(place)[0])

    for name, part in (("cover", "cover_cls"), ("height", "height_regress")):
        loss = data.output(name).loss
        assert loss is not None
        assert loss.map is not None
        assert loss.map.attrs["part"] == part
        assert float(loss.map.sum()) == pytest.approx(data.losses[part], rel=1e-4)
    nothing = data.output("height").loss.map.values[:5, :3]  # type: ignore[union-attr]
    assert np.isnan(nothing).all()
    assert np.isnan(data.output("height").loss.map.values).sum() == 15  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["segmentation", "classification"])
def test_losses_are_those_of_an_evaluation(tmp_path: Path, kind: str) -> None:
    place = task_models.task_place(tmp_path / "place", kind)
    loaded, windows = task_models.load(place), task_models.windows_of(place)[:3]

    evaluation = evaluate_windows(loaded, windows, split="predict", progress=False)

    (result,) = evaluation.tasks.values()
    by_name = result.windows.set_index("name")["loss"]
    for window in windows:
        assert trace(loaded, place, window).loss == pytest.approx(by_name[window.name], rel=1e-5)


def test_classes_by_pixel(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path / "place", "segmentation", crop_size=None)

    output = trace(task_models.load(place), place, task_models.windows_of(place)[0]).output()

    logits, probabilities, prediction = output.logits, output.probabilities, output.prediction
    assert logits is not None
    assert probabilities is not None
    assert prediction is not None
    assert list(probabilities["class"].values) == list(scenes.CLASSES)
    # The head divides by its temperature, 0.1, and the task triples the second class before it chooses.
    scaled = np.exp(logits.values / 0.1 - (logits.values / 0.1).max(axis=0))
    np.testing.assert_allclose(probabilities.values, scaled / scaled.sum(axis=0), atol=1e-5)
    chosen = (probabilities.values * np.array([1, 3, 1])[:, None, None]).argmax(axis=0)
    np.testing.assert_array_equal(prediction.values, chosen)
    assert (chosen != probabilities.values.argmax(axis=0)).any()
    ordered = np.sort(probabilities.values, axis=0)
    np.testing.assert_array_equal(output.confidence.values, ordered[-1])  # type: ignore[union-attr]
    np.testing.assert_array_equal(output.margin.values, ordered[-1] - ordered[-2])  # type: ignore[union-attr]
    entropy = -(probabilities.values * np.log(np.maximum(probabilities.values, 1e-30))).sum(axis=0)
    np.testing.assert_allclose(output.entropy.values, entropy, atol=1e-5)  # type: ignore[union-attr]
    truth = scenes.class_map()[:32, :32]
    np.testing.assert_array_equal(output.label.values, truth)  # type: ignore[union-attr]
    np.testing.assert_array_equal(output.error.values, chosen != truth)  # type: ignore[union-attr]


def test_half_precision_chooses_as_the_writer_does(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path / "place", "segmentation")
    loaded, window = replace(task_models.load(place), precision="bf16-mixed"), task_models.windows_of(place)[0]

    data = trace(loaded, place, window)

    predict_windows(loaded, [window], progress=False)
    assert_written(data, window)
    np.testing.assert_array_equal(data.output().prediction.values, data.written.raster.values[0])  # type: ignore[union-attr]
    assert data.output().probabilities.dtype == np.float32  # type: ignore[union-attr]


def test_values_by_pixel_are_in_the_unit_of_the_labels(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path / "place", "per-pixel regression", crop_size=None)

    output = trace(task_models.load(place), place, task_models.windows_of(place)[0]).output()

    height = (scenes.scene_array()[2, :32, :32] / 10).astype(np.float32)
    height[:5, :3] = np.nan
    assert output.label is not None
    assert output.values is not None
    np.testing.assert_allclose(output.label.values, height, rtol=1e-6)
    np.testing.assert_allclose(output.error.values, output.values.values - height, rtol=1e-4)  # type: ignore[union-attr]
    np.testing.assert_allclose(output.logits.values, output.values.values * 0.01, rtol=1e-5)  # type: ignore[union-attr]


def test_tasks_by_window(tmp_path: Path) -> None:
    classes = task_models.task_place(tmp_path / "classes", "classification", crop_size=None)
    values = task_models.task_place(tmp_path / "values", "regression", crop_size=None)

    one = trace(task_models.load(classes), classes, task_models.windows_of(classes)[0]).output()
    other = trace(task_models.load(values), values, task_models.windows_of(values)[0]).output()

    assert one.task == "category"
    assert one.probabilities is not None
    assert one.probabilities.dims == ("class",)
    assert one.logits is not None
    np.testing.assert_allclose(
        one.probabilities.values, torch.softmax(torch.tensor(one.logits.values), 0).numpy(), atol=1e-6
    )
    assert int(one.prediction) == int(one.probabilities.argmax())  # type: ignore[arg-type]
    assert int(one.label) == scenes.CLASSES.index("field")  # type: ignore[arg-type]
    assert one.by_crop is None
    assert float(other.label) == pytest.approx(12.5)  # type: ignore[arg-type]
    assert float(other.values) == pytest.approx(float(other.logits) * 10, rel=1e-5)  # type: ignore[arg-type]
    assert float(other.error) == pytest.approx(float(other.values) - 12.5, rel=1e-5)  # type: ignore[arg-type]


def test_tasks_by_window_of_several_crops(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path / "place", "classification")

    output = trace(task_models.load(place), place, task_models.windows_of(place)[0]).output()

    assert output.by_crop is not None
    assert output.by_crop.dims == ("crop", "class")
    assert output.by_crop.shape == (9, 3)
    np.testing.assert_array_equal(output.by_crop.values[-1], output.probabilities.values)  # type: ignore[union-attr]


def test_time_steps_by_pixel(tmp_path: Path) -> None:
    place = task_models.timestep_place(tmp_path / "place")
    loaded, (window,) = task_models.load(place), task_models.windows_of(place)

    data = trace(loaded, place, window)

    output = data.output()
    assert output.kind == "time step of each pixel"
    label = np.full((32, 32), 1)
    label[:4] = -1
    np.testing.assert_array_equal(output.label.values, label)  # type: ignore[union-attr]
    assert output.loss is not None
    assert output.loss.map is not None
    assert float(output.loss.map.sum()) == pytest.approx(data.loss, rel=1e-4)
    assert np.isnan(output.loss.map.values[:4]).all()
    predict_windows(loaded, [window], progress=False)
    assert_written(data, window)
    dates = data.written.raster.values[0].astype(int)  # type: ignore[union-attr]
    np.testing.assert_array_equal(
        (dates - dates.min()) // 30 + output.prediction.values.min(), output.prediction.values
    )  # type: ignore[union-attr]


def test_objects_are_a_table_in_the_windows_crs(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path / "place", "detection", crop_size=None)
    window = task_models.windows_of(place)[1]

    data = trace(task_models.load(place), place, window)

    output = data.output()
    assert output.vectors is not None
    assert len(output.vectors) == len(data.written.vectors) > 0  # type: ignore[union-attr, arg-type]
    assert set(output.vectors.columns) == {"score", "category", "geometry"}
    assert output.vectors.crs == "EPSG:32631"
    left, top = scenes.ORIGIN[0] + 320, scenes.ORIGIN[1]
    bounds = output.vectors.total_bounds
    assert left <= bounds[0] <= bounds[2] <= left + 320
    assert top - 320 <= bounds[1] <= bounds[3] <= top
    assert output.label_vectors is not None
    assert list(output.label_vectors["category"]) == ["forest", "water"]
    assert tuple(output.label_vectors.geometry[0].bounds) == (left + 40, top - 150, left + 120, top - 60)


def test_stages_are_copies_of_what_transforms_gave(tmp_path: Path) -> None:
    """Normalize changes the tensor in place."""
    place = task_models.task_place(tmp_path / "place", "segmentation")
    window = task_models.windows_of(place)[2]

    data = trace(task_models.load(place), place, window)

    assert [stage.name for stage in data.stages] == ["read", "task", "Normalize"]
    scene = scenes.scene_array()[:, :32, 64:96].astype(np.float32)
    np.testing.assert_array_equal(data.stage("read").inputs["image"].values[0], scene)
    np.testing.assert_allclose(data.stage(-1).inputs["image"].values[0], (scene - 500) / 400, rtol=1e-6)
    assert "mean=500.0" in data.stage(-1).note
    stats = data.stage("Normalize").stats.set_index("band")
    assert list(stats.index) == list(scenes.BANDS)
    assert stats.loc["B2", "mean"] == pytest.approx(((scene[1] - 500) / 400).mean(), rel=1e-5)
    np.testing.assert_array_equal(data.stage("task").targets["classes"].values[0, 0], scenes.class_map()[:32, 64:96])
    image = data.stage("read").inputs["image"]
    assert image.dtype == data.stage(-1).inputs["image"].dtype == np.float32
    assert image.dims == ("time", "band", "y", "x")
    assert image["x"].values[0] == scenes.ORIGIN[0] + 645
    assert image["y"].values[0] == scenes.ORIGIN[1] - 5
    assert image.attrs["transform"] == [10.0, 0.0, scenes.ORIGIN[0] + 640, 0.0, -10.0, scenes.ORIGIN[1]]


def test_nodata_is_counted_from_stage_to_stage(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path / "place", "segmentation")
    window = task_models.windows_of(place)[0]
    pixels = scenes.scene_array()[:, :32, :32].copy()
    pixels[:, :8] = 0
    with window.data.open_layer_writer("scene") as writer:
        scenes._write_raster(writer, window, list(scenes.BANDS), pixels)

    data = trace(task_models.load(place), place, window)

    assert data.layers["scene"].data.attrs["nodata"] == 0  # type: ignore[union-attr]
    for stage in data.stages:
        assert list(stage.stats["nodata"]) == [0.25, 0.25, 0.25]
    assert data.stage("read").stats["min"].min() > 0


def test_seams_and_where_pixels_come_from(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path / "place", "per-pixel regression")
    loaded, window = task_models.load(place), task_models.windows_of(place)[0]

    data = trace(loaded, place, window)

    # Crops start at 0, 12 and 16; each gives up 2 pixels at its left and upper edge.
    starts = [crop.bounds[0] - window.bounds[0] for crop in data.crops]
    assert starts == [0, 0, 0, 12, 12, 12, 16, 16, 16]
    assert data.merged_from is not None
    columns = data.merged_from.values[0] // 3
    assert list(columns) == [0] * 14 + [1] * 4 + [2] * 14
    output = data.output()
    assert output.seam is not None
    apart = output.seam.values
    assert np.isnan(apart[:12, :12]).all()
    assert np.isfinite(apart[12:28, :]).all()
    assert np.isfinite(apart[:, 12:28]).all()
    # A convolution of 3 x 3 sees zeros beyond the edge of a crop, and only there.
    whole = trace(loaded, place, window, split="test").output().values.values  # type: ignore[union-attr]
    differs = np.abs(output.values.values - whole) > 1e-3  # type: ignore[union-attr]
    assert not differs.any()
    assert apart[5, 12] > 0.01
    assert apart[5, 13] < 1e-3


def test_features_by_name(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path / "place", "segmentation", crop_size=None)
    loaded, window = task_models.load(place), task_models.windows_of(place)[0]

    without = trace(loaded, place, window)
    data = trace(loaded, place, window, features=["encoder.0", "decoder.0", "encoder.0.encoder_modules.0.layer"])

    assert not without.features
    assert list(data.features) == ["encoder.0", "decoder.0", "encoder.0.encoder_modules.0.layer"]
    np.testing.assert_array_equal(data.features["decoder.0"].values, data.output().logits.values)  # type: ignore[union-attr]
    hidden, before = data.features["encoder.0"], data.features["encoder.0.encoder_modules.0.layer"]
    assert hidden.dims == ("channel", "y", "x")
    # The activation after it may work in place.
    np.testing.assert_array_equal(hidden.values, np.maximum(before.values, 0))
    assert (before.values < 0).any()
    modules = {module.name: module for module in data.modules}
    assert modules["encoder.0"].shape == (16, 32, 32)
    assert modules["decoder.0"].parameters == 3 * 16 + 3
    assert modules["encoder"].shape is None
    with pytest.raises(UsageError, match=r"no such module.*'encoder\.0'"):
        trace(loaded, place, window, features=["encoder.00"])
    with pytest.raises(UsageError, match=r"features=\['encoder\.0'\]"):
        trace(loaded, place, window, features="encoder.0")


def test_a_layer_that_is_missing(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path / "place", "segmentation")
    window = scenes.add_window(place.dataset, "empty", (0, 0, 32, 32), layers=())

    data = trace(task_models.load(place), place, window)
    failed = trace(task_models.load(place), place, window, failure="no such file.")

    assert data.layers["scene"].reason == "its data source was never asked: the window has not been built"
    assert failed.layers["scene"].reason == "it could not be built: no such file"
    assert not data.outputs
    assert [warning.kind for warning in data.warnings] == ["layer", "layer"]
    with pytest.raises(UsageError, match=r"not run on this window.*never asked"):
        data.output()


def test_no_writer_is_a_warning(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path / "place", "multi")
    loaded = replace(task_models.load(place), writer=None)

    data = trace(loaded, place, task_models.windows_of(place)[0])

    assert data.written is None
    assert "Nothing would be written" in " ".join(warning.text for warning in data.warnings)
    assert data.output("cover").prediction.shape == (32, 32)  # type: ignore[union-attr]


def test_an_edit_changes_what_the_model_sees(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path / "place", "segmentation")
    loaded, window = task_models.load(place), task_models.windows_of(place)[0]

    def swap(stage: str, inputs: dict[str, Any], targets: dict[str, Any], metadata: Any) -> None:
        if stage == "task":
            inputs["image"].image[:] = inputs["image"].image.flip(0)

    before, data = trace(loaded, place, window), trace(loaded, place, window, edit=swap)

    np.testing.assert_array_equal(
        data.stage("task").inputs["image"].values, before.stage("read").inputs["image"].values[:, ::-1]
    )
    np.testing.assert_array_equal(
        data.stage("read").inputs["image"].values, before.stage("read").inputs["image"].values
    )
    assert (data.output().logits.values != before.output().logits.values).any()  # type: ignore[union-attr]


def test_a_trace_leaves_the_model_as_it_was(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path / "place", "detection", crop_size=None)
    loaded, window = task_models.load(place), task_models.windows_of(place)[0]
    weights = {name: value.clone() for name, value in loaded.module.state_dict().items()}
    state = torch.random.get_rng_state()

    first = trace(loaded, place, window, features=["encoder.0"])
    again = trace(loaded, place, window)

    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(module.training for module in loaded.module.modules())
    assert all(torch.equal(value, weights[name]) for name, value in loaded.module.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in loaded.module.modules())
    assert first.losses == again.losses
    assert first.written.geojson == again.written.geojson  # type: ignore[union-attr]


@pytest.mark.parametrize("token_pooling", [True, False])
def test_an_olmoearth_encoder_with_twelve_dates(tmp_path: Path, token_pooling: bool) -> None:
    place = task_models.olmoearth_place(tmp_path / "place", token_pooling=token_pooling)
    loaded, window = task_models.load(place), task_models.windows_of(place)[0]
    features = ["encoder.0", "encoder.0.model", "encoder.0.model.blocks.1", EMBEDDING]

    data = trace(loaded, place, window, features=features)

    layer = data.layers["s2"].data
    assert layer is not None
    assert layer.sizes == {"time": 12, "band": 12, "y": 32, "x": 32}
    assert str(layer["time"].values[3])[:16] == "2024-04-04T00:00"
    assert layer["source"].values[3] == "S2_20240404"
    np.testing.assert_array_equal(layer.values, task_models.scene_series(12, 32))
    assert [(item.name, item.group, item.used) for item in data.layers["s2"].items][11] == ("S2_20241130", 11, True)
    assert "connection" in str(data.layers["s2"].note)
    read = data.stage("read").inputs["sentinel2_l2a"]
    assert list(read["source"].values) == list(layer["source"].values)
    assert data.stages[-1].name == "OlmoEarthNormalize"
    assert list(data.stages[-1].inputs["sentinel2_l2a"]["band"].values) == list(task_models.S2)
    tokens = data.features["encoder.0.model.blocks.1"]
    assert tokens.dims == ("token", "channel", "y", "x")
    assert tokens.sizes["y"] == tokens.sizes["x"] == 8
    assert tokens.sizes["token"] % 12 == 0
    assert tokens["token"].values[0] == "sentinel2_l2a t0 s0"
    _assert_tokens_are_in_place(loaded, place, window, features, data)
    predict_windows(loaded, [window], progress=False)
    assert_written(data, window)


def _assert_tokens_are_in_place(
    loaded: LoadedModel, place: Place, window: Window, features: list[str], data: TraceData
) -> None:
    """A change of one patch at one date shows most in what belongs to that patch and date."""

    def change(stage: str, inputs: dict[str, Any], targets: dict[str, Any], metadata: Any) -> None:
        if stage == "task":
            inputs["sentinel2_l2a"].image[:, 7, 4:8, 20:24] += 500

    other = trace(loaded, place, window, features=features, edit=change)
    moved = np.abs(other.features[EMBEDDING].values - data.features[EMBEDDING].values).max(axis=1)
    assert np.unravel_index(moved.argmax(), moved.shape) == (7, 1, 5)
    dates, rows, columns = np.nonzero(moved)
    # Patches see a little of their neighbours.
    assert set(dates) == {7}
    assert set(rows) <= {0, 1, 2}
    assert set(columns) <= {4, 5, 6}
    # In the blocks everything sees everything, but most at its own place.
    block = "encoder.0.model.blocks.1"
    moved = np.abs(other.features[block].values - data.features[block].values).max(axis=1)
    token, row, column = np.unravel_index(moved.argmax(), moved.shape)
    assert (row, column) == (1, 5)
    assert "t7" in str(data.features[block]["token"].values[token])


def test_tokens_of_several_modalities_with_missing_dates(tmp_path: Path) -> None:
    """Sentinel-1 has two of the three dates; the encoder's blocks get what is there in one row."""
    place = task_models.olmoearth_place(tmp_path / "place", dates=3, radar=(0, 2))
    loaded, window = task_models.load(place), task_models.windows_of(place)[0]
    block = "encoder.0.model.blocks.0"

    def change(stage: str, inputs: dict[str, Any], targets: dict[str, Any], metadata: Any) -> None:
        if stage == "OlmoEarthNormalize":
            inputs["sentinel1"].image[:, 1, 12:16, 8:12] += 10

    features = {
        name: trace(loaded, place, window, features=[block], edit=edit).features[block]
        for name, edit in (("before", None), ("after", change))
    }

    tokens = features["before"]
    assert tokens.dims == ("token", "channel", "y", "x")
    assert sorted({str(name).split(" ")[0] for name in tokens["token"].values}) == ["sentinel1", "sentinel2_l2a"]
    empty = np.isnan(tokens.values).all(axis=(1, 2, 3))
    assert [str(name) for name in tokens["token"].values[empty]] == ["sentinel1 t1 s0"]
    moved = np.nanmax(np.abs(features["after"].values - tokens.values), axis=1)
    token, row, column = np.unravel_index(np.nanargmax(moved), moved.shape)
    assert str(tokens["token"].values[token]) == "sentinel1 t2 s0"
    assert (row, column) == (3, 2)


def test_a_window_of_many_crops(raster: Place) -> None:
    window = scenes.add_window(raster.dataset, "large", (0, 0, 128, 128), layers=("scene", "label"))
    data = trace(raster.load(), raster, window)
    assert len(data.crops) == 121


def test_a_label_outside_the_classes_has_no_loss_and_is_found(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path / "place", "segmentation")
    window = task_models.windows_of(place)[0]
    (file,) = (Path(str(window.window_root)) / "layers").glob("label*/*/*.tif")
    with rasterio.open(file, "r+") as raster:
        values = raster.read()
        values[0, :4] = 40
        raster.write(values)
    data = trace(task_models.load(place), place, window)
    (output,) = data.outputs.values()
    assert data.loss is None
    assert output.probabilities is not None
    assert output.label is not None
    assert (output.label.values[:4] == 40).all()
    assert [one.kind for one in data.warnings if "no loss" in one.text] == ["loss"]
    assert "label-outside" in findings(data).codes
