"""One local vector file: its features, where they lie, and those of a part of another projection."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import fiona
import numpy as np
import rasterio.warp
import shapely
from fiona.errors import FionaError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rslearn.utils.feature import Feature
from rslearn.utils.geometry import PixelBounds, Projection, STGeometry, safely_reproject_within_valid_area

from olmoearth_nb.errors import InputFileError
from olmoearth_nb.sources.files import FileState, file_state
from olmoearth_nb.sources.matching import outline

__all__ = ["VectorFile", "vector_file"]

# Around a file's features, in units of its CRS, so that a single point has an area (rslearn's figure).
_BUFFER = 1e-4
# Part of its size by which a window's box is wider when features are looked up.
_MARGIN = 0.1


@dataclass(frozen=True, eq=False)
class VectorFile:
    """A vector file in the state that it was found in.

    Attributes:
        crs: Its coordinate reference system.
        features: Its features in units of the CRS, in their order.
    """

    crs: CRS
    features: tuple[Feature, ...]

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([feature.geometry.shp for feature in self.features])

    @property
    def footprint(self) -> STGeometry | None:
        """The box around the features, no time; None if there are none."""
        bounds = shapely.total_bounds([feature.geometry.shp for feature in self.features])
        if not np.isfinite(bounds).all():
            return None
        return outline(self.crs, (1, 1), shapely.box(*bounds).buffer(_BUFFER))

    def read(self, projection: Projection, bounds: PixelBounds) -> list[Feature]:
        """Features that touch bounds, whole, in their order.

        Args:
            projection: What to give them in.
            bounds: Pixels of the projection.
        """
        window = STGeometry(projection, shapely.box(*bounds), None)
        near = [self.features[index] for index in self._near(projection, bounds)]
        if self.crs == projection.crs:
            # Not left to what follows: it takes 1 and -1 units a pixel for the same.
            moved: Sequence[STGeometry | None] = [feature.geometry.to_projection(projection) for feature in near]
        else:
            moved = list(safely_reproject_within_valid_area([feature.geometry for feature in near], window))
        return [
            Feature(geometry, feature.properties)
            for feature, geometry in zip(near, moved, strict=True)
            if geometry is not None and shapely.intersects(geometry.shp, window.shp)
        ]

    def _near(self, projection: Projection, bounds: PixelBounds) -> list[int]:
        """Indices of features that may touch bounds."""
        xs = sorted((bounds[0] * projection.x_resolution, bounds[2] * projection.x_resolution))
        ys = sorted((bounds[1] * projection.y_resolution, bounds[3] * projection.y_resolution))
        try:
            left, bottom, right, top = rasterio.warp.transform_bounds(
                projection.crs, self.crs, xs[0], ys[0], xs[1], ys[1]
            )
        except RasterioError:
            return list(range(len(self.features)))
        if not all(map(math.isfinite, (left, bottom, right, top))) or right < left:  # a pole, or the antimeridian
            return list(range(len(self.features)))
        margin = _MARGIN * max(right - left, top - bottom)
        box = shapely.box(left - margin, bottom - margin, right + margin, top + margin)
        return [int(index) for index in np.sort(self._tree.query(box))]


def vector_file(path: Path, *, layer: str | None = None, properties: tuple[str, ...] | None = None) -> VectorFile:
    """A vector file; what was read is kept until the file changes.

    Args:
        path: The file.
        layer: Its layer, if it has several.
        properties: Attributes to keep; None for all.

    Raises:
        InputFileError: If it is missing, can't be read, says not where it lies, or lacks an attribute.
    """
    beside = tuple(
        file_state(other)
        for suffix in (".dbf", ".prj")
        if path.suffix == ".shp" and (other := path.with_suffix(suffix)).exists()
    )
    return _read((file_state(path), *beside), layer, properties)


@functools.lru_cache(maxsize=64)
def _read(states: tuple[FileState, ...], layer: str | None, properties: tuple[str, ...] | None) -> VectorFile:
    path = states[0].path
    try:
        with fiona.open(path, layer=layer) as source:
            crs = CRS.from_wkt(source.crs.to_wkt()) if source.crs else None
            names = list(source.schema["properties"])
            rows = [(dict(row.geometry) if row.geometry is not None else None, dict(row.properties)) for row in source]
    except (FionaError, RasterioError, ValueError) as error:
        raise InputFileError(
            "The file can't be read as vectors.",
            where=str(path),
            found=" ".join(str(error).split()),
            fix="Replace it, or leave it out: pattern in dataset.json.",
        ) from error
    if crs is None:
        raise InputFileError(
            "The file says not in which coordinate reference system it is.",
            where=str(path),
            fix="Add a .prj file to a shapefile; write other files again with their CRS.",
        )
    missing = [name for name in properties or () if name not in names]
    if missing:
        raise InputFileError(
            "The file lacks an attribute.",
            where=str(path),
            expected=", ".join(missing),
            found=", ".join(names) or "none",
        )
    projection = Projection(crs, 1, 1)
    return VectorFile(
        crs,
        tuple(
            Feature.from_geojson(
                projection,
                {
                    "type": "Feature",
                    "geometry": geometry,
                    "properties": values if properties is None else {name: values[name] for name in properties},
                },
            )
            for geometry, values in rows
            if geometry is not None
        ),
    )
