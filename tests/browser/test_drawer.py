from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from browser.harness import ROOT, Lab, near
from playwright.sync_api import expect

pytestmark = pytest.mark.browser
expect.set_options(timeout=20_000)

CELL = """
from olmoearth_nb import OlmoEarthRunPredictRunner, draw_request

drawer = draw_request(r"{project}", "by_mouse")
view = drawer.map
drawer
"""
DRAWN = (216, 27, 96)
CORNERS = [(-78.72, 35.80), (-78.65, 35.80), (-78.65, 35.74), (-78.72, 35.74)]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "olmoearth_run_data", tmp_path / "data")
    return tmp_path / "data" / "sample"


def test_drawer(lab: Lab, project: Path) -> None:
    notebook = lab.open([CELL.format(project=project)])
    seen, page, output = notebook.map(0), notebook.page, notebook.output(0)
    places = seen.places([*CORNERS, (-78.60, 35.76)]).tolist()
    seen.element.scroll_into_view_if_needed()
    notebook.shot("page")

    def click(place: list[float]) -> None:
        box = seen.element.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + place[0], box["y"] + place[1], steps=4)
        page.mouse.down()
        page.mouse.up()
        page.wait_for_timeout(200)

    output.locator(".leaflet-pm-icon-polygon").click()
    for place in [*places[:4], places[0]]:
        click(place)
    expect(output.get_by_text("1 polygon, ")).to_be_visible()
    assert near(notebook.shot("drawn", seen.element), DRAWN, 40).sum() > 300
    output.locator(".leaflet-pm-icon-marker").click()
    click(places[4])
    expect(output.get_by_text("1 polygon and 1 point, ")).to_be_visible()

    # The polygon's last corner is dragged to the north, then the point is deleted.
    output.locator(".leaflet-pm-icon-edit").click()
    page.wait_for_timeout(500)
    box = seen.element.bounding_box()
    assert box is not None
    x, y = places[3]
    page.mouse.move(box["x"] + x, box["y"] + y)
    page.mouse.down()
    page.mouse.move(box["x"] + x, box["y"] + y - 30, steps=6)
    notebook.shot("editing")
    page.mouse.up()
    page.wait_for_timeout(500)
    output.locator(".leaflet-pm-icon-edit").click()
    output.locator(".leaflet-pm-icon-delete").click()
    page.wait_for_timeout(500)
    click([places[4][0], places[4][1] - 15])
    output.locator(".leaflet-pm-icon-delete").click()
    expect(output.get_by_text("1 polygon, ")).to_be_visible()

    field = output.get_by_placeholder("field: north, farm: 3")
    field.fill("farm: 3")
    field.press("Enter")
    output.get_by_role("button", name="Save").click()
    expect(output.get_by_text("Saved as")).to_be_visible()
    notebook.shot("saved")
    (feature,) = json.loads((project / "prediction" / "by_mouse.geojson").read_text())["features"]
    (ring,) = feature["geometry"]["coordinates"]
    # Within a pixel of where the mouse was, which is some 40 m.
    for lon, lat in CORNERS[:3]:
        assert min(abs(x - lon) + abs(y - lat) for x, y in ring) < 2e-3
    assert min(y for x, y in ring if x < -78.7) > CORNERS[3][1] + 0.005
    assert feature["properties"]["farm"] == 3
    assert feature["properties"]["oe_start_time"].startswith("2000-03-01T00:00:00")

    made = notebook.run(
        "runner = OlmoEarthRunPredictRunner(drawer.path.parents[1], 'scratch', drawer.path)\n"
        "print(runner.plan().counts.windows)"
    )
    assert int(made) > 2
    output.get_by_role("button", name="Save").click()
    expect(output.get_by_text("There is a request of this name")).to_be_visible()
    lab.page.set_viewport_size({"width": 720, "height": 1200})
    seen.settle()
    notebook.shot("narrow")
