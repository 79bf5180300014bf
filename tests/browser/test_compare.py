from __future__ import annotations

import numpy as np
import pytest
from browser.harness import Lab, near
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

LEFT, RIGHT = (200, 30, 30), (30, 60, 220)

COMPARISON = """
import numpy as np
from pathlib import Path
from drawings import write_geotiff
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend
from olmoearth_nb.maps.pictures import geotiff_layers
from olmoearth_nb.maps.preview import build_comparison

entries = (ClassEntry(1, "one", {left}), ClassEntry(2, "two", {right}))
legend = Legend("RASTER", classes=(ClassLegend("kind", 1, entries),))
left = geotiff_layers([write_geotiff(Path("left.tif"), np.full((1, 64, 64), 1, np.uint8))], legend)
right = geotiff_layers([write_geotiff(Path("right.tif"), np.full((1, 64, 64), 2, np.uint8))], legend)
view = build_comparison(left, right)
view
"""


def test_the_line_of_a_comparison_moves(lab: Lab) -> None:
    notebook = lab.open([COMPARISON.format(left=LEFT, right=RIGHT)])
    seen = notebook.map(0)
    line = seen.element.locator(".olmoearth-swipe")
    expect(line).to_be_visible()

    def halves() -> tuple[int, float, float, int]:
        pixels = seen.shot()[200:]  # below the legend
        one, two = near(pixels, LEFT), near(pixels, RIGHT)
        return int(one.sum()), np.nonzero(one)[1].max(), np.nonzero(two)[1].min(), int(two.sum())

    seen.shot("half")
    ones, last, first, twos = halves()
    box = seen.element.bounding_box()
    assert box is not None
    middle = box["width"] / 2
    assert middle - 30 < last <= middle + 1 <= first + 2 < middle + 30
    assert abs(ones - twos) < 0.1 * ones

    y = box["y"] + box["height"] / 4
    notebook.page.mouse.move(box["x"] + middle, y)
    notebook.page.mouse.down()
    notebook.page.mouse.move(box["x"] + middle + 80, y, steps=5)
    notebook.page.mouse.up()
    seen.settle()
    assert halves()[1] > middle + 60
    seen.shot("moved")
    position = float(notebook.run("print(view.position)"))
    assert position == pytest.approx((middle + 80) / box["width"], abs=0.02)

    # Panning and zooming leave the line where it is on the screen, and what is on its sides.
    notebook.run("view.map.zoom += 1")
    seen.settle()
    _, last, first, _ = halves()
    assert last <= middle + 82 <= first + 4
    notebook.run("view.position = 0.25")
    seen.settle()
    assert halves()[2] < middle
    line.focus()
    notebook.page.keyboard.press("ArrowLeft")
    assert float(notebook.run("print(view.position)")) == pytest.approx(0.23)


TILES = """
import numpy as np
from pathlib import Path
from drawings import write_geotiff
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend
from olmoearth_nb.maps.pictures import geotiff_layers
from olmoearth_nb.maps.preview import build_map

# Single pixels of one class in another, finer than the picture of the whole.
pixels = np.full((1, 4096, 4096), 1, np.uint8)
pixels[0, 2048::2, 2048::2] = 2
entries = (ClassEntry(1, "one", {left}), ClassEntry(2, "two", {right}))
legend = Legend("RASTER", classes=(ClassLegend("kind", 1, entries),))
path = write_geotiff(Path("tiles.tif"), pixels, nodata=0, tiled=True, compress="deflate")
view = build_map(geotiff_layers([path], legend))
view.use_tiles()
view
"""


def test_tiles_take_the_place_of_the_picture_where_the_browser_gets_them(lab: Lab) -> None:
    notebook = lab.open([TILES.format(left=LEFT, right=RIGHT)])
    seen = notebook.map(0)
    expect(notebook.output(0)).to_contain_text("every pixel is there", timeout=20_000)
    layers = "print([type(layer).__name__ for layer in view.map.layers])"
    assert "ImageOverlay" not in notebook.run(layers)
    seen.settle()
    seen.shot("tiles")
    assert near(seen.shot(), LEFT, 3).sum() > 10_000


def test_without_tiles_the_picture_stays_with_a_word(lab: Lab) -> None:
    broken = "view._tiles[0][1].clients[0].shutdown(force=True)"
    cell = TILES.format(left=LEFT, right=RIGHT).replace("view.use_tiles()", f"view.use_tiles(); {broken}")
    notebook = lab.open([cell])
    seen = notebook.map(0)
    expect(notebook.output(0)).to_contain_text("No tiles", timeout=30_000)
    assert "ImageOverlay" in notebook.run("print([type(layer).__name__ for layer in view.map.layers])")
    assert near(seen.shot("picture"), LEFT, 3).sum() > 10_000
    lab.errors.clear()  # the browser says that it did not reach the server, which is the point
