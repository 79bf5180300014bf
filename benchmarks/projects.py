"""Projects and imagery that benchmarks are run on, made with numbers of their own."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import yaml

ORIGIN = (500_000.0, 5_000_000.0)
CRS = "EPSG:32631"
TIMES = ("2024-06-01T00:00:00+00:00", "2024-06-30T00:00:00+00:00")
BANDS = ("B1", "B2", "B3", "B4", "B5")
_TOOLS = "olmoearth_run.runner.tools"

VARIABLES = (
    "# ${DATASET_PATH} ${EXTRA_FILES_PATH} ${TRAINER_DATA_PATH} ${NUM_WORKERS} ${PREDICTION_OUTPUT_LAYER} "
    "${WANDB_PROJECT} ${WANDB_NAME} ${WANDB_ENTITY}\n"
)
"""A comment with all variables of a model.yaml, as olmoearth-runner wants each to be named."""


def partitioner(name: str, **arguments: Any) -> dict[str, Any]:
    """A partitioner by the name that both tools know."""
    module = {"GridPartitioner": "grid_partitioner", "NoopPartitioner": "noop_partitioner"}[name]
    return {"class_path": f"{_TOOLS}.partitioners.{module}.{name}", "init_args": arguments}


def grid(size: int, resolution: float = 10.0) -> dict[str, Any]:
    """A grid of windows in UTM zone 31."""
    projection = {
        "class_path": "rslearn.utils.geometry.Projection",
        "init_args": {
            "crs": CRS,
            "x_resolution": resolution,
            "y_resolution": -resolution,
        },
    }
    # Olmoearth-runner takes the CRS of UTM from the place, and only then a CRS by its name.
    return partitioner("GridPartitioner", grid_size=size, output_projection=projection, use_utm=True)


def run_yaml(partition: dict[str, Any], windows: dict[str, Any], **sections: Any) -> dict[str, Any]:
    """``olmoearth_run.yaml`` of a raster project."""
    post = f"{_TOOLS}.postprocessors"
    merge = {"class_path": f"{post}.combine_geotiff.CombineGeotiff", "init_args": {"nodata_value": 255}}
    return {
        "partition_strategies": {"partition_request_geometry": partition, "prepare_window_geometries": windows},
        "postprocessing_strategies": {
            "process_window": {"class_path": f"{post}.noop_raster.NoopRaster"},
            "process_partition": merge,
            "process_dataset": merge,
        },
        "inference_results_config": {
            "data_type": "RASTER",
            "classification_fields": [
                {"property_name": "c", "band_index": 1,
                 "allowed_values": [{"value": i, "label": f"class {i}", "color": [i * 80, 0, 0]} for i in range(3)]}
            ],
        },
        **sections,
    }  # fmt: skip


def dataset(
    imagery: Path | None,
    *,
    bands: tuple[str, ...] = BANDS,
    dates: int = 1,
    source: str = "olmoearth_nb.sources.LocalRasters",
) -> dict[str, Any]:
    """``dataset.json`` with one image layer, labels and output."""
    image: dict[str, Any] = {"type": "raster", "band_sets": [{"bands": list(bands), "dtype": "uint16"}]}
    if imagery is not None:
        names = sorted(path.name for path in imagery.glob("*.tif"))
        specs = [{"fnames": [name], "bands": [list(bands)]} for name in names]
        image["data_source"] = {
            "class_path": source,
            "init_args": {"src_dir": str(imagery), "raster_item_specs": specs},
            "query_config": {"space_mode": "MOSAIC", "max_matches": dates},
        }
    output = {"type": "raster", "band_sets": [{"bands": ["output"], "dtype": "uint8"}]}
    label = {"type": "raster", "band_sets": [{"bands": ["label"], "dtype": "uint8"}]}
    return {"layers": {"image": image, "label": label, "output": output}}


def lonlat_box(width_m: float, height_m: float) -> list[list[float]]:
    """Corners in degrees of a box whose upper left corner is ORIGIN."""
    from rasterio.warp import transform

    x, y = ORIGIN
    xs, ys = [x, x + width_m, x + width_m, x, x], [y, y, y - height_m, y - height_m, y]
    lon, lat = transform(CRS, "EPSG:4326", xs, ys)
    return [[a, b] for a, b in zip(lon, lat, strict=True)]


def request(width_m: float, height_m: float) -> dict[str, Any]:
    """A request of one box."""
    properties = {"oe_start_time": TIMES[0], "oe_end_time": TIMES[1]}
    geometry = {"type": "Polygon", "coordinates": [lonlat_box(width_m, height_m)]}
    return {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "geometry": geometry, "properties": properties}],
    }


def write_project(folder: Path, *, run: dict[str, Any], data: dict[str, Any], area: tuple[float, float]) -> Path:
    """Writes a project whose model.yaml says nothing; olmoearth-runner wants one with all variables."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.yaml").write_text(VARIABLES + "{}\n")
    (folder / "olmoearth_run.yaml").write_text(yaml.safe_dump(run))
    (folder / "dataset.json").write_text(json.dumps(data))
    (folder / "prediction_request_geometry.geojson").write_text(json.dumps(request(*area)))
    return folder


def write_imagery(folder: Path, size: int, *, bands: int = len(BANDS), dates: int = 1) -> Path:
    """A GeoTIFF of random blocks for each date, ``size`` pixels of 10 m wide and high."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    profile = {
        "driver": "GTiff", "width": size, "height": size, "count": bands, "dtype": "uint16", "crs": CRS, "tiled": True,
        "blockxsize": 256, "blockysize": 256, "compress": "deflate",
        "transform": rasterio.transform.from_origin(*ORIGIN, 10, 10),
    }  # fmt: skip
    for date in range(dates):
        with rasterio.open(folder / f"scene_202406{date + 1:02}.tif", "w", **profile) as target:
            for band in range(1, bands + 1):
                blocks = random.integers(100, 3000, (size // 16 + 1, size // 16 + 1))
                pixels = np.kron(blocks, np.ones((16, 16), dtype=int))[:size, :size]
                target.write((pixels + random.integers(0, 50, (size, size))).astype(np.uint16), band)
    return folder


def point_annotations(count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tasks and annotations of points on a square, each its own task."""
    from rasterio.warp import transform

    random = np.random.default_rng(0)
    xs, ys = ORIGIN[0] + random.uniform(100, 90_000, count), ORIGIN[1] - random.uniform(100, 90_000, count)
    lon, lat = transform(CRS, "EPSG:4326", xs, ys)
    tasks, annotations = [], []
    for index, (x, y) in enumerate(zip(lon, lat, strict=True)):
        task = str(uuid.uuid5(uuid.NAMESPACE_OID, str(index)))
        d = 0.0005
        ring = [[x - d, y - d], [x + d, y - d], [x + d, y + d], [x - d, y + d], [x - d, y - d]]
        times = {"oe_start_time": TIMES[0], "oe_end_time": TIMES[1]}
        tasks.append(
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]},
             "properties": {"oe_annotations_task_id": task, **times}}
        )  # fmt: skip
        annotations.append(
            {"type": "Feature", "geometry": {"type": "Point", "coordinates": [x, y]},
             "properties": {"oe_annotations_task_id": task, "oe_labels": {"label": index % 3}}}
        )  # fmt: skip
    return (
        {"type": "FeatureCollection", "features": tasks},
        {"type": "FeatureCollection", "features": annotations},
    )


def fresh(folder: Path) -> Path:
    """A folder without what an earlier run left, which is put aside.

    It is deleted at the end of all benchmarks: ext4 takes up to twenty times as long to make a file where many were
    deleted in the minutes before.
    """
    if folder.exists():
        folder.rename(folder.with_name(f".{folder.name}_{uuid.uuid4().hex}"))
    return folder
