from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from olmoearth_nb import OlmoEarthRunPredictRunner, bundle_project


def test_a_bundle_predicts_what_its_project_predicts(
    raster_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLMOEARTH_NB_CACHE", str(tmp_path / "cache"))
    bundle = bundle_project(raster_project, tmp_path / "received")
    shutil.copytree(raster_project / "scenes", tmp_path / "received" / "scenes")
    found = []
    for project in (raster_project, bundle.path):
        scratch = tmp_path / f"scratch_{len(found)}"
        OlmoEarthRunPredictRunner(project, scratch, progress=False).run_pipeline()
        with rasterio.open(scratch / "results" / "results_raster" / "result_epsg32631_0.tif") as result:
            found.append((result.read(), result.transform))
    assert found[0][1] == found[1][1]
    assert np.array_equal(found[0][0], found[1][0])
    assert len(np.unique(found[0][0])) > 2


def test_the_card_describes_the_training(trained_raster: object, tmp_path: Path) -> None:
    scratch = trained_raster.runner.workspace.root  # type: ignore[attr-defined]
    bundle = bundle_project(trained_raster.project, tmp_path, scratch=scratch)  # type: ignore[attr-defined]
    assert bundle.card["checkpoint_is_best_of_training"] is True
    assert sum(bundle.card["training_windows"]["windows"].values()) == 16
    assert bundle.card["training_windows"]["from"] == "2024-06-01T00:00:00+00:00"
    assert bundle.card["training"]["epochs"] == 6
    assert (
        bundle.card["training"]["best_epoch_metrics"]["val_segment/accuracy"] == bundle.card["training"]["best_score"]
    )
    west, south, east, north = bundle.card["training_windows"]["extent_wgs84"]
    assert 4 < west < east < 5
    assert 45 < south < north < 46
