from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import predictions
import pytest
import scenes
import shapely

from olmoearth_nb import OlmoEarthRunPredictRunner
from olmoearth_nb.cli import main
from olmoearth_nb.errors import MissingStepError, UsageError


@pytest.fixture
def runner(tmp_path: Path) -> OlmoEarthRunPredictRunner:
    project = scenes.make_vector_project(tmp_path / "project")
    shapes = {f"own {n}": shapely.Point(*spot).buffer(1.9) for n, spot in enumerate(scenes.request_spots())}
    return predictions.predicted_features(project, shapes)


def test_the_result_of_a_scratch_can_be_exported_at_any_time(
    runner: OlmoEarthRunPredictRunner, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MissingStepError, match=r"Call runner\.combine\(\) first"):
        runner.result()
    runner.postprocess()
    combined = runner.combine()
    again = runner.result()
    assert again.files == combined.files
    assert again.counts == combined.counts
    folder = runner.workspace.root.parent
    done = again.export(folder / "spots.parquet")
    frame = gpd.read_parquet(done.path)
    assert len(frame) == 12
    assert set(frame["label"]) == {scenes.CLASSES[1]}
    assert set(frame["color"]) == {"#008000"}
    assert frame["name"].is_unique

    target = folder / "spots.fgb"
    given = ["export", str(runner.project.path), "--scratch-path", str(runner.workspace.root), "--to", str(target)]
    assert main([*given, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["features"] == 12
    assert len(gpd.read_file(target)) == 12
    assert main(given) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*given, "--overwrite"]) == 0
    assert "FlatGeobuf" in capsys.readouterr().out


def test_rasters_are_no_features(tmp_path: Path) -> None:
    runner = predictions.predicted_rasters(scenes.make_raster_project(tmp_path / "project"))
    runner.postprocess()
    with pytest.raises(UsageError, match="rasters, and features are exported"):
        runner.combine().export(tmp_path / "fields.parquet")
