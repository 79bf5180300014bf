"""What is on the screen: leaflet maps, and the pixels of screenshots."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from playwright.sync_api import Locator

if TYPE_CHECKING:
    from browser.harness import Notebook

RGB = tuple[int, int, int]
Pixels = npt.NDArray[np.uint8]
_TILE = 256


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
