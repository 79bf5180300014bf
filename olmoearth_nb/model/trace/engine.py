"""The model behind a trace, to ask it further questions about the same window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.samples import Sample
from olmoearth_nb.model.trace.capture import TraceRequest, capture, read_samples
from olmoearth_nb.model.trace.recording import Edit
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

    def capture(
        self, *, features: Sequence[str] = (), edit: Edit | None = None, loaded: LoadedModel | None = None
    ) -> TraceData:
        """Traces the window again.

        Args:
            features: Names of modules to keep the outputs of.
            edit: Changes samples on their way, see :data:`olmoearth_nb.model.trace.recording.Edit`.
            loaded: Another model to ask, of the same inputs.

        Raises:
            InferenceError: If the window can't be read or computed.
        """
        return capture(loaded or self.loaded, replace(self.request, features=tuple(features), edit=edit))

    def samples(self, edit: Edit | None = None) -> list[Sample]:
        """What the model is given: inputs after all transforms, targets and metadata of each crop, read anew.

        Args:
            edit: Changes samples on their way.

        Raises:
            InferenceError: If the window can't be read.
        """
        return read_samples(self.loaded, replace(self.request, edit=edit))
