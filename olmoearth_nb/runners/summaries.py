"""What the steps return: counts, seconds, files and reasons, as objects that show themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from olmoearth_nb.errors import UsageError
from olmoearth_nb.files import shown_path
from olmoearth_nb.legend import Legend
from olmoearth_nb.postprocess.export import Export, export_features
from olmoearth_nb.tables import html_table, text_table
from olmoearth_nb.types import StepName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "STALE",
    "BuildSummary",
    "InferenceSummary",
    "PartitionSummary",
    "PostprocessSummary",
    "PredictionResult",
    "PrepareSummary",
    "Status",
    "StepSummary",
    "TrainingSummary",
]

_SHOWN = 10

STALE = "made from other files"
"""State of every step of a scratch that belongs to another request, configuration or annotations."""


@dataclass(frozen=True, kw_only=True, repr=False)
class StepSummary:
    """What a step did.

    Attributes:
        step: Name of the step.
        counts: What was counted, name -> number.
        seconds: How long it took.
        files: Files written (or found written).
        problems: Window (or feature) -> why it failed or was left out.
        notes: Further things to know.
    """

    step: StepName
    counts: Mapping[str, int]
    seconds: float
    files: tuple[Path, ...] = ()
    problems: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def _rows(self) -> list[tuple[str, object]]:
        rows: list[tuple[str, object]] = list(self.counts.items())
        rows.append(("seconds", f"{self.seconds:.1f}"))
        rows += [("file", shown_path(path)) for path in self.files[:_SHOWN]]
        if len(self.files) > _SHOWN:
            rows.append(("file", f"… and {len(self.files) - _SHOWN} more"))
        rows += [("note", note) for note in self.notes]
        alike: dict[str, list[str]] = {}
        for name, reason in self.problems.items():
            alike.setdefault(reason, []).append(name)
        for reason, names in list(alike.items())[:_SHOWN]:
            rows.append((names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more", reason))
        if len(alike) > _SHOWN:
            rows.append(("…", f"and {len(alike) - _SHOWN} other reasons, see .problems"))
        return rows

    def __repr__(self) -> str:
        return text_table((self.step.value, ""), self._rows())

    def _repr_html_(self) -> str:
        return html_table((self.step.value, ""), self._rows())

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values, for JSON."""
        return {
            "step": self.step.value,
            **self.counts,
            "seconds": round(self.seconds, 3),
            "files": [str(path) for path in self.files],
            "problems": dict(self.problems),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True, repr=False)
class PartitionSummary(StepSummary, Sequence[str]):
    """The partitions of a request; as a sequence, their ids in order.

    Attributes:
        partitions: Partition id -> number of its windows, shared ones included.
    """

    partitions: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.partitions)

    def __getitem__(self, index: Any) -> Any:
        return list(self.partitions)[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self.partitions)

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values, for JSON."""
        return super().to_dict() | {"partition_ids": list(self.partitions)}


@dataclass(frozen=True, kw_only=True, repr=False)
class PrepareSummary(StepSummary):
    """Labelled windows made of annotation tasks; ``problems`` names tasks and annotations left out."""


@dataclass(frozen=True, kw_only=True, repr=False)
class BuildSummary(StepSummary):
    """Windows whose imagery was built, was there already, or is missing with the reason."""


@dataclass(frozen=True, kw_only=True, repr=False)
class InferenceSummary(StepSummary):
    """Windows that were predicted, were there already, or failed with the reason."""


@dataclass(frozen=True, kw_only=True, repr=False)
class PostprocessSummary(StepSummary):
    """Partitions whose window results were postprocessed and merged."""


@dataclass(frozen=True, kw_only=True, repr=False)
class PredictionResult(StepSummary):
    """The combined result of a request.

    Attributes:
        data_type: ``RASTER`` or ``VECTOR``.
        legend: Classes and ranges of the values, from ``inference_results_config``, or None.
    """

    data_type: str
    legend: Legend | None

    def plot(self, *, field: str | None = None) -> Figure:
        """The result in the colours of the legend, with the share of each class.

        Args:
            field: Which field of the legend; the first one if None.

        Raises:
            InputFileError: If there are no files, or one can't be read.
            UsageError: If there is no such field.
        """
        from olmoearth_nb.maps.static import plot_prediction

        return plot_prediction(self.files, self.legend, field=field)

    def export(self, path: str | PathLike[str], *, overwrite: bool = False) -> Export:
        """Writes vector results in another format, with the labels and colours of the legend.

        Args:
            path: The file: ``.parquet`` (GeoParquet), ``.fgb`` (FlatGeobuf), ``.gpkg`` (GeoPackage), ``.pmtiles``
                (vector tiles for maps on the web) or ``.geojson``.
            overwrite: Replace a file that is there.

        Raises:
            UsageError: If results are rasters, the suffix is not known, or the file is there.
            MissingDependencyError: If the format can't be written here.
            StorageError: If the file can't be written.
        """
        if self.data_type != "VECTOR":
            raise UsageError(
                "The results are rasters, and features are exported.",
                where=", ".join(str(path) for path in self.files[:3]),
                fix="Take the files as they are: Cloud Optimized GeoTIFFs.",
            )
        if not self.files:
            raise UsageError("There is no combined result to export.", fix="See the notes of this result.")
        return export_features(self.files[0], path, legend=self.legend, overwrite=overwrite)


@dataclass(frozen=True, kw_only=True, repr=False)
class TrainingSummary(StepSummary):
    """A training.

    Attributes:
        best_checkpoint: What the ModelCheckpoint callback calls best, or None.
        last_checkpoint: Where a continued training would start, or None.
        monitor: Metric that decides which one is best.
        best_score: Its value.
        history: One mapping an epoch: ``epoch``, losses and metrics by name.
    """

    best_checkpoint: Path | None
    last_checkpoint: Path | None
    monitor: str | None
    best_score: float | None
    history: tuple[Mapping[str, float], ...]

    def plot(self) -> Figure:
        """Losses and metrics, epoch by epoch.

        Raises:
            MissingStepError: If there is no epoch yet.
        """
        from olmoearth_nb.maps.static import plot_training

        return plot_training(self.history, monitor=self.monitor, best_score=self.best_score)

    def _rows(self) -> list[tuple[str, object]]:
        score = [] if self.best_score is None else [(f"best {self.monitor}", f"{self.best_score:.4f}")]
        return [*super()._rows(), *score]


@dataclass(frozen=True, repr=False)
class Status:
    """How far a scratch is, step by step.

    Attributes:
        steps: Step -> "done", "partly (n of m)", "missing" or "made from other files".
        notes: Further things to know.
    """

    steps: Mapping[StepName, str]
    notes: tuple[str, ...] = ()

    def _rows(self) -> list[tuple[str, str]]:
        return [*((step.value, state) for step, state in self.steps.items()), *(("note", note) for note in self.notes)]

    def __getitem__(self, step: str) -> str:
        return self.steps[StepName(step)]

    def __repr__(self) -> str:
        return text_table(("step", "state"), self._rows())

    def _repr_html_(self) -> str:
        return html_table(("step", "state"), self._rows())

    def to_dict(self) -> dict[str, Any]:
        """Step name -> state; and ``notes``, if there are any."""
        states = {step.value: state for step, state in self.steps.items()}
        return {**states, "notes": list(self.notes)} if self.notes else states


def progress_state(done: int, total: int) -> str:
    """State of a step: "done", "partly (n of m)" or "missing"."""
    if total and done >= total:
        return "done"
    return f"partly ({done} of {total})" if done else "missing"
