from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import traced
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from traced import label_of, pixels_of, sound_trace, trace_of, with_label, with_layer, with_output, with_pixels

from olmoearth_nb.traces.check import findings
from olmoearth_nb.traces.data import TraceData, TraceItem
from olmoearth_nb.traces.findings import Finding, Findings

Fault = Callable[[TraceData], TraceData]


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 900),
    steps=st.sampled_from([1, 2, 4, 12]),
    size=st.sampled_from([8, 16, 32, 64]),
    labelled=st.booleans(),
)
def test_sound_windows_have_no_findings(seed: int, steps: int, size: int, labelled: bool) -> None:
    assert list(findings(sound_trace(seed=seed, steps=steps, size=size, labelled=labelled)).alarming) == []


@settings(max_examples=25, deadline=None)
@given(only=st.integers(0, 3), seed=st.integers(0, 900), steps=st.sampled_from([1, 4]), brighter=st.floats(0.8, 1.25))
def test_windows_of_one_class_are_sound_too(only: int, seed: int, steps: int, brighter: float) -> None:
    classes = np.full((32, 32), only)
    pixels = np.round(traced.imagery(classes, steps=steps, seed=seed) * brighter)
    data = trace_of(pixels, classes, traced.trace_window(size=32))
    assert list(findings(data).alarming) == []


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 900), share=st.floats(0.02, 0.9))
def test_labels_of_some_pixels_with_errors_are_sound(seed: int, share: float) -> None:
    data = sound_trace(seed=seed)
    label = label_of(data)
    assert label is not None
    rng = np.random.default_rng(seed)
    ragged = np.where(ndimage.binary_dilation(rng.random(label.shape) < 0.02), rng.integers(0, 4, label.shape), label)
    assert findings(with_label(data, np.where(rng.random(label.shape) < share, ragged, -1))).alarming == ()


def _pixels(change: Callable[[Any], Any], **other: Any) -> Fault:
    return lambda data: with_pixels(data, change(pixels_of(data).copy()), **other)


def _label(change: Callable[[Any], Any]) -> Fault:
    def fault(data: TraceData) -> TraceData:
        label = label_of(data)
        assert label is not None
        return with_label(data, change(label))

    return fault


def _put(value: float, where: Any, **other: Any) -> Fault:
    def change(pixels: Any) -> Any:
        pixels[where] = value
        return pixels

    return _pixels(change, **other)


def _spots(value: float, nodata: float | None = 0) -> Fault:
    def change(pixels: Any) -> Any:
        pixels[:, :, np.random.default_rng(0).random(pixels.shape[-2:]) < 0.02] = value
        return pixels

    return _pixels(change, nodata=nodata)


def _numbers(change: Callable[[Any], Any]) -> Fault:
    def fault(data: TraceData) -> TraceData:
        assert data.training is not None
        mean, std = (change(data.training[name].to_numpy()) for name in ("mean", "std"))
        return with_pixels(data, pixels_of(data), mean=mean, std=std)

    return fault


def _last_step(pixels: Any) -> Any:
    pixels[-1] += 1000
    return pixels


FAULTS: dict[str, tuple[str, str, Fault]] = {
    "red and infrared swapped": ("band-order", "where B04 should be", _pixels(lambda p: p[:, [0, 1, 3, 2, 4, 5]])),
    "bands turned round": ("band-order", "where B12 should be", _pixels(lambda p: p[:, ::-1])),
    "offset of baseline 04.00": ("offset", "about 1000 higher", _pixels(lambda p: p + 1000)),
    "one date with the offset": ("offset", "Values of this time step", _pixels(_last_step)),
    "reflectance 0..1": ("scale", "10000 times smaller", _pixels(lambda p: p / 10000)),
    "8 bits": ("scale", "10000/255 times smaller", _pixels(lambda p: np.round(p / 10000 * 255))),
    "ten times": ("scale", "about 10 times larger", _pixels(lambda p: p * 10)),
    "decibels": ("logarithm", "like decibels", _pixels(lambda p: 10 * np.log10(p))),
    "normaliser for 0..1": ("normalisation", "10000 times smaller", _numbers(lambda x: x / 10000)),
    "normaliser for 8 bits": ("normalisation", "far from 0 ± 1", _numbers(lambda x: x / 10000 * 255)),
    "normaliser ten times": ("normalisation", "10 times larger", _numbers(lambda x: x * 10)),
    "normaliser BGR": ("band-order", "normalising transform", _numbers(lambda x: x[[2, 1, 0, 3, 4, 5]])),
    "no imagery": ("all-nodata", "has seen nothing", _put(0, ...)),
    "a band of nodata": ("band-nodata", "All of B04", _put(0, (slice(None), 2))),
    "a date of nodata": ("step-nodata", "step 1", _put(0, 1)),
    "constant band": ("constant-band", "B08 .700.", _put(700, (slice(None), 3))),
    "constant band at a date": ("constant-band", "step 2", _put(700, (2, 3))),
    "edge of the imagery": ("outside-imagery", "west 100%", _put(0, (..., slice(20)))),
    "NaN": ("nan", "not what the layer declares", _put(np.nan, (..., 3, slice(9)))),
    "infinite": ("infinite", "are infinite", _put(np.inf, (0, 0, 5, 5))),
    "fill 65535": ("fill-value", "are 65535", _spots(65535)),
    "fill -9999": ("fill-value", "are -9999", _spots(-9999)),
    "fill 0": ("fill-value", "are 0, far", _spots(0, None)),
    "one image again and again": ("steps-identical", "4 of 4", _pixels(lambda p: np.repeat(p[:1], 4, 0))),
    "coarse imagery": ("blocky", "2 × 2", _pixels(lambda p: np.kron(p[:, :, ::2, ::2], np.ones((2, 2))))),
    "label one row south": ("label-shifted", "1 to the south", _label(lambda x: np.roll(x, 1, 0))),
    "label two columns west": ("label-shifted", "2 to the west", _label(lambda x: np.roll(x, -2, 1))),
    "label north-east": ("label-shifted", "1 to the north and 1", _label(lambda x: np.roll(x, (-1, 1), (0, 1)))),
    "label upside down": ("label-flipped", "upside down", _label(lambda x: x[::-1])),
    "label mirrored": ("label-flipped", "mirrored", _label(lambda x: x[:, ::-1])),
    "label transposed": ("label-flipped", "transposed", _label(lambda x: x.T)),
    "label from 1": ("label-outside", "counted from 1", _label(lambda x: x + 1)),
    "label one less": ("label-off-by-one", "class after", _label(lambda x: np.maximum(x - 1, -1))),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seed", [0, 1])
def test_faults_are_found_and_told(fault: str, seed: int) -> None:
    code, words, change = FAULTS[fault]
    found = findings(change(sound_trace(seed=seed)))
    assert code in found.codes, found
    assert any(re.search(words, one.words) for one in found.of(code)), found
    assert all(one.severity != "note" for one in found.of(code))


def test_swapped_bands_that_look_alike_are_told_only_when_that_is_seen() -> None:
    # Blue, green and red of a window are too much alike to be told apart by their values.
    alarms = [findings(_pixels(lambda p: p[:, [2, 1, 0, 3, 4, 5]])(sound_trace(seed=i))).codes for i in range(10)]
    assert set(sum(alarms, ())) <= {"band-order"}


def test_clouds_are_no_error_of_units() -> None:
    data = sound_trace(seed=3)
    clouds = np.random.default_rng(0).normal(0, 300, pixels_of(data).shape) + np.array(
        [7500, 7000, 6800, 7600, 3500, 2500]
    ).reshape(1, -1, 1, 1)
    codes = findings(with_pixels(data, clouds)).codes
    assert "unlike-training" in codes
    assert not {"scale", "offset", "band-order", "normalisation"} & set(codes)


def test_saturated_pixels_are_no_fill_values() -> None:
    data = sound_trace(seed=3)
    assert findings(with_pixels(data, np.minimum(pixels_of(data), 2600))).of("fill-value") == ()


def _times(change: Callable[[Any], Any]) -> Fault:
    def fault(data: TraceData) -> TraceData:
        layer = data.layers["sentinel2"].data
        assert layer is not None
        starts, ends = change(layer["time"].values), change(layer["time_end"].values)
        return with_layer(data, data=layer.assign_coords(time=starts, time_end=("time", ends)))

    return fault


def test_dates() -> None:
    data = sound_trace()
    layer = data.layers["sentinel2"].data
    assert layer is not None
    year = np.timedelta64(730, "D")
    cases: list[tuple[str, str, Fault]] = [
        ("dates-twice", "2 have the date", _times(lambda t: np.array([t[0], t[1], t[1], t[1]]))),
        ("dates-range", "4 of 4 time steps lie outside", _times(lambda t: t + year)),
        ("dates-order", "in no order", _times(lambda t: t[[0, 2, 1, 3]])),
        ("dates-items", "turned round", _times(lambda t: t[::-1])),
        ("dates-missing", "no date is known", lambda d: with_layer(d, data=layer.drop_vars(["time", "time_end"]))),
        ("dates-missing", "no date is known", _times(lambda t: np.array([*t[:3], np.datetime64("1970-01-01")]))),
    ]
    for code, words, change in cases:
        found = findings(change(data))
        assert code in found.codes
        assert any(words in one.words for one in found.of(code)), found
    # Newest first throughout, items and all, may be meant.
    turned = with_layer(
        _times(lambda t: t[::-1])(data),
        items=tuple(replace(item, group=3 - (item.group or 0)) for item in data.layers["sentinel2"].items),
    )
    assert findings(turned).codes == ("dates-newest-first",)
    assert findings(turned).alarming == ()


def test_items_of_other_dates() -> None:
    data = sound_trace()
    start = traced.START - timedelta(days=400)
    items = (TraceItem(name="old", used=True, group=1, start=start, end=start + timedelta(hours=1)),)
    assert "1 item of 1 are of another date" in findings(with_layer(data, items=items)).of("dates-items")[0].words


def test_missing_layers_say_why() -> None:
    found = findings(with_layer(sound_trace(), data=None, reason="No item was matched."))
    assert "No item was matched." in found.of("layer-missing")[0].words


def _said(logits: Any) -> Fault:
    def fault(data: TraceData) -> TraceData:
        return trace_of(pixels_of(data), label_of(data), data.window, logits=logits(traced.scores(pixels_of(data))))

    return fault


def test_what_the_model_says() -> None:
    data = sound_trace(seed=1)
    rng = np.random.default_rng(0)
    cases: list[tuple[str, str, Fault]] = [
        ("saturated-softmax", "warning", _said(lambda x: rng.normal(0, 1e4, x.shape))),
        ("saturated-softmax", "note", _said(lambda x: x * 1e5)),
        ("flat-softmax", "warning", _said(lambda x: x * 1e-4)),
        (
            "constant-output",
            "error",
            _said(lambda x: np.broadcast_to(np.array([3, 1, 0, 0.0])[:, None, None], x.shape)),
        ),
        ("single-class", "warning", _said(lambda x: x + np.array([1e3, 0, 0, 0])[:, None, None])),
        ("nan", "error", _said(lambda x: np.where(np.arange(64) < 3, np.nan, x))),
    ]
    for code, severity, change in cases:
        found = findings(change(data))
        assert severity in {one.severity for one in found.of(code)}, (code, found)


def test_the_untrained_model_is_named_as_the_reason() -> None:
    data = _said(lambda x: x * 1e-4)(sound_trace())
    found = findings(replace(data, model=replace(data.model, checkpoint=None))).of("flat-softmax")
    assert found[0].severity == "note"
    assert "weights are untrained" in found[0].words


def test_classes_where_there_is_no_imagery() -> None:
    data = _put(0, (..., slice(20)))(sound_trace())
    assert "not as nodata (255)" in findings(data).of("nodata-predicted")[0].words
    written, raster = data.written, data.written and data.written.raster
    assert written is not None
    assert raster is not None
    masked = raster.copy()
    masked[..., :20] = 255
    assert findings(replace(data, written=replace(written, raster=masked))).of("nodata-predicted") == ()


def test_seams_and_dead_channels() -> None:
    data = sound_trace()
    window = data.window
    strip = np.full((64, 64), np.nan, dtype=np.float32)
    strip[:, 28:36] = 0.01
    assert findings(with_output(data, seam=traced.raster(strip, ("y", "x"), window))).codes == ()
    strip[:, 30:34] = 0.7
    assert findings(with_output(data, seam=traced.raster(strip, ("y", "x"), window))).of("seam")[0].number == 0.5

    channels = np.random.default_rng(0).normal(size=(16, 8, 8))
    for dead, severity in ((0, None), (4, "note"), (9, "warning"), (16, "error")):
        channels[:dead] = 0
        features = {"encoder": traced.raster(channels, ("channel", "y", "x"), window)}
        found = findings(replace(data, features=features)).of("dead-channels")
        assert [one.severity for one in found] == ([severity] if severity else [])


def test_findings_show_themselves_escaped() -> None:
    found = Findings("<w>", [Finding(severity="note", code="blocky", where="layer <b>", words="1 < 2", number=2.0)])
    assert "layer &lt;b&gt;" in found._repr_html_()
    assert "<b>" not in found._repr_html_()
    assert "1 note" in repr(found)
    assert found.table().loc[0, "number"] == 2.0
    assert "nothing suspicious" in repr(Findings("w", []))
    assert not Findings("w", [])
