from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import geopandas as gpd
import numpy as np
import pytest
import shapely
from drawings import BANDS, add_window, color_at, legend_of, make_dataset, raster_layer, write_layer
from matplotlib.figure import Figure
from rasterio.crs import CRS
from rslearn.dataset import Dataset, Window
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry

from olmoearth_nb.errors import GeometryError, MissingStepError, UsageError
from olmoearth_nb.labels.tasks import AnnotationTasks
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend, RangeLegend
from olmoearth_nb.maps.canvas import Picture
from olmoearth_nb.maps.static import (
    ImageryView,
    LabelView,
    plot_annotations,
    plot_examples,
    plot_imagery,
    plot_labels,
    plot_window,
    plot_windows,
)
from olmoearth_nb.maps.style import category_colors
from olmoearth_nb.types import AnnotationTask, LabeledSTGeometry

COVER = ClassLegend("cover", 1, (ClassEntry(1, "water", (0, 0, 250)), ClassEntry(2, "forest", (0, 99, 0))))
LEGEND = Legend("RASTER", classes=(COVER,))
X, Y = 60_000, -500_000


def table(**columns: list[object]) -> gpd.GeoDataFrame:
    boxes = [shapely.box(10 + i, 50, 10.8 + i, 50.5) for i in range(len(next(iter(columns.values()))))]
    return gpd.GeoDataFrame(columns, geometry=boxes, crs="EPSG:4326")


def test_windows_have_the_colour_of_their_split_and_the_legend_counts_them() -> None:
    figure = plot_windows(table(split=["val", "train", "val"], state=["built"] * 3))
    (ax,) = figure.axes
    assert legend_of(ax) == ["train (1)", "val (2)"]
    assert ax.get_title(loc="left") == "3 windows by split"
    blue, orange = color_at(ax, 11.4, 50.25), color_at(ax, 10.4, 50.25)
    assert blue == pytest.approx(0.4 * np.array(category_colors(["train"])["train"]) + 0.6 * 244, abs=2)
    assert color_at(ax, 12.4, 50.25) == orange != blue


def test_the_request_is_an_outline_above(tmp_path: Path) -> None:
    feature = {
        "type": "Feature",
        "geometry": shapely.geometry.mapping(shapely.box(9.5, 49.5, 11.4, 51)),
        "properties": {"oe_start_time": "2024-01-01", "oe_end_time": "2024-02-01"},
    }
    path = tmp_path / "request.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    figure = plot_windows(table(state=["planned", "failed"]), by="state", request=path)
    (ax,) = figure.axes
    assert legend_of(ax) == ["planned (1)", "failed (1)", "request"]
    assert max(color_at(ax, 11.4, 50.7)) < 80
    assert ax.get_xlim()[0] < 9.5


def test_a_column_of_measurements_has_a_colour_bar() -> None:
    figure = plot_windows(table(cloud=[float(i) for i in range(20)]), by="cloud")
    ax, bar = figure.axes
    assert bar.get_ylim() == (0, 19)
    assert color_at(ax, 10.4, 50.25) != color_at(ax, 29.4, 50.25)


def test_windows_on_both_sides_of_the_antimeridian_are_neighbours() -> None:
    windows = gpd.GeoDataFrame(
        {"split": ["train", "val"]},
        geometry=[shapely.box(179.5, 0, 180, 0.5), shapely.box(-180, 0, -179.5, 0.5)],
        crs="EPSG:4326",
    )
    (ax,) = plot_windows(windows).axes
    assert ax.get_xlim()[1] - ax.get_xlim()[0] < 1.2


def test_what_windows_can_not_be_coloured_by() -> None:
    with pytest.raises(UsageError, match=r"no column 'splt'. Expected one of split, cloud"):
        plot_windows(table(split=["val"], cloud=[1]), by="splt")
    with pytest.raises(GeometryError, match="nothing to draw"):
        plot_windows(table(split=["val"]).iloc[:0])


def test_maps_can_be_drawn_beside_each_other() -> None:
    figure = Picture(figsize=(8, 3))
    left, right = figure.subplots(1, 2)
    assert plot_windows(table(split=["val"]), ax=left) is figure
    assert plot_windows(table(split=["train"]), ax=right) is figure
    assert legend_of(left) == ["val (1)"]
    assert legend_of(right) == ["train (1)"]


def test_annotations_have_the_colours_of_the_legend() -> None:
    def annotation(x: float, **labels: float | None) -> LabeledSTGeometry:
        return LabeledSTGeometry(st_geometry=STGeometry(WGS84_PROJECTION, shapely.Point(x, 50), None), labels=labels)

    task = AnnotationTask(
        task_id="t",  # type: ignore[arg-type]
        task_st_geometry=STGeometry(WGS84_PROJECTION, shapely.box(9, 49, 12, 51), None),
        annotations=[annotation(10, cover=1), annotation(11, cover=2), annotation(12, cover=None, other=1)],
    )
    tasks = AnnotationTasks(tasks=[task])
    (ax,) = plot_annotations(tasks, legend=LEGEND).axes
    assert legend_of(ax) == ["water  50%", "forest  50%"]
    assert color_at(ax, 10, 50) == (0, 0, 250)
    assert color_at(ax, 11, 50) == (0, 99, 0)
    assert legend_of(plot_annotations(tasks, label="other").axes[0]) == ["1  100%"]
    with pytest.raises(UsageError, match=r"label 'covr'. Expected one of cover, other"):
        plot_annotations(tasks, label="covr")


def scene(folder: Path, *, nodata: int | None = 255) -> tuple[Dataset, list[Window]]:
    """Two windows of 8 pixels beside each other: band B1 is dark in the first; labels 1 and 2 in different halves."""
    label = raster_layer(["cover"], nodata_value=nodata) if nodata is not None else raster_layer(["cover"])
    dataset = make_dataset(folder, scene=raster_layer(BANDS, source=True), label=label, output=label)
    windows = [add_window(dataset, f"w{i}", (X + 8 * i, Y, X + 8 * i + 8, Y + 8)) for i in range(2)]
    for index, window in enumerate(windows):
        pixels = np.full((3, 8, 8), 100 + 100 * index)
        pixels[:, 0, 0] = 0
        write_layer(dataset, window, "scene", pixels)
        classes = np.full((1, 8, 8), 1 + index)
        classes[:, 4:] = 255
        write_layer(dataset, window, "label", classes)
    return dataset, windows


def place(column: float, row: float) -> tuple[float, float]:
    """A place in pixels of the scene, in metres."""
    return (X + column) * 10, -(Y + row) * 10


def test_neighbours_have_one_stretch_and_nodata_is_transparent(tmp_path: Path) -> None:
    dataset, windows = scene(tmp_path)
    (ax,) = plot_imagery(dataset, windows, view=ImageryView(bands="B1", percentiles=(0, 100))).axes
    assert color_at(ax, *place(4.5, 5.5)) == (0, 0, 0)
    assert color_at(ax, *place(10.5, 5.5)) == (255, 255, 255)
    assert color_at(ax, *place(8.5, 0.5)) == (244, 244, 242)
    assert ax.get_title(loc="left") == "scene: B1"


def test_windows_without_imagery_are_left_out(tmp_path: Path) -> None:
    dataset, windows = scene(tmp_path)
    empty = add_window(dataset, "empty", (X + 100, Y, X + 108, Y + 8))
    (ax,) = plot_imagery(dataset, [*windows, empty]).axes
    assert ax.get_xlim() == ((X) * 10, (X + 16) * 10)
    with pytest.raises(MissingStepError, match="None of the 1 windows has the layer 'scene'"):
        plot_imagery(dataset, [empty])
    with pytest.raises(MissingStepError, match="None of the 1 windows has the layer 'label'"):
        plot_labels(dataset, [empty], LabelView(layer="label"))
    with pytest.raises(MissingStepError, match="No window has both"):
        plot_examples(dataset, [empty], LabelView(layer="label"))
    with pytest.raises(MissingStepError, match="nothing to show yet"):
        plot_window(dataset, empty, labels=LabelView(layer="label"))


@pytest.mark.parametrize("few", [10, 4000])
def test_labels_lie_over_the_imagery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr("olmoearth_nb.maps.static._FEW_PIXELS", few)
    dataset, windows = scene(tmp_path)
    view = ImageryView(bands="B1", percentiles=(0, 100))
    (ax,) = plot_labels(dataset, windows, LabelView(layer="label", legend=LEGEND), view=view).axes
    assert legend_of(ax) == ["water  50%", "forest  50%"]
    red, green, blue = color_at(ax, *place(4.5, 2.5))
    assert red == green == 0
    assert blue > 180
    red, green, blue = color_at(ax, *place(12.5, 2.5))
    assert green > red == blue
    assert color_at(ax, *place(4.5, 6.5)) == (0, 0, 0)
    assert ax.get_title(loc="left") == "label cover of 2 windows"


def test_examples_show_the_classes_in_turn(tmp_path: Path) -> None:
    dataset, (first, second) = scene(tmp_path)
    third = add_window(dataset, "w3", (X + 30, Y, X + 38, Y + 8))
    for layer in ("scene", "label"):
        write_layer(dataset, third, layer, np.ones((3 if layer == "scene" else 1, 8, 8)))
    figure = plot_examples(dataset, [first, third, second], LabelView(layer="label", legend=LEGEND), count=2)
    assert [ax.get_title() for ax in figure.axes] == ["water", "forest"]
    assert legend_of(figure.axes[-1]) == ["water  75%", "forest  25%"]
    titles = [ax.get_title() for ax in plot_examples(dataset, [first, third, second], LabelView(layer="label")).axes]
    assert titles == ["1", "2", "1"]


def test_a_single_labelled_pixel_is_framed(tmp_path: Path) -> None:
    dataset, (window, _) = scene(tmp_path)
    classes = np.full((1, 8, 8), 255)
    classes[0, 2, 5] = 1
    write_layer(dataset, window, "label", classes)
    (ax,) = plot_examples(dataset, [window], LabelView(layer="label", legend=LEGEND), count=1).axes
    assert color_at(ax, *place(5.5, 2.5)) == (0, 0, 250)
    assert min(color_at(ax, *place(5.5, 2.0))) > 200


def test_layers_of_a_window_are_beside_each_other(tmp_path: Path) -> None:
    dataset, (window, other) = scene(tmp_path)
    write_layer(dataset, window, "output", np.full((1, 8, 8), 2))
    labels, prediction = (LabelView(layer=name, legend=LEGEND) for name in ("label", "output"))
    figure = plot_window(dataset, window, labels=labels, prediction=prediction)
    titles = ["scene: B3, B2, B1", "label: cover", "output: cover", "difference", ""]
    assert [ax.get_title(loc="left") for ax in figure.axes] == titles
    _, label, output, difference, shares = figure.axes
    assert color_at(label, *place(4.5, 2.5)) == (0, 0, 250)
    assert color_at(label, *place(4.5, 6.5)) == (244, 244, 242)
    assert color_at(output, *place(4.5, 6.5)) == (0, 99, 0)
    assert difference.get_xlabel() == "0% of 32 pixels agree"
    assert color_at(difference, *place(4.5, 2.5)) == (200, 30, 60)
    assert color_at(difference, *place(4.5, 6.5)) == (244, 244, 242)
    assert [text.get_text() for text in shares.texts][-6:] == ["water", "100%", "–", "forest", "–", "100%"]
    assert len(plot_window(dataset, other, labels=labels, prediction=prediction).axes) == 3


def test_measured_labels_have_a_colour_bar(tmp_path: Path) -> None:
    dataset, windows = scene(tmp_path)
    legend = Legend("RASTER", ranges=(RangeLegend("height", 1, 0.0, 2.0, "gray"),))
    figure = plot_examples(dataset, windows, LabelView(layer="label", legend=legend))
    assert [ax.get_title() for ax in figure.axes[:2]] == ["1", "2"]
    assert figure.axes[2].get_ylim() == (0, 2)


def test_windows_of_two_zones_lie_on_one_map(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path, scene=raster_layer(BANDS, source=True))
    zone_32 = Projection(CRS.from_epsg(32632), 10, -10)
    # Both around 6° east, 45° north: 400 m beside each other.
    west = add_window(dataset, "west", (73_640, -498_800, 73_660, -498_780))
    east = add_window(dataset, "east", (26_400, -498_800, 26_420, -498_780), zone_32)
    for window, value in ((west, 100), (east, 200)):
        write_layer(dataset, window, "scene", np.full((3, 20, 20), value))
    figure = cast(Figure, plot_imagery(dataset, [west, east], view=ImageryView(bands="B1", percentiles=(0, 100))))
    (ax,) = figure.axes
    assert color_at(ax, 736_500, 4_987_900) == (0, 0, 0)
    left, right = ax.get_xlim()
    assert 200 < right - left < 3000
