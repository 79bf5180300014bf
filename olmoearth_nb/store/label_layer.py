"""Write a labelled window: its metadata and its label layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rslearn.config import LayerConfig, LayerType
from rslearn.dataset import Dataset
from rslearn.utils.feature import Feature
from rslearn.utils.raster_array import RasterArray, RasterMetadata

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import ConfigError, StorageError
from olmoearth_nb.store.windows import create_window
from olmoearth_nb.types import LabeledSTGeometry, LabeledWindow, RasterLabel, WindowSpec

__all__ = ["LabelWriter"]


class LabelWriter:
    """Writes labelled windows into one group and label layer of a dataset.

    Args:
        dataset: The dataset.
        group: Window group.
        layer: Name of the label layer.

    Raises:
        ConfigError: If the dataset has no such layer.
    """

    def __init__(self, dataset: Dataset, *, group: str, layer: str) -> None:
        if layer not in dataset.layers:
            raise ConfigError(
                "The label layer is not in the dataset's configuration.",
                where="olmoearth_run.yaml: window_prep.label_layer",
                expected=f"one of the layers of dataset.json ({', '.join(sorted(dataset.layers))})",
                found=repr(layer),
            )
        self.dataset = dataset
        self.group = group
        self.layer = layer
        self.config: LayerConfig = dataset.layers[layer]
        self._raster_format: Any = None
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
        target = create_window(self.dataset, spec, options)
        is_raster = isinstance(window.labels[0], RasterLabel)
        self._check_type(is_raster, window.name)
        with (
            foreign_code(StorageError, "The labels can't be written", where=f"window {window.name}"),
            target.data.open_layer_writer(self.layer) as writer,
        ):
            if is_raster:
                self._write_raster(writer, window)
            else:
                self._write_vector(writer, window.labels)
        target.mark_layer_completed(self.layer)

    def _check_type(self, is_raster: bool, name: str) -> None:
        kind = LayerType.RASTER if is_raster else LayerType.VECTOR
        if self.config.type != kind:
            raise ConfigError(
                f"The window preparer makes {kind.value} labels, the label layer is of another type.",
                where=f"dataset.json: layers.{self.layer}.type",
                expected=repr(kind.value),
                found=repr(self.config.type.value),
                fix=f"Change the layer or choose another labeled_window_preparer (window {name}).",
            )

    def _write_raster(self, writer: Any, window: LabeledWindow[list[RasterLabel]]) -> None:
        labels = {label.key: label.value for label in window.labels}
        band_set = self._band_set(sorted(labels))
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
        if self._raster_format is None:
            self._raster_format = band_set.instantiate_raster_format()
        raster = RasterArray(
            chw_array=array.astype(wanted), metadata=RasterMetadata(nodata_value=band_set.nodata_value)
        )
        writer.write_raster(bands, self._raster_format, window.projection, window.bounds, raster)

    def _band_set(self, keys: list[str]) -> Any:
        for band_set in self.config.band_sets:
            bands = list(band_set.bands)
            # One label and one band need not have the same name: there is nothing to mix up.
            if set(bands) == set(keys) or (len(bands) == len(keys) == 1):
                return band_set
        raise ConfigError(
            "The bands of the label layer are not the names of the labels.",
            where=f"dataset.json: layers.{self.layer}.band_sets",
            expected=f"a band set with the bands {keys}",
            found=str([list(band_set.bands) for band_set in self.config.band_sets]),
        )

    def _write_vector(self, writer: Any, labels: list[LabeledSTGeometry]) -> None:
        if self._vector_format is None:
            self._vector_format = self.config.instantiate_vector_format()
        features = [
            Feature(label.st_geometry, {key: value for key, value in label.labels.items() if value is not None})
            for label in labels
        ]
        writer.write_vector(self._vector_format, features)
