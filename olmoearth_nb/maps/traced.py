"""A trace as a picture: all of it at a glance, or any stop on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure

from olmoearth_nb.errors import UsageError
from olmoearth_nb.legend import Legend
from olmoearth_nb.maps.live import png_of
from olmoearth_nb.maps.traced_colors import TraceColors
from olmoearth_nb.maps.traced_features import feature_panels
from olmoearth_nb.maps.traced_inputs import PanelChoice, layer_panels, stage_panels, step_lines, thumbnail
from olmoearth_nb.maps.traced_outputs import by_pixel, output_panels, score_bars, written_panels
from olmoearth_nb.maps.traced_panels import Panel, PixelMap
from olmoearth_nb.maps.traced_sheet import Group, draw_sheet_of
from olmoearth_nb.maps.traced_stops import OVERVIEW, Stop, find_stop
from olmoearth_nb.traces.data import TraceData, TraceOutput
from olmoearth_nb.traces.pixels import input_layers

__all__ = ["PanelChoice", "glance", "glance_html", "overview_groups", "panels_of", "plot_trace"]

_THUMBNAIL, _MOST_THUMBNAILS = 1.1, 7
_RESULT, _TOGETHER, _FEW = 2.25, 1.82, 1
_GLANCE, _MOST_GLANCE_CLASSES = 1.7, 12
T = TypeVar("T")


def plot_trace(
    data: TraceData, stage: str | int | None = None, *, choice: PanelChoice, legend: Legend | None = None
) -> Figure:
    """A picture of a stop of a trace.

    Args:
        data: The trace.
        stage: Which stop, see :func:`~olmoearth_nb.maps.traced_stops.find_stop`.
        choice: What of it.
        legend: The project's legend; colours of our own without one.

    Raises:
        UsageError: If there is no such stop, task, band, channel or time step.
    """
    if choice.task is not None:
        data.output(choice.task)
    stop = find_stop(data, stage, choice.task)
    colors = TraceColors(data, legend)
    if stop == OVERVIEW:
        groups = overview_groups(data, colors, choice.task)
    else:
        groups = [Group("", panels_of(data, stop, choice, colors))]
    if not any(group.panels for group in groups):
        raise UsageError(
            "There is nothing to draw.",
            where=f"{stop.title} of window {data.window.group}/{data.window.name}",
            expected="pixels, scores or objects",
        )
    return draw_sheet_of(data.window, groups, title=_title(data, stop))


def panels_of(data: TraceData, stop: Stop, choice: PanelChoice, colors: TraceColors) -> list[Panel]:
    """What a stop shows.

    Args:
        data: The trace.
        stop: One of its stops, not the overview.
        choice: What of it.
        colors: Colours of the project.

    Raises:
        UsageError: If there is no such task, band, channel or time step.
    """
    match stop.kind:
        case "inputs":
            layers = [layer for layer in data.layers.values() if layer.data is not None and layer.role != "label"]
            bands = [choice.bands] if isinstance(choice.bands, str) else list(choice.bands or ())
            if bands and len(layers) > 1:
                having = [one for one in layers if one.data is not None and set(bands) <= set(one.data["band"].values)]
                layers = having or layers
            return [panel for layer in layers for panel in layer_panels(layer, choice, colors)]
        case "layer":
            return layer_panels(data.layers[stop.name], choice, colors)
        case "transform":
            return stage_panels(data, data.stage(stop.name), choice, colors)
        case "features":
            return feature_panels(stop.name, data.features[stop.name], choice.channel)
        case "written":
            return [] if data.written is None else written_panels(data, data.written, colors)
        case "output":
            return output_panels(data, data.output(choice.task), stop.name, colors)
        case "overview":
            return [panel for group in overview_groups(data, colors, choice.task) for panel in group.panels]


def overview_groups(data: TraceData, colors: TraceColors, task: str | None = None) -> list[Group]:
    """A trace at a glance: imagery with dates, and what the model says with what is true.

    Args:
        data: The trace.
        colors: Colours of the project.
        task: Only this task.
    """
    thumbnails = _thumbnails(data)
    outputs = [output for name, output in data.outputs.items() if task in (None, name)]
    first = [panel for _, panels in thumbnails for panel in panels]
    # One image needs no row of its own.
    together = len(first) <= _FEW and len(outputs) == 1
    groups = [] if together else [Group(name, panels, _THUMBNAIL) for name, panels in thumbnails]
    for output in outputs:
        loss = "" if output.loss is None else f", loss {output.loss.total:.4g}"
        panels = [*(first if together else ()), *_results(data, output, colors)]
        groups.append(Group(f"{output.task}: {output.kind}{loss}", panels, _TOGETHER if together else _RESULT))
    return groups


def _thumbnails(data: TraceData) -> list[tuple[str, list[Panel]]]:
    found: list[tuple[str, list[Panel]]] = []
    for name, layer in input_layers(data).items():
        if layer.shape[-2:] == (1, 1):
            found.append((name, [step_lines(name, layer)]))
            continue
        steps = _spread_over(list(range(layer.sizes["time"])), _MOST_THUMBNAILS)
        note = f"{name} ({len(steps)} of {layer.sizes['time']} dates)" if len(steps) < layer.sizes["time"] else name
        panels: list[Panel] = []
        for step in steps:
            rgba, date = thumbnail(layer, step=step)
            panels.append(PixelMap(title=date or name, rgba=rgba))
        found.append((note, panels))
    return found


def _results(data: TraceData, output: TraceOutput, colors: TraceColors) -> list[Panel]:
    said = "prediction" if output.prediction is not None else "values" if output.values is not None else "detections"
    array = output.prediction if output.prediction is not None else output.values
    if array is not None and not by_pixel(array):
        # One bar chart says what is likely, what is said and what is true.
        if output.probabilities is not None:
            return [score_bars(output, "probabilities", colors)]
        return output_panels(data, output, said, colors)
    names = [said, "label", "error", "confidence"]
    return [panel for name in names if _is_there(output, name) for panel in output_panels(data, output, name, colors)]


def _is_there(output: TraceOutput, name: str) -> bool:
    if name == "detections":
        return output.vectors is not None or output.label_vectors is not None
    return getattr(output, name) is not None


def glance(data: TraceData, *, legend: Legend | None = None) -> Figure | None:
    """The small picture that stands beside a trace's summary: imagery, prediction, confidence.

    Args:
        data: The trace.
        legend: The project's legend.

    Returns:
        None if there is nothing to draw.
    """
    colors = TraceColors(data, legend)
    panels: list[Panel] = []
    first = next(iter(input_layers(data).items()), None)
    if first is not None and first[1].shape[-2:] != (1, 1):
        rgba, date = thumbnail(first[1])
        panels.append(PixelMap(title=f"{first[0]} {date}", rgba=rgba))
    elif first is not None:
        panels.append(step_lines(*first))
    for output in data.outputs.values():
        found = [one for one in _results(data, output, colors) if one.title not in ("label", "error")]
        several = len(data.outputs) > 1
        panels += [replace(one, title=f"{output.task}: {one.title}") if several else one for one in found]
    if not panels:
        return None
    return draw_sheet_of(
        data.window, [Group("", panels, _GLANCE)], title=data.window.name, most_classes=_MOST_GLANCE_CLASSES
    )


def glance_html(data: TraceData, *, legend: Legend | None = None) -> str:
    """The same as an image in HTML; nothing if there is nothing to draw.

    Args:
        data: The trace.
        legend: The project's legend.
    """
    figure = glance(data, legend=legend)
    return "" if figure is None else f'<img alt="" src="data:image/png;base64,{png_of(figure)}">'


def _spread_over(values: list[T], most: int) -> list[T]:
    if len(values) <= most:
        return values
    return [values[int(index)] for index in np.linspace(0, len(values) - 1, most).round()]


def _title(data: TraceData, stop: Stop) -> str:
    name = f"{data.window.group}/{data.window.name}"
    if stop == OVERVIEW:
        return name
    if stop.kind == "transform":
        note = data.stage(stop.name).note.split("\n")[0]
        # The note of a transform begins with its class.
        return f"{name}: {stop.name}, {note}" if stop.name in ("read", "task") else f"{name}: after {note or stop.name}"
    return f"{name}: {stop.title}"
