"""``prepare_labeled_windows()``: points to labelled windows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import rasterio

from benchmarks.measure import Result, in_process, other, timed
from benchmarks.projects import CRS, dataset, fresh, grid, partitioner, point_annotations, run_yaml, write_project

_TOOLS = "olmoearth_run.runner.tools"
_PREPARER = f"{_TOOLS}.labeled_window_preparers.point_to_raster_window_preparer.PointToRasterWindowPreparer"
_BUFFER = 5
_SIZE = 2 * _BUFFER + 1


def project(folder: Path, points: int) -> Path:
    """A project with points as annotations."""
    prepare = {
        "sampler": {"class_path": f"{_TOOLS}.samplers.noop_sampler.NoopSampler"},
        "labeled_window_preparer": {
            "class_path": _PREPARER,
            "init_args": {"window_buffer": _BUFFER, "window_resolution": 10.0, "dtype": "uint8", "nodata_value": 255},
        },
        "data_splitter": {
            "class_path": f"{_TOOLS}.data_splitters.random_data_splitter.RandomDataSplitter",
            "init_args": {"train_prop": 0.7, "val_prop": 0.1, "test_prop": 0.2, "seed": 0},
        },
        "label_layer": "label",
        "group_name": "default",
        "split_property": "split",
    }
    run_config = run_yaml(partitioner("GridPartitioner", grid_size=0.25), grid(64), window_prep=prepare)
    write_project(folder, run=run_config, data=dataset(None), area=(1000, 1000))
    tasks, annotations = point_annotations(points)
    (folder / "annotation_task_features.geojson").write_text(json.dumps(tasks))
    (folder / "annotation_features.geojson").write_text(json.dumps(annotations))
    return folder


def ours(folder: Path) -> float:
    """Labelled windows, written; the import left out."""
    from olmoearth_nb import OlmoEarthRunFineTuneRunner

    scratch = fresh(folder.parent / "scratch")
    return timed(lambda: OlmoEarthRunFineTuneRunner(folder, scratch, progress=False).prepare_labeled_windows())


def limit(folder: Path, *, points: int) -> float:
    """The same folders with a metadata file, a mark and a GeoTIFF each."""
    out = fresh(folder / "limit")
    pixels = np.zeros((1, _SIZE, _SIZE), dtype=np.uint8)
    profile = {
        "driver": "GTiff", "width": _SIZE, "height": _SIZE, "count": 1, "dtype": "uint8", "crs": CRS,
        "transform": rasterio.transform.from_origin(0, 0, 10, 10), "compress": "lzw",
    }  # fmt: skip

    def work() -> None:
        for index in range(points):
            layer = out / f"task_{index}" / "layers" / "label" / "label"
            layer.mkdir(parents=True)
            (out / f"task_{index}" / "metadata.json").write_text(json.dumps({"bounds": [0, 0, 11, 11]}))
            with rasterio.open(layer / "geotiff.tif", "w", **profile) as target:
                target.write(pixels)
            (layer.parent / "completed").touch()

    return timed(work)


def run(folder: Path, *, against: str | None, large: bool) -> Iterator[Result]:
    """Measures it."""
    for points in (2_000, 20_000) if large else (2_000,):
        place = project(folder / "project", points)
        theirs = None
        if against is not None and points == 2_000:
            theirs = other(against, "prepare_labels.py", place, folder / "theirs")
        yield Result(
            name="prepare_labeled_windows()", size=f"{points:,} points", part=in_process("labels:ours", place),
            limit=in_process("labels:limit", folder, points=points).seconds,
            limit_is="writing the same windows and labels", target=f"≤ {points // 500} s", against=theirs,
        )  # fmt: skip
