"""A run that is killed (SIGKILL, no chance to clean up) goes on where it was, to the same result."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from olmoearth_nb import OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner

_SCRIPT = """
import os, signal, sys
from olmoearth_nb import BuildOptions, OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner

class Bar:
    left = {updates}
    def update(self, n=1):
        Bar.left -= n
        if Bar.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    def close(self):
        pass

def progress(*, total, desc, unit):
    return Bar() if desc.lower().startswith({step!r}) else Silent()

class Silent(Bar):
    def update(self, n=1):
        pass

runner = {runner}({project!r}, {scratch!r}, build=BuildOptions(workers=0), progress=progress)
runner.run_pipeline()
"""


def _killed(runner: type, project: Path, scratch: Path, *, step: str, updates: int) -> None:
    script = _SCRIPT.format(
        runner=runner.__name__, project=str(project), scratch=str(scratch), step=step, updates=updates
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr


def _pixels(path: Path) -> np.ndarray:
    with rasterio.open(path) as source:
        return np.asarray(source.read())


@pytest.mark.parametrize(
    ("step", "updates"), [("building", 20), pytest.param("predict", 5, marks=pytest.mark.slow), ("postprocess", 1)]
)
def test_a_killed_prediction_goes_on(raster_project: Path, step: str, updates: int) -> None:
    scratch = raster_project.parent / "killed"
    _killed(OlmoEarthRunPredictRunner, raster_project, scratch, step=step, updates=updates)
    status = OlmoEarthRunPredictRunner(raster_project, scratch).status()
    assert status["combine"] == "missing"
    result = OlmoEarthRunPredictRunner(raster_project, scratch, progress=False).run_pipeline()[-1]
    whole = OlmoEarthRunPredictRunner(raster_project, raster_project.parent / "whole", progress=False).run_pipeline()[
        -1
    ]
    np.testing.assert_array_equal(_pixels(result.files[0]), _pixels(whole.files[0]))


@pytest.mark.parametrize(("step", "updates"), [("preparing", 7), ("training", 2)])
def test_a_killed_fine_tuning_goes_on(raster_project: Path, step: str, updates: int) -> None:
    scratch = raster_project.parent / "killed"
    _killed(OlmoEarthRunFineTuneRunner, raster_project, scratch, step=step, updates=updates)
    runner = OlmoEarthRunFineTuneRunner(raster_project, scratch, progress=False)
    prepare, build, train = runner.run_pipeline()
    assert prepare.counts["windows"] == build.counts["windows"] == 16
    assert train.counts["epochs"] == 6
    assert [one["epoch"] for one in runner.training().history] == [1, 2, 3, 4, 5, 6]  # type: ignore[union-attr]
