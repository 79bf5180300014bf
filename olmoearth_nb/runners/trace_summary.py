"""A trace in a few lines: the window, the model, layers with dates, what each task says, findings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from olmoearth_nb.tables import html_table, text_table
from olmoearth_nb.traces.data import TraceData, TraceLayer, TraceOutput
from olmoearth_nb.traces.findings import Findings

__all__ = ["trace_html", "trace_text"]

_MAX_CLASSES = 6


def trace_text(data: TraceData) -> str:
    """The trace as text.

    Args:
        data: The trace.
    """
    return text_table(("Trace", ""), _rows(data))


def trace_html(data: TraceData, findings: Findings) -> str:
    """The trace and what a check found, as HTML; names and other text of the data are escaped.

    Args:
        data: The trace.
        findings: What a check found.
    """
    caption = f"Trace of {data.window.group}/{data.window.name}"
    return html_table(("", ""), _rows(data)[1:], caption=caption) + findings._repr_html_()


def _rows(data: TraceData) -> list[tuple[str, str]]:
    window, model = data.window, data.model
    height, width = window.shape
    built = ", built for the trace" if window.temporary else ""
    rows = [
        ("window", f"{window.group}/{window.name}"),
        ("size", f"{height} × {width} pixels of {abs(window.resolution[0]):g} in {window.crs[:40]}{built}"),
    ]
    if window.time_range is not None:
        rows.append(("time", " to ".join(f"{one:%Y-%m-%d}" for one in window.time_range)))
    rows.append(("model", f"{model.type}, {model.parameters:,} parameters, {model.precision} on {model.device}"))
    rows.append(("checkpoint", Path(model.checkpoint).name if model.checkpoint else "none: random weights"))
    rows += [(f"layer {layer.name}", _layer_text(layer)) for layer in data.layers.values()]
    rows.append(("stages", " → ".join(stage.name for stage in data.stages)))
    if data.features:
        rows.append(("features", ", ".join(data.features)))
    if len(data.crops) > 1:
        rows.append(("crops", str(len(data.crops))))
    rows += [(f"task {output.task}", _output_text(output)) for output in data.outputs.values()]
    if data.loss is not None:
        parts = ", ".join(f"{name} {value:.4g}" for name, value in data.losses.items())
        rows.append(("loss", f"{data.loss:.4g}" + (f" ({parts})" if len(data.losses) > 1 else "")))
    rows += [("warning", warning.text) for warning in data.warnings]
    if data.seconds:
        parts = ", ".join(f"{name} {value:.2f}" for name, value in data.seconds.items())
        rows.append(("seconds", f"{sum(data.seconds.values()):.2f} ({parts})"))
    return rows


def _layer_text(layer: TraceLayer) -> str:
    if layer.data is None and layer.features is None:
        return f"missing: {layer.reason or 'no reason is known'}"
    role = "" if layer.role == "input" else f"{layer.role}: "
    if layer.data is None:
        count = 0 if layer.features is None else len(layer.features)
        return f"{role}{count} feature{'s' * (count != 1)}"
    steps, bands = layer.data.sizes["time"], layer.data.sizes["band"]
    text = f"{role}{steps} time step{'s' * (steps != 1)}, {bands} band{'s' * (bands != 1)}"
    times = layer.data["time"].values if "time" in layer.data.coords else np.array([])
    if times.dtype.kind == "M" and times.size:
        dates = [str(one)[:10] for one in times]
        text += f", {_dates(dates)}"
    used = sum(item.used for item in layer.items)
    if len(layer.items) > used:
        text += f", {used} of {len(layer.items)} items used"
    return text


def _dates(dates: Sequence[str]) -> str:
    return ", ".join(dates) if len(dates) <= 4 else f"{dates[0]}, {dates[1]} … {dates[-1]}"


def _output_text(output: TraceOutput) -> str:
    text = output.kind
    if output.prediction is not None:
        text += f": {_shares(output)}"
    elif output.values is not None and output.values.size:
        values = output.values.values
        if np.isfinite(values).any():
            low, high = float(np.nanmin(values)), float(np.nanmax(values))
            text += f": {low:.4g}" if values.size == 1 else f": {low:.4g} to {high:.4g}"
        else:
            text += ": no value"
    elif output.vectors is not None:
        text += f": {len(output.vectors)} object{'s' * (len(output.vectors) != 1)}"
    if output.loss is not None:
        text += f"; loss {output.loss.total:.4g}"
    return text


def _shares(output: TraceOutput) -> str:
    values = np.asarray([] if output.prediction is None else output.prediction.values).ravel()
    counts = pd.Series(values[values >= 0]).value_counts()
    names = {
        index: output.classes[index] if index < len(output.classes) else f"class {index}" for index in counts.index
    }
    if values.size == 1 and len(counts):
        return names[counts.index[0]]
    shares = [f"{names[index]} {count / values.size:.0%}" for index, count in counts.items()]
    more = f" and {len(shares) - _MAX_CLASSES} more" if len(shares) > _MAX_CLASSES else ""
    return ", ".join(shares[:_MAX_CLASSES]) + more if shares else "no class"
