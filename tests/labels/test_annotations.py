import json
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rslearn.utils.geometry import WGS84_PROJECTION, Projection, STGeometry

from olmoearth_nb.errors import InputFileError, MissingDependencyError, UsageError
from olmoearth_nb.labels import (
    AnnotationFiles,
    AnnotationTasks,
    PointToPixelWindowPreparer,
    PointToRasterWindowPreparer,
    PolygonToRasterWindowPreparer,
    make_annotations,
    read_annotation_tasks,
)

UTM = Projection(CRS.from_epsg(32633), 10, -10)
X, Y = 50000, -500000
TIMES = {"start_time": "2024-01-01", "end_time": "2024-02-01"}

Make = Callable[..., tuple[AnnotationFiles, AnnotationTasks]]


def _pixels(*xy: float) -> Any:
    """A point or box, in pixels of 10 m near 15° E, in degrees."""
    xy = tuple(value + (X, Y)[i % 2] for i, value in enumerate(xy))
    shp = shapely.Point(xy) if len(xy) == 2 else shapely.box(*xy)
    return STGeometry(UTM, shp, None).to_projection(WGS84_PROJECTION).shp


def _frame(geometries: list[Any], **columns: Any) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(columns, geometry=geometries, crs="EPSG:4326")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def make(source: Any, **options: Any) -> tuple[AnnotationFiles, AnnotationTasks]:
        files = make_annotations(source, tmp_path / "out", **{"class_column": "kind"} | TIMES | options)
        return files, read_annotation_tasks(files.tasks_path, files.annotations_path)

    return make


def _labels(tasks: AnnotationTasks) -> list[Any]:
    return [[annotation.labels for annotation in task.annotations] for task in tasks.tasks]


def test_points_become_tasks_of_their_pixel(make: Make) -> None:
    files, tasks = make(_frame([_pixels(2.3, 5.6), _pixels(2.9, 6.1)], kind=[7, 3]))

    assert _labels(tasks) == [[{"label": 7}], [{"label": 3}]]
    times = (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))
    assert tasks.tasks[0].task_st_geometry.time_range == times
    area = tasks.tasks[0].task_st_geometry
    assert area.to_projection(UTM).shp.bounds == pytest.approx((X + 2, Y + 5, X + 3, Y + 6), abs=1e-5)
    (window,) = PointToPixelWindowPreparer().prepare_labeled_windows(tasks.tasks[1])
    assert window.bounds == (X + 2, Y + 6, X + 3, Y + 7)
    assert (files.task_count, files.annotation_count, files.counts) == (2, 2, {3: 1, 7: 1})
    assert files.tasks_path.name == "annotation_task_features.geojson"
    assert files.annotations_path.name == "annotation_features.geojson"


def test_polygons_become_tasks_of_the_pixels_they_touch(make: Make) -> None:
    files, tasks = make(_frame([_pixels(2.2, 5, 6, 8.7)], kind=[4]))
    (window,) = PolygonToRasterWindowPreparer().prepare_labeled_windows(tasks.tasks[0])
    assert window.bounds == (X + 2, Y + 5, X + 6, Y + 9)
    assert (window.labels[0].value == 4).all()
    assert files.class_values == {}


@pytest.mark.parametrize(
    ("size", "bounds"), [(1, (2, 5, 3, 6)), (2, (2, 5, 4, 7)), (5, (0, 3, 5, 8)), (64, (-29, -26, 35, 38))]
)
def test_squares_of_pixels_around_a_point(make: Make, size: int, bounds: Any) -> None:
    _, tasks = make(_frame([_pixels(2.7, 5.6)], kind=[4]), task_size_pixels=size)
    # A polygon that covers everything: its window is the task.
    annotation = tasks.tasks[0].annotations[0]
    everything = type(annotation)(
        st_geometry=STGeometry(WGS84_PROJECTION, _pixels(-99, -99, 99, 99), None), labels={"label": 1}
    )
    tasks.tasks[0].annotations[:] = [everything]
    (window,) = PolygonToRasterWindowPreparer().prepare_labeled_windows(tasks.tasks[0])
    assert window.bounds == tuple(np.add(bounds, (X, Y, X, Y)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(lon=st.floats(-180, 180), lat=st.floats(-89.5, 89.5), size=st.integers(1, 40))
def test_squares_anywhere_on_the_globe(make: Make, lon: float, lat: float, size: int) -> None:
    polygon = shapely.Point(lon, lat).buffer(1e-3).intersection(shapely.box(-180, -90, 180, 90))
    _, tasks = make(_frame([polygon], kind=[4]), task_size_pixels=size)

    for window in PolygonToRasterWindowPreparer().prepare_labeled_windows(tasks.tasks[0]):
        x0, y0, x1, y1 = window.bounds
        assert (x1 - x0, y1 - y0) == (size, size)
        assert set(np.unique(window.labels[0].value)) <= {4, 255}


def test_a_polygon_across_the_antimeridian_stays_one(make: Make) -> None:
    projection = Projection(CRS.from_epsg(3832), 1, -1)
    x, y = STGeometry(WGS84_PROJECTION, shapely.Point(180, 10), None).to_projection(projection).shp.coords[0]
    box = shapely.transform(shapely.box(x - 100, y - 100, x + 100, y + 100), lambda xy: xy * (1, -1))
    _, tasks = make(gpd.GeoDataFrame({"kind": [2]}, geometry=[box], crs="EPSG:3832"), task_size_pixels=32)

    assert tasks.tasks[0].task_st_geometry.shp.geom_type == "MultiPolygon"
    assert np.abs(shapely.get_coordinates(tasks.tasks[0].task_st_geometry.shp)[:, 0]).max() <= 180
    (window,) = PolygonToRasterWindowPreparer().prepare_labeled_windows(tasks.tasks[0])
    labelled = window.labels[0].value == 2
    # 200 m of Mercator are some 197 m at 10° north.
    assert labelled.sum() == pytest.approx(19.7**2, rel=0.1)
    assert window.bounds[2] - window.bounds[0] == 32


def test_features_of_one_value_share_a_task(make: Make) -> None:
    boxes = [_pixels(0, 0, 2, 2), _pixels(50, 50, 52, 51), _pixels(5, 3, 8, 9), _pixels(1, 1, 2, 2)]
    files, tasks = make(_frame(boxes, kind=[1, 2, 3, 4], field=["a", "b", "a", None]), task_column="field")

    assert _labels(tasks) == [[{"label": 1}, {"label": 3}], [{"label": 2}]]
    assert files.left_out == {"no task": 1}
    windows = [PolygonToRasterWindowPreparer().prepare_labeled_windows(task)[0] for task in tasks.tasks]
    assert windows[0].bounds == (X, Y, X + 8, Y + 9)
    assert windows[1].bounds == (X + 50, Y + 50, X + 52, Y + 51)


def test_groups_are_named_by_numbers_too(make: Make) -> None:
    points = [_pixels(i, 0) for i in range(3)]
    _, tasks = make(_frame(points, kind=[1, 2, 3], plot=[1.0, np.nan, 1.0]), task_column="plot")
    assert _labels(tasks) == [[{"label": 1}, {"label": 3}]]


@pytest.mark.parametrize("as_text", [False, True])
def test_a_second_geometry_column_is_the_tasks(make: Make, as_text: bool) -> None:
    areas = gpd.GeoSeries([_pixels(0, 0, 9, 5), _pixels(0, 0, 9, 5), None, _pixels(7, 7, 9, 9)], crs=4326)
    frame = _frame([_pixels(i, 1) for i in range(4)], kind=[1, 2, 3, 4])
    frame["area"] = areas.to_wkt() if as_text else areas

    files, tasks = make(frame, task_column="area")

    assert _labels(tasks) == [[{"label": 1}, {"label": 2}], [{"label": 4}]]
    assert tasks.tasks[0].task_st_geometry.shp.equals_exact(areas[0], 1e-5 if as_text else 1e-12)
    assert files.left_out == {"no task": 1}


def test_a_second_geometry_column_has_a_crs_of_its_own(make: Make) -> None:
    frame = _frame([_pixels(1, 1)], kind=[1])
    frame["area"] = gpd.GeoSeries([_pixels(0, 0, 9, 5)], crs=4326).to_crs(3857)
    _, tasks = make(frame, task_column="area")
    assert tasks.tasks[0].task_st_geometry.shp.equals_exact(_pixels(0, 0, 9, 5), 1e-9)


def test_names_get_numbers_in_order(make: Make) -> None:
    files, tasks = make(_frame([_pixels(i, 0) for i in range(4)], kind=["water", "crop", "water", "forest"]))
    assert files.class_values == {"crop": 0, "forest": 1, "water": 2}
    assert _labels(tasks) == [[{"label": 2}], [{"label": 0}], [{"label": 2}], [{"label": 1}]]
    assert [line.split() for line in str(files).splitlines()[-3:]] == [
        ["crop", "0", "1"],
        ["forest", "1", "1"],
        ["water", "2", "2"],
    ]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([1, 2], [1, 2]),
        ([1.0, None], [1]),
        ([0.5, 2.0], [0.5, 2]),
        (pd.array([3, None], dtype="Int64"), [3]),
        ([True, False], [1, 0]),
        (["a", " "], [0]),
        (pd.Categorical(["b", None]), [0]),
        (["10", "9"], [0, 1]),
    ],
)
def test_kinds_of_class_columns(make: Make, cells: Any, expected: list[float]) -> None:
    files, tasks = make(_frame([_pixels(0, 0), _pixels(1, 0)], kind=cells))
    values = [annotations[0]["label"] for annotations in _labels(tasks)]
    assert values == expected
    assert [type(value) for value in values] == [type(value) for value in expected]
    assert files.left_out == ({"no class": 1} if len(expected) == 1 else {})


def test_class_values_are_used_for_names_and_numbers(make: Make) -> None:
    frame = _frame([_pixels(i, 0) for i in range(3)], kind=["water", "crop", None])
    files, tasks = make(frame, class_values={"crop": 5, "water": 9, "ice": 1}, label_name="cover")
    assert _labels(tasks) == [[{"cover": 9}], [{"cover": 5}]]
    assert files.class_values == {"crop": 5, "water": 9, "ice": 1}

    _, tasks = make(_frame([_pixels(0, 0), _pixels(1, 0)], kind=[111.0, 512]), class_values={"111": 0, 512: 1})
    assert _labels(tasks) == [[{"label": 0}], [{"label": 1}]]


@pytest.mark.parametrize(
    ("cells", "options", "message"),
    [
        ([1, 2, "crop"], {}, r"column 'kind', row 2: .*both numbers and names.*numbers, as in.*found 'crop'"),
        (["1", "2", "crop"], {}, r"row 2: .*found 'crop'"),
        (["a", "b", "3"], {}, r"row 2: .*names, as in the other rows; found '3'"),
        ([1, 2, float("inf")], {}, r"row 2: Not a class.*found inf"),
        ([1, 2, date(2024, 1, 1)], {}, r"row 2: Not a class.*number or a name"),
        (["a", "b", "c"], {"class_values": {"a": 1}}, r"2 classes have no number.*found 'b' \(row 1\), 'c' \(row 2\)"),
    ],
)
def test_cells_that_are_no_classes_are_refused_by_row(make: Make, cells: Any, options: Any, message: str) -> None:
    frame = _frame([_pixels(i, 0) for i in range(3)])
    frame["kind"] = pd.Series(cells, dtype=object)
    with pytest.raises(InputFileError, match=message):
        make(frame, **options)


def test_missing_geometries_and_classes_are_counted(make: Make) -> None:
    frame = _frame([None, shapely.Point(), _pixels(0, 0), _pixels(1, 1)], kind=[1, 2, 3, None])
    files, tasks = make(frame)
    assert _labels(tasks) == [[{"label": 3}]]
    assert files.left_out == {"no geometry": 2, "no class": 1}
    assert "2 left out (no geometry), 1 left out (no class)" in files._repr_html_()


def test_nothing_left_is_an_error(make: Make) -> None:
    with pytest.raises(InputFileError, match=r"No feature can be used\. Found 1 with no class"):
        make(_frame([_pixels(0, 0)], kind=[None]))
    with pytest.raises(InputFileError, match="no features at all"):
        make(_frame([], kind=[]))


def test_shapes_are_made_fit(make: Make) -> None:
    bow_tie = shapely.Polygon([(15, 10), (15.01, 10.01), (15.01, 10), (15, 10.01)])
    multi = shapely.MultiPoint([_pixels(0, 0), _pixels(3, 3)])
    high = shapely.Point(15, 10, 350)
    files, tasks = make(_frame([bow_tie, multi, high], kind=[1, 2, 3]))

    shapes = [annotation.st_geometry.shp for task in tasks.tasks for annotation in task.annotations]
    assert [shp.geom_type for shp in shapes] == ["MultiPolygon", "Point", "Point", "Point"]
    assert shapes[0].is_valid
    assert not shapes[3].has_z
    assert (files.task_count, files.annotation_count, files.counts) == (3, 4, {1: 1, 2: 2, 3: 1})
    assert len(PointToRasterWindowPreparer(2).prepare_labeled_windows(tasks.tasks[1])) == 2


def test_the_same_content_gives_the_same_bytes(make: Make, tmp_path: Path) -> None:
    frame = _frame([_pixels(0, 0), _pixels(0.2, 0.2), _pixels(9, 9, 12, 12)], kind=["a", "b", "a"])
    files, tasks = make(frame, task_size_pixels=8)
    again = make_annotations(frame.copy(), tmp_path / "again", class_column="kind", task_size_pixels=8, **TIMES)
    assert files.tasks_path.read_bytes() == again.tasks_path.read_bytes()
    assert files.annotations_path.read_bytes() == again.annotations_path.read_bytes()
    assert sorted(path.name for path in (tmp_path / "again").iterdir()) == [
        "annotation_features.geojson",
        "annotation_task_features.geojson",
    ]

    # The two points in one pixel share a task; order does not matter for its id, the time does.
    ids = {task.task_id for task in tasks.tasks}
    assert len(ids) == 2
    assert all(task_id.version == 5 for task_id in ids)
    _, turned = make(frame.iloc[::-1], task_size_pixels=8)
    assert {task.task_id for task in turned.tasks} == ids
    _, later = make(frame, task_size_pixels=8, end_time="2024-03-01")
    assert ids.isdisjoint(task.task_id for task in later.tasks)


def test_files_are_plain_geojson_with_the_names_of_the_format(make: Make) -> None:
    files, _ = make(_frame([_pixels(0, 0)], kind=[1]))
    (task,) = json.loads(files.tasks_path.read_text())["features"]
    (annotation,) = json.loads(files.annotations_path.read_text())["features"]
    assert set(task["properties"]) == {"oe_annotations_task_id", "oe_start_time", "oe_end_time"}
    assert annotation["properties"]["oe_labels"] == {"label": 1}
    assert uuid.UUID(annotation["properties"]["oe_annotations_task_id"]) == uuid.UUID(
        task["properties"]["oe_annotations_task_id"]
    )


@pytest.mark.parametrize("name", ["a.geojson", "a.gpkg", "a.shp", "a.shp.zip", "a.fgb"])
def test_vector_files_of_many_kinds(make: Make, tmp_path: Path, name: str) -> None:
    frame = _frame([_pixels(2, 2, 4, 4), _pixels(5, 5, 9, 6)], kind=["crop", "water"])
    path = tmp_path / name
    frame.to_crs(4326 if name.endswith("json") else 32633).to_file(path)

    files, tasks = make(path)

    assert files.class_values == {"crop": 0, "water": 1}
    assert tasks.tasks[0].annotations[0].st_geometry.shp.equals_exact(frame.geometry[0], 1e-9) or name == "a.fgb"
    bounds = {PolygonToRasterWindowPreparer().prepare_labeled_windows(task)[0].bounds for task in tasks.tasks}
    assert bounds == {(X + 2, Y + 2, X + 4, Y + 4), (X + 5, Y + 5, X + 9, Y + 6)}


def test_geoparquet(make: Make, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = _frame([_pixels(2, 2)], kind=[4])
    frame["area"] = gpd.GeoSeries([_pixels(0, 0, 9, 5)], crs=4326)
    frame.to_parquet(tmp_path / "a.parquet")
    _, tasks = make(tmp_path / "a.parquet", task_column="area")
    assert tasks.tasks[0].task_st_geometry.shp.equals_exact(_pixels(0, 0, 9, 5), 1e-9)


def test_geoparquet_without_pyarrow_says_what_to_install(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="pip install pyarrow"):
        make(tmp_path / "a.parquet")


def test_layers(make: Make, tmp_path: Path) -> None:
    path = tmp_path / "a.gpkg"
    _frame([_pixels(0, 0)], kind=[1]).to_file(path, layer="first")
    _frame([_pixels(0, 0)], kind=[2]).to_file(path, layer="second")
    with pytest.raises(InputFileError, match=r"several layers\. Expected layer to be one of \['first', 'second'\]"):
        make(path)
    with pytest.raises(InputFileError, match=r"no such layer.*found 'third'"):
        make(path, layer="third")
    assert make(path, layer="second")[0].counts == {2: 1}


def test_a_source_without_crs_needs_one(make: Make, tmp_path: Path) -> None:
    frame = _frame([_pixels(2, 2)], kind=[4]).to_crs(32633).set_crs(None, allow_override=True)
    with pytest.raises(InputFileError, match=r'does not say which.*crs="EPSG'):
        make(frame)
    _, tasks = make(frame, crs="EPSG:32633")
    assert tasks.tasks[0].annotations[0].st_geometry.shp.distance(_pixels(2, 2)) < 1e-9
    with pytest.raises(InputFileError, match=r"row 0.*not on the globe"):
        make(frame, crs=4326)
    with pytest.raises(UsageError, match="'EPSG:0' is unknown"):
        make(frame, crs="EPSG:0")


def test_a_crs_that_contradicts_the_file_is_refused(make: Make) -> None:
    frame = _frame([_pixels(2, 2)], kind=[4])
    assert make(frame, crs="OGC:CRS84")[0].annotation_count == 1
    with pytest.raises(UsageError, match=r"crs: The file has a coordinate reference system of its own.*EPSG:3857"):
        make(frame, crs=3857)


def test_files_that_can_not_be_read_are_named(make: Make, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"b\.gpkg: The vector file is missing"):
        make(tmp_path / "b.gpkg")
    (tmp_path / "c.gpkg").write_text("no")
    with pytest.raises(InputFileError, match=r"c\.gpkg: The vector file can't be read"):
        make(tmp_path / "c.gpkg")
    (tmp_path / "d.csv").write_text("kind,x\n1,2\n")
    with pytest.raises(InputFileError, match=r"d\.csv: There is no geometry"):
        make(tmp_path / "d.csv")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"class_column": "clas"},
            InputFileError,
            r"class_column\): There is no column 'clas'\. Expected one of 'kind'",
        ),
        ({"task_column": "tsk"}, InputFileError, r"task_column\): There is no column 'tsk'"),
        ({"task_column": "kind", "task_size_pixels": 3}, UsageError, "not both"),
        ({"task_size_pixels": 0}, UsageError, r"task_size_pixels: .*at least 1; found 0"),
        ({"task_size_pixels": 2.5}, UsageError, r"task_size_pixels: .*found 2\.5"),
        ({"resolution": 0}, UsageError, r"resolution: .*above 0"),
        ({"start_time": "2024-13-01"}, UsageError, r"start_time: Not a time.*found '2024-13-01'"),
        ({"start_time": "2025-01-01"}, UsageError, r"ends before it starts.*found 2025-01-01T"),
        ({"class_values": {1: "one"}}, UsageError, r"class_values\[1\]: .*found 'one'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(make: Make, options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make(_frame([_pixels(0, 0)], kind=[1]), **options)


@pytest.mark.parametrize(
    "start", [date(2024, 1, 1), datetime(2024, 1, 1), "2024-01-01T02:00:00+02:00", pd.Timestamp("2024-01-01")]
)
def test_times_of_many_kinds(make: Make, start: Any) -> None:
    _, tasks = make(_frame([_pixels(0, 0)], kind=[1]), start_time=start)
    assert tasks.tasks[0].task_st_geometry.time_range[0] == datetime(2024, 1, 1, tzinfo=UTC)


def test_tasks_that_can_not_be_areas_are_refused_by_name(make: Make) -> None:
    frame = _frame([_pixels(0, 0), _pixels(1, 0)], kind=[1, 2])
    frame["area"] = gpd.GeoSeries([_pixels(0, 0, 2, 2), _pixels(0, 0)], crs=4326)
    with pytest.raises(InputFileError, match=r"column 'area', row 1: The area of a task is not a polygon.*a Point"):
        make(frame, task_column="area")
    frame["area"] = ["POLYGON ((0 0, 1 0, 1 1, 0 0))", "POLYGON ((0 0, 1"]
    with pytest.raises(InputFileError, match=r"column 'area', row 1: The text is not WKT"):
        make(frame, task_column="area")
    far = _frame([shapely.Point(0, 0), shapely.Point(175, 0)], kind=[1, 2], field=["all", "all"])
    with pytest.raises(InputFileError, match=r"task 'all': .*too large for one projection"):
        make(far, task_column="field")


def test_many_different_values_show_as_a_range(make: Make) -> None:
    files, _ = make(_frame([_pixels(i, 0) for i in range(50)], kind=[i + 0.5 for i in range(50)]))
    assert str(files).splitlines()[-1].split() == ["label", "0.5", "…", "49.5", "50"]


def test_a_ring_is_a_line(make: Make) -> None:
    ring = shapely.LinearRing(_pixels(0, 0, 3, 2).exterior.coords)
    files, tasks = make(_frame([ring], kind=["edge"]))
    assert files.annotation_count == 1
    assert tasks.tasks[0].annotations[0].st_geometry.shp.geom_type == "LineString"


def test_spaces_around_a_class_make_no_other_class(make: Make) -> None:
    frame = _frame([_pixels(i, 0) for i in range(3)], kind=["wood", " wood", "wood "])
    assert make(frame)[0].class_values == {"wood": 0}
    assert make(frame, class_values={"wood ": 4})[0].counts == {4: 3}


def test_places_that_a_crs_does_not_reach_are_named(make: Make) -> None:
    frame = gpd.GeoDataFrame({"kind": [1, 2]}, geometry=gpd.points_from_xy([5e5, 9e9], [5e6, 9e9]), crs=32632)
    with pytest.raises(InputFileError, match=r"row 1: .*no longitude and latitude.*UTM zone 32N; found bounds"):
        make(frame)


def test_a_crs_without_a_place_on_the_globe(make: Make) -> None:
    frame = _frame([_pixels(0, 0)], kind=[1]).set_crs('LOCAL_CS["site",UNIT["metre",1]]', allow_override=True)
    with pytest.raises(InputFileError, match=r"can't be converted.*Export them in a CRS of the globe"):
        make(frame)


@pytest.mark.parametrize("size", [None, 3])
def test_a_bow_tie_in_a_collection_is_where_it_is(make: Make, size: int | None) -> None:
    # Its two halves cancel out: of this one GEOS computes a centroid far off the globe.
    corners = [(0, 0), (4, 4), (4, 0), (0, 4)]
    tie = shapely.Polygon([_pixels(x, y).coords[0] for x, y in corners])
    assert not tie.is_valid
    frame = _frame([shapely.GeometryCollection([tie])], kind=[1]).to_crs(3035)
    _, tasks = make(frame, task_size_pixels=size)
    (task,) = tasks.tasks
    shp = task.annotations[0].st_geometry.shp
    assert shp.is_valid
    assert task.task_st_geometry.shp.distance(shp) == 0
