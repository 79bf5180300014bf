"""Pictures of traces: pixels in the legend's colours, whatever the task and the size of the window."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import traced
import xarray as xr
from matplotlib.figure import Figure

from olmoearth_nb.errors import UsageError
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend, RangeLegend
from olmoearth_nb.maps.traced import PanelChoice, glance, glance_html, panels_of, plot_trace
from olmoearth_nb.maps.traced_colors import TraceColors
from olmoearth_nb.maps.traced_map import trace_layers
from olmoearth_nb.maps.traced_panels import Bars, Lines, PixelMap
from olmoearth_nb.maps.traced_pixel import place_in, read_pixel
from olmoearth_nb.maps.traced_stops import find_stop, stops_of
from olmoearth_nb.runners.window_trace import WindowTrace
from olmoearth_nb.traces.data import TraceData, TraceLoss, TraceOutput

COLORS = ((1, 2, 250), (3, 120, 5), (250, 240, 7), (200, 20, 30))
LEGEND = Legend(
    "RASTER",
    classes=(
        ClassLegend(
            "segment",
            1,
            tuple(
                ClassEntry(index, name, color)
                for index, (name, color) in enumerate(zip(traced.CLASSES, COLORS, strict=True))
            ),
        ),
    ),
)


def panels(data: TraceData, stage: str | int, *, legend: Legend | None = LEGEND, **choice: Any) -> list[Any]:
    return panels_of(data, find_stop(data, stage), PanelChoice(**choice), TraceColors(data, legend))


def per_window(kind: str, **arrays: Any) -> TraceData:
    """A trace of a task by window."""
    data = traced.sound_trace(size=16)
    return replace(data, outputs={"task": TraceOutput(task="task", kind=kind, **arrays)}, written=None)


@pytest.fixture(scope="module")
def data() -> TraceData:
    return traced.sound_trace(size=32, steps=12)


def test_prediction_and_label_have_the_colours_of_the_legend(data: TraceData) -> None:
    output = data.output()
    for name, array in (("prediction", output.prediction), ("label", output.label), ("written", output.prediction)):
        (panel,) = panels(data, name)
        assert array is not None
        np.testing.assert_array_equal(panel.rgba[..., :3], np.array(COLORS)[array.values])
        assert (panel.rgba[..., 3] == 255).all()


def test_pixels_without_a_label_are_empty() -> None:
    label = traced.patches(size=32).copy()
    label[:5] = -1
    data = traced.with_label(traced.sound_trace(size=32), label)
    (panel,) = panels(data, "label")
    assert (panel.rgba[:5, :, 3] == 0).all()
    assert panel.caption == "84.4% labelled"
    (error,) = panels(data, "error")
    assert (error.rgba[:5, :, 3] == 0).all()


def test_the_strip_of_inputs_has_a_picture_a_date(data: TraceData) -> None:
    found = panels(data, "inputs")
    assert [one.title for one in found][:2] == ["2024-03-01", "2024-03-31"]
    assert len(found) == 12
    layer = traced.pixels_of(data)
    (one,) = panels(data, "inputs", bands="B08", time_step=3)
    dark, bright = np.percentile(layer[:, 3], [2, 98])
    wanted = np.clip((layer[3, 3] - dark) / (bright - dark), 0, 1)
    np.testing.assert_allclose(one.rgba[..., 0] / 255, wanted, atol=0.01)
    assert one.title == "2024-05-30"


def test_a_transform_shows_each_band_with_the_range_of_training_windows(data: TraceData) -> None:
    found = panels(data, "Normalize")
    assert [one.title for one in found] == list(traced.BANDS)
    values = data.stage("Normalize").inputs["sentinel2"].values
    assert f"min {values[:, 0].min():.3g}" in found[0].caption
    training = data.training
    assert training is not None
    row = training.iloc[0]
    usual = tuple((row[name] - row["mean"]) / row["std"] for name in ("p01", "p99"))
    assert found[0].histogram.usual == pytest.approx(usual, rel=1e-3)
    assert panels(data, "read")[0].histogram.usual == pytest.approx((row["p01"], row["p99"]), rel=1e-3)


def test_a_transform_that_bends_values_has_no_training_range(data: TraceData) -> None:
    read = data.stage("read").inputs["sentinel2"]
    bent = traced.stage_of("Log", "Log()", {"sentinel2": read.copy(data=np.log1p(read.values))})
    found = panels(replace(data, stages=(data.stages[0], bent)), "Log")
    assert found[0].histogram.usual is None
    assert found[0].histogram.values.size


def test_probabilities_are_small_multiples_on_one_scale(data: TraceData) -> None:
    found = panels(data, "probabilities")
    assert [one.title for one in found] == list(traced.CLASSES)
    probabilities = data.output().probabilities
    assert probabilities is not None
    scale = RangeLegend("p", None, 0, 1)
    np.testing.assert_array_equal(found[2].rgba, scale.colors_of(probabilities.values[2]))


def test_features_as_principal_components_and_channels(data: TraceData) -> None:
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(1, 8, 8))
    maps = np.concatenate([hidden * weight for weight in (3, -2, 1, 0.5)])
    data = replace(data, features={"enc": traced.raster(maps, ("channel", "y", "x"), data.window)})
    (panel,) = panels(data, "enc")
    assert "3 components: 100%" in panel.caption
    red = panel.rgba[..., 0].astype(float).ravel()
    assert abs(np.corrcoef(red, np.clip(hidden, *np.percentile(hidden, [2, 98])).ravel())[0, 1]) > 0.99
    (channel,) = panels(data, "enc", channel=1)
    low, high = maps[1].min(), maps[1].max()
    np.testing.assert_array_equal(channel.rgba, RangeLegend("c", None, low, high).colors_of(maps[1]))
    with pytest.raises(UsageError, match="no such channel"):
        panels(data, "enc", channel=4)


def test_tokens_share_their_components(data: TraceData) -> None:
    rng = np.random.default_rng(1)
    same = rng.normal(size=(5, 4, 4))
    tokens = traced.raster(np.stack([same, same, same * 0]), ("token", "channel", "y", "x"), data.window)
    data = replace(data, features={"tokens": tokens, "vector": xr.DataArray(np.arange(6.0), dims=["channel"])})
    first, second, third = panels(data, "tokens")
    assert (first.title, third.title) == ("token 0", "token 2")
    np.testing.assert_array_equal(first.rgba, second.rgba)
    assert len(np.unique(third.rgba.reshape(-1, 4), axis=0)) == 1
    (lines,) = panels(data, "vector")
    assert isinstance(lines, Lines)
    assert lines.lines[0][1] == (0, 1, 2, 3, 4, 5)


def test_names_say_what_they_mean(data: TraceData) -> None:
    assert find_stop(data, "label").kind == "output"
    assert find_stop(data, "layer:label").kind == "layer"
    assert find_stop(data, "label", None).title == "label"
    assert find_stop(data, -1).name == "Normalize"
    assert {stop.key for stop in stops_of(data)} >= {"inputs", "transform:read", "output:loss", "written"}
    assert len({stop.key for stop in stops_of(data)}) == len(stops_of(data))
    with pytest.raises(UsageError, match="confidence") as caught:
        find_stop(data, "<b>")
    assert "'<b>'" in str(caught.value)


@pytest.mark.parametrize("stage", ["Normalize", "inputs"])
def test_a_band_that_is_not_there(data: TraceData, stage: str) -> None:
    with pytest.raises(UsageError, match=r"no such band[\s\S]*B08"):
        plot_trace(data, stage, choice=PanelChoice(bands="B99"))
    with pytest.raises(UsageError, match="no such time step"):
        plot_trace(data, stage, choice=PanelChoice(time_step=12))


def every_stop(data: TraceData, legend: Legend | None = None) -> dict[str, Figure]:
    return {stop.key: plot_trace(data, stop.key, choice=PanelChoice(), legend=legend) for stop in stops_of(data)}


@pytest.mark.slow
def test_sixty_classes() -> None:
    window = traced.trace_window(size=11)
    names = [f"<b>class</b> ${index}$ {'x' * 30}" for index in range(60)]
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(60, 11, 11))
    output = traced.segmentation_output(logits, rng.integers(-1, 60, (11, 11)), window, classes=names)
    data = replace(traced.sound_trace(size=11), outputs={"segmentation": output})
    assert len(panels(data, "probabilities", legend=None)) == 60
    for key, figure in every_stop(data).items():
        assert figure.get_figwidth() < 10, key
        figure._repr_png_()  # type: ignore[attr-defined]
    values = read_pixel(data, TraceColors(data, None), (3, 4))
    assert len(values.bars[1].names) == 60


def test_a_window_of_one_pixel() -> None:
    data = traced.sound_trace(size=32)
    layers = {"sentinel2": replace(data.layers["sentinel2"], data=data.layers["sentinel2"].data[..., :1, :1])}  # type: ignore[index]
    output = traced.segmentation_output(
        np.array([2.0, 1, 0, -1]).reshape(4, 1, 1), np.array([[1]]), traced.trace_window(size=1)
    )
    stages = tuple(
        traced.stage_of(one.name, one.note, {"sentinel2": one.inputs["sentinel2"][..., :1, :1]}) for one in data.stages
    )
    data = replace(
        data,
        window=traced.trace_window(size=1),
        layers=layers,
        stages=stages,
        outputs={"segmentation": output},
        features={},
        written=None,
    )
    every_stop(data)
    (lines,) = panels(data, "inputs")
    assert isinstance(lines, Lines)
    assert len(lines.lines) == 6
    (bars,) = panels(data, "probabilities")
    assert isinstance(bars, Bars)
    assert bars.marked == 1
    assert bars.colors == COLORS
    assert glance(data) is not None


def test_nothing_but_nan(data: TraceData) -> None:
    pixels = np.full((2, 6, 16, 16), np.nan)
    empty = traced.trace_of(pixels, None, traced.trace_window(size=16), logits=np.zeros((4, 16, 16)))
    output = empty.output()
    nothing = {
        name: getattr(output, name).astype(float) * np.nan
        for name in ("logits", "probabilities", "confidence", "entropy", "margin")
    }
    nothing["prediction"] = output.prediction * 0 - 1  # type: ignore[operator]
    empty = traced.with_output(empty, **nothing)
    for figure in every_stop(empty).values():
        figure._repr_png_()  # type: ignore[attr-defined]
    assert (panels(empty, "prediction")[0].rgba[..., 3] == 0).all()
    values = read_pixel(empty, TraceColors(empty, None), (0, 0))
    assert ("prediction", "none") in {(one.name, one.text) for one in values.facts}


def test_classification_is_bars() -> None:
    names = ["a", "b"]
    data = per_window(
        "classification",
        classes=tuple(names),
        probabilities=xr.DataArray([0.3, 0.7], dims=["class"], coords={"class": names}),
        prediction=xr.DataArray(np.int64(1)),
        label=xr.DataArray(np.int64(0)),
        by_crop=xr.DataArray([[0.2, 0.8], [0.3, 0.7]], dims=["crop", "class"]),
        loss=TraceLoss(total=1.2, parts={"cls": 1.2}),
    )
    for figure in every_stop(data).values():
        figure._repr_png_()  # type: ignore[attr-defined]
    (bars,) = panels(data, "prediction", legend=None)
    assert (bars.values, bars.marked) == ((0.3, 0.7), 0)
    assert bars.points.shape == (2, 2)
    values = read_pixel(data, TraceColors(data, None), (3, 3))
    assert [(one.name, one.text) for one in values.facts[:2]] == [("prediction", "b"), ("label", "a")]


def test_regression_of_windows_and_of_pixels() -> None:
    scalar = per_window("regression", values=xr.DataArray(3.5), label=xr.DataArray(3.0), error=xr.DataArray(0.5))
    (bars,) = panels(scalar, "values", legend=None)
    assert (bars.names, bars.values) == (("value", "label"), (3.5, 3.0))
    every_stop(scalar)

    window = traced.trace_window(size=16)
    truth = np.linspace(0, 10, 256).reshape(16, 16)
    maps = {"values": truth + 1, "label": truth, "error": np.ones((16, 16))}
    by_pixel = per_window(
        "per-pixel regression", **{name: traced.raster(one, ("y", "x"), window) for name, one in maps.items()}
    )
    legend = Legend("RASTER", ranges=(RangeLegend("height", 1, 0, 10, "magma"),))
    (panel,) = panels(by_pixel, "values", legend=legend)
    np.testing.assert_array_equal(panel.rgba, legend.ranges[0].colors_of(truth + 1))
    (error,) = panels(by_pixel, "error", legend=legend)
    assert error.caption == "mean +1, RMSE 1"
    every_stop(by_pixel, legend)


def test_objects_lie_where_they_are() -> None:
    data = traced.sound_trace(size=32)
    found = traced.detections(data.window)
    output = TraceOutput(
        task="boxes", kind="detection", classes=("ship", "<b>"), vectors=found, label_vectors=found.head(1)
    )
    data = replace(data, outputs={"boxes": output}, written=None)
    (panel,) = panels(data, "detections", legend=None)
    assert panel.caption == "2 found, 1 labelled (dashed)"
    assert [mark.text for mark in panel.marks] == ["", "ship 90%", "<b> 25%"]
    assert panel.marks[1].shape.bounds == (0, 0, 2, 2)
    assert panel.marks[2].shape.bounds == (10, 10, 12, 12)
    every_stop(data)
    facts = {one.name: one.text for one in read_pixel(data, TraceColors(data, None), (11, 11)).facts}
    assert facts == {"found": "<b> 25%", "labelled": "nothing"}
    shapes = trace_layers(data, choice=PanelChoice())
    assert [one.name for one in shapes] == [
        "sentinel2 2024-03-01",
        "labelled objects (1)",
        "found objects (2)",
        "window",
    ]


def test_a_pixel_of_a_coarser_array(data: TraceData) -> None:
    coarse = data.features["encoder"]
    assert coarse.shape[-2:] == (8, 8)
    assert [place_in(coarse, data, pixel) for pixel in ((0, 3), (4, 31), (31, 0))] == [(0, 0), (1, 7), (7, 0)]


def test_values_of_a_pixel_are_those_of_the_arrays(data: TraceData) -> None:
    values = read_pixel(data, TraceColors(data, LEGEND), (7, 19))
    output = data.output()
    read, normal = values.series
    assert (read.title, normal.title) == ("sentinel2 as read", "sentinel2 after Normalize")
    assert read.lines[3][0] == "B08"
    assert read.lines[3][1] == tuple(traced.pixels_of(data)[:, 3, 7, 19])
    assert normal.lines[0][1] == tuple(data.stage(-1).inputs["sentinel2"].values[:, 0, 7, 19])
    assert output.probabilities is not None
    assert output.logits is not None
    assert values.bars[0].values == tuple(output.logits.values[:, 7, 19])
    assert values.bars[1].values == tuple(output.probabilities.values[:, 7, 19])
    assert output.label is not None
    assert values.bars[1].marked == output.label.values[7, 19]
    facts = {one.name: one for one in values.facts}
    assert output.prediction is not None
    said = int(output.prediction.values[7, 19])
    assert (facts["prediction"].text, facts["prediction"].color) == (traced.CLASSES[said], COLORS[said])
    assert output.entropy is not None
    assert float(facts["entropy"].text) == pytest.approx(float(output.entropy.values[7, 19]), rel=1e-3)


def test_layers_of_a_map(data: TraceData) -> None:
    north = traced.trace_window(size=32, crs="EPSG:32633", bounds=(50_000, -777_000, 50_032, -776_968))
    data = traced.trace_of(traced.pixels_of(data), traced.label_of(data), north)
    layers = trace_layers(data, choice=PanelChoice(), legend=LEGEND)
    assert [one.name for one in layers] == [
        "sentinel2 2024-03-01", "label", "prediction", "confidence", "entropy", "margin", "error", "loss", "window",
    ]  # fmt: skip
    assert [one.name for one in layers if one.shown] == ["sentinel2 2024-03-01", "prediction", "window"]
    west, south, east, north_end = layers[-1].bounds or (0, 0, 0, 0)
    assert south > 69
    assert layers[2].bounds == pytest.approx((west, south, east, north_end), abs=2e-4)
    colors = {tuple(color[:3]) for color in layers[2].picture.pixels.reshape(-1, 4) if color[3]}  # type: ignore[union-attr]
    assert colors == set(COLORS)


def test_a_trace_shows_its_picture(data: TraceData) -> None:
    trace = WindowTrace(data)
    shown = trace._repr_html_()
    assert "<table" in shown
    assert 'src="data:image/png;base64,' in shown
    assert glance_html(data).startswith("<img")
    assert trace.plot("confidence").get_axes()
    empty = replace(data, layers={}, stages=(), outputs={}, written=None, features={})
    assert glance(empty) is None
    with pytest.raises(UsageError, match="nothing to draw"):
        WindowTrace(empty).plot()


def test_legends_of_prediction_and_label_are_one(data: TraceData) -> None:
    figure = plot_trace(data, choice=PanelChoice(), legend=LEGEND)
    texts = [text.get_text() for ax in figure.axes for text in (ax.get_legend().get_texts() if ax.get_legend() else [])]
    assert sum(text.startswith("water") for text in texts) == 1
    assert isinstance(panels(data, "confidence")[0], PixelMap)
