from __future__ import annotations

import re

import pytest
from browser.harness import Lab, Notebook, ScreenMap, near
from playwright.sync_api import Locator, expect

pytestmark = pytest.mark.browser

CELL = """
from pathlib import Path
from browsing import make_windows
from olmoearth_nb.maps.widgets.browser import WindowBrowser

table, source = make_windows(Path("windows"), steps=6)
browser = WindowBrowser(table, source, caption="Windows of a test")
browser
"""
PINK = (255, 0, 200)


def middle(notebook: Notebook, name: str) -> tuple[float, float]:
    """The middle of a window, degrees."""
    told = notebook.run(f"print(*table.set_index('name').geometry['{name}'].centroid.coords[0])")
    lon, lat = map(float, told.split())
    return lon, lat


def row(output: Locator) -> Locator:
    return output.locator(".olmoearth-table-row[aria-selected=true]")


def test_window_browser(lab: Lab) -> None:
    notebook = lab.open([CELL])
    output = notebook.output(0)
    seen = ScreenMap(notebook, output.locator(".leaflet-container").first, "browser.map")
    seen.settle()
    notebook.shot("page")
    expect(row(output)).to_contain_text("w00")
    picture = output.locator("img.widget-image")

    # The map selects in the table, and the detail follows.
    seen.click(*middle(notebook, "w12"))
    expect(row(output)).to_contain_text("w12")
    expect(output.locator(".widget-html b", has_text="w12")).to_be_visible()
    expect(picture).to_be_visible()
    before = picture.get_attribute("src")
    assert notebook.run("print(browser.selected)") == "w12"
    seen.settle()
    notebook.shot("map-click")

    # The table selects on the map.
    output.locator(".olmoearth-table-row", has_text="w21").click()
    expect(row(output)).to_contain_text("w21")
    expect(output.locator(".widget-html b", has_text="w21")).to_be_visible()
    assert picture.get_attribute("src") != before
    seen.settle()
    ((x, y),) = seen.places([middle(notebook, "w21")])
    pink = near(seen.shot(), PINK).nonzero()
    assert abs(pink[1].mean() - x) < 4
    assert abs(pink[0].mean() - y) < 4

    # Keys go on from the table, and from wherever in the browser somebody has clicked.
    output.locator(".olmoearth-table-row", has_text="w21").click()
    notebook.page.keyboard.press("ArrowRight")
    expect(row(output)).to_contain_text("w22")
    notebook.page.keyboard.press("j")
    expect(row(output)).to_contain_text("w23")
    expect(output).to_contain_text("No image <i>at all</i>.")
    notebook.page.keyboard.press("k")
    expect(row(output)).to_contain_text("w22")
    picture.click()
    notebook.page.keyboard.press("ArrowLeft")
    expect(row(output)).to_contain_text("w21")
    output.get_by_role("button", name=re.compile("next")).click()
    expect(row(output)).to_contain_text("w22")

    # Where text is typed, keys are letters.
    output.get_by_placeholder("search").fill("predicted")
    expect(output).to_contain_text("4 of 16 windows")
    notebook.page.keyboard.press("j")
    expect(output).to_contain_text("0 of 16 windows")
    output.get_by_placeholder("search").fill("")
    # Two filters at once, which the kernel may get in two threads.
    output.locator("select").nth(0).select_option(label="partition_2 (8)")
    expect(output).to_contain_text("8 of 16 windows")
    seen.settle()
    notebook.shot("filtered")
    assert notebook.run("print(browser.partition, len(browser.shown))") == "partition_2 8"


def test_window_browser_in_a_narrow_window(lab: Lab) -> None:
    lab.page.set_viewport_size({"width": 700, "height": 1400})
    notebook = lab.open([CELL])
    notebook.run("browser.selected = 'w12'")
    ScreenMap(notebook, notebook.output(0).locator(".leaflet-container").first, "browser.map").settle()
    notebook.shot("page")
    lab.page.set_viewport_size({"width": 1000, "height": 960})
    notebook.shot("middling")


HUNDRED_THOUSAND = """
import geopandas as gpd
from shapely.geometry import box
from olmoearth_nb.maps.detail import WindowDetail
from olmoearth_nb.maps.widgets.browser import WindowBrowser

class NoSource:
    def detail(self, key):
        return WindowDetail(window=None)
    def classes(self, keys):
        return iter(())

cells = [box(x / 50, 60 + y / 50, x / 50 + 0.02, 60.02 + y / 50) for y in range(316) for x in range(316)]
table = gpd.GeoDataFrame({"name": [f"w{i}" for i in range(len(cells))]}, geometry=cells, crs=4326)
table["group"], table["state"] = "default", "planned"
browser = WindowBrowser(table, NoSource())
browser
"""


def test_a_table_of_a_hundred_thousand_rows_scrolls(lab: Lab) -> None:
    notebook = lab.open([HUNDRED_THOUSAND])
    output = notebook.output(0)
    table = output.locator(".olmoearth-table")
    table.evaluate("box => { box.scrollTop = 50000 * 24 }")
    expect(output.locator(".olmoearth-table-row", has_text="w50003")).to_be_visible()
    table.evaluate("box => { box.scrollTop = box.scrollHeight }")
    output.locator(".olmoearth-table-row", has_text="w99855").click()
    expect(row(output)).to_contain_text("w99855")
    notebook.page.keyboard.press("Home")
    expect(row(output)).to_contain_text("w0")
    assert notebook.run("print(browser.selected)") == "w0"
