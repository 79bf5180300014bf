"""What users hold in their hands: one window on its way through the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import xarray as xr

from olmoearth_nb.errors import UsageError
from olmoearth_nb.tables import text_table
from olmoearth_nb.traces.data import TraceData, TraceOutput, TraceStage
from olmoearth_nb.traces.files import load_trace, save_trace

__all__ = ["TraceEngine", "WindowTrace"]


class TraceEngine(Protocol):
    """The model behind a trace, see :class:`olmoearth_nb.model.trace.engine.Engine`."""

    def capture(self, *, features: Sequence[str] = ()) -> TraceData:
        """Traces the window again.

        Args:
            features: Names of modules to keep the outputs of.
        """


class WindowTrace:
    """One window, from the file on disk to what the writer would write.

    ``trace.data`` holds all of it; the module :mod:`olmoearth_nb.traces.data` says how arrays are named. The
    properties below are shortcuts for models with one task; with several, ask ``trace.output("name")``.

    Args:
        data: What was recorded.
        engine: The model, to ask further questions; None for a trace that was saved.

    Example:
        >>> trace = runner.trace("window_0")  # doctest: +SKIP
        >>> trace.probabilities.sel({"class": "water"}).max()  # doctest: +SKIP
        >>> trace.save("window_0.trace.zip")  # doctest: +SKIP
    """

    def __init__(self, data: TraceData, *, engine: TraceEngine | None = None) -> None:
        self.data = data
        self._engine = engine

    # ---- what was recorded -----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the window."""
        return self.data.window.name

    @property
    def inputs(self) -> Mapping[str, xr.DataArray]:
        """Raster layers as read, by name: (time, band, y, x)."""
        return {name: layer.data for name, layer in self.data.layers.items() if layer.data is not None}

    @property
    def stages(self) -> tuple[TraceStage, ...]:
        """The model's inputs after each transform in turn; ``trace.stage("Normalize")`` is one of them."""
        return self.data.stages

    def stage(self, name: str | int) -> TraceStage:
        """A stage by its name or number.

        Args:
            name: Its name, or its number: 0 as read, -1 what the model gets.

        Raises:
            UsageError: If there is none.
        """
        return self.data.stage(name)

    @property
    def features(self) -> Mapping[str, xr.DataArray]:
        """Outputs of the modules that were asked for, by name."""
        return self.data.features

    def output(self, task: str | None = None) -> TraceOutput:
        """What the model says for a task.

        Args:
            task: The task's name; None for the only one.

        Raises:
            UsageError: If there is none, or there are several and none is named.
        """
        return self.data.output(task)

    @property
    def logits(self) -> xr.DataArray | None:
        """What goes into the head: (class, y, x)."""
        return self.output().logits

    @property
    def probabilities(self) -> xr.DataArray | None:
        """(class, y, x)."""
        return self.output().probabilities

    @property
    def prediction(self) -> xr.DataArray | None:
        """Index of the class that is written, or the value: (y, x)."""
        output = self.output()
        return output.values if output.prediction is None else output.prediction

    @property
    def confidence(self) -> xr.DataArray | None:
        """Highest probability: (y, x)."""
        return self.output().confidence

    @property
    def entropy(self) -> xr.DataArray | None:
        """Entropy of the probabilities in nats: (y, x)."""
        return self.output().entropy

    @property
    def margin(self) -> xr.DataArray | None:
        """Difference of the best two probabilities: (y, x)."""
        return self.output().margin

    @property
    def loss(self) -> float | None:
        """What training would minimise on this window; None without a label."""
        return self.data.loss

    def modules(self) -> pd.DataFrame:
        """Parts of the network: ``name`` (what ``features=[...]`` takes), ``type``, ``output``, ``parameters``."""
        modules = self.data.modules
        return pd.DataFrame(
            {
                "name": [module.name for module in modules],
                "type": [module.type for module in modules],
                "output": [_shape(module.shape, module.outputs) for module in modules],
                "parameters": [module.parameters for module in modules],
            }
        )

    # ---- files -----------------------------------------------------------------------------------------------

    def save(self, path: str | PathLike[str]) -> Path:
        """Writes it to a file for a bug report: a zip archive of JSON, netCDF and GeoJSON.

        Args:
            path: Where to; a file that is there is replaced.

        Returns:
            The file.

        Raises:
            StorageError: If it can't be written.
        """
        return save_trace(self.data, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> WindowTrace:
        """Reads what ``save`` wrote; neither the project nor torch is needed.

        Args:
            path: The file.

        Raises:
            InputFileError: If it is missing, damaged or something else.
        """
        return cls(load_trace(path))

    # ---- inner -----------------------------------------------------------------------------------------------

    def _model(self, call: str) -> Any:
        """The engine, for what needs the model.

        Args:
            call: What was called, for the error.
        """
        if self._engine is None:
            raise UsageError(
                f"{call} needs the model, and a trace that was read from a file has none.",
                where=f"window {self.data.window.group}/{self.name}",
                fix="Trace the window again: runner.trace(name).",
            )
        return self._engine

    def _rows(self) -> list[tuple[str, str]]:
        data = self.data
        height, width = data.window.shape
        rows = [
            ("window", f"{data.window.group}/{data.window.name}"),
            ("size", f"{height} × {width} pixels of {abs(data.window.resolution[0]):g} in {data.window.crs[:40]}"),
            ("checkpoint", Path(data.model.checkpoint).name if data.model.checkpoint else "none: untrained weights"),
        ]
        rows += [(f"layer {layer.name}", layer.reason or _layer_text(layer)) for layer in data.layers.values()]
        rows.append(("stages", " → ".join(stage.name for stage in data.stages)))
        if len(data.crops) > 1:
            rows.append(("crops", str(len(data.crops))))
        rows += [(f"output {output.task}", _output_text(output)) for output in data.outputs.values()]
        if data.loss is not None:
            rows.append(("loss", f"{data.loss:.4g}"))
        rows += [("warning", warning.text) for warning in data.warnings]
        return rows

    def __repr__(self) -> str:
        return text_table(("Trace", ""), self._rows())


def _shape(shape: tuple[int, ...] | None, outputs: int) -> str:
    if shape is None:
        return "–"
    text = " × ".join(map(str, shape)) or "one number"
    return text if outputs == 1 else f"{text} and {outputs - 1} more"


def _layer_text(layer: Any) -> str:
    if layer.data is not None:
        steps, bands = layer.data.sizes["time"], layer.data.sizes["band"]
        return f"{steps} time step{'s' * (steps != 1)}, {bands} band{'s' * (bands != 1)}"
    return f"{0 if layer.features is None else len(layer.features)} features"


def _output_text(output: TraceOutput) -> str:
    text = output.kind
    if output.prediction is not None and output.classes:
        values = output.prediction.values.ravel()
        counts = pd.Series(values[values >= 0]).value_counts()
        named = [f"{output.classes[int(index)]} {count / max(len(values), 1):.0%}" for index, count in counts.items()]  # type: ignore[call-overload]
        text += ": " + ", ".join(named[:4])
    elif output.values is not None:
        text += f": {float(output.values.min()):.4g} to {float(output.values.max()):.4g}"
    elif output.vectors is not None:
        text += f": {len(output.vectors)} objects"
    return text
