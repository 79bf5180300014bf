"""The sections ``labeled_data_prep`` and ``prediction_requests``."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from olmoearth_nb.config.single_file.part import Part

__all__ = [
    "CombineGeotiff",
    "CrsProjection",
    "Grid",
    "LabeledDataPrep",
    "Partitioner",
    "PointToRaster",
    "PolygonToRaster",
    "Postprocessor",
    "PredictionRequests",
    "Preparer",
]


class NoopSampler(Part):
    """Keeps every task."""

    name: Literal["noop"]


class ChooseN(Part):
    """Keeps some tasks."""

    name: Literal["choose_n"]
    n: int = Field(ge=0)


class PointToPixel(Part):
    """The pixel of each point."""

    name: Literal["point_to_pixel"]


class PointToRaster(Part):
    """A square around each point."""

    name: Literal["point_to_raster"]
    window_buffer: int = Field(ge=0)


class PolygonToRaster(Part):
    """A task's area, or squares of ``input_size`` pixels in it."""

    name: Literal["polygon_to_raster"]
    gridding_strategy: Literal["center_crop", "pad_to_fill"] | None = None
    drop_inconsistent_utm: bool = False


class _Proportions(Part):
    train_prop: float = Field(ge=0, le=1)
    val_prop: float = Field(ge=0, le=1)
    test_prop: float = Field(ge=0, le=1)


class RandomSplitter(_Proportions):
    """By chance."""

    name: Literal["random"]
    seed: int | None = 42


class SpatialSplitter(_Proportions):
    """By cells of a grid, in pixels."""

    name: Literal["spatial"]
    grid_size: int = Field(ge=1)


Sampler: TypeAlias = Annotated[NoopSampler | ChooseN, Field(discriminator="name")]
Preparer: TypeAlias = Annotated[PointToPixel | PointToRaster | PolygonToRaster, Field(discriminator="name")]
Splitter: TypeAlias = Annotated[RandomSplitter | SpatialSplitter, Field(discriminator="name")]


class LabeledDataPrep(Part):
    """The section ``labeled_data_prep``."""

    sampler: Sampler
    window_preparer: Preparer
    data_splitter: Splitter


class UtmProjection(Part):
    """The UTM zone of each place."""

    method: Literal["use_utm"]


class CrsProjection(Part):
    """One projection everywhere; resolutions in its units, that of y negative."""

    method: Literal["crs"]
    crs: str
    x_resolution: float = Field(gt=0)
    y_resolution: float = Field(lt=0)


class NoopPartitioner(Part):
    """The whole."""

    name: Literal["noop"]


class Grid(Part):
    """Cells of a grid, in units of the projection."""

    name: Literal["grid"]
    grid_size: float = Field(gt=0)
    overlap_size: float = Field(default=0, ge=0)
    projection: Annotated[UtmProjection | CrsProjection, Field(discriminator="method")] | None = None
    clip: bool = False


Partitioner: TypeAlias = Annotated[NoopPartitioner | Grid, Field(discriminator="name")]


class Partitioners(Part):
    """How a request becomes partitions, and a partition windows."""

    request_to_partitions: Partitioner
    partition_to_windows: Partitioner


class LinearTransform(Part):
    """``scale`` times a value plus ``offset``."""

    type: Literal["linear"] = "linear"
    scale: float = 1.0
    offset: float = 0.0
    output_dtype: Literal["uint8", "int16", "int32", "float32"] | None = None


class Noop(Part):
    """Nothing is done."""

    name: Literal["noop"] = "noop"


class CombineGeotiff(Part):
    """Rasters are merged."""

    name: Literal["combine_geotiff"] = "combine_geotiff"
    max_pixels_per_dimension: int = Field(default=10_000, ge=1)
    value_transform: LinearTransform | None = None


Postprocessor: TypeAlias = Annotated[Noop | CombineGeotiff, Field(discriminator="name")]


class Postprocessors(Part):
    """What happens to results; in the newer form the three stages are not written."""

    window: Postprocessor = Noop()
    partition: Postprocessor | None = None
    request: Postprocessor | None = None
    additional_steps: list[dict[str, object]] = Field(default_factory=list)


class PredictionRequests(Part):
    """The section ``prediction_requests``."""

    partitioners: Partitioners
    postprocessors: Postprocessors = Postprocessors()
