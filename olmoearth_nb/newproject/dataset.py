"""``dataset.json`` of a new project."""

from __future__ import annotations

import math
from typing import Any

from olmoearth_nb.newproject.choices import Task
from olmoearth_nb.newproject.classes import NODATA
from olmoearth_nb.newproject.imagery import PERIOD_DAYS, Imagery
from olmoearth_nb.newproject.proposal import Proposal
from olmoearth_nb.newproject.values import NODATA_VALUE

__all__ = ["LABEL_LAYER", "OUTPUT_LAYER", "dataset_config", "raster_type"]

LABEL_LAYER, OUTPUT_LAYER = "label", "output"


def dataset_config(proposal: Proposal) -> dict[str, Any]:
    """The layers: imagery, labels, and what the model writes.

    Args:
        proposal: The project.
    """
    return {
        "layers": {
            proposal.imagery.layer: _imagery_layer(proposal),
            LABEL_LAYER: _layer(proposal.task, proposal.label_name),
            OUTPUT_LAYER: _layer(proposal.task, "output"),
        }
    }


def raster_type(task: Task) -> tuple[str, int]:
    """Data type and nodata value of label and output rasters.

    Args:
        task: A task with rasters.
    """
    return ("uint8", NODATA) if task.has_classes else ("float32", NODATA_VALUE)


def _layer(task: Task, band: str) -> dict[str, Any]:
    if not task.is_raster:
        return {"type": "vector"}
    dtype, nodata = raster_type(task)
    return {"type": "raster", "band_sets": [{"bands": [band], "dtype": dtype, "nodata_value": nodata}]}


def _imagery_layer(proposal: Proposal) -> dict[str, Any]:
    imagery = proposal.imagery
    band_set: dict[str, Any] = {"bands": list(imagery.bands), "dtype": imagery.dtype}
    if imagery.nodata is not None:
        band_set["nodata_value"] = imagery.nodata
    source = dict(imagery.data_source)
    if imagery.is_local and imagery.times is None:
        # Without times OlmoEarth can't tell the season; the files are taken to be of the labels' time.
        span = [moment.isoformat() for moment in proposal.time_range]
        source["init_args"] = {**source["init_args"], "times": {"*": span}}
    return {"type": "raster", "band_sets": [band_set], "data_source": {**source, "query_config": _query(imagery)}}


def _query(imagery: Imagery) -> dict[str, Any]:
    if imagery.dates == 1:
        return {"space_mode": "MOSAIC", "max_matches": 1}
    return {
        "space_mode": "MOSAIC",
        "max_matches": imagery.dates,
        # A window with half of its dates still says something; one with fewer gets no imagery and is reported.
        "min_matches": 1 if imagery.is_local else imagery.dates // 2,
        "period_duration": f"{_period_days(imagery)}d",
        "per_period_mosaic_reverse_time_order": False,
    }


def _period_days(imagery: Imagery) -> int:
    if imagery.times is None:
        return PERIOD_DAYS
    start, end = imagery.times
    # Each day on its own, unless there are more days than the model takes.
    return 1 if (imagery.days or 0) <= imagery.dates else math.ceil((end - start).days / imagery.dates)
