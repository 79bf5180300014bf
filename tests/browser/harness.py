"""JupyterLab as people see it: notebooks in Chromium without internet, run by the real menu.

How to write a test: see :mod:`conftest` beside this file.
"""

from __future__ import annotations

import io
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat
import numpy as np
from browser.screen import RGB, Pixels, ScreenMap, around, near
from browser.server import ROOT, STARTUP_SECONDS, Server
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image
from playwright.sync_api import ConsoleMessage, Locator, Page, Request, expect

__all__ = ["RGB", "Lab", "Notebook", "Pixels", "ScreenMap", "around", "near"]

SCREENSHOTS = ROOT / "screenshots"
_SECONDS = 120
_STATES = """
() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
  .filter((cell) => cell.type === "code")
  .map((cell) => ({
    count: cell.executionCount,
    state: cell.executionState,
    error: cell.outputs.toJSON().flatMap((one) => one.traceback ?? []).join("\\n"),
  }))
"""
# Of the base map; without internet the browser complains of each of its tiles.
_BASE_MAP = "tile.openstreetmap.org"


@dataclass
class Lab:
    """Opens notebooks in the browser.

    Attributes:
        server: Whose notebooks.
        page: The browser's page.
        name: What notebook and screenshots are called after.
        errors: What the browser's console complained of, but for tiles of the base map.
        blocked: Addresses outside of loopback that something asked for in vain.
    """

    server: Server
    page: Page
    name: str
    errors: list[str] = field(default_factory=list)
    blocked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        self.page.on("requestfailed", self._on_failed)

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not self._is_blocked(message):
            self.errors.append(f"{message.text} ({message.location.get('url', '')})")

    @staticmethod
    def _is_blocked(message: ConsoleMessage) -> bool:
        """Whether the browser says that it could not load a tile of the base map."""
        asked = urlsplit(message.location.get("url", "")).hostname or ""
        return message.text.startswith("Failed to load resource: net::ERR_NAME_NOT_RESOLVED") and asked == _BASE_MAP

    def _on_failed(self, request: Request) -> None:
        if not _is_here(request.url):
            self.blocked.append(request.url)

    def open(self, cells: Sequence[str], *, run: bool = True) -> Notebook:
        """Writes a notebook, opens it as its own document and runs all cells by the menu.

        Args:
            cells: Code of each cell.
            run: Run all cells, and wait until they are done.
        """
        notebook = new_notebook(
            cells=[new_code_cell(cell) for cell in cells],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        )
        path = self.server.folder / f"{self.name}.ipynb"
        nbformat.write(notebook, path)
        return self.open_file(path, run=run)

    def open_file(self, path: Path, *, run: bool = True, seconds: float = _SECONDS) -> Notebook:
        """Opens a notebook that is there.

        Args:
            path: Somewhere in the server's folder.
            run: Run all cells, and wait until they are done.
            seconds: How long that may take.
        """
        where = path.relative_to(self.server.folder).as_posix()
        self.page.goto(f"{self.server.url}/doc/tree/{where}?token={self.server.token}")
        opened = Notebook(self)
        # Before that, running cells asks which kernel.
        opened.wait_for_kernel(STARTUP_SECONDS)
        if run:
            opened.run_all(seconds=seconds)
        return opened

    def end(self) -> None:
        """Ends all kernels."""
        for session in self.server.ask("api/sessions"):
            self.server.ask(f"api/sessions/{session['id']}", "DELETE")


def _is_here(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob", "about") or parts.hostname in ("127.0.0.1", "localhost")


class Notebook:
    """A notebook in the browser.

    Args:
        lab: Where it is open.
    """

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.page = lab.page

    def menu(self, menu: str, command: str) -> None:
        """Picks a line of the menu bar.

        Args:
            menu: Its title, ``Run`` say.
            command: The command of the line, ``runmenu:run-all`` say.
        """
        self.page.locator(".lm-MenuBar-item", has_text=menu).first.click()
        self.page.locator(f'.lm-Menu-item[data-command="{command}"]').click()

    def wait_for_kernel(self, seconds: float = _SECONDS) -> None:
        """Waits until the kernel is connected and idle.

        Args:
            seconds: How long that may take.
        """
        status = self.page.locator(".jp-StatusBar-Widget").get_by_text(re.compile(r"\| Idle"))
        expect(status).to_be_visible(timeout=seconds * 1000)

    def run_all(self, *, seconds: float = _SECONDS) -> None:
        """Runs all cells by the menu, and waits until the kernel is idle.

        Args:
            seconds: How long that may take.

        Raises:
            AssertionError: If a cell fails.
        """
        before, begun, running = self._states(), False, False
        self.menu("Run", "runmenu:run-all")
        deadline = time.monotonic() + seconds
        while running or not begun:
            assert time.monotonic() < deadline, f"The cells were not done after {seconds} s."
            self.page.wait_for_timeout(50)
            now = self._states()
            # A notebook that was run before may have the same numbers again at the end.
            begun, running = begun or now != before, "running" in [one["state"] for one in now]
        self.wait_for_kernel(seconds)
        failed = [one["error"] for one in self._states() if one["error"]]
        assert not failed, f"A cell failed:\n{failed[0][-2000:]}"

    def _states(self) -> list[dict[str, Any]]:
        """Number, state and error of each code cell; those out of sight are no elements of the page."""
        return list(self.page.evaluate(_STATES))

    def run(self, code: str, *, seconds: float = _SECONDS) -> str:
        """Runs code in a further cell at the end, as somebody would who types it there.

        Args:
            code: Of the cell.
            seconds: How long that may take.

        Returns:
            What it printed, or the text of its result.

        Raises:
            AssertionError: If it fails.
        """
        cells = self.page.locator(".jp-CodeCell")
        if cells.last.locator(".jp-InputPrompt").inner_text().strip() != "[ ]:":
            self.page.locator(".jp-Notebook-footer").click()
        cell = cells.nth(cells.count() - 1)
        cell.locator(".cm-content").fill(code)
        self.page.keyboard.press("Control+Enter")
        self._wait_for_cell(cell, seconds)
        return "\n".join(cell.locator(".jp-OutputArea-output pre").all_inner_texts()).strip()

    def _wait_for_cell(self, cell: Locator, seconds: float) -> None:
        prompt = cell.locator(".jp-InputPrompt")
        failed = cell.locator('[data-mime-type="application/vnd.jupyter.error"]')
        deadline = time.monotonic() + seconds
        while not prompt.inner_text().strip("[]: ").isdigit():
            # Cells after one that failed are not run, and stay as they are.
            if failed.count() or time.monotonic() > deadline:
                break
            self.page.wait_for_timeout(50)
        self.wait_for_kernel(seconds)
        texts = failed.all_inner_texts()
        assert not texts, f"The cell failed:\n{texts[0][-2000:]}"
        assert prompt.inner_text().strip("[]: ").isdigit(), f"The cell was not done after {seconds} s."

    def output(self, index: int) -> Locator:
        """What a cell shows.

        Args:
            index: Counted from 0; negative ones from the end.
        """
        cells = self.page.locator(".jp-CodeCell")
        return cells.nth(index if index >= 0 else cells.count() + index).locator(".jp-Cell-outputArea")

    def map(self, index: int, view: str = "view") -> ScreenMap:
        """The leaflet map in what a cell shows.

        Args:
            index: Of the cell.
            view: The expression that gives its :class:`~olmoearth_nb.maps.view.MapView` in the kernel.
        """
        found = ScreenMap(self, self.output(index).locator(".leaflet-container").first, view)
        expect(found.element).to_be_visible(timeout=30_000)
        found.settle()
        return found

    def shot(self, name: str = "", of: Locator | None = None) -> Pixels:
        """A screenshot; one with a name is kept in ``screenshots/`` for people to look at.

        Args:
            name: What is to be seen; nothing is kept if empty.
            of: Only this element; the whole window if None.

        Returns:
            Shape (H, W, 3).
        """
        png = self._png_of(of) if of is not None else self.page.screenshot()
        if name:
            SCREENSHOTS.mkdir(exist_ok=True)
            (SCREENSHOTS / f"{self.lab.name}-{name}.png").write_bytes(png)
        return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))

    def _png_of(self, element: Locator) -> bytes:
        # The browser draws elements on whole pixels; playwright's own screenshot of one may begin a pixel before.
        element.scroll_into_view_if_needed()
        box = element.bounding_box()
        assert box is not None
        return element.page.screenshot(
            clip={
                "x": round(box["x"]),
                "y": round(box["y"]),
                "width": round(box["width"]),
                "height": round(box["height"]),
            }
        )
