"""A window of random pixels, to try how long a model takes before there is any imagery."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
from rslearn.config import LayerType
from rslearn.dataset import Dataset, Window
from rslearn.utils.raster_array import RasterArray, RasterMetadata

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import StorageError
from olmoearth_nb.store.windows import create_window
from olmoearth_nb.types import WindowSpec

__all__ = ["write_random_window"]


def write_random_window(dataset: Dataset, spec: WindowSpec, images: Mapping[str, int]) -> Window:
    """Writes a window with rasters of random numbers from 1 to 199 in place of its imagery.

    Args:
        dataset: The dataset; a temporary one.
        spec: The window.
        images: How many images each raster layer gets, spread over its time range.

    Raises:
        StorageError: If it can't be written.
    """
    window, random = create_window(dataset, spec), np.random.default_rng(0)
    start, end = spec.time_range or (datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
    for name, count in images.items():
        layer, step = dataset.layers[name], (end - start) / count
        if layer.type != LayerType.RASTER:
            continue
        with (
            foreign_code(StorageError, "Random imagery can't be written", where=f"layer {name}"),
            window.data.open_layer_writer(name) as writer,
        ):
            for bands in layer.band_sets:
                projection, bounds = bands.get_final_projection_and_bounds(spec.projection, spec.bounds)
                channels = len(bands.bands) or bands.num_bands or 1
                shape = channels, bounds[3] - bounds[1], bounds[2] - bounds[0]
                for index in range(count):
                    raster = RasterArray(
                        chw_array=random.integers(1, 200, shape).astype(bands.dtype.get_numpy_dtype()),
                        time_range=(start + index * step, start + (index + 1) * step),
                        metadata=RasterMetadata(nodata_value=bands.nodata_value),
                    )
                    writer.write_raster(
                        bands.bands, bands.instantiate_raster_format(), projection, bounds, raster, group_idx=index
                    )
        for index in range(count):
            window.mark_layer_completed(name, index)
    return window
