"""Tests in a real browser: ``make test-browser``, or ``pytest -m browser tests/browser``.

A test takes the fixture ``lab``, opens a notebook made of cells, and looks at what is on the screen::

    pytestmark = pytest.mark.browser

    def test_a_click_selects(lab: Lab) -> None:
        notebook = lab.open([f"from olmoearth_nb import preview\\nview = preview({str(path)!r})\\nview"])
        seen = notebook.map(0)                      # the leaflet map of the first cell, at rest
        assert near(seen.shot("first"), (0, 0, 255)).sum() > 100   # kept as screenshots/<test>-first.png
        seen.click(3.2, 45.1)                       # degrees
        assert notebook.run("print(view.selected)") == "window_3"

``lab.open`` runs all cells by the menu and fails if one of them fails; ``notebook.run`` types a further cell, runs it
and gives what it printed; ``notebook.output(i)`` is playwright's locator of what a cell shows, for buttons, tables and
texts; ``seen.places`` says where degrees are in a screenshot. Cells can import the modules of ``tests/`` (scenes,
drawings). At the end, ``lab`` fails the test if the browser's console has an error.

One JupyterLab and one Chromium are started a session, one kernel a notebook: keep what belongs together in one test
(about 10 s each). Nothing but loopback can be reached; what was asked for in vain is in ``lab.blocked``. Screenshots
are files for people: look at them after a change of how things look.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from browser.harness import SCREENSHOTS, Lab
from browser.server import Server, serving
from playwright.sync_api import BrowserContext, sync_playwright

CHROMIUM = "/usr/bin/chromium"
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # No internet: every name but loopback's is unknown. (Routes of playwright would switch off the cache.)
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]
VIEWPORT = {"width": 1280, "height": 960}


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """JupyterLab on loopback."""
    with serving(tmp_path_factory.mktemp("jupyterlab")) as server:
        yield server


@pytest.fixture(scope="session")
def chromium() -> Iterator[BrowserContext]:
    """Chromium without internet; one context, so that JupyterLab's own files are loaded once."""
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM", CHROMIUM)
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_FLAGS)
        yield browser.new_context(viewport=VIEWPORT)
        browser.close()


@pytest.fixture
def lab(server: Server, chromium: BrowserContext, request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Opens notebooks; see the head of this file."""
    name = re.sub(r"\W+", "-", request.node.name.removeprefix("test_").replace("_", "-")).strip("-")
    page = chromium.new_page()
    lab = Lab(server, page, name)
    yield lab
    page.screenshot(path=SCREENSHOTS / f"{name}.png")
    errors = list(lab.errors)
    page.close()
    lab.end()
    assert errors == [], "The browser's console has errors."
