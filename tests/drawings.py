"""For tests of pictures: datasets written pixel by pixel, and what colour a place on a picture has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from rasterio.crs import CRS
from rasterio.transform import Affine
from rslearn.dataset import Dataset, Window
from rslearn.utils.geometry import Projection
from rslearn.utils.raster_array import RasterArray, RasterMetadata
from upath import UPath

ZONE_31 = Projection(CRS.from_epsg(32631), 10, -10)
BANDS = ["B1", "B2", "B3"]


def raster_layer(bands: list[str], *, source: bool = False, **band_set: Any) -> dict[str, Any]:
    """A raster layer of dataset.json; with ``source`` one of imagery."""
    layer: dict[str, Any] = {"type": "raster", "band_sets": [{"bands": bands, "dtype": "uint16", **band_set}]}
    if source:
        init_args = {"src_dir": "nowhere"}
        layer["data_source"] = {"class_path": "rslearn.data_sources.local_files.LocalFiles", "init_args": init_args}
    return layer


def make_dataset(folder: Path, **layers: Mapping[str, Any]) -> Dataset:
    """A dataset with these layers and no windows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"layers": layers}))
    return Dataset(UPath(folder))


def add_window(
    dataset: Dataset, name: str, bounds: tuple[int, int, int, int], projection: Projection = ZONE_31
) -> Window:
    """A window without layers."""
    window = Window(
        storage=dataset.storage,
        group="default",
        name=name,
        projection=projection,
        bounds=bounds,
        time_range=None,
        data_factory=dataset.window_data_storage_factory,
    )
    window.save()
    return window


def write_layer(dataset: Dataset, window: Window, layer: str, *rasters: npt.NDArray[Any]) -> None:
    """Writes a raster layer: one array (C, H, W) or (C, T, H, W) for each of its item groups."""
    band_set = dataset.layers[layer].band_sets[0]
    metadata = RasterMetadata(nodata_value=band_set.nodata_value)
    with window.data.open_layer_writer(layer) as writer:
        for group, raster in enumerate(rasters):
            array = raster if raster.ndim == 4 else raster[:, None]
            writer.write_raster(
                list(band_set.bands),
                band_set.instantiate_raster_format(),
                window.projection,
                window.bounds,
                RasterArray(array=array.astype(np.uint16), metadata=metadata),
                group,
            )
    for group in range(len(rasters)):
        window.mark_layer_completed(layer, group)


def write_geotiff(path: Path, pixels: npt.NDArray[Any], *, epsg: int = 32631, **options: Any) -> Path:
    """A GeoTIFF of shape (C, H, W), 10 m, upper left corner (600000, 5000000) unless told otherwise."""
    origin = options.pop("origin", (600_000, 5_000_000))
    resolution = options.pop("resolution", 10)
    overviews = options.pop("overviews", [])
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=pixels.shape[0],
        height=pixels.shape[1],
        width=pixels.shape[2],
        dtype=pixels.dtype,
        crs=f"EPSG:{epsg}",
        transform=Affine(resolution, 0, origin[0], 0, -resolution, origin[1]),
        **options,
    ) as target:
        target.write(pixels)
        if overviews:
            target.build_overviews(overviews, rasterio.enums.Resampling.nearest)
    return path


def color_at(ax: Axes, x: float, y: float) -> tuple[int, int, int]:
    """Colour of a picture at a place in the units of the axes."""
    canvas = FigureCanvasAgg(ax.get_figure(root=True))
    canvas.draw()
    picture = np.asarray(canvas.buffer_rgba())
    column, row = ax.transData.transform((x, y))
    red, green, blue, _ = picture[int(picture.shape[0] - row), int(column)].tolist()
    return red, green, blue


def legend_of(ax: Axes) -> list[str]:
    """The lines of a legend."""
    legend = ax.get_legend()
    return [] if legend is None else [text.get_text() for text in legend.get_texts()]
