"""What a map consists of: layers with their shapes or picture, their legend, and what is said of each thing on them.

No map library here: the live map (:mod:`olmoearth_nb.maps.preview`) and its drawn twin
(:mod:`olmoearth_nb.maps.twin`) are made of the same layers.
"""

from __future__ import annotations

import enum
import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
import shapely

from olmoearth_nb.colors import RGB
from olmoearth_nb.globe import Shapes, transformed
from olmoearth_nb.legend import ClassLegend, RangeLegend
from olmoearth_nb.maps.burn import burnt
from olmoearth_nb.maps.frame import Bounds, one_side
from olmoearth_nb.maps.mercator import to_mercator
from olmoearth_nb.maps.overlay import Overlay
from olmoearth_nb.maps.style import ClassColors, Coloring

__all__ = [
    "Key",
    "Layer",
    "LayerFacts",
    "LayerKind",
    "PictureLayer",
    "ShapeLayer",
    "Side",
    "TileSource",
    "arranged",
    "hex_color",
    "key_of_coloring",
    "lonlat_bounds",
    "merged_keys",
]

# GeoJSON of so many positions is about half a megabyte; more are thinned, or become a picture.
_MOST_POSITIONS = 15_000
_THINNED_TO = 1 / 4000
_DIGITS = 7
# Windows smaller than this part of the map get a thick outline, so that they can be seen from afar.
_TINY = 1 / 300


Side: TypeAlias = Literal["left", "right"]
"""A half of a comparison."""


class LayerKind(enum.IntEnum):
    """Kinds of layers, in their order from below."""

    IMAGERY = 1
    LABELS = 2
    PREDICTIONS = 3
    CONFIDENCE = 4
    MASK = 5
    REQUEST = 6
    PARTITIONS = 7
    WINDOWS = 8
    CHANGES = 9


_FRAMES = (LayerKind.PARTITIONS, LayerKind.WINDOWS)


@dataclass(frozen=True)
class Key:
    """The legend of a layer: names with colours, or a range with its colormap.

    Attributes:
        title: Its heading.
        entries: Name and colour of each class.
        scale: The range, if there are no classes.
    """

    title: str
    entries: tuple[tuple[str, RGB], ...] = ()
    scale: RangeLegend | None = None


def key_of_coloring(coloring: Coloring, *, title: str | None = None) -> Key:
    """The legend of classes or of a range.

    Args:
        coloring: What has which colour.
        title: Its heading; the name of the field if None.
    """
    name = title or (coloring.name if isinstance(coloring, ClassColors) else coloring.property_name)
    if isinstance(coloring, ClassColors):
        return Key(name, tuple((coloring.labels[value], color) for value, color in coloring.colors.items()))
    return Key(name, scale=coloring)


def merged_keys(keys: Sequence[Key]) -> list[Key]:
    """Legends with the same heading, as the halves of a comparison have them, in one.

    Args:
        keys: In their order from above.
    """
    merged: dict[tuple[str, RangeLegend | None], Key] = {}
    for key in keys:
        there = merged.get((key.title, key.scale), key)
        merged[key.title, key.scale] = Key(key.title, tuple(dict.fromkeys((*there.entries, *key.entries))), key.scale)
    return list(merged.values())


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerFacts:
    """What all layers have.

    Attributes:
        kind: Where in the order it lies.
        name: What the layers control calls it.
        key: Its legend, if it needs one.
        opacity: 0..1, of a picture.
        shown: Whether it is on at first.
        note: One line on what is missing from it, if anything is.
        side: Of a comparison, the half in which it is seen; both if None.
    """

    kind: LayerKind
    name: str
    key: Key | None = None
    opacity: float = 1.0
    shown: bool = True
    note: str = ""
    side: Side | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TileSource:
    """Where the pixels of a picture come from, for who wants to see each of them.

    Attributes:
        paths: GeoTIFFs.
        band: Counted from 1.
        legend: What has which colour; class values are within 0..255.
    """

    paths: tuple[Path, ...]
    band: int
    legend: ClassLegend | RangeLegend


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureLayer(LayerFacts):
    """A raster.

    Attributes:
        picture: Its picture.
        source: The files it was read from, if they can be shown as tiles.
    """

    picture: Overlay
    source: TileSource | None = None

    @property
    def bounds(self) -> Bounds:
        """West, south, east, north in degrees."""
        (south, west), (north, east) = self.picture.corners
        return west, south, east, north

    def turned(self, turns: int) -> PictureLayer:
        """The same layer so many times around the globe to the east.

        Args:
            turns: Whole number.
        """
        return replace(self, picture=self.picture.turned(turns)) if turns else self


@dataclass(frozen=True, kw_only=True, eq=False)
class ShapeLayer(LayerFacts):
    """Geometries with colours, and what is known of each.

    Attributes:
        shapes: Array of geometries in degrees.
        colors: One for each.
        about: A table with a row for each; the first column is its name.
        fill: Opacity of what fills polygons.
        labels: Texts to write onto the map, in the middle of each geometry; none if empty.
    """

    shapes: Shapes
    colors: Sequence[RGB]
    about: pd.DataFrame = field(default_factory=pd.DataFrame)
    fill: float = 0.15
    labels: tuple[str, ...] = ()

    @property
    def bounds(self) -> Bounds | None:
        """West, south, east, north in degrees, or None if there is nothing on it."""
        if not len(self.shapes):
            return None
        west, south, east, north = shapely.total_bounds(self.shapes).tolist()
        return None if np.isnan(west) else (west, south, east, north)

    @cached_property
    def in_mercator(self) -> Shapes:
        """The geometries in metres of Web Mercator."""
        return transformed(self.shapes, to_mercator)

    def turned(self, turns: int) -> ShapeLayer:
        """The same layer so many times around the globe to the east.

        Args:
            turns: Whole number.
        """
        moved = transformed(self.shapes, lambda xy: xy + np.array([360.0 * turns, 0.0])) if turns else self.shapes
        return replace(self, shapes=moved)

    # ---- finding ---------------------------------------------------------------------------------------------

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree(self.shapes)

    def find(self, lon: float, lat: float, *, reach: float = 0.0) -> int | None:
        """Which geometry is at a place; of several, the one whose middle is nearest.

        Args:
            lon: Degrees.
            lat: Degrees.
            reach: How far beside it, in degrees of longitude, a geometry still counts if none is there.
        """
        spots = [shapely.Point(lon + turn, lat) for turn in (0.0, 360.0, -360.0)]
        for spot in spots:
            hits = self._tree.query(spot, predicate="intersects").tolist()
            if hits:
                away = shapely.distance(shapely.centroid(self.shapes[hits]), spot)
                return int(hits[int(np.argmin(away))])
        if reach <= 0:
            return None
        near = self._tree.query_nearest(spots, max_distance=reach, all_matches=False).ravel()
        return int(near[-1]) if len(near) else None

    def describe(self, index: int) -> str:
        """What is known of a geometry, as HTML; whatever comes from data is text there, never markup.

        Args:
            index: Which one.
        """
        if self.about.empty:
            return f"<b>{html.escape(self.name)}</b>"
        cells = [(str(name), _cell(value)) for name, value in self.about.iloc[index].items()]
        lines = [f"<b>{html.escape(cells[0][1])}</b>"]
        lines += [f"{html.escape(name)}: {html.escape(text)}" for name, text in cells[1:] if text]
        return "<br>".join(lines)

    # ---- showing ---------------------------------------------------------------------------------------------

    @cached_property
    def outlines(self) -> Shapes | None:
        """The geometries as detailed as a map needs, or None if they are too many for anything but a picture."""
        if shapely.get_num_coordinates(self.shapes).sum() <= _MOST_POSITIONS or self.bounds is None:
            return self.shapes
        if len(self.shapes) > _MOST_POSITIONS // 4:
            return None
        west, south, east, north = self.bounds
        thinned = np.asarray(shapely.simplify(self.shapes, _THINNED_TO * max(east - west, north - south)), dtype=object)
        return thinned if shapely.get_num_coordinates(thinned).sum() <= _MOST_POSITIONS else None

    @cached_property
    def picture(self) -> Overlay:
        """All geometries as one picture."""
        return burnt(self.in_mercator, self.colors, fill=self.fill)

    def geojson(self) -> dict[str, Any]:
        """Outlines with their style as a GeoJSON collection, without any text from data."""
        outlines = self.outlines
        if outlines is None:
            return {"type": "FeatureCollection", "features": []}
        there = np.flatnonzero(~(shapely.is_empty(outlines) | shapely.is_missing(outlines)))
        rounded = transformed(outlines[there], lambda xy: xy.round(_DIGITS))
        look = {"weight": self._weight, "fillOpacity": self.fill}
        features = [
            {
                "type": "Feature",
                "geometry": json.loads(text),
                "properties": {"style": {"color": hex_color(self.colors[index]), **look}},
            }
            for index, text in zip(there.tolist(), shapely.to_geojson(rounded).tolist(), strict=True)
        ]
        return {"type": "FeatureCollection", "features": features}

    @cached_property
    def _weight(self) -> float:
        if self.kind is LayerKind.CHANGES:
            return 3.0  # they lie on the edges of what changed
        if self.bounds is None or shapely.get_dimensions(self.shapes).min(initial=2) < 2:
            return 1.5
        boxes = shapely.bounds(self.shapes)
        west, south, east, north = self.bounds
        size = np.nanmedian(boxes[:, 2] - boxes[:, 0])
        return 4.0 if size < _TINY * max(east - west, north - south) else 1.5


Layer: TypeAlias = PictureLayer | ShapeLayer
"""Something that can be switched on and off on a map."""


def arranged(layers: Sequence[Layer]) -> list[Layer]:
    """Layers in their order from below, all on one side of the antimeridian.

    Args:
        layers: In any order; of one kind, the order stays. Above a picture, partitions and windows are outlines.
    """
    ordered = sorted(layers, key=lambda layer: layer.kind)
    if any(isinstance(layer, PictureLayer) and layer.shown for layer in ordered):
        # What lies above a picture must not change its colours.
        ordered = [
            replace(one, fill=0.0) if isinstance(one, ShapeLayer) and one.kind in _FRAMES else one for one in ordered
        ]
    boxes = [layer.bounds for layer in ordered]
    there = [index for index, box in enumerate(boxes) if box is not None]
    moved = one_side([shapely.box(*box) for box in boxes if box is not None])
    for index, shape in zip(there, moved, strict=True):
        west = boxes[index]
        if west is not None:
            ordered[index] = ordered[index].turned(round((shape.bounds[0] - west[0]) / 360))
    return ordered


def lonlat_bounds(layers: Sequence[Layer]) -> Bounds | None:
    """West, south, east, north in degrees of all layers together, or None if nothing is on them.

    Args:
        layers: On one side of the antimeridian.
    """
    boxes = [layer.bounds for layer in layers if layer.bounds is not None]
    if not boxes:
        return None
    array = np.array(boxes)
    (west, south), (east, north) = array[:, :2].min(axis=0).tolist(), array[:, 2:].max(axis=0).tolist()
    return west, south, east, north


def hex_color(color: RGB) -> str:
    """A colour as CSS takes it.

    Args:
        color: Each 0..255.

    Example:
        >>> hex_color((0, 114, 178))
        '#0072b2'
    """
    return "#{:02x}{:02x}{:02x}".format(*color)


def _cell(value: object) -> str:
    if isinstance(value, Mapping | list | tuple | np.ndarray):
        return json.dumps(value, default=str)[:200]
    if pd.isna(value):  # type: ignore[call-overload]  # any scalar
        return ""
    if isinstance(value, pd.Timestamp):
        return value.strftime("%Y-%m-%d")
    return f"{value:g}" if isinstance(value, float) else str(value)
