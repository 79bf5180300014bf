"""The notebooks of the project, run by the menu as somebody would who opens them for the first time."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from browser.harness import ROOT, Lab

pytestmark = pytest.mark.browser

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
_SECONDS = 300
# Maps, and the explorer of a trace.
_LIVE = ".leaflet-container, .olmoearth-trace"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(lab: Lab, path: Path) -> None:
    folder = lab.server.folder / path.stem
    shutil.copytree(ROOT / "olmoearth_run_data", folder / "olmoearth_run_data")
    (folder / "notebooks").mkdir()
    shutil.copyfile(path, folder / "notebooks" / path.name)
    notebook = lab.open_file(folder / "notebooks" / path.name, seconds=_SECONDS)
    live = 0
    shown = notebook.page.locator(".jp-CodeCell", has=notebook.page.locator(".jp-OutputArea-child"))
    for number in range(shown.count()):
        shown.nth(number).scroll_into_view_if_needed()
        notebook.page.wait_for_timeout(300)
        notebook.shot(f"{number:02}", shown.nth(number))
        # Cells out of sight are not in the page.
        live += shown.nth(number).locator(_LIVE).count()
    assert live > 0
