"""Any project folder made to run on this machine: a copy with a small request, and imagery drawn at random."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
import yaml
from rslearn.config import LayerConfig
from rslearn.dataset import Dataset, Window
from rslearn.utils.raster_array import RasterArray
from shapely.geometry import mapping

from olmoearth_nb import OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner
from olmoearth_nb.store.dataset import imagery_layers
from olmoearth_nb.store.windows import as_window
from olmoearth_nb.types import TimeRange

SHARED = Path(__file__).parents[1] / ".." / "shared" / "projects"
FILES = ("dataset.json", "model.yaml", "olmoearth_run.yaml")
REQUEST = "prediction_request_geometry.geojson"
TIMES = {"oe_start_time": "2023-01-01T00:00:00+00:00", "oe_end_time": "2023-12-31T00:00:00+00:00"}
# Degrees: some 40 m, four pixels of 10 m.
_SMALL = 0.0002


def copy_project(source: Path, folder: Path, *, window_size: int = 16, features: int = 1) -> Path:
    """Copies a configuration, with a request that is a few small windows.

    Args:
        source: The project folder; nothing in it is changed.
        folder: Where to.
        window_size: Pixels, where windows are cells of a grid; others become 64 at most.
        features: Features of the request that are kept.
    """
    folder.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    _shrink_windows(folder / "olmoearth_run.yaml", window_size)
    request = source / REQUEST
    (folder / REQUEST).write_text(json.dumps(_small_request(request if request.exists() else None, features)))
    return folder


def _shrink_windows(path: Path, size: int) -> None:
    config = yaml.safe_load(path.read_text())
    windows = config.get("partition_strategies", {}).get("prepare_window_geometries", {})
    arguments = windows.get("init_args") or {}
    if "grid_size" in arguments:
        arguments["grid_size"] = size
    if "window_size" in arguments:
        # rslearn's Pad(mode="center") can't make a window larger than it is.
        arguments["window_size"] = min(arguments["window_size"], 64)
    path.write_text(yaml.safe_dump(config, sort_keys=False))


def _small_request(path: Path | None, features: int) -> dict[str, Any]:
    """The first features; large ones as a small square in their middle."""
    if path is None:
        found = [{"type": "Feature", "geometry": dict(mapping(shapely.Point(36.8, -1.3))), "properties": dict(TIMES)}]
    else:
        content = json.loads(path.read_text())
        # Some published requests have the collection below "geometry".
        found = content.get("features") or content["geometry"]["features"]
    kept = []
    for feature in found[:features]:
        shape = shapely.geometry.shape(feature["geometry"])
        x0, y0, x1, y1 = shape.bounds
        if max(x1 - x0, y1 - y0) > 20 * _SMALL or shape.area == 0:
            feature["geometry"] = dict(mapping(shapely.box(*shape.representative_point().buffer(_SMALL).bounds)))
        kept.append(feature)
    return {"type": "FeatureCollection", "features": kept}


def generate_imagery(runner: OlmoEarthRunPredictRunner, *, seed: int = 0) -> int:
    """Writes imagery into the windows of a partitioned scratch, in the place of every catalogue.

    Each layer gets as many item groups as its query may give, of different times, values that the pixel, the band and
    the time decide.

    Returns:
        The number of windows.
    """
    dataset = runner.scratch.dataset
    specs = runner.scratch.specs(runner.partition_ids())
    for spec in specs.values():
        _write_layers(dataset, as_window(dataset, spec), seed)
    return len(specs)


def generate_training_imagery(runner: OlmoEarthRunFineTuneRunner, *, seed: int = 0, missing: int = 0) -> int:
    """The same for the labelled windows of a training; every second one lacks so many of its first dates."""
    windows = runner.scratch.windows()
    for index, window in enumerate(windows):
        _write_layers(runner.scratch.dataset, window, seed, missing=missing if index % 2 else 0)
    return len(windows)


def _write_layers(dataset: Dataset, window: Window, seed: int, *, missing: int = 0) -> None:
    for name, layer in imagery_layers(dataset).items():
        _write_layer(window, name, layer, seed, list(_times(window, layer))[missing:])


def _write_layer(window: Window, name: str, layer: LayerConfig, seed: int, times: list[TimeRange]) -> None:
    with window.data.open_layer_writer(name) as writer:
        for group, time in enumerate(times):
            for bands in layer.band_sets:
                projection, bounds = bands.get_final_projection_and_bounds(window.projection, window.bounds)
                shape = (len(bands.bands), 1, bounds[3] - bounds[1], bounds[2] - bounds[0])
                pixels = _pixels(shape, bands.dtype.get_numpy_dtype(), seed + group)
                raster = RasterArray(array=pixels, timestamps=[time])
                writer.write_raster(
                    list(bands.bands), bands.instantiate_raster_format(), projection, bounds, raster, group_idx=group
                )
    for group in range(len(times)):
        window.mark_layer_completed(name, group)


def _times(window: Window, layer: LayerConfig) -> Iterator[TimeRange]:
    source = layer.data_source
    assert source is not None
    assert window.time_range is not None
    start, end = source.get_request_time_range(window.time_range)
    groups = source.query_config.max_matches
    step = source.query_config.period_duration or (end - start) / groups
    for group in range(groups):
        first: datetime = start + group * step
        yield first, first + timedelta(days=1)


def _pixels(shape: tuple[int, ...], dtype: Any, seed: int) -> npt.NDArray[Any]:
    values = np.random.default_rng(seed).uniform(1, 3000, shape)
    # Radar comes in linear scale or dB, both small numbers.
    return values.astype(dtype) if np.issubdtype(dtype, np.integer) else (values / 3000).astype(dtype)


def predict_at_random(project: Path, scratch: Path) -> OlmoEarthRunPredictRunner:
    """Every step of a prediction with random weights and generated imagery."""
    runner = OlmoEarthRunPredictRunner(project, scratch, random_weights=True, device="cpu", progress=False)
    runner.partition()
    generate_imagery(runner)
    runner.build_dataset()
    runner.run_inference(strict=True)
    runner.postprocess()
    runner.combine()
    return runner
