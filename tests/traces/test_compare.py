from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import traced
from traced import pixels_of, sound_trace, with_output, with_pixels

import olmoearth_nb
from olmoearth_nb.errors import UsageError
from olmoearth_nb.runners.window_trace import WindowTrace
from olmoearth_nb.traces.compare import compare


def test_the_same_trace_differs_nowhere() -> None:
    data = sound_trace()
    comparison = olmoearth_nb.compare(WindowTrace(data), data)
    assert comparison.first is None
    assert comparison.table()["share"].max() == 0
    assert "the same at every stage" in repr(comparison)


def test_another_model_differs_from_its_logits_on() -> None:
    data = sound_trace()
    logits = data.outputs["segmentation"].logits
    assert logits is not None
    other = logits.copy()
    other[0, 3, 5] += 0.5
    comparison = compare(data, with_output(data, logits=other))
    first = comparison.first
    assert first is not None
    assert (first.stage, first.name) == ("task segmentation", "logits")
    assert first.largest == pytest.approx(0.5, abs=1e-6)
    assert first.mean == pytest.approx(0.5 / logits.size, rel=1e-5)
    assert first.share == 1 / logits.size
    gap = comparison.difference("task segmentation", "logits")
    assert list(gap.coords["class"].values) == list(traced.CLASSES)
    assert np.argwhere(gap.values).tolist() == [[0, 3, 5]]


def test_a_pixel_is_followed_through_the_stages() -> None:
    data = sound_trace()
    pixels = pixels_of(data).copy()
    pixels[1, 2, 10, 20] += 700
    comparison = compare(data, with_pixels(data, pixels))
    assert comparison.first is not None
    assert (comparison.first.stage, comparison.first.largest) == ("layer", 700)
    gap = comparison.difference("Normalize")
    assert np.argwhere(gap.values).tolist() == [[1, 2, 10, 20]]
    assert data.training is not None
    assert gap.values.max() == pytest.approx(700 / data.training["std"][2], rel=1e-4)


def test_classes_have_no_distance_and_nan_meets_nan() -> None:
    data = sound_trace()
    prediction = data.outputs["segmentation"].prediction
    assert prediction is not None
    values = traced.raster(np.full((64, 64), np.nan), ("y", "x"), data.window)
    other = values.copy()
    other[0, 0] = 1
    left = with_output(data, values=values)
    rows = compare(left, with_output(left, prediction=(prediction + 2) % 4, values=other)).table().set_index("name")
    assert rows.loc["prediction", ["largest", "mean", "share"]].tolist() == [1, 1, 1]
    assert rows.loc["values", "share"] == 1 / 64**2
    assert "1 values only one of them has" in rows.loc["values", "note"]


def test_what_does_not_match_is_told() -> None:
    data, larger = sound_trace(), sound_trace(size=32)
    shapes = compare(data, larger).table()
    assert "other shapes: 4 time × 6 band × 64 y × 64 x and 4 time × 6 band × 32 y × 32 x" in shapes["note"].tolist()
    with pytest.raises(UsageError, match="other shapes"):
        compare(data, larger).difference("read")
    layer = data.layers["sentinel2"].data
    assert layer is not None
    renamed = traced.with_layer(data, data=layer.assign_coords(band=[*"abcdef"]))
    assert "other band names: B02" in compare(data, renamed).differences[0].note
    one = replace(data, written=None, stages=data.stages[:1])
    notes = compare(data, one).table().set_index(["stage", "name"])["note"]
    assert notes["stage Normalize", "sentinel2"] == "only the left one has it"
    assert notes["written", "output"] == "only the left one has it"
    with pytest.raises(UsageError, match="Both traces must have"):
        compare(data, one).difference("Normalize")
    with pytest.raises(UsageError, match=r"no such array.*logits"):
        compare(data, one).difference("task segmentation", "nothing")


def test_vectors() -> None:
    data = sound_trace()
    boxes = traced.detections(data.window)
    left = with_output(data, vectors=boxes)
    assert compare(left, with_output(data, vectors=boxes.copy())).first is None
    first = compare(left, with_output(data, vectors=boxes.iloc[:1])).first
    assert first is not None
    assert (first.name, first.note) == ("vectors", "2 and 1 features")


def test_maps_are_no_traces() -> None:
    with pytest.raises(UsageError, match=r"runner\.compare"):
        compare(sound_trace(), "prediction")  # type: ignore[arg-type]


def test_text_of_data_is_no_markup() -> None:
    data = sound_trace()
    evil = replace(data, window=replace(data.window, name="<script>"), losses={"<i>": 1.0})
    shown = compare(evil, data)._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown
    assert "<i>" not in shown
