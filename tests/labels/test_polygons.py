from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import ConfigError, GeometryError, InputFileError
from olmoearth_nb.labels import GridConfig, GriddingStrategy, PolygonToRasterWindowPreparer
from olmoearth_nb.labels.polygons import grid_cells
from olmoearth_nb.lonlat import normalise_lonlat
from olmoearth_nb.types import AnnotationTask

MakeTask = Callable[..., AnnotationTask]

CRS_OF = {"utm": 32633, "south": 32733, "antimeridian": 32660, "north pole": 5041}
# Origins in pixels of 10 m: near 15° E, on both sides of the equator (rows grow southwards), at 180°, near the pole.
PLACES = {
    "utm": (50000, -500000),
    "just north of the equator": (50000, -4),
    "south": (50000, -900000),
    "antimeridian": (83390, -110),
    "north pole": (200010, -200230),
}


def _lonlat(place: str, x0: float, y0: float, x1: float, y1: float) -> BaseGeometry:
    """A box in pixels from the place's origin, as GeoJSON has it."""
    crs = CRS.from_epsg(CRS_OF.get(place, CRS_OF["utm"]))
    x, y = PLACES[place]
    projected = STGeometry(Projection(crs, 10, -10), shapely.box(x + x0, y + y0, x + x1, y + y1), None)
    shp = projected.to_projection(WGS84_PROJECTION).shp
    return normalise_lonlat(shp, "test")


def _labels_of(window: Any) -> dict[str, np.ndarray]:
    return {label.key: label.value for label in window.labels}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("width", "height"), [(8, 5), (5, 8)])
def test_a_task_of_whole_pixels_gives_exactly_these(make_task: MakeTask, place: str, width: int, height: int) -> None:
    task = make_task(
        (_lonlat(place, 0, 0, 3, 2), {"class": 4}),
        (_lonlat(place, 2, 1, 4, 4), {"class": 0, "other": 7}),
        area=_lonlat(place, 0, 0, width, height),
    )

    (window,) = PolygonToRasterWindowPreparer().prepare_labeled_windows(task)

    x, y = PLACES[place]
    assert window.projection.crs.to_epsg() == CRS_OF.get(place, CRS_OF["utm"])
    assert window.bounds == (x, y, x + width, y + height)
    assert window.name == f"task_{task.task_id}_cell_0"
    assert window.time_range == task.task_st_geometry.time_range
    classes, other = np.full((2, height, width), 255, dtype=np.uint8)
    classes[0:2, 0:3] = 4
    classes[1:4, 2:4] = 0
    other[1:4, 2:4] = 7
    labels = _labels_of(window)
    assert list(labels) == ["class", "other"]
    np.testing.assert_array_equal(labels["class"], classes)
    np.testing.assert_array_equal(labels["other"], other)
    assert labels["class"].dtype == np.uint8


def test_bounds_are_rounded_not_truncated(make_task: MakeTask) -> None:
    place = "just north of the equator"
    area = _lonlat(place, 0.6, -20.4, 9.7, -10.6)
    (window,) = PolygonToRasterWindowPreparer().prepare_labeled_windows(make_task((area, {"a": 1}), area=area))
    x, y = PLACES[place]
    assert window.bounds == (x + 1, y - 20, x + 10, y - 11)


def test_annotations_reach_over_the_task_and_are_cut(make_task: MakeTask) -> None:
    task = make_task((_lonlat("utm", -50, -50, 50, 2), {"a": 1}), area=_lonlat("utm", 0, 0, 4, 4))
    (window,) = PolygonToRasterWindowPreparer().prepare_labeled_windows(task)
    np.testing.assert_array_equal(_labels_of(window)["a"][:, 0], [1, 1, 255, 255])


def test_squares_are_numbered_by_place_and_empty_ones_left_out(make_task: MakeTask) -> None:
    # 11 x 7 pixels in squares of 3: two rows of three, a pixel is left on the left and two on the right, one below.
    annotation = _lonlat("utm", 4, 3, 9, 5)
    task = make_task((annotation, {"a": 6}), area=_lonlat("utm", 0, 0, 11, 7))
    preparer = PolygonToRasterWindowPreparer(nodata_value=9, grid_config=GridConfig(3))

    windows = preparer.prepare_labeled_windows(task)

    x, y = PLACES["utm"]
    assert {window.name.rsplit("_", 1)[1]: window.bounds for window in windows} == {
        "4": (x + 4, y + 3, x + 7, y + 6),
        "5": (x + 7, y + 3, x + 10, y + 6),
    }
    np.testing.assert_array_equal(_labels_of(windows[0])["a"], [[6, 6, 6], [6, 6, 6], [9, 9, 9]])
    np.testing.assert_array_equal(_labels_of(windows[1])["a"], [[6, 6, 9], [6, 6, 9], [9, 9, 9]])


def test_padded_squares_reach_beyond_the_task(make_task: MakeTask) -> None:
    task = make_task((_lonlat("utm", 3, 2, 20, 20), {"a": 6}), area=_lonlat("utm", 0, 0, 5, 4))
    grid = {"window_size_px": 3, "gridding_strategy": "pad_to_fill"}

    windows = PolygonToRasterWindowPreparer(grid_config=grid).prepare_labeled_windows(task)

    x, y = PLACES["utm"]
    n = 255
    assert [window.bounds for window in windows] == [(x + 3, y, x + 6, y + 3), (x + 3, y + 3, x + 6, y + 6)]
    assert [window.name.rsplit("_", 1)[1] for window in windows] == ["1", "3"]
    np.testing.assert_array_equal(_labels_of(windows[0])["a"], [[n, n, n], [n, n, n], [6, 6, n]])
    np.testing.assert_array_equal(_labels_of(windows[1])["a"], [[6, 6, n], [n, n, n], [n, n, n]])


def test_a_task_smaller_than_a_square_gives_none_or_a_padded_one(make_task: MakeTask) -> None:
    area = _lonlat("utm", 0, 0, 5, 4)
    task = make_task((area, {"a": 1}), area=area)
    cropped = PolygonToRasterWindowPreparer(grid_config=GridConfig(8))
    padded = PolygonToRasterWindowPreparer(grid_config=GridConfig(8, GriddingStrategy.PAD_TO_FILL))

    assert cropped.prepare_labeled_windows(task) == []
    (window,) = padded.prepare_labeled_windows(task)
    assert (_labels_of(window)["a"] == 1).sum() == 20


sizes = st.integers(1, 60)


@settings(max_examples=200)
@given(x0=st.integers(-100, 100), y0=st.integers(-100, 100), width=sizes, height=sizes, size=st.integers(1, 25))
def test_squares_are_disjoint_and_cover_what_they_should(x0: int, y0: int, width: int, height: int, size: int) -> None:
    bounds = (x0, y0, x0 + width, y0 + height)
    for strategy in GriddingStrategy:
        cells = grid_cells(bounds, GridConfig(size, strategy))
        covered = np.zeros((height + 2 * size, width + 2 * size), dtype=int)
        for left, top, right, bottom in cells:
            assert (right - left, bottom - top) == (size, size)
            covered[top - y0 : bottom - y0, left - x0 : right - x0] += 1
        assert covered.max(initial=0) <= 1
        inside = covered[:height, :width].sum()
        if strategy is GriddingStrategy.PAD_TO_FILL:
            assert inside == width * height
            assert len(cells) == -(-width // size) * -(-height // size)
            assert covered[0, 0] == 1
        else:
            assert inside == covered.sum() == (width // size) * (height // size) * size**2
            if cells:
                left, right = cells[0][0] - x0, x0 + width - cells[-1][2]
                assert 0 <= right - left <= 1
        assert cells == sorted(cells, key=lambda cell: (cell[1], cell[0]))


def test_a_task_across_zones_is_dropped_only_if_asked(make_task: MakeTask) -> None:
    area = shapely.box(11.9, 10, 12.2, 10.1)
    task = make_task((shapely.box(12.05, 10.02, 12.06, 10.04), {"a": 1}), area=area)

    (window,) = PolygonToRasterWindowPreparer(100).prepare_labeled_windows(task)
    assert window.projection.crs.to_epsg() == 32633
    assert PolygonToRasterWindowPreparer(100, drop_inconsistent_utm=True).prepare_labeled_windows(task) == []
    inside = make_task((shapely.box(12.05, 10.02, 12.06, 10.04), {"a": 1}), area=shapely.box(12.01, 10, 12.2, 10.1))
    assert len(PolygonToRasterWindowPreparer(100, drop_inconsistent_utm=True).prepare_labeled_windows(inside)) == 1


@pytest.mark.parametrize("place", ["antimeridian"])
def test_both_zones_of_a_task_at_the_antimeridian_count(make_task: MakeTask, place: str) -> None:
    area = _lonlat(place, 0, 0, 8, 6)
    assert area.geom_type == "MultiPolygon"
    task = make_task((area, {"a": 1}), area=area)
    assert PolygonToRasterWindowPreparer(drop_inconsistent_utm=True).prepare_labeled_windows(task) == []


def test_a_task_without_labelled_pixels_gives_no_window(make_task: MakeTask) -> None:
    area = _lonlat("utm", 0, 0, 4, 4)
    beside = make_task((_lonlat("utm", 6, 6, 8, 8), {"a": 1}), area=area)
    between_centres = make_task((_lonlat("utm", 1.6, 1.6, 2.4, 2.4), {"a": 1}), area=area)
    for task in (beside, between_centres, make_task(area=area)):
        assert PolygonToRasterWindowPreparer().prepare_labeled_windows(task) == []


def test_points_are_refused_by_task_and_number(make_task: MakeTask) -> None:
    task = make_task((shapely.box(0, 0, 1, 1), {"a": 1}), (shapely.Point(0, 0), {"a": 1}))
    with pytest.raises(InputFileError, match=rf"task {task.task_id}, annotation 1: .*found a Point"):
        PolygonToRasterWindowPreparer().prepare_labeled_windows(task)


@pytest.mark.parametrize(
    ("value", "message"),
    [(256, r"0\.\.255; found 256"), (1.5, r"found 1\.5"), (-1, "found -1")],
)
def test_values_that_are_no_classes_are_refused(make_task: MakeTask, value: float, message: str) -> None:
    task = make_task((_lonlat("utm", 0, 0, 2, 2), {"a": 1}), (_lonlat("utm", 0, 0, 2, 2), {"a": value, "b": 1}))
    with pytest.raises(InputFileError, match=rf"task {task.task_id}, annotation 1, label 'a': .*{message}"):
        PolygonToRasterWindowPreparer().prepare_labeled_windows(task)


def test_a_task_of_a_country_is_refused(make_task: MakeTask) -> None:
    task = make_task((shapely.box(12, 10, 13, 11), {"a": 1}), area=shapely.box(10, 8, 16, 14))
    with pytest.raises(GeometryError, match=rf"task {task.task_id}: An area of \d+ x \d+ pixels is too large"):
        PolygonToRasterWindowPreparer(window_resolution=1).prepare_labeled_windows(task)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"window_resolution": -10}, r"window_resolution: .*found -10"),
        ({"nodata_value": 256}, r"nodata_value: .*0\.\.255; found 256"),
        ({"nodata_value": -1}, r"nodata_value: .*found -1"),
        ({"grid_config": {"window_size_px": 0}}, r"grid_config\.window_size_px: .*at least 1; found 0"),
        ({"grid_config": {"window_size": 64}}, r"grid_config: .*window_size_px and.*found \{'window_size': 64\}"),
        ({"grid_config": {"window_size_px": 64, "x": 1}}, r"grid_config: .*found"),
        ({"grid_config": 64}, r"grid_config: .*found 64"),
        (
            {"grid_config": {"window_size_px": 64, "gridding_strategy": "crop"}},
            r"gridding_strategy: .*one of center_crop, pad_to_fill; found 'crop'",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PolygonToRasterWindowPreparer(**arguments)
