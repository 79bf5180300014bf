"""Traces of real models show all of their stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import task_models
from places import Place
from rslearn.dataset import Window

from olmoearth_nb.legend import Legend
from olmoearth_nb.maps.traced import glance
from olmoearth_nb.maps.traced_stops import stops_of
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.trace.capture import TraceRequest
from olmoearth_nb.model.trace.engine import Engine
from olmoearth_nb.runners.window_trace import WindowTrace


def trace_of(
    loaded: LoadedModel, place: Place, window: Window, *, features: tuple[str, ...] = (), **request: Any
) -> WindowTrace:
    engine = Engine(loaded, TraceRequest(window=window, dataset=place.dataset, legend=Legend("RASTER"), **request))
    return WindowTrace(engine.capture(features=features), engine=engine)


def show_all(trace: WindowTrace) -> set[str]:
    """Draws every stage of every task, and explores it; the names of the stages."""
    shown = set()
    for task in trace.data.outputs:
        for stop in stops_of(trace.data, task):
            assert trace.plot(stop.key, task=task).axes, stop
            shown.add(stop.key)
    explorer = trace.explore(pixel=(3, 5))
    for stop in stops_of(trace.data, explorer.task):
        explorer.stage = stop.key
        assert explorer.message.value == ""
        assert explorer.panes.pictures or explorer.panes.charts, stop
    assert explorer.panes.values["facts"]
    explorer.close()
    return shown


@pytest.mark.parametrize("kind", task_models.KINDS)
def test_every_stage_of_every_task(tmp_path: Path, kind: str) -> None:
    place = task_models.task_place(tmp_path / "place", kind)
    loaded, windows = task_models.load(place), task_models.windows_of(place)
    for window in (windows[0], windows[-1]):
        trace = trace_of(loaded, place, window)
        assert {"overview", "inputs", "written"} <= show_all(trace)
        assert glance(trace.data) is not None
        assert trace.map().layers[-1].name == "window"


def test_an_encoder_of_tokens_with_twelve_dates(tmp_path: Path) -> None:
    place = task_models.olmoearth_place(tmp_path / "place", token_pooling=False)
    (window,) = task_models.windows_of(place)
    loaded = task_models.load(place)
    modules = trace_of(loaded, place, window).modules()
    names = tuple(name for name in modules["name"] if name in ("encoder.0", "decoder.0"))
    trace = trace_of(loaded, place, window, features=names)
    features = [name for name in show_all(trace) if name.startswith("features:")]
    assert features
