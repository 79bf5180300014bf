"""Labelled windows by olmoearth-runner; prints its seconds, its import left out."""

import sys
import time
from pathlib import Path

from olmoearth_run.runner.local.fine_tune_runner import OlmoEarthRunFineTuneRunner

if __name__ == "__main__":
    project, scratch = sys.argv[1:]
    start = time.perf_counter()
    OlmoEarthRunFineTuneRunner(Path(project), Path(scratch)).prepare_labeled_windows()
    print(time.perf_counter() - start)
