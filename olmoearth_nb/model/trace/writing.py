"""What the writer would write, by letting it write elsewhere."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import rasterio
import shapely
import torch
import xarray as xr
from rslearn.config import LayerType
from rslearn.dataset import Window
from rslearn.dataset.storage.file import FileWindowStorage
from rslearn.train.prediction_writer import RslearnWriter
from rslearn.train.tasks import Task
from rslearn.utils.feature import Feature
from rslearn.utils.vector_format import VectorFormat
from upath import UPath

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InferenceError
from olmoearth_nb.model.samples import Sample
from olmoearth_nb.model.trace.frame import Frame
from olmoearth_nb.traces.data import TraceWritten
from olmoearth_nb.types import shape_of

__all__ = ["features_frame", "would_write"]


def would_write(
    writer: RslearnWriter, task: Task, window: Window, samples: Sequence[Sample], outputs: Sequence[Any], *, name: str
) -> TraceWritten:
    """Lets the writer write the outputs of a window into a folder that is removed afterwards, and reads it.

    Args:
        writer: The model's, set up.
        task: The model's task.
        window: The window.
        samples: Of the window, in order.
        outputs: What the model said for each.
        name: Of the task that is written.

    Raises:
        InferenceError: If it can't be written.
    """
    where = f"window {window.group}/{window.name}"
    with (
        tempfile.TemporaryDirectory() as folder,
        foreign_code(InferenceError, "Its output can't be written", where=where),
        torch.inference_mode(),
    ):
        elsewhere = copy.copy(writer)
        storage = FileWindowStorage(UPath(folder))
        # The writer asks the object that it is: its storage and its pending crops.
        vars(elsewhere).update(dataset_storage=storage, pending_outputs={})
        elsewhere.process_output_batch(task, list(outputs), [sample[2] for sample in samples])
        copied = Window(
            storage=storage,
            group=window.group,
            name=window.name,
            projection=window.projection,
            bounds=window.bounds,
            time_range=window.time_range,
            data_factory=elsewhere.window_data_storage_factory,
        )
        return _read(elsewhere, copied, Path(folder), name)


def _read(writer: RslearnWriter, window: Window, folder: Path, name: str) -> TraceWritten:
    config = writer.layer_config
    if config is not None and config.type == LayerType.VECTOR and isinstance(writer.format, VectorFormat):
        files = sorted(folder.rglob("*.geojson"))
        return TraceWritten(
            layer=writer.output_layer,
            task=name,
            vectors=features_frame(window.data.read_vector(writer.output_layer, writer.format), window),
            geojson=files[0].read_text() if files else None,
        )
    return TraceWritten(layer=writer.output_layer, task=name, raster=_read_raster(writer, window, folder))


def _read_raster(writer: RslearnWriter, window: Window, folder: Path) -> xr.DataArray:
    config: Any = writer.layer_config
    band_set = config.band_sets[0]
    files = sorted(folder.rglob("*.tif"))
    if files:
        with rasterio.open(files[0]) as raster:
            values = raster.read()
    else:
        form: Any = writer.format
        values = window.data.read_raster(writer.output_layer, band_set.bands, form).get_chw_array()
    bands = [str(band) for band in band_set.bands]
    coords = {"band": bands if len(bands) == len(values) else [str(i) for i in range(len(values))]}
    return Frame.of(window).raster(values, ("band", "y", "x"), coords, nodata=band_set.nodata_value)


def features_frame(features: Sequence[Feature], window: Window) -> gpd.GeoDataFrame:
    """Features as a table in the window's CRS.

    Args:
        features: With geometries in pixels of any projection.
        window: The window.
    """
    frame = Frame.of(window)
    x_step, y_step = frame.resolution
    shapes = [
        shapely.transform(shape_of(one.geometry.to_projection(window.projection)), lambda xy: xy * (x_step, y_step))
        for one in features
    ]
    # Rows with all columns, so that an object without a property doesn't lose its place.
    names = list(dict.fromkeys(name for one in features for name in one.properties or {}))
    columns = {name: [(one.properties or {}).get(name) for one in features] for name in names}
    return gpd.GeoDataFrame({**columns, "geometry": shapes}, geometry="geometry", crs=frame.crs)
