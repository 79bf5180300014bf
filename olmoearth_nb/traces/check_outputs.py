"""What the model says: NaN, too sure, never sure, always the same, about pixels that it has not seen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr

from olmoearth_nb.traces.data import TraceData, TraceOutput
from olmoearth_nb.traces.findings import Finding, FindingSeverity
from olmoearth_nb.traces.pixels import Mask, empty_pixels, on_grid

__all__ = ["check_outputs"]

_SURE = 0.999
_MIN_PIXELS = 64
# Smaller windows often lie in one class.
_MANY_PIXELS = 1024


def check_outputs(data: TraceData) -> Iterator[Finding]:
    """Findings about what the model says for each task.

    Args:
        data: The trace.
    """
    empty = empty_pixels(data)
    for output in data.outputs.values():
        broken = list(_not_finite(data, output))
        yield from broken
        if broken:
            continue
        yield from _sureness(data, output)
        yield from _one_class(output)
        yield from _without_imagery(data, output, empty)
        yield from _seam(output)
        yield from _objects(output)


def _not_finite(data: TraceData, output: TraceOutput) -> Iterator[Finding]:
    # Pixels that no crop covers are NaN.
    covered = None if data.merged_from is None else data.merged_from.values >= 0
    for name in ("logits", "probabilities", "values"):
        array = getattr(output, name)
        if array is None or not array.size:
            continue
        bad = ~np.isfinite(array.values)
        if covered is not None:
            there = on_grid(covered, bad.shape[-2:]) if bad.ndim >= 2 else None
            bad = bad & there if there is not None else bad
        if bad.any():
            yield Finding(
                severity="error",
                code="nan",
                where=f"task {output.task}",
                words=f"{bad.mean():.1%} of the {name} are NaN or infinite. Look for NaN in the stages before.",
                number=float(bad.mean()),
            )
            return
    if output.loss is not None and not np.isfinite(output.loss.total):
        yield Finding(
            severity="error", code="nan", where=f"task {output.task}", words=f"The loss is {output.loss.total}."
        )


def _accuracy(output: TraceOutput) -> float | None:
    if output.label is None or output.prediction is None or output.label.shape != output.prediction.shape:
        return None
    known = output.label.values >= 0
    return float((output.label.values == output.prediction.values)[known].mean()) if known.sum() >= 16 else None


def _sureness(data: TraceData, output: TraceOutput) -> Iterator[Finding]:
    if output.confidence is None or output.probabilities is None:
        return
    where = f"task {output.task}"
    confidence, accuracy = output.confidence.values.ravel(), _accuracy(output)
    confidence = confidence[np.isfinite(confidence)]
    count = output.probabilities.sizes.get("class", 0)
    if not confidence.size or count < 2:
        return
    sure = float((confidence > _SURE).mean())
    if sure > 0.95 and confidence.size > 1:
        wrong = accuracy is not None and accuracy < 0.9
        told = "" if accuracy is None else f", and {accuracy:.0%} of the labelled pixels are right"
        severity: FindingSeverity = "warning" if wrong else "note"
        yield Finding(
            severity=severity,
            code="saturated-softmax",
            where=where,
            words=f"Confidence is over {_SURE} in {sure:.0%} of the pixels{told}. Then confidence tells nothing; very "
            "large logits come from inputs of the wrong scale, or from a model that knows its windows by heart.",
            number=sure,
        )
    flat = float((confidence < 1 / count + 0.02).mean())
    spread = float(np.ptp(output.probabilities.values.reshape(count, -1), axis=1).max())
    if flat > 0.95 and (count > 2 or spread < 0.02):
        untrained = data.model.checkpoint is None
        words = f"All {count} classes are about equally likely in {flat:.0%} of the pixels. "
        words += (
            "The model has no checkpoint: its weights are untrained." if untrained else "Is the checkpoint trained?"
        )
        yield Finding(
            severity="note" if untrained else "warning", code="flat-softmax", where=where, words=words, number=flat
        )
    elif confidence.size >= _MIN_PIXELS and _constant(output.logits, spread):
        yield Finding(
            severity="error",
            code="constant-output",
            where=where,
            words="The scores are the same at every pixel: what the model sees does not reach its output.",
            number=spread,
        )


def _constant(logits: xr.DataArray | None, spread: float) -> bool:
    """Whether scores are the same at every pixel; probabilities near 0 and 1 can't tell."""
    if logits is None or logits.ndim < 2:
        return spread < 1e-6 and logits is None
    values = logits.values.reshape(len(logits), -1)
    return bool(np.ptp(values, axis=1).max() <= 1e-6 * max(float(np.abs(values).max()), 1e-6))


def _one_class(output: TraceOutput) -> Iterator[Finding]:
    if output.prediction is None or output.prediction.size < _MIN_PIXELS:
        return
    found, counts = np.unique(output.prediction.values[output.prediction.values >= 0], return_counts=True)
    if not len(found) or counts.max() / counts.sum() < 0.999 or len(output.classes) < 2:
        return
    index = int(found[counts.argmax()])
    name = _class_name(output, index)
    words = f"{name} is predicted everywhere"
    severity: FindingSeverity = "note"
    if output.label is not None:
        known = output.label.values[output.label.values >= 0]
        other = float((known != index).mean()) if known.size >= 16 else 0.0
        if known.size >= 16 and other < 0.05:
            return
        if other >= 0.25:
            severity, words = "warning", f"{words}, but {other:.0%} of the labelled pixels are something else"
    if severity == "note" and output.prediction.size < _MANY_PIXELS:
        return
    yield Finding(
        severity=severity,
        code="single-class",
        where=f"task {output.task}",
        words=f"{words}. Look at the inputs after the last transform, and at the shares of classes in training.",
        number=float(index),
    )


def _class_name(output: TraceOutput, index: int) -> str:
    return output.classes[index] if 0 <= index < len(output.classes) else f"class {index}"


def _without_imagery(data: TraceData, output: TraceOutput, empty: Mask | None) -> Iterator[Finding]:
    """Pixels that have no data and get a class all the same."""
    if empty is None or output.prediction is None or output.prediction.ndim != 2:
        return
    nothing = on_grid(empty, output.prediction.shape)
    if nothing is None or nothing.mean() < 0.005:
        return
    where = f"task {output.task}"
    said = nothing & (output.prediction.values >= 0)
    declared = None
    raster = data.written.raster if data.written is not None and data.written.task == output.task else None
    if raster is not None and raster.shape[-2:] == nothing.shape:
        declared = raster.attrs.get("nodata")
        if declared is not None:
            said &= ~(np.isnan(raster.values[0]) if np.isnan(declared) else raster.values[0] == declared)
    share = float(said.sum() / nothing.sum())
    if share < 0.2:
        return
    index = int(np.bincount(output.prediction.values[said]).argmax())
    written = "the output has no nodata value" if declared is None else f"not as nodata ({declared:g})"
    sure = None if output.confidence is None else float(np.nanmean(output.confidence.values[said]))
    words = (
        f"{share:.0%} of the pixels without imagery ({nothing.mean():.0%} of the window) get a class, mostly "
        f"{_class_name(output, index)}; they are written so, {written}. Mask them, or train a class for them."
    )
    yield Finding(severity="warning", code="nodata-predicted", where=where, words=words, number=share)
    if sure is not None and sure > 0.9:
        words = f"Where there is no imagery confidence is {sure:.2f} on average: it does not tell what the model saw."
        yield Finding(severity="warning", code="sure-of-nodata", where=where, words=words, number=sure)


def _seam(output: TraceOutput) -> Iterator[Finding]:
    if output.seam is None:
        return
    seam = output.seam.values[np.isfinite(output.seam.values)]
    if not seam.size:
        return
    unit = 1.0
    if output.probabilities is None and output.values is not None:
        unit = float(np.nanstd(output.values.values)) or 1.0
    share = float((seam > 0.3 * unit).mean())
    if share > 0.15:
        what = "a probability" if output.probabilities is not None else "the value"
        yield Finding(
            severity="warning",
            code="seam",
            where=f"task {output.task}",
            words=f"Where crops overlap, {what} differs by more than {0.3 * unit:.3g} in {share:.0%} of the pixels: a "
            "crop "
            "sees too little around them. Use a larger crop_size or more overlap_pixels.",
            number=share,
        )


def _objects(output: TraceOutput) -> Iterator[Finding]:
    if output.vectors is None or output.label_vectors is None:
        return
    if len(output.label_vectors) and not len(output.vectors):
        yield Finding(
            severity="warning",
            code="nothing-found",
            where=f"task {output.task}",
            words=f"No object was found, {len(output.label_vectors)} are labelled. Look at the threshold of scores.",
            number=float(len(output.label_vectors)),
        )
