"""The model behind a trace, to ask it further questions about the same window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from olmoearth_nb.legend import Legend
from olmoearth_nb.model.attribution import explain
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.samples import Sample
from olmoearth_nb.model.trace.capture import TraceRequest, capture, read_samples
from olmoearth_nb.model.trace.recording import Edit
from olmoearth_nb.model.what_if import baseline_samples, changed
from olmoearth_nb.progress import Progress
from olmoearth_nb.traces.attribution import Attribution, Question
from olmoearth_nb.traces.changes import Changes
from olmoearth_nb.traces.data import TraceData

__all__ = ["Engine"]


class Engine:
    """A model and a window.

    Args:
        loaded: The model.
        request: What is traced.
        keep: Whatever has to live as long as the window can be read: the folder of a temporary dataset.

    Attributes:
        loaded: The model.
        request: What is traced.
    """

    def __init__(self, loaded: LoadedModel, request: TraceRequest, *, keep: Any = None) -> None:
        self.loaded = loaded
        self.request = request
        self._keep = keep

    @property
    def legend(self) -> Legend | None:
        """What classes are called, and their colours."""
        return self.request.legend

    def capture(
        self, *, features: Sequence[str] = (), edit: Edit | None = None, loaded: LoadedModel | None = None
    ) -> TraceData:
        """Traces the window again.

        Args:
            features: Names of modules to keep the outputs of.
            edit: Changes samples on their way, see :data:`olmoearth_nb.model.trace.recording.Edit`; that of the request
                if None.
            loaded: Another model to ask, of the same inputs.

        Raises:
            InferenceError: If the window can't be read or computed.
        """
        return capture(
            loaded or self.loaded, replace(self.request, features=tuple(features), edit=edit or self.request.edit)
        )

    def samples(self, edit: Edit | None = None) -> list[Sample]:
        """What the model is given: inputs after all transforms, targets and metadata of each crop, read anew.

        Args:
            edit: Changes samples on their way; that of the request if None.

        Raises:
            InferenceError: If the window can't be read.
        """
        return read_samples(self.loaded, replace(self.request, edit=edit or self.request.edit))

    def attribute(self, data: TraceData, question: Question, *, progress: Progress = None) -> Attribution:
        """What the inputs of the window have to do with what the model says.

        Args:
            data: What was recorded of the window.
            question: What is asked.
            progress: See :mod:`olmoearth_nb.progress`.

        Raises:
            InferenceError: If the window can't be read or the model fails.
            UnsupportedError: If the task has no scores, or no gradient reaches the inputs.
            UsageError: If there is no such class, task, pixel or baseline.
        """

        def read_baseline(name: str) -> list[Sample]:
            return baseline_samples(self.loaded, self.request, data, name)

        return explain(self.loaded, data, question, read=self.samples, read_baseline=read_baseline, progress=progress)

    def what_if(self, data: TraceData, changes: Changes) -> Engine:
        """The same window with other inputs, transforms or weights.

        Args:
            data: What was recorded of the window.
            changes: What is changed.

        Raises:
            ConfigError: If a transform does not take the arguments.
            ModelError: If the checkpoint is not one of this model.
            UsageError: If there is no such band, date, window or transform.
        """
        loaded, request = changed(self.loaded, self.request, data, changes)
        return Engine(loaded, request, keep=self._keep)
