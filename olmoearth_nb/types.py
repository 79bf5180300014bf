"""The nouns of the data flow.

Names that custom classes of users see are those of the OlmoEarth Run guide, whose models are pydantic's: these four
are not frozen, and copy themselves, because a custom class may say ``task.annotations = []`` or
``task.model_copy(update={"annotations": []})``. rslearn's ``STGeometry``, ``Projection``, ``Window`` and ``Feature``
are used as they are. Pixel coordinates are rslearn's: CRS units divided by the resolution, with a negative y
resolution, so that y grows southwards.
"""

from __future__ import annotations

import copy
import enum
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Self, TypeAlias, TypeVar, cast

import numpy.typing as npt
from rslearn.utils.geometry import Projection, STGeometry
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import GeometryError, InputFileError

__all__ = [
    "AnnotationTask",
    "DataSplitType",
    "LabeledSTGeometry",
    "LabeledWindow",
    "Labels",
    "PixelBounds",
    "RasterLabel",
    "StepName",
    "TimeRange",
    "WindowSpec",
    "shape_of",
]

PixelBounds: TypeAlias = tuple[int, int, int, int]
"""``(x0, y0, x1, y1)`` in pixels of a projection, half-open: x0 <= x < x1."""

TimeRange: TypeAlias = tuple[datetime, datetime]
"""Start and end, both with a time zone."""

Labels: TypeAlias = dict[str, int | float | None]
"""Label name -> value; at least one value is not None."""


def shape_of(geometry: STGeometry) -> BaseGeometry:
    """The shapely geometry of an ``STGeometry``, in pixels of its projection."""
    return cast(BaseGeometry, geometry.shp)


class DataSplitType(enum.StrEnum):
    """The split a labelled window belongs to."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"


class StepName(enum.StrEnum):
    """The steps of the two workflows, by the names that commands and scripts use."""

    PARTITION = "partition"
    DATASET_BUILD = "dataset_build"
    INFERENCE = "inference"
    POSTPROCESS = "postprocess"
    COMBINE = "combine"
    PREPARE_LABELED_WINDOWS = "prepare_labeled_windows"
    BUILD_DATASET_FROM_WINDOWS = "build_dataset_from_windows"
    FINE_TUNE = "fine_tune"


class _Model:
    """What the guide's models have from pydantic, and custom classes use."""

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some attributes changed.

        Args:
            update: Attribute -> value.
            deep: Whether to copy what the attributes hold as well.
        """
        made = copy.deepcopy(self) if deep else copy.copy(self)
        vars(made).update(update or {})
        return made


@dataclass(kw_only=True)
class LabeledSTGeometry(_Model):
    """A geometry in space and time with its label values.

    Attributes:
        st_geometry: Geometry with projection and time range.
        labels: Label name -> value or None; at least one is not None.

    Raises:
        InputFileError: If every label is None.
    """

    st_geometry: STGeometry
    labels: Labels

    def __post_init__(self) -> None:
        if all(value is None for value in self.labels.values()):
            raise InputFileError("An annotation has no label.", expected="at least one value that is not null")


@dataclass(kw_only=True)
class RasterLabel(_Model):
    """One band of raster labels.

    Attributes:
        key: Label name.
        value: Array of shape (H, W), class values or measurements, in the label's dtype.
    """

    key: str
    value: npt.NDArray[Any]


@dataclass(kw_only=True)
class AnnotationTask(_Model):
    """An area that annotators finished, with everything they labelled in it.

    Attributes:
        task_id: The task's UUID.
        task_st_geometry: Boundary in WGS84 with the task's time range.
        annotations: Labelled geometries in WGS84; their time range is the task's.
    """

    task_id: uuid.UUID
    task_st_geometry: STGeometry
    annotations: list[LabeledSTGeometry]

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Bounds of the task, (min lon, min lat, max lon, max lat) in degrees."""
        west, south, east, north = shape_of(self.task_st_geometry).bounds
        return west, south, east, north


LabelT = TypeVar("LabelT", bound=list[LabeledSTGeometry] | list[RasterLabel])


@dataclass(kw_only=True)
class LabeledWindow(_Model, Generic[LabelT]):
    """A window to train or test on, with its labels.

    Attributes:
        name: Unique name within the dataset.
        st_geometry: Extent in pixels of its projection, with the time range.
        labels: Either vector labels in the window's projection, or one raster a label name, each (H, W).

    Raises:
        GeometryError: If there are no labels, or a raster's shape is not that of the window.
    """

    name: str
    st_geometry: STGeometry
    labels: LabelT

    def __post_init__(self) -> None:
        if not self.labels:
            raise GeometryError("A labelled window has no labels.", where=f"window {self.name}")
        x0, y0, x1, y1 = self.bounds
        for label in self.labels:
            if isinstance(label, RasterLabel) and label.value.shape != (y1 - y0, x1 - x0):
                raise GeometryError(
                    f"The raster of label {label.key!r} does not fit the window.",
                    where=f"window {self.name}",
                    expected=f"shape {(y1 - y0, x1 - x0)} (height, width)",
                    found=f"{label.value.shape}",
                )

    @property
    def projection(self) -> Projection:
        """Projection of the window: CRS and resolution (CRS units per pixel)."""
        return self.st_geometry.projection

    @property
    def bounds(self) -> PixelBounds:
        """Bounds in whole pixels, rounded, half-open."""
        # Halves up, so that a square keeps its size wherever it lies.
        x0, y0, x1, y1 = (math.floor(value + 0.5) for value in shape_of(self.st_geometry).bounds)
        return x0, y0, x1, y1

    @property
    def time_range(self) -> TimeRange | None:
        """Start and end of the window's time, or None for any time."""
        return self.st_geometry.time_range


@dataclass(frozen=True, kw_only=True)
class WindowSpec:
    """A window that a prediction needs, before it exists in the dataset.

    Attributes:
        name: ``{partition_id}_{20 hex digits}`` of the partition that owns it.
        group: rslearn window group, ``group_{partition_id}`` of the owner.
        projection: CRS and resolution.
        bounds: Whole pixels, half-open.
        time_range: The request's time range.
        features: Indices into the features of the partition that lists it.
    """

    name: str
    group: str
    projection: Projection
    bounds: PixelBounds
    time_range: TimeRange | None
    features: tuple[int, ...]
