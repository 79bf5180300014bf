from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import label_files
import numpy as np
import pytest
import rasterio
import scenes
import shapely

from olmoearth_nb import propose_project
from olmoearth_nb.errors import InputFileError, UsageError
from olmoearth_nb.newproject.imagery import ENCODERS, MODALITIES, encoder_named
from olmoearth_nb.newproject.local import read_local


def test_encoders_are_as_large_as_rslearn_says() -> None:
    from olmoearth_pretrain_minimal import ModelID
    from rslearn.models.olmoearth_pretrain.model import EMBEDDING_SIZES

    known = {one.model_id: one.channels for one in ENCODERS.values() if one.model_id is not None}
    assert known == {name: EMBEDDING_SIZES[ModelID[name]] for name in known}


def test_modalities_are_those_that_olmoearth_was_trained_on() -> None:
    from olmoearth_pretrain_minimal.olmoearth_pretrain_v1.utils.constants import Modality

    for one in MODALITIES.values():
        assert list(one.bands) == list(Modality.get(one.name).band_order)


@pytest.mark.parametrize(
    ("name", "found"), [("tiny", "olmoearth-tiny"), ("olmoearth-base", "olmoearth-base"), ("unet", "unet")]
)
def test_encoders_have_short_names(name: str, found: str) -> None:
    assert encoder_named(name).name == found


def test_local_files_say_bands_times_and_place(tmp_path: Path) -> None:
    scenes.write_scene(tmp_path / "scenes", name="scene_20240601")
    scenes.write_scene(tmp_path / "scenes", name="scene_20240611", seed=1)
    imagery, encoder = read_local(f"{tmp_path}/scenes/*.tif", None, project_dir=tmp_path / "mine")
    assert encoder.name == "unet"
    assert imagery.bands == scenes.BANDS
    assert (imagery.dtype, imagery.resolution, imagery.days, imagery.dates) == ("uint16", 10, 2, 1)
    assert imagery.times == (datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 6, 12, tzinfo=UTC))
    centre = scenes.pixel_shape(shapely.Point(64, 64))
    assert imagery.footprint is not None
    assert imagery.footprint.contains(centre)
    # About the middle of what the three classes look like, see scenes.py.
    means, deviations = imagery.normalisation
    assert np.allclose(means, [483, 517, 807], atol=150)
    assert all(deviation > 100 for deviation in deviations)


def test_bands_that_olmoearth_knows_get_it_in_its_order(tmp_path: Path) -> None:
    source = label_files.sentinel2_folder(tmp_path / "imagery")
    proposal = propose_project(label_files.points(24, size=64), task="segmentation", source=source)
    assert proposal.encoder.name == "olmoearth-nano"
    assert proposal.imagery.bands == MODALITIES["sentinel2"].bands
    assert proposal.imagery.dates == 2


def test_olmoearth_needs_its_bands(tmp_path: Path) -> None:
    source = label_files.scene_folder(tmp_path / "imagery")
    with pytest.raises(UsageError, match=r"olmoearth-nano can't look at these bands.*unet"):
        propose_project(label_files.points(), task="segmentation", source=source, encoder="nano")


def test_no_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="No imagery matches"):
        propose_project(label_files.points(), task="segmentation", source=f"local:{tmp_path}/*.tif")


def test_files_that_are_no_rasters_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("no raster")
    with pytest.raises(InputFileError, match=r"a\.tif"):
        propose_project(label_files.points(), task="segmentation", source=f"local:{tmp_path}/*.tif")


def test_files_of_two_kinds_are_told(tmp_path: Path) -> None:
    scenes.write_scene(tmp_path, name="a")
    with rasterio.open(tmp_path / "a.tif") as file:
        profile, pixels = file.profile, file.read()
    with rasterio.open(tmp_path / "b.tif", "w", **(profile | {"count": 2})) as file:
        file.write(pixels[:2])
    with pytest.raises(InputFileError, match=r"don't fit together.*B1, B2, B3.*B1, B2"):
        propose_project(label_files.points(), task="segmentation", source=f"local:{tmp_path}/*.tif")


def test_labels_beside_the_imagery_are_left_out_or_told(tmp_path: Path) -> None:
    source = label_files.scene_folder(tmp_path / "imagery", size=64)
    labels = label_files.points(200)  # of a scene of twice the size
    proposal = propose_project(labels, task="classification", source=source)
    assert proposal.left_out["outside the imagery"] == 200 - len(proposal.annotations)
    assert 20 < len(proposal.annotations) < 80
    with pytest.raises(InputFileError, match="one place"):
        propose_project(labels.set_geometry(labels.translate(5, 0)), task="classification", source=source)
