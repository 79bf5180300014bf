from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from drawings import add_window, make_dataset, raster_layer, write_layer
from rslearn.utils.feature import Feature
from rslearn.utils.geometry import STGeometry

from olmoearth_nb.errors import UsageError
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend, RangeLegend
from olmoearth_nb.maps.labels import LabelView, field_of, read_labels

BOUNDS = (60_000, -500_000, 60_004, -499_997)
COVER = ClassLegend("cover", 1, (ClassEntry(1, "water", (0, 0, 250)),))
HEIGHT = RangeLegend("height", 2, 0.0, 10.0)


def test_pixels_with_a_label_are_squares_at_their_places(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, label=raster_layer(["a", "b"], nodata_value=255))
    window = add_window(dataset, "one", BOUNDS)
    pixels = np.full((2, 3, 4), 255)
    pixels[1, 0, 2], pixels[1, 2, 1] = 7, 0
    pixels[0] = 1
    write_layer(dataset, window, "label", pixels)
    found = read_labels(dataset, window, LabelView(layer="label", name="b"))
    assert (found.name, found.all_values) == ("b", [7, 0])
    squares = found.as_shapes(window.bounds)
    assert [shape.bounds for shape in squares] == [
        (60_002, -500_000, 60_003, -499_999),
        (60_001, -499_998, 60_002, -499_997),
    ]
    assert read_labels(dataset, window, LabelView(layer="label")).name == "a"


def test_nodata_may_be_told_where_the_layer_does_not(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, label=raster_layer(["a"]))
    window = add_window(dataset, "one", BOUNDS)
    write_layer(dataset, window, "label", np.array([[[9, 9, 1, 9], [9] * 4, [9] * 4]]))
    assert read_labels(dataset, window, LabelView(layer="label", nodata=9)).all_values == [1]
    assert len(read_labels(dataset, window, LabelView(layer="label")).all_values) == 12


def test_shapes_have_the_value_of_the_property_that_the_legend_knows(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, label={"type": "vector"})
    window = add_window(dataset, "one", BOUNDS)
    spots = [(60_001.5, -499_999.5), (60_003.0, -499_998.0)]
    features = [
        Feature(
            STGeometry(window.projection, shapely.Point(*spot), None), {"oe_id": "x", "note": "n", "cover": index + 1}
        )
        for index, spot in enumerate(spots)
    ]
    with window.data.open_layer_writer("label") as writer:
        writer.write_vector(dataset.layers["label"].instantiate_vector_format(), features)
    window.mark_layer_completed("label")
    legend = Legend("VECTOR", classes=(COVER,))
    found = read_labels(dataset, window, LabelView(layer="label", legend=legend))
    assert (found.name, found.all_values) == ("cover", [1, 2])
    assert [(shape.x, shape.y) for shape in found.as_shapes(window.bounds)] == [
        pytest.approx(spot, abs=1e-6) for spot in spots
    ]
    assert read_labels(dataset, window, LabelView(layer="label")).all_values == ["n", "n"]
    assert read_labels(dataset, window, LabelView(layer="label", name="nothing")).all_values == [None, None]


def test_a_layer_that_is_not_there(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, label=raster_layer(["a"]))
    with pytest.raises(UsageError, match=r"no layer 'lable'. Expected one of label"):
        read_labels(dataset, add_window(dataset, "one", BOUNDS), LabelView(layer="lable"))


def test_fields_are_found_by_name_by_band_or_as_the_only_one() -> None:
    both = Legend("RASTER", classes=(COVER,), ranges=(HEIGHT,))
    assert field_of(both, name="height") is HEIGHT
    assert field_of(both, band=2) is HEIGHT
    assert field_of(both, band=1) is COVER
    assert field_of(both, name="label") is None
    assert field_of(Legend("RASTER", classes=(COVER,)), name="label") is COVER
    assert field_of(None, name="cover") is None
