from __future__ import annotations

import pytest
from affine import Affine
from rasterio.crs import CRS

from olmoearth_nb.errors import PostprocessError
from olmoearth_nb.postprocess.geotiffs import OpenRasters
from olmoearth_nb.postprocess.grids import cells_of, crs_label, grids_of, read_source


def grid_of(tif, tmp_path, gradient, *tiles, **options):
    paths = [
        tif(tmp_path / f"{i}.tif", gradient(height, width), left=left, top=top, **({"res": 10.0} | extra | options))
        for i, (left, top, width, height, extra) in enumerate(tiles)
    ]
    with OpenRasters() as rasters:
        return grids_of([read_source(path, rasters) for path in paths])


def test_labels():
    assert crs_label(CRS.from_epsg(32733)) == "epsg32733"
    assert crs_label(CRS.from_string("ESRI:54009")) == "esri54009"
    assert crs_label(None) == "unknown"
    south = crs_label(CRS.from_proj4("+proj=laea +lat_0=-10 +lon_0=20 +datum=WGS84"))
    north = crs_label(CRS.from_proj4("+proj=laea +lat_0=10 +lon_0=20 +datum=WGS84"))
    assert south.startswith("crs")
    assert len(south) == 15
    assert south != north


def test_boxes_are_pixels_of_the_first_input(tif, tmp_path, gradient):
    (grid,) = grid_of(
        tif,
        tmp_path,
        gradient,
        (-200.0, -50.0, 4, 3, {}),
        (-240.0, -20.0, 4, 3, {}),
        (-197.0, -52.0, 4, 3, {}),  # shifted by less than half a pixel
        (-194.0, -56.0, 4, 3, {}),  # by more
        (-200.0, -50.0, 3, 2, {"res": 20.0}),
        (-1000.0, -1000.0, 2, 2, {"transform": Affine(10, 0, -200.0, 0, 10, -70.0)}),  # south-up
    )
    assert grid.transform == Affine(10, 0, -200, 0, -10, -50)
    assert grid.boxes.tolist() == [
        [0, 0, 4, 3],
        [-4, -3, 0, 0],
        [0, 0, 4, 3],
        [1, 1, 5, 4],
        [0, 0, 6, 4],
        [0, 0, 2, 2],
    ]
    assert grid.block_transform(-4, 2) == Affine(10, 0, -240, 0, -10, -70)


def test_boxes_on_degrees_are_whole_in_spite_of_rounding(tif, tmp_path, gradient):
    res = 0.0001
    tiles = [(17.1 + res * 7 * i, -33.3 - res * 5 * i, 7, 5, {}) for i in range(40)]
    (grid,) = grid_of(tif, tmp_path, gradient, *tiles, res=res, crs="EPSG:4326")
    assert grid.boxes.tolist() == [[7 * i, 5 * i, 7 * i + 7, 5 * i + 5] for i in range(40)]


def test_cells_count_from_the_lower_left_corner(tif, tmp_path, gradient):
    # 3 columns and 3 rows of 4 pixels, cells of 8: the lower left 2 by 2 are one cell.
    tiles = [(-60.0 + 40 * x, -40.0 * y, 4, 4, {}) for y in range(3) for x in range(3)]
    (grid,) = grid_of(tif, tmp_path, gradient, *tiles)
    cells = cells_of(grid, 8)
    assert [cell.members.tolist() for cell in cells] == [[0, 1], [2], [3, 4, 6, 7], [5, 8]]
    assert [cell.bounds for cell in cells] == [(0, 0, 8, 4), (8, 0, 12, 4), (0, 4, 8, 12), (8, 4, 12, 12)]
    assert len(cells_of(grid, 12)) == 1


def test_a_centre_on_a_line_belongs_to_the_cell_beyond(tif, tmp_path, gradient):
    # Centres are 2, 4 and 6 pixels from the left, and 2 from below.
    (grid,) = grid_of(tif, tmp_path, gradient, *((10.0 * x, 0.0, 4, 4, {}) for x in (0, 2, 4)))
    assert [cell.members.tolist() for cell in cells_of(grid, 4)] == [[0], [1, 2]]


def test_cells_are_numbered_by_their_first_input(tif, tmp_path, gradient):
    tiles = [(10.0 * x, 0.0, 4, 4, {}) for x in (8, 0, 4, 9)]
    (grid,) = grid_of(tif, tmp_path, gradient, *tiles)
    assert [cell.members.tolist() for cell in cells_of(grid, 4)] == [[0, 3], [1], [2]]


def test_blocks_cover_a_cell_once(tif, tmp_path, gradient):
    (grid,) = grid_of(tif, tmp_path, gradient, (0.0, 0.0, 600, 20, {}), (5000.0, -5000.0, 20, 30, {}))
    (cell,) = cells_of(grid, 2000)
    blocks = list(cell.blocks())
    assert cell.bounds == (0, 0, 600, 530)
    assert blocks == [(0, 0, 512, 512), (512, 0, 600, 512), (0, 512, 512, 530), (512, 512, 600, 530)]


def test_crs_groups_keep_the_order(tif, tmp_path, gradient):
    zones = [{"crs": f"EPSG:{code}"} for code in (32734, 32733, 32734)]
    first, second = grid_of(tif, tmp_path, gradient, *((0.0, 0.0, 2, 2, zone) for zone in zones))
    assert [source.path.name for source in first.sources] == ["0.tif", "2.tif"]
    assert [source.label for source in second.sources] == ["epsg32733"]


def test_rotated_inputs_are_refused(tif, tmp_path, gradient):
    with pytest.raises(PostprocessError, match=r"0\.tif: A rotated raster can't be merged\. Expected rows along x"):
        grid_of(tif, tmp_path, gradient, (0, 0, 3, 3, {"transform": Affine(10, 1, 0, 1, -10, 0)}))


def test_different_numbers_of_bands_are_refused(tif, tmp_path, gradient):
    one = tif(tmp_path / "one.tif", gradient(3, 3), left=0, top=0)
    two = tif(tmp_path / "two.tif", [gradient(3, 3)] * 2, left=0, top=0)
    with (
        OpenRasters() as rasters,
        pytest.raises(PostprocessError, match=r"two\.tif: .*1 bands as in .*one\.tif; found 2"),
    ):
        grids_of([read_source(path, rasters) for path in (one, two)])
