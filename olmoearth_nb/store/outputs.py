"""Where the model's output of a window lies, and what it says."""

from __future__ import annotations

from pathlib import Path

from rslearn.dataset import Dataset
from rslearn.dataset.window_data_storage.per_item_group import per_item_group_layer_dir, per_item_group_raster_dir
from rslearn.utils.vector_format import GeojsonVectorFormat
from shapely.geometry import mapping

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import ConfigError, PostprocessError
from olmoearth_nb.geojson import PredictionResultCollection, PredictionResultFeature
from olmoearth_nb.geometry import WGS84_PROJECTION
from olmoearth_nb.store.windows import WindowKey
from olmoearth_nb.store.workspace import OUTPUT_LAYER
from olmoearth_nb.types import shape_of

__all__ = ["output_raster", "output_vector", "read_output_features"]


def output_raster(dataset: Dataset, key: WindowKey) -> Path:
    """The GeoTIFF that the model wrote for a window.

    Args:
        dataset: The dataset.
        key: Group and name of the window.

    Raises:
        ConfigError: If the output layer has no bands.
    """
    layer = dataset.layers.get(OUTPUT_LAYER)
    if layer is None or not layer.band_sets:
        raise ConfigError(
            "The output layer has no bands.",
            where=f"dataset.json: layers.{OUTPUT_LAYER}.band_sets",
            expected="one band set, of the band output",
        )
    root = dataset.storage.get_window_root(*key)
    return Path(str(per_item_group_raster_dir(root, OUTPUT_LAYER, list(layer.band_sets[0].bands), 0))) / "geotiff.tif"


def output_vector(dataset: Dataset, key: WindowKey) -> Path:
    """The GeoJSON that the model wrote for a window.

    Args:
        dataset: The dataset.
        key: Group and name of the window.
    """
    root = dataset.storage.get_window_root(*key)
    return Path(str(per_item_group_layer_dir(root, OUTPUT_LAYER))) / GeojsonVectorFormat.fname


def read_output_features(dataset: Dataset, key: WindowKey) -> PredictionResultCollection:
    """The features that the model wrote for a window, in WGS84, whatever coordinates rslearn stored.

    Args:
        dataset: The dataset.
        key: Group and name of the window.

    Raises:
        PostprocessError: If they can't be read.
    """
    path = output_vector(dataset, key)
    with foreign_code(PostprocessError, "The output of a window can't be read", where=str(path)):
        root = per_item_group_layer_dir(dataset.storage.get_window_root(*key), OUTPUT_LAYER)
        stored = GeojsonVectorFormat().decode_from_file(root / GeojsonVectorFormat.fname)
        features = [
            PredictionResultFeature.model_validate(
                {
                    "type": "Feature",
                    "geometry": mapping(shape_of(feature.geometry.to_projection(WGS84_PROJECTION))),
                    "properties": feature.properties,
                }
            )
            for feature in stored
        ]
    return PredictionResultCollection(type="FeatureCollection", features=features)
