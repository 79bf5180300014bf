"""A live map that code can read and set: what is selected, what is under the mouse, and its three faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import shapely
import traitlets
from matplotlib.figure import Figure

from olmoearth_nb.errors import UsageError
from olmoearth_nb.maps.frame import Bounds
from olmoearth_nb.maps.keys import PANEL
from olmoearth_nb.maps.layers import Layer, LayerKind, ShapeLayer, arranged, lonlat_bounds
from olmoearth_nb.maps.live import LiveView, widget_library
from olmoearth_nb.maps.twin import draw_layers

__all__ = ["Canvas", "MapView"]

# So many pixels beside a window a click still means it.
_REACH_PIXELS = 6
_TILE_PIXELS = 256
_NOTHING: dict[str, Any] = {"type": "FeatureCollection", "features": []}
_SELECTED = {"color": "#ff00c8", "weight": 3, "fillOpacity": 0.0}


class Canvas(Protocol):
    """The map of a map library.

    Attributes:
        map: The library's map.
        layers: Those of the map, one for each of ours.
        info: Says what is under the mouse.
        selection: The outline of the selected window.
    """

    map: Any
    layers: tuple[Any, ...]
    info: Any
    selection: Any

    def put(self, layers: Sequence[Layer]) -> None:
        """Shows these layers instead of those before."""

    def look_at(self, bounds: Bounds) -> None:
        """Moves the map to west, south, east, north."""

    def put_tiles(self, number: int, urls: Sequence[str]) -> None:
        """Shows tiles instead of the picture of a layer."""

    def divide(self, left: str, right: str) -> Any:
        """Puts a line between the layers of the left and those of the right; gives its widget."""


class MapView(LiveView):
    """A map of layers; the last expression of a cell shows it.

    Args:
        layers: Its layers, in any order.
        make_canvas: Makes the map that shows them.

    Attributes:
        selected: Name of the selected window, or None; may be set.
        layers: Its layers.
        map: The leafmap map, for whatever else leafmap can do.
    """

    selected = traitlets.Unicode(None, allow_none=True)

    def __init__(self, layers: Sequence[Layer], make_canvas: Callable[[], Canvas]) -> None:
        super().__init__()
        with self.owning():
            self._canvas = make_canvas()
            self.root = widget_library().VBox([self._canvas.map, self.message])
        self.map = self._canvas.map
        self._hovered: tuple[tuple[int, int], ...] = ()
        self._callbacks: list[Callable[[str | None], object]] = []
        self._of_layers: Mapping[str, Any] = {}
        self.show(layers)
        self.map.on_interaction(self._on_interaction)

    def show(self, layers: Sequence[Layer], *, fit: bool = False) -> None:
        """Shows other layers on the same map; what was selected stays selected if it is still there.

        Args:
            layers: In any order.
            fit: Move the map to where they are; else it stays where the user moved it.
        """
        self.layers = tuple(arranged(layers))
        self._windows = _windows_of(self.layers)
        self._names = _names_of(self._windows)
        self._index = {name: index for index, name in enumerate(self._names)}
        before = self._of_layers
        with self.owning() as self._of_layers:
            self._canvas.put(self.layers)
        self.free(before)
        self._hovered = ()
        self._canvas.info.value = ""
        bounds = lonlat_bounds(self.layers)
        if fit and bounds is not None:
            self._canvas.look_at(bounds)
        if self.selected is not None and self.selected not in self._index:
            self.selected = None

    def use_tiles(self) -> None:
        """Shows results by tiles: every pixel, as far as one zooms in; pictures stay where the browser gets no tiles.

        Raises:
            MissingDependencyError: If localtileserver is not installed.
            InputFileError: If a file can't be served.
            UsageError: If no layer was read from files that can be shown so.
        """
        from olmoearth_nb.maps.tiles import Probe, serve

        sources = [(number, getattr(layer, "source", None)) for number, layer in enumerate(self.layers)]
        served = [(number, serve(source)) for number, source in sources if source is not None]
        if not served:
            raise UsageError("There is nothing to show as tiles.", expected="a result of GeoTIFFs, made by combine()")
        self._tiles = served  # as long as the map is there
        with self.owning():
            probe = Probe(port=served[0][1].port, sample=served[0][1].sample)
            self.root.children = (*self.root.children, probe)
        probe.observe(lambda change: self._take_tiles(change["new"]), "found")

    def _take_tiles(self, address: str) -> None:
        with self.guarded():
            if not address:
                self.say("No tiles: the browser does not reach the tile server. The picture is shown instead.")
                return
            with self.owning():
                for number, tiles in self._tiles:
                    self._canvas.put_tiles(number, [address + path for path in tiles.paths])
            self.say("Tiles: every pixel is there when you zoom in.")

    def lonboard(self) -> Any:
        """The windows of this map, every outline of them, as a lonboard map, whose scripts come from the internet.

        Raises:
            MissingDependencyError: If lonboard is not installed.
            UsageError: If there are no windows on the map.
        """
        from olmoearth_nb.maps.lonboard import lonboard_map

        if self._windows is None:
            raise UsageError("There are no windows on this map.", fix="Call runner.partition() first.")
        return lonboard_map(self._windows)

    # ---- selecting -------------------------------------------------------------------------------------------

    def on_select(self, callback: Callable[[str | None], object]) -> None:
        """Calls back with the name of a window when it is selected; what that raises is shown under the map.

        Args:
            callback: Gets the name, or None when nothing is selected any more.
        """
        self._callbacks.append(callback)

    @traitlets.validate("selected")
    def _known(self, proposal: Any) -> str | None:
        name: str | None = proposal["value"]
        if name is not None and name not in self._index:
            raise UsageError("There is no such window on the map.", found=repr(name))
        return name

    @traitlets.observe("selected")
    def _show_selected(self, change: Any) -> None:
        name: str | None = change["new"]
        self._canvas.selection.data = _NOTHING if name is None else self._outline(name)
        # What was said of the place where the mouse was would hide a window that was selected elsewhere.
        self._hovered, self._canvas.info.value = (), ""
        self.say("")
        for callback in self._callbacks:
            with self.guarded(anew=False):
                callback(name)

    def _outline(self, name: str) -> dict[str, Any]:
        if self._windows is None:
            return _NOTHING
        shape = shapely.geometry.mapping(self._windows.shapes[self._index[name]])
        return {
            "type": "FeatureCollection",
            "features": [{"type": "Feature", "geometry": shape, "properties": {"style": _SELECTED}}],
        }

    # ---- the mouse -------------------------------------------------------------------------------------------

    def _on_interaction(self, **event: Any) -> None:
        kind, place = event.get("type"), event.get("coordinates")
        if kind not in ("click", "mousemove") or not place:
            return
        lat, lon = place
        if kind == "click":
            self.click(lon, lat)
        else:
            self.hover(lon, lat)

    def click(self, lon: float, lat: float) -> None:
        """What a click at a place does: selects the window there.

        Args:
            lon: Degrees.
            lat: Degrees.
        """
        found = None if self._windows is None else self._windows.find(lon, lat, reach=self._reach)
        if found is not None:
            self.selected = self._names[found]
        self.hover(lon, lat)

    def hover(self, lon: float, lat: float) -> None:
        """What the mouse at a place does: shows what is known of the things there.

        Args:
            lon: Degrees.
            lat: Degrees.
        """
        hits: list[tuple[int, int]] = []
        for number, layer in reversed(list(enumerate(self.layers))):
            if isinstance(layer, ShapeLayer) and self._canvas.layers[number].visible:
                found = layer.find(lon, lat, reach=self._reach)
                hits += [] if found is None else [(number, found)]
        if tuple(hits) != self._hovered:
            self._hovered = tuple(hits)
            texts = [self._describe(*hit) for hit in hits]
            inner = "<hr style=margin:3px>".join(texts)
            self._canvas.info.value = f'<div style="{PANEL}">{inner}</div>' if hits else ""

    def _describe(self, number: int, index: int) -> str:
        layer = self.layers[number]
        return layer.describe(index) if isinstance(layer, ShapeLayer) else ""

    @property
    def _reach(self) -> float:
        return float(_REACH_PIXELS * 360 / (_TILE_PIXELS * 2**self.map.zoom))

    # ---- faces -----------------------------------------------------------------------------------------------

    def static(self) -> Figure:
        """The same map as a matplotlib figure, without the base map."""
        return draw_layers(self.layers)

    def __repr__(self) -> str:
        return f"Map of {', '.join(layer.name for layer in reversed(self.layers))}"


def _windows_of(layers: Sequence[Layer]) -> ShapeLayer | None:
    found = (layer for layer in layers if layer.kind is LayerKind.WINDOWS and isinstance(layer, ShapeLayer))
    return next(found, None)


def _names_of(layer: ShapeLayer | None) -> list[str]:
    """Names of windows, with their group where names alone are not unique."""
    if layer is None or "name" not in layer.about.columns:
        return []
    names = layer.about["name"].astype(str)
    if names.is_unique or "group" not in layer.about.columns:
        return list(names)
    return list(layer.about["group"].astype(str) + "/" + names)
