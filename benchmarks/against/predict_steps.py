"""Steps of a prediction by olmoearth-runner; prints their seconds, its import left out."""

import sys
import time
from pathlib import Path

from olmoearth_run.runner.local.predict_runner import OlmoEarthRunPredictRunner

if __name__ == "__main__":
    project, scratch, steps = sys.argv[1:]
    start = time.perf_counter()
    runner = OlmoEarthRunPredictRunner(
        Path(project), Path(scratch), Path(project) / "prediction_request_geometry.geojson"
    )
    runner.run_pipeline(steps.split(","))
    print(time.perf_counter() - start)
