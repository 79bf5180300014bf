"""``runner.map()`` of a finished prediction, as it is on the screen."""

from __future__ import annotations

from pathlib import Path

import nbconvert
import numpy as np
import pytest
import rasterio
import scenes
from browser.harness import SCREENSHOTS, Lab, Notebook, ScreenMap, around, near
from playwright.sync_api import expect
from rasterio.transform import from_origin
from rslearn.utils.raster_array import RasterArray
from rslearn.utils.raster_format import GeotiffRasterFormat

from olmoearth_nb import OlmoEarthRunPredictRunner
from olmoearth_nb.store.windows import as_window

pytestmark = pytest.mark.browser

OUTLINE = (0, 158, 115)
SELECTED = (255, 0, 200)
COLORS = np.array(scenes.COLORS)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Code that makes the runner of a scratch whose predictions are the truth."""
    folder = tmp_path_factory.mktemp("finished")
    project = scenes.make_raster_project(folder / "project")
    runner = OlmoEarthRunPredictRunner(project, folder / "scratch", progress=False)
    runner.partition()
    runner.build_dataset()
    truth = np.full((256, 256), 255, dtype=np.uint8)
    truth[64:192, 64:192] = scenes.class_map()
    for spec in runner.scratch.specs(runner.partition_ids()).values():
        window = as_window(runner.scratch.dataset, spec)
        x, y = (spec.bounds[axis] - scenes.CORNER[axis] + 64 for axis in (0, 1))
        pixels = RasterArray(chw_array=truth[None, y : y + 32, x : x + 32])
        with window.data.open_layer_writer("output") as writer:
            writer.write_raster(["output"], GeotiffRasterFormat(), window.projection, window.bounds, pixels)
        window.mark_layer_completed("output")
    path: Path = runner.workspace.rasters / "EPSG_32631.tif"
    path.parent.mkdir(parents=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=128, height=128, count=1, dtype="uint8", nodata=255,
        crs=scenes.CRS_NAME, transform=from_origin(*scenes.ORIGIN, 10, 10),
    ) as file:  # fmt: skip
        file.write(scenes.class_map(), 1)
    return (
        "from olmoearth_nb import OlmoEarthRunPredictRunner\n"
        f"runner = OlmoEarthRunPredictRunner({str(project)!r}, {str(runner.workspace.root)!r}, progress=False)"
    )


def open_map(lab: Lab, finished: str) -> tuple[Notebook, ScreenMap]:
    notebook = lab.open([finished, "view = runner.map()\nview"])
    return notebook, notebook.map(1)


def middles_of_blocks() -> list[tuple[float, float]]:
    """Degrees of the middle of each block of one class, row by row."""
    half = scenes.BLOCK / 2
    starts = range(0, scenes.SIZE, scenes.BLOCK)
    points = [scenes.point(x + half, y + half)["coordinates"] for y in starts for x in starts]
    return [(lon, lat) for lon, lat in points]


def test_a_finished_prediction_is_on_the_map_in_its_colours(lab: Lab, finished: str) -> None:
    notebook, seen = open_map(lab, finished)
    truth = scenes.class_map()[scenes.BLOCK // 2 :: scenes.BLOCK, scenes.BLOCK // 2 :: scenes.BLOCK].ravel()
    places = seen.places(middles_of_blocks())

    def of_blocks(name: str = "") -> np.ndarray:
        """The colour in the middle of each block, shape (N, 3)."""
        pixels = seen.shot(name)
        return np.array([np.median(around(pixels, place, 1).reshape(-1, 3), axis=0) for place in places])

    shown = of_blocks("all")
    right = (np.abs(shown - COLORS[truth]) < 12).all(axis=1)
    # The rest lies under the outline of the request, a partition or a window.
    assert right.mean() > 0.9
    assert near(seen.shot(), OUTLINE).sum() > 400

    # Without the prediction there is the imagery; without that, nothing of the scene.
    panel = seen.element.locator(".olmoearth-panel")
    panel.get_by_text("Layers", exact=True).click()
    slider = panel.locator(".widget-hbox", has_text="prediction").get_by_role("slider")
    panel.get_by_label("prediction: category").click()
    imagery = of_blocks("imagery")
    assert (np.abs(imagery - COLORS[truth]) < 12).all(axis=1).mean() < 0.1
    means = np.array([imagery[truth == value].mean(axis=0) for value in range(3)])
    # Water is dark, forest bright in its second band, fields bright in the first; the third is near infrared.
    assert means[0].max() < means[1:].max(axis=1).min()
    panel.get_by_label("scene:").click()
    assert (of_blocks("outlines").std(axis=1) < 12).mean() > 0.9
    for name in ("prediction: category", "scene:"):
        panel.get_by_label(name).click()

    slider.focus()
    for _ in range(10):
        notebook.page.keyboard.press("ArrowLeft")
    opacity = float(notebook.run("print([one for one in view.map.layers if one.name.startswith('pred')][0].opacity)"))
    assert opacity == pytest.approx(0.5, abs=0.01)
    mixed = opacity * COLORS[truth] + (1 - opacity) * imagery
    assert (np.abs(of_blocks("half") - mixed) < 12).all(axis=1)[right].mean() > 0.95

    panel.get_by_label("windows (16)").click()
    assert near(seen.shot("without windows"), OUTLINE).sum() < 200
    assert lab.blocked
    assert all("openstreetmap.org" in address for address in lab.blocked)


def test_the_mouse_tells_and_a_click_selects(lab: Lab, finished: str) -> None:
    notebook, seen = open_map(lab, finished)
    lon, lat = middles_of_blocks()[5 * 16 + 9]
    expected = notebook.run(
        "from shapely import Point\n"
        "table = runner.windows()\n"
        f"print(*table[table.intersects(Point({lon}, {lat}))]['name'])"
    )
    assert len(expected.split()) == 1
    seen.hover(lon, lat)
    info = seen.element.locator(".leaflet-bottom.leaflet-left")
    expect(info).to_contain_text(expected)
    expect(info).to_contain_text("state: predicted")
    expect(info).to_contain_text("partition")
    seen.shot("told")
    assert notebook.run("print(view.selected)") == "None"
    seen.click(lon, lat)
    assert notebook.run("print(view.selected)") == expected
    pink = near(seen.shot("selected"), SELECTED)
    rows, columns = np.nonzero(pink)
    ((x, y),) = seen.places([(lon, lat)])
    assert columns.min() < x < columns.max()
    assert rows.min() < y < rows.max()
    # One window is a quarter of the scene.
    corners = seen.places([scenes.point(0, 0)["coordinates"], scenes.point(32, 32)["coordinates"]])
    assert columns.max() - columns.min() == pytest.approx(corners[1, 0] - corners[0, 0], abs=6)


def test_an_exported_page_has_the_picture(lab: Lab, finished: str) -> None:
    notebook, _ = open_map(lab, finished)
    notebook.menu("File", "docmanager:save")
    notebook.page.wait_for_timeout(1000)
    path = lab.server.folder / f"{lab.name}.ipynb"
    page, _ = nbconvert.HTMLExporter().from_filename(str(path))
    path.with_suffix(".html").write_text(page)
    exported = lab.page.context.new_page()
    exported.goto(path.with_suffix(".html").as_uri())
    picture = exported.locator(".jp-OutputArea-output img")
    expect(picture).to_be_visible()
    SCREENSHOTS.mkdir(exist_ok=True)
    picture.screenshot(path=SCREENSHOTS / f"{lab.name}.png")
    pixels = notebook.shot("exported", picture)
    exported.close()
    for color in scenes.COLORS:
        assert near(pixels, tuple(color)).sum() > 1000
