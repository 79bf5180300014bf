"""Small GeoTIFFs that differ in nothing but their place: rslearn writes one, the others are its bytes moved.

GDAL takes a millisecond for a GeoTIFF of a few pixels, most of it for the keys of the projection, and labels at points
are the same few rasters again and again.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import numpy.typing as npt
from rslearn.config import BandSetConfig
from rslearn.dataset import Dataset, Window
from rslearn.dataset.window_data_storage.per_item_group import PerItemGroupStorageFactory
from rslearn.utils.raster_format import GeotiffRasterFormat, get_bandset_dirname

from olmoearth_nb.store.folders import write_file

__all__ = ["RasterCopies"]

# Larger ones are rarely the same, and writing the pixels is what takes the time.
_MOST_BYTES = 16_384
_MOST_KNOWN = 1_000


class RasterCopies:
    """Writes the rasters of one band set; equal ones in the same projection are encoded once.

    Args:
        dataset: The dataset.
        layer: Name of the layer.
        band_set: Its band set.
    """

    def __init__(self, dataset: Dataset, layer: str, band_set: BandSetConfig) -> None:
        self.format: Any = band_set.instantiate_raster_format()
        self._place = f"layers/{layer}/{get_bandset_dirname(band_set.bands)}"
        self._root = dataset.path
        self._is_known_layout = (
            type(self.format) is GeotiffRasterFormat
            and isinstance(dataset.window_data_storage_factory, PerItemGroupStorageFactory)
            and isinstance(dataset.path, Path)
        )
        self._known: dict[Hashable, tuple[bytes, int]] = {}

    def write(self, window: Window, array: npt.NDArray[Any], encode: Callable[[], None]) -> None:
        """Writes the raster of a window.

        Args:
            window: The window; its layer is not complete.
            array: Shape (C, H, W), with the extent of the window.
            encode: Writes it by rslearn.
        """
        if not self._is_known_layout or array.nbytes > _MOST_BYTES:
            encode()
            return
        folder = f"{self._root}/windows/{window.group}/{window.name}/{self._place}"
        path = f"{folder}/{self.format.fname}"
        projection = window.projection
        # As it stands in the file's tie point.
        x, y = window.bounds[0] * projection.x_resolution, window.bounds[1] * projection.y_resolution
        origin = struct.pack("=2d", x, y)
        key = projection, array.shape, array.dtype.str, array.tobytes()
        known = self._known.get(key)
        if known is not None:
            content, at = known
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103
            write_file(path, content[:at] + origin + content[at + len(origin) :])
            return
        encode()
        if len(self._known) < _MOST_KNOWN:
            content = Path(path).read_bytes()
            if content.count(origin) == 1:  # else it is stored in another way, or can't be told from other numbers
                self._known[key] = content, content.index(origin)
