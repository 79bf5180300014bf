"""Every extension point on one page, with the names of the OlmoEarth Run guide.

A component of one's own may derive from the class here (or from the same class under its
``olmoearth_run.runner.tools…`` path) or merely have its methods: what counts is that they are there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Generic, Protocol, runtime_checkable

from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry

from olmoearth_nb.geojson import (
    PredictionRequestCollection,
    PredictionRequestFeature,
    PredictionResultCollection,
)
from olmoearth_nb.geometry import project, utm_projection_for
from olmoearth_nb.types import (
    AnnotationTask,
    DataSplitType,
    LabeledSTGeometry,
    LabeledWindow,
    LabelT,
    RasterLabel,
    shape_of,
)

__all__ = [
    "DataSplitter",
    "DataSplitterInterface",
    "LabeledWindowPreparer",
    "PartitionInterface",
    "Partitioner",
    "PostprocessInterfaceRaster",
    "PostprocessInterfaceVector",
    "RasterLabelsWindowPreparer",
    "RasterPostprocessor",
    "Sampler",
    "SamplerInterface",
    "VectorLabelsWindowPreparer",
    "VectorPostprocessor",
    "WindowPreparer",
]


@runtime_checkable
class Partitioner(Protocol):
    """Splits a request into partitions, or a partition into windows."""

    def partition_request_geometry(
        self, request_extents: PredictionRequestCollection, /
    ) -> list[PredictionRequestCollection]:
        """Partitions of a request, each a collection in WGS84."""
        ...

    def prepare_window_geometries(
        self, request_extents: PredictionRequestCollection, /
    ) -> list[tuple[PredictionRequestFeature, STGeometry]]:
        """Windows of a partition: the feature each is for, and its extent in pixels of its projection."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """Chooses among annotation tasks."""

    def sample(self, annotation_tasks: list[AnnotationTask], /) -> list[AnnotationTask]:
        """The tasks to keep."""
        ...


@runtime_checkable
class WindowPreparer(Protocol):
    """Makes labelled windows of an annotation task."""

    def prepare_labeled_windows(
        self, annotation_task: AnnotationTask, /
    ) -> list[LabeledWindow[list[RasterLabel]]] | list[LabeledWindow[list[LabeledSTGeometry]]]:
        """Windows of one task, with raster or vector labels; none if the task gives none."""
        ...


@runtime_checkable
class DataSplitter(Protocol):
    """Assigns a split to a labelled window."""

    def choose_split_for_window(self, labeled_window: LabeledWindow[LabelT], /) -> DataSplitType:
        """The split of the window; the same whenever it is asked."""
        ...


@runtime_checkable
class VectorPostprocessor(Protocol):
    """Postprocesses vector results; only the stages it is named for need to be there."""

    def process_window(
        self, window_request: PredictionRequestFeature, window_result: PredictionResultCollection, /
    ) -> PredictionResultCollection:
        """Result of one window for one of the request features that it was made for."""
        ...

    def process_partition(self, results: list[PredictionResultCollection], /) -> PredictionResultCollection:
        """Result of a partition from those of its windows."""
        ...

    def process_dataset(self, results: list[PredictionResultCollection], /) -> PredictionResultCollection:
        """Result of the request from those of its partitions."""
        ...


@runtime_checkable
class RasterPostprocessor(Protocol):
    """Postprocesses raster results; only the stages it is named for need to be there.

    What it has besides is used: ``set_legend(legend)``, ``set_mask(mask)`` (else outputs are masked afterwards),
    ``set_times(times)`` with the time ranges of windows by path, and ``from_windows``, true if ``process_dataset``
    takes the GeoTIFFs of windows instead of those of partitions.
    """

    def process_window(self, window_request: PredictionRequestFeature, window_result_path: Path, /) -> None:
        """Changes the GeoTIFF of one window in place."""
        ...

    def process_partition(self, paths: list[Path], output_dir: Path, /) -> list[Path]:
        """GeoTIFFs of a partition, written to ``output_dir``, from those of its windows."""
        ...

    def process_dataset(self, paths: list[Path], output_dir: Path, /) -> list[Path]:
        """GeoTIFFs of the request, written to ``output_dir``, from those of its partitions."""
        ...


class PartitionInterface:
    """Base for partitioners of one's own: keeps the output projection and projects to it.

    Args:
        output_projection: Projection of the windows; WGS84 with one degree a pixel if None.
        use_utm: Use the UTM/UPS zone of each geometry's centroid, and of ``output_projection`` only the
            resolution.
    """

    def __init__(self, output_projection: Projection | None = None, use_utm: bool = False) -> None:
        self.output_projection = output_projection or WGS84_PROJECTION
        self.use_utm = use_utm

    def partition_request_geometry(
        self, request_extents: PredictionRequestCollection
    ) -> list[PredictionRequestCollection]:
        """See :class:`Partitioner`."""
        raise NotImplementedError

    def prepare_window_geometries(
        self, request_extents: PredictionRequestCollection
    ) -> list[tuple[PredictionRequestFeature, STGeometry]]:
        """See :class:`Partitioner`."""
        raise NotImplementedError

    def _update_projection(self, geometry: STGeometry) -> STGeometry:
        """The geometry in pixels of the output projection (the guide's name for it)."""
        return self._convert_to_utm(geometry) if self.use_utm else project(geometry, self.output_projection)

    def _convert_to_utm(self, geometry: STGeometry) -> STGeometry:
        """The geometry in pixels of its UTM/UPS zone, with the resolution of the output projection."""
        wgs84, target = geometry.to_projection(WGS84_PROJECTION), self.output_projection
        return project(geometry, utm_projection_for(shape_of(wgs84), target.x_resolution, target.y_resolution))


class SamplerInterface:
    """Base for samplers of one's own."""

    def sample(self, annotation_tasks: list[AnnotationTask]) -> list[AnnotationTask]:
        """See :class:`Sampler`."""
        raise NotImplementedError


class LabeledWindowPreparer(Generic[LabelT]):
    """Base for window preparers of one's own."""

    def prepare_labeled_windows(self, annotation_task: AnnotationTask) -> list[LabeledWindow[LabelT]]:
        """See :class:`WindowPreparer`."""
        raise NotImplementedError


class RasterLabelsWindowPreparer(LabeledWindowPreparer[list[RasterLabel]]):
    """Base for preparers whose labels are rasters."""


class VectorLabelsWindowPreparer(LabeledWindowPreparer[list[LabeledSTGeometry]]):
    """Base for preparers whose labels are geometries."""


class DataSplitterInterface:
    """Base for splitters of one's own."""

    def choose_split_for_window(self, labeled_window: LabeledWindow[LabelT]) -> DataSplitType:
        """See :class:`DataSplitter`."""
        raise NotImplementedError


class PostprocessInterfaceVector:
    """Base for vector postprocessors of one's own; define the stages it is named for."""

    def process_window(
        self, window_request: PredictionRequestFeature, window_result: PredictionResultCollection
    ) -> PredictionResultCollection:
        """See :class:`VectorPostprocessor`."""
        raise NotImplementedError

    def process_partition(self, results: list[PredictionResultCollection]) -> PredictionResultCollection:
        """See :class:`VectorPostprocessor`."""
        raise NotImplementedError

    def process_dataset(self, results: list[PredictionResultCollection]) -> PredictionResultCollection:
        """See :class:`VectorPostprocessor`."""
        raise NotImplementedError


class PostprocessInterfaceRaster:
    """Base for raster postprocessors of one's own; define the stages it is named for."""

    def process_window(self, window_request: PredictionRequestFeature, window_result_path: Path) -> None:
        """See :class:`RasterPostprocessor`."""
        raise NotImplementedError

    def process_partition(self, paths: list[Path], output_dir: Path) -> list[Path]:
        """See :class:`RasterPostprocessor`."""
        raise NotImplementedError

    def process_dataset(self, paths: list[Path], output_dir: Path) -> list[Path]:
        """See :class:`RasterPostprocessor`."""
        raise NotImplementedError
