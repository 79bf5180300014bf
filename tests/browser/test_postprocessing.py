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
