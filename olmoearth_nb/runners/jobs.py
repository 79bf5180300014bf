"""What one job of a step does, in a worker process or on another machine.

Workers keep what is expensive to make: the model of the last project, and what postprocessing has opened.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from olmoearth_nb.config import Project
from olmoearth_nb.progress import ProgressBar
from olmoearth_nb.remote.layout import Kind
from olmoearth_nb.runners.components import Components
from olmoearth_nb.runners.engines import Engine
from olmoearth_nb.runners.models import Models
from olmoearth_nb.runners.predict_scratch import PredictionScratch
from olmoearth_nb.runners.stages import PartitionOutcome, PartitionStage
from olmoearth_nb.store.dataset import open_dataset
from olmoearth_nb.store.windows import WindowKey, as_window, groups_label
from olmoearth_nb.types import WindowSpec

if TYPE_CHECKING:
    from olmoearth_nb.model.predict import WindowOutcome

__all__ = ["ModelSource", "chunk_length", "postprocess_on", "predict_on"]

_WINDOWS = 16

# Of this process: the last ones, as a worker mostly works for one project.
_models: dict[tuple[str | None, ...], Models] = {}
_stages: dict[str, PartitionStage] = {}


def chunk_length(windows: int) -> int:
    """How many windows are predicted together, so that batches are the same wherever they are.

    Small enough that some tens of workers have something to do, large enough to fill batches.

    Args:
        windows: How many there are.
    """
    return min(256, max(32, windows // 32))


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """What a model is loaded from, and how it is run.

    Attributes:
        project: The project.
        checkpoint: The checkpoint; None for random weights.
        variables: Template variables of ``model.yaml``.
        device: See :func:`olmoearth_nb.model.devices.choose_device`.
        precision: See :data:`olmoearth_nb.model.devices.PRECISIONS`.
        batch_size: Crops or windows a batch; that of ``model.yaml`` if None.
        threads: Threads of a forward pass; torch's own number if None.
    """

    project: Project
    checkpoint: Path | None
    variables: Mapping[str, str]
    device: str | None
    precision: str | None
    batch_size: int | None
    threads: int | None


@dataclass(frozen=True, kw_only=True)
class _PredictJob:
    kinds: ClassVar[frozenset[Kind]] = frozenset({"imagery"})

    source: ModelSource
    dataset: Path
    specs: Sequence[WindowSpec]
    gives_gpus: bool

    @property
    def label(self) -> str:
        return f"predict-{groups_label(self.specs)}"


def predict_on(
    engine: Engine,
    source: ModelSource,
    dataset: Path,
    specs: Sequence[WindowSpec],
    bar: ProgressBar,
    *,
    done: Collection[WindowKey],
) -> list[WindowOutcome]:
    """Predicts windows with an engine.

    Args:
        engine: The engine.
        source: The model.
        dataset: Folder of the dataset.
        specs: The windows.
        bar: Told how many windows are done.
        done: Those that have their output; they are only computed with others of their batch.

    Returns:
        One outcome a window of a chunk that was not complete, in no order.
    """
    from olmoearth_nb.model.batches import window_order

    length = chunk_length(len(specs))
    ordered = sorted(specs, key=window_order)
    chunks = [ordered[start : start + length] for start in range(0, len(ordered), length)]
    wanted = [chunk for chunk in chunks if any((spec.group, spec.name) not in done for spec in chunk)]
    bar.update(len(ordered) - sum(map(len, wanted)))
    jobs = [_PredictJob(source=source, dataset=dataset, specs=chunk, gives_gpus=engine.gives_gpus) for chunk in wanted]
    outcomes: list[WindowOutcome] = []
    for job, found in engine.run(_predict, jobs):
        outcomes += found
        bar.update(len(job.specs))
    return outcomes


def _predict(job: _PredictJob) -> list[WindowOutcome]:
    from olmoearth_nb.model.gpus import worker_device
    from olmoearth_nb.model.predict import predict_windows

    source = job.source
    device = worker_device(source.device, given=job.gives_gpus)
    key = (str(source.project.path), device, source.precision)
    if key not in _models:
        _models.clear()
        _models[key] = Models(source.project, device=device, precision=source.precision)
    dataset = open_dataset(job.dataset)
    return predict_windows(
        _models[key].load(source.checkpoint, source.variables),
        [as_window(dataset, spec) for spec in job.specs],
        batch_size=source.batch_size,
        num_workers=0,
        progress=False,
        # What a worker that died has written stays, and batches are those that they would have been without it.
        fill=True,
        threads=source.threads,
    )


@dataclass(frozen=True, kw_only=True)
class _PostprocessJob:
    kinds: ClassVar[frozenset[Kind]] = frozenset({"output", "merged"})

    scratch: PredictionScratch
    session: str
    specs: Sequence[WindowSpec] = ()
    partition_id: str = ""

    @property
    def label(self) -> str:
        return f"merge-{self.partition_id}" if self.partition_id else f"postprocess-{groups_label(self.specs)}"


def postprocess_on(
    engine: Engine, stage: PartitionStage, partition_ids: Sequence[str], bar: ProgressBar
) -> list[PartitionOutcome]:
    """Postprocesses partitions with an engine: first all windows, as partitions share some, then each partition.

    Args:
        engine: The engine.
        stage: What to do.
        partition_ids: The partitions.
        bar: Told how many partitions are done.

    Returns:
        One outcome a partition, in their order.
    """
    scratch, session = stage.scratch, uuid.uuid4().hex
    changed = [pid for pid in partition_ids if stage.begin(pid)]
    outcomes = {pid: stage.outcome(pid, unchanged=True) for pid in partition_ids if pid not in set(changed)}
    bar.update(len(outcomes))
    if stage.components.is_raster:
        specs = {(spec.group, spec.name): spec for pid in changed for spec in stage.predicted(scratch.windows_of(pid))}
        todo = list(specs.values())
        chunks = [todo[start : start + _WINDOWS] for start in range(0, len(todo), _WINDOWS)]
        for _ in engine.run(
            _process_windows, [_PostprocessJob(scratch=scratch, session=session, specs=chunk) for chunk in chunks]
        ):
            pass
    jobs = [_PostprocessJob(scratch=scratch, session=session, partition_id=pid) for pid in changed]
    for job, outcome in engine.run(_process_partition, jobs):
        outcomes[job.partition_id] = outcome
        bar.update(1)
    return [outcomes[pid] for pid in partition_ids]


def _process_windows(job: _PostprocessJob) -> None:
    _stage(job).process_windows(job.specs)


def _process_partition(job: _PostprocessJob) -> PartitionOutcome:
    stage = _stage(job)
    stage.merge(job.partition_id)
    return stage.outcome(job.partition_id, unchanged=False)


def _stage(job: _PostprocessJob) -> PartitionStage:
    if job.session not in _stages:
        scratch = job.scratch
        _stages.clear()
        _stages[job.session] = PartitionStage(scratch, Components(scratch.project), scratch.mask())
    return _stages[job.session]
