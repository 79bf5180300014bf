"""The last stage of postprocessing: results of partitions, or of all windows, become that of the request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olmoearth_nb.errors import MissingStepError
from olmoearth_nb.postprocess.calls import merged_rasters, takes_windows
from olmoearth_nb.postprocess.merging import write_merged
from olmoearth_nb.runners.components import Components
from olmoearth_nb.runners.predict_scratch import PredictionScratch
from olmoearth_nb.runners.stages import PartitionStage, fresh_folder, is_processed, results_of

__all__ = ["CombineOutcome", "combine", "processed_partitions"]


@dataclass(frozen=True, kw_only=True)
class CombineOutcome:
    """What combining gave.

    Attributes:
        files: The combined result.
        notes: What to know when there is none.
    """

    files: tuple[Path, ...]
    notes: tuple[str, ...]


def combine(scratch: PredictionScratch, components: Components, partition_ids: list[str]) -> CombineOutcome:
    """Combines the results of partitions into that of the request.

    Args:
        scratch: The scratch.
        components: The configured postprocessors.
        partition_ids: The partitions.

    Raises:
        MissingStepError: If one has not been postprocessed, though it has predictions.
        PostprocessError: If the postprocessor fails.
    """
    ready, unready = processed_partitions(scratch, partition_ids)
    merge = components.dataset_postprocessor()
    if components.is_raster:
        files = _combine_rasters(scratch, components, merge, ready)
    else:
        files = _combine_vector(
            scratch, merge, [path for pid in ready for path in results_of(scratch, pid, components)]
        )
    notes = [f"{pid} has no prediction and is not in the result." for pid in unready]
    if not files:
        notes.append(
            f"{type(merge).__name__} makes no combined file; the results lie in {scratch.workspace.partitions}."
        )
    return CombineOutcome(files=tuple(files), notes=tuple(notes))


def processed_partitions(scratch: PredictionScratch, partition_ids: list[str]) -> tuple[list[str], list[str]]:
    """Partitions that have a result, and those that have no prediction to make one of.

    Args:
        scratch: The scratch.
        partition_ids: The partitions.

    Raises:
        MissingStepError: If one has not been postprocessed, though it has predictions.
    """
    ready = [pid for pid in partition_ids if is_processed(scratch, pid)]
    unready = [pid for pid in partition_ids if pid not in set(ready)]
    waiting = [pid for pid in unready if scratch.predicted((s.group, s.name) for s in scratch.windows_of(pid))]
    if waiting or not ready:
        named = ", ".join((waiting or unready)[:5])
        raise MissingStepError(
            f"Some partitions have not been postprocessed: {named}.",
            where=str(scratch.workspace.root),
            fix="Call runner.postprocess() first.",
        )
    return ready, unready


def _combine_rasters(
    scratch: PredictionScratch, components: Components, merge: Any, partition_ids: list[str]
) -> list[Path]:
    mask = None
    if takes_windows(merge):
        mask = scratch.mask()
        stage = PartitionStage(scratch, components, mask)
        inputs = stage.processed_rasters(stage.current_windows(partition_ids))
    else:
        # Of partitions, what lies outside of the mask is gone already.
        inputs = dict.fromkeys(path for pid in partition_ids for path in results_of(scratch, pid, components))
    root = scratch.workspace.root
    with fresh_folder(scratch.workspace.rasters) as folder:
        made = merged_rasters(merge, "process_dataset", inputs, folder, mask=mask, where=str(root))
        names = [path.name for path in made]
    return [scratch.workspace.rasters / name for name in names]


def _combine_vector(scratch: PredictionScratch, merge: Any, inputs: list[Path]) -> list[Path]:
    target, root = scratch.workspace.result, str(scratch.workspace.root)
    write_merged(target, merge, "process_dataset", inputs, where=root)
    return [target]
