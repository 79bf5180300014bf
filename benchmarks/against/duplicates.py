"""Duplicates by olmoearth-runner; prints its seconds."""

import json
import sys
import time
from pathlib import Path

from olmoearth_run.runner.tools.postprocessors.combine_and_deduplicate_geojson import CombineAndDeduplicateGeojson
from olmoearth_shared.api.run.prediction_geometry import PredictionResultCollection

if __name__ == "__main__":
    collection = PredictionResultCollection.model_validate(json.loads(Path(sys.argv[1]).read_text()))
    start = time.perf_counter()
    CombineAndDeduplicateGeojson().process_partition([collection])
    print(time.perf_counter() - start)
