"""What a new project looks at: a catalogue, or files of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import UsageError
from olmoearth_nb.types import TimeRange

__all__ = ["ENCODERS", "MODALITIES", "SOURCES", "Encoder", "Imagery", "Modality", "catalogue", "encoder_named"]

_PC = "rslearn.data_sources.planetary_computer"
DATES = 12
"""Monthly mosaics of a year, as the published projects have them; OlmoEarth takes no more."""

PERIOD_DAYS = 30


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """An encoder that can be chosen.

    Attributes:
        name: What it is called here.
        model_id: Of OlmoEarth, None for the convolutional network.
        channels: Size of its embeddings (``EMBEDDING_SIZES`` of rslearn; a test compares).
    """

    name: str
    model_id: str | None
    channels: int


ENCODERS: Mapping[str, Encoder] = MappingProxyType(
    {
        one.name: one
        for one in (
            Encoder(name="olmoearth-nano", model_id="OLMOEARTH_V1_2_NANO", channels=128),
            Encoder(name="olmoearth-tiny", model_id="OLMOEARTH_V1_2_TINY", channels=192),
            Encoder(name="olmoearth-small", model_id="OLMOEARTH_V1_2_SMALL", channels=384),
            Encoder(name="olmoearth-base", model_id="OLMOEARTH_V1_2_BASE", channels=768),
            Encoder(name="unet", model_id=None, channels=32),
        )
    }
)
"""Encoders by name."""


def encoder_named(name: str) -> Encoder:
    """An encoder by its name, with or without ``olmoearth-``.

    Args:
        name: As on the command line.

    Raises:
        UsageError: If there is none of that name.
    """
    for key in (name, f"olmoearth-{name}"):
        if key in ENCODERS:
            return ENCODERS[key]
    raise UsageError(
        "There is no such encoder.", where="encoder", expected=f"one of {', '.join(ENCODERS)}", found=repr(name)
    )


@dataclass(frozen=True, kw_only=True)
class Modality:
    """Imagery of a kind that OlmoEarth was trained on.

    Attributes:
        name: OlmoEarth's name for it: that of the model's input.
        bands: Bands in OlmoEarth's order.
        resolution: Metres per pixel.
        dtype: Of the pixels.
        mean: What to subtract for the convolutional network, which has no normalisation of its own.
        std: What to divide by then.
    """

    name: str
    bands: tuple[str, ...]
    resolution: float
    dtype: str
    mean: float
    std: float


# Means and deviations are round numbers near those that OlmoEarth has for each band (norm_configs/computed.json of
# olmoearth-pretrain-minimal); Sentinel-1 in decibels.
MODALITIES: Mapping[str, Modality] = MappingProxyType(
    {
        "sentinel2": Modality(
            name="sentinel2_l2a",
            bands=("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12", "B01", "B09"),
            resolution=10,
            dtype="uint16",
            mean=2000,
            std=1700,
        ),
        "sentinel1": Modality(name="sentinel1", bands=("vv", "vh"), resolution=10, dtype="float32", mean=-15, std=10),
        "landsat": Modality(
            name="landsat",
            bands=("B8", "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9", "B10", "B11"),
            resolution=10,
            dtype="uint16",
            mean=11000,
            std=8000,
        ),
    }
)
"""Modalities by the name of their source."""

SOURCES = (*MODALITIES, "local:GLOB")
"""What ``source`` may be."""

# Planetary Computer has Landsat's surface reflectance, without the panchromatic band and the cirrus band.
_LANDSAT_C2L2 = ("B1", "B2", "B3", "B4", "B5", "B6", "B7")


@dataclass(frozen=True, kw_only=True)
class Imagery:
    """The imagery of a project.

    Attributes:
        source: What was asked for: ``sentinel2``, ``sentinel1``, ``landsat`` or ``local:…``.
        layer: Its layer in ``dataset.json``.
        modality: OlmoEarth's name for it, None if it is of no kind that OlmoEarth knows.
        bands: Bands in the order that the model gets them.
        dtype: Of the pixels.
        nodata: Value of pixels without data; None if there is none.
        resolution: Metres per pixel of the windows.
        dates: How many images of different times a window gets.
        data_source: The data source without its query: class_path, init_args, ingest.
        normalisation: Mean and standard deviation, one number or one a band.
        decibels: Whether pixels are intensities that have to become decibels.
        days: How many different days the files are of; None for a catalogue or where they don't say.
        times: From the first to the last image, where the files say so.
        footprint: Where there are pixels, in degrees; None means everywhere.
        notes: What was found out about it.
    """

    source: str
    layer: str
    modality: str | None
    bands: tuple[str, ...]
    dtype: str
    nodata: float | None = None
    resolution: float
    dates: int
    data_source: Mapping[str, Any]
    normalisation: tuple[Any, Any]
    decibels: bool = False
    days: int | None = None
    times: TimeRange | None = None
    footprint: BaseGeometry | None = field(default=None, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        """Whether it is files of one's own."""
        return self.source.startswith("local:")


def catalogue(source: str, encoder: Encoder) -> Imagery:
    """Imagery of a catalogue.

    Args:
        source: ``sentinel2``, ``sentinel1`` or ``landsat``.
        encoder: What will look at it: the convolutional network takes one image, OlmoEarth a year of monthly mosaics.

    Raises:
        UsageError: If there is no such source.
    """
    if source not in MODALITIES:
        raise UsageError(
            "There is no such source of imagery.",
            where="source",
            expected=f"one of {', '.join(SOURCES)}",
            found=repr(source),
        )
    modality = MODALITIES[source]
    is_olmoearth = encoder.model_id is not None
    data_source, notes = _data_source(source, is_olmoearth=is_olmoearth)
    few_bands = source == "landsat" and not is_olmoearth
    return Imagery(
        source=source,
        layer=source,
        modality=modality.name,
        bands=_LANDSAT_C2L2 if few_bands else modality.bands,
        dtype=modality.dtype,
        nodata=0 if modality.dtype == "uint16" else None,
        resolution=30 if few_bands else modality.resolution,
        dates=DATES if is_olmoearth else 1,
        data_source=data_source,
        normalisation=(modality.mean, modality.std),
        decibels=source == "sentinel1",
        notes=notes,
    )


def _data_source(source: str, *, is_olmoearth: bool) -> tuple[dict[str, Any], tuple[str, ...]]:
    match source, is_olmoearth:
        case "sentinel2", _:
            # Since 2022 pixel values are higher by 1000; harmonize takes that off.
            arguments = {"harmonize": True, "sort_by": "eo:cloud_cover"}
            return {"class_path": f"{_PC}.Sentinel2", "init_args": arguments, "ingest": False}, ()
        case "sentinel1", _:
            query = {"sar:instrument_mode": {"eq": "IW"}, "sar:polarizations": {"eq": ["VV", "VH"]}}
            return {"class_path": f"{_PC}.Sentinel1", "init_args": {"query": query}, "ingest": False}, ()
        case _, False:
            arguments = {"sort_by": "eo:cloud_cover"}
            return {"class_path": f"{_PC}.LandsatC2L2", "init_args": arguments, "ingest": False}, ()
        case _:
            arguments = {"metadata_cache_dir": "cache/landsat", "sort_by": "cloud_cover"}
            note = "OlmoEarth wants Landsat's Level-1 bands, which only Amazon has: reading them needs an AWS account."
            return (
                {
                    "class_path": "rslearn.data_sources.aws_landsat.LandsatOliTirs",
                    "init_args": arguments,
                    "ingest": False,
                },
                (note,),
            )
