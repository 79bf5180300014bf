"""Small real projects for tests: scenes whose classes can be read off their pixels, and everything that goes with them.

All on one grid: EPSG:32631, 10 m, upper left corner (600000, 5000000), which is pixel (60000, -500000). The classes
are blocks of 8 pixels drawn at random, so that a shift or a flip changes what a model sees and what it should say.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import shapely
import yaml
from rasterio.crs import CRS
from rasterio.transform import from_origin
from rslearn.config import LayerType
from rslearn.dataset import Dataset, Window
from rslearn.dataset.window_data_storage.storage import LayerWriter
from rslearn.utils.feature import Feature
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry
from rslearn.utils.raster_array import RasterArray
from rslearn.utils.raster_format import GeotiffRasterFormat
from shapely.geometry import mapping
from upath import UPath

CRS_NAME = "EPSG:32631"
RESOLUTION = 10.0
ORIGIN = (600_000.0, 5_000_000.0)
PROJECTION = Projection(CRS.from_string(CRS_NAME), RESOLUTION, -RESOLUTION)
CORNER = (60_000, -500_000)
"""The scene's upper left corner in pixels of PROJECTION."""

SIZE = 128
BLOCK = 8
CLASSES = ("water", "forest", "field")
COLORS = ([0, 0, 255], [0, 128, 0], [255, 255, 0])
BANDS = ("B1", "B2", "B3")
TIMES = ("2024-06-01T00:00:00+00:00", "2024-06-02T00:00:00+00:00")
# Mean of each band for each class, far apart next to the noise of 40.
_SPECTRA = np.array([[300, 250, 120], [250, 500, 1600], [900, 800, 700]])


def class_map(*, size: int = SIZE, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Classes 0 to 2 of a scene, (H, W)."""
    blocks = np.random.default_rng(seed).integers(0, len(CLASSES), (size // BLOCK, size // BLOCK))
    return np.kron(blocks, np.ones((BLOCK, BLOCK), dtype=int)).astype(np.uint8)


def scene_array(*, size: int = SIZE, seed: int = 0) -> npt.NDArray[np.uint16]:
    """Pixels of a scene, (3, H, W), around the class's spectrum."""
    values = _SPECTRA[class_map(size=size, seed=seed)].transpose(2, 0, 1)
    noise = np.random.default_rng(seed + 1).normal(0, 40, values.shape)
    return np.clip(values + noise, 1, 65535).round().astype(np.uint16)


def write_scene(
    folder: Path,
    *,
    name: str = "scene",
    size: int = SIZE,
    seed: int = 0,
    crs: str = CRS_NAME,
    origin: tuple[float, float] = ORIGIN,
) -> Path:
    """Writes a scene as ``<folder>/<name>.tif`` and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    pixels = scene_array(size=size, seed=seed)
    path = folder / f"{name}.tif"
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=size,
        height=size,
        count=len(pixels),
        dtype=pixels.dtype,
        crs=crs,
        transform=from_origin(*origin, RESOLUTION, RESOLUTION),
    ) as dataset:
        dataset.write(pixels)
    return path


def pixel_shape(shape: shapely.Geometry) -> shapely.Geometry:
    """A shape in pixels of the scene (0, 0 at its upper left corner) in WGS84."""
    moved = shapely.transform(shape, lambda points: points + np.array(CORNER))
    return STGeometry(PROJECTION, moved, None).to_projection(WGS84_PROJECTION).shp


def pixel_box(x0: float, y0: float, x1: float, y1: float) -> dict[str, Any]:
    """GeoJSON polygon of a box in pixels of the scene."""
    return dict(mapping(pixel_shape(shapely.box(x0, y0, x1, y1))))


def collection(features: list[tuple[dict[str, Any], dict[str, Any]]]) -> dict[str, Any]:
    """GeoJSON collection of (geometry, properties)."""
    return {
        "type": "FeatureCollection",
        "features": [
            {"type": "Feature", "geometry": geometry, "properties": properties} for geometry, properties in features
        ],
    }


def _times() -> dict[str, str]:
    return {"oe_start_time": TIMES[0], "oe_end_time": TIMES[1]}


def task_id(index: int) -> str:
    """The UUID of the task with this index."""
    return str(uuid.UUID(int=index + 1))


def _tiles(size: int, step: int) -> Iterator[tuple[int, int]]:
    return ((x, y) for y in range(0, size, step) for x in range(0, size, step))


def _local_layer(bands: tuple[str, ...]) -> dict[str, Any]:
    return {
        "type": "raster",
        "band_sets": [{"bands": list(bands), "dtype": "uint16"}],
        "data_source": {
            "class_path": "rslearn.data_sources.local_files.LocalFiles",
            "init_args": {"src_dir": "scenes"},
        },
    }


def raster_dataset_config() -> dict[str, Any]:
    """``dataset.json`` of the raster project."""
    return {
        "layers": {
            "scene": _local_layer(BANDS),
            "label": {
                "type": "raster",
                "band_sets": [{"bands": ["category"], "dtype": "uint8", "nodata_value": 255}],
            },
            "output": {"type": "raster", "band_sets": [{"bands": ["output"], "dtype": "uint8", "nodata_value": 255}]},
        }
    }


def vector_dataset_config() -> dict[str, Any]:
    """``dataset.json`` of the vector project."""
    return {
        "layers": {"scene": _local_layer(BANDS), "label": {"type": "vector"}, "output": {"type": "vector"}},
    }


def _component(class_path: str, **init_args: Any) -> dict[str, Any]:
    return {"class_path": class_path, "init_args": init_args} if init_args else {"class_path": class_path}


def _conv(in_channels: int, out_channels: int, kernel_size: int, *, last: bool = False) -> dict[str, Any]:
    activation = "torch.nn.Identity" if last else "torch.nn.ReLU"
    return _component(
        "rslearn.models.conv.Conv",
        in_channels=in_channels,
        out_channels=out_channels,
        kernel_size=kernel_size,
        activation=_component(activation),
    )


def _image_input() -> dict[str, Any]:
    return {"data_type": "raster", "layers": ["scene"], "bands": list(BANDS), "passthrough": True, "dtype": "FLOAT32"}


def _normalize() -> dict[str, Any]:
    return _component("rslearn.train.transforms.normalize.Normalize", mean=500.0, std=400.0)


def _splits() -> dict[str, Any]:
    return {f"{split}_config": {"groups": ["default"], "tags": {"split": split}} for split in ("train", "val", "test")}


def _trainer(monitor: str, mode: str, writer: dict[str, Any]) -> dict[str, Any]:
    return {
        "max_epochs": 6,
        "callbacks": [
            _component(
                "lightning.pytorch.callbacks.ModelCheckpoint",
                dirpath="${TRAINER_DATA_PATH}",
                save_top_k=1,
                save_last=True,
                monitor=monitor,
                mode=mode,
            ),
            _component(
                "rslearn.train.prediction_writer.RslearnWriter",
                path="${DATASET_PATH}",
                output_layer="${PREDICTION_OUTPUT_LAYER}",
                **writer,
            ),
        ],
    }


def raster_model_config(*, crop_size: int | None = 16, overlap: int = 4) -> dict[str, Any]:
    """``model.yaml`` of the raster project: segmentation, predicted in overlapping crops if ``crop_size``."""
    crops = {"load_all_crops": True, "crop_size": crop_size, "overlap_pixels": overlap} if crop_size else {}
    merger = _component("rslearn.train.prediction_writer.RasterMerger", overlap_pixels=overlap)
    return {
        "seed_everything": 7,
        "model": _component(
            "rslearn.train.lightning_module.RslearnLightningModule",
            model=_component(
                "rslearn.models.multitask.MultiTaskModel",
                encoder=[_component("rslearn.models.module_wrapper.EncoderModuleWrapper", modules=[_conv(3, 16, 3)])],
                decoders={
                    "segment": [
                        _conv(16, len(CLASSES), 1, last=True),
                        _component("rslearn.train.tasks.segmentation.SegmentationHead"),
                    ]
                },
            ),
            optimizer=_component("rslearn.train.optimizer.AdamW", lr=0.02),
        ),
        "data": _component(
            "rslearn.train.data_module.RslearnDataModule",
            path="${DATASET_PATH}",
            inputs={
                "image": _image_input(),
                "label": {
                    "data_type": "raster",
                    "layers": ["label"],
                    "bands": ["category"],
                    "is_target": True,
                    "dtype": "INT32",
                },
            },
            task=_component(
                "rslearn.train.tasks.multi_task.MultiTask",
                tasks={
                    "segment": _component(
                        "rslearn.train.tasks.segmentation.SegmentationTask",
                        num_classes=len(CLASSES),
                        nodata_value=255,
                        metric_kwargs={"average": "micro"},
                    )
                },
                input_mapping={"segment": {"label": "targets"}},
            ),
            batch_size=4,
            num_workers="${NUM_WORKERS}",
            default_config={"transforms": [_normalize()]},
            predict_config={"skip_targets": True, **crops},
            **_splits(),
        ),
        "trainer": _trainer(
            "val_segment/accuracy", "max", {"selector": ["segment"], "merger": merger if crop_size else None}
        ),
    }


def vector_model_config() -> dict[str, Any]:
    """``model.yaml`` of the vector project: one class for a window of any size."""
    return {
        "seed_everything": 7,
        "model": _component(
            "rslearn.train.lightning_module.RslearnLightningModule",
            model=_component(
                "rslearn.models.singletask.SingleTaskModel",
                encoder=[_component("rslearn.models.module_wrapper.EncoderModuleWrapper", modules=[_conv(3, 16, 1)])],
                decoder=[
                    _component(
                        "rslearn.models.pooling_decoder.PoolingDecoder", in_channels=16, out_channels=len(CLASSES)
                    ),
                    _component("rslearn.train.tasks.classification.ClassificationHead"),
                ],
            ),
            optimizer=_component("rslearn.train.optimizer.AdamW", lr=0.02),
        ),
        "data": _component(
            "rslearn.train.data_module.RslearnDataModule",
            path="${DATASET_PATH}",
            inputs={
                "image": _image_input(),
                "targets": {"data_type": "vector", "layers": ["label"], "is_target": True},
            },
            task=_component(
                "rslearn.train.tasks.classification.ClassificationTask",
                property_name="category",
                classes=list(CLASSES),
                read_class_id=True,
                prob_property="probs",
                metric_kwargs={"average": "micro"},
            ),
            batch_size=8,
            num_workers="${NUM_WORKERS}",
            default_config={"transforms": [_normalize()]},
            predict_config={"skip_targets": True},
            **_splits(),
        ),
        "trainer": _trainer("val_accuracy", "max", {}),
    }


_TOOLS = "olmoearth_run.runner.tools"


def _use_utm() -> dict[str, Any]:
    projection = _component("rslearn.utils.geometry.Projection", crs="EPSG:3857", x_resolution=10, y_resolution=-10)
    return {"output_projection": projection, "use_utm": True}


def _legend() -> list[dict[str, Any]]:
    return [
        {"value": value, "label": label, "color": color}
        for value, (label, color) in enumerate(zip(CLASSES, COLORS, strict=True))
    ]


def _window_prep(preparer: dict[str, Any]) -> dict[str, Any]:
    return {
        "sampler": _component(f"{_TOOLS}.samplers.noop_sampler.NoopSampler"),
        "labeled_window_preparer": preparer,
        "data_splitter": _component(
            f"{_TOOLS}.data_splitters.random_data_splitter.RandomDataSplitter",
            train_prop=0.5,
            val_prop=0.25,
            test_prop=0.25,
            seed=42,
        ),
        "label_layer": "label",
        "group_name": "default",
        "split_property": "split",
    }


def raster_run_config() -> dict[str, Any]:
    """``olmoearth_run.yaml`` of the raster project."""
    combine = _component(f"{_TOOLS}.postprocessors.combine_geotiff.CombineGeotiff", nodata_value=255)
    return {
        "partition_strategies": {
            "partition_request_geometry": _component(
                f"{_TOOLS}.partitioners.grid_partitioner.GridPartitioner", grid_size=0.008
            ),
            "prepare_window_geometries": _component(
                f"{_TOOLS}.partitioners.grid_partitioner.GridPartitioner", grid_size=32, **_use_utm()
            ),
        },
        "postprocessing_strategies": {
            "process_window": _component(f"{_TOOLS}.postprocessors.noop_raster.NoopRaster"),
            "process_partition": combine,
            "process_dataset": combine,
        },
        "window_prep": _window_prep(
            _component(
                f"{_TOOLS}.labeled_window_preparers.polygon_to_raster_window_preparer.PolygonToRasterWindowPreparer",
                window_resolution=10.0,
                nodata_value=255,
            )
        ),
        "inference_results_config": {
            "data_type": "RASTER",
            "classification_fields": [
                {"property_name": "category", "band_index": 1, "allowed_values": _legend()},
            ],
        },
    }


def vector_run_config() -> dict[str, Any]:
    """``olmoearth_run.yaml`` of the vector project."""
    combine = _component(f"{_TOOLS}.postprocessors.combine_geojson.CombineGeojson")
    return {
        "partition_strategies": {
            "partition_request_geometry": _component(
                f"{_TOOLS}.partitioners.chunk_partitioner.ChunkPartitioner", num_geometries_per_partition=5
            ),
            "prepare_window_geometries": _component(
                f"{_TOOLS}.partitioners.fixed_window_partitioner.FixedWindowPartitioner", window_size=4, **_use_utm()
            ),
        },
        "postprocessing_strategies": {
            "process_window": combine,
            "process_partition": combine,
            "process_dataset": combine,
        },
        "window_prep": _window_prep(
            _component(
                f"{_TOOLS}.labeled_window_preparers.point_to_pixel_window_preparer.PointToPixelWindowPreparer",
                window_resolution=10.0,
            )
        ),
        "inference_results_config": {
            "data_type": "VECTOR",
            "classification_fields": [
                {"property_name": "category", "band_index": 1, "allowed_values": _legend()},
            ],
        },
    }


def _write_project(folder: Path, *, dataset: dict[str, Any], model: dict[str, Any], run: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(dataset, indent=2))
    (folder / "model.yaml").write_text(yaml.safe_dump(model, sort_keys=False))
    (folder / "olmoearth_run.yaml").write_text(yaml.safe_dump(run, sort_keys=False))
    write_scene(folder / "scenes")


def _write_geojson(folder: Path, name: str, features: list[tuple[dict[str, Any], dict[str, Any]]]) -> None:
    (folder / f"{name}.geojson").write_text(json.dumps(collection(features)))


def make_raster_project(folder: Path) -> Path:
    """Segmentation of a 128-pixel scene.

    The request is a polygon 8 pixels inside the scene, which 16 windows of 32 pixels in 4 or more partitions cover;
    there are 16 tasks of 32 pixels, each with 16 polygons of 8 pixels whose label ``category`` is the class. It lacks
    only a checkpoint.

    Args:
        folder: Where to; made if need be.

    Returns:
        The folder.
    """
    _write_project(folder, dataset=raster_dataset_config(), model=raster_model_config(), run=raster_run_config())
    request = [(pixel_box(8, 8, SIZE - 8, SIZE - 8), {**_times(), "site": "north"})]
    _write_geojson(folder, "prediction_request_geometry", request)
    classes = class_map()
    tasks, annotations = [], []
    for index, (x, y) in enumerate(_tiles(SIZE, 32)):
        # A hair inside the tile, so that the way to WGS84 and back can't add a pixel.
        tasks.append((pixel_box(x + 0.01, y + 0.01, x + 31.99, y + 31.99), {"oe_annotations_task_id": task_id(index)}))
        annotations += [
            (
                pixel_box(x + dx, y + dy, x + dx + BLOCK, y + dy + BLOCK),
                {
                    "oe_annotations_task_id": task_id(index),
                    "oe_labels": {"category": int(classes[y + dy, x + dx])},
                },
            )
            for dx, dy in _tiles(32, BLOCK)
        ]
    _write_geojson(folder, "annotation_task_features", [(shape, {**_times(), **tags}) for shape, tags in tasks])
    _write_geojson(folder, "annotation_features", annotations)
    return folder


def make_vector_project(folder: Path) -> Path:
    """Classification of windows of 4 pixels around points of a 128-pixel scene, trained on single pixels.

    The request has 12 points, each in the middle of a block of one class and named by its index; there are 16 tasks of
    32 pixels, each with 4 points in the middle of blocks. It lacks only a checkpoint.

    Args:
        folder: Where to; made if need be.

    Returns:
        The folder.
    """
    _write_project(folder, dataset=vector_dataset_config(), model=vector_model_config(), run=vector_run_config())
    _write_geojson(
        folder,
        "prediction_request_geometry",
        [(point(*spot), {**_times(), "name": f"spot {index}"}) for index, spot in enumerate(request_spots())],
    )
    classes = class_map()
    tasks, annotations = [], []
    for index, (x, y) in enumerate(_tiles(SIZE, 32)):
        tasks.append((pixel_box(x, y, x + 32, y + 32), {**_times(), "oe_annotations_task_id": task_id(index)}))
        annotations += [
            (
                point(x + dx + 4.5, y + dy + 4.5),
                {
                    "oe_annotations_task_id": task_id(index),
                    "oe_labels": {"category": int(classes[y + dy + 4, x + dx + 4])},
                },
            )
            for dx, dy in _tiles(32, 2 * BLOCK)
        ]
    _write_geojson(folder, "annotation_task_features", tasks)
    _write_geojson(folder, "annotation_features", annotations)
    return folder


def write_dataset(path: Path, config: dict[str, Any]) -> Dataset:
    """An rslearn dataset without windows."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "config.json").write_text(json.dumps(config))
    return Dataset(UPath(path))


def add_window(
    dataset: Dataset,
    name: str,
    box: tuple[int, int, int, int],
    *,
    group: str = "default",
    split: str | None = None,
    layers: tuple[str, ...] = ("scene",),
    seed: int = 0,
) -> Window:
    """A window of the scene (``box`` in its pixels) with layers ``scene`` and ``label`` written as materialized."""
    x0, y0, x1, y1 = box
    window = Window(
        storage=dataset.storage,
        group=group,
        name=name,
        projection=PROJECTION,
        bounds=(CORNER[0] + x0, CORNER[1] + y0, CORNER[0] + x1, CORNER[1] + y1),
        time_range=(datetime.fromisoformat(TIMES[0]), datetime.fromisoformat(TIMES[1])),
        options={"split": split} if split else {},
        data_factory=dataset.window_data_storage_factory,
    )
    window.save()
    classes = class_map(seed=seed)
    for layer in layers:
        with window.data.open_layer_writer(layer) as writer:
            if layer == "scene":
                _write_raster(writer, window, list(BANDS), scene_array(seed=seed)[:, y0:y1, x0:x1])
            elif dataset.layers[layer].type == LayerType.RASTER:
                _write_raster(writer, window, ["category"], classes[None, y0:y1, x0:x1])
            else:
                spot = shapely.Point(window.bounds[0] + 0.5, window.bounds[1] + 0.5)
                label = Feature(STGeometry(PROJECTION, spot, None), {"category": int(classes[y0, x0])})
                writer.write_vector(dataset.layers[layer].instantiate_vector_format(), [label])
        window.mark_layer_completed(layer)
    return window


def _write_raster(writer: LayerWriter, window: Window, bands: list[str], pixels: npt.NDArray[Any]) -> None:
    writer.write_raster(bands, GeotiffRasterFormat(), window.projection, window.bounds, RasterArray(chw_array=pixels))


def read_output(dataset: Dataset, window: Window, *, layer: str = "output") -> Any:
    """What a model wrote for a window: an array (C, H, W), or the features' properties and coordinates."""
    config = dataset.layers[layer]
    if config.type == LayerType.VECTOR:
        features = window.data.read_vector(layer, config.instantiate_vector_format())
        return [(feature.properties, feature.geometry.shp.wkt) for feature in features]
    band_set = config.band_sets[0]
    return window.data.read_raster(layer, band_set.bands, band_set.instantiate_raster_format()).get_chw_array()


def request_spots() -> list[tuple[float, float]]:
    """Points of the vector project's request in pixels of the scene, each in the middle of a block."""
    return [(BLOCK * column + 4.0, BLOCK * row + 4.0) for row in (1, 5, 9) for column in (2, 4, 9, 14)]


def point(x: float, y: float) -> dict[str, Any]:
    """GeoJSON point in pixels of the scene."""
    return dict(mapping(pixel_shape(shapely.Point(x, y))))
