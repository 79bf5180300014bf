from __future__ import annotations

import numpy as np
import pytest
from browser.harness import Lab, near

pytestmark = pytest.mark.browser

RASTER = """
from pathlib import Path
import predictions, scenes

runner = predictions.predicted_rasters(scenes.make_raster_project(Path("raster/project")))
runner.postprocess()
view = runner.explore_postprocessing()
view
"""


def test_another_argument_changes_counts_and_map(lab: Lab) -> None:
    notebook = lab.open([RASTER])
    seen = notebook.map(0)
    notebook.shot("page")
    output = notebook.output(0)
    before = seen.shot("before")
    changed = (0, 114, 178)
    assert near(before, changed).sum() < 100  # attributions have links
    scale = output.locator("input[placeholder^=YAML]")
    scale.fill("{scale: 10.0, output_dtype: uint8}")
    scale.press("Enter")
    output.get_by_text("value changed").first.wait_for()
    notebook.shot("changed")
    seen.settle()
    after = seen.shot("after")
    assert near(after, changed).sum() > near(before, changed).sum() + 100  # in the legend
    assert (np.abs(after.astype(int) - before).max(axis=2) > 60).sum() > 50_000  # on the map
    assert int(notebook.run("print(view.counts['value changed'])")) > 1000
    scale.fill("{scale: a}")
    scale.press("Enter")
    output.get_by_text("value_transform.scale").first.wait_for()
    notebook.shot("error")
    output.get_by_role("button", name="dataset").click()
    output.get_by_text("inputs overlap and agree").first.wait_for()
    notebook.shot("dataset")
    lab.page.set_viewport_size({"width": 760, "height": 1200})
    notebook.shot("narrow")


VECTOR = """
from pathlib import Path
import predictions, scenes, shapely

project = scenes.make_vector_project(Path("vector/project"))
keep = {"class_path": "CombineGeojson", "init_args": {"geometry_source": "result"}}
predictions.configure(project, "postprocessing_strategies", process_window=keep)
spots = [shapely.Point(*spot) for spot in scenes.request_spots()]
shapes = {"<img src=x onerror=alert(1)>": shapely.box(spots[4].x - 3, spots[4].y - 3, spots[5].x + 3, spots[5].y + 3)}
shapes |= {f"own {n}": spot.buffer(3, quad_segs=16) for n, spot in enumerate(spots)}
runner = predictions.predicted_features(project, shapes)
runner.postprocess()
view = runner.explore_postprocessing("dataset")
view
"""


def test_duplicates_are_found_by_the_input_and_shown(lab: Lab) -> None:
    notebook = lab.open([VECTOR])
    output = notebook.output(0)
    seen = notebook.map(0)
    dropped = (214, 39, 190)
    assert near(seen.shot("before"), dropped).sum() == 0
    output.locator("select:visible").nth(1).select_option(label="CombineAndDeduplicateGeojson")
    output.get_by_text("dropped: duplicate").first.wait_for()
    seen.settle()
    notebook.shot("dropped")
    assert near(seen.shot("after"), dropped).sum() > 150
    before = int(notebook.run("print(view.counts['dropped'])"))
    min_iou = output.locator("input[type=number]").first
    min_iou.fill("1.5")
    min_iou.press("Enter")
    output.get_by_text("Nothing changed.").first.wait_for()
    assert before > 0
    assert notebook.run("print(view.arguments, view.counts['dropped'])") == "{'min_iou': 1.5} 0"


def test_a_view_that_is_changed_by_the_next_cells_is_shown(lab: Lab) -> None:
    changes = ["view.arguments = {'nodata_value': 9}", "view.choose(stage='window')", "view.stage = 'dataset'"]
    notebook = lab.open([RASTER, *changes])
    notebook.output(0).scroll_into_view_if_needed()
    notebook.map(0)
    notebook.output(0).get_by_text("as configured").wait_for(timeout=10_000)
