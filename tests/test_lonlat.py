from __future__ import annotations

import numpy as np
import pytest
import shapely
from shapely import LineString, MultiPoint, MultiPolygon, Point, Polygon, box

from olmoearth_nb.errors import InputFileError
from olmoearth_nb.lonlat import antimeridian_sides, jumps_antimeridian, normalise_lonlat, unwrap_antimeridian

FIJI = MultiPolygon([box(179.5, -17, 180, -16), box(-180, -17, -179, -16)])
"""1.5° wide, of which 0.5° lie west of the line."""


def test_a_cut_geometry_is_put_together() -> None:
    joined = unwrap_antimeridian(FIJI)
    assert joined.bounds == (179.5, -17.0, 181.0, -16.0)
    assert joined.centroid.x == pytest.approx(180.25)


@pytest.mark.parametrize(
    "shp",
    [
        box(170, 0, 179, 1),
        box(-180, -60, 180, 60),  # a band around the globe is not one that crosses
        box(-180, -90, 180, 90),
        box(-180, 85, 180, 90),
        box(-100, 0, 85, 1).segmentize(10.0),
        Point(-180, 0),
    ],
)
def test_what_does_not_cross_stays(shp: shapely.Geometry) -> None:
    assert unwrap_antimeridian(shp) is shp
    assert antimeridian_sides(shp) == [shp]
    assert normalise_lonlat(shp, "here") is shp


def test_parts_beyond_greenwich_stay_in_one_piece() -> None:
    shp = MultiPolygon([box(-1, 0, 2, 1), box(178, 0, 180, 1), box(-180, 0, -179, 1)])
    assert unwrap_antimeridian(shp).bounds == (-1.0, 0.0, 181.0, 1.0)
    east, west = antimeridian_sides(shp)
    assert east.bounds == (-1.0, 0.0, 180.0, 1.0)
    assert west.bounds == (-180.0, 0.0, -179.0, 1.0)


def test_sides_of_a_collection_with_nested_parts() -> None:
    shp = shapely.GeometryCollection([FIJI, LineString([(179, 3), (179.2, 4)]), Point(-178.5, 5)])
    east, west = antimeridian_sides(shp)
    assert east.bounds == (179.0, -17.0, 180.0, 4.0)
    assert west.bounds == (-180.0, -17.0, -178.5, 5.0)


JUMP = Polygon([(179.5, -17), (-179, -17), (-179, -16), (179.5, -16)])


@pytest.mark.parametrize(
    "shp",
    [box(179.5, -17, 181, -16), box(-180.5, -17, -179, -16), JUMP, JUMP.reverse()],
    ids=["beyond 180", "beyond -180", "jump", "jump clockwise"],
)
def test_a_crossing_polygon_is_cut(shp: Polygon) -> None:
    cut = normalise_lonlat(shp, "here")
    assert cut.equals(FIJI)
    assert cut.is_valid


def test_a_hole_across_the_line_stays_a_hole() -> None:
    ring = [(170, 0), (-170, 0), (-170, 10), (170, 10)]
    cut = normalise_lonlat(Polygon(ring, [[(175, 2), (-175, 2), (-175, 8), (175, 8)]]), "here")
    assert cut.area == pytest.approx(20 * 10 - 10 * 6)
    assert not cut.intersects(Point(-177, 5))
    assert cut.intersects(Point(-172, 5))


def test_a_self_intersecting_polygon_does_not_grow_to_the_pole() -> None:
    cut = normalise_lonlat(Polygon([(179, 0), (-179, 1), (179, 1), (-179, 0)]), "here")
    assert cut.is_valid
    assert cut.area == pytest.approx(1.0)
    assert cut.bounds == (-180.0, 0.0, 180.0, 1.0)


def test_a_ring_around_the_pole_is_filled_to_the_pole() -> None:
    cap = normalise_lonlat(Polygon([(0, 85), (90, 85), (180, 85), (-90, 85)]), "here")
    assert cap.equals(box(-180, 85, 180, 90))


def test_a_vertex_written_as_minus_180_is_180() -> None:
    assert normalise_lonlat(Polygon([(179, 0), (-180, 0), (-180, 1), (179, 1)]), "here").equals(box(179, 0, 180, 1))


@pytest.mark.parametrize(
    ("shp", "bounds"),
    [
        (box(190, 0, 200, 5), (-170, 0, -160, 5)),
        (box(-200, 0, -190, 5), (160, 0, 170, 5)),
        (box(360, 0, 370, 1), (0, 0, 10, 1)),
        (Point(181, 3), (-179, 3, -179, 3)),
        (Point(-190, 3), (170, 3, 170, 3)),
        (LineString([(190, 0), (200, 5)]), (-170, 0, -160, 5)),
    ],
)
def test_longitudes_beyond_180_are_moved(shp: shapely.Geometry, bounds: tuple[float, ...]) -> None:
    moved = normalise_lonlat(shp, "here")
    assert moved.bounds == bounds
    assert moved.geom_type == shp.geom_type


def test_lines_points_and_collections_are_cut() -> None:
    line = normalise_lonlat(LineString([(179, 0), (-179, 1)]), "here")
    assert line.equals(shapely.MultiLineString([[(179, 0), (180, 0.5)], [(-180, 0.5), (-179, 1)]]))
    points = normalise_lonlat(MultiPoint([(181, 0), (10, 0), (180, 5)]), "here")
    assert shapely.get_coordinates(points).tolist() == [[-179, 0], [10, 0], [180, 5]]
    both = normalise_lonlat(shapely.GeometryCollection([Point(181, 0), box(179.5, -17, 181, -16)]), "here")
    assert both.geoms[0].equals(Point(-179, 0))
    assert both.geoms[1].equals(FIJI)


@pytest.mark.parametrize(
    ("shp", "message"),
    [
        (Polygon(), "empty"),
        (Point(np.nan, 1), "not numbers"),
        (LineString([(0, 0), (1, np.nan), (2, 2)]), "not numbers"),
        (Point(36, 91), "longitude first"),
        (box(500_000, 1, 500_100, 2), "EPSG:4326"),
    ],
)
def test_unusable_geometries_are_named(shp: shapely.Geometry, message: str) -> None:
    with pytest.raises(InputFileError, match=message) as caught:
        normalise_lonlat(shp, "a.geojson: features[3]")
    assert "a.geojson: features[3].geometry" in str(caught.value)


def test_a_leap_of_360_belongs_to_a_band() -> None:
    assert not jumps_antimeridian(box(-180, 60, 180, 90))
    assert jumps_antimeridian(JUMP)
    assert not jumps_antimeridian(MultiPoint([(179, 0), (-179, 0)]))
