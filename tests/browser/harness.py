"""JupyterLab as people see it: a server on loopback, Chromium without internet, notebooks run by the real menu.

How to write a test: see :mod:`conftest` beside this file.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import matplotlib
import nbformat
import numpy as np
import numpy.typing as npt
from nbformat.v4 import new_code_cell, new_notebook
from PIL import Image
from playwright.sync_api import ConsoleMessage, Locator, Page, Request, expect

ROOT = Path(__file__).parents[2]
SCREENSHOTS = ROOT / "screenshots"
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

RGB = tuple[int, int, int]
Pixels = npt.NDArray[np.uint8]
_SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},
}
_SECONDS = 120
# Runs longer than the browser test it belongs to only if something hangs.
_STARTUP_SECONDS = 90
_TILE = 256


# ---- the server ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    """A running JupyterLab.

    Attributes:
        url: Where it listens, without a slash at the end.
        token: What it wants to be told.
        folder: Where its notebooks are.
    """

    url: str
    token: str
    folder: Path

    def ask(self, path: str, method: str = "GET") -> Any:
        """What its REST interface says."""
        request = urllib.request.Request(
            f"{self.url}/{path}", method=method, headers={"Authorization": f"token {self.token}"}
        )
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """JupyterLab with settings, history and configuration of its own in a folder, and no way to the internet."""
    home, notebooks = folder / "home", folder / "notebooks"
    for made in (home, notebooks):
        made.mkdir(parents=True)
    for name, values in _SETTINGS.items():
        path = home / "lab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = Server(f"http://127.0.0.1:{port}", secrets.token_hex(16), notebooks)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}"]
    command += ["--ServerApp.port_retries=0", f"--ServerApp.root_dir={notebooks}"]
    command += ["--LabApp.extension_manager=readonly"]
    environment = {**_environment(home), "JUPYTER_TOKEN": server.token}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, cwd=notebooks, stdout=log, stderr=log, start_new_session=True
        )
        try:
            _wait_for(server, process, folder / "server.log")
            yield server
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _environment(home: Path) -> dict[str, str]:
    names = {
        "HOME": home,
        "JUPYTER_CONFIG_DIR": home / "config",
        "JUPYTER_DATA_DIR": home / "data",
        "JUPYTER_RUNTIME_DIR": home / "runtime",
        "JUPYTERLAB_SETTINGS_DIR": home / "lab",
        "JUPYTERLAB_WORKSPACES_DIR": home / "workspaces",
        "IPYTHONDIR": home / "ipython",
        "XDG_CONFIG_HOME": home / "xdg-config",
        "XDG_CACHE_HOME": home / "xdg-cache",
        "XDG_DATA_HOME": home / "xdg-data",
        # Its list of fonts takes some seconds to make.
        "MPLCONFIGDIR": matplotlib.get_cachedir(),
        "PYTHONPYCACHEPREFIX": os.environ.get("PYTHONPYCACHEPREFIX", str(ROOT / ".pycache")),
        "PYTHONPATH": ROOT / "tests",
    }
    dead_end = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "XDG_"))}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {name: str(value) for name, value in names.items()} | dead_end | {"no_proxy": "127.0.0.1,localhost"}


def _wait_for(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _STARTUP_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            server.ask("api/status")
        except OSError:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text()[-3000:]}")


# ---- notebooks -----------------------------------------------------------------------------------------------


@dataclass
class Lab:
    """Opens notebooks in the browser.

    Attributes:
        server: Whose notebooks.
        page: The browser's page.
        name: What notebook and screenshots are called after.
        errors: What the browser's console complained of, but for what lies outside of loopback.
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
        """Whether the browser says that it could not load something from outside, base map tiles say."""
        return message.text.startswith("Failed to load resource: net::ERR_NAME_NOT_RESOLVED") and not _is_here(
            message.location.get("url", "")
        )

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
        opened.wait_for_kernel(_STARTUP_SECONDS)
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
        cells = self.page.locator(".jp-CodeCell")
        count = cells.count()
        self.menu("Run", "runmenu:run-all")
        for index in range(count):
            self._wait_for_cell(cells.nth(index), seconds)

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
        return self.page.screenshot(
            clip={
                "x": round(box["x"]),
                "y": round(box["y"]),
                "width": round(box["width"]),
                "height": round(box["height"]),
            }
        )


class ScreenMap:
    """A leaflet map on the screen.

    Args:
        notebook: Where it is shown.
        element: The map's element.
        view: The expression that gives it in the kernel.
    """

    def __init__(self, notebook: Notebook, element: Locator, view: str) -> None:
        self.notebook = notebook
        self.page = notebook.page
        self.element = element
        self.view = view

    def settle(self) -> None:
        """Waits until pictures are loaded and two screenshots are the same."""
        before = self.notebook.shot(of=self.element)
        for _ in range(40):
            self.page.wait_for_timeout(150)
            now = self.notebook.shot(of=self.element)
            if np.array_equal(now, before):
                return
            before = now
        raise AssertionError("The map does not come to rest.")

    def looks_at(self) -> tuple[float, float, float]:
        """Longitude and latitude of the centre, and the zoom."""
        told = self.notebook.run(f"print(*{self.view}.map.center, {self.view}.map.zoom)")
        lat, lon, zoom = map(float, told.split())
        return lon, lat, zoom

    def places(self, lonlat: Sequence[tuple[float, float]]) -> npt.NDArray[np.float64]:
        """Where places are in a screenshot of the map.

        Args:
            lonlat: Degrees.

        Returns:
            Pixels from the map's upper left corner to the right and down, shape (N, 2), not rounded.
        """
        lon, lat, zoom = self.looks_at()
        box = self._box()
        # As leaflet does it: the pixel in the upper left corner is a whole one.
        corner = np.round(_world_pixels([(lon, lat)], zoom)[0] - np.array([box["width"], box["height"]]) / 2)
        return _world_pixels(lonlat, zoom) - corner

    def _box(self) -> dict[str, float]:
        box = self.element.bounding_box()
        assert box is not None
        return dict(box)

    def click(self, lon: float, lat: float) -> None:
        """Clicks on a place.

        Args:
            lon: Degrees.
            lat: Degrees.
        """
        ((x, y),) = self.places([(lon, lat)]).tolist()
        self.element.scroll_into_view_if_needed()
        box = self._box()
        self.page.mouse.click(box["x"] + x, box["y"] + y)

    def hover(self, lon: float, lat: float) -> None:
        """Moves the mouse to a place.

        Args:
            lon: Degrees.
            lat: Degrees.
        """
        ((x, y),) = self.places([(lon, lat)]).tolist()
        self.element.scroll_into_view_if_needed()
        box = self._box()
        self.page.mouse.move(box["x"] + x - 3, box["y"] + y - 3)
        self.page.mouse.move(box["x"] + x, box["y"] + y, steps=3)

    def shot(self, name: str = "") -> Pixels:
        """A screenshot of the map at rest, see :meth:`Notebook.shot`.

        Args:
            name: What is to be seen.
        """
        self.settle()
        return self.notebook.shot(name, self.element)


def _world_pixels(lonlat: Sequence[tuple[float, float]], zoom: float) -> npt.NDArray[np.float64]:
    size = _TILE * 2**zoom
    flat = [((lon + 180) / 360, 0.5 - math.asinh(math.tan(math.radians(lat))) / (2 * math.pi)) for lon, lat in lonlat]
    return np.array(flat) * size


def near(pixels: Pixels, color: RGB, tolerance: int = 12) -> npt.NDArray[np.bool_]:
    """Which pixels of a screenshot have about a colour.

    Args:
        pixels: Shape (H, W, 3).
        color: Each 0..255.
        tolerance: How far each of the three may be off.

    Returns:
        Shape (H, W).
    """
    return (np.abs(pixels.astype(int) - np.array(color)) <= tolerance).all(axis=-1)


def around(pixels: Pixels, place: npt.NDArray[np.float64], reach: int = 2) -> Pixels:
    """The pixels around a place.

    Args:
        pixels: Shape (H, W, 3).
        place: Pixels to the right and down.
        reach: How many to each side.
    """
    x, y = np.floor(place).astype(int).tolist()
    return pixels[max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]
