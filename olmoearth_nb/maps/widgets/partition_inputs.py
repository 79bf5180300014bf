"""Inputs for a stage of partitioning: which partitioner, and the values that it takes."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from olmoearth_nb.config.choices import SIZED, StageChoice
from olmoearth_nb.config.strategies import PartitionStage
from olmoearth_nb.maps.live import widget_library
from olmoearth_nb.maps.widgets.quiet import Quiet
from olmoearth_nb.planning.costs import PlanCosts, doubts_about

__all__ = ["StageInputs", "SteppedInput", "costs_html"]

_DEGREES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
_PIXELS = (16, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 512, 640, 768, 1024, 1536, 2048, 4096)
_DEGREES_MORE = (0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
_PIXELS_MORE = (0, 1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)
Changed = Callable[[str, object], None]

_TITLE = "font-weight:600;margin:6px 0 0"
_SMALL = "color:var(--jp-ui-font-color2,#555);line-height:1.3"
_NAME = "padding:0 12px 0 0;white-space:nowrap"
_DOUBT = "background:#fff4ce;color:#5c4400;padding:4px 8px;margin:3px 0;line-height:1.35"
_PROJECTIONS = (("UTM zone of each place", True), ("one fixed projection", False))


class SteppedInput:
    """A slider over round values, and a box for any other.

    Args:
        label: What is set.
        steps: The round values, ascending.
        changed: Called with the value that a person sets.

    Attributes:
        root: The widget.
    """

    def __init__(self, label: str, steps: Sequence[float], changed: Callable[[float], None]) -> None:
        widgets = widget_library()
        self._steps, self._changed, self._quiet = list(steps), changed, Quiet()
        self.slider = widgets.IntSlider(
            min=0, max=len(steps) - 1, readout=False, layout={"flex": "1 1 80px", "min_width": "60px"}
        )
        self.box = widgets.FloatText(continuous_update=False, layout={"width": "84px"})
        name = widgets.HTML(html.escape(label), layout={"width": "118px"})
        self.root = widgets.HBox([name, self.slider, self.box], layout={"align_items": "center"})
        self.slider.observe(self._on_slider, "value")
        self.box.observe(self._on_box, "value")

    def show(self, value: float) -> None:
        """Shows a value.

        Args:
            value: Any; the slider goes to the nearest step.
        """
        with self._quiet:
            self.box.value = value
            self.slider.value = min(range(len(self._steps)), key=lambda index: abs(self._steps[index] - value))

    def _on_slider(self, change: Any) -> None:
        if not self._quiet:
            self._changed(self._steps[change["new"]])

    def _on_box(self, change: Any) -> None:
        if not self._quiet:
            self._changed(change["new"])


@dataclass(frozen=True)
class _Stage:
    """What the inputs of a stage are about: heading, unit, round values, and whether it has a projection."""

    title: str
    unit: str
    sizes: tuple[float, ...]
    overlaps: tuple[float, ...]
    projected: bool


_ABOUT: dict[PartitionStage, _Stage] = {
    "partition": _Stage("Request → partitions", "degrees", _DEGREES, _DEGREES_MORE, projected=False),
    "window": _Stage("Partition → windows", "pixels", _PIXELS, _PIXELS_MORE, projected=True),
}


class StageInputs:
    """A column of inputs; those that the partitioner does not take are hidden.

    Args:
        stage: The stage.
        classes: Partitioners to choose from.
        changed: Called with the name of a value of :class:`StageChoice` and what a person sets.

    Attributes:
        root: The widget.
    """

    def __init__(self, stage: PartitionStage, classes: Sequence[str], changed: Changed) -> None:
        widgets, about = widget_library(), _ABOUT[stage]
        self._projected, self._changed, self._quiet = about.projected, changed, Quiet()
        self.partitioner = widgets.Dropdown(options=classes, layout={"width": "auto"})
        self.size = SteppedInput(f"size, {about.unit}", about.sizes, lambda value: changed("size", value))
        self.overlap = SteppedInput(f"overlap, {about.unit}", about.overlaps, lambda value: changed("overlap", value))
        self.chunk = widgets.BoundedIntText(min=1, max=10**9, continuous_update=False, layout={"width": "84px"})
        self.use_utm = widgets.Dropdown(options=_PROJECTIONS, layout={"width": "auto"})
        self.crs = widgets.Text(continuous_update=False, layout={"width": "150px"})
        self.resolution = widgets.FloatText(continuous_update=False, layout={"width": "84px"})
        self._note = widgets.HTML()
        self._rows = {
            "size": self.size.root,
            "overlap": self.overlap.root,
            "chunk": _row("features in each", self.chunk),
            "crs": _row("CRS", self.crs),
            "resolution": _row("pixel size, m or °", self.resolution),
        }
        heading = widgets.HTML(f'<div style="{_TITLE}">{html.escape(about.title)}</div>')
        parts = [heading, self.partitioner, self._rows["size"], self._rows["overlap"], self._rows["chunk"]]
        if about.projected:
            parts += [self.use_utm, self._rows["crs"], self._rows["resolution"]]
        self.root = widgets.VBox([*parts, self._note])
        for name in ("partitioner", "chunk", "use_utm", "crs", "resolution"):
            getattr(self, name).observe(self._listener(name), "value")

    def offer(self, classes: Sequence[str]) -> None:
        """Offers other partitioners.

        Args:
            classes: To choose from.
        """
        with self._quiet:
            self.partitioner.options = classes

    def show(self, choice: StageChoice, *, own: str | None = None) -> None:
        """Shows values.

        Args:
            choice: The values; its partitioner is one of the stage's classes.
            own: A class that is none of this package, with its arguments; None if it is one.
        """
        name, ours = choice.partitioner, own is None
        with self._quiet:
            self.partitioner.value = name
            self.size.show(choice.size)
            self.overlap.show(choice.overlap)
            self.chunk.value = choice.chunk
            self.use_utm.value, self.crs.value, self.resolution.value = choice.use_utm, choice.crs, choice.resolution
        seen = {
            "size": name in SIZED,
            "overlap": name == "GridPartitioner",
            "chunk": name == "ChunkPartitioner" and not self._projected,
            "crs": ours and not choice.use_utm,
            "resolution": ours,
        }
        for row, is_seen in seen.items():
            self._rows[row].layout.display = "flex" if is_seen else "none"
        self.use_utm.layout.display = "flex" if ours else "none"
        note = f"{own}, as it is configured: its arguments are changed in the file."
        self._note.value = "" if own is None else f'<div style="{_SMALL}">{html.escape(note)}</div>'

    def _listener(self, name: str) -> Callable[[Any], None]:
        def changed(change: Any) -> None:
            if not self._quiet:
                self._changed(name, change["new"])

        return changed


def _row(label: str, widget: Any) -> Any:
    widgets = widget_library()
    name = widgets.HTML(html.escape(label), layout={"width": "118px"})
    return widgets.HBox([name, widget], layout={"align_items": "center"})


def costs_html(costs: PlanCosts | None, unknown: str = "") -> str:
    """What a plan costs, what the estimate assumes, and what is odd about the plan.

    Args:
        costs: The costs; None if there is no plan.
        unknown: Why imagery is not estimated, if it is not.
    """
    if costs is None:
        return f'<div style="{_SMALL}">These settings lead to no plan.</div>'
    rows = "".join(
        f'<tr><td style="{_NAME}">{html.escape(name)}</td><td>{html.escape(text)}</td></tr>'
        for name, text in costs.rows
    )
    assumed = html.escape("; ".join(costs.assumptions) or unknown)
    doubts = "".join(f'<div style="{_DOUBT}">⚠ {html.escape(text)}</div>' for text in doubts_about(costs))
    table = f'<table style="margin:8px 0 2px;line-height:1.45">{rows}</table>'
    return f'{table}<div style="{_SMALL};font-size:12px">{assumed}</div>{doubts}'
