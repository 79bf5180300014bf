from __future__ import annotations

import math

import numpy as np
import pytest
import rasterio.warp
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod
from rasterio.crs import CRS
from rslearn.utils.geometry import Projection

from olmoearth_nb.errors import GeometryError
from olmoearth_nb.globe import shape_array
from olmoearth_nb.maps.frame import MapFrame, frame_around, nice_step, one_side

UTM_31 = CRS.from_epsg(32631)
LONLAT = CRS.from_epsg(4326)


@given(st.floats(-84, 84))
def test_squares_on_the_ground_are_squares_on_a_map_in_degrees(lat: float) -> None:
    frame = MapFrame(LONLAT, (10.0, lat - 0.05, 10.1, lat + 0.05))
    _, _, east = Geod(ellps="WGS84").inv(10.0, lat, 10.1, lat)
    _, _, north = Geod(ellps="WGS84").inv(10.05, lat - 0.05, 10.05, lat + 0.05)
    # The ellipsoid is up to 0.7 % from the sphere of 1/cos(latitude).
    assert frame.aspect == pytest.approx(north / east, rel=0.01)
    assert frame.metres_per_unit * 0.1 == pytest.approx(east, rel=1e-6)


def test_a_unit_of_web_mercator_is_shorter_in_the_north() -> None:
    x, y = (value[0] for value in rasterio.warp.transform(LONLAT, CRS.from_epsg(3857), [10.0], [60.0]))
    frame = MapFrame(CRS.from_epsg(3857), (x - 500, y - 500, x + 500, y + 500))
    assert frame.aspect == 1.0
    assert frame.metres_per_unit == pytest.approx(0.5, rel=0.01)


def test_north_leans_as_the_grid_converges() -> None:
    # West of the central meridian north is to the right; sin(latitude) * degrees from it.
    (x,), (y,) = rasterio.warp.transform(LONLAT, UTM_31, [1.0], [60.0])
    right, up = MapFrame(UTM_31, (x - 1e3, y - 1e3, x + 1e3, y + 1e3)).north
    assert math.degrees(math.atan2(right, up)) == pytest.approx(2 * math.sin(math.radians(60)), rel=0.01)
    assert MapFrame(LONLAT, (0, 0, 1, 1)).north == (0.0, 1.0)


def test_north_points_to_the_pole_on_a_polar_map() -> None:
    polar = CRS.from_epsg(5041)
    (x,), (y,) = rasterio.warp.transform(LONLAT, polar, [90.0], [86.0])
    assert MapFrame(polar, (x - 1e3, y - 1e3, x + 1e3, y + 1e3)).north == pytest.approx((-1.0, 0.0), abs=1e-6)


def test_meridians_and_parallels_are_where_the_projection_has_them() -> None:
    frame = MapFrame(UTM_31, (600_000, 5_000_000, 640_000, 5_030_000))
    meridians, parallels = frame.meridians(), frame.parallels()
    assert [text for _, text in meridians] == ["4.4°E", "4.6°E"]
    assert [text for _, text in parallels] == ["45.2°N", "45.3°N", "45.4°N"]
    lon, _ = rasterio.warp.transform(UTM_31, LONLAT, [x for x, _ in meridians], [5_000_000] * len(meridians))
    assert lon == pytest.approx([4.4, 4.6], abs=1e-5)
    _, lat = rasterio.warp.transform(UTM_31, LONLAT, [600_000] * len(parallels), [y for y, _ in parallels])
    assert lat == pytest.approx([float(text[:4]) for _, text in parallels], abs=1e-5)


def test_meridians_beyond_180_and_in_the_west() -> None:
    assert [text for _, text in MapFrame(LONLAT, (179.0, -1, 181.0, 1)).meridians()] == ["179°E", "180°W", "179°W"]
    assert [text for _, text in MapFrame(LONLAT, (-1, -1, 1, 1)).parallels()] == ["1°S", "0°", "1°N"]


def test_no_meridians_where_an_edge_goes_around_the_pole() -> None:
    assert MapFrame(CRS.from_epsg(5041), (1e6, 1e6, 3e6, 3e6)).parallels() == []


def test_things_on_both_sides_of_the_antimeridian_come_together() -> None:
    shapes = one_side([shapely.box(179, 0, 180, 1), shapely.box(-180, 0, -179, 1), shapely.Point(-179.5, 0.5)])
    assert [shape.bounds[0] for shape in shapes] == [179, 180, 180.5]
    frame = frame_around(shapes)
    assert frame.bounds[0] > 178
    assert frame.bounds[2] < 182


def test_a_frame_has_the_same_margin_on_all_sides() -> None:
    left, bottom, right, top = frame_around(shape_array([shapely.box(10, 59.9, 10.4, 60.1)])).bounds
    assert (60.1 - 59.9) * 1.2 > top - bottom > 60.1 - 59.9
    assert (10 - left) * math.cos(math.radians(60)) == pytest.approx(59.9 - bottom)
    assert right - 10.4 == pytest.approx(10 - left)


def test_a_single_point_has_a_map() -> None:
    frame = frame_around(shape_array([shapely.Point(5, 5)]))
    assert frame.height > 0
    assert frame.centre == pytest.approx((5, 5))


def test_nothing_has_no_map() -> None:
    with pytest.raises(GeometryError, match="nothing to draw"):
        frame_around(shape_array([shapely.Point()]))


def test_pixels_and_degrees_come_to_the_same_place() -> None:
    projection = Projection(UTM_31, 10, -10)
    frame = MapFrame(UTM_31, (0, 0, 1, 1))
    (shape,) = frame.from_pixels(projection, shape_array([shapely.Point(60_000, -500_000)]))
    assert (shape.x, shape.y) == (600_000, 5_000_000)
    lon, lat = rasterio.warp.transform(UTM_31, LONLAT, [600_000], [5_000_000])
    (back,) = frame.from_lonlat(shape_array([shapely.Point(lon[0], lat[0])]))
    assert (back.x, back.y) == pytest.approx((600_000, 5_000_000), abs=1e-3)


@given(st.floats(1e-6, 1e8), st.integers(1, 9))
def test_a_nice_step_is_round_and_not_too_long(extent: float, parts: int) -> None:
    step = nice_step(extent, parts)
    digits = step / 10.0 ** math.floor(math.log10(step) + 1e-9)
    assert np.isclose(digits, [1, 2, 5]).any()
    assert extent / parts / 2.51 < step <= extent / parts * 1.002
