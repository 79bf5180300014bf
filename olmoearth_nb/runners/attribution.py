"""Importance of the inputs of a window that draws itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from olmoearth_nb.traces.attribution import Attribution

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["WindowAttribution"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class WindowAttribution(Attribution):
    """What the inputs of a window have to do with what the model says of it; shows itself as a table.

    All that is known of it is in the attributes of :class:`~olmoearth_nb.traces.attribution.Attribution`.

    Example:
        >>> trace.attribute("water", pixel=(10, 12)).plot()  # doctest: +SKIP
    """

    def plot(self) -> Figure:
        """Bars by band and by date, and the importance of pixels over a picture of each input."""
        from olmoearth_nb.maps.attribution import plot_attribution

        return plot_attribution(self)
