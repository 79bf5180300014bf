import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyproj
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from olmoearth_nb.errors import ConfigError, InputFileError
from olmoearth_nb.labels import PointToPixelWindowPreparer, PointToRasterWindowPreparer
from olmoearth_nb.types import AnnotationTask

MakeTask = Callable[..., AnnotationTask]

anywhere = st.tuples(st.floats(-180, 180), st.floats(-89.9, 89.9)).map(lambda xy: shapely.Point(*xy))
on_the_equator = st.tuples(st.floats(-180, 180), st.floats(-0.01, 0.01)).map(lambda xy: shapely.Point(*xy))
fast = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


def _position(window: Any, point: shapely.Point) -> tuple[float, float]:
    """The point in pixels of the window's projection, by another way than the code's."""
    transformer = pyproj.Transformer.from_crs("EPSG:4326", window.projection.crs.to_wkt(), always_xy=True)
    x, y = transformer.transform(point.x, point.y)
    return x / window.projection.x_resolution, y / window.projection.y_resolution


@fast
@given(point=st.one_of(anywhere, on_the_equator), resolution=st.sampled_from([1.0, 10.0, 28.5]))
def test_the_pixel_contains_its_point(make_task: MakeTask, point: shapely.Point, resolution: float) -> None:
    (window,) = PointToPixelWindowPreparer(resolution).prepare_labeled_windows(make_task((point, {"a": 1})))

    x, y = _position(window, point)
    x0, y0, x1, y1 = window.bounds
    assert (x1 - x0, y1 - y0) == (1, 1)
    # A hundredth of a millimetre for two ways through PROJ.
    hair = 1e-5 / resolution
    assert x0 - hair <= x <= x1 + hair
    assert y0 - hair <= y <= y1 + hair
    assert window.labels[0].st_geometry.shp.coords[0] == (x0, y0)
    assert (window.projection.x_resolution, window.projection.y_resolution) == (resolution, -resolution)


@fast
@given(point=st.one_of(anywhere, on_the_equator), buffer=st.integers(0, 9))
def test_the_label_is_in_the_middle_pixel(make_task: MakeTask, point: shapely.Point, buffer: int) -> None:
    preparer = PointToRasterWindowPreparer(window_buffer=buffer, dtype="int16", nodata_value=-9)
    task = make_task((point, {"a": 4}))
    (window,) = preparer.prepare_labeled_windows(task)
    (pixel,) = PointToPixelWindowPreparer().prepare_labeled_windows(task)

    x0, y0, x1, y1 = window.bounds
    assert (x1 - x0, y1 - y0) == (2 * buffer + 1, 2 * buffer + 1)
    rows, columns = np.nonzero(window.labels[0].value == 4)
    assert (x0 + columns[0], y0 + rows[0]) == pixel.bounds[:2]
    assert (window.labels[0].value == -9).sum() == (2 * buffer + 1) ** 2 - 1
    assert window.projection == pixel.projection


@pytest.mark.parametrize(
    ("lon", "lat", "epsg", "pixel"),
    [
        # A point just north of the equator has a pixel of negative row, just south one of zone 327 below 10,000 km.
        (3.0, 0.00001, 32631, (50000, -1)),
        (3.0, -0.00001, 32731, (50000, -1000000 + 0)),
        (-78.7, 35.7, 32617, None),
        (0.0, 0.0, 32630, None),
        (180.0, 12.0, 32660, None),
        (-180.0, 12.0, 32601, None),
        (25.0, 88.0, 5041, None),
        (25.0, -88.0, 5042, None),
    ],
)
def test_zones_and_pixels_of_known_places(
    make_task: MakeTask, lon: float, lat: float, epsg: int, pixel: tuple[int, int] | None
) -> None:
    (window,) = PointToPixelWindowPreparer().prepare_labeled_windows(make_task((shapely.Point(lon, lat), {"a": 1})))
    assert window.projection.crs.to_epsg() == epsg
    if pixel:
        assert window.bounds[:2] == pixel


def test_names_times_and_values_of_pixel_windows(make_task: MakeTask) -> None:
    points = [shapely.Point(-78.705938, 35.689546), shapely.Point(-78.5, 35.25)]
    task = make_task((points[0], {"a": 3, "b": None}), (points[1], {"b": 0.5}))

    first, second = PointToPixelWindowPreparer().prepare_labeled_windows(task)

    assert first.name == f"task_{task.task_id}_annotation_0_point_-78.705938_35.689546"
    assert second.name == f"task_{task.task_id}_annotation_1_point_-78.5_35.25"
    assert first.time_range == task.task_st_geometry.time_range
    assert first.labels[0].labels == {"a": 3, "b": None}
    assert second.labels[0].labels == {"b": 0.5}


def test_bands_are_all_names_of_the_task_in_order(make_task: MakeTask) -> None:
    point = shapely.Point(9.0, 47.0)
    task = make_task((point, {"height": 24.25}), (point, {"category": 3, "height": None}))

    first, second = PointToRasterWindowPreparer(1, 10.0, "FLOAT32", -1).prepare_labeled_windows(task)

    assert [window.name for window in (first, second)] == [f"task_{task.task_id}_point_{i}" for i in (0, 1)]
    for window, middles in ((first, {"category": -1, "height": 24.25}), (second, {"category": 3, "height": -1})):
        assert [label.key for label in window.labels] == ["category", "height"]
        for label in window.labels:
            assert label.value.dtype == np.float32
            expected = np.full((3, 3), -1.0)
            expected[1, 1] = middles[label.key]
            np.testing.assert_array_equal(label.value, expected)


def test_two_points_of_one_place_have_windows_of_their_own(make_task: MakeTask) -> None:
    points = [shapely.Point(9.0, 47.0), shapely.Point(9.0005, 47.0)]
    task = make_task((points[0], {"a": 1}), (points[1], {"a": 2}))

    windows = PointToRasterWindowPreparer(20).prepare_labeled_windows(task)

    assert [set(np.unique(window.labels[0].value)) for window in windows] == [{1, 255}, {2, 255}]


@pytest.mark.parametrize("preparer", [PointToPixelWindowPreparer(), PointToRasterWindowPreparer(3)])
@pytest.mark.parametrize("shp", [shapely.box(0, 0, 1, 1), shapely.MultiPoint([(0, 0)]), shapely.Point()])
def test_other_shapes_are_refused_by_task_and_number(make_task: MakeTask, preparer: Any, shp: Any) -> None:
    task = make_task((shapely.Point(1, 1), {"a": 1}), (shp, {"a": 1}), area=shapely.box(0, 0, 2, 2))
    with pytest.raises(InputFileError, match=rf"task {task.task_id}, annotation 1: .*Expected a Point; found an? "):
        preparer.prepare_labeled_windows(task)


def test_a_value_that_does_not_fit_is_named(make_task: MakeTask) -> None:
    task = make_task((shapely.Point(1, 1), {"a": 1}), (shapely.Point(1, 1), {"a": 300}))
    with pytest.raises(InputFileError, match=rf"task {task.task_id}, annotation 1, label 'a': .*0\.\.255; found 300"):
        PointToRasterWindowPreparer(3).prepare_labeled_windows(task)


@pytest.mark.parametrize("preparer", [PointToPixelWindowPreparer(), PointToRasterWindowPreparer(3)])
def test_a_task_without_annotations_gives_no_window(make_task: MakeTask, preparer: Any) -> None:
    assert preparer.prepare_labeled_windows(make_task(area=shapely.box(0, 0, 1, 1))) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window_buffer": -1}, r"window_buffer: .*at least 0; found -1"),
        ({"window_buffer": 1.5}, r"window_buffer: .*whole number.*found 1\.5"),
        ({"window_buffer": 1, "window_resolution": 0}, r"window_resolution: .*above 0; found 0"),
        ({"window_buffer": 1, "window_resolution": "10"}, r"window_resolution: .*found '10'"),
        ({"window_buffer": 1, "dtype": "complex"}, r"dtype: .*found 'complex'"),
        ({"window_buffer": 1, "dtype": "int8"}, r"nodata_value: .*-128\.\.127; found 255"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=r"PointToRasterWindowPreparer\." + message):
        PointToRasterWindowPreparer(**arguments)


def test_pixel_resolution_is_checked() -> None:
    with pytest.raises(ConfigError, match=r"PointToPixelWindowPreparer\.window_resolution: .*found nan"):
        PointToPixelWindowPreparer(math.nan)


def test_two_thousand_points_take_no_time(make_task: MakeTask) -> None:
    rng = np.random.default_rng(1)
    tasks = [
        make_task((shapely.Point(lon, lat), {"a": 1}), area=shapely.box(lon, lat, lon + 1e-4, lat + 1e-4), number=i)
        for i, (lon, lat) in enumerate(zip(rng.uniform(-179, 179, 2000), rng.uniform(-80, 80, 2000), strict=True))
    ]
    preparer = PointToRasterWindowPreparer(window_buffer=31, dtype="INT32", nodata_value=9)

    start = time.process_time()
    windows = [window for task in tasks for window in preparer.prepare_labeled_windows(task)]
    spent = time.process_time() - start

    assert len(windows) == 2000
    # Measured 0.5 s; asking PROJ's database for each point takes more than a minute.
    assert spent < 15
