"""The stops of a window on its way through a model, by name: what a picture of a trace can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from olmoearth_nb.errors import UsageError
from olmoearth_nb.traces.data import TraceData, TraceOutput

__all__ = ["OVERVIEW", "Stop", "StopKind", "find_stop", "stops_of"]

StopKind: TypeAlias = Literal["overview", "inputs", "layer", "transform", "features", "output", "written"]
"""What sort of thing a stop is."""

# In the order of their making; what a person asks about first is what the model says.
_OF_OUTPUT = (
    "logits",
    "probabilities",
    "prediction",
    "values",
    "detections",
    "confidence",
    "entropy",
    "margin",
    "label",
    "error",
    "loss",
    "seam",
)


@dataclass(frozen=True)
class Stop:
    """One stop.

    Attributes:
        kind: What sort of thing it is.
        name: Its name among those of its kind.
    """

    kind: StopKind
    name: str

    @property
    def key(self) -> str:
        """A name that no other stop has."""
        return self.name if self.kind in ("overview", "inputs", "written") else f"{self.kind}:{self.name}"

    @property
    def title(self) -> str:
        """What a list of stops calls it."""
        if self.kind in ("layer", "features"):
            return f"{self.kind} {self.name}"
        return f"transform {self.name}" if self.kind == "transform" else self.name


OVERVIEW = Stop("overview", "overview")


def stops_of(data: TraceData, task: str | None = None) -> list[Stop]:
    """All stops of a trace, in the order of the way.

    Args:
        data: The trace.
        task: Only what the model says for this task; for all if None.
    """
    outputs = [output for name, output in data.outputs.items() if task in (None, name)]
    rasters = [name for name, layer in data.layers.items() if layer.data is not None]
    stops = [OVERVIEW]
    stops += [Stop("inputs", "inputs")] if rasters else []
    stops += [Stop("layer", name) for name in rasters]
    stops += [Stop("transform", stage.name) for stage in data.stages]
    stops += [Stop("features", name) for name in data.features]
    stops += [Stop("output", name) for name in _OF_OUTPUT if any(_has(output, name) for output in outputs)]
    return [*stops, Stop("written", "written")] if data.written is not None else stops


def find_stop(data: TraceData, stage: str | int | None, task: str | None = None) -> Stop:
    """The stop that somebody means.

    Args:
        data: The trace.
        stage: A name, with its kind before it (``layer:label``) where two kinds have the same; the number of a
            transform; the overview if None.
        task: See :func:`stops_of`.

    Raises:
        UsageError: If there is none.
    """
    if stage is None:
        return OVERVIEW
    if isinstance(stage, int):
        return Stop("transform", data.stage(stage).name)
    stops = stops_of(data, task)
    wanted = {"vectors": "detections"}.get(stage, stage)
    # What the model says comes before layers and transforms of the same name: "label" is what the task has.
    ranked = sorted(stops, key=lambda stop: stop.kind not in ("overview", "inputs", "output", "written"))
    for stop in ranked:
        if wanted in (stop.key, stop.name):
            return stop
    raise UsageError(
        "The trace has no such stage to show.",
        where=f"window {data.window.group}/{data.window.name}",
        expected=f"one of {', '.join(dict.fromkeys(stop.name for stop in stops))}",
        found=repr(stage),
        fix="Features are kept when they are asked for: runner.trace(window, features=[...]).",
    )


def _has(output: TraceOutput, name: str) -> bool:
    if name == "loss":
        return output.loss is not None
    if name == "detections":
        return output.vectors is not None or output.label_vectors is not None
    return getattr(output, name) is not None
