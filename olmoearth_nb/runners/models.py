"""Models that a runner has loaded, kept as long as the files that they come from are the same."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from olmoearth_nb.config import Project, importable_from
from olmoearth_nb.files import hash_json
from olmoearth_nb.runners.base import file_hash

if TYPE_CHECKING:
    from olmoearth_nb.model.load import LoadedModel

__all__ = ["Models"]

# Two, to compare checkpoints; each takes the memory of its weights.
_KEPT = 2


class Models:
    """Loads models of a project, each once.

    Args:
        project: The project.
        device: See :func:`olmoearth_nb.model.devices.choose_device`.
        precision: See :data:`olmoearth_nb.model.devices.PRECISIONS`.
    """

    def __init__(self, project: Project, *, device: str | None, precision: str | None) -> None:
        self._project = project
        self._device = device
        self._precision = precision
        self._kept: dict[str, LoadedModel] = {}

    def load(self, checkpoint: Path | None, variables: Mapping[str, str]) -> LoadedModel:
        """The model with a checkpoint, or with random weights.

        Args:
            checkpoint: The checkpoint; None for random weights.
            variables: Template variables of ``model.yaml``.

        Raises:
            ModelError: If the model or the checkpoint can't be loaded.
        """
        from olmoearth_nb.model.load import load_model

        project = self._project
        extra = project.extra_files_path
        files = [file_hash(project.model_config_path)]
        files += [] if checkpoint is None else [file_hash(checkpoint, what="checkpoint")]
        key = hash_json([files, extra and file_hash(extra), dict(variables), str(checkpoint)])
        if key not in self._kept:
            while len(self._kept) >= _KEPT:
                del self._kept[next(iter(self._kept))]
            with importable_from(project.search_path):
                self._kept[key] = load_model(
                    project.model_config_path,
                    variables=variables,
                    checkpoint=checkpoint,
                    device=self._device,
                    precision=self._precision,
                    random_weights=checkpoint is None,
                )
        return self._kept[key]
