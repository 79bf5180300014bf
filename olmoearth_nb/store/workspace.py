"""Where files of a scratch folder lie; see CONTRACT: users' scripts read these places."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from olmoearth_nb.errors import StorageError

__all__ = [
    "OUTPUT_LAYER",
    "WINDOW_REQUEST",
    "FineTuneWorkspace",
    "PredictionWorkspace",
    "make_folder",
    "partition_number",
]

OUTPUT_LAYER = "output"
"""The dataset layer that the model writes into."""

WINDOW_REQUEST = "request.geojson"
"""File in a window's folder with the request features that it was made for."""

_STATE_FOLDER = ".olmoearth_nb"


def make_folder(path: Path) -> Path:
    """Makes a folder and its parents.

    Args:
        path: The folder.

    Raises:
        StorageError: If it can't be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"The folder can't be made: {error.strerror}.",
            where=str(path),
            fix="Check the permissions, or choose another scratch folder.",
        ) from error
    return path


def partition_number(partition_id: str) -> tuple[int, str]:
    """Sort key of partition ids: by number, so that partition_10 comes after partition_9."""
    tail = partition_id.rsplit("_", 1)[-1]
    return (int(tail) if tail.isdigit() else -1, partition_id)


@dataclass(frozen=True)
class PredictionWorkspace:
    """Places of a prediction's scratch.

    Attributes:
        root: The scratch folder, absolute.
    """

    root: Path

    @property
    def state(self) -> Path:
        """Folder of what this package remembers about the scratch."""
        return self.root / _STATE_FOLDER

    @property
    def request(self) -> Path:
        """The request as it was when the scratch was made."""
        return self.root / "prediction_request_geometry.geojson"

    @property
    def dataset(self) -> Path:
        """The rslearn dataset."""
        return self.root / "dataset_0"

    @property
    def model_stage(self) -> Path:
        """Copies or links of the model's files."""
        return self.root / "model_stage_0"

    @property
    def partitions(self) -> Path:
        """Folder with one folder a partition."""
        return self.root / "partitions"

    @property
    def results(self) -> Path:
        """Folder of the combined result."""
        return self.root / "results"

    def partition_request(self, partition_id: str) -> Path:
        """Features of a partition."""
        return self.partitions / partition_id / "request.geojson"

    def partition_index(self, partition_id: str) -> Path:
        """Windows of a partition, shared ones included."""
        return self.partitions / partition_id / "windows.json"

    def partition_result(self, partition_id: str) -> Path:
        """Vector result of a partition."""
        return self.partitions / partition_id / "result.geojson"

    def partition_rasters(self, partition_id: str) -> Path:
        """Folder of the raster results of a partition."""
        return self.partitions / partition_id / "results_raster"

    @property
    def result(self) -> Path:
        """The combined vector result."""
        return self.results / "result.geojson"

    @property
    def rasters(self) -> Path:
        """Folder of the combined raster result."""
        return self.results / "results_raster"

    @property
    def combined(self) -> tuple[Path, ...]:
        """The files of the combined result that are there."""
        vector = (self.result,) if self.result.exists() else ()
        return tuple(sorted(self.rasters.glob("*.tif"))) or vector

    def window(self, group: str, name: str) -> Path:
        """Folder of a window."""
        return self.dataset / "windows" / group / name

    def window_request(self, group: str, name: str) -> Path:
        """The request features that a window was made for."""
        return self.window(group, name) / WINDOW_REQUEST

    def window_result(self, group: str, name: str) -> Path:
        """The postprocessed vector result of a window."""
        return self.window(group, name) / "result.geojson"


@dataclass(frozen=True)
class FineTuneWorkspace:
    """Places of a fine-tuning's scratch.

    Attributes:
        root: The scratch folder, absolute.
    """

    root: Path

    @property
    def state(self) -> Path:
        """Folder of what this package remembers about the scratch."""
        return self.root / _STATE_FOLDER

    @property
    def dataset(self) -> Path:
        """The rslearn dataset."""
        return self.root / "dataset"

    @property
    def trainer(self) -> Path:
        """Folder of the checkpoints."""
        return self.root / "trainer_checkpoints"
