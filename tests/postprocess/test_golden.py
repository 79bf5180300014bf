"""Outputs of olmoearth-runner 0.1.14 for the same inputs, where a checkout has them beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from olmoearth_nb import postprocess
from olmoearth_nb.geojson import PredictionRequestFeature, PredictionResultCollection
from olmoearth_nb.postprocess import CombineGeotiff

GOLDEN = Path(__file__).parents[2] / ".." / "shared" / "golden"

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason="no golden files beside the checkout")


def cases(name):
    return json.loads((GOLDEN / name).read_text()) if GOLDEN.is_dir() else []


def plain(feature):
    geometry = {k: v for k, v in feature["geometry"].items() if k != "bbox"}
    return geometry, {k: v for k, v in feature["properties"].items() if v is not None}


@pytest.mark.parametrize("case", cases("vector.json"), ids=lambda c: f"{c['class']} {c['init_args']}")
def test_vector(case):
    instance = getattr(postprocess, case["class"])(**case["init_args"])
    inputs = [PredictionResultCollection.model_validate(collection) for collection in case["inputs"]]
    if case["stage"] == "window":
        out = instance.process_window(PredictionRequestFeature.model_validate(case["request"]), *inputs)
    else:
        out = instance.process_partition(inputs)
    found = json.loads(out.model_dump_json())["features"]
    assert [plain(feature) for feature in found] == [plain(feature) for feature in case["output"]]


@pytest.mark.parametrize("case", cases("raster.json"), ids=lambda c: c["folder"])
def test_raster(case, tmp_path):
    paths = [GOLDEN / "tiles" / name for name in case["inputs"]]
    combine = CombineGeotiff(**case["init_args"])
    outputs = combine.process_partition(paths, tmp_path)
    assert [path.name for path in outputs] == case["outputs"]
    for path in outputs:
        with rasterio.open(path) as ours, rasterio.open(GOLDEN / case["folder"] / path.name) as theirs:
            assert (ours.transform, ours.crs, ours.shape) == (theirs.transform, theirs.crs, theirs.shape)
            assert (ours.dtypes, ours.nodata, ours.count) == (theirs.dtypes, theirs.nodata, theirs.count)
            expected, covered = theirs.read(), ours.read_masks(1) > 0
            assert np.array_equal(ours.read()[:, covered], expected[:, covered])
            assert (ours.read()[:, ~covered] == combine.nodata_value).all()
            # What no input covers was transformed there, and is not what the file declares as nodata.
            gap = combine.nodata_value
            if combine.value_transform:
                gap = combine.value_transform.apply(np.array([gap]))[0]
            assert (expected[:, ~covered] == gap).all()
