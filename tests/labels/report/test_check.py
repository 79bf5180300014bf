"""A clean set is good; each planted fault is found, with its numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import shapely
from planted_labels import LAT, Planted, clean, findings, place, windows_of
from rslearn.config import LayerConfig

from olmoearth_nb.labels import PointToRasterWindowPreparer, RandomDataSplitter, SpatialDataSplitter
from olmoearth_nb.labels.report import planned as planned_module
from olmoearth_nb.labels.report.balance import check_splits
from olmoearth_nb.labels.report.planned import plan_windows
from olmoearth_nb.legend import ClassEntry, ClassLegend, RangeLegend

CLASSES = ClassLegend("crop", 1, (ClassEntry(1, "rye", (1, 2, 3)), ClassEntry(2, "oats", (4, 5, 6))))
METRE = 1 / 111_200  # degrees of latitude


def catalogue(class_path: str = "planetary_computer.Sentinel2", **source: object) -> dict[str, LayerConfig]:
    config = {
        "type": "raster",
        "band_sets": [{"bands": ["B02"], "dtype": "uint16"}],
        "data_source": {"class_path": f"rslearn.data_sources.{class_path}", **source},
    }
    return {"s2": LayerConfig.model_validate(config)}


def test_a_clean_set_is_good(tmp_path: Path) -> None:
    request = [shapely.box(14.95, LAT - 0.05, 15.05, LAT + 0.05)]
    facts = clean().read(tmp_path)
    found = findings(
        facts, windows=True, fields={"crop": CLASSES}, layers=catalogue(), requests={"here": request}, nodata=255
    )
    assert {code: one.verdict for code, one in found.items() if one.verdict != "good"} == {}
    assert {"balance", "legend", "splits", "split-classes", "leakage", "time-imagery", "time-classes"} <= set(found)
    assert found["balance"].numbers["counts"] == {"rye": 50, "oats": 50}
    assert found["splits"].numbers == {"train": 60, "val": 20, "test": 20}
    assert found["extent"].numbers["requests"] == {"here": 1.0}
    # 0.18 degrees of either.
    assert found["extent"].numbers["hull_km2"] == pytest.approx(0.18 * 71.6 * 0.18 * 111.2, rel=0.01)
    assert found["density"].numbers["nearest_metres"] == pytest.approx(0.02 * 71_600, rel=0.01)


def beside(number: int, east: float, north: float) -> shapely.Point:
    """A place so many metres from a task's middle, about."""
    lon, lat = place(number)
    return shapely.Point(lon + east / 71_700, lat + north * METRE)


def square(number: int, east: float = 0, size: float = 200) -> shapely.Polygon:
    return shapely.box(*beside(number, east, 0).coords[0], *beside(number, east + size, size).coords[0])


def rare(planted: Planted) -> None:
    planted.label(3, 3, beside(3, 100, 0))


def null(planted: Planted) -> None:
    planted.label(3, None, beside(3, 100, 0))


def null_beside_another(planted: Planted) -> None:
    planted.label(3, None, beside(3, 100, 0), other=1)


def text(planted: Planted) -> None:
    planted.label(3, "rye", beside(3, 100, 0))


def no_geometry(planted: Planted) -> None:
    planted.label(3, 1, None)


def no_area(planted: Planted) -> None:
    planted.label(3, 1, shapely.Polygon([(15, 50), (15, 50.1), (15, 50)]))


def off_globe(planted: Planted) -> None:
    planted.label(3, 1, shapely.Point(500_000, 5_000_000))


def same_id(planted: Planted) -> None:
    planted.task(3)


def empty_task(planted: Planted) -> None:
    planted.task(100)


def unknown_task(planted: Planted) -> None:
    planted.label(777, 1, beside(3, 100, 0))


def outside(planted: Planted) -> None:
    planted.label(3, 1, beside(3, 600, 0))


def partly_outside(planted: Planted) -> None:
    planted.label(3, 2, square(3, east=300))


def duplicate(planted: Planted) -> None:
    planted.label(3, 2, shapely.Point(place(3)))


def overlap(planted: Planted) -> None:
    planted.label(3, 2, square(3, east=50))
    planted.label(3, 2, square(3, east=150))


def conflict(planted: Planted) -> None:
    planted.label(3, 1, square(3, east=50))
    planted.label(3, 2, square(3, east=150))


def points_of_one_pixel(planted: Planted) -> None:
    lon, lat = place(3)
    planted.label(3, 1, shapely.Point(lon + 1e-7, lat))


def point_in_polygon(planted: Planted) -> None:
    planted.label(3, 1, shapely.box(*beside(3, -50, -50).coords[0], *beside(3, 50, 50).coords[0]))


def bow_tie(planted: Planted) -> None:
    corners = [(50, 50), (150, 150), (150, 50), (50, 150)]
    planted.label(3, 1, shapely.Polygon([beside(3, *corner) for corner in corners]))


def tiny(planted: Planted) -> None:
    planted.label(3, 1, square(3, east=100, size=8))


def reversed_times(planted: Planted) -> None:
    planted.task(100, times=("2023-05-01T00:00:00Z", "2023-04-01T00:00:00Z"))
    planted.label(100, 1, shapely.Point(place(100)))


def no_time(planted: Planted) -> None:
    planted.task(100, times=("2023", "2023-04-01T00:00:00Z"))
    planted.label(100, 1, shapely.Point(place(100)))


def future(planted: Planted) -> None:
    planted.task(100, times=("2025-05-01T00:00:00Z", "2025-07-01T00:00:00Z"))
    planted.label(100, 1, shapely.Point(place(100)))


def long_time(planted: Planted) -> None:
    planted.task(100, times=("2022-05-01T00:00:00Z", "2023-05-01T00:00:00Z"))
    planted.label(100, 1, shapely.Point(place(100)))


def heap(planted: Planted) -> None:
    for step in range(110):
        planted.label(3, step % 2 + 1, beside(3, 20 * (step % 11) + 15, 20 * (step // 11) + 15))


@pytest.mark.parametrize(
    ("plant", "code", "verdict", "number", "count"),
    [
        (rare, "balance", "look", "rarest_share", 1 / 101),
        (null, "null-labels", "bad", "without_any", 1),
        (null_beside_another, "null-labels", "look", "null", {"crop": 1, "other": 100}),
        (text, "unreadable", "bad", "label", 1),
        (no_geometry, "unreadable", "bad", "geometry", 1),
        (no_area, "unreadable", "bad", "geometry", 1),
        (off_globe, "unreadable", "bad", "geometry", 1),
        (same_id, "unreadable", "bad", "same id", 1),
        (empty_task, "empty-tasks", "look", "empty", 1),
        (unknown_task, "unknown-tasks", "bad", "annotations", 1),
        (outside, "outside-tasks", "bad", "wholly", 1),
        (partly_outside, "outside-tasks", "look", "partly", 1),
        (duplicate, "duplicates", "look", "duplicates", 1),
        (overlap, "overlaps", "look", "pairs", 1),
        (conflict, "conflicts", "bad", "pairs", 1),
        (points_of_one_pixel, "conflicts", "bad", "pairs", 1),
        (point_in_polygon, "conflicts", "bad", "pairs", 1),
        (bow_tie, "geometries", "look", "repaired", 1),
        (tiny, "geometries", "look", "tiny", 1),
        (reversed_times, "time-order", "bad", "wrong", 1),
        (no_time, "time-order", "bad", "wrong", 1),
        (future, "time-order", "bad", "future", 1),
        (long_time, "time-lengths", "look", "most_days", 365.0),
        (heap, "density", "look", "annotations", 210),
    ],
)
def test_a_planted_fault_is_found(
    tmp_path: Path, plant: Callable[[Planted], None], code: str, verdict: str, number: str, count: object
) -> None:
    planted = clean()
    plant(planted)
    facts = planted.read(tmp_path)
    found = findings(facts)[code]
    assert (found.verdict, found.numbers[number]) == (verdict, pytest.approx(count))
    assert found.advice
    if found.where is not None:
        assert len(found.where) >= 1


def test_conflicts_say_where_and_how_much(tmp_path: Path) -> None:
    planted = clean()
    conflict(planted)
    found = findings(planted.read(tmp_path))["conflicts"]
    assert found.numbers["pixels"] == pytest.approx(100 * 200 / 100, rel=0.02)
    assert found.where is not None
    row = found.where.iloc[0]
    assert (row["feature"], row["other_feature"], row["label_crop"], row["other_crop"]) == (100, 101, 1, 2)


def test_what_changes_between_two_times_is_no_conflict(tmp_path: Path) -> None:
    planted = clean()
    planted.label(3, 1, square(3, east=50))
    planted.task(100, times=("2020-05-01T00:00:00Z", "2020-06-30T00:00:00Z"), shape=square(3, east=50))
    planted.label(100, 2, square(3, east=50))
    assert findings(planted.read(tmp_path))["conflicts"].verdict == "good"


def test_a_sliver_along_a_border_is_no_conflict(tmp_path: Path) -> None:
    planted = clean()
    planted.label(3, 1, square(3, east=50))
    planted.label(3, 2, square(3, east=247))  # 3 m wide, 200 m long: six pixels
    assert findings(planted.read(tmp_path))["conflicts"].verdict == "good"


def test_measurements_conflict_when_they_are_far_apart(tmp_path: Path) -> None:
    field = RangeLegend("crop", 1, 0, 3)
    planted = clean()
    points_of_one_pixel(planted)
    assert findings(planted.read(tmp_path), fields={"crop": field})["conflicts"].verdict == "bad"
    planted.annotations[-1]["properties"]["oe_labels"] = {"crop": 1.9}
    assert findings(planted.read(tmp_path), fields={"crop": field})["conflicts"].verdict == "good"


@pytest.mark.parametrize(("factor", "verdict"), [(0.0, "bad"), (1.0, "good")])
def test_distribution_of_measurements(tmp_path: Path, factor: float, verdict: str) -> None:
    planted = clean()
    for number, one in enumerate(planted.annotations):
        one["properties"]["oe_labels"] = {"crop": 1 + factor * number / 99}
    facts = planted.read(tmp_path)
    assert findings(facts, fields={"crop": RangeLegend("crop", 1, 0, 2)})["distribution"].verdict == verdict


def test_outliers_and_values_outside_the_range(tmp_path: Path) -> None:
    planted = clean()
    for number, one in enumerate(planted.annotations):
        one["properties"]["oe_labels"] = {"crop": number / 99}
    planted.annotations[7]["properties"]["oe_labels"] = {"crop": -9999}
    found = findings(planted.read(tmp_path), fields={"crop": RangeLegend("crop", 1, 0, 1)})
    assert (found["distribution"].verdict, found["distribution"].numbers["outliers"]) == ("look", 1)
    assert (found["legend"].verdict, found["legend"].numbers["values"]) == ("look", [-9999.0])


def test_values_that_the_legend_lacks_or_that_stand_for_nothing(tmp_path: Path) -> None:
    facts = clean().read(tmp_path)
    legend = ClassLegend("crop", 1, CLASSES.entries[:1])
    found = findings(facts, fields={"crop": legend})
    assert (found["legend"].verdict, found["legend"].numbers["outside"]) == ("look", 50)
    lost = findings(facts, fields={"crop": CLASSES}, nodata=2)
    assert (lost["legend"].verdict, lost["legend"].numbers["nodata"]) == ("bad", 50)
    assert lost["balance"].verdict == "bad"  # one class is left


def test_a_class_of_the_legend_that_nobody_labelled(tmp_path: Path) -> None:
    legend = ClassLegend("crop", 1, (*CLASSES.entries, ClassEntry(3, "maize", (7, 8, 9))))
    found = findings(clean().read(tmp_path), fields={"crop": legend})["balance"]
    assert (found.verdict, found.numbers["never_labelled"]) == ("look", ["maize"])


def test_a_request_beyond_the_annotations(tmp_path: Path) -> None:
    west, east = (shapely.box(lon, 49.95, lon + 0.05, 50.05) for lon in (14.95, 16.0))
    found = findings(clean().read(tmp_path), requests={"half": [west, east], "points": [shapely.Point(16, 50)]})
    assert found["extent"].verdict == "look"
    assert found["extent"].numbers["requests"] == pytest.approx({"half": 0.5, "points": 0.0}, abs=0.01)


def test_a_class_that_a_split_lacks(tmp_path: Path) -> None:
    planted = clean()
    for number in range(60):
        planted.annotations[number]["properties"]["oe_labels"] = {"crop": 1}
    found = findings(planted.read(tmp_path), windows=True)["split-classes"]
    assert (found.verdict, found.numbers["windows"]["train"]) == ("bad", {"1": 60, "2": 0})


def test_an_empty_split_and_one_without_windows(tmp_path: Path) -> None:
    facts = clean().read(tmp_path)
    windows = windows_of(facts)
    windows.table["split"] = "train"
    found = findings(facts)
    assert found["windows"].verdict == "bad"
    assert next(check_splits(windows, {})).verdict == "bad"


def local(folder: Path, **arguments: object) -> dict[str, LayerConfig]:
    init = {"src_dir": str(folder), "pattern": "*.tif", "time_pattern": r"_(?P<date>\d{8})", **arguments}
    config = {
        "type": "raster",
        "band_sets": [{"bands": ["B02"], "dtype": "uint16"}],
        "data_source": {"class_path": "olmoearth_nb.sources.LocalRasters", "init_args": init},
    }
    return {"own": LayerConfig.model_validate(config)}


@pytest.mark.parametrize(
    ("arguments", "verdict", "outside"),
    [
        ({}, "bad", 100),
        ({"times": {"b_20230401.tif": ["2020-01-01", "2020-02-01"]}}, "good", 0),
        ({"time_pattern": None}, "good", None),
        ({"pattern": "*.nc"}, "look", None),
        ({"time_pattern": r"(?P<date>b_)"}, "look", None),
    ],
)
def test_local_files_have_times(
    tmp_path: Path, arguments: dict[str, object], verdict: str, outside: int | None
) -> None:
    imagery = tmp_path / "imagery"
    imagery.mkdir()
    for name in ("a_20180401.tif", "b_20230401.tif"):
        (imagery / name).touch()  # never opened
    planted = clean()
    for task in planted.tasks:
        task["properties"].update(oe_start_time="2020-01-01T00:00:00Z", oe_end_time="2020-12-31T00:00:00Z")
    found = findings(planted.read(tmp_path), layers=local(imagery, **arguments))["time-imagery"]
    assert (found.verdict, found.numbers.get("outside")) == (verdict, outside)


# ---- times -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "times", "code", "verdict"),
    [
        (catalogue(), ("2014-01-01", "2014-12-31"), "time-imagery", "bad"),
        (catalogue(), ("2015-01-01", "2015-12-31"), "time-imagery", "look"),
        (catalogue("planetary_computer.Sentinel1"), ("2015-01-01", "2015-12-31"), "time-imagery", "good"),
        (catalogue("aws_landsat.LandsatOliTirs"), ("2012-01-01", "2012-12-31"), "time-imagery", "bad"),
        (catalogue("somebody.Else"), ("1950-01-01", "1950-12-31"), "time-imagery", "good"),
        (catalogue("local_files.LocalFiles"), ("1950-01-01", "1950-12-31"), "time-imagery", "good"),
        (catalogue(time_offset="-400d"), ("2016-01-01", "2016-03-31"), "time-imagery", "bad"),
        (catalogue(), ("2020-01-01T00:00:00", "2020-01-01T00:00:04"), "time-span", "look"),
        (
            catalogue(query_config={"space_mode": "MOSAIC", "period_duration": "30d", "max_matches": 12}),
            ("2020-01-01", "2020-12-31"),
            "time-span",
            "good",
        ),
        (
            catalogue(query_config={"space_mode": "MOSAIC", "period_duration": "30d", "max_matches": 12}),
            ("2020-01-01", "2020-07-01"),
            "time-span",
            "look",
        ),
        (
            catalogue(
                query_config={"space_mode": "MOSAIC", "period_duration": "30d", "max_matches": 12, "min_matches": 12}
            ),
            ("2020-01-01", "2020-07-01"),
            "time-span",
            "bad",
        ),
        (
            catalogue(
                query_config={"space_mode": "MOSAIC", "period_duration": "14d", "max_matches": 12, "min_matches": 12},
                duration="168d",
            ),
            ("2020-01-01", "2020-01-02"),
            "time-span",
            "good",
        ),
    ],
)
def test_times_and_imagery(
    tmp_path: Path, layers: dict[str, LayerConfig], times: tuple[str, str], code: str, verdict: str
) -> None:
    planted = Planted()
    for number in range(30):
        planted.task(number, times=[time if "T" in time else f"{time}T00:00:00Z" for time in times])
        planted.label(number, number % 2, shapely.Point(place(number)))
    assert findings(planted.read(tmp_path), layers=layers)[code].verdict == verdict


def test_classes_of_different_seasons(tmp_path: Path) -> None:
    planted = Planted()
    for number in range(40):
        month = "02" if number % 2 else "08"
        planted.task(number, times=(f"2023-{month}-01T00:00:00Z", f"2023-{month}-20T00:00:00Z"))
        planted.label(number, number % 2, shapely.Point(place(number)))
    found = findings(planted.read(tmp_path))["time-classes"]
    assert found.verdict == "look"
    assert found.numbers["cramers_v"] > 0.95
    assert "0 in 2023Q3, 1 in 2023Q1" in found.found


# ---- windows -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "splitter", [RandomDataSplitter(0.6, 0.2, 0.2, seed=3), SpatialDataSplitter(0.6, 0.2, 0.2, 400)]
)
def test_windows_planned_all_at_once_are_those_of_window_preparation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, splitter: object
) -> None:
    planted = clean()
    planted.label(3, 1, beside(3, 100, 0), other=7)
    tasks = planted.read(tmp_path).usable.tasks
    preparer = PointToRasterWindowPreparer(window_buffer=5, nodata_value=255)
    fast = plan_windows(tasks, sampler=None, preparer=preparer, splitter=splitter)  # type: ignore[arg-type]
    monkeypatch.setattr(planned_module, "_POINTS", ())
    slow = plan_windows(tasks, sampler=None, preparer=preparer, splitter=splitter)  # type: ignore[arg-type]
    assert fast.table.equals(slow.table)
    assert sorted(fast.labels.itertuples(index=False)) == sorted(slow.labels.itertuples(index=False))
    assert len(fast.table) == 101


def test_splits_of_the_scratch_count(tmp_path: Path) -> None:
    windows = windows_of(clean().read(tmp_path))
    names = windows.table["name"].tolist()
    kept = windows.with_splits({names[5]: "test", names[2]: "train"})
    assert kept.table[["name", "split"]].to_numpy().tolist() == [[names[2], "train"], [names[5], "test"]]
    assert kept.labels[["window", "value"]].to_numpy().tolist() == [[0, 1.0], [1, 2.0]]
