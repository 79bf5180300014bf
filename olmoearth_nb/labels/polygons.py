"""Windows over annotated areas: the whole task, or squares of one size, with polygons burnt into rasters."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from rslearn.utils.geometry import Projection, STGeometry

from olmoearth_nb.errors import ConfigError, InputFileError
from olmoearth_nb.geometry import pixel_bounds
from olmoearth_nb.globe import project, project_all, utm_projection_for, utm_ups_crs
from olmoearth_nb.labels.rasterize import (
    burn,
    check_nodata,
    check_resolution,
    check_value,
    label_names,
    resolve_dtype,
    whole_number,
)
from olmoearth_nb.labels.shapes import polygonal_part
from olmoearth_nb.lonlat import unwrap_antimeridian
from olmoearth_nb.types import AnnotationTask, LabeledWindow, PixelBounds, RasterLabel, shape_of

__all__ = ["GridConfig", "GriddingStrategy", "PolygonToRasterWindowPreparer", "grid_cells"]


class GriddingStrategy(enum.StrEnum):
    """What becomes of a task that is no multiple of the squares' size."""

    CENTER_CROP = "center_crop"
    PAD_TO_FILL = "pad_to_fill"


@dataclass(frozen=True)
class GridConfig:
    """Squares that a task is divided into.

    Attributes:
        window_size_px: Width and height of each square in pixels.
        gridding_strategy: ``center_crop`` keeps whole squares only, centred in the task; ``pad_to_fill`` covers the
            task from its upper left corner and pads with nodata at the right and bottom.

    Raises:
        ConfigError: If the size is below 1 or the strategy is unknown.

    Example:
        >>> GridConfig(64, "pad_to_fill").gridding_strategy.value
        'pad_to_fill'
    """

    window_size_px: int
    gridding_strategy: GriddingStrategy = GriddingStrategy.CENTER_CROP

    def __post_init__(self) -> None:
        size = whole_number(self.window_size_px, where="grid_config.window_size_px", at_least=1)
        object.__setattr__(self, "window_size_px", size)
        try:
            strategy = GriddingStrategy(str(self.gridding_strategy).lower())
        except ValueError as error:
            raise ConfigError(
                "Not a way to divide a task.",
                where="grid_config.gridding_strategy",
                expected=f"one of {', '.join(GriddingStrategy)}",
                found=repr(self.gridding_strategy),
            ) from error
        object.__setattr__(self, "gridding_strategy", strategy)


class PolygonToRasterWindowPreparer:
    """Windows over a task's area, with its polygons as rasters of classes or values.

    The window is the task's bounds in the UTM/UPS zone of its centroid, in whole pixels; with ``grid_config``, squares
    of one size. There is a band for each label name, in alphabetical order; later annotations cover earlier ones.
    Windows with nothing but nodata are left out, their numbers stay unused.

    Args:
        window_resolution: Metres per pixel.
        nodata_value: Value of pixels that no annotation covers.
        grid_config: :class:`GridConfig`, or a mapping with its keys, or None for one window a task.
        drop_inconsistent_utm: Leave out a task whose corners lie in several zones.
        dtype: Type of the rasters; uint8, as olmoearth-runner has it, holds classes, float32 measurements.

    Raises:
        ConfigError: If an argument is out of range or unknown.

    Example:
        >>> PolygonToRasterWindowPreparer(grid_config={"window_size_px": 64}).grid_config.window_size_px
        64
    """

    def __init__(
        self,
        window_resolution: float = 10.0,
        nodata_value: float = 255,
        grid_config: GridConfig | Mapping[str, Any] | None = None,
        drop_inconsistent_utm: bool = False,
        dtype: str = "uint8",
    ) -> None:
        name = type(self).__name__
        self.window_resolution = check_resolution(window_resolution, where=f"{name}.window_resolution")
        self.dtype = resolve_dtype(dtype, where=f"{name}.dtype")
        self.nodata_value = check_nodata(nodata_value, self.dtype, where=f"{name}.nodata_value")
        self.grid_config = _grid_config(grid_config)
        self.drop_inconsistent_utm = drop_inconsistent_utm

    def prepare_labeled_windows(self, annotation_task: AnnotationTask) -> list[LabeledWindow[list[RasterLabel]]]:
        """Windows of a task; none if it has no annotations, or covers no pixel with them.

        Args:
            annotation_task: A task whose annotations are polygons.

        Raises:
            GeometryError: If the task is too large for one raster.
            InputFileError: If an annotation is not a polygon, or a value does not fit the raster.
        """
        if not annotation_task.annotations:
            return []
        area = shape_of(annotation_task.task_st_geometry)
        if self.drop_inconsistent_utm and len(_zones_of_corners(area)) > 1:
            return []
        projection = utm_projection_for(area, self.window_resolution, -self.window_resolution)
        bounds = pixel_bounds(shape_of(project(annotation_task.task_st_geometry, projection)))
        bands = self._bands(annotation_task, projection, bounds)
        return list(self._windows(annotation_task, projection, bounds, bands))

    def _bands(self, task: AnnotationTask, projection: Projection, bounds: PixelBounds) -> dict[str, npt.NDArray[Any]]:
        geometries = _polygons_of(task)
        projected = project_all(geometries, [projection] * len(geometries))
        shapes = [polygonal_part(shape_of(geometry)) for geometry in projected]
        bands = {}
        for name in label_names(task.annotations):
            values = [annotation.labels.get(name) for annotation in task.annotations]
            for index, value in enumerate(values):
                if value is not None:
                    where = f"task {task.task_id}, annotation {index}, label {name!r}"
                    check_value(value, self.dtype, where=where)
            labelled = [(shp, value) for shp, value in zip(shapes, values, strict=True) if value is not None]
            bands[name] = burn(
                labelled, bounds, dtype=self.dtype, nodata_value=self.nodata_value, where=f"task {task.task_id}"
            )
        return bands

    def _windows(
        self,
        task: AnnotationTask,
        projection: Projection,
        bounds: PixelBounds,
        bands: dict[str, npt.NDArray[Any]],
    ) -> Iterator[LabeledWindow[list[RasterLabel]]]:
        cells = [bounds] if self.grid_config is None else grid_cells(bounds, self.grid_config)
        for index, cell in enumerate(cells):
            labels = [RasterLabel(key=name, value=self._cut(array, bounds, cell)) for name, array in bands.items()]
            if any((label.value != self.nodata_value).any() for label in labels):
                yield LabeledWindow(
                    name=f"task_{task.task_id}_cell_{index}",
                    st_geometry=STGeometry(projection, shapely.box(*cell), task.task_st_geometry.time_range),
                    labels=labels,
                )

    def _cut(self, array: npt.NDArray[Any], bounds: PixelBounds, cell: PixelBounds) -> npt.NDArray[Any]:
        x0, y0 = cell[0] - bounds[0], cell[1] - bounds[1]
        height, width = cell[3] - cell[1], cell[2] - cell[0]
        part = array[y0 : y0 + height, x0 : x0 + width]
        padding = ((0, height - part.shape[0]), (0, width - part.shape[1]))
        return np.pad(part, padding, constant_values=self.nodata_value)


def grid_cells(bounds: PixelBounds, grid: GridConfig) -> list[PixelBounds]:
    """Squares that an area is divided into, row by row from the upper left.

    Args:
        bounds: Extent of the area in whole pixels, half-open.
        grid: Size of the squares, and what becomes of the rest.

    Returns:
        Bounds of each square; none if the area is smaller than one and only whole ones are wanted.
    """
    x0, y0, x1, y1 = bounds
    size = grid.window_size_px
    columns, rest_x = divmod(x1 - x0, size)
    rows, rest_y = divmod(y1 - y0, size)
    if grid.gridding_strategy is GriddingStrategy.CENTER_CROP:
        x0, y0 = x0 + rest_x // 2, y0 + rest_y // 2
    else:
        columns, rows = columns + bool(rest_x), rows + bool(rest_y)
    corners = ((x0 + column * size, y0 + row * size) for row in range(rows) for column in range(columns))
    return [(x, y, x + size, y + size) for x, y in corners]


def _grid_config(value: GridConfig | Mapping[str, Any] | None) -> GridConfig | None:
    if value is None or isinstance(value, GridConfig):
        return value
    keys = {"window_size_px", "gridding_strategy"}
    if not isinstance(value, Mapping) or not {"window_size_px"} <= set(value) <= keys:
        raise ConfigError(
            "The grid configuration is not understood.",
            where="PolygonToRasterWindowPreparer.grid_config",
            expected="window_size_px and, if wanted, gridding_strategy",
            found=repr(dict(value) if isinstance(value, Mapping) else value),
        )
    return GridConfig(**value)


def _polygons_of(task: AnnotationTask) -> list[STGeometry]:
    for index, annotation in enumerate(task.annotations):
        shp = shape_of(annotation.st_geometry)
        if shp.geom_type not in ("Polygon", "MultiPolygon"):
            raise InputFileError(
                "This window preparer makes rasters of polygons.",
                where=f"task {task.task_id}, annotation {index}",
                expected="a Polygon or MultiPolygon",
                found=f"a {shp.geom_type}",
                fix="Use PointToPixelWindowPreparer or PointToRasterWindowPreparer for points.",
            )
    return [annotation.st_geometry for annotation in task.annotations]


def _zones_of_corners(area: Any) -> set[str]:
    west, south, east, north = unwrap_antimeridian(area).bounds
    longitudes = [lon - 360 if lon > 180 else lon for lon in (west, east)]
    return {utm_ups_crs(lon, lat).to_string() for lon in longitudes for lat in (south, north)}
