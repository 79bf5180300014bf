from __future__ import annotations

import numpy as np
import pytest

from olmoearth_nb.colors import fallback_colors
from olmoearth_nb.errors import UsageError
from olmoearth_nb.legend import ClassEntry, ClassLegend, DetectionLegend, Legend, RangeLegend

WATER = ClassEntry(1, "water", (0, 0, 200))
WOOD = ClassEntry(3, "<b>wood", (0, 120, 0))
KINDS = ClassLegend("kind", 1, (WATER, WOOD))


@pytest.mark.parametrize("value", [3, 3.0, "3", np.uint8(3), np.float32(3), "<b>wood"])
def test_a_class_is_found_however_its_value_is_written(value: object) -> None:
    assert KINDS.label_of(value) == "<b>wood"
    assert KINDS.color_of(value) == (0, 120, 0)


def test_a_value_goes_before_a_label() -> None:
    legend = ClassLegend("kind", None, (ClassEntry(1, "2", (1, 1, 1)), ClassEntry(2, "b", (2, 2, 2))))
    assert legend.label_of("2") == "b"


def test_unknown_values_keep_their_text_and_get_a_colour_of_their_own() -> None:
    assert KINDS.label_of(7) == "7"
    assert KINDS.label_of(float("nan")) == "nan"
    assert KINDS.label_of(1.5) == "1.5"
    colors = KINDS.colors_of([1, 2, 7, 1])
    assert list(colors) == [1, 2, 7]
    assert colors[1] == (0, 0, 200)
    assert len(set(colors.values())) == 3
    assert KINDS.color_of(7) == colors[7]


def test_colormap_is_for_integers_with_full_alpha() -> None:
    legend = ClassLegend("kind", 1, (WATER, ClassEntry("4", "ice", (9, 9, 9)), ClassEntry("x", "other", (8, 8, 8))))
    assert legend.colormap() == {1: (0, 0, 200, 255), 4: (9, 9, 9, 255)}


def test_many_values_without_a_legend_can_be_told_apart() -> None:
    colors = np.array(list(fallback_colors(range(64)).values()), dtype=float)
    distance = np.linalg.norm(colors[:, None] - colors, axis=-1) + np.eye(64) * 1000
    assert distance.min() > 30
    assert np.abs(colors - 255).max(axis=1).min() > 30  # none is nearly white
    assert colors.max(axis=1).min() > 30  # none is nearly black


def test_fallback_colours_do_not_depend_on_what_else_is_there() -> None:
    alone, together = fallback_colors([5]), fallback_colors([9, 5, 300, "a", -1, 5])
    assert alone[5] == together[5]
    assert len(set(together.values())) == len(together) == 5
    assert together == fallback_colors(["a", 300, 9, -1, 5])


def test_fallback_colours_keep_away_from_those_in_use() -> None:
    taken = fallback_colors([0])[0]
    others = np.array(list(fallback_colors(range(20), avoid=[taken]).values()))
    assert np.linalg.norm(others - np.array(taken), axis=1).min() > 30


def test_more_values_than_colours_still_get_one() -> None:
    assert len(fallback_colors(range(-300, 300))) == 600


def test_range_colours_follow_the_colormap_whatever_its_case() -> None:
    legend = RangeLegend("height", 1, 10.0, 20.0, "GRAY")
    assert legend.colormap_name == "gray"
    rgba = legend.colors_of(np.array([[10.0, 20.0], [np.nan, 99.0]]))
    assert rgba.shape == (2, 2, 4)
    assert rgba.dtype == np.uint8
    assert rgba[0, 0].tolist() == [0, 0, 0, 255]
    assert rgba[0, 1].tolist() == [255, 255, 255, 255]
    assert rgba[1, 0].tolist() == [0, 0, 0, 0]
    assert rgba[1, 1].tolist() == [255, 255, 255, 255]
    assert legend.color_of(15.0) == (128, 128, 128)
    assert RangeLegend("v", 1, 0, 1, "rdylgn").colormap_name == "RdYlGn"


def test_an_unknown_colormap_is_named() -> None:
    with pytest.raises(UsageError, match=r"legend of v: There is no colormap 'nope'"):
        RangeLegend("v", 1, 0, 1, "nope").color_of(0.5)
    assert "nope" in RangeLegend("v", 1, 0, 1, "nope")._repr_html_()


def test_a_legend_finds_bands_and_properties() -> None:
    height = RangeLegend("height", 2, 0, 1)
    legend = Legend("RASTER", classes=(KINDS,), ranges=(height,))
    assert legend.classes_of_band(1) is KINDS
    assert legend.classes_of_band(2) is None
    assert legend.range_of_band(2) is height
    assert legend.range_of_band(1) is None
    assert legend.of_property("height") is height
    assert legend.of_property("kind") is KINDS
    assert legend.of_property("x") is None
    assert Legend("RASTER", classes=(ClassLegend("kind", None, ()),)).classes_of_band(1) is not None


def test_html_is_escaped() -> None:
    legend = Legend("VECTOR", (KINDS,), (RangeLegend("<i>", 1, 0, 1),), (DetectionLegend("<u>car"),))
    text = legend._repr_html_()
    for raw in ("<b>wood", "<i>:", "<u>"):
        assert raw not in text
    for escaped in ("&lt;b&gt;wood", "&lt;i&gt;", "&lt;u&gt;car", "rgb(0,120,0)"):
        assert escaped in text
    assert Legend("RASTER")._repr_html_() == "No legend."
    assert "water" in repr(KINDS)
