"""Helpers that people import from OlmoEarth Run: north and south of the equator, where signs differ."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
import shapely
from rasterio.crs import CRS
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry

from olmoearth_nb.labels import guide
from olmoearth_nb.types import AnnotationTask, LabeledSTGeometry, LabeledWindow, RasterLabel

UTM = Projection(CRS.from_epsg(32631), 10, -10)
SOUTH = Projection(CRS.from_epsg(32731), 10, -10)


@pytest.mark.parametrize(("projection", "y0"), [(UTM, -500_000), (SOUTH, -900_000)])
def test_a_window_and_its_rasters_fit(projection: Projection, y0: int) -> None:
    x0 = 50_003
    area = STGeometry(projection, shapely.box(x0 + 0.3, y0 + 0.3, x0 + 4.3, y0 + 3.3), None)
    bounds = guide.compute_window_bounds(area)
    assert bounds == (x0, y0, x0 + 4, y0 + 3)
    assert (bounds.width, bounds.height, bounds.as_tuple()) == (4, 3, tuple(bounds))
    shape = STGeometry(projection, shapely.box(x0 + 1, y0, x0 + 3, y0 + 2), None).to_projection(WGS84_PROJECTION)
    point = STGeometry(projection, shapely.Point(x0 + 3.7, y0 + 2.2), None).to_projection(WGS84_PROJECTION)
    annotations = [
        LabeledSTGeometry(st_geometry=shape, labels={"b": 7, "a": 300}),
        LabeledSTGeometry(st_geometry=point, labels={"b": 2, "a": None}),
    ]
    labels = guide.create_raster_labels_from_annotations(
        annotations, bounds, 10, str(projection.crs), np.int16, nodata_value=-1
    )
    n = -1
    assert [label.key for label in labels] == ["a", "b"]
    np.testing.assert_array_equal(labels[0].value, [[n, 300, 300, n], [n, 300, 300, n], [n, n, n, n]])
    np.testing.assert_array_equal(labels[1].value, [[n, 7, 7, n], [n, 7, 7, n], [n, n, n, 2]])
    assert labels[0].value.dtype == np.int16
    assert LabeledWindow(name="w", st_geometry=area, labels=labels).bounds == bounds


def test_the_square_around_a_point_has_its_pixel_in_the_middle() -> None:
    around = guide.create_window_geometry_from_point(STGeometry(UTM, shapely.Point(12.9, -3.1), None), 2, None)
    assert around.shp.bounds == (10, -6, 15, -1)


def test_no_annotations_give_no_rasters() -> None:
    assert guide.create_raster_labels_from_annotations([], (0, 0, 4, 4), 10, "EPSG:32631") == []
    empty = guide.rasterize_shapes_to_mask(width=2, height=1, shape_labels=[], nodata_value=-5, dtype=np.float32)
    assert empty.tolist() == [[-5.0, -5.0]]
    assert empty.dtype == np.float32


def test_zones() -> None:
    inside, across = shapely.box(3, 45, 3.1, 45.1), shapely.box(5.9, 45, 6.2, 45.1)
    assert guide.get_utm_crs_for_geometry(inside, enforce_consistent=True) == CRS.from_epsg(32631)
    assert guide.get_utm_crs_for_geometry(across) == CRS.from_epsg(32632)
    with pytest.raises(guide.InconsistentUtmZoneError, match="EPSG:32631, EPSG:32632"):
        guide.get_utm_crs_for_geometry(across, enforce_consistent=True)


def test_models_copy_and_change_as_those_of_the_guide() -> None:
    place = STGeometry(WGS84_PROJECTION, shapely.Point(3, 45), None)
    one = LabeledSTGeometry(st_geometry=place, labels={"a": 1})
    task = AnnotationTask(task_id=uuid.uuid4(), task_st_geometry=place, annotations=[one])
    fewer = task.model_copy(update={"annotations": []})
    assert (len(task.annotations), len(fewer.annotations), fewer.task_id) == (1, 0, task.task_id)
    deep = task.model_copy(deep=True)
    deep.annotations[0].labels["a"] = 2
    assert one.labels == {"a": 1}
    label = RasterLabel(key="a", value=np.zeros((1, 1)))
    label.key = "b"
    assert label.model_copy().key == "b"
