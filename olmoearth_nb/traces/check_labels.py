"""Labels next to classes, imagery and prediction: outside the classes, off by one, shifted, flipped."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from olmoearth_nb.traces.alignment import Alignment, explain, separable
from olmoearth_nb.traces.data import TraceData, TraceOutput
from olmoearth_nb.traces.findings import Finding
from olmoearth_nb.traces.pixels import Array, input_layers, is_empty, on_grid

__all__ = ["check_labels"]

# So many bands at most are compared with labels.
_MAX_CHANNELS = 12


def check_labels(data: TraceData) -> Iterator[Finding]:
    """Findings about labels.

    Args:
        data: The trace.
    """
    labelled = [output for output in data.outputs.values() if output.label is not None]
    for output in labelled:
        outside = list(_outside(output))
        yield from outside
        if not outside:
            wrong = [*_other_classes(output), *_moved(data, output)]
            yield from wrong or _not_understood(data, output)
    if not labelled or len(data.outputs) == 1:
        yield from _raw_outside(data)


def _known(output: TraceOutput) -> Array:
    if output.label is None:
        return np.zeros(0, dtype=int)
    values = np.atleast_1d(output.label.values)
    found: Array = values[values != -1]
    return found


def _outside(output: TraceOutput) -> Iterator[Finding]:
    count = len(output.classes) or (
        output.probabilities.sizes.get("class", 0) if output.probabilities is not None else 0
    )
    if not count or output.label is None or output.label.values.dtype.kind not in "iu":
        return
    known = _known(output)
    wrong = known[(known < 0) | (known >= count)]
    if wrong.size:
        yield _outside_finding(f"task {output.task}", wrong, count, wrong.size / known.size)


def _outside_finding(where: str, wrong: Array, count: int, share: float) -> Finding:
    values = ", ".join(f"{value:g}" for value in np.unique(wrong)[:8])
    hint = " Are classes counted from 1 in the labels?" if int(wrong.min()) == int(wrong.max()) == count else ""
    return Finding(
        severity="error",
        code="label-outside",
        where=where,
        words=f"{share:.1%} of the labelled pixels have values outside the classes 0 to {count - 1}: {values}.{hint} "
        "Look "
        "at num_classes and nodata_value of the task, and at the values of the labels.",
        number=float(wrong.max()),
    )


def _raw_outside(data: TraceData) -> Iterator[Finding]:
    """Label rasters as they were read, where the task has made nothing of them or changes nothing."""
    counts = {len(one.classes) for one in data.outputs.values() if one.kind == "segmentation" and one.classes}
    targets = [stage.targets for stage in data.stages if stage.name == "task"]
    if len(counts) != 1 or len(data.outputs) != 1:
        return
    count = counts.pop()
    for name, layer in data.layers.items():
        if layer.role != "label" or layer.data is None or layer.data.values.dtype.kind not in "iuf":
            continue
        values = layer.data.values[~is_empty(layer.data)]
        wrong = values[(values < 0) | (values >= count)]
        output = next(iter(data.outputs.values()))
        known = _known(output)
        # The task may map values to classes, or take one of them as nothing.
        taken = targets and known.size >= values.size - wrong.size and known.size and known.max() < count
        if wrong.size and not taken:
            yield _outside_finding(f"layer {name}", wrong, count, wrong.size / values.size)


def _other_classes(output: TraceOutput) -> Iterator[Finding]:
    """Labels that are what the prediction says, by other numbers."""
    label, said = output.label, output.prediction
    if label is None or said is None or label.shape != said.shape or label.ndim != 2:
        return
    known = (label.values >= 0) & (said.values >= 0)
    truth, guess = label.values[known], said.values[known]
    classes = np.unique(truth)
    if truth.size < 100 or len(classes) < 2:
        return
    right = float((truth == guess).mean())
    for step in (1, -1):
        moved = float((truth + step == guess).mean())
        shares = [float((guess[truth == one] == one + step).mean()) for one in classes if (truth == one).sum() >= 20]
        if len(shares) >= 2 and moved > 0.7 and right < 0.3 and float(np.median(shares)) > 0.7:
            yield Finding(
                severity="warning",
                code="label-off-by-one",
                where=f"task {output.task}",
                words=f"{moved:.0%} of the labelled pixels are predicted as the class "
                f"{'after' if step > 0 else 'before'} "
                f"that of the label, {right:.0%} as the same. Are classes counted from 1 in one of them and from 0 in "
                "the "
                "other?",
                number=moved,
            )


def _not_understood(data: TraceData, output: TraceOutput) -> Iterator[Finding]:
    """Classes that the imagery tells apart, and the model does not."""
    label, said = output.label, output.prediction
    if label is None or said is None or label.ndim != 2 or label.shape != said.shape:
        return
    known = (label.values >= 0) & (said.values >= 0)
    possible = separable(label.values, known, _imagery(data, label.shape))
    right = float((label.values == said.values)[known].mean()) if known.any() else 1.0
    if possible is None or possible < 0.8 or right > possible - 0.25:
        return
    untrained = data.model.checkpoint is None
    hint = (
        "The model has no checkpoint: its weights are untrained."
        if untrained
        else "Does the model get what it was trained with? Look at the order of bands in model.yaml, at the "
        "normalising "
        "transform, the checkpoint and the order of classes."
    )
    yield Finding(
        severity="note" if untrained else "warning",
        code="model-misses",
        where=f"task {output.task}",
        words=f"The imagery tells the labelled classes apart ({possible:.0%} of the pixels are nearest to the mean of "
        "their "
        f"own class), but the model is right in {right:.0%} only. {hint}",
        number=right,
    )


def _moved(data: TraceData, output: TraceOutput) -> Iterator[Finding]:
    label = output.label
    if label is None or label.ndim != 2:
        return
    classes = label.values.dtype.kind in "iu"
    known = label.values >= 0 if classes else np.isfinite(label.values)
    truth = np.where(known, label.values, 0)
    places = [explain(truth, known, _imagery(data, label.shape), classes=classes)]
    if output.prediction is not None and output.prediction.ndim == 2:
        said = output.prediction.values
        each = np.stack([said == one for one in np.unique(said[known])[:_MAX_CHANNELS]]) if known.any() else None
        places.append(explain(truth, known, None if each is None else each.astype(float), classes=classes))
    elif output.values is not None and output.values.ndim == 2:
        places.append(explain(truth, known, output.values.values[None].astype(float), classes=classes))
    found = [one for one in places if one is not None]
    names = ["imagery", "prediction"]
    sources = [name for name, one in zip(names, places, strict=False) if one is not None]
    if found:
        # Imagery is what labels were drawn on; a model may have learnt from shifted labels.
        yield _moved_finding(output, found[0], sources[0], both=len(found) == 2 and found[0].move == found[1].move)


def _moved_finding(output: TraceOutput, found: Alignment, source: str, *, both: bool) -> Finding:
    if isinstance(found.move, tuple):
        rows, columns = found.move
        parts = [f"{abs(rows)} to the {'south' if rows > 0 else 'north'}" if rows else ""]
        parts.append(f"{abs(columns)} to the {'east' if columns > 0 else 'west'}" if columns else "")
        code, what = "label-shifted", "lies " + " and ".join(part for part in parts if part)
        what += f" (in pixels) of where the {source} has it"
        number = float(np.hypot(rows, columns))
    else:
        code, number = "label-flipped", found.gain
        what = f"fits the {source} when it is {found.move}"
    sure = "The prediction says the same as the imagery." if both else f"That is what the {source} alone says."
    return Finding(
        severity="warning",
        code=code,
        where=f"task {output.task}",
        words=f"The label {what}: then it explains {found.after:.0%} of what varies there, as it is {found.before:.0%} "
        f"({found.score:.1f} standard errors). {sure} Look at one more window, and at the transform of the labels.",
        number=number,
    )


def _imagery(data: TraceData, shape: tuple[int, ...]) -> Array | None:
    """Bands of all inputs, means over time, on the grid of the label: (channel, H, W), NaN where there is nothing."""
    channels: list[Array] = []
    for layer in input_layers(data).values():
        values = np.where(is_empty(layer), np.nan, layer.values.astype(np.float64))
        count = np.isfinite(values).sum(axis=0)
        mean = np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)
        there = on_grid(mean, shape)
        # Pixels that are coarser than the label can't tell where it lies.
        if there is not None and mean.shape[-1] >= shape[1]:
            channels += list(there)
    return np.stack(channels[:_MAX_CHANNELS]) if channels else None
