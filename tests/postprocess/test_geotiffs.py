from __future__ import annotations

import numpy as np
import pytest
import rasterio
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from olmoearth_nb.errors import InputFileError, PostprocessError, StorageError
from olmoearth_nb.postprocess import geotiffs
from olmoearth_nb.postprocess.geotiffs import OpenRasters, creating, fits, gdal_env, read_with_validity, updating

ALL = Window(0, 0, 3, 2)
DATA = np.array([[0, 1, 2], [3, 4, 5]], dtype=np.uint8)


def validity(path):
    with rasterio.open(path) as dataset:
        return read_with_validity(dataset, ALL)[1].astype(int).tolist()


def test_validity_is_what_the_file_says(tif, tmp_path):
    place = {"left": 0, "top": 0}
    assert validity(tif(tmp_path / "none.tif", DATA, **place)) == [[[1, 1, 1], [1, 1, 1]]]
    assert validity(tif(tmp_path / "zero.tif", DATA, nodata=0, **place)) == [[[0, 1, 1], [1, 1, 1]]]
    mask = [[1, 0, 1], [1, 1, 0]]
    # The mask wins over the nodata value: 0 is data there.
    assert validity(tif(tmp_path / "mask.tif", DATA, nodata=0, mask=mask, **place)) == [mask]
    floats = np.where(DATA == 4, np.nan, DATA).astype(np.float32)
    assert validity(tif(tmp_path / "nan.tif", floats, **place)) == [[[1, 1, 1], [1, 0, 1]]]
    assert validity(tif(tmp_path / "nan_tag.tif", floats, nodata=np.nan, **place)) == [[[1, 1, 1], [1, 0, 1]]]
    assert validity(tif(tmp_path / "tenth.tif", floats + np.float32(0.1), nodata=2.1, **place))[0][0] == [1, 1, 0]
    two = np.stack([DATA, DATA[::-1]])
    assert validity(tif(tmp_path / "two.tif", two, nodata=0, **place)) == [
        [[0, 1, 1], [1, 1, 1]],
        [[1, 1, 1], [0, 1, 1]],
    ]


def test_a_fourth_band_is_no_alpha(tif, tmp_path):
    path = tif(tmp_path / "a.tif", np.stack([DATA, DATA, DATA, DATA * 0]), left=0, top=0)
    with rasterio.open(path) as dataset:
        assert MaskFlags.alpha in dataset.mask_flag_enums[0]
    assert np.all(validity(path))


@pytest.mark.parametrize(
    ("value", "dtype", "does"),
    [
        (255, "uint8", True),
        (256, "uint8", False),
        (-1, "uint8", False),
        (0.5, "int16", False),
        (float("nan"), "int16", False),
        (float("nan"), "float32", True),
        (-9999, "float32", True),
        (1e39, "float32", False),
    ],
)
def test_fits(value, dtype, does):
    assert fits(value, dtype) is does


def test_few_files_stay_open(tif, tmp_path, monkeypatch):
    monkeypatch.setattr(geotiffs, "_MAX_OPEN", 2)
    paths = [tif(tmp_path / f"{i}.tif", DATA + i, left=0, top=0) for i in range(4)]
    with OpenRasters() as rasters:
        opened = []
        for path in paths + paths[:1]:
            with rasters.reading(path) as dataset:
                assert dataset.read(1)[0, 0] == int(path.stem)
                opened.append(dataset)
        assert [dataset.closed for dataset in opened] == [True, True, True, False, False]
        with rasters.reading(paths[3]) as dataset:
            assert dataset is opened[3]
    assert all(dataset.closed for dataset in opened)


def test_errors_name_the_file(tif, tmp_path):
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"II*\0 and no more")
    with OpenRasters() as rasters:
        with pytest.raises(PostprocessError, match=r"broken\.tif: The raster can't be read"), rasters.reading(broken):
            pass
        with (
            pytest.raises(PostprocessError, match=r"absent\.tif: The raster is missing"),
            rasters.reading(tmp_path / "absent.tif"),
        ):
            pass
    with pytest.raises(InputFileError, match=r"absent\.tif"), updating(tmp_path / "absent.tif"):
        pass


PROFILE = {"count": 4, "width": 3, "height": 2, "crs": "EPSG:32733", "transform": rasterio.Affine(10, 0, 0, 0, -10, 0)}


def test_created_files_are_tiled_compressed_and_plain(tmp_path):
    path = tmp_path / "new" / "out.tif"
    with gdal_env(), creating(path, nodata=7, dtype="uint8", **PROFILE) as dataset:
        dataset.write(np.stack([DATA] * 4))
        dataset.write_mask(DATA != 3)
    with rasterio.open(path) as dataset:
        assert dataset.profile["compress"] == "deflate"
        assert dataset.profile["blockxsize"] == dataset.profile["blockysize"] == 512
        assert dataset.nodata == 7
        assert MaskFlags.alpha not in dataset.mask_flag_enums[3]
        assert np.array_equal(dataset.read_masks(2) > 0, DATA != 3)
    assert [p.name for p in path.parent.iterdir()] == ["out.tif"]  # the mask lies inside


def test_a_failure_leaves_nothing_behind(tmp_path):
    path = tmp_path / "out.tif"
    with pytest.raises(KeyError), creating(path, nodata=0, dtype="uint8", **PROFILE) as dataset:
        dataset.write(np.stack([DATA] * 4))
        raise KeyError("x")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_can_not_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StorageError, match="file"),
        creating(tmp_path / "file" / "out.tif", nodata=0, dtype="uint8", **PROFILE),
    ):
        pass


def test_updating_replaces_at_the_end(tif, tmp_path):
    path = tif(tmp_path / "a.tif", DATA, left=0, top=0)
    with pytest.raises(KeyError), updating(path) as dataset:
        dataset.write(DATA[None] * 2)
        raise KeyError("x")
    with rasterio.open(path) as dataset:
        assert np.array_equal(dataset.read(1), DATA)
    with updating(path) as dataset:
        dataset.write(DATA[None] * 2)
    with rasterio.open(path) as dataset:
        assert np.array_equal(dataset.read(1), DATA * 2)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tif"]


def test_settings_are_undone():
    before = rasterio._env.get_gdal_config("GDAL_CACHEMAX")
    with gdal_env():
        assert rasterio._env.get_gdal_config("GDAL_CACHEMAX") == 64 * 2**20
    assert rasterio._env.get_gdal_config("GDAL_CACHEMAX") == before
