from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from rasterio.crs import CRS
from rslearn.utils.geometry import Projection, STGeometry
from rslearn.utils.raster_array import RasterArray, RasterMetadata

from olmoearth_nb.store.dataset import ScratchDataset, open_dataset, write_dataset_config
from olmoearth_nb.store.label_layer import LabelWriter
from olmoearth_nb.store.sqlite import WindowStorage
from olmoearth_nb.types import LabeledSTGeometry, LabeledWindow, RasterLabel

UTM = [Projection(CRS.from_epsg(32631), 10, -10), Projection(CRS.from_epsg(32732), 2.5, -2.5)]
OPTIONS = {"split": "train", "source_task_id": "1"}


def dataset(folder: Path, layer: dict[str, Any], *, storage: WindowStorage = "files") -> ScratchDataset:
    write_dataset_config(folder, {"layers": {"label": layer}}, storage=storage)
    return open_dataset(folder)


def raster_layer(dtype: str = "uint8", bands: tuple[str, ...] = ("crop",), **other: Any) -> dict[str, Any]:
    return {"type": "raster", "band_sets": [{"bands": list(bands), "dtype": dtype, "nodata_value": 255, **other}]}


def labelled(index: int, value: float, *, dtype: str = "uint8", size: int = 3, bands: int = 1) -> LabeledWindow[Any]:
    """A window of its own place and zone, with a value in its middle."""
    x, y = [(0, 0), (60_000, -500_000), (-7, 12), (1, -1), (49_999, 900_001)][index % 5]
    array = np.full((size, size), 255, dtype=dtype)
    array[size // 2, size // 2] = value
    return LabeledWindow(
        name=f"window_{index}",
        st_geometry=STGeometry(UTM[index % 2], shapely.box(x, y, x + size, y + size), None),
        labels=[RasterLabel(key=key, value=array) for key in ("crop", "height")[:bands]],
    )


def written(data: ScratchDataset, window: LabeledWindow[Any], array: Any) -> bytes:
    """What rslearn writes for a window."""
    layer = data.layers["label"].band_sets[0]
    folder = data.path / "alone" / window.name
    raster = RasterArray(chw_array=array, metadata=RasterMetadata(nodata_value=layer.nodata_value))
    layer.instantiate_raster_format().encode_raster(folder, window.projection, window.bounds, raster)
    return bytes((folder / "geotiff.tif").read_bytes())


@pytest.mark.parametrize("storage", ["files", "sqlite"])
@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_copied_rasters_are_what_rslearn_writes(tmp_path: Path, dtype: str, storage: WindowStorage) -> None:
    data = dataset(tmp_path, raster_layer(dtype, ("crop", "height")), storage=storage)
    writer = LabelWriter(data, group="default", layer="label")
    for index in range(20):
        window = labelled(index, index % 3, dtype=dtype, bands=2)
        writer.write(window, OPTIONS)
        assert writer.is_written(window.name)
        array = np.stack([label.value for label in window.labels])
        path = tmp_path / "windows" / "default" / window.name / "layers" / "label" / "crop_height" / "geotiff.tif"
        assert path.read_bytes() == written(data, window, array)
    found = data.load_windows(groups=["default"])
    assert sorted((one.name, one.bounds) for one in found) == sorted(
        (labelled(index, 0).name, labelled(index, 0).bounds) for index in range(20)
    )
    assert not list((tmp_path / "windows" / "default").glob(".*"))


@pytest.mark.parametrize(
    "layer",
    [
        raster_layer(format={"class_path": "rslearn.utils.raster_format.NumpyRasterFormat"}),
        raster_layer(format={"class_path": "rslearn.utils.raster_format.SingleImageRasterFormat"}),
        raster_layer(
            format={
                "class_path": "rslearn.utils.raster_format.GeotiffRasterFormat",
                "init_args": {"geotiff_options": {"compress": "zstd", "interleave": "pixel"}},
            }
        ),
    ],
)
def test_other_formats_read_back(tmp_path: Path, layer: dict[str, Any]) -> None:
    data = dataset(tmp_path, layer)
    writer = LabelWriter(data, group="default", layer="label")
    for index in range(8):
        writer.write(labelled(index, index % 2), OPTIONS)
    band_set = data.layers["label"].band_sets[0]
    for window in data.load_windows(groups=["default"]):
        raster = window.data.read_raster("label", ["crop"], band_set.instantiate_raster_format())
        expected = labelled(int(window.name[7:]), int(window.name[7:]) % 2).labels[0].value
        np.testing.assert_array_equal(raster.get_chw_array()[0], expected)


@pytest.mark.parametrize("storage", ["files", "sqlite"])
def test_vector_labels(tmp_path: Path, storage: WindowStorage) -> None:
    data = dataset(tmp_path, {"type": "vector"}, storage=storage)
    writer = LabelWriter(data, group="default", layer="label")
    box = STGeometry(UTM[0], shapely.box(0, 0, 4, 4), None)
    point = LabeledSTGeometry(st_geometry=STGeometry(UTM[0], shapely.Point(1, 2), None), labels={"a": 1, "b": None})
    writer.write(LabeledWindow(name="w", st_geometry=box, labels=[point]), OPTIONS)
    [window] = data.load_windows(groups=["default"])
    [feature] = window.data.read_vector("label", data.layers["label"].instantiate_vector_format())
    assert (feature.properties, feature.geometry.shp.coords[0]) == ({"a": 1}, (1.0, 2.0))
    assert (window.options, window.is_layer_completed("label")) == (OPTIONS, True)
