"""Traces of the sample's windows: 128 x 128 pixels, in overlapping crops of 64."""

from __future__ import annotations

from pathlib import Path

import pytest
import rasterio
import torch

from olmoearth_nb import OlmoEarthRunPredictRunner
from olmoearth_nb.store.outputs import output_raster

SAMPLE = Path(__file__).parents[2] / "olmoearth_run_data" / "sample"


@pytest.mark.parametrize("request_name", ["inside", "beyond"])
def test_every_window_of_the_sample(tmp_path: Path, request_name: str) -> None:
    """With untrained weights: bits don't depend on how good they are."""
    checkpoint = tmp_path / "untrained.ckpt"
    _write_untrained(checkpoint, tmp_path)
    request = next((SAMPLE / "prediction").rglob(f"*{request_name}*.geojson"))
    runner = OlmoEarthRunPredictRunner(SAMPLE, tmp_path / "scratch", request, checkpoint, progress=False)
    runner.run_pipeline(["partition", "dataset_build", "inference"])

    for row in runner.windows().itertuples(index=False):
        data = runner.trace(f"{row.group}/{row.name}").data
        if not data.outputs:
            assert data.layers["landsat"].reason
            continue
        with rasterio.open(output_raster(runner.scratch.dataset, (row.group, row.name))) as file:
            assert data.written.raster.values.tobytes() == file.read().tobytes()  # type: ignore[union-attr]
        assert len(data.crops) == 9
        assert data.output().classes[1] == "developed"


def _write_untrained(path: Path, folder: Path) -> None:
    from olmoearth_nb.model.load import load_model, template_variables

    torch.manual_seed(1)
    variables = template_variables(dataset_path=folder, extra_files_path=None, trainer_data_path=folder, num_workers=0)
    loaded = load_model(SAMPLE / "model.yaml", variables=variables, checkpoint=None, device="cpu")
    torch.save({"state_dict": loaded.module.state_dict()}, path)
