"""The request drawer: areas and times that somebody wants a map of, drawn, and saved where the runner finds them."""

from __future__ import annotations

import html
from collections.abc import Callable
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import pandas as pd
import shapely
import traitlets
from matplotlib.figure import Figure
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.config import Project
from olmoearth_nb.errors import OlmoEarthError, UsageError
from olmoearth_nb.files import atomic_path, is_folder_name, shown_path
from olmoearth_nb.geojson import read_request, write_collection
from olmoearth_nb.geometry import equal_area, shape_array, valid_shapes
from olmoearth_nb.maps.context import context_layers
from olmoearth_nb.maps.frame import one_side
from olmoearth_nb.maps.layers import Key, Layer, LayerKind, ShapeLayer, arranged, hex_color
from olmoearth_nb.maps.live import LiveView, widget_library
from olmoearth_nb.maps.preview import build_map
from olmoearth_nb.maps.twin import draw_layers
from olmoearth_nb.maps.widgets.drawing import (
    as_drawing,
    as_feature,
    as_time,
    of_drawing,
    properties_of,
    request_of,
    shape_in,
    text_of,
)
from olmoearth_nb.maps.widgets.quiet import Quiet

__all__ = ["RequestDrawer", "draw_request"]

_COLOR = (216, 27, 96)
_STYLE = {"color": hex_color(_COLOR), "weight": 3, "opacity": 1, "fillOpacity": 0.15}
_TYPED_LAYOUT = {"width": "auto"}
_LABEL = "font-weight:600;margin:6px 0 0"
_SMALL = "color:var(--jp-ui-font-color2,#555);line-height:1.4"
# Where to look if a project has nothing that lies anywhere.
_WORLD = shapely.box(-170, -55, 170, 75)
_MAP_HEIGHT = 480
# What is further away than so many times the size of a drawing makes it too small to be seen.
_FAR, _LEAST_DEGREES = 4.0, 0.1


@runtime_checkable
class HasProject(Protocol):
    """A runner."""

    @property
    def project(self) -> Project:
        """Its project."""


def draw_request(project: Project | HasProject | str | PathLike[str], name: str = "drawn") -> RequestDrawer:
    """A map to draw a request on, for a project.

    Args:
        project: A project, its folder, or a runner.
        name: Of the request: it is saved as ``prediction/<name>.geojson``.

    Raises:
        ProjectError: If there is no such project.
        UsageError: If no file can have that name.
        MissingDependencyError: If leafmap is not installed.

    Example:
        >>> drawer = draw_request("olmoearth_run_data/sample", "here")  # doctest: +SKIP
    """
    match project:
        case Project():
            return RequestDrawer(project, name)
        case HasProject():
            return RequestDrawer(project.project, name)
        case _:
            return RequestDrawer(Project(project), name)


class RequestDrawer(LiveView):
    """A map to draw polygons and points on, with a time range; the last expression of a cell shows it.

    Args:
        project: Whose request it is.
        name: Of the request.

    Attributes:
        features: What is drawn, as GeoJSON features; may be set, with shapely geometries too.
        start: Of the time range, UTC; may be set as text (``2024-05-01``).
        end: The same.
        properties: Further properties of all features.
        name: Of the request.
        path: The file, once it is saved.
        map: The map, see :class:`olmoearth_nb.maps.view.MapView`.
    """

    features: Any = traitlets.List()
    start = traitlets.Any(None, allow_none=True)
    end = traitlets.Any(None, allow_none=True)
    properties = traitlets.Dict()
    name = traitlets.Unicode()
    path = traitlets.Any(None, allow_none=True)

    def __init__(self, project: Project, name: str) -> None:
        super().__init__()
        self._project = project
        self._quiet = Quiet()
        self._context, notes = context_layers(project)
        self.name = name
        self.start, self.end = _times_of(project)
        with self.owning():
            self.map = build_map(self._context or [_world()], height=_MAP_HEIGHT)
            self._control = _draw_control()
            self.map.map.add(self._control)
            self._compose()
        self._control.observe(self._on_drawn, "data")
        self.observe(self._on_set, ["features", "start", "end", "properties", "name"])
        self._show()
        if notes:
            self.say("Not shown: " + " ".join(notes))

    # ---- what is set -----------------------------------------------------------------------------------------

    @traitlets.validate("features")
    def _as_features(self, proposal: Any) -> list[dict[str, Any]]:
        return [as_feature(one) for one in proposal["value"]]

    @traitlets.validate("start", "end")
    def _as_time(self, proposal: Any) -> datetime | None:
        return as_time(proposal["value"])

    @traitlets.validate("name")
    def _as_name(self, proposal: Any) -> str:
        name = str(proposal["value"]).removesuffix(".geojson")
        if name.startswith(".") or not (name and is_folder_name(f"{name}.geojson")):
            raise UsageError(
                "No request can be called this.", expected="a file name without a folder", found=repr(name)
            )
        return name

    def _on_drawn(self, change: Any) -> None:
        if self._quiet:
            return
        with self.guarded():
            self.features = [of_drawing(one) for one in change["new"]]

    def _on_set(self, _: Any) -> None:
        with self.guarded(anew=False):
            self._show()

    # ---- saving ----------------------------------------------------------------------------------------------

    @property
    def target(self) -> Path:
        """Where :meth:`save` writes."""
        return self._project.data_path / Project.REQUEST_FOLDER / f"{self.name}.geojson"

    def save(self, *, overwrite: bool = False) -> Path:
        """Saves the request; it is read back before it takes its place.

        Args:
            overwrite: Replace a file of that name.

        Returns:
            The file, for ``request_geometry_path`` of a runner.

        Raises:
            UsageError: If there is such a file, nothing is drawn, or the time range is missing or is none.
            StorageError: If it can't be written.
        """
        request = request_of(self.features, start=self.start, end=self.end, properties=self.properties)
        target = self.target
        if target.exists() and not overwrite:
            raise UsageError(
                "There is a request of this name.",
                where=str(shown_path(target)),
                fix="Choose another name, or replace it: save(overwrite=True), or the box to tick.",
            )
        with atomic_path(target) as beside:
            write_collection(beside, request)
            read_request(beside)
        self.path = target
        self._show()
        return target

    # ---- widgets ---------------------------------------------------------------------------------------------

    def _compose(self) -> None:
        widgets = widget_library()
        self._name = widgets.Text(continuous_update=False, layout=_TYPED_LAYOUT)
        self._start = widgets.NaiveDatetimePicker(layout=_TYPED_LAYOUT)
        self._end = widgets.NaiveDatetimePicker(layout=_TYPED_LAYOUT)
        self._properties = widgets.Text(
            continuous_update=False, placeholder="field: north, farm: 3", layout=_TYPED_LAYOUT
        )
        self._replace = widgets.Checkbox(description="replace the file of this name", indent=False)
        self._button = widgets.Button(description="Save", button_style="primary", layout={"width": "auto"})
        self._summary = widgets.HTML()
        labelled = {
            "name": self._name,
            "from (UTC)": self._start,
            "to (UTC)": self._end,
            "properties (optional)": self._properties,
        }
        rows = [part for label, widget in labelled.items() for part in (_label(label), widget)]
        panel = widgets.VBox(
            [*rows, self._summary, self._replace, self._button], layout={"flex": "1 1 240px", "max_width": "320px"}
        )
        self.map.root.layout = {"flex": "1 1 440px", "min_width": "300px"}
        row = widgets.Box(
            [self.map.root, panel], layout={"flex_flow": "row wrap", "align_items": "flex-start", "grid_gap": "14px"}
        )
        self.root = widgets.VBox([row, self.message])
        for trait, widget in {"name": self._name, "start": self._start, "end": self._end}.items():
            widget.observe(self._setter(trait, lambda value: value), "value")
        self._properties.observe(self._setter("properties", properties_of), "value")
        self._button.on_click(self._on_save)

    def _setter(self, trait: str, read: Callable[[Any], Any]) -> Callable[[Any], None]:
        def changed(change: Any) -> None:
            if self._quiet:
                return
            with self.guarded():
                try:
                    self.set_trait(trait, read(change["new"]))
                finally:
                    self._show()

        return changed

    def _on_save(self, _: object) -> None:
        with self.guarded():
            path = self.save(overwrite=self._replace.value)
            self.say(f"Saved as {shown_path(path)}.")

    def _show(self) -> None:
        """Shows the traits in the widgets."""
        with self._quiet:
            if [of_drawing(one) for one in self._control.data] != self.features:
                self._control.data = [as_drawing(one, _STYLE) for one in self.features]
            self._name.value = self.name
            self._start.value, self._end.value = _naive(self.start), _naive(self.end)
            self._properties.value = text_of(self.properties)
        self._replace.layout.display = "flex" if self.target.exists() else "none"
        self._summary.value = f'<div style="{_SMALL}">{html.escape(self._said())}</div>'

    def _said(self) -> str:
        if not self.features:
            return "Nothing drawn yet: choose a tool on the left edge of the map."
        shapes = self._shapes()
        points = int((shapely.get_dimensions(shapes) == 0).sum())
        polygons = len(shapes) - points
        counted = [
            f"{count} {what}{'s' if count > 1 else ''}"
            for count, what in ((polygons, "polygon"), (points, "point"))
            if count
        ]
        area = float(shapely.area(valid_shapes(equal_area(shapes))).sum()) / 1e6
        return " and ".join(counted) + (f", {area:,.4g} km²" if polygons else "")

    def _shapes(self) -> Any:
        return shape_array([shape_in(one) for one in self.features])

    # ---- faces -----------------------------------------------------------------------------------------------

    def static(self) -> Figure:
        """What is drawn as a matplotlib figure, with what else the project has there."""
        layers: list[Layer] = [*self._context]
        if self.features:
            shapes = one_side(self._shapes())
            layers = [layer for layer in layers if _is_near(layer, shapely.box(*shapely.total_bounds(shapes)))]
            layers.append(
                ShapeLayer(
                    kind=LayerKind.REQUEST,
                    name=self.name,
                    shapes=shapes,
                    colors=[_COLOR] * len(shapes),
                    about=pd.DataFrame({"request": [self.name] * len(shapes)}),
                    key=Key("", ((f"drawn: {self.name}", _COLOR),)),
                )
            )
        return draw_layers(arranged(layers or [_world()]), title=self._said() if self.features else "")

    def close(self) -> None:
        """Removes this from the notebook and frees its widgets."""
        self.map.close()
        super().close()

    def __repr__(self) -> str:
        saved = f"saved as {shown_path(self.path)}" if self.path else "not saved"
        return f"RequestDrawer {self.name!r}: {self._said() if self.features else 'nothing drawn'}; {saved}"


def _times_of(project: Project) -> tuple[datetime | None, datetime | None]:
    """The time range of the project's first request that can be read; most requests are for the same one."""
    for path in project.requests.values():
        try:
            properties = read_request(path).features[0].properties
        except OlmoEarthError:
            continue
        if properties is not None:
            return properties.oe_start_time, properties.oe_end_time
    return None, None


def _draw_control() -> Any:
    # Geoman's: where a point is on the map, ipyleaflet's older control (Leaflet.draw) loses what was edited.
    from ipyleaflet import GeomanDrawControl

    return GeomanDrawControl(
        polygon={"pathOptions": _STYLE},
        rectangle={"pathOptions": _STYLE},
        marker={"continueDrawing": False},
        polyline={},
        circle={},
        circlemarker={},
        drag=False,
        cut=False,
        rotate=False,
        position="topleft",
    )


def _is_near(layer: Layer, drawn: BaseGeometry) -> bool:
    """Whether both can be seen on one picture."""
    west, south, east, north = drawn.bounds
    reach = _FAR * max(east - west, north - south, _LEAST_DEGREES)
    return layer.bounds is not None and shapely.box(*layer.bounds).dwithin(drawn, reach)


def _world() -> ShapeLayer:
    return ShapeLayer(
        kind=LayerKind.REQUEST, name="world", shapes=shape_array([_WORLD]), colors=[(200, 200, 200)], fill=0.0
    )


def _label(text: str) -> Any:
    return widget_library().HTML(f'<div style="{_LABEL}">{html.escape(text)}</div>')


def _naive(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
