"""What users hold in their hands: one window on its way through the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import xarray as xr

from olmoearth_nb.errors import UsageError
from olmoearth_nb.legend import Legend
from olmoearth_nb.progress import Progress
from olmoearth_nb.runners.attribution import WindowAttribution
from olmoearth_nb.runners.shown_trace import ShownTrace
from olmoearth_nb.runners.trace_summary import trace_html, trace_text
from olmoearth_nb.runners.what_if import WhatIf
from olmoearth_nb.traces.attribution import Attribution, Baseline, Method, Question
from olmoearth_nb.traces.changes import Changes, EditInputs, Fill, Numbers
from olmoearth_nb.traces.check import findings
from olmoearth_nb.traces.data import TraceData, TraceOutput, TraceStage
from olmoearth_nb.traces.files import load_trace, save_trace
from olmoearth_nb.traces.findings import Findings
from olmoearth_nb.traces.places import Region

__all__ = ["TraceEngine", "WindowTrace"]


class TraceEngine(Protocol):
    """The model behind a trace, see :class:`olmoearth_nb.model.trace.engine.Engine`."""

    @property
    def legend(self) -> Legend | None:
        """What classes are called, and their colours."""

    def capture(self, *, features: Sequence[str] = ()) -> TraceData:
        """Traces the window again.

        Args:
            features: Names of modules to keep the outputs of.
        """

    def attribute(self, data: TraceData, question: Question, *, progress: Progress = None) -> Attribution:
        """What the inputs have to do with what the model says.

        Args:
            data: What was recorded.
            question: What is asked.
            progress: See :mod:`olmoearth_nb.progress`.
        """

    def what_if(self, data: TraceData, changes: Changes) -> TraceEngine:
        """The same window with other inputs, transforms or weights.

        Args:
            data: What was recorded.
            changes: What is changed.
        """


class WindowTrace(ShownTrace):
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
        super().__init__(data)
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

    def check(self) -> Findings:
        """What looks wrong, in words, worst first: empty or constant imagery, bands, units, dates, labels and more.

        Errors are surely wrong, warnings look wrong and say what to look at, notes are often in order. One window is
        little to judge by; ask several before you believe a warning.

        Example:
            >>> trace.check().codes  # doctest: +SKIP
            ('scale', 'normalisation')
        """
        return findings(self.data)

    # ---- asking why ------------------------------------------------------------------------------------------

    def attribute(
        self,
        target: str | int | None = None,
        *,
        method: Method = "integrated_gradients",
        at: tuple[float, float] | None = None,
        pixel: tuple[int, int] | None = None,
        region: Region | None = None,
        task: str | None = None,
        baseline: Baseline = "zero",
        progress: Progress = None,
        **options: Any,
    ) -> WindowAttribution:
        """What each band, date and pixel of the inputs has to do with what the model says.

        Explained is the logit of a class, or the value of a measurement; the mean over some pixels. Nothing on disk
        changes.

        Args:
            target: Name or index of a class; None for the class that most of the pixels have, or for the value.
            method: ``gradient``, ``integrated_gradients`` or ``occlusion``, see
                :class:`~olmoearth_nb.traces.attribution.Attribution`.
            at: Longitude and latitude of a pixel; without a place all pixels count.
            pixel: Row and column of a pixel instead.
            region: A shapely polygon in longitude and latitude instead, or a mask (y, x).
            task: The task; None for the only one.
            baseline: What importance is relative to: ``zero`` after all transforms, ``mean`` of the training windows
                or ``nodata`` before them, ``window:NAME`` for another window, a number, or numbers for each input.
            progress: See :mod:`olmoearth_nb.progress`.
            options: ``against``: a class whose logit is subtracted; ``patch_size``: side of the squares that occlusion
                covers, in pixels; ``batch_size``; ``tolerance``: how far the sum of integrated gradients may be off,
                as a share (0.01); ``most_steps``: after how many steps they give up (1024).

        Raises:
            InferenceError: If the model fails.
            UnsupportedError: If the task has no scores, or no gradient reaches the inputs.
            UsageError: If there is no such class, task, pixel, baseline or option, or the trace has no model.

        Example:
            >>> trace.attribute("water", at=(4.27, 45.15)).plot()  # doctest: +SKIP
        """
        engine = self._model("attribute()")
        known = ("against", "patch_size", "batch_size", "tolerance", "most_steps")
        for name in options:
            if name not in known:
                raise UsageError("attribute() has no such option.", expected=", ".join(known), found=repr(name))
        question = Question(
            target=target,
            method=method,
            at=at,
            pixel=pixel,
            region=region,
            task=task,
            baseline=baseline,
            **options,
        )
        return WindowAttribution(**vars(engine.attribute(self.data, question, progress=progress)))

    def what_if(
        self,
        *,
        drop_bands: str | Sequence[str] = (),
        drop_dates: str | int | Sequence[str | int] = (),
        fill: Fill = "nodata",
        scale: Numbers | None = None,
        offset: Numbers | None = None,
        swap: str | Mapping[str, str] | None = None,
        transforms: Mapping[str, Mapping[str, Any] | None] | None = None,
        checkpoint: str | PathLike[str] | None = None,
        edit: EditInputs | None = None,
    ) -> WhatIf:
        """Runs the window again with other inputs, transforms or weights. Nothing on disk changes.

        Changes can be combined; those of inputs are made before all transforms, in the order of the arguments. Bands
        and dates are those of all inputs that have them, or ``"input/band"``, ``"input/date"``.

        Args:
            drop_bands: Bands without their values.
            drop_dates: Time steps without their values: dates as text (``"2024-06"`` is all of June), or numbers.
            fill: What comes instead: ``nodata`` of the layer (0 if it has none), ``mean`` of the training windows (of
                this one if there are none), a number, for dates another date or ``remove``, which leaves them out.
            scale: A factor, or one for each band; pixels without data stay so.
            offset: What is added, after the factors.
            swap: A window of the dataset whose inputs are taken, or one for each input or layer.
            transforms: Name of a transform, as the stages have it -> arguments that replace those of ``model.yaml``;
                None leaves it out.
            checkpoint: Another checkpoint of the same model.
            edit: A function of the inputs, name -> (time, band, y, x), that changes them in place or gives others; it
                is asked for each crop.

        Raises:
            ConfigError: If a transform does not take the arguments.
            InferenceError: If the model fails.
            ModelError: If the checkpoint is not one of this model.
            UsageError: If there is no such band, date, window or transform, or the trace has no model.

        Example:
            >>> trace.what_if(drop_bands="B8", fill="mean").plot()  # doctest: +SKIP
            >>> trace.what_if(transforms={"Normalize": {"mean": 0, "std": 1}}).difference.changes  # doctest: +SKIP
        """
        engine = self._model("what_if()")
        changes = Changes(
            drop_bands=drop_bands,
            drop_dates=drop_dates,  # type: ignore[arg-type]
            fill=fill,
            scale=scale,
            offset=offset,
            swap=swap,
            transforms=transforms or {},
            checkpoint=checkpoint,
            edit=edit,
        )
        other = engine.what_if(self.data, changes)
        features = list(dict.fromkeys(name.split("[")[0] for name in self.data.features))
        return WhatIf(self, WindowTrace(other.capture(features=features), engine=other), changes, legend=engine.legend)

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

    def __repr__(self) -> str:
        return trace_text(self.data)

    def _repr_html_(self) -> str:
        return trace_html(self.data, self.check()) + self._picture_html()


def _shape(shape: tuple[int, ...] | None, outputs: int) -> str:
    if shape is None:
        return "–"
    text = " × ".join(map(str, shape)) or "one number"
    return text if outputs == 1 else f"{text} and {outputs - 1} more"
