from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scenes
import shapely
import task_models
import torch
from places import Place, add_raster_windows, measuring_windows, two_tasks
from series import S2, files_of, olmoearth_place, series_place, trace_of

from olmoearth_nb.errors import UnsupportedError, UsageError
from olmoearth_nb.model.finetune import TrainingResult
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.predict import forward
from olmoearth_nb.model.scores import _fitted
from olmoearth_nb.model.trace.engine import Engine
from olmoearth_nb.runners.window_trace import WindowTrace

METHODS = ("gradient", "integrated_gradients", "occlusion")


def _one_band(loaded: LoadedModel) -> None:
    """Class 1 has the logit 2 * B2 + 20 of the same pixel, others have 0."""
    encoder, decoder = (part for part in loaded.module.modules() if isinstance(part, torch.nn.Conv2d))
    with torch.no_grad():
        for part in (encoder, decoder):
            part.weight.zero_()
            part.bias.zero_()  # type: ignore[union-attr]
        encoder.weight[0, 1, 1, 1] = 1
        encoder.bias[0] = 10  # type: ignore[index]
        decoder.weight[1, 0, 0, 0] = 2


def _logits(trace: WindowTrace) -> np.ndarray:
    assert trace.logits is not None
    return trace.logits.values


@pytest.fixture
def one_band(raster: Place) -> WindowTrace:
    loaded = raster.load()
    _one_band(loaded)
    return trace_of(raster, loaded, "w5")


@pytest.mark.parametrize("method", METHODS)
def test_a_model_of_one_band_and_pixel(one_band: WindowTrace, method: Any) -> None:
    why = one_band.attribute("1", method=method, pixel=(13, 20))
    normalized = float(one_band.stages[-1].inputs["image"].sel(band="B2").values[0, 13, 20])
    expected = 2.0 if method == "gradient" else 2 * normalized
    assert why.score == pytest.approx(2 * normalized + 20, rel=1e-5)
    assert why.by_band["image"].sel(band="B2").item() == pytest.approx(expected, rel=1e-4)
    assert np.abs(why.by_band["image"].sel(band=["B1", "B3"])).max() < 1e-6
    assert why.bands().iloc[0][["input", "band", "share"]].tolist() == ["image", "B2", 1.0]
    importance = why.by_pixel["image"]
    assert importance.shape == (32, 32)
    assert np.argwhere(np.abs(importance.values) > 1e-6).tolist() == [[13, 20]]
    # Where it is on the ground.
    assert (importance["x"].values == one_band.data.output().probabilities["x"].values).all()  # type: ignore[union-attr]


@pytest.mark.parametrize("method", METHODS)
def test_a_region_is_the_mean_of_its_pixels(one_band: WindowTrace, method: Any) -> None:
    mask = np.zeros((32, 32), dtype=bool)
    mask[10:15, 3:30] = True  # in several crops
    why = one_band.attribute("1", method=method, region=mask, patch_size=1)
    normalized = one_band.stages[-1].inputs["image"].sel(band="B2").values[0]
    values = np.full((32, 32), 2.0) if method == "gradient" else 2 * normalized
    assert why.score == pytest.approx((2 * normalized + 20)[mask].mean(), rel=1e-5)
    np.testing.assert_allclose(why.by_pixel["image"].values, np.where(mask, values / mask.sum(), 0), atol=1e-5)
    assert any("come from" in note for note in why.notes)


def test_places_are_said_in_several_ways(one_band: WindowTrace) -> None:
    x0, y0 = one_band.data.window.bounds[:2]
    spot = scenes.pixel_shape(shapely.Point(x0 + 20.5 - scenes.CORNER[0], y0 + 13.5 - scenes.CORNER[1]))
    by_pixel = one_band.attribute("1", method="gradient", pixel=(13, 20))
    by_place = one_band.attribute("1", method="gradient", at=(spot.x, spot.y))
    by_polygon = one_band.attribute("1", method="gradient", region=spot.buffer(1e-6))
    for other in (by_place, by_polygon):
        assert (other.pixels.mask == by_pixel.pixels.mask).all()
        assert other.score == by_pixel.score
    with pytest.raises(UsageError, match=r"outside the window.*longitude"):
        one_band.attribute("1", at=(spot.x + 1, spot.y))
    with pytest.raises(UsageError, match=r"no such pixel.*row below 32"):
        one_band.attribute("1", pixel=(32, 0))
    with pytest.raises(UsageError, match="no pixel of the window"):
        one_band.attribute("1", region=shapely.box(0, 0, 1, 1))
    with pytest.raises(UsageError, match="said in one way"):
        one_band.attribute("1", at=(1, 1), pixel=(1, 1))


def test_the_score_is_the_logit(raster: Place, trained: TrainingResult) -> None:
    loaded = raster.load(trained.best_checkpoint)
    # Of probabilities it would be another one.
    head: Any = loaded.module.model.decoders["segment"][-1]
    head.temperature = 3.0
    trace = trace_of(raster, loaded, "w5")
    logits = _logits(trace)
    for row, column in ((0, 0), (13, 14), (31, 31)):
        why = trace.attribute(2, method="gradient", pixel=(row, column))
        assert why.score == pytest.approx(float(logits[2, row, column]), rel=1e-4)
    against = trace.attribute(2, against=0, method="gradient", pixel=(13, 14))
    assert against.score == pytest.approx(float(logits[2, 13, 14] - logits[0, 13, 14]), rel=1e-4)
    assert against.target == "2 - 0"


def _complete(why: Any, *, trained: bool = True) -> None:
    total = sum(float(array.sum()) for array in why.inputs.values())
    assert why.baseline_score is not None
    assert abs(why.score - why.baseline_score) > 1e-3
    # Without training, contributions nearly cancel each other out: what is left is compared with their size.
    size = 0.0 if trained else sum(float(np.abs(array).sum()) for array in why.inputs.values())
    assert total == pytest.approx(why.score - why.baseline_score, rel=0.01, abs=0.02 * size)
    assert why.gap < (0.01 if trained else 0.05)
    assert sum(float(one.sum()) for one in why.by_band.values()) == pytest.approx(total, rel=1e-6)
    assert sum(float(one.sum()) for one in why.by_time.values()) == pytest.approx(total, rel=1e-6)


@pytest.mark.parametrize("baseline", ["zero", "mean", "nodata", "window:w3", 0.5, {"image": np.ones((3, 1, 1))}])
def test_integrated_gradients_are_complete(raster: Place, trained: TrainingResult, baseline: Any) -> None:
    trace = trace_of(raster, raster.load(trained.best_checkpoint), "w5")
    _complete(trace.attribute(1, pixel=(9, 9), baseline=baseline))
    _complete(trace.attribute(1, baseline=baseline))


def test_they_are_complete_for_other_tasks(place: Callable[..., Place]) -> None:
    two = place(two_tasks(), name="two")
    add_raster_windows(two.dataset)
    trace = trace_of(two, two.load(), "w5")
    _complete(trace.attribute("2", task="segment", pixel=(5, 6)), trained=False)
    height = trace.attribute(task="segment_height", pixel=(5, 6))
    _complete(height, trained=False)
    values = trace.output("segment_height").values
    assert values is not None
    assert (height.target, height.score) == ("value", pytest.approx(float(values[5, 6]), rel=1e-4))
    with pytest.raises(UsageError, match="several tasks"):
        trace.attribute("2")
    with pytest.raises(UsageError, match="no classes"):
        trace.attribute("2", task="segment_height")


@pytest.mark.parametrize("config", [scenes.vector_model_config(), measuring_windows()])
def test_they_are_complete_for_tasks_by_window(place: Callable[..., Place], config: dict[str, Any]) -> None:
    one = place(config, scenes.vector_dataset_config())
    scenes.add_window(one.dataset, "v", (8, 8, 12, 12), layers=("scene", "label"))
    trace = trace_of(one, one.load(), "v")
    why = trace.attribute()
    _complete(why, trained=False)
    if why.target != "value":
        assert why.score == pytest.approx(float(trace.logits.max()), rel=1e-4)  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="one thing of the whole window"):
        trace.attribute(pixel=(0, 0))


@pytest.mark.parametrize("kind", ["segmentation", "per-pixel regression", "classification", "regression", "multi"])
def test_every_kind_of_task_in_crops(tmp_path: Path, kind: str) -> None:
    place = task_models.task_place(tmp_path, kind, count=2)
    trace = trace_of(place, task_models.load(place), "w0")
    for name, output in trace.data.outputs.items():
        where: Any = {} if output.prediction is None or output.prediction.ndim == 0 else {"pixel": (20, 9)}
        if output.values is not None and output.values.ndim:
            where = {"pixel": (20, 9)}
        why = trace.attribute(task=name, **where)
        _complete(why, trained=False)
        said = output.values if output.values is not None else output.logits
        assert said is not None
        if output.values is None:
            said = said.sel({"class": why.target})
            assert why.target in scenes.CLASSES
        value = said.values[20, 9] if where else said.values
        assert why.score == pytest.approx(float(value), rel=1e-4)


def test_objects_have_no_score_to_explain(tmp_path: Path) -> None:
    place = task_models.task_place(tmp_path, "detection", count=2)
    trace = trace_of(place, task_models.load(place), "w0")
    with pytest.raises(UnsupportedError, match=r"task of detection has no score"):
        trace.attribute("forest")


def test_olmoearth_with_radar_of_some_dates(tmp_path: Path) -> None:
    place = task_models.olmoearth_place(tmp_path, dates=3, size=16, radar=(0, 2))
    trace = trace_of(place, task_models.load(place), "series")
    why = trace.attribute("forest", pixel=(3, 3))
    _complete(why, trained=False)
    assert {name: array.shape for name, array in why.inputs.items()} == {
        "sentinel2_l2a": (3, 12, 16, 16),
        "sentinel1": (2, 2, 16, 16),
    }
    assert why.dates()["date"].tolist() == ["2024-01-05", "2024-02-04", "2024-03-05", "2024-01-05", "2024-03-05"]


def _tweaked(place: Callable[..., Place], **changes: Any) -> WindowTrace:
    config = scenes.raster_model_config(crop_size=None)
    config["model"]["init_args"]["model"]["init_args"]["decoders"]["segment"][:0] = changes.get("decoder", [])
    config["data"]["init_args"]["default_config"]["transforms"] += changes.get("transforms", [])
    config["data"]["init_args"]["inputs"]["image"] |= changes.get("image", {})
    one = place(config)
    scenes.add_window(one.dataset, "w", (0, 0, 16, 16))
    return trace_of(one, one.load(), "w")


def test_padded_inputs_have_no_place(place: Callable[..., Place]) -> None:
    pad = scenes._component("rslearn.train.transforms.pad.Pad", size=32)
    trace = _tweaked(place, transforms=[pad])
    why = trace.attribute(1, pixel=(15, 3))
    _complete(why, trained=False)
    assert why.score == pytest.approx(float(_logits(trace)[1, 15, 3]), rel=1e-4)
    pixels = why.by_pixel["image"]
    assert pixels.shape == (32, 32)
    assert not pixels.coords
    # Padding comes below, so that rows stay what they were.
    assert np.argwhere(np.abs(pixels.values) > 1e-9).min(axis=0).tolist() == [14, 2]


def test_a_coarser_input_is_placed(place: Callable[..., Place]) -> None:
    upsample = scenes._component("rslearn.models.upsample.Upsample", scale_factor=2)
    trace = _tweaked(place, decoder=[upsample], image={"resolution_factor": "1/2"})
    assert trace.stages[-1].inputs["image"].shape == (1, 3, 8, 8)
    why = trace.attribute(1, pixel=(7, 4))
    _complete(why, trained=False)
    pixels = why.by_pixel["image"]
    assert pixels.shape == (8, 8)
    row, column = np.unravel_index(int(np.abs(pixels.values).argmax()), (8, 8))
    assert abs(row - 3) <= 1
    assert abs(column - 2) <= 1
    assert float(pixels["x"][1] - pixels["x"][0]) == 20


def test_weights_of_pixels_fit_coarser_maps() -> None:
    weights = torch.zeros(4, 6)
    weights[0, 0], weights[1, 1], weights[3, 5] = 0.25, 0.25, 0.5
    assert _fitted(weights, torch.Size((2, 3))).tolist() == [[0.5, 0, 0], [0, 0, 0.5]]
    assert _fitted(weights, torch.Size((5, 8)))[:4, :6].equal(weights)
    with pytest.raises(UnsupportedError, match=r"does not fit.*4 × 6.*2 × 2"):
        _fitted(weights, torch.Size((2, 2)))


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_progress_is_shown(raster: Place, trained: TrainingResult, method: Any) -> None:
    trace = trace_of(raster, raster.load(trained.best_checkpoint), "w5")
    bars: list[list[int]] = []

    class Bar:
        def __init__(self, *, total: int, desc: str, unit: str) -> None:
            bars.append([total, 0])

        def update(self, n: int = 1, /) -> None:
            bars[-1][1] += n

        def close(self) -> None:
            bars[-1].append(0)

    trace.attribute(1, method=method, progress=Bar, patch_size=3)
    assert bars
    assert all(total == done > 9 for total, done, _ in bars)


def test_series_of_two_sensors_and_a_mask(tmp_path: Path) -> None:
    place = series_place(tmp_path / "s", dates=5)
    trace = trace_of(place, place.load(), "a")
    for baseline in ("zero", "window:b"):
        why = trace.attribute(0, pixel=(4, 5), baseline=baseline)
        _complete(why, trained=False)
    assert set(why.inputs) == {"sentinel2_l2a", "sentinel1"}
    assert why.inputs["sentinel2_l2a"].shape == (5, 12, 16, 16)
    assert [str(day)[:10] for day in why.by_time["sentinel2_l2a"]["time"].values] == [
        "2024-01-10", "2024-02-09", "2024-03-10", "2024-04-09", "2024-05-09",
    ]  # fmt: skip
    assert list(why.by_band["sentinel2_l2a"]["band"].values) == list(S2)
    assert any("mask" in note for note in why.notes)
    assert why.dates()["date"].tolist()[:2] == ["2024-01-10", "2024-02-09"]
    # A window with fewer dates is no baseline.
    scenes_of_two = series_place(tmp_path / "t", dates=2)
    (scenes_of_two.dataset_path / "windows/default/b").rename(place.dataset_path / "windows/default/c")
    metadata = place.dataset_path / "windows/default/c/metadata.json"
    metadata.write_text(metadata.read_text().replace('"name": "b"', '"name": "c"'))
    with pytest.raises(UsageError, match="does not have the shape"):
        trace.attribute(0, baseline="window:c")


def test_olmoearth_with_twelve_dates(tmp_path: Path) -> None:
    place, loaded = olmoearth_place(tmp_path / "o")
    encoder: Any = loaded.module.model.encoder[0]
    encoder.autocast_dtype = torch.bfloat16
    trace = trace_of(place, loaded, "a")
    why = trace.attribute(1, pixel=(4, 5), batch_size=8)
    _complete(why, trained=False)
    assert encoder.autocast_dtype == torch.bfloat16  # as it was before

    assert why.inputs["sentinel2_l2a"].shape == (12, 12, 16, 16)
    assert why.inputs["sentinel1"].shape == (12, 2, 16, 16)
    covered = trace.attribute(1, pixel=(4, 5), method="occlusion", patch_size=8, batch_size=8)
    assert covered.by_pixel["sentinel1"].shape == (16, 16)
    assert len(covered.dates()) == 24


def test_occlusion_is_what_a_loop_finds(tmp_path: Path) -> None:
    place = series_place(tmp_path, dates=3)
    loaded = place.load()
    trace = trace_of(place, loaded, "a")
    why = trace.attribute(0, pixel=(4, 5), method="occlusion", patch_size=5, batch_size=7)
    engine: Engine = trace._engine  # type: ignore[assignment]

    def score(name: str | None, where: Any) -> float:
        inputs, targets, metadata = engine.samples()[0]
        if name is not None:
            inputs[name].image[where] = 0.0
        seen: list[Any] = []
        head = loaded.module.model.decoders["segment"][-1]
        hook = head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        forward(loaded, [(inputs, targets, metadata)])
        hook.remove()
        return float(seen[0].feature_maps[0][0, 0, 4, 5])

    full = score(None, None)
    everything = slice(None)
    for name, image in trace.stages[-1].inputs.items():
        if name == "mask":
            continue
        bands = [full - score(name, band) for band in range(image.sizes["band"])]
        np.testing.assert_allclose(why.by_band[name].values, bands, atol=1e-5)
        dates = [full - score(name, (everything, date)) for date in range(3)]
        np.testing.assert_allclose(why.by_time[name].values, dates, atol=1e-5)
        pixels = np.zeros((16, 16))
        for y in range(0, 16, 5):
            for x in range(0, 16, 5):
                square = (slice(y, y + 5), slice(x, x + 5))
                pixels[square] = full - score(name, (everything, everything, *square))
        np.testing.assert_allclose(why.by_pixel[name].values, pixels, atol=1e-5)
    assert np.abs(why.by_band["sentinel2_l2a"]).max() > 1e-3


def test_errors_say_what_there_is(one_band: WindowTrace) -> None:
    with pytest.raises(UsageError, match=r"no such class.*'0', '1', '2'.*'lake'"):
        one_band.attribute("lake")
    with pytest.raises(UsageError, match=r"no such class"):
        one_band.attribute(3)
    with pytest.raises(UsageError, match=r"no such task"):
        one_band.attribute("1", task="other")
    with pytest.raises(UsageError, match=r"no such method.*occlusion"):
        one_band.attribute("1", method="shap")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"no such baseline.*window:NAME"):
        one_band.attribute("1", baseline="black")
    with pytest.raises(UsageError, match=r"no such window"):
        one_band.attribute("1", baseline="window:nowhere")
    with pytest.raises(UsageError, match=r"no such input"):
        one_band.attribute("1", baseline={"radar": 0.0})
    with pytest.raises(UsageError, match=r"no such option.*patch_size"):
        one_band.attribute("1", patch=3)
    with pytest.raises(UsageError, match=r"with itself"):
        one_band.attribute("1", against=1)
    with pytest.raises(UsageError, match=r"needs the model.*runner.trace"):
        WindowTrace(one_band.data).attribute("1")


def test_what_works_without_gradients_says_so(one_band: WindowTrace, monkeypatch: pytest.MonkeyPatch) -> None:
    engine: Engine = one_band._engine  # type: ignore[assignment]
    network: Any = engine.loaded.module.model
    forward_of = network.encoder[0].forward
    monkeypatch.setattr(network.encoder[0], "forward", torch.no_grad()(forward_of))
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(UnsupportedError, match=r"No gradient reaches.*occlusion"):
        one_band.attribute("1", pixel=(3, 3))
    assert one_band.attribute("1", pixel=(3, 3), method="occlusion").bands().iloc[0]["band"] == "B2"


def test_steps_that_are_too_few_are_told(raster: Place, trained: TrainingResult) -> None:
    trace = trace_of(raster, raster.load(trained.best_checkpoint), "w5")
    why = trace.attribute(1, pixel=(9, 9), most_steps=1, tolerance=1e-9)
    assert why.steps == 1
    assert why.gap is not None
    assert why.gap > 1e-9
    assert "raise most_steps" in repr(why)


def test_nothing_is_changed(raster: Place, trained: TrainingResult) -> None:
    loaded = raster.load(trained.best_checkpoint)
    trace = trace_of(raster, loaded, "w5")
    before, weights = files_of(raster.folder), {k: v.clone() for k, v in loaded.module.state_dict().items()}
    for method in METHODS:
        trace.attribute(1, pixel=(9, 9), method=method, baseline="mean")  # type: ignore[arg-type]
    assert files_of(raster.folder) == before
    assert all(torch.equal(weights[name], value) for name, value in loaded.module.state_dict().items())
    assert all(parameter.grad is None for parameter in loaded.module.parameters())
    assert not loaded.module.training
    again = trace_of(raster, loaded, "w5")
    np.testing.assert_array_equal(_logits(again), _logits(trace))


def test_it_shows_itself_as_text(one_band: WindowTrace) -> None:
    why = one_band.attribute("1", pixel=(13, 20))
    assert "Why 1 (segment): pixel in row 13, column 20 of default/w5" in repr(why)
    assert "image B2" in repr(why)
    hostile = replace(why, target="<script>", task="a&b")
    assert "<script>" not in hostile._repr_html_()
    assert "&lt;script&gt; (a&amp;b)" in hostile._repr_html_()
