from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from browser.harness import ROOT, Lab, Notebook, near
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

CELL = """
from olmoearth_nb import OlmoEarthRunPredictRunner

runner = OlmoEarthRunPredictRunner(r"{project}", r"{scratch}", r"{project}/prediction/inside.geojson")
explorer = runner.explore_partitions()
view = explorer.map
explorer
"""
SHARED = (63, 55, 201)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "olmoearth_run_data", tmp_path / "data")
    return tmp_path / "data" / "sample"


def expect_number(notebook: Notebook, name: str, text: str) -> None:
    row = notebook.output(0).locator("tr", has=notebook.page.get_by_text(name, exact=True))
    expect(row.locator("td").nth(1)).to_have_text(text, timeout=5000)


def test_explorer(lab: Lab, project: Path) -> None:
    notebook = lab.open([CELL.format(project=project, scratch=project.parent / "scratch")])
    seen = notebook.map(0)
    before = seen.shot("map")
    notebook.shot("page")
    expect_number(notebook, "windows", "12")

    # Third slider: size of windows. One step to the left is 96 pixels, two are 64.
    handle = notebook.output(0).locator(".noUi-handle:visible").nth(2)
    handle.focus()
    notebook.page.keyboard.press("ArrowLeft")
    notebook.page.keyboard.press("ArrowLeft")
    expect_number(notebook, "windows", "36")
    notebook.shot("moved")
    after = seen.shot("moved-map")
    assert (np.abs(after.astype(int) - before).max(axis=2) > 40).sum() > 1000
    assert near(after, SHARED, 60).sum() > 100
    assert notebook.run("print(explorer.window_size, explorer.costs.windows)") == "64.0 36"

    notebook.run("explorer.partition_class = 'NoopPartitioner'")
    expect_number(notebook, "shared windows", "0")

    box = notebook.output(0).locator("input[type=number]:visible").first
    box.fill("-3")
    box.press("Enter")
    expect(notebook.output(0).get_by_text("can't be this")).to_be_visible()
    notebook.shot("refused")
    assert notebook.run("print(explorer.window_size)") == "64.0"

    file = project / "olmoearth_run.yaml"
    text = file.read_text()
    notebook.output(0).get_by_role("button", name="Write to olmoearth_run.yaml").click()
    expect(notebook.output(0).get_by_text("+      grid_size: 64")).to_be_visible()
    assert file.read_text() == text
    notebook.shot("asked")
    notebook.output(0).get_by_role("button", name="Write this change").click()
    expect(notebook.output(0).get_by_text("Written to olmoearth_run.yaml")).to_be_visible()
    assert file.read_text() == text.replace("grid_size: 128", "grid_size: 64").replace(
        "olmoearth_nb.partitioners.GridPartitioner\n    init_args:\n      grid_size: 0.05",
        "olmoearth_nb.partitioners.NoopPartitioner",
    )
    assert file.with_name("olmoearth_run.yaml.bak").read_text() == text
    lab.page.set_viewport_size({"width": 720, "height": 1300})
    seen.settle()
    notebook.shot("narrow")
