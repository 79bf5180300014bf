from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
import scenes
import task_models
import xarray as xr
from places import Place
from series import files_of, olmoearth_place, series_place, trace_of

from olmoearth_nb.errors import ConfigError, ModelError, UsageError
from olmoearth_nb.model.finetune import TrainingResult
from olmoearth_nb.model.predict import predict_windows
from olmoearth_nb.runners.window_trace import WindowTrace
from olmoearth_nb.traces.data import TraceData


@pytest.fixture
def trace(raster: Place, trained: TrainingResult) -> WindowTrace:
    return trace_of(raster, raster.load(trained.best_checkpoint), "w5")


def _probabilities(data: WindowTrace | TraceData) -> np.ndarray:
    found = data.output().probabilities
    assert found is not None
    return found.values


def _written(data: TraceData) -> np.ndarray:
    assert data.written is not None
    assert data.written.raster is not None
    return data.written.raster.values


def _predicted(place: Place, checkpoint: Any, name: str, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What a prediction writes after a change of the window's file."""
    path = next((place.dataset_path / "windows/default" / name / "layers/scene").rglob("*.tif"))
    with rasterio.open(path) as raster:
        pixels, profile = raster.read(), raster.profile
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(change(pixels.astype(np.float64)).astype(pixels.dtype))
    window = place.windows(names=[name])[0]
    predict_windows(place.load(checkpoint), [window], num_workers=0, overwrite=True)
    return scenes.read_output(place.dataset, window)


def test_no_change_changes_nothing(trace: WindowTrace) -> None:
    found = trace.what_if()
    np.testing.assert_array_equal(_probabilities(found.after), _probabilities(trace))
    assert found.difference.share == 0
    assert found.difference.changes.empty
    assert found.difference.loss is not None
    assert found.difference.loss[0] == found.difference.loss[1]
    assert found.before is trace


def _with_third(pixels: np.ndarray, value: float) -> np.ndarray:
    return np.stack([pixels[0], pixels[1], np.full_like(pixels[2], value)])


@pytest.mark.parametrize(
    ("change", "on_disk"),
    [
        ({"drop_bands": "B3"}, lambda pixels: _with_third(pixels, 0)),
        ({"drop_bands": ["image/B3"], "fill": 700}, lambda pixels: _with_third(pixels, 700)),
        ({"scale": {"B1": 2}, "offset": {"B1": 100}}, lambda p: np.stack([p[0] * 2 + 100, p[1], p[2]])),
        ({"scale": 2}, lambda pixels: pixels * 2),
    ],
)
def test_it_is_what_a_prediction_of_such_a_file_writes(
    raster: Place, trained: TrainingResult, trace: WindowTrace, change: Any, on_disk: Any
) -> None:
    found = trace.what_if(**change)
    expected = _predicted(raster, trained.best_checkpoint, "w5", on_disk)
    np.testing.assert_array_equal(_written(found.after.data), expected)
    assert found.difference.share > 0.02
    changed = _written(found.after.data)[0] != _written(trace.data)[0]
    np.testing.assert_array_equal(found.difference.changed.values > 0, changed)  # type: ignore[union-attr]
    assert found.difference.changes["pixels"].sum() == changed.sum()


def test_the_mean_is_that_of_the_window_without_training_windows(trace: WindowTrace) -> None:
    read = trace.stage("read").inputs["image"].sel(band="B3").values
    by_name = trace.what_if(drop_bands="B3", fill="mean")
    by_number = trace.what_if(drop_bands="B3", fill=float(read.mean()))
    np.testing.assert_allclose(_probabilities(by_name.after), _probabilities(by_number.after), atol=1e-6)


def test_the_mean_is_that_of_training_windows(raster: Place, trained: TrainingResult) -> None:
    ranges = pd.DataFrame({"input": "image", "band": ["B1", "B2", "B3"], "mean": [1.0, 2.0, 333.0]})
    for column in ("min", "p01", "p99", "max", "std", "nodata", "windows"):
        ranges[column] = 1.0
    trace = trace_of(raster, raster.load(trained.best_checkpoint), "w5", training=ranges)
    changed = trace.what_if(drop_bands="B3", fill="mean").after.stage("task").inputs["image"]
    assert (changed.sel(band="B3") == 333).all()
    covered = trace.attribute(1, method="occlusion", baseline="mean", pixel=(3, 3))
    by_hand = trace.attribute(
        1,
        method="occlusion",
        pixel=(3, 3),
        baseline={"image": ((np.array([1.0, 2.0, 333.0]) - 500) / 400)[:, None, None]},
    )
    np.testing.assert_allclose(covered.by_band["image"], by_hand.by_band["image"], atol=1e-5)


def test_another_windows_layer(raster: Place, trained: TrainingResult, trace: WindowTrace) -> None:
    other = trace_of(raster, raster.load(trained.best_checkpoint), "w3")
    for swap in ("w3", "default/w3", {"scene": "w3"}, {"image": "w3"}):
        found = trace.what_if(swap=swap)
        np.testing.assert_array_equal(_probabilities(found.after), _probabilities(other))
        # The label is that of this window.
        np.testing.assert_array_equal(found.after.output().label, trace.output().label)
    scenes.add_window(raster.dataset, "small", (0, 0, 16, 16))
    for swap, error in (("small", "another shape"), ("nowhere", "no such window"), ({"radar": "w3"}, "no such input")):
        with pytest.raises(UsageError, match=error):
            trace.what_if(swap=swap)


def test_another_normalisation(place: Callable[..., Place], trained: TrainingResult, trace: WindowTrace) -> None:
    config = scenes.raster_model_config()
    config["data"]["init_args"]["default_config"]["transforms"][0]["init_args"] = {"mean": 300.0, "std": 400.0}
    other = place(config, name="other")
    scenes.add_window(other.dataset, "w5", (32, 32, 64, 64), layers=("scene", "label"))
    expected = trace_of(other, other.load(trained.best_checkpoint), "w5")
    found = trace.what_if(transforms={"Normalize": {"mean": 300.0}})
    np.testing.assert_array_equal(_probabilities(found.after), _probabilities(expected))
    raw = trace.what_if(transforms={"Normalize": None}).after
    assert [stage.name for stage in raw.stages] == ["read", "task"]
    np.testing.assert_array_equal(raw.stages[-1].inputs["image"], raw.stages[0].inputs["image"])
    with pytest.raises(UsageError, match=r"no such transform.*Normalize"):
        trace.what_if(transforms={"Flip": None})
    with pytest.raises(ConfigError, match=r"transforms: Normalize.*average"):
        trace.what_if(transforms={"Normalize": {"average": 1}})


def test_another_checkpoint(raster: Place, trained: TrainingResult, trace: WindowTrace, tmp_path: Path) -> None:
    again = raster.train(max_epochs=1)
    assert again.best_checkpoint is not None
    expected = trace_of(raster, raster.load(again.best_checkpoint), "w5")
    found = trace.what_if(checkpoint=again.best_checkpoint)
    np.testing.assert_array_equal(_probabilities(found.after), _probabilities(expected))
    assert found.after.data.model.checkpoint == str(again.best_checkpoint)
    # The model of the trace is not another one now.
    np.testing.assert_array_equal(_probabilities(trace.what_if().after), _probabilities(trace))
    with pytest.raises(ModelError):
        trace.what_if(checkpoint=tmp_path / "none.ckpt")


def test_any_change_of_the_inputs(trace: WindowTrace) -> None:
    def brighter(inputs: dict[str, xr.DataArray]) -> None:
        image = inputs["image"]
        assert image.dims == ("time", "band", "y", "x")
        assert image.shape == (1, 3, 16, 16)
        image.loc[{"band": "B1"}] *= 3

    expected = trace.what_if(scale={"image/B1": 3})
    in_place = trace.what_if(edit=brighter)
    np.testing.assert_array_equal(_probabilities(in_place.after), _probabilities(expected.after))
    given = trace.what_if(edit=lambda inputs: {"image": inputs["image"].values * [[[[3]], [[1]], [[1]]]]})
    np.testing.assert_array_equal(_probabilities(given.after), _probabilities(expected.after))
    west = trace.stage("read").inputs["image"]["x"].values[5]
    by_place = trace.what_if(edit=lambda inputs: {"image": inputs["image"].where(inputs["image"]["x"] > west, 0)})
    empty = by_place.after.stage("task").inputs["image"].values[0, 0] == 0
    assert empty[:, :6].all()
    assert not empty[:, 6:].any()
    with pytest.raises(UsageError, match="another shape"):
        trace.what_if(edit=lambda inputs: {"image": inputs["image"][:, :2]})
    with pytest.raises(UsageError, match="no such input"):
        trace.what_if(edit=lambda inputs: {"picture": inputs["image"]})
    with pytest.raises(UsageError, match=r"can't be changed: ZeroDivisionError"):
        trace.what_if(edit=lambda _: 1 / 0)  # type: ignore[arg-type, return-value]


def test_changes_are_combined_and_asked_further(trace: WindowTrace) -> None:
    once = trace.what_if(scale={"B1": 2}, drop_bands="B3", fill=500)
    twice = trace.what_if(scale={"B1": 2}).after.what_if(drop_bands="B3", fill=500)
    np.testing.assert_array_equal(_probabilities(once.after), _probabilities(twice.after))
    assert {"band B1 × 2", "band B3 → 500"} <= {line for _, line in once._rows()}
    # What is explained is the window with the change.
    why = once.after.attribute(1, pixel=(3, 3), method="gradient")
    logits = once.after.logits
    assert logits is not None
    assert why.score == pytest.approx(float(logits[1, 3, 3]), rel=1e-4)


def test_dates(tmp_path: Path) -> None:
    place = series_place(tmp_path / "s", dates=4)
    trace = trace_of(place, place.load(), "a")
    read = trace.stage("read").inputs

    def after(**change: Any) -> xr.DataArray:
        return trace.what_if(**change).after.stage("task").inputs["sentinel2_l2a"]

    s2 = read["sentinel2_l2a"].values
    for name in ("2024-02", "2024-02-09", 1, "sentinel2_l2a/2024-02", "sentinel2_l2a/1"):
        dropped = after(drop_dates=name)
        np.testing.assert_array_equal(dropped.values[1], np.zeros_like(s2[1]))
        np.testing.assert_array_equal(dropped.values[[0, 2, 3]], s2[[0, 2, 3]])
    copied = after(drop_dates=["2024-02", "2024-03"], fill="2024-01")
    np.testing.assert_array_equal(copied.values, s2[[0, 0, 0, 3]])
    shorter = trace.what_if(drop_dates=[0, 2], fill="remove").after
    for name in ("sentinel2_l2a", "sentinel1"):
        left = shorter.stages[-1].inputs[name]
        np.testing.assert_array_equal(shorter.stage("task").inputs[name].values, read[name].values[[1, 3]])
        assert [str(day)[:10] for day in left["time"].values] == ["2024-02-09", "2024-04-09"]
    only = trace.what_if(drop_dates="sentinel1/2024-01").after.stage("task").inputs
    np.testing.assert_array_equal(only["sentinel2_l2a"].values, s2)
    assert (only["sentinel1"].values[0] == 0).all()
    mask = trace.what_if(drop_dates="mask/0", fill=1).after.stage("task").inputs["mask"]
    assert mask.dtype == np.int32
    assert (mask.values == 1).all()
    # Nodata stays nodata.
    assert (after(drop_dates=0, scale=3, offset=7).values[0] == 0).all()
    assert (after(drop_dates=0, scale=3, offset=7).values[1] == s2[1] * 3 + 7).all()
    for change in ({"drop_dates": "2025"}, {"drop_dates": 4}, {"drop_dates": "soon"}):
        with pytest.raises(UsageError, match=r"No input has such a date.*2024-01-10"):
            trace.what_if(**change)
    with pytest.raises(UsageError, match=r"can come instead"):
        trace.what_if(drop_dates=0, fill="2024")
    with pytest.raises(UsageError, match=r"No date of the input would be left"):
        trace.what_if(drop_dates=[0, 1, 2, 3], fill="remove")


@pytest.mark.slow
def test_objects(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path, "detection", count=2)
    trace = trace_of(place, task_models.load(place), "w0")
    found = trace.what_if(drop_bands=["B1", "B2", "B3"], fill=500)
    before, after = trace.output().vectors, found.after.output().vectors
    assert before is not None
    assert after is not None
    assert found.difference.objects == (len(before), len(after))
    assert len(before) != len(after)
    assert f"{len(before)} → {len(after)}" in repr(found)


def test_a_window_that_the_model_was_not_run_on(raster: Place, trained: TrainingResult) -> None:
    scenes.add_window(raster.dataset, "empty", (0, 0, 32, 32), layers=())
    trace = trace_of(raster, raster.load(trained.best_checkpoint), "empty")
    for ask in (trace.attribute, trace.what_if):
        with pytest.raises(UsageError, match=r"model was not run on the window.*nothing was materialized"):
            ask()


def test_bands_have_to_be_there(trace: WindowTrace) -> None:
    with pytest.raises(UsageError, match=r"No input has such a band.*image: B1, B2, B3.*'B8'"):
        trace.what_if(drop_bands=["B8"])
    with pytest.raises(UsageError, match=r"No input has such a band"):
        trace.what_if(scale={"image/B9": 2})
    with pytest.raises(UsageError, match=r"Only dates can be removed"):
        trace.what_if(drop_bands="B1", fill="remove")
    with pytest.raises(UsageError, match=r"needs the model.*runner.trace"):
        WindowTrace(trace.data).what_if(drop_bands="B1")


def test_an_olmoearth_encoder_without_a_date(tmp_path: Path) -> None:
    place, loaded = olmoearth_place(tmp_path, dates=3)
    trace = trace_of(place, loaded, "a")
    found = trace.what_if(drop_dates="2024-02", fill="remove")
    assert found.after.stages[-1].inputs["sentinel1"].sizes["time"] == 2
    assert np.abs(_probabilities(found.after) - _probabilities(trace)).max() > 1e-5


def test_nothing_is_changed(raster: Place, trace: WindowTrace, trained: TrainingResult) -> None:
    before, data = files_of(raster.folder), copy.deepcopy(trace.stage("read").inputs["image"].values)
    trace.what_if(
        drop_bands="B1", scale=2, swap="w3", transforms={"Normalize": {"std": 1.0}}, checkpoint=trained.last_checkpoint
    )
    assert files_of(raster.folder) == before
    np.testing.assert_array_equal(trace.stage("read").inputs["image"].values, data)
    np.testing.assert_array_equal(_probabilities(trace.what_if().after), _probabilities(trace))


def test_it_shows_itself(trace: WindowTrace) -> None:
    found = trace.what_if(drop_bands="B3")
    text = repr(found)
    assert "What if: default/w5" in text
    assert "band B3 → nodata" in text
    counts = found.difference.changes
    assert f"{counts['from'][0]} → {counts['to'][0]}" in text
    assert found.difference.mean_probability is not None
    assert found.difference.mean_probability.sum() == pytest.approx(0, abs=1e-5)

    def hostile(_: Any) -> None:
        """Nothing."""

    hostile.__name__ = "<script>"
    assert "<script>" not in trace.what_if(edit=hostile)._repr_html_()
