from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import add_window, color_at, make_dataset, raster_layer, write_layer
from rslearn.dataset import Dataset, Window
from rslearn.dataset.window import WindowLayerData
from rslearn.utils.feature import Feature
from rslearn.utils.geometry import STGeometry
from shapely import Point, box

from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend, RangeLegend
from olmoearth_nb.maps.detail import read_detail
from olmoearth_nb.maps.imagery import ImageryView
from olmoearth_nb.maps.labels import LabelView
from olmoearth_nb.maps.series import read_series
from olmoearth_nb.maps.sheet import plot_window

X, Y = 60_000, -500_000
CLASSES = ClassLegend(
    "cover", 1, (ClassEntry(1, "water", (0, 0, 250)), ClassEntry(2, "forest", (0, 99, 0))), confidence_band_index=2
)
LEGEND = Legend("RASTER", classes=(CLASSES,))


def item(name: str, *days: str) -> dict[str, Any]:
    times = [f"{day}T10:00:00+00:00" for day in days]
    return {"name": name, "geometry": {"time_range": times or None}}


def make(folder: Path, **layers: Any) -> tuple[Dataset, Window]:
    dataset = make_dataset(folder, scene=raster_layer(["B1"], source=True), **layers)
    return dataset, add_window(dataset, "w", (X, Y, X + 8, Y + 8))


def both(folder: Path) -> tuple[Dataset, Window]:
    """Label 1 above and 2 below, nothing in the last column; prediction 1 left and 2 right, confidence 25 and 75."""
    bands = raster_layer(["cover"], nodata_value=255)
    dataset, window = make(folder, label=bands, output=raster_layer(["cover", "score"], nodata_value=255))
    label = np.where(np.arange(8)[:, None] < 4, 1, 2) * np.ones((8, 8), int)
    label[:, 7] = 255
    left = np.arange(8)[None, :] < 4
    prediction = np.where(left, 1, 2) * np.ones((8, 8), int)
    write_layer(dataset, window, "label", label[None])
    write_layer(dataset, window, "output", np.stack([prediction, np.where(left, 25, 75) * np.ones((8, 8), int)]))
    return dataset, window


LABELS, PREDICTION = (LabelView(layer=name, legend=LEGEND) for name in ("label", "output"))


def test_each_image_of_a_series_has_its_date_and_source(tmp_path: Path) -> None:
    dataset, window = make(tmp_path)
    write_layer(dataset, window, "scene", *[np.full((1, 8, 8), 10 * step + 1) for step in range(4)])
    months = ("2024-05-01T00:00:00+00:00", "2024-06-01T00:00:00+00:00")
    groups = [
        [item("one", "2024-05-03", "2024-05-03")],
        [item("b", "2024-05-09", "2024-05-10"), item("c", "2024-05-07", "2024-05-08")],
        [item("undated")],
    ]
    noted = {
        "layer_name": "scene",
        "serialized_item_groups": groups,
        "group_time_ranges": [None, None, months],
        "materialized": True,
    }
    window.save_layer_datas({"scene": WindowLayerData.deserialize(noted)})
    series = read_series(dataset, window, ImageryView())
    assert [step.date for step in series.steps] == [
        "2024-05-03",
        "2024-05-07 to 2024-05-10",
        "2024-05-01 to 2024-06-01",
        "",
    ]
    assert [step.source for step in series.steps] == ["one", "b + 1", "undated", ""]
    assert [step.pixels[0, 3, 3] for step in series.steps] == [1, 11, 21, 31]
    few = read_series(dataset, window, ImageryView(), most=2)
    assert [step.pixels[0, 0, 0] for step in few.steps] == [1, 31]
    assert few.count == 4
    titles = [ax.get_title(loc="left") for ax in plot_window(dataset, window).axes]
    assert titles == ["scene: B1", "scene: 4 images", "", "", ""]


def test_a_series_in_one_raster_is_one_too(tmp_path: Path) -> None:
    dataset, window = make(tmp_path)
    write_layer(dataset, window, "scene", np.arange(3)[None, :, None, None] * np.ones((1, 3, 8, 8)) + 5)
    window.save_layer_datas({"scene": WindowLayerData("scene", [[item("a"), item("b")]])})
    series = read_series(dataset, window, ImageryView())
    assert [step.pixels[0, 0, 0] for step in series.steps] == [5, 6, 7]
    assert series.count == 3
    # Which of the items an image is of, nobody noted.
    assert [step.source for step in series.steps] == [""] * 3
    panel = plot_window(dataset, window, view=ImageryView(time_step=2)).axes[0]
    assert color_at(panel, (X + 4) * 10, -(Y + 4) * 10) == (255, 255, 255)


def test_difference_confidence_and_shares(tmp_path: Path) -> None:
    dataset, window = both(tmp_path)
    detail = read_detail(dataset, window, labels=LABELS, prediction=PREDICTION)
    assert detail.difference is not None
    values = detail.difference.values
    # The quarters that both call the same are upper left and lower right.
    assert np.isnan(values[:, 7]).all()
    assert values[:4, :4].max() == values[4:, 4:7].max() == 0
    assert values[:4, 4:7].min() == values[4:, :4].min() == 1
    assert detail.difference.summary == "50% of 56 pixels agree"
    assert [(row.label, row.shares) for row in detail.shares] == [("water", (0.5, 0.5)), ("forest", (0.5, 0.5))]
    assert detail.majority == "water"
    assert detail.confidence is not None
    assert detail.confidence.pixels is not None
    assert detail.confidence.pixels[0].tolist() == [25] * 4 + [75] * 4
    figure = plot_window(dataset, window, labels=LABELS, prediction=PREDICTION)
    confidence = next(ax for ax in figure.axes if ax.get_title(loc="left") == "confidence: score")
    assert confidence.get_xlabel() == "mean 50 of 100"


def test_measurements_differ_by_numbers(tmp_path: Path) -> None:
    dataset, window = both(tmp_path)
    legend = Legend("RASTER", ranges=(RangeLegend("height", 1, 0.0, 4.0),))
    views = [LabelView(layer=name, legend=legend) for name in ("label", "output")]
    detail = read_detail(dataset, window, labels=views[0], prediction=views[1])
    assert detail.difference is not None
    assert detail.difference.values[0, :].tolist()[:7] == [0] * 4 + [1] * 3
    assert detail.difference.values[7, 0] == -1
    # 12 pixels of +1 and 16 of -1 among 56.
    assert detail.difference.summary == "mean -0.0714, mean size 0.5"
    assert detail.shares == []
    assert detail.majority is None
    figure = plot_window(dataset, window, labels=views[0], prediction=views[1])
    assert "label: cover: mean 1.5" in next(child.get_xlabel() for ax in figure.axes for child in ax.child_axes)


def test_point_labels_are_compared_where_they_are(tmp_path: Path) -> None:
    dataset, window = make(tmp_path, label={"type": "vector"}, output=raster_layer(["cover"], nodata_value=255))
    with window.data.open_layer_writer("label") as writer:
        features = [
            Feature(STGeometry(window.projection, shape, None), {"cover": name})
            for shape, name in [(Point(X + 2.5, Y + 3.5), "forest"), (box(X + 4, Y, X + 6, Y + 1), "water")]
        ]
        writer.write_vector(dataset.layers["label"].instantiate_vector_format(), features)
    window.mark_layer_completed("label")
    write_layer(dataset, window, "output", np.full((1, 8, 8), 2))
    vector = LabelView(layer="label", legend=LEGEND)
    detail = read_detail(dataset, window, labels=vector, prediction=LabelView(layer="output", legend=LEGEND))
    assert detail.difference is not None
    assert np.argwhere(np.isfinite(detail.difference.values)).tolist() == [[0, 4], [0, 5], [3, 2]]
    assert detail.difference.summary == "33% of 3 pixels agree"


def test_of_the_probabilities_of_all_classes_the_highest_is_the_confidence(tmp_path: Path) -> None:
    dataset, window = make(tmp_path, output={"type": "vector"})
    with window.data.open_layer_writer("output") as writer:
        geometry = STGeometry(window.projection, box(X, Y, X + 8, Y + 8), None)
        feature = Feature(geometry, {"cover": 2, "probs": [0.25, 0.75]})
        writer.write_vector(dataset.layers["output"].instantiate_vector_format(), [feature])
    window.mark_layer_completed("output")
    legend = Legend("VECTOR", classes=(ClassLegend("cover", None, CLASSES.entries, "probs"),))
    figure = plot_window(dataset, window, prediction=LabelView(layer="output", legend=legend))
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == ["output: cover", "confidence: probs", ""]
    assert figure.axes[1].get_xlabel() == "mean 0.75 of 1"
    assert color_at(figure.axes[0], (X + 4) * 10, -(Y + 4) * 10) == (0, 99, 0)


def test_text_of_files_is_no_formula(tmp_path: Path) -> None:
    dataset, window = make(tmp_path)
    write_layer(dataset, window, "scene", np.ones((1, 8, 8)), np.ones((1, 8, 8)))
    name = "$\\frac{1<img src=x>$ " + "a" * 80
    window.save_layer_datas({"scene": WindowLayerData("scene", [[item(name)], [item(name)]])})
    figure = plot_window(dataset, window)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert "…" in figure.axes[0].get_xlabel()


@pytest.mark.parametrize("noted", ["[]", "[{}]", "nothing"])
def test_windows_without_a_list_of_items(tmp_path: Path, noted: str) -> None:
    dataset, window = make(tmp_path)
    write_layer(dataset, window, "scene", np.ones((1, 8, 8))[:1])
    (Path(str(window.window_root)) / "items.json").write_text(noted)
    (step,) = read_series(dataset, window, ImageryView()).steps
    assert (step.date, step.source) == ("", "")
