"""How much a request takes of disks and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rslearn.config import LayerConfig, LayerType

from olmoearth_nb.planning.plan import Plan
from olmoearth_nb.planning.rates import Figure
from olmoearth_nb.planning.volume import ImageryVolume, pixel_bytes

__all__ = ["Amounts", "amounts_of"]

# A file takes at least a block of the disk.
_BLOCK = 4096
# Overviews add a third; windows, partitions and the combined result have the same pixels each.
_OVERVIEWS, _COPIES = 4 / 3, 3
# Of a feature of a vector result.
_FEATURE = 500
# Stamps, request and result of a partition.
_FILES_OF_A_PARTITION = 5


@dataclass(frozen=True, kw_only=True)
class Amounts:
    """How much a request takes, whoever computes it.

    Attributes:
        fetched_bytes: Sent by catalogues, compressed; None if the layers are not known.
        imagery_bytes: Imagery in the scratch, compressed; None if the layers are not known.
        scratch_bytes: All of the scratch, results in it too.
        scratch_files: Files and folders in it.
        folder_entries: Windows in the fullest folder.
        result_bytes: The combined result.
        plan_memory: Bytes of memory of planning.
        worker_memory: Bytes of memory of all workers together, beside what a forward pass takes for a while.
        combine_memory: Bytes of memory of combining.
    """

    fetched_bytes: int | None
    imagery_bytes: int | None
    scratch_bytes: int
    scratch_files: int
    folder_entries: int
    result_bytes: int
    plan_memory: int
    worker_memory: int
    combine_memory: int


def amounts_of(
    plan: Plan,
    imagery: ImageryVolume | None,
    output: LayerConfig | None,
    figures: Mapping[str, Figure],
    *,
    in_rows: bool,
) -> Amounts:
    """How much a plan takes.

    Args:
        plan: The plan.
        imagery: Of its windows; None if it is not known.
        output: The layer that the model writes; one band of bytes if None.
        figures: See :func:`olmoearth_nb.planning.rates.figures_of`.
        in_rows: Whether windows are rows of SQLite instead of files.
    """
    windows, groups = plan.counts.windows, [len(partition.owned) for partition in plan.partitions]
    pixels = sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (spec.bounds for spec in plan.windows))
    result = _result_bytes(output, pixels, windows, figures["result_ratio"].value)
    layers = imagery.layers if imagery is not None else ()
    images, rasters = sum(one.images for one in layers), sum(one.rasters for one in layers)
    # A folder and metadata.json, items.json, request.geojson, and a mark on each finished layer: or rows.
    files = windows * (5 if in_rows else 9) + images * (1 if in_rows else 2) + 3 * rasters
    files += _FILES_OF_A_PARTITION * len(groups)
    stored = None if imagery is None else round(imagery.total_bytes * figures["stored_ratio"].value)
    wire = figures["items_per_image"].value * figures["download_ratio"].value
    worker = figures["worker_gb"].value + (figures["model_gb"].value if "model_gb" in figures else 0.0)
    return Amounts(
        fetched_bytes=None if imagery is None else round(sum(one.fetched_bytes for one in layers) * wire),
        imagery_bytes=stored,
        scratch_bytes=(stored or 0) + _COPIES * result + files * _BLOCK,
        scratch_files=files,
        folder_entries=max(groups, default=0),
        result_bytes=result,
        plan_memory=round(windows * figures["plan_kb_per_window"].value * 1e3),
        worker_memory=round(figures["workers"].value * worker * 1e9),
        combine_memory=round(figures["combine_gb"].value * 1e9),
    )


def _result_bytes(output: LayerConfig | None, pixels: int, windows: int, ratio: float) -> int:
    if output is None:
        return round(pixels * ratio * _OVERVIEWS)
    if output.type == LayerType.VECTOR:
        return windows * _FEATURE
    return round(pixels * sum(map(pixel_bytes, output.band_sets)) * ratio * _OVERVIEWS)
