"""``preview()`` of single things, as it is on the screen."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from browser.harness import Lab, Notebook, near
from playwright.sync_api import expect
from rasterio.crs import CRS
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry

pytestmark = pytest.mark.browser

SELECTED = (255, 0, 200)
MARKUP = "<img src=x onerror=window.hacked=1>"

GRID = """
import time
import geopandas as gpd
from shapely.geometry import box
from olmoearth_nb import preview

SIDE = {side}
cells = [box(x / 50, 60 + y / 50, x / 50 + 0.02, 60.02 + y / 50) for y in range(SIDE) for x in range(SIDE)]
table = gpd.GeoDataFrame(
    {{
        "name": [f"window_{{i}}" for i in range(len(cells))],
        "group": [f"group_partition_{{i % 7}}" for i in range(len(cells))],
        "state": ["planned", "built", "predicted", "failed", "built"] * (len(cells) // 5),
    }},
    geometry=cells,
    crs=4326,
)
warm = preview(table[:1])
start = time.perf_counter()
view = preview(table)
view._repr_mimebundle_()
seconds = time.perf_counter() - start
view
"""


@pytest.mark.parametrize("side", [5, 100])
def test_windows(lab: Lab, side: int) -> None:
    notebook = lab.open([GRID.format(side=side)])
    seen = notebook.map(0)
    seen.shot("map")
    seen.hover(0.05, 60.05)
    name = f"window_{side * 2 + 2}"
    expect(seen.element.locator(".leaflet-bottom.leaflet-left")).to_contain_text(name)
    seen.click(0.05, 60.05)
    assert notebook.run("print(view.selected)") == name
    pink = near(seen.shot("selected"), SELECTED)
    rows, columns = np.nonzero(pink)
    ((x, y),) = seen.places([(0.05, 60.05)])
    assert columns.mean() == pytest.approx(x, abs=1.5)
    assert rows.mean() == pytest.approx(y, abs=1.5)
    # Selected by code, it shows too, and what was selected before does not.
    last = notebook.run("view.selected = table['name'].iloc[-1]\nprint(*table.geometry.iloc[-1].centroid.coords[0])")
    ((x, y),) = seen.places([tuple(map(float, last.split()))])
    rows, columns = np.nonzero(near(seen.shot(), SELECTED))
    assert columns.mean() == pytest.approx(x, abs=1.5)
    assert rows.mean() == pytest.approx(y, abs=1.5)
    assert float(notebook.run("print(seconds)")) < 4  # 2 s on a machine that does nothing else


# Six degrees west of the middle of its zone a square of UTM is turned by more than five degrees.
ARCTIC = Projection(CRS.from_epsg(32633), 10, -10)
BOX = (38_000, -783_000, 38_256, -782_744)
BLUE = (20, 40, 230)
NORTH = """
from pathlib import Path
import numpy as np
import drawings
from browser.test_preview import ARCTIC, BLUE, BOX
from olmoearth_nb import preview
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend

dataset = drawings.make_dataset(Path("arctic"), output=drawings.raster_layer(["output"]))
window = drawings.add_window(dataset, "north", BOX, ARCTIC)
drawings.write_layer(dataset, window, "output", np.ones((1, 256, 256), np.uint16))
legend = Legend("RASTER", classes=(ClassLegend("output", 1, (ClassEntry(1, "snow", BLUE),)),))
view = preview(window, legend=legend)
view
"""


# Of a shape without its stroke, in pixels of the map, which has not been panned. Leaflet rounds them.
CORNERS = """
shape => {
  const { x, y, width, height } = shape.getBBox();
  return [x, y, x + width, y + height];
}
"""


def test_a_raster_in_the_north_lies_where_it_should(lab: Lab) -> None:
    notebook = lab.open([NORTH])
    seen = notebook.map(0)
    corners = STGeometry(ARCTIC, shapely.box(*BOX), None).to_projection(WGS84_PROJECTION).shp
    assert 69 < corners.centroid.y < 71
    for zoom in ("", "view.map.zoom -= 0.25", "view.map.zoom -= 1"):
        if zoom:
            notebook.run(zoom)
        shape = shapely.Polygon(seen.places(list(corners.exterior.coords)))
        panel = seen.element.locator(".olmoearth-panel")
        panel.get_by_text("Layers", exact=True).click()
        panel.get_by_label("windows").set_checked(False)
        raster = seen.shot(f"raster{zoom[13:]}")
        left, top, right, bottom = shape.bounds
        pixels = raster[int(top) - 3 : int(bottom) + 4, int(left) - 3 : int(right) + 4].astype(float)
        ground, ink = np.array([221.0, 221, 221]), np.array(BLUE, dtype=float)
        # How much of each pixel of the screen is covered.
        cover = np.clip(((pixels - ground) @ (ink - ground)) / ((ink - ground) @ (ink - ground)), 0, 1)
        y, x = np.mgrid[int(top) - 3 : int(bottom) + 4, int(left) - 3 : int(right) + 4]
        assert (cover * (x + 0.5)).sum() / cover.sum() == pytest.approx(shape.centroid.x, abs=0.5)
        assert (cover * (y + 0.5)).sum() / cover.sum() == pytest.approx(shape.centroid.y, abs=0.5)
        assert np.sqrt(cover.sum()) == pytest.approx(np.sqrt(shape.area), abs=0.5)
        # Each corner alone, as far as whole pixels of the screen can tell.
        rows, columns = np.nonzero(cover > 0.5)
        found = [columns.min() + x[0, 0], rows.min() + y[0, 0], columns.max() + 1 + x[0, 0], rows.max() + 1 + y[0, 0]]
        assert found == pytest.approx(list(shape.bounds), abs=1.0)
        # The outline of the same window lies around it.
        panel.get_by_label("windows").set_checked(True)
        panel.get_by_text("Layers", exact=True).click()
        seen.settle()
        outline = seen.element.locator(".leaflet-overlay-pane path").first.evaluate(CORNERS)
        assert outline == pytest.approx(list(shape.bounds), abs=0.55)


MANY = """
from pathlib import Path
import numpy as np
from drawings import write_geotiff
from olmoearth_nb import preview
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend

values = np.kron(np.arange(60).reshape(6, 10), np.ones((16, 16))).astype(np.uint8)
path = write_geotiff(Path("many.tif"), values[None])
entries = tuple(ClassEntry(i, f"class {i}: one of sixty", (4 * i, 255 - 4 * i, 40 * (i % 6))) for i in range(60))
view = preview(path, legend=Legend("RASTER", classes=(ClassLegend("kind", 1, entries),)))
view
"""


def test_a_legend_of_sixty_classes_scrolls_and_leaves_the_map_free(lab: Lab) -> None:
    notebook = lab.open([MANY])
    seen = notebook.map(0)
    pixels = seen.shot("top")
    outer, panel = seen.element.bounding_box(), seen.element.locator(".olmoearth-panel").bounding_box()
    assert outer is not None
    assert panel is not None
    assert panel["y"] + panel["height"] < outer["y"] + outer["height"] - 20
    assert panel["width"] < outer["width"] / 4
    # All sixty colours are to be seen beside it.
    free = pixels[:, : int(panel["x"] - outer["x"])]
    for value in range(60):
        assert near(free, (4 * value, 255 - 4 * value, 40 * (value % 6)), 3).sum() > 200, value
    last = seen.element.get_by_text("class 59: one of sixty")
    notebook.page.mouse.move(panel["x"] + 60, panel["y"] + panel["height"] / 2)
    zoom = seen.looks_at()
    notebook.page.mouse.move(panel["x"] + 60, panel["y"] + panel["height"] / 2)
    for _ in range(12):
        notebook.page.mouse.wheel(0, 300)
        notebook.page.wait_for_timeout(50)
    seen.shot("end")
    box = last.bounding_box()
    assert box is not None
    assert panel["y"] < box["y"] < panel["y"] + panel["height"]
    assert seen.looks_at() == zoom
    seen.element.get_by_text("Legend", exact=True).click()
    seen.shot("folded")
    folded = seen.element.locator(".olmoearth-panel").bounding_box()
    assert folded is not None
    assert folded["height"] < 80


HOSTILE = f"""
import json
from pathlib import Path
import geopandas as gpd
import scenes
from shapely.geometry import box, mapping
from olmoearth_nb import preview
from olmoearth_nb.geojson import read_request
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend

MARKUP = {MARKUP!r}
times = {{"oe_start_time": scenes.TIMES[0], "oe_end_time": scenes.TIMES[1]}}
shape = dict(mapping(box(10, 50, 11, 51)))
path = Path(MARKUP + ".geojson")
properties = {{**times, "name": MARKUP, MARKUP: MARKUP, "oe_labels": MARKUP}}
path.write_text(json.dumps(scenes.collection([(shape, properties)])))
legend = Legend("VECTOR", classes=(ClassLegend(MARKUP, None, (ClassEntry(MARKUP, MARKUP, (9, 9, 9)),)),))
"""
TABLE = """
table = gpd.GeoDataFrame(
    {"name": [MARKUP], "group": [MARKUP], "state": [MARKUP], MARKUP: [MARKUP], "reason": [MARKUP]},
    geometry=[box(10, 50, 11, 51)], crs=4326,
)
view = preview(table, by="reason")
view.on_select(lambda name: 1 / 0 if name is None else int(name))
view
"""
VIEWS = [
    "view = preview(path)\nview",
    "view = preview(path, legend=legend)\nview",
    "view = preview(read_request(path))\nview",
    TABLE,
]


def test_names_from_files_are_text_wherever_they_are_shown(lab: Lab) -> None:
    notebook = lab.open([HOSTILE, "read_request(path)", "legend"])
    for number, code in enumerate(VIEWS):
        notebook.run(code)
        seen = notebook.map(-1)
        seen.element.get_by_text("Layers", exact=True).click()
        seen.hover(10.5, 50.5)
        expect(seen.element.locator(".leaflet-bottom.leaflet-left")).to_contain_text("<img src=x")
        seen.click(10.5, 50.5)
        seen.shot(str(number))
        if code is TABLE:
            assert notebook.run("print(view.selected)") == MARKUP
            expect(notebook.page.get_by_text("ValueError", exact=False).first).to_be_visible()
    notebook.run("table")
    notebook.page.wait_for_timeout(300)
    assert notebook.page.evaluate("window.hacked") is None
    assert notebook.page.locator("img[src=x]").count() == 0


def choose_theme(notebook: Notebook, name: str) -> None:
    notebook.page.locator(".lm-MenuBar-item", has_text="Settings").first.click()
    notebook.page.locator(".lm-Menu-item", has_text="Theme").first.hover()
    line = '.lm-Menu-item[data-command="apputils:change-theme"]'
    notebook.page.locator(line).get_by_text(name, exact=True).click()
    dark = str("Dark" not in name).lower()
    expect(notebook.page.locator("body")).to_have_attribute("data-jp-theme-light", dark)


def test_panels_are_readable_in_the_dark_theme(lab: Lab) -> None:
    notebook = lab.open([GRID.format(side=5)])
    choose_theme(notebook, "JupyterLab Dark")
    try:
        seen = notebook.map(0)
        seen.element.get_by_text("Layers", exact=True).click()
        seen.hover(0.05, 60.05)
        texts = [
            seen.element.get_by_text(text).first for text in ("windows (25)", "planned (5)", "window_12", "Legend")
        ]
        for text in texts:
            color = text.evaluate("e => getComputedStyle(e).color")
            # The panels are white in both themes.
            assert color == "rgb(34, 34, 34)", text
        seen.shot("map")
    finally:
        choose_theme(notebook, "JupyterLab Light")
