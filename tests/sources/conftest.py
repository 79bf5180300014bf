from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine, from_origin
from rslearn.dataset import Window
from rslearn.utils.geometry import Projection
from rslearn.utils.raster_array import RasterArray

from olmoearth_nb.runners.engines import build_workers
from olmoearth_nb.store.dataset import ScratchDataset, open_dataset, write_dataset_config
from olmoearth_nb.store.materialize import BuildOptions, build_windows
from olmoearth_nb.store.windows import as_window, create_window
from olmoearth_nb.types import WindowSpec

THEIRS = "rslearn.data_sources.local_files.LocalFiles"
OURS = "olmoearth_nb.sources.LocalRasters"
CRS_NAME = "EPSG:32631"
CORNER = (60_000, -500_000)
"""Upper left corner of the files, in pixels of 10 m."""


def write_raster(
    path: Path,
    *,
    count: int = 2,
    size: int = 64,
    offset: tuple[float, float] = (0, 0),
    crs: str | None = CRS_NAME,
    transform: Affine | None = None,
    seed: int = 0,
    dtype: str = "uint16",
    **options: Any,
) -> Path:
    """A file of noise, ``offset`` pixels of 10 m right of and below the corner."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptions = options.pop("descriptions", None)
    place = from_origin(10 * (CORNER[0] + offset[0]), -10 * (CORNER[1] + offset[1]), 10, 10)
    pixels = np.random.default_rng(seed).integers(1, 200, (count, size, size)).astype(dtype)
    if "nodata" in options:
        pixels[:, 10:20, 5:40] = options["nodata"]
    points, points_crs = options.pop("gcps", None), options.pop("gcps_crs", None)
    profile = {"driver": "GTiff", "width": size, "height": size, "count": count, "dtype": dtype, "crs": crs}
    with rasterio.open(path, "w", transform=transform or place, **profile, **options) as target:
        target.write(pixels)
        if points is not None:
            target.gcps = points, CRS.from_string(points_crs)
        for index, name in enumerate(descriptions or (), 1):
            target.set_band_description(index, name)
    return path


def layer(class_path: str, folder: Path, *, bands: Any = ("B1", "B2"), **options: Any) -> dict[str, Any]:
    """Configuration of one raster layer."""
    query = options.pop("query", {"space_mode": "MOSAIC", "max_matches": 1})
    band_sets = options.pop("band_sets", [{"bands": list(bands), "dtype": "uint16"}])
    init_args = {"src_dir": str(folder), **options.pop("init_args", {})}
    source = {"class_path": class_path, "init_args": init_args, "query_config": query}
    return {"type": "raster", "band_sets": band_sets, "data_source": source, **options}


def window(
    name: str, x: int, y: int, size: int = 32, *, crs: str = CRS_NAME, resolution: float = 10.0, times: Any = None
) -> WindowSpec:
    """A window, in pixels from the corner if it is of the files' projection, else in pixels of its own."""
    dx, dy = CORNER if crs == CRS_NAME and resolution == 10.0 else (0, 0)
    return WindowSpec(
        name=name,
        group="default",
        projection=Projection(CRS.from_string(crs), resolution, -resolution),
        bounds=(dx + x, dy + y, dx + x + size, dy + y + size),
        time_range=times,
        features=(0,),
    )


def build(
    folder: Path, config: dict[str, Any], windows: list[WindowSpec], *, workers: int = 0
) -> tuple[ScratchDataset, dict[str, str | None]]:
    """Builds windows of a dataset with one layer ``scene``; what came of each."""
    write_dataset_config(folder, {"layers": {"scene": config}})
    dataset = open_dataset(folder)
    for spec in windows:
        create_window(dataset, spec)
    outcome = build_windows(
        folder,
        windows,
        options=BuildOptions(workers=workers),
        progress=False,
        in_workers=build_workers(None, []),
    )
    return dataset, {name: reason for (_, name), reason in outcome.items()}


def rasters(dataset: ScratchDataset, spec: WindowSpec) -> list[RasterArray]:
    """What a window has of each band set and time step."""
    found: Window = as_window(dataset, spec)
    groups = [group for name, group in found.list_completed_layers() if name == "scene"]
    return [
        found.data.read_raster(
            "scene",
            list(bands.bands),
            bands.instantiate_raster_format(),
            *bands.get_final_projection_and_bounds(found.projection, found.bounds),
            group_idx=group,
        )
        for group in sorted(groups)
        for bands in dataset.layers["scene"].band_sets
    ]
