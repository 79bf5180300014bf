"""Labels as people have them, over the scene of ``scenes.py``."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import scenes
import shapely

from olmoearth_nb.newproject.imagery import MODALITIES

TASKS = ("segmentation", "classification", "regression", "per-pixel-regression")


def scene_folder(folder: Path, *, size: int = scenes.SIZE) -> str:
    """Writes a dated scene, and returns the source that finds it."""
    scenes.write_scene(folder, name="scene_20240601", size=size)
    return f"local:{folder}/*.tif"


def sentinel2_folder(folder: Path, *, size: int = 64) -> str:
    """Two dates of a scene with the bands of Sentinel-2, by their names and in another order than OlmoEarth's."""
    folder.mkdir()
    bands = sorted(MODALITIES["sentinel2"].bands)
    for index, date in enumerate(("20240601", "20240701")):
        three = scenes.scene_array(size=size, seed=0) + 100 * index
        with rasterio.open(
            folder / f"S2_{date}.tif", "w", driver="GTiff", width=size, height=size, count=12, dtype="uint16",
            crs=scenes.CRS_NAME, transform=rasterio.transform.from_origin(*scenes.ORIGIN, 10, 10),
        ) as file:  # fmt: skip
            file.write(np.concatenate([three] * 4))
            file.descriptions = tuple(bands)
    return f"local:{folder}/*.tif"


def points(count: int = 60, *, size: int = scenes.SIZE, seed: int = 0) -> gpd.GeoDataFrame:
    """Points with the class that the scene shows there, and a value between 0 and 30 that goes with it."""
    rng = np.random.default_rng(seed)
    xy = rng.integers(0, size, (count, 2)) + 0.5
    classes = scenes.class_map(size=size)[xy[:, 1].astype(int), xy[:, 0].astype(int)]
    shapes = [scenes.pixel_shape(shapely.Point(x, y)) for x, y in xy]
    data = {"crop": [scenes.CLASSES[one] for one in classes], "height": classes * 10.0 + rng.uniform(0, 5, count)}
    return gpd.GeoDataFrame(data, geometry=shapes, crs=4326)


def fields(*, size: int = scenes.SIZE) -> gpd.GeoDataFrame:
    """The scene's blocks as polygons with class and value."""
    blocks = scenes.class_map(size=size)[:: scenes.BLOCK, :: scenes.BLOCK]
    rows = [
        (
            scenes.CLASSES[one],
            float(one) * 10,
            scenes.pixel_shape(shapely.box(x, y, x + scenes.BLOCK, y + scenes.BLOCK)),
        )
        for (line, column), one in np.ndenumerate(blocks)
        for x, y in [(column * scenes.BLOCK, line * scenes.BLOCK)]
    ]
    crops, heights, shapes = zip(*rows, strict=True)
    return gpd.GeoDataFrame({"crop": crops, "height": heights}, geometry=list(shapes), crs=4326)
