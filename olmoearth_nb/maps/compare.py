"""Two things on one map with a line between them that can be moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import traitlets
from matplotlib.figure import Figure

from olmoearth_nb.errors import GeometryError
from olmoearth_nb.maps.layers import Layer, Side
from olmoearth_nb.maps.twin import draw_halves
from olmoearth_nb.maps.view import Canvas, MapView

__all__ = ["CompareView", "halves"]


def halves(left: Sequence[Layer], right: Sequence[Layer]) -> list[Layer]:
    """The layers of a comparison, each switched on and on its side.

    Args:
        left: What is seen left of the line.
        right: What is seen right of it.

    Raises:
        GeometryError: If one side has nothing on it.
    """
    sides: tuple[tuple[Side, Sequence[Layer]], ...] = (("left", left), ("right", right))
    for side, layers in sides:
        if all(layer.bounds is None for layer in layers):
            raise GeometryError(f"There is nothing to compare on the {side}.", expected="at least one layer")
    return [replace(layer, side=side, shown=True) for side, layers in sides for layer in layers]


class CompareView(MapView):
    """A map whose left layers are seen left of a line, its right layers on the other side.

    Args:
        layers: With their ``side``; those without one are seen on both.
        make_canvas: Makes the map that shows them.

    Attributes:
        position: Where the line is, 0 (all right) to 1 (all left); may be set.
    """

    position = traitlets.Float(0.5, min=0.0, max=1.0)

    def __init__(self, layers: Sequence[Layer], make_canvas: Callable[[], Canvas]) -> None:
        super().__init__(layers, make_canvas)
        with self.owning():
            swipe = self._canvas.divide(self._names_of_side("left"), self._names_of_side("right"))
        traitlets.link((self, "position"), (swipe, "position"))

    def _names_of_side(self, side: str) -> str:
        return ", ".join(layer.name for layer in self.layers if layer.side == side)

    def static(self) -> Figure:
        """Both halves whole, beside each other, as a matplotlib figure without the base map."""
        return draw_halves(self.layers)

    def __repr__(self) -> str:
        return f"Map of {self._names_of_side('left')} | {self._names_of_side('right')}"
