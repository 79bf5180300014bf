"""The explorer of a trace, by its traits."""

from __future__ import annotations

from dataclasses import replace

import ipywidgets
import numpy as np
import pytest
import traced

from olmoearth_nb.errors import UsageError
from olmoearth_nb.maps.widgets.trace_explorer import TraceExplorer
from olmoearth_nb.runners.window_trace import WindowTrace
from olmoearth_nb.traces.data import TraceData


@pytest.fixture(scope="module")
def data() -> TraceData:
    return traced.sound_trace(size=64, steps=12)


def test_a_pixel_gives_its_values(data: TraceData) -> None:
    explorer = TraceExplorer(data)
    assert explorer.panes.values == {}
    explorer.panes.pixel = [5, 40]
    assert explorer.pixel == (5, 40)
    sent = explorer.panes.values
    assert sent["pixel"] == [5, 40]
    assert sent["place"].startswith("row 5, column 40")
    probabilities = data.output().probabilities
    assert probabilities is not None
    assert [bar[1] for bar in sent["bars"][1]["bars"]] == probabilities.values[:, 5, 40].tolist()
    assert sent["series"][0]["lines"][0][1] == traced.pixels_of(data)[:, 0, 5, 40].tolist()
    explorer.close()


def test_code_sets_the_pixel(data: TraceData) -> None:
    explorer = WindowTrace(data).explore("confidence", pixel=(1, 2))
    assert explorer.panes.pixel == [1, 2]
    with pytest.raises(UsageError, match="row of 0 to 63"):
        explorer.pixel = (64, 0)
    assert explorer.pixel == (1, 2)
    explorer.close()


def test_stages_bands_and_dates(data: TraceData) -> None:
    explorer = TraceExplorer(data)

    def titles() -> list[str]:
        return [one["title"] for one in explorer.panes.pictures if not one.get("guide")]

    assert titles()[-4:] == ["prediction", "label", "error", "confidence"]
    explorer.controls.stages.value = "transform:Normalize"
    assert explorer.stage == "transform:Normalize"
    assert titles() == list(traced.BANDS)
    assert [one["title"] for one in explorer.panes.pictures if one["guide"]] == ["2024-03-01", "prediction"]
    explorer.controls.bands.value = "B08"
    assert titles()[:1] == ["2024-03-01"]
    assert len(titles()) == 12
    explorer.time_step = 2
    assert titles() == ["2024-04-30"]
    assert explorer.controls.steps.value == 2
    explorer.bands = ("B04", "B03", "B02")
    assert explorer.controls.bands.value == ("B04", "B03", "B02")
    with pytest.raises(UsageError, match="no such band"):
        explorer.bands = "nothing"
    explorer.stage = "encoder"
    assert explorer.bands is None
    assert explorer.time_step is None
    explorer.channel = 2
    assert explorer.controls.channels.value == 2
    with pytest.raises(UsageError, match="no such stage"):
        explorer.stage = "nothing"
    assert [one["title"] for one in explorer.panes.legends] == ["segmentation", "channel 2"]
    explorer.close()


def test_tasks(data: TraceData) -> None:
    other = replace(data.output(), task="other <b>", loss=None, label=None, error=None)
    several = replace(data, outputs={"segmentation": data.output(), "other <b>": other})
    explorer = TraceExplorer(several)
    explorer.stage = "loss"
    explorer.task = "other <b>"
    assert explorer.stage == "overview"
    explorer.pixel = (0, 0)
    assert "label" not in {name for name, _, _ in explorer.panes.values["facts"]}
    with pytest.raises(UsageError):
        explorer.task = "none"
    explorer.close()


def test_an_error_is_shown_below(data: TraceData, monkeypatch: pytest.MonkeyPatch) -> None:
    explorer = TraceExplorer(data)
    explorer.panes.pixel = [99, 0]
    assert "The pixel is not in the window." in explorer.message.value
    explorer.panes.pixel = [9, 0]
    assert explorer.message.value == ""
    explorer.close()


def test_closing_frees_all_widgets(data: TraceData) -> None:
    before = set(ipywidgets.widgets.widget._instances)
    explorer = TraceExplorer(data)
    explorer.stage, explorer.pixel = "Normalize", (3, 3)
    assert set(ipywidgets.widgets.widget._instances) > before
    explorer.close()
    assert set(ipywidgets.widgets.widget._instances) == before


def test_its_picture_shows_the_pixel(data: TraceData) -> None:
    explorer = TraceExplorer(data)
    without = explorer.static()
    explorer.pixel = (3, 3)
    figure = explorer.static()
    assert len(figure.axes) > len(without.axes)
    bundle = explorer._repr_mimebundle_(include=["image/png", "text/plain"])
    assert bundle["text/plain"] == "Trace of window default/window_0: overview, pixel (3, 3)"
    assert bundle["image/png"]
    explorer.close()


def test_a_window_without_pictures_is_charts() -> None:
    data = traced.sound_trace(size=16)
    bare = replace(data, layers={}, stages=(), features={}, written=None)
    explorer = TraceExplorer(bare)
    explorer.pixel = (0, 0)
    assert explorer.panes.values["series"] == []
    assert np.isfinite(explorer.panes.values["bars"][0]["bars"][0][1])
    explorer.close()
