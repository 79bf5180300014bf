"""Scratches with predictions that no model made: the truth of the scene, or the shapes that a test wants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scenes
import shapely
import yaml
from rslearn.dataset import Window
from rslearn.utils.feature import Feature
from rslearn.utils.geometry import STGeometry
from rslearn.utils.raster_array import RasterArray
from rslearn.utils.raster_format import GeotiffRasterFormat
from rslearn.utils.vector_format import GeojsonVectorFormat

from olmoearth_nb import OlmoEarthRunPredictRunner
from olmoearth_nb.store.windows import as_window


def truth_of(bounds: tuple[int, int, int, int]) -> npt.NDArray[np.uint8]:
    """Classes of the scene in pixel bounds, 255 beside it; shape (1, H, W)."""
    truth = np.full((3 * scenes.SIZE, 3 * scenes.SIZE), 255, dtype=np.uint8)
    truth[scenes.SIZE : 2 * scenes.SIZE, scenes.SIZE : 2 * scenes.SIZE] = scenes.class_map()
    x, y = (bounds[axis] - scenes.CORNER[axis] + scenes.SIZE for axis in (0, 1))
    return truth[None, y : y + bounds[3] - bounds[1], x : x + bounds[2] - bounds[0]]


def configure(project: Path, section: str, **components: dict[str, Any]) -> None:
    """Changes parts of a section of ``olmoearth_run.yaml``."""
    path = project / "olmoearth_run.yaml"
    config = yaml.safe_load(path.read_text())
    config[section].update(components)
    path.write_text(yaml.safe_dump(config))


def _runner(project: Path, mask: Path | None) -> OlmoEarthRunPredictRunner:
    checkpoint = project / "checkpoint.ckpt"
    checkpoint.write_bytes(b"weights that nobody reads")
    scratch = project.parent / "scratch"
    runner = OlmoEarthRunPredictRunner(project, scratch, mask_path=mask, progress=False)
    runner.partition()
    return runner


def _windows(runner: OlmoEarthRunPredictRunner) -> list[Window]:
    specs = runner.scratch.specs(runner.partition_ids()).values()
    return [as_window(runner.scratch.dataset, spec) for spec in specs]


def predicted_rasters(
    project: Path,
    *,
    mask: Path | None = None,
    predict: Callable[[Window], npt.NDArray[Any]] = lambda window: truth_of(window.bounds),
) -> OlmoEarthRunPredictRunner:
    """A raster project with the truth as its prediction, or something else of shape (C, H, W)."""
    runner = _runner(project, mask)
    bands = runner.scratch.dataset.layers["output"].band_sets[0].bands
    for window in _windows(runner):
        with window.data.open_layer_writer("output") as writer:
            pixels = RasterArray(chw_array=predict(window))
            writer.write_raster(bands, GeotiffRasterFormat(), window.projection, window.bounds, pixels)
        window.mark_layer_completed("output")
    return runner


def predicted_features(
    project: Path, shapes: dict[str, shapely.Geometry], *, mask: Path | None = None
) -> OlmoEarthRunPredictRunner:
    """A vector project in which each window finds those shapes, in pixels of the scene, that touch it."""
    runner = _runner(project, mask)
    corner = np.array(scenes.CORNER)
    placed = {name: shapely.transform(shape, lambda xy: xy + corner) for name, shape in shapes.items()}
    for window in _windows(runner):
        here = shapely.box(*window.bounds)
        found = [
            Feature(STGeometry(scenes.PROJECTION, shape, None), {"category": 1, "kind": name})
            for name, shape in placed.items()
            if shape.intersects(here)
        ]
        with window.data.open_layer_writer("output") as writer:
            writer.write_vector(GeojsonVectorFormat(), found)
        window.mark_layer_completed("output")
    return runner
