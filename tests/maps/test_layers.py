from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import scenes
import shapely
from rasterio.transform import from_origin
from shapely.geometry import box, mapping

from olmoearth_nb.errors import UsageError
from olmoearth_nb.geojson import PredictionRequestCollection, read_request
from olmoearth_nb.globe import shape_array
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend, RangeLegend
from olmoearth_nb.maps.features import partitions_layer, request_layer, results_layers, windows_layer
from olmoearth_nb.maps.keys import legend_html
from olmoearth_nb.maps.labels import LabelView
from olmoearth_nb.maps.layers import Key, Layer, LayerKind, PictureLayer, ShapeLayer, arranged, lonlat_bounds
from olmoearth_nb.maps.mercator import to_lonlat
from olmoearth_nb.maps.overlay import Overlay
from olmoearth_nb.maps.pictures import geotiff_layers, imagery_layer, labels_layer, mask_layer
from olmoearth_nb.maps.style import category_colors
from olmoearth_nb.postprocess.mask import Mask

MARKUP = "<img src=x onerror=alert(1)>"
WATER = ClassLegend(
    "category",
    1,
    (ClassEntry(0, "water", (0, 0, 255)), ClassEntry(1, "wood", (0, 128, 0)), ClassEntry(2, MARKUP, (255, 255, 0))),
    confidence_property_name="score",
    confidence_band_index=2,
)
LEGEND = Legend("RASTER", classes=(WATER,))


def table(count: int = 6, *, lon: float = 10.0) -> gpd.GeoDataFrame:
    """Windows side by side from west to east."""
    states = ["planned", "built", "failed"]
    return gpd.GeoDataFrame(
        {
            "name": [f"w{i}" for i in range(count)],
            "group": ["group_partition_0"] * count,
            "partition": ["partition_0"] * count,
            "state": [states[i % 3] for i in range(count)],
            "reason": [MARKUP if i % 3 == 2 else None for i in range(count)],
            "features": list(range(count)),
            "start": pd.to_datetime([datetime(2024, 5, 1, tzinfo=UTC)] * count, utc=True),
        },
        geometry=[box(lon + 0.1 * i, 50, lon + 0.1 * i + 0.1, 50.1) for i in range(count)],
        crs=4326,
    )


def request(tmp_path: Path, shapes: dict[str, shapely.Geometry]) -> PredictionRequestCollection:
    times = {"oe_start_time": scenes.TIMES[0], "oe_end_time": scenes.TIMES[1]}
    features = [(dict(mapping(shape)), {**times, "name": name, "note": MARKUP}) for name, shape in shapes.items()]
    path = tmp_path / "request.geojson"
    path.write_text(json.dumps(scenes.collection(features)))
    return read_request(path)


def picture(kind: LayerKind, *, lon: float = 10.0) -> PictureLayer:
    left, bottom = lon * 111_319.49, 6_446_275.0
    pixels = np.full((2, 2, 4), 255, dtype=np.uint8)
    return PictureLayer(kind=kind, name=kind.name, picture=Overlay(pixels, (left, bottom, left + 9000, bottom + 9000)))


def test_layers_come_in_the_order_of_the_map(tmp_path: Path) -> None:
    asked = request(tmp_path, {"one": box(10, 50, 10.3, 50.1)})
    layers: list[Layer] = [
        windows_layer(table()),
        partitions_layer({"partition_0": asked}, {"partition_0": 6}),
        request_layer(asked),
        *(picture(kind) for kind in reversed(list(LayerKind)[:5])),
    ]
    assert [layer.kind.name.lower() for layer in arranged(layers)] == [
        "imagery", "labels", "predictions", "confidence", "mask", "request", "partitions", "windows",
    ]  # fmt: skip


def test_frames_above_a_picture_leave_its_colours_alone() -> None:
    (alone,) = arranged([windows_layer(table())])
    _, above = arranged([windows_layer(table()), picture(LayerKind.LABELS)])
    assert isinstance(alone, ShapeLayer)
    assert isinstance(above, ShapeLayer)
    assert (alone.fill > 0, above.fill) == (True, 0.0)


def test_all_layers_lie_on_one_side_of_the_antimeridian() -> None:
    east, west = windows_layer(table(2, lon=179.7)), picture(LayerKind.IMAGERY, lon=-179.9)
    bounds = lonlat_bounds(arranged([east, west]))
    assert bounds is not None
    assert bounds[0] == pytest.approx(179.7)
    assert bounds[2] == pytest.approx(180.1 + 9000 / 111_319.49)


def test_windows_have_the_colours_of_their_state_or_of_any_column() -> None:
    layer = windows_layer(table())
    states = category_colors(["planned", "built", "failed"])
    assert layer.colors == [states[state] for state in table()["state"]]
    assert layer.key == Key("state", tuple((f"{name} (2)", states[name]) for name in ("planned", "built", "failed")))
    by_number = windows_layer(table(20), by="features")
    assert by_number.key is not None
    assert by_number.key.scale == RangeLegend("features", None, 0.0, 19.0)
    assert len(set(by_number.colors)) == 20
    with pytest.raises(UsageError, match="no column 'nothing'"):
        windows_layer(table(), by="nothing")


def test_what_is_said_of_a_window_is_text() -> None:
    layer = windows_layer(table())
    said = layer.describe(2)
    assert said.startswith("<b>w2</b>")
    assert "state: failed" in said
    assert "features: 2" in said
    assert "start: 2024-05-01" in said
    assert "reason: &lt;img src=x onerror=alert(1)&gt;" in said
    assert "reason" not in layer.describe(0)


def test_no_text_of_data_is_markup_anywhere(tmp_path: Path) -> None:
    asked = request(tmp_path, {MARKUP: box(10, 50, 10.3, 50.1)})
    classed = geojson_result(tmp_path, [MARKUP, "water"])
    layers = [request_layer(asked), *results_layers(classed, LEGEND), windows_layer(table(), by="reason")]
    for layer in layers:
        texts = [layer.describe(index) for index in range(len(layer.shapes))] + [json.dumps(layer.geojson())]
        assert not any("<img" in text for text in texts)
    shown = legend_html(layers)
    assert "<img" not in shown
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown


def geojson_result(tmp_path: Path, values: list[str]) -> Path:
    features = [
        (dict(mapping(box(i, 0, i + 1, 1))), {"category": value, "score": 0.25 * i, "result": MARKUP})
        for i, value in enumerate(values)
    ]
    path = tmp_path / "result.geojson"
    path.write_text(json.dumps(scenes.collection(features)))
    return path


def test_vector_results_have_classes_and_confidence(tmp_path: Path) -> None:
    classes, confidence = results_layers(geojson_result(tmp_path, ["water", "1", "5"]), LEGEND)
    assert classes.colors[:2] == [(0, 0, 255), (0, 128, 0)]
    assert classes.colors[2] not in {(0, 0, 255), (0, 128, 0), (255, 255, 0)}
    assert (classes.kind, confidence.kind) == (LayerKind.PREDICTIONS, LayerKind.CONFIDENCE)
    assert (classes.shown, confidence.shown) == (True, False)
    assert confidence.key is not None
    assert confidence.key.scale == RangeLegend("score", None, 0.0, 1.0)
    assert confidence.colors == [RangeLegend("score", None, 0.0, 1.0).color_of(0.25 * i) for i in range(3)]
    with pytest.raises(UsageError, match="no property 'height'"):
        results_layers(geojson_result(tmp_path, ["water"]), LEGEND, field="height")


def test_partitions_can_be_told_apart(tmp_path: Path) -> None:
    asked = {f"partition_{i}": request(tmp_path, {"a": box(i, 0, i + 1, 1), "b": box(i, 2, i + 1, 3)})
             for i in range(30)}  # fmt: skip
    layer = partitions_layer(asked, dict.fromkeys(asked, 4))
    assert len(set(layer.colors)) == 30
    assert layer.labels == tuple(asked)
    found = layer.find(7.5, 2.5)
    assert found == 7
    assert layer.describe(7) == "<b>partition_7</b><br>features: 2<br>windows: 4"


def test_a_place_finds_its_window() -> None:
    layer = windows_layer(table())
    assert [layer.find(10.05 + 0.1 * i, 50.05) for i in range(6)] == list(range(6))
    assert layer.find(370.25, 50.05) == 2
    assert layer.find(9.99, 50.05) is None
    assert layer.find(9.99, 50.05, reach=0.02) == 0
    assert layer.find(9.99, 50.05, reach=0.005) is None
    overlapping = ShapeLayer(
        kind=LayerKind.WINDOWS,
        name="two",
        shapes=shape_array([box(0, 0, 4, 4), box(1, 1, 5, 5)]),
        colors=[(0, 0, 0)] * 2,
    )
    assert (overlapping.find(1.5, 1.5), overlapping.find(3.5, 3.5)) == (0, 1)


def test_few_windows_are_outlines_and_many_a_picture() -> None:
    few = windows_layer(table(50))
    collection = few.geojson()
    assert [feature["properties"]["style"]["color"] for feature in collection["features"][:2]] == ["#8c8c8c", "#56b4e9"]
    assert shapely.geometry.shape(collection["features"][1]["geometry"]).equals(table().geometry[1])
    many = windows_layer(grid_table(70))
    assert many.outlines is None
    assert many.geojson()["features"] == []
    assert max(many.picture.pixels.shape) <= 1600
    for index in (0, 69, 35 * 70 + 20, 4899):
        middle = many.shapes[index].centroid
        assert tuple(pixel_at(many.picture, middle.x, middle.y)[:3]) == many.colors[index]


def grid_table(side: int) -> gpd.GeoDataFrame:
    cells = [box(x / 100, 60 + y / 100, x / 100 + 0.01, 60 + y / 100 + 0.01) for y in range(side) for x in range(side)]
    names = [f"w{i}" for i in range(side * side)]
    states = [("planned", "built", "failed")[i * i % 3] for i in range(side * side)]
    return gpd.GeoDataFrame({"name": names, "state": states}, geometry=cells, crs=4326)


def pixel_at(shown: Overlay, lon: float, lat: float) -> list[int]:
    (south, west), (north, east) = shown.corners
    height, width = shown.pixels.shape[:2]
    edges = np.linspace(shown.bounds[3], shown.bounds[1], height + 1)
    lats = to_lonlat(np.column_stack([np.zeros_like(edges), edges]))[:, 1]
    row, column = int(np.searchsorted(-lats, -lat)) - 1, int((lon - west) / (east - west) * width)
    assert south < lat < north
    return shown.pixels[row, column].tolist()


def test_windows_too_small_to_see_are_dots_in_the_picture() -> None:
    spots = [box(x, y, x + 1e-4, y + 1e-4) for x in np.linspace(0, 9, 70) for y in np.linspace(0, 9, 70)]
    layer = windows_layer(gpd.GeoDataFrame({"group": ["g"] * 4900}, geometry=spots, crs=4326))
    for index in (0, 2450, 4899):
        spot = layer.shapes[index].centroid
        assert pixel_at(layer.picture, spot.x, spot.y)[3] > 200
    assert (layer.picture.pixels[..., 3] > 0).sum() == 4900 * 9


def test_an_outline_with_too_many_vertices_is_thinned(tmp_path: Path) -> None:
    circle = shapely.Point(10, 50).buffer(1, quad_segs=20_000)
    layer = request_layer(request(tmp_path, {"circle": circle}))
    assert layer.outlines is not None
    assert 50 < shapely.get_num_coordinates(layer.outlines).sum() < 15_000
    assert layer.outlines[0].hausdorff_distance(circle) < 0.002
    assert layer.find(10.9999, 50) == 0


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> scenes.Dataset:
    dataset = scenes.write_dataset(tmp_path_factory.mktemp("data"), scenes.raster_dataset_config())
    for x in (0, 32):
        scenes.add_window(dataset, f"w{x}", (x, 0, x + 32, 32), layers=("scene", "label"))
    scenes.add_window(dataset, "bare", (64, 0, 96, 32), layers=())
    return dataset


def test_rasters_of_windows_are_layers(dataset: scenes.Dataset) -> None:
    windows = dataset.load_windows()
    labels = labels_layer(dataset, windows, LabelView(layer="label", legend=LEGEND))
    assert isinstance(labels, PictureLayer)
    assert labels.key is not None
    assert labels.key.entries == (("water", (0, 0, 255)), ("wood", (0, 128, 0)), (MARKUP, (255, 255, 0)))
    spot = scenes.pixel_shape(shapely.Point(44.5, 12.5))
    assert pixel_at(labels.picture, spot.x, spot.y)[:3] == list(WATER.color_of(scenes.class_map()[12, 44]))
    shown = imagery_layer(dataset, windows)
    assert shown is not None
    assert shown.name == "scene: B3, B2, B1"
    bare = [window for window in windows if window.name == "bare"]
    assert imagery_layer(dataset, bare) is None
    assert labels_layer(dataset, bare, LabelView(layer="label")) is None


def test_vector_labels_are_shapes_at_their_places(tmp_path: Path) -> None:
    dataset = scenes.write_dataset(tmp_path, scenes.vector_dataset_config())
    windows = [scenes.add_window(dataset, f"w{x}", (x, 0, x + 4, 4), layers=("label",)) for x in (0, 40)]
    layer = labels_layer(dataset, windows, LabelView(layer="label", legend=LEGEND))
    assert isinstance(layer, ShapeLayer)
    wanted = scenes.pixel_shape(shapely.Point(40.5, 0.5))
    assert layer.shapes[1].distance(wanted) < 1e-7
    assert layer.colors == [WATER.color_of(scenes.class_map()[0, x]) for x in (0, 40)]


def write_result(path: Path, *planes: np.ndarray) -> Path:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=planes[0].shape[1],
        height=planes[0].shape[0],
        count=len(planes),
        dtype=planes[0].dtype,
        nodata=255,
        crs="EPSG:32631",
        transform=from_origin(600_000, 5_000_000, 10, 10),
    ) as file:
        file.write(np.stack(planes))
    return path


def test_raster_results_have_classes_and_confidence(tmp_path: Path) -> None:
    classes = scenes.class_map()
    score = np.linspace(0, 100, classes.size).reshape(classes.shape).astype(np.uint8)
    path = write_result(tmp_path / "result.tif", classes, score)
    result, confidence = geotiff_layers([path], LEGEND)
    assert (result.kind, confidence.kind, confidence.shown) == (LayerKind.PREDICTIONS, LayerKind.CONFIDENCE, False)
    assert isinstance(result, PictureLayer)
    assert result.key is not None
    assert result.key.title == "category"
    spot = scenes.pixel_shape(shapely.Point(100.5, 20.5))
    assert pixel_at(result.picture, spot.x, spot.y) == [*WATER.color_of(classes[20, 100]), 255]
    assert confidence.key is not None
    assert confidence.key.scale == RangeLegend("confidence", 2, 0.0, 100.0)
    with pytest.raises(UsageError, match="no field 'height'"):
        geotiff_layers([path], LEGEND, field="height")


def test_a_file_without_legend_is_shown_by_its_values_its_colour_table_or_as_imagery(tmp_path: Path) -> None:
    path = write_result(tmp_path / "plain.tif", scenes.class_map())
    (plain,) = geotiff_layers([path])
    assert plain.key is not None
    assert [label for label, _ in plain.key.entries] == ["0", "1", "2"]
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (1, 2, 3, 255), 1: (40, 50, 60, 255), 2: (7, 8, 9, 255)})
    (colored,) = geotiff_layers([path])
    assert colored.key is not None
    assert dict(colored.key.entries)["1"] == (40, 50, 60)
    (photo,) = geotiff_layers([scenes.write_scene(tmp_path)])
    assert photo.kind is LayerKind.IMAGERY


def test_a_mask_covers_what_is_shown_and_a_margin(tmp_path: Path) -> None:
    path = tmp_path / "mask.geojson"
    path.write_text(json.dumps(scenes.collection([(dict(mapping(box(5.0, 50.0, 6.0, 51.0))), {})])))
    layer = mask_layer(Mask.open(path), (5.0, 50.0, 7.0, 51.0))
    west, south, east, north = layer.bounds
    assert west < 5.0 < 7.0 < east
    assert south < 50.0 < 51.0 < north
    assert pixel_at(layer.picture, 5.5, 50.5)[3] == 0
    assert pixel_at(layer.picture, 6.5, 50.5)[3] > 100


def test_the_legend_has_classes_colour_bars_and_notes() -> None:
    entries = tuple((f"class {i}", (i, i, i)) for i in range(60))
    kinds = [LayerKind.LABELS, LayerKind.PREDICTIONS]
    keys = [Key("many", entries), Key("height", scale=RangeLegend("height", 1, -5.0, 12.5, "gray"))]
    layers = [
        PictureLayer(
            kind=kind, name="x", picture=picture(kind).picture, key=key, note="a < b" if key is keys[0] else ""
        )
        for kind, key in zip(kinds, keys, strict=True)
    ]
    shown = legend_html(layers)
    assert shown.index("height") < shown.index("many")
    assert shown.count("class ") == 60
    assert "#000000," in shown
    assert "<span>-5</span><span>12.5</span>" in shown
    assert "a &lt; b" in shown
    assert legend_html([picture(LayerKind.IMAGERY)]) == ""
