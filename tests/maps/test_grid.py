from __future__ import annotations

import numpy as np
import pytest
import rasterio.warp
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rslearn.utils.geometry import Projection

from olmoearth_nb.errors import GeometryError
from olmoearth_nb.maps.grid import Grid, extent_in, grid_over, mosaic

ZONE_31, ZONE_32 = (Projection(CRS.from_epsg(32600 + zone), 10, -10) for zone in (31, 32))


def numbered(height: int, width: int, start: int = 1) -> np.ndarray:
    """One band with a different number in each pixel."""
    return np.arange(start, start + height * width, dtype=np.float32).reshape(1, height, width)


def test_a_grid_covers_all_windows_pixel_by_pixel() -> None:
    grid = grid_over([(ZONE_31, (10, -30, 14, -27)), (ZONE_31, (16, -29, 18, -20))], max_pixels=100)
    assert grid == Grid(ZONE_31, (10, -30, 18, -20))
    assert grid.shape == (10, 8)
    assert grid.frame.bounds == (100, 200, 180, 300)
    assert grid.transform * (0, 0) == (100, 300)


def test_windows_come_to_their_pixels_and_the_first_one_wins() -> None:
    places = [(ZONE_31, (10, -30, 14, -27)), (ZONE_31, (13, -29, 15, -25))]
    grid = grid_over(places, max_pixels=100)
    first, second = numbered(3, 4), numbered(4, 2, start=101)
    first[0, 2, 3] = np.nan
    tiles = [(*place, pixels) for place, pixels in zip(places, (first, second), strict=True)]
    out = mosaic(grid, tiles, count=1)[0]
    assert np.array_equal(out[:3, :3], first[0, :, :3])
    assert out[:3, 3].tolist() == [4, 8, 103]  # the last one is free for the second window
    assert out[1:5, 4].tolist() == [102, 104, 106, 108]
    assert np.isnan(out[0, 4])


def test_a_large_map_has_pixels_of_several_and_their_mean() -> None:
    place = (ZONE_31, (8, -16, 16, -8))
    grid = grid_over([place], max_pixels=2)
    assert (grid.projection.x_resolution, grid.bounds) == (40, (2, -4, 4, -2))
    pixels = numbered(8, 8)
    out = mosaic(grid, [(*place, pixels)], count=1, resampling=Resampling.average)[0]
    assert np.allclose(out, pixels.reshape(2, 4, 2, 4).mean(axis=(1, 3)))


def test_the_finest_resolution_of_the_most_frequent_projection_is_taken() -> None:
    coarse = Projection(CRS.from_epsg(32631), 20, -20)
    grid = grid_over([(coarse, (0, -4, 4, 0)), (ZONE_31, (0, -4, 4, 0)), (ZONE_32, (0, -4, 4, 0))], max_pixels=10**6)
    assert grid.projection == ZONE_31


def test_a_window_of_another_zone_lies_where_it_is() -> None:
    (x,), (y,) = rasterio.warp.transform(CRS.from_epsg(4326), ZONE_32.crs, [6.0], [45.0])
    left, top = round(x / 10), round(-y / 10)
    bounds = (left, top, left + 40, top + 30)
    near = extent_in(ZONE_32, bounds, ZONE_31.crs)
    own = (ZONE_31, (int(near[0] // 10), int(-near[3] // 10) - 5, int(near[0] // 10) + 8, int(-near[3] // 10) + 3))
    pixels = numbered(30, 40)
    grid = grid_over([own, own, (ZONE_32, bounds)], max_pixels=1000)
    out = mosaic(grid, [(ZONE_32, bounds, pixels)], count=1)[0]
    row, column = 11, 29
    place = [[(left + column + 0.5) * 10], [-(top + row + 0.5) * 10]]
    (x,), (y,) = rasterio.warp.transform(ZONE_32.crs, ZONE_31.crs, *place)
    found_column, found_row = ~grid.transform * (x, y)
    assert out[int(found_row), int(found_column)] == pixels[0, row, column]


def test_a_window_whose_y_grows_northwards_is_turned() -> None:
    upward = Projection(CRS.from_epsg(32631), 10, 10)
    grid = grid_over([(upward, (0, 0, 3, 2))], max_pixels=10)
    assert grid == Grid(ZONE_31, (0, -2, 3, 0))
    pixels = numbered(2, 3)
    assert np.array_equal(mosaic(grid, [(upward, (0, 0, 3, 2), pixels)], count=1)[0], pixels[0, ::-1])


def test_a_window_beside_the_grid_changes_nothing() -> None:
    grid = Grid(ZONE_31, (0, 0, 4, 4))
    assert np.isnan(mosaic(grid, [(ZONE_31, (4, 0, 6, 2), numbered(2, 2))], count=1)).all()


def test_no_windows_no_grid() -> None:
    with pytest.raises(GeometryError, match="nothing to draw"):
        grid_over([], max_pixels=10)
