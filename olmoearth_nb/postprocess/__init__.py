"""Postprocessing of results: raster and vector, by window, partition and dataset, and masks."""

from olmoearth_nb.postprocess.mask import Mask
from olmoearth_nb.postprocess.raster import CombineGeotiff, NoopRaster
from olmoearth_nb.postprocess.value_transform import LinearValueTransform
from olmoearth_nb.postprocess.vector import CombineAndDeduplicateGeojson, CombineGeojson, SimplifyPolygons

__all__ = [
    "CombineAndDeduplicateGeojson",
    "CombineGeojson",
    "CombineGeotiff",
    "LinearValueTransform",
    "Mask",
    "NoopRaster",
    "SimplifyPolygons",
]
