"""Write a labelled window: its metadata and its label layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rslearn.config import BandSetConfig, DType, LayerConfig, LayerType
from rslearn.dataset import Dataset, Window
from rslearn.utils.feature import Feature
from rslearn.utils.raster_array import RasterArray, RasterMetadata

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import ConfigError, StorageError
from olmoearth_nb.store.folders import WindowFolders, write_file
from olmoearth_nb.store.raster_copies import RasterCopies
from olmoearth_nb.store.windows import as_window, create_window
from olmoearth_nb.types import LabeledSTGeometry, LabeledWindow, RasterLabel, WindowSpec

__all__ = ["LabelWriter"]


class LabelWriter:
    """Writes labelled windows into one group and label layer of a dataset.

    A layer that the dataset's configuration does not have is written in rslearn's default formats: the windows can be
    looked at, and the check of the project says that they can't be trained on.

    Args:
        dataset: The dataset.
        group: Window group.
        layer: Name of the label layer.
    """

    def __init__(self, dataset: Dataset, *, group: str, layer: str) -> None:
        self.dataset = dataset
        self.group = group
        self.layer = layer
        self.config: LayerConfig | None = dataset.layers.get(layer)
        self._folders = WindowFolders(dataset) if WindowFolders.fits(dataset) else None
        self._copies: dict[tuple[str, ...], RasterCopies] = {}
        self._vector_format: Any = None

    def is_written(self, name: str) -> bool:
        """Whether a window is there with its labels."""
        return bool(self.dataset.storage.is_layer_completed(self.group, name, self.layer))

    def write(self, window: LabeledWindow[Any], options: Mapping[str, Any]) -> None:
        """Writes one window with its labels.

        Args:
            window: The labelled window.
            options: rslearn options (split, source task).

        Raises:
            ConfigError: If the labels don't fit the layer.
            StorageError: If it can't be written.
        """
        spec = WindowSpec(
            name=window.name,
            group=self.group,
            projection=window.projection,
            bounds=window.bounds,
            time_range=window.time_range,
            features=(),
        )
        if self.config is None:
            self.config = _default_config(window.labels)
        self._check_type(self.config, isinstance(window.labels[0], RasterLabel), window.name)
        if self._folders is None:
            target = create_window(self.dataset, spec, options)
            self._write_labels(target, window, self.config)
            target.mark_layer_completed(self.layer)
            return
        with self._folders.making(spec, options) as folder:
            # rslearn writes into the window of the folder's passing name.
            beside = as_window(self.dataset, replace(spec, name=Path(folder).name))
            self._write_labels(beside, window, self.config)
            write_file(f"{folder}/layers/{self.layer}/completed", b"")

    def _write_labels(self, target: Window, window: LabeledWindow[Any], config: LayerConfig) -> None:
        with foreign_code(StorageError, "The labels can't be written", where=f"window {window.name}"):
            if isinstance(window.labels[0], RasterLabel):
                self._write_raster(target, window, config)
            else:
                self._write_vector(target, window.labels, config)

    def _check_type(self, config: LayerConfig, is_raster: bool, name: str) -> None:
        kind = LayerType.RASTER if is_raster else LayerType.VECTOR
        if config.type != kind:
            raise ConfigError(
                f"The window preparer makes {kind.value} labels, the label layer is of another type.",
                where=f"dataset.json: layers.{self.layer}.type",
                expected=repr(kind.value),
                found=repr(config.type.value),
                fix=f"Change the layer or choose another labeled_window_preparer (window {name}).",
            )

    def _write_raster(self, target: Window, window: LabeledWindow[list[RasterLabel]], config: LayerConfig) -> None:
        labels = {label.key: label.value for label in window.labels}
        band_set = self._band_set(config, sorted(labels))
        bands = list(band_set.bands)
        keys = bands if set(bands) == set(labels) else sorted(labels)
        array = np.stack([labels[key] for key in keys])
        wanted = band_set.dtype.get_numpy_dtype()
        if not np.can_cast(array.dtype, wanted, casting="safe") and not np.array_equal(array, array.astype(wanted)):
            raise ConfigError(
                "The label layer can't hold the labels' values.",
                where=f"dataset.json: layers.{self.layer}.band_sets[0].dtype",
                expected=f"a type that holds {array.dtype} values up to {array.max()}",
                found=str(np.dtype(wanted)),
            )
        array = array.astype(wanted)
        copies = self._copies.get(tuple(bands))
        if copies is None:
            copies = self._copies[tuple(bands)] = RasterCopies(self.dataset, self.layer, band_set)
        raster = RasterArray(chw_array=array, metadata=RasterMetadata(nodata_value=band_set.nodata_value))

        def encode() -> None:
            with target.data.open_layer_writer(self.layer) as writer:
                writer.write_raster(bands, copies.format, window.projection, window.bounds, raster)

        copies.write(target, array, encode)

    def _band_set(self, config: LayerConfig, keys: list[str]) -> BandSetConfig:
        for band_set in config.band_sets:
            bands = list(band_set.bands)
            # One label and one band need not have the same name: there is nothing to mix up.
            if set(bands) == set(keys) or (len(bands) == len(keys) == 1):
                return band_set
        raise ConfigError(
            "The bands of the label layer are not the names of the labels.",
            where=f"dataset.json: layers.{self.layer}.band_sets",
            expected=f"a band set with the bands {keys}",
            found=str([list(band_set.bands) for band_set in config.band_sets]),
        )

    def _write_vector(self, target: Window, labels: list[LabeledSTGeometry], config: LayerConfig) -> None:
        if self._vector_format is None:
            self._vector_format = config.instantiate_vector_format()
        features = [
            Feature(label.st_geometry, {key: value for key, value in label.labels.items() if value is not None})
            for label in labels
        ]
        with target.data.open_layer_writer(self.layer) as writer:
            writer.write_vector(self._vector_format, features)


def _default_config(labels: list[Any]) -> LayerConfig:
    if not isinstance(labels[0], RasterLabel):
        return LayerConfig(type=LayerType.VECTOR)
    bands = sorted(label.key for label in labels)
    dtype = np.result_type(*(label.value for label in labels))
    return LayerConfig(type=LayerType.RASTER, band_sets=[BandSetConfig(bands=bands, dtype=DType(dtype.name))])
