"""A trace stage by stage, and one pixel of it through all stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import traitlets
from matplotlib.figure import Figure

from olmoearth_nb.errors import UsageError
from olmoearth_nb.legend import Legend
from olmoearth_nb.maps.live import LiveView, widget_library
from olmoearth_nb.maps.traced import overview_groups, panels_of
from olmoearth_nb.maps.traced_colors import TraceColors
from olmoearth_nb.maps.traced_inputs import PanelChoice
from olmoearth_nb.maps.traced_json import chart_json, key_json, picture_json, values_json
from olmoearth_nb.maps.traced_panels import Panel, PixelMap
from olmoearth_nb.maps.traced_pixel import PixelValues, read_pixel
from olmoearth_nb.maps.traced_sheet import Group, colorings_of, draw_sheet_of, window_tall
from olmoearth_nb.maps.traced_stops import OVERVIEW, Stop, find_stop, stops_of
from olmoearth_nb.maps.widgets.trace_controls import TraceControls
from olmoearth_nb.traces.data import TraceData

__all__ = ["TraceExplorer"]


class TraceExplorer(LiveView):
    """Pictures of a stage with a cursor that they share, and all that is known of the pixel under it.

    Args:
        data: The trace.
        legend: The project's legend; colours of our own without one.

    Attributes:
        stage: Which stage is shown, as ``trace.plot`` takes it.
        pixel: Row and column of the pixel; None before the first one.
        task: The task that the model's answer is shown for.
        bands: A band, or three as red, green and blue; None for the usual ones.
        time_step: Which time step, counted from 0; None for the usual ones.
        channel: Which channel of features; None for three principal components.

    Example:
        >>> explorer = trace.explore()  # doctest: +SKIP
        >>> explorer.stage, explorer.pixel = "Normalize", (12, 40)  # doctest: +SKIP
    """

    stage = traitlets.Unicode("overview")
    pixel = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=None, allow_none=True)
    task = traitlets.Unicode("")
    bands = traitlets.Any(None, allow_none=True)
    time_step = traitlets.Int(None, allow_none=True)
    channel = traitlets.Int(None, allow_none=True)

    def __init__(self, data: TraceData, *, legend: Legend | None = None) -> None:
        super().__init__()
        from olmoearth_nb.maps.trace_panes import TracePanes

        self.data = data
        self._colors = TraceColors(data, legend)
        self._quiet = True
        self.task = next(iter(data.outputs), "")
        height, width = data.window.shape
        with self.owning():
            self.panes = TracePanes(shape=[height, width], tall=window_tall(data.window))
            self.controls = TraceControls(self, data)
            self.root = widget_library().VBox([self.controls.root, self.panes, self.message])
        self.panes.observe(self._moved, "pixel")
        self._quiet = False
        self._draw()

    # ---- what is shown ---------------------------------------------------------------------------------------

    @property
    def stop(self) -> Stop:
        """The stage that is shown."""
        return find_stop(self.data, self.stage, self.task or None)

    @property
    def values(self) -> PixelValues | None:
        """What is known of the pixel, from the file to the class; None without a pixel."""
        return None if self.pixel is None else read_pixel(self.data, self._colors, self.pixel, self.task or None)

    @property
    def choice(self) -> PanelChoice:
        """What of the stage is shown."""
        return PanelChoice(task=self.task or None, bands=self.bands, time_step=self.time_step, channel=self.channel)

    @traitlets.validate("stage")
    def _known_stage(self, proposal: Any) -> str:
        name: str = proposal["value"]
        find_stop(self.data, name, self.task or None)
        return name

    @traitlets.validate("task")
    def _known_task(self, proposal: Any) -> str:
        name: str = proposal["value"]
        if name or self.data.outputs:
            self.data.output(name)
        return name

    @traitlets.validate("pixel")
    def _inside(self, proposal: Any) -> tuple[int, int] | None:
        pixel: tuple[int, int] | None = proposal["value"]
        height, width = self.data.window.shape
        if pixel is not None and not (0 <= pixel[0] < height and 0 <= pixel[1] < width):
            raise UsageError(
                "The pixel is not in the window.",
                expected=f"a row of 0 to {height - 1} and a column of 0 to {width - 1}",
                found=str(pixel),
            )
        return pixel

    @traitlets.validate("bands", "time_step", "channel")
    def _fits(self, proposal: Any) -> Any:
        value, name = proposal["value"], proposal["trait"].name
        if name == "bands" and isinstance(value, Sequence) and not isinstance(value, str):
            value = tuple(value)
        if value is not None and not self._quiet:
            # What can't be drawn is refused before anything changes.
            chosen = {"bands": self.bands, "time_step": self.time_step, "channel": self.channel} | {name: value}
            self._panels(PanelChoice(task=self.task or None, **chosen))
        return value

    @traitlets.observe("stage", "task")
    def _other_stop(self, _change: Any) -> None:
        if self._quiet:
            return
        self._quiet = True
        try:
            there = {name for stop in stops_of(self.data, self.task or None) for name in (stop.key, stop.name)}
            if self.stage not in there:
                self.stage = "overview"
            # Bands, dates and channels are those of one stage.
            self.bands = self.time_step = self.channel = None
        finally:
            self._quiet = False
        self._draw()

    @traitlets.observe("bands", "time_step", "channel")
    def _other_choice(self, _change: Any) -> None:
        if not self._quiet:
            self._draw()

    @traitlets.observe("pixel")
    def _other_pixel(self, _change: Any) -> None:
        self._read()

    def _moved(self, change: Any) -> None:
        """The cursor in the browser is on another pixel."""
        with self.guarded():
            self.set_trait("pixel", tuple(change["new"]) if change["new"] else None)

    # ---- drawing ---------------------------------------------------------------------------------------------

    def _panels(self, choice: PanelChoice) -> list[Panel]:
        """Those of the stage, beside imagery and prediction to find one's way."""
        stop = self.stop
        if stop == OVERVIEW:
            return [
                one for group in overview_groups(self.data, self._colors, self.task or None) for one in group.panels
            ]
        return panels_of(self.data, stop, choice, self._colors)

    def _draw(self) -> None:
        with self.guarded():
            panels = self._panels(self.choice)
            maps = [one for one in panels if isinstance(one, PixelMap)]
            charts = [one for one in panels if not isinstance(one, PixelMap)]
            guides = [] if self.stop == OVERVIEW else self._guides()
            shape = self.data.window.shape
            with self.panes.hold_sync():
                self.panes.pictures = [picture_json(one, shape) | {"guide": one in guides} for one in [*guides, *maps]]
                self.panes.charts = [chart_json(one) for one in charts]
                self.panes.legends = [key_json(one) for one in colorings_of([*guides, *maps])]
            self.controls.show()
        self._read()

    def _guides(self) -> list[PixelMap]:
        """Imagery and prediction: they stay whatever the stage is."""
        groups = overview_groups(self.data, self._colors, self.task or None)
        firsts = [next((one for one in group.panels if isinstance(one, PixelMap)), None) for group in groups]
        there = [one for one in firsts if one is not None]
        return there[:1] + there[-1:] if len(there) > 1 else there

    def _read(self) -> None:
        with self.guarded(anew=False):
            values = self.values
            with self.panes.hold_sync():
                self.panes.pixel = [] if values is None else list(values.pixel)
                self.panes.values = {} if values is None else values_json(values)

    # ---- faces -----------------------------------------------------------------------------------------------

    def static(self) -> Figure:
        """The same as a matplotlib figure: the stage, and below it what is known of the pixel."""
        groups = [Group("", self._panels(self.choice))]
        if self.stop == OVERVIEW:
            groups = overview_groups(self.data, self._colors, self.task or None)
        values = self.values
        if values is not None:
            facts = ", ".join(f"{one.name} {one.text}" for one in values.facts)
            groups.append(Group(f"{values.place}: {facts}", [*values.series, *values.bars]))
        window = self.data.window
        return draw_sheet_of(window, groups, title=f"{window.group}/{window.name}: {self.stop.title}")

    def __repr__(self) -> str:
        at = "" if self.pixel is None else f", pixel {self.pixel}"
        return f"Trace of window {self.data.window.group}/{self.data.window.name}: {self.stop.title}{at}"
