"""What a model says of a window, as panels: maps of tasks by pixel, bars of tasks by window, boxes of objects."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from olmoearth_nb.colors import RGB
from olmoearth_nb.legend import RangeLegend
from olmoearth_nb.maps.style import ClassColors
from olmoearth_nb.maps.traced_colors import TraceColors
from olmoearth_nb.maps.traced_objects import found_text, marks_of, object_map, over_imagery
from olmoearth_nb.maps.traced_panels import Array, Bars, Panel, centered, colored_map, numbers, spread
from olmoearth_nb.traces.data import TraceData, TraceOutput, TraceWritten

__all__ = ["by_pixel", "output_panels", "score_bars", "score_scale", "written_panels"]

_RIGHT: RGB = (222, 226, 222)
_WRONG: RGB = (200, 30, 60)
_BLUE: RGB = (44, 111, 187)
_GREY: RGB = (140, 140, 140)


def output_panels(data: TraceData, output: TraceOutput, name: str, colors: TraceColors) -> list[Panel]:
    """What the model says for a task, or a part of that.

    Args:
        data: The trace.
        output: What it says.
        name: The part, see :func:`olmoearth_nb.maps.traced_stops.stops_of`.
        colors: Colours of the project.

    Returns:
        Nothing if there is no such part.
    """
    if name in ("logits", "probabilities"):
        return _class_panels(output, name, colors)
    if name == "detections":
        return [object_map(data, output, colors)]
    if name == "loss":
        return _loss(output)
    if name == "error":
        return _error(output)
    array = getattr(output, name)
    if array is None:
        return []
    if not by_pixel(array):
        return [_of_window(output, name, colors)]
    values = numbers(array)
    if name in ("prediction", "values"):
        return [colored_map(name, values, colors.prediction(output))]
    if name == "label":
        return [colored_map(name, values, colors.label(output), caption=_labelled(values))]
    return [colored_map(name, values, score_scale(output, name, values))]


def by_pixel(array: xr.DataArray) -> bool:
    """Whether it is a map of more than one pixel.

    Args:
        array: Of a trace.
    """
    return array.dims[-2:] == ("y", "x") and array.shape[-2:] != (1, 1)


def score_scale(output: TraceOutput, name: str, values: Array) -> RangeLegend:
    """Colours of how sure the model is: from its lowest possible value to its highest, so that windows compare.

    Args:
        output: What it says.
        name: ``confidence``, ``entropy``, ``margin`` or ``seam``.
        values: (H, W).
    """
    count = max(len(output.classes), 2)
    if name == "confidence":
        return RangeLegend(name, None, 1 / count, 1.0, "viridis")
    if name == "entropy":
        return RangeLegend("entropy (nats)", None, 0.0, math.log(count), "magma")
    if name == "margin":
        return RangeLegend(name, None, 0.0, 1.0, "viridis")
    return spread(values, "difference of crops", colormap="magma")


def _class_panels(output: TraceOutput, name: str, colors: TraceColors) -> list[Panel]:
    array: xr.DataArray | None = getattr(output, name)
    if array is None:
        return []
    if "class" not in array.dims:
        values = numbers(array)
        if by_pixel(array):
            return [colored_map(name, values, centered(values, name))]
        return [Bars(title=name, names=(output.task,), values=(float(values.squeeze()),), colors=(_BLUE,))]
    if not by_pixel(array):
        return [score_bars(output, name, colors)]
    values = numbers(array)
    probable = name == "probabilities"
    scale = RangeLegend("probability", None, 0.0, 1.0, "viridis") if probable else spread(values, "logit")
    return [
        colored_map(str(title), one, scale, caption=_mean(one))
        for title, one in zip(_class_names(output, array), values, strict=True)
    ]


def score_bars(output: TraceOutput, name: str, colors: TraceColors, pixel: tuple[int, int] | None = None) -> Bars:
    """Logits or probabilities as bars: of a task by window, or of one pixel.

    Args:
        output: What the model says.
        name: ``logits`` or ``probabilities``; it is there.
        colors: Colours of the project.
        pixel: Row and column of the array; the only one if None.
    """
    array: xr.DataArray = getattr(output, name)
    values, label = array.values.astype(np.float64), None if output.label is None else output.label.values
    if array.dims[-2:] == ("y", "x"):
        row, column = pixel or (0, 0)
        values = values[..., row, column]
        label = None if label is None or label.ndim != 2 else label[row, column]
    known = colors.class_colors(output)
    names = _class_names(output, array)
    marked = int(label) if label is not None and np.size(label) == 1 and 0 <= int(label) < len(names) else None
    points = output.by_crop.values if name == "probabilities" and output.by_crop is not None else None
    return Bars(
        title=name,
        names=tuple(names),
        values=tuple(values.ravel().tolist()),
        colors=known if len(known) == len(names) else (_BLUE,) * len(names),
        marked=marked,
        limits=(0.0, 1.0) if name == "probabilities" else None,
        points=points if points is not None and points.ndim == 2 else None,
    )


def _class_names(output: TraceOutput, array: xr.DataArray) -> list[str]:
    if "class" in array.coords:
        return [str(name) for name in array["class"].values]
    count = array.sizes["class"]
    return list(output.classes) if len(output.classes) == count else [f"class {index}" for index in range(count)]


def _of_window(output: TraceOutput, name: str, colors: TraceColors) -> Panel:
    """What a task by window says: the chances of its classes, or numbers."""
    if name in ("prediction", "label") and output.probabilities is not None:
        return score_bars(output, "probabilities", colors)
    pairs: list[tuple[str, xr.DataArray | None]] = [(name, getattr(output, name))]
    if name in ("values", "label", "prediction"):
        pairs = [("value", output.values), ("label", output.label)]
    there = [(title, float(numbers(array).squeeze())) for title, array in pairs if array is not None]
    return Bars(
        title=output.task if name in ("values", "label", "prediction") else name,
        names=tuple(title for title, _ in there),
        values=tuple(value for _, value in there),
        colors=tuple(_GREY if title == "label" else _BLUE for title, _ in there),
    )


def _loss(output: TraceOutput) -> list[Panel]:
    loss = output.loss
    if loss is None:
        return []
    if loss.map is not None and by_pixel(loss.map):
        values = numbers(loss.map)
        scale = spread(values, "share of a pixel in the loss", colormap="magma", percentiles=(0, 99.5))
        return [colored_map("loss", values, scale, caption=f"{loss.total:.4g} in total")]
    names = tuple(loss.parts) or ("loss",)
    values_of = tuple(map(float, loss.parts.values())) or (loss.total,)
    return [Bars(title=f"loss {loss.total:.4g}", names=names, values=values_of, colors=(_WRONG,) * len(names))]


def _error(output: TraceOutput) -> list[Panel]:
    if output.error is None:
        return []
    if not by_pixel(output.error):
        return [_error_bar(output)]
    values = numbers(output.error)
    if not output.classes:
        known = values[np.isfinite(values)]
        caption = f"mean {known.mean():+.3g}, RMSE {np.sqrt((known**2).mean()):.3g}" if known.size else ""
        return [colored_map("error", values, centered(values, "prediction - label"), caption=caption)]
    known = values[np.isfinite(values)]
    coloring = ClassColors(
        "error", {0: _RIGHT, 1: _WRONG}, {0: "right", 1: "wrong"}, {one: int((known == one).sum()) for one in (0, 1)}
    )
    return [colored_map("error", values, coloring, caption=f"{known.mean():.1%} wrong" if known.size else "no label")]


def _error_bar(output: TraceOutput) -> Bars:
    value = float("nan") if output.error is None else float(numbers(output.error).squeeze())
    return Bars(title="error", names=(output.task,), values=(value,), colors=(_WRONG,))


def _labelled(values: Array) -> str:
    share = float(np.isfinite(values).mean())
    return "" if share == 1 else f"{share:.1%} labelled"


def _mean(values: Array) -> str:
    known = values[np.isfinite(values)]
    return f"mean {known.mean():.3g}" if known.size else "nothing"


def written_panels(data: TraceData, written: TraceWritten, colors: TraceColors) -> list[Panel]:
    """What the writer would write: a map a band, or objects.

    Args:
        data: The trace.
        written: What it would write.
        colors: Colours of the project.
    """
    if written.raster is None:
        output = data.outputs.get(written.task)
        marks = marks_of(data.window, written.vectors, output, colors, label=False)
        return [over_imagery(data, written.layer, marks, found_text(written.vectors))]
    values = numbers(written.raster)
    titles = written.raster["band"].values if "band" in written.raster.coords else np.arange(len(values))
    kind = str(written.raster.dtype)
    return [
        colored_map(f"{written.layer} {title}", one, colors.written(written, at, one), caption=kind)
        for at, (title, one) in enumerate(zip(titles, values, strict=True))
    ]
