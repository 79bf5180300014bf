from __future__ import annotations

from pathlib import Path

import label_files
import pytest
from browser.harness import Lab
from playwright.sync_api import expect

from olmoearth_nb import Project

pytestmark = pytest.mark.browser
expect.set_options(timeout=20_000)

CELL = """
from olmoearth_nb import new_project_form

new_project_form(r"{labels}", directory=r"{project}", encoder="unet")
"""


def test_form(lab: Lab, tmp_path: Path) -> None:
    label_files.points().to_file(tmp_path / "labels.geojson")
    notebook = lab.open([CELL.format(labels=tmp_path / "labels.geojson", project=tmp_path / "mine")])
    output = notebook.output(0)
    expect(output.get_by_text("16 × 16 pixels")).to_be_visible()
    notebook.shot("proposed")
    output.get_by_text("other choices").click()
    field = output.locator(".widget-vbox .widget-text input").nth(7)
    field.fill("10")
    field.press("Enter")
    expect(output.get_by_text("multiple of 4")).to_be_visible()
    field.fill("32")
    field.press("Enter")
    expect(output.get_by_text("32 × 32 pixels")).to_be_visible()
    notebook.shot("changed")
    output.get_by_role("button", name="Write the project").click()
    expect(output.get_by_text("Written to")).to_be_visible(timeout=120_000)
    notebook.shot("written")
    problems = Project(tmp_path / "mine").check().problems
    assert {one.file for one in problems if one.severity == "error"} <= {"checkpoint.ckpt"}
