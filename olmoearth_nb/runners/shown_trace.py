"""How a trace shows itself: pictures of any stage, a map, an explorer of pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from olmoearth_nb.legend import Legend
from olmoearth_nb.traces.data import TraceData

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from olmoearth_nb.maps.view import MapView
    from olmoearth_nb.maps.widgets.trace_explorer import TraceExplorer

__all__ = ["ShownTrace"]


class ShownTrace:
    """A trace that can be looked at.

    Args:
        data: What was recorded.
        legend: What classes are called, and their colours; those of the record if None, without one colours of our own.

    Attributes:
        data: What was recorded.
        legend: What classes are called, and their colours; None without a project.
    """

    def __init__(self, data: TraceData, *, legend: Legend | None = None) -> None:
        self.data = data
        self.legend = legend if legend is not None else data.legend

    def plot(
        self,
        stage: str | int | None = None,
        *,
        task: str | None = None,
        bands: str | Sequence[str] | None = None,
        time_step: int | None = None,
        channel: int | None = None,
    ) -> Figure:
        """A picture of any stage; without one, of all of the trace at a glance.

        Args:
            stage: ``inputs`` or the name of a layer; the name or number of a transform (``read``, ``Normalize``, -1);
                the name of a module whose features were kept; ``logits``, ``probabilities``, ``prediction``,
                ``values``, ``detections``, ``confidence``, ``entropy``, ``margin``, ``label``, ``error``, ``loss``,
                ``seam`` or ``written``. Where two have the same name, say which: ``layer:label``.
            task: The task; None for the only one.
            bands: A band, or three as red, green and blue, through time. If None, layers are in natural colours where
                their bands' names tell, and transforms show each band with its range; blue is where training windows
                have 98% of their values.
            time_step: Which one, counted from 0; None for all of layers and the one with the most data of transforms.
            channel: Which channel of features; None for their first three principal components as red, green, blue.

        Raises:
            UsageError: If there is no such stage, task, band, channel or time step.

        Example:
            >>> trace.plot("inputs", bands="B08")  # doctest: +SKIP
            >>> trace.plot("Normalize")  # doctest: +SKIP
        """
        from olmoearth_nb.maps.traced import PanelChoice, plot_trace

        choice = PanelChoice(task=task, bands=bands, time_step=time_step, channel=channel)
        return plot_trace(self.data, stage, choice=choice, legend=self.legend)

    def map(
        self, *, task: str | None = None, bands: str | Sequence[str] | None = None, time_step: int | None = None
    ) -> MapView:
        """A live map with imagery, prediction, confidence, entropy, label, error and loss, and the window's outline.

        Args:
            task: The task; None for all.
            bands: Of the imagery of the first layer: one, or three as red, green and blue.
            time_step: Of the same, counted from 0; None for the one with the most data.

        Raises:
            MissingDependencyError: If leafmap is not installed.
            UsageError: If there is no such task, band or time step.
        """
        from olmoearth_nb.maps.preview import build_map
        from olmoearth_nb.maps.traced import PanelChoice
        from olmoearth_nb.maps.traced_map import trace_layers

        choice = PanelChoice(task=task, bands=bands, time_step=time_step)
        return build_map(trace_layers(self.data, choice=choice, legend=self.legend))

    def explore(self, stage: str = "overview", *, pixel: tuple[int, int] | None = None) -> TraceExplorer:
        """A live view of all stages: the cursor on a pixel gives its values from the file to the class.

        Args:
            stage: Where to begin, see :meth:`plot`.
            pixel: Row and column of the pixel to begin with.

        Raises:
            MissingDependencyError: If ipywidgets or anywidget is not installed.
            UsageError: If there is no such stage or pixel.

        Example:
            >>> explorer = trace.explore("Normalize")  # doctest: +SKIP
            >>> explorer.pixel = (12, 40)  # doctest: +SKIP
        """
        from olmoearth_nb.maps.widgets.trace_explorer import TraceExplorer

        explorer = TraceExplorer(self.data, legend=self.legend)
        explorer.stage = stage
        if pixel is not None:
            explorer.pixel = pixel
        return explorer

    def _picture_html(self) -> str:
        """The small picture beside the summary."""
        from olmoearth_nb.maps.traced import glance_html

        return glance_html(self.data, legend=self.legend)
