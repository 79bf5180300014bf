from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import traced
import xarray as xr
from drawings import color_at, legend_of

from olmoearth_nb.errors import UsageError
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend
from olmoearth_nb.maps.what_if import output_legend, plot_what_if
from olmoearth_nb.traces.data import TraceOutput
from olmoearth_nb.traces.difference import output_difference

NAMES = ("water", "forest", "field")
LEGEND = Legend(
    "RASTER",
    classes=(
        ClassLegend(
            "cover", 1, tuple(ClassEntry(i, name, (i * 100, 50, 200 - i * 90)) for i, name in enumerate(NAMES))
        ),
    ),
)


def _classes(values: Any, **other: Any) -> TraceOutput:
    array = np.asarray(values)
    window = traced.trace_window(size=len(array))
    known = np.clip(array, 0, None)
    probabilities = np.where(array < 0, np.nan, np.eye(3)[known].transpose(2, 0, 1))
    coords = {"class": list(NAMES)}
    return TraceOutput(
        task="cover",
        kind="segmentation",
        classes=NAMES,
        prediction=traced.raster(array, ("y", "x"), window),
        probabilities=traced.raster(probabilities, ("class", "y", "x"), window, coords),
        **other,
    )


BEFORE = [[0, 0, 1], [1, 2, 2], [-1, 0, 0]]
AFTER = [[0, 1, 1], [1, 2, 0], [-1, 1, 0]]


def test_changes_are_counted() -> None:
    found = output_difference(_classes(BEFORE), _classes(AFTER))
    assert found.changes.values.tolist() == [["water", "forest", 2, 0.25], ["field", "water", 1, 0.125]]
    assert found.share == 3 / 8
    assert np.isnan(found.changed.values[2, 0])  # type: ignore[union-attr]
    assert found.mean_probability.to_dict() == {"water": -1 / 8, "forest": 2 / 8, "field": -1 / 8}  # type: ignore[union-attr]


def test_before_after_and_the_new_class_where_it_differs() -> None:
    axes = plot_what_if(_classes(BEFORE), _classes(AFTER), title="a $ change", legend=LEGEND).axes
    water, forest = (0, 50, 200), (100, 50, 110)
    assert [ax.get_title(loc="left") for ax in axes] == ["before", "after", "new class where it differs: 37.5%"]
    assert color_at(axes[0], 1, 0) == water
    assert color_at(axes[1], 1, 0) == forest
    assert color_at(axes[2], 1, 0) == forest
    assert color_at(axes[2], 2, 1) == water
    assert color_at(axes[2], 0, 0) == (222, 226, 222)
    assert legend_of(axes[2]) == ["water  50% → 38%", "forest  25% → 50%", "field  25% → 12%"]


def test_colours_go_by_name_or_number_and_others_are_free() -> None:
    assert [entry.color for entry in output_legend(_classes(BEFORE), LEGEND).entries] == [
        (0, 50, 200), (100, 50, 110), (200, 50, 20),
    ]  # fmt: skip
    own = output_legend(_classes(BEFORE), None)
    assert len({entry.color for entry in own.entries}) == 3


def _values(values: Any) -> TraceOutput:
    window = traced.trace_window(size=2)
    return TraceOutput(
        task="height", kind="per-pixel regression", values=traced.raster(np.array(values), ("y", "x"), window)
    )


def test_measurements() -> None:
    before, after = _values([[1.0, 2.0], [3.0, 4.0]]), _values([[1.0, 2.5], [3.0, 2.0]])
    difference = output_difference(before, after)
    assert difference.mean_value == -0.375
    assert dict(difference.rows())["change of value"] == "mean -0.375, at most 2"
    axes = plot_what_if(before, after).axes
    assert axes[2].get_title(loc="left") == "change: mean -0.375"
    red, _, blue = color_at(axes[2], 1, 1)
    assert blue > red + 60


def test_tasks_by_window_have_bars() -> None:
    def output(values: list[float]) -> TraceOutput:
        probabilities = xr.DataArray(np.array(values), dims="class", coords={"class": list(NAMES)})
        prediction = xr.DataArray(np.array(int(np.argmax(values))))
        return TraceOutput(
            task="kind", kind="classification", classes=NAMES, prediction=prediction, probabilities=probabilities
        )

    before, after = output([0.5, 0.3, 0.2]), output([0.1, 0.7, 0.2])
    rows = dict(output_difference(before, after).rows())
    assert rows["class changed"] == "1 window (100.0%)"
    assert rows["water → forest"] == "1 (100.0%)"
    ax = plot_what_if(before, after).axes[0]
    assert [round(bar.get_height(), 1) for bar in ax.patches] == [0.5, 0.3, 0.2, 0.1, 0.7, 0.2]  # type: ignore[attr-defined]


def test_other_tasks_say_that_there_is_no_picture() -> None:
    output = TraceOutput(task="ships", kind="detection")
    with pytest.raises(UsageError, match=r"no picture.*detection"):
        plot_what_if(output, output)
