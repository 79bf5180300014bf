from __future__ import annotations

import numpy as np
import pytest

from olmoearth_nb.legend import ClassEntry, ClassLegend, RangeLegend
from olmoearth_nb.maps.style import (
    ClassColors,
    category_colors,
    category_name,
    coloring_of,
    colors_for,
    painted,
)

LEGEND = ClassLegend("cover", 1, (ClassEntry(2, "forest", (0, 99, 0)), ClassEntry(1, "water", (0, 0, 250))))


def test_splits_and_states_keep_their_colours_and_order() -> None:
    all_three = category_colors(["val", "test", "train"])
    assert list(all_three) == ["train", "val", "test"]
    assert category_colors(["test"])["test"] == all_three["test"]
    assert list(category_colors(["failed", "predicted", "built", "planned"])) == [
        "planned",
        "built",
        "predicted",
        "failed",
    ]


def test_partitions_are_in_order_of_their_numbers_and_have_different_colours() -> None:
    names = [f"partition_{i}" for i in (10, 9, 100)]
    assert list(category_colors(names)) == ["partition_9", "partition_10", "partition_100"]
    for count in (8, 9, 200):
        assert len(set(category_colors(f"partition_{i}" for i in range(count)).values())) == count


def test_missing_cells_come_last_and_grey() -> None:
    colors = category_colors([None, "train", float("nan")])
    assert list(colors) == ["train", "none"]
    assert len(set(colors["none"])) == 1
    assert category_name(3.5) == "3.5"


def test_classes_have_the_colours_names_and_order_of_the_legend() -> None:
    values = np.array([[1, 2, np.nan], [2, 2, 7]], np.float32)
    coloring = coloring_of(values, LEGEND)
    assert isinstance(coloring, ClassColors)
    shares = [(one.label, one.share) for one in coloring.shares]
    assert shares == [("forest", 0.6), ("water", 0.2), ("7", 0.2)]
    assert coloring.colors[2] == (0, 99, 0)
    picture = painted(values, coloring)
    assert picture[0, 0].tolist() == [0, 0, 250, 255]
    assert picture[0, 2].tolist() == [0, 0, 0, 0]
    assert tuple(picture[1, 2, :3]) == coloring.colors[7]
    assert coloring.colors[7] not in {(0, 99, 0), (0, 0, 250)}


def test_probabilities_are_a_range_whatever_the_legend_has_classes_for() -> None:
    coloring = coloring_of(np.array([[0.0, 0.25, np.nan], [0.5, 1.0, 0.75]]), LEGEND)
    assert isinstance(coloring, RangeLegend)
    assert coloring.property_name == "cover"
    assert 0 <= coloring.min_value < coloring.max_value <= 1


def test_values_of_features_may_be_numbers_or_texts() -> None:
    cells = [1, "1", 2.0, None, "cloud"]
    coloring = coloring_of(cells, LEGEND)
    assert isinstance(coloring, ClassColors)
    assert [(one.label, one.share) for one in coloring.shares] == [("forest", 0.25), ("water", 0.5), ("cloud", 0.25)]
    colors = colors_for(cells, coloring)
    assert colors[:3] == [(0, 0, 250), (0, 0, 250), (0, 99, 0)]
    assert colors[3] == (190, 190, 190)
    assert colors[4] == coloring.colors["cloud"]


def test_values_of_features_may_be_the_names_of_classes() -> None:
    coloring = coloring_of(["forest", "water", "water"], LEGEND)
    assert colors_for(["water", "forest"], coloring) == [(0, 0, 250), (0, 99, 0)]


def test_a_range_colours_measurements_and_leaves_out_what_is_missing() -> None:
    legend = RangeLegend("height", 1, 0.0, 10.0, "gray")
    assert coloring_of([3.5], legend) is legend
    assert colors_for([0, 10, None], legend)[:2] == [(0, 0, 0), (255, 255, 255)]
    assert colors_for([None], legend) == [(190, 190, 190)]
    assert painted(np.array([[10, np.nan]]), legend)[0].tolist() == [[255, 255, 255, 255], [0, 0, 0, 0]]


def test_without_a_legend_whole_numbers_are_classes_and_others_a_range() -> None:
    classes = coloring_of(np.array([[3, 10, 5, 3]], np.float32), None)
    assert isinstance(classes, ClassColors)
    assert list(classes.labels.values()) == ["3", "5", "10"]
    scale = coloring_of(np.linspace(0, 100, 101, dtype=np.float32) + 0.5, None)
    assert isinstance(scale, RangeLegend)
    assert (scale.min_value, scale.max_value) == pytest.approx((2.5, 98.5))
    assert isinstance(coloring_of(np.arange(1000.0), None), RangeLegend)
    assert coloring_of([], None) == ClassColors("value", {}, {}, {})


def test_a_constant_measurement_has_a_range() -> None:
    scale = coloring_of(np.array([0.5, 0.5]), None)
    assert isinstance(scale, RangeLegend)
    assert scale.min_value < scale.max_value
