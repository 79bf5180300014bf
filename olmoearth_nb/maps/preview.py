"""Live maps in notebooks: the only place that knows leafmap."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from olmoearth_nb.errors import GeometryError, MissingDependencyError
from olmoearth_nb.legend import Legend
from olmoearth_nb.maps.frame import Bounds
from olmoearth_nb.maps.imagery import ImageryView
from olmoearth_nb.maps.keys import legend_html
from olmoearth_nb.maps.layers import Layer, LayerKind, ShapeLayer, Side, arranged, lonlat_bounds
from olmoearth_nb.maps.things import layers_of
from olmoearth_nb.maps.viewport import USUAL_WIDTH, ZOOM_STEP, centre_and_zoom

if TYPE_CHECKING:
    from olmoearth_nb.maps.compare import CompareView
    from olmoearth_nb.maps.view import MapView

__all__ = ["build_comparison", "build_map", "preview"]

_HEIGHT = 480
# So much of a map's height is left free below the panel, for the attribution, and above it.
_BESIDE_PANEL = 46
# Widths that a map has while it is not seen.
_NARROWEST, _WIDEST = 100, 10_000
# Leaflet has tiles at 200 and shapes at 400; layers arrive in any order, panes keep theirs.
_SIDES: tuple[Side | None, ...] = (None, "left", "right")


def preview(
    thing: object, *, legend: Legend | None = None, by: str | None = None, view: ImageryView | None = None
) -> MapView:
    """A live map of any single thing.

    Args:
        thing: A request or its file, a plan or partitions, a windows table, one window, GeoTIFFs, a vector result, the
            result of a prediction, or annotation tasks.
        legend: What the values of labels and results mean.
        by: What to colour by: column of a windows table, field or property of results, label of annotations.
        view: Bands, time step and stretch of imagery.

    Raises:
        UsageError: If it is none of these.
        InputFileError: If a file can't be read.
        MissingDependencyError: If leafmap is not installed.
    """
    return build_map(layers_of(thing, legend=legend, by=by, view=view))


def build_comparison(
    left: Sequence[Layer], right: Sequence[Layer], *, both: Sequence[Layer] = (), height: int = _HEIGHT
) -> CompareView:
    """A live map with a line across: left of it some layers are seen, right of it others.

    Args:
        left: At least one with something on it.
        right: The same.
        both: What is seen on both sides, windows to pick, say.
        height: In pixels.

    Raises:
        GeometryError: If one side has nothing to show.
        MissingDependencyError: If leafmap is not installed.
    """
    libraries = _libraries()
    from olmoearth_nb.maps.compare import CompareView, halves

    layers = [*halves(left, right), *both]
    return CompareView(layers, lambda: LeafletMap(libraries, _bounds_of(layers), height))


def build_map(layers: Sequence[Layer], *, height: int = _HEIGHT) -> MapView:
    """A live map of layers, in their fixed order whatever the order given.

    Args:
        layers: At least one with something on it.
        height: In pixels.

    Raises:
        GeometryError: If there is nothing to show.
        MissingDependencyError: If leafmap is not installed.
    """
    libraries = _libraries()
    from olmoearth_nb.maps.view import MapView

    bounds = _bounds_of(layers)
    return MapView(layers, lambda: LeafletMap(libraries, bounds, height))


def _bounds_of(layers: Sequence[Layer]) -> Bounds:
    bounds = lonlat_bounds(arranged(layers))
    if bounds is None:
        raise GeometryError("There is nothing to draw a map of.", expected="at least one geometry or raster")
    return bounds


@dataclass(frozen=True)
class Libraries:
    """The map libraries, imported when the first map is made: leafmap takes some seconds."""

    leafmap: ModuleType
    ipyleaflet: ModuleType
    ipywidgets: ModuleType


class LeafletMap:
    """A leafmap map, and what we put onto it.

    Args:
        libraries: The map libraries.
        bounds: West, south, east, north in degrees: where to look at first.
        height: In pixels.

    Attributes:
        map: The leafmap map.
        layers: Those of the map, one for each of ours.
        info: Says what is under the mouse.
        selection: The outline of the selected window.
    """

    def __init__(self, libraries: Libraries, bounds: Bounds, height: int) -> None:
        from olmoearth_nb.maps.panel import PanelManners

        self._libraries = libraries
        self._bounds, self._width, self._height = bounds, float(USUAL_WIDTH), height
        centre, zoom = centre_and_zoom(bounds, self._width, height)
        self.map = libraries.leafmap.Map(
            center=centre,
            zoom=zoom,
            zoom_snap=ZOOM_STEP,
            height=f"{height}px",
            panes={_pane(kind, side): {"zIndex": 300 + 10 * kind} for kind in LayerKind for side in _SIDES},
            toolbar_control=False,
            draw_control=False,
            fullscreen_control=False,
        )
        self.layers: tuple[Any, ...] = ()
        self.info = libraries.ipywidgets.HTML()
        self.selection = libraries.ipyleaflet.GeoJSON(
            data={"type": "FeatureCollection", "features": []}, name="selected window"
        )
        self.map.add_class("olmoearth-map")
        self.map.observe(self._fit_to_screen, ["left", "right"])
        self._base = self.map.layers[0]
        self._controls = self.map.controls
        self._manners = PanelManners()

    def _fit_to_screen(self, _change: Any) -> None:
        """Looks anew when the browser says how wide the map is, unless somebody has moved it meanwhile."""
        width = self.map.right - self.map.left
        if not _NARROWEST < width < _WIDEST or width == self._width:
            return
        before, self._width = self._width, width
        zooms = [centre_and_zoom(self._bounds, one, self._height)[1] for one in (before, width)]
        if self.map.zoom == zooms[0]:
            self.map.zoom = zooms[1]

    def put(self, layers: Sequence[Layer]) -> None:
        """Shows these layers instead of those before.

        Args:
            layers: Arranged.
        """
        shown = [_leaflet_layer(self._libraries.ipyleaflet, layer) for layer in layers]
        panel = _panel(self._libraries.ipywidgets, layers, shown, self._base)
        panel.children = (*panel.children, self._manners)
        panel.layout.max_height = f"{self._height - _BESIDE_PANEL}px"
        controls = [
            self._libraries.ipyleaflet.WidgetControl(widget=widget, position=position, transparent_bg=True)
            for position, widget in (("topright", panel), ("bottomleft", self.info))
        ]
        self.layers = tuple(shown)
        self.map.layers = (self._base, *shown, self.selection)
        self.map.controls = (*self._controls, *controls)

    def put_tiles(self, number: int, urls: Sequence[str]) -> None:
        """Shows tiles instead of the picture of a layer.

        Args:
            number: Which layer.
            urls: Of the tiles of each file, with ``{z}``, ``{x}`` and ``{y}``.
        """
        picture = self.layers[number]
        look = {"pane": picture.pane, "opacity": picture.opacity, "visible": picture.visible, "name": picture.name}
        tiles = [self._libraries.ipyleaflet.TileLayer(url=url, max_zoom=24, **look) for url in urls]
        for one in tiles:
            for name in ("visible", "opacity"):
                self._libraries.ipywidgets.jslink((picture, name), (one, name))
        at = self.map.layers.index(picture)
        self.map.layers = (*self.map.layers[:at], *tiles, *self.map.layers[at + 1 :])

    def divide(self, left: str, right: str) -> Any:
        """Puts a line between the layers of the left and those of the right.

        Args:
            left: What is seen left of it.
            right: What is seen right of it.

        Returns:
            The widget of the line, with its ``position``.
        """
        from olmoearth_nb.maps.swipe import Swipe

        swipe = Swipe(left=left, right=right)
        control = self._libraries.ipyleaflet.WidgetControl(widget=swipe, position="topleft", transparent_bg=True)
        self._controls = (*self._controls, control)
        self.map.controls = (*self.map.controls, control)
        return swipe

    def look_at(self, bounds: Bounds) -> None:
        """Moves the map.

        Args:
            bounds: West, south, east, north in degrees.
        """
        self._bounds = bounds
        self.map.center, self.map.zoom = centre_and_zoom(bounds, self._width, self._height)


def _libraries() -> Libraries:
    try:
        import ipyleaflet
        import ipywidgets

        # The package itself picks another map, which needs the network, in some places; this one is always the same.
        from leafmap import leafmap
    except ImportError as error:
        raise MissingDependencyError(
            f"Live maps need leafmap: {error}.",
            fix="pip install 'olmoearth-nb[notebook]', or draw with runner.plot, which needs no browser.",
        ) from error
    return Libraries(leafmap, ipyleaflet, ipywidgets)


def _leaflet_layer(ipyleaflet: ModuleType, layer: Layer) -> Any:
    """A layer of the map: shapes where they are few, a picture of them where they are many."""
    name = html.escape(layer.name)
    # Shapes can't be hidden before they are displayed; a picture can.
    # Halves of a comparison are cut by pane, which ipyleaflet's shapes don't have.
    if isinstance(layer, ShapeLayer) and layer.shown and layer.side is None and layer.outlines is not None:
        hover = {"fillOpacity": min(layer.fill + 0.2, 1.0)}
        return ipyleaflet.GeoJSON(data=layer.geojson(), hover_style=hover, point_style={"radius": 5}, name=name)
    picture = layer.picture
    return ipyleaflet.ImageOverlay(
        url=picture.data_uri(),
        bounds=picture.corners,
        opacity=layer.opacity,
        pane=_pane(layer.kind, layer.side),
        name=name,
        visible=layer.shown,
    )


def _panel(ipywidgets: ModuleType, layers: Sequence[Layer], shown: Sequence[Any], base: Any) -> Any:
    """What switches layers, and their legend below."""
    named = [("base map", base), *((layer.name, widget) for layer, widget in zip(layers, shown, strict=True))]
    rows = [_switch(ipywidgets, name, widget) for name, widget in reversed(named)]
    legend = legend_html(layers)
    parts = [ipywidgets.Accordion(children=[ipywidgets.VBox(rows)], titles=("Layers",), selected_index=None)]
    panel = ipywidgets.VBox([*parts, ipywidgets.HTML(legend)] if legend else parts)
    panel.add_class("olmoearth-panel")
    return panel


def _switch(ipywidgets: ModuleType, name: str, layer: Any) -> Any:
    """A line of the layers panel; it works without a kernel too, in an exported page."""
    box = ipywidgets.Checkbox(value=layer.visible, description=name, indent=False, layout={"width": "150px"})
    ipywidgets.jslink((box, "value"), (layer, "visible"))
    if not hasattr(layer, "opacity"):
        return box
    slider = ipywidgets.FloatSlider(
        value=layer.opacity, min=0, max=1, step=0.05, readout=False, layout={"width": "70px"}, tooltip="opacity"
    )
    ipywidgets.jslink((slider, "value"), (layer, "opacity"))
    return ipywidgets.HBox([box, slider])


def _pane(kind: LayerKind, side: Side | None) -> str:
    return "-".join(["olmoearth", *([side] if side else []), kind.name.lower()])
