"""``dataset.json`` out of the section ``data``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from olmoearth_nb.config.single_file.data import ClassField, Modality, Optical, Output, OutputField, Radar
from olmoearth_nb.config.single_file.observed import MODALITIES, Frame, ModalityFacts, frames_of
from olmoearth_nb.config.single_file.schema import SingleConfig

__all__ = ["LABEL_LAYER", "OUTPUT_LAYER", "dtype_of", "to_dataset"]

LABEL_LAYER = "labels"
OUTPUT_LAYER = "output"

_ORBITS = {"ascending_orbit": "ascending", "descending_orbit": "descending"}


def to_dataset(config: SingleConfig) -> dict[str, Any]:
    """``dataset.json``: a layer for each modality and time range, one for labels, one for results.

    Args:
        config: The file.
    """
    layers: dict[str, Any] = {}
    for key, modality in config.data.modalities.given.items():
        facts = MODALITIES[key]
        for frame in frames_of(config.data.temporality):
            layers[f"{facts.name}{frame.suffix}"] = {
                "type": "raster",
                "band_sets": [{"bands": list(facts.bands), "dtype": facts.dtype}],
                "data_source": _source(modality, facts, frame, oldest_first=config.is_newer),
            }
    if config.data.output is not None:
        layers |= {LABEL_LAYER: _labels(config.data.output), OUTPUT_LAYER: _results(config.data.output)}
    return {"layers": layers}


def dtype_of(field: OutputField) -> str:
    """Type of the pixels of a field: the smallest one that holds its classes, float32 for measurements.

    Args:
        field: A field of raster results.
    """
    if not isinstance(field, ClassField):
        return "float32"
    values = [one.value for one in field.allowed_values] + [field.nodata_value or 0]
    if min(values) < 0:
        return "int16" if max(values) < 2**15 else "int32"
    return "uint8" if max(values) < 2**8 else "uint16" if max(values) < 2**16 else "int32"


def _labels(output: Output) -> dict[str, Any]:
    if not output.is_raster:
        return {"type": "vector"}
    # A band set for each field: they may have types of their own, and the model reads them one by one.
    bands = [{"bands": [name], "dtype": dtype_of(one)} for name, one in output.fields.items()]
    return {"type": "raster", "band_sets": bands}


def _results(output: Output) -> dict[str, Any]:
    if not output.is_raster:
        return {"type": "vector"}
    dtypes = [dtype_of(one) for one in output.fields.values()]
    dtype = next((one for one in ("float32", "int32", "int16", "uint16") if one in dtypes), "uint8")
    names = [OUTPUT_LAYER] if len(output.fields) == 1 else list(output.fields)
    return {"type": "raster", "band_sets": [{"bands": names, "dtype": dtype}]}


def _source(modality: Modality, facts: ModalityFacts, frame: Frame, *, oldest_first: bool) -> dict[str, Any]:
    source = _catalogue(modality, facts)
    query: dict[str, Any] = {
        "space_mode": "CONTAINS" if frame.whole else modality.space_mode.upper(),
        "min_matches": frame.count,
        "max_matches": frame.count,
    }
    if frame.period is not None:
        query["period_duration"] = _text(frame.period)
        # The order that olmoearth-runner trains with; its version 0.1.14 has the newest image first.
        query["per_period_mosaic_reverse_time_order"] = not oldest_first
    source |= {"query_config": query, "duration": _text(frame.duration), "ingest": False}
    if frame.start:
        source["time_offset"] = _text(frame.start)
    return source


def _catalogue(modality: Modality, facts: ModalityFacts) -> dict[str, Any]:
    match modality:
        case Radar():
            query = {
                "sar:instrument_mode": {"eq": "IW"},
                "sar:polarizations": {"eq": ["VV", "VH"]},
                "sat:orbit_state": {"eq": _ORBITS[modality.orbit_direction]},
            }
            return {"class_path": "rslearn.data_sources.planetary_computer.Sentinel1", "init_args": {"query": query}}
        case Optical() if facts.name == "landsat":
            # Planetary Computer lacks three of the bands that the encoders were trained with.
            listing = {"metadata_cache_dir": "cache/landsat", "sort_by": modality.sort_by}
            return {"class_path": "rslearn.data_sources.aws_landsat.LandsatOliTirs", "init_args": listing}
        case _:
            # The query leaves out items that don't say how cloudy they are, which could not be sorted.
            clouds = "eo:cloud_cover"
            arguments = {"harmonize": True, "sort_by": clouds, "query": {clouds: {"gte": 0}}}
            return {"class_path": "rslearn.data_sources.planetary_computer.Sentinel2", "init_args": arguments}


def _text(duration: timedelta) -> str:
    """As rslearn reads it: whole days, or seconds."""
    days, rest = divmod(duration, timedelta(days=1))
    return f"{days}d" if not rest else f"{duration.total_seconds():.12g}s"
