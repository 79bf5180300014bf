from __future__ import annotations

from dataclasses import replace

import traced
from traced import pixels_of, sound_trace, with_pixels

from olmoearth_nb.runners.window_trace import WindowTrace


def test_a_trace_shows_itself_and_what_was_found() -> None:
    data = sound_trace()
    text = repr(WindowTrace(data))
    assert "64 × 64 pixels of 10 in EPSG:32631" in text
    assert "4 time steps, 6 bands, 2024-03-01, 2024-03-31, 2024-04-30, 2024-05-30" in text
    assert "read → Normalize" in text
    counts = {name: (traced.patches() == i).mean() for i, name in enumerate(traced.CLASSES)}
    assert all(name in text for name in counts)
    assert "nothing suspicious" in WindowTrace(data)._repr_html_()
    broken = WindowTrace(with_pixels(data, pixels_of(data) / 10000))
    assert "10000 times smaller" in broken._repr_html_()
    assert broken.check()[0].code == "scale"


def test_text_of_data_is_no_markup() -> None:
    data = sound_trace()
    name = "<img src=x>"
    output = replace(data.outputs["segmentation"], task=name, classes=(name, *traced.CLASSES[1:]))
    layer = replace(data.layers["sentinel2"], name=name, data=None, reason=name)
    evil = replace(data, window=replace(data.window, name=name), outputs={name: output}, layers={name: layer})
    shown = WindowTrace(evil)._repr_html_()
    assert name not in shown
    assert shown.count("&lt;img src=x&gt;") >= 5
