from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio.warp
from drawings import write_geotiff
from rasterio.crs import CRS

from olmoearth_nb.errors import InputFileError, UsageError
from olmoearth_nb.maps.results import read_geotiffs

CLASSES = np.arange(1, 13, dtype=np.uint8).reshape(1, 3, 4)


def test_files_beside_each_other_become_one_map(tmp_path: Path) -> None:
    first = CLASSES.copy()
    first[0, 1, 2] = 0
    one = write_geotiff(tmp_path / "1.tif", first, nodata=0)
    two = write_geotiff(tmp_path / "2.tif", CLASSES + 100, nodata=0, origin=(600_030, 4_999_990))
    grid, pixels = read_geotiffs([one, two])
    assert grid.bounds == (60_000, -500_000, 60_007, -499_996)
    assert pixels.shape == (1, 4, 7)
    assert pixels[0, 0].tolist()[:4] == [1, 2, 3, 4]
    assert pixels[0, 1, 3] == 8  # covered by both: the first one
    assert pixels[0, 1, 4] == 102
    assert np.isnan(pixels[0, 1, 2])
    assert np.isnan(pixels[0, 0, 4:]).all()


def test_where_a_file_has_nothing_the_next_one_shows(tmp_path: Path) -> None:
    first = CLASSES.copy()
    first[0, 1, 2] = 0
    paths = [write_geotiff(tmp_path / "1.tif", first, nodata=0), write_geotiff(tmp_path / "2.tif", CLASSES, nodata=0)]
    assert read_geotiffs(paths)[1][0, 1, 2] == 7


def test_class_0_is_a_class_where_the_file_has_no_nodata(tmp_path: Path) -> None:
    one = write_geotiff(tmp_path / "1.tif", CLASSES - 1)
    two = write_geotiff(tmp_path / "2.tif", CLASSES, origin=(600_100, 5_000_000))
    pixels = read_geotiffs([one, two])[1][0]
    assert pixels[0, 0] == 0
    assert np.isnan(pixels[:, 4:10]).all()
    assert np.array_equal(pixels[:, 10:], CLASSES[0])


def test_nan_is_nothing(tmp_path: Path) -> None:
    values = CLASSES.astype(np.float32) / 3
    values[0, 0, 0] = np.nan
    pixels = read_geotiffs([write_geotiff(tmp_path / "1.tif", values, nodata=np.nan)])[1][0]
    assert np.isnan(pixels[0, 0])
    assert np.isnan(pixels).sum() == 1
    assert pixels[2, 3] == 4


def test_the_band_is_the_one_asked_for(tmp_path: Path) -> None:
    path = write_geotiff(tmp_path / "1.tif", np.concatenate([CLASSES, CLASSES * 2]))
    assert np.array_equal(read_geotiffs([path], band=2)[1], CLASSES * 2)
    with pytest.raises(UsageError, match=r"no band 3. Expected a band from 1 to 2"):
        read_geotiffs([path], band=3)


def test_large_files_are_read_from_their_overviews(tmp_path: Path) -> None:
    pixels = np.kron(np.arange(1, 17, dtype=np.uint8).reshape(1, 4, 4), np.ones((1, 128, 128), dtype=np.uint8))
    path = write_geotiff(
        tmp_path / "1.tif", pixels, nodata=0, tiled=True, blockxsize=128, blockysize=128, overviews=[8]
    )
    with rasterio.open(path, "r+") as file:
        # What only the overview has shows where pixels were taken from.
        assert file.overviews(1) == [8]
        with rasterio.open(path, "r+", overview_level=0) as overview:
            overview.write(np.full((1, 64, 64), 99, dtype=np.uint8))
    grid, found = read_geotiffs([path], max_pixels=64)
    assert grid.projection.x_resolution == 80
    assert (found == 99).all()


def test_a_reduced_map_takes_pixels_from_their_places(tmp_path: Path) -> None:
    pixels = np.arange(1, 65, dtype=np.uint8).reshape(1, 8, 8)
    grid, found = read_geotiffs([write_geotiff(tmp_path / "1.tif", pixels, nodata=0)], max_pixels=4)
    assert grid.shape == (4, 4)
    blocks = pixels[0].reshape(4, 2, 4, 2).transpose(0, 2, 1, 3).reshape(4, 4, 4)
    assert (blocks == found[0][..., None]).any(axis=-1).all()


def test_a_file_of_another_zone_lies_where_it_is(tmp_path: Path) -> None:
    zone_31, zone_32 = CRS.from_epsg(32631), CRS.from_epsg(32632)
    (x,), (y,) = rasterio.warp.transform(CRS.from_epsg(4326), zone_32, [6.0], [45.0])
    origin = (round(x, -1), round(y, -1))
    (left,), (top,) = rasterio.warp.transform(zone_32, zone_31, [origin[0]], [origin[1]])
    own = np.ones((1, 9, 9), np.uint8)
    numbers = np.arange(1, 31 * 41 + 1, dtype=np.uint16).reshape(1, 31, 41)
    paths = [write_geotiff(tmp_path / f"{i}.tif", own, origin=(round(left, -1) - 200, round(top, -1))) for i in (1, 2)]
    paths.append(write_geotiff(tmp_path / "3.tif", numbers, epsg=32632, origin=origin, nodata=0))
    grid, pixels = read_geotiffs(paths)
    assert grid.projection.crs == zone_31
    (x,), (y,) = rasterio.warp.transform(zone_32, zone_31, [origin[0] + 295], [origin[1] - 115])
    column, row = ~grid.transform * (x, y)
    assert pixels[0, int(row), int(column)] == numbers[0, 11, 29]


def test_what_is_wrong_with_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"no GeoTIFF to show.*combine"):
        read_geotiffs([])
    with pytest.raises(InputFileError, match=r"none.tif: The GeoTIFF can't be read"):
        read_geotiffs([tmp_path / "none.tif"])
