from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import ipywidgets
import numpy as np
import pytest
import rasterio
import scenes
from ipywidgets.widgets import widget as widget_module
from PIL import Image
from rasterio.transform import from_origin
from rslearn.utils.raster_array import RasterArray
from rslearn.utils.raster_format import GeotiffRasterFormat
from shapely.geometry import box, mapping

from olmoearth_nb import OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner, preview
from olmoearth_nb.errors import GeometryError, MissingDependencyError, StaleScratchError, UsageError
from olmoearth_nb.geojson import read_request
from olmoearth_nb.legend import ClassLegend, Legend
from olmoearth_nb.maps.features import windows_layer
from olmoearth_nb.maps.layers import LayerKind, ShapeLayer
from olmoearth_nb.maps.preview import build_map
from olmoearth_nb.maps.things import layers_of
from olmoearth_nb.maps.view import MapView
from olmoearth_nb.store.windows import as_window

MARKUP = "<img src=x onerror=alert(1)>"


def state_bytes(widgets: set[str]) -> int:
    """What is sent to the browser for widgets."""
    states = [widget_module._instances[key].get_state() for key in widgets]
    return sum(len(json.dumps(state, default=str)) for state in states)


def grid(side: int) -> gpd.GeoDataFrame:
    cells = [box(x / 50, 60 + y / 50, x / 50 + 0.02, 60.02 + y / 50) for y in range(side) for x in range(side)]
    return gpd.GeoDataFrame(
        {
            "name": [f"partition_{i % 7}_{i:020x}" for i in range(side * side)],
            "group": [f"group_partition_{i % 7}" for i in range(side * side)],
            "state": ["planned", "built"] * (side * side // 2) + ["failed"] * (side * side % 2),
        },
        geometry=cells,
        crs=4326,
    )


@pytest.fixture
def view() -> Iterator[MapView]:
    view = preview(grid(5))
    yield view
    view.close()


def click(view: MapView, lon: float, lat: float, kind: str = "click") -> None:
    """What ipyleaflet says of a click on the map, a polygon on it or not."""
    message = {"event": "interaction", "type": kind, "coordinates": [lat, lon]}
    view.map._handle_leaflet_event(view.map, message, [])


def test_the_map_looks_at_its_layers_before_it_is_displayed(view: MapView) -> None:
    assert view.map.center == pytest.approx([60.05, 0.05], abs=1e-4)
    # 0.1 degrees of latitude at 60 north are 22.3 km of the map: 413 pixels at zoom 11.5, at 11.75 more than there are.
    assert view.map.zoom == 11.5
    assert [layer.name for layer in view.map.layers] == ["OpenStreetMap", "windows (25)", "selected window"]


@pytest.mark.parametrize("side", [5, 80])
def test_a_click_selects_its_window_as_outline_and_as_picture(side: int) -> None:
    table = grid(side)
    view = preview(table)
    kinds = {5: "GeoJSON", 80: "ImageOverlay"}
    assert type(view.map.layers[1]).__name__ == kinds[side]
    heard: list[str | None] = []
    view.on_select(heard.append)
    for index in (0, side + 3, side * side - 1):
        middle = table.geometry[index].centroid
        click(view, middle.x, middle.y)
        assert view.selected == table["name"][index]
    assert heard == list(table["name"][[0, side + 3, side * side - 1]])
    (outline,) = view.map.layers[-1].data["features"]
    assert np.allclose(np.array(outline["geometry"]["coordinates"][0]).max(axis=0), [side / 50, 60 + side / 50])
    click(view, 170.0, -10.0)
    assert view.selected == table["name"].iloc[-1]
    view.close()


def test_selecting_by_code_is_selecting(view: MapView) -> None:
    name = grid(5)["name"][7]
    view.selected = name
    assert len(view.map.layers[-1].data["features"]) == 1
    view.selected = None
    assert view.map.layers[-1].data["features"] == []
    with pytest.raises(UsageError, match="no such window on the map"):
        view.selected = "w99"


def test_what_a_callback_raises_is_shown_under_the_map(view: MapView) -> None:
    def fails(name: str | None) -> None:
        raise ValueError(f"no luck with {MARKUP}")

    heard: list[str | None] = []
    view.on_select(fails)
    view.on_select(heard.append)
    view.selected = grid(5)["name"][3]
    root = view.root
    assert root.children[0] is view.map
    assert "ValueError: no luck with &lt;img" in root.children[1].value
    assert heard == [grid(5)["name"][3]]


def test_the_mouse_tells_what_is_below_it(view: MapView) -> None:
    info = view._canvas.info
    click(view, 0.05, 60.05, kind="mousemove")
    assert grid(5)["name"][12] in info.value
    assert "state: planned" in info.value
    assert view.selected is None
    view.map.layers[1].visible = False
    click(view, 0.03, 60.05, kind="mousemove")
    assert info.value == ""


def test_names_that_several_groups_have_are_told_apart() -> None:
    table = grid(2).assign(name="w")
    view = preview(table.assign(group=["a", "b", "c", "d"]))
    view.click(0.03, 60.01)
    assert view.selected == "b/w"
    view.close()


@pytest.mark.parametrize(("side", "most"), [(50, 1_000_000), (100, 1_000_000)])
def test_thousands_of_windows_need_little(side: int, most: int) -> None:
    layer = windows_layer(grid(side))
    before = set(widget_module._instances)
    view = build_map([layer])
    assert 10_000 < state_bytes(set(widget_module._instances) - before) < most
    view.close()


def test_closing_frees_all_widgets() -> None:
    before = set(widget_module._instances)
    view = preview(grid(3))
    view.selected = grid(3)["name"][1]
    view._repr_mimebundle_()
    assert len(widget_module._instances) > len(before) + 10
    view.close()
    assert set(widget_module._instances) == before


def test_other_layers_take_the_place_of_those_before_and_the_map_stays() -> None:
    view = preview(grid(5))
    made, map_, centre = set(widget_module._instances), view.map, view.map.center
    view.selected = grid(5)["name"][3]
    for _ in range(3):
        view.show([windows_layer(grid(5)[:4])])
    assert view.map is map_
    assert view.map.center == centre
    assert view.selected == grid(5)["name"][3]
    assert [layer.name for layer in view.layers] == ["windows (4)"]
    assert len(widget_module._instances) == len(made)
    view.show([windows_layer(grid(5)[:2])], fit=True)
    assert view.map.center != centre
    assert view.selected is None
    view.show([windows_layer(grid(5)[:0])])
    view.click(0.03, 60.01)
    assert view.selected is None
    view.close()


def test_one_output_has_three_faces(view: MapView) -> None:
    bundle = view._repr_mimebundle_()
    assert list(bundle) == ["text/plain", "image/png", "application/vnd.jupyter.widget-view+json"]
    assert bundle["text/plain"] == "Map of windows (25)"
    root = bundle["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert isinstance(widget_module._instances[root], ipywidgets.VBox)
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).convert("RGB"))
    # The colour of planned windows, for which none of the map's own greys stands in.
    assert (drawn == (140, 140, 140)).all(axis=-1).sum() > 100
    assert len(bundle["image/png"]) < 200_000
    assert list(view._repr_mimebundle_(exclude={"image/png"})) == ["text/plain", list(bundle)[2]]


def test_a_lonboard_map_has_every_outline_in_its_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    view = preview(grid(100))
    (layer,) = view.lonboard().layers
    assert layer.table.num_rows == 10_000
    assert layer.get_line_color.chunk(0)[0].as_py() == [140, 140, 140]
    monkeypatch.setitem(sys.modules, "lonboard", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'olmoearth-nb\[lonboard\]'"):
        view.lonboard()
    view.close()


def test_a_table_in_metres_lies_where_it_is() -> None:
    (shown,) = layers_of(grid(3).to_crs("EPSG:32631"))
    assert isinstance(shown, ShapeLayer)
    bounds = np.array([one.bounds for one in shown.shapes])
    np.testing.assert_allclose(bounds, grid(3).geometry.bounds.to_numpy(), atol=1e-5)


def test_things_without_a_place_are_refused() -> None:
    with pytest.raises(GeometryError, match="nothing to draw"):
        build_map([])
    with pytest.raises(UsageError, match=r"can't be shown on a map.*found int"):
        preview(3)
    with pytest.raises(UsageError, match=r"found \.csv"):
        preview("table.csv")


def test_without_leafmap_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "leafmap", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'olmoearth-nb\[notebook\]'"):
        preview(grid(2))


def test_hostile_names_reach_the_browser_as_text(tmp_path: Path) -> None:
    times = {"oe_start_time": scenes.TIMES[0], "oe_end_time": scenes.TIMES[1]}
    path = tmp_path / "request.geojson"
    shape = dict(mapping(box(10, 50, 11, 51)))
    path.write_text(json.dumps(scenes.collection([(shape, {**times, "name": MARKUP, MARKUP: MARKUP})])))
    result = tmp_path / "result.geojson"
    result.write_text(json.dumps(scenes.collection([(shape, {MARKUP: MARKUP})])))
    before = set(widget_module._instances)
    views = [preview(path), preview(result), preview(read_request(path))]
    for view in views:
        view.hover(10.5, 50.5)
        assert "&lt;img" in view._canvas.info.value
    for key in set(widget_module._instances) - before:
        widget = widget_module._instances[key]
        if not isinstance(widget, ipywidgets.Checkbox):  # whose description is text
            assert "<img" not in json.dumps(widget.get_state(), default=str)
        else:
            assert not widget.description_allow_html
    for view in views:
        view.close()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.make_raster_project(tmp_path_factory.mktemp("maps") / "project")


@pytest.fixture(scope="module")
def predicting(project: Path) -> OlmoEarthRunPredictRunner:
    """A scratch whose windows are built and predicted with the truth, but for one."""
    runner = OlmoEarthRunPredictRunner(project, project.parent / "scratch", progress=False)
    runner.partition()
    runner.build_dataset()
    truth = np.full((256, 256), 255, dtype=np.uint8)
    truth[64:192, 64:192] = scenes.class_map()
    for spec in list(runner.scratch.specs(runner.partition_ids()).values())[1:]:
        window = as_window(runner.scratch.dataset, spec)
        x, y = (spec.bounds[axis] - scenes.CORNER[axis] + 64 for axis in (0, 1))
        pixels = RasterArray(chw_array=truth[None, y : y + 32, x : x + 32])
        with window.data.open_layer_writer("output") as writer:
            writer.write_raster(["output"], GeotiffRasterFormat(), window.projection, window.bounds, pixels)
        window.mark_layer_completed("output")
    return runner


def kinds(view: MapView) -> list[str]:
    return [layer.kind.name.lower() for layer in view.layers]


def test_a_runner_shows_what_it_has_by_now(project: Path, predicting: OlmoEarthRunPredictRunner) -> None:
    fresh = OlmoEarthRunPredictRunner(project, project.parent / "nothing yet", progress=False).map()
    assert kinds(fresh) == ["request"]
    view = predicting.map()
    assert kinds(view) == ["imagery", "predictions", "request", "partitions", "windows"]
    assert view.layers[-1].key is not None
    assert [label for label, _ in view.layers[-1].key.entries] == ["built (1)", "predicted (15)"]
    panes = {layer.name.split(":")[0]: getattr(layer, "pane", "") for layer in view.map.layers}
    order = [view.map.panes[panes[name]]["zIndex"] for name in ("scene", "output")]
    # Tiles lie at 200, shapes at 400.
    assert 200 < order[0] < order[1] < 400
    switches = [box_.children[0] if hasattr(box_, "children") else box_ for box_ in switch_rows(view)]
    names = [layer.name for layer in reversed(view.layers)]
    assert [switch.description for switch in switches] == [*names, "base map"]
    for one in (fresh, view):
        one.close()


def switch_rows(view: MapView) -> list[Any]:
    panel = next(
        control.widget for control in view.map.controls if isinstance(getattr(control, "widget", None), ipywidgets.VBox)
    )
    accordion = panel.children[0]
    return list(accordion.children[0].children)


def test_a_runner_map_takes_partitions_columns_and_bands(predicting: OlmoEarthRunPredictRunner) -> None:
    view = predicting.map("partition_1", color_by="features", bands="B2", colormap="magma")
    assert view.layers[0].name == "scene: B2"
    assert view.layers[-2].name == "partitions (1)"
    assert view.layers[-1].key is not None
    assert view.layers[-1].key.title == "features"
    view.close()
    with pytest.raises(UsageError, match="no column 'split'"):
        predicting.map(color_by="split")
    with pytest.raises(UsageError, match="no such partition"):
        predicting.map("partition_99")


def test_combined_results_and_the_mask_are_shown(project: Path, predicting: OlmoEarthRunPredictRunner) -> None:
    mask = project.parent / "mask.geojson"
    mask.write_text(json.dumps(scenes.collection([(scenes.pixel_box(0, 0, 128, 40), {})])))
    masked = OlmoEarthRunPredictRunner(project, project.parent / "masked", mask_path=mask, progress=False).map()
    assert kinds(masked) == ["mask", "request"]
    masked.close()
    with pytest.raises(StaleScratchError, match="mask"):
        OlmoEarthRunPredictRunner(project, predicting.workspace.root, mask_path=mask, progress=False).map()
    path = predicting.workspace.rasters / "EPSG_32631.tif"
    path.parent.mkdir(parents=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=128, height=128, count=1, dtype="uint8", nodata=255,
        crs=scenes.CRS_NAME, transform=from_origin(*scenes.ORIGIN, 10, 10),
    ) as file:  # fmt: skip
        file.write(scenes.class_map(), 1)
    view = predicting.map()
    assert [layer.name for layer in view.layers][1] == "prediction: category"
    view.close()
    path.unlink()
    path.parent.rmdir()


def test_a_fine_tuning_shows_annotations_then_windows(project: Path) -> None:
    runner = OlmoEarthRunFineTuneRunner(project, project.parent / "tuning", progress=False)
    before = runner.map()
    assert kinds(before) == ["labels"]
    assert before.layers[0].name == "annotations (256)"
    runner.prepare_labeled_windows()
    labelled = runner.map()
    assert kinds(labelled) == ["labels", "windows"]
    assert labelled.layers[-1].key is not None
    assert [label.split()[0] for label, _ in labelled.layers[-1].key.entries] == ["train", "val", "test"]
    for view in (before, labelled):
        view.close()


def test_single_things(predicting: OlmoEarthRunPredictRunner) -> None:
    plan = predicting.plan()
    window = as_window(predicting.scratch.dataset, plan.windows[3])
    shown = {
        "plan": (preview(plan), ["partitions", "windows"]),
        "partition": (preview(plan.partitions[0]), ["partitions", "windows"]),
        "partitions": (preview(list(plan.partitions)), ["partitions", "windows"]),
        "request": (preview(str(predicting.scratch.request_path)), ["request"]),
        "window": (preview(window, legend=predicting.project.legend), ["imagery", "predictions", "windows"]),
        "scene": (preview(predicting.project.path / "scenes" / "scene.tif"), ["imagery"]),
    }
    for view, expected in shown.values():
        assert kinds(view) == expected
    assert len(shown["partitions"][0]._names) == len(plan.windows)
    assert shown["window"][0].layers[1].key is not None
    assert {label for label, _ in shown["window"][0].layers[1].key.entries} <= set(scenes.CLASSES)
    for view, _ in shown.values():
        view.close()


def test_hidden_layers_are_off_but_there(tmp_path: Path) -> None:
    result = tmp_path / "result.geojson"
    properties = {"category": "water", "score": 0.5}
    result.write_text(json.dumps(scenes.collection([(dict(mapping(box(10, 50, 11, 51))), properties)])))
    view = preview(result, legend=Legend("VECTOR", classes=(ClassLegend("category", None, (), "score"),)))
    assert kinds(view) == ["predictions", "confidence"]
    off = view.map.layers[1 + kinds(view).index("confidence")]
    assert off.visible is False
    assert switch_rows(view)[0].children[0].value is False
    assert view.layers[1].kind is LayerKind.CONFIDENCE
    view.close()
