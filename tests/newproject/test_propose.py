from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import label_files
import numpy as np
import pandas as pd
import pytest
import shapely

from olmoearth_nb import propose_project
from olmoearth_nb.errors import InputFileError, UsageError


def year_of(frame: gpd.GeoDataFrame) -> set[tuple[int, int]]:
    proposal = propose_project(frame, task="segmentation", column="crop")
    starts, ends = proposal.annotations["start"], proposal.annotations["end"]
    return {(start.year, end.year) for start, end in zip(starts, ends, strict=True)}


@pytest.mark.parametrize(
    "dates",
    [
        ["2021-05-03"],
        ["2021-05-03T10:00:00Z"],
        ["03.05.2021"],
        ["2021/05/03"],
        [2021],
        [2021.0],
        ["2021"],
        [date(2021, 5, 3)],
        [datetime(2021, 5, 3, tzinfo=UTC)],
        [pd.Timestamp("2021-05-03")],
    ],
)
def test_a_label_gets_the_year_of_its_date(dates: list[Any]) -> None:
    assert year_of(label_files.points().assign(observed_date=dates * 60)) == {(2021, 2022)}


def test_labels_of_several_years_keep_them() -> None:
    frame = label_files.points(60).assign(year=[2019, 2020, 2021] * 20)
    assert year_of(frame) == {(2019, 2020), (2020, 2021), (2021, 2022)}


def test_labels_without_their_date_are_left_out_and_counted() -> None:
    frame = label_files.points().assign(date=["2021-05-03"] * 50 + [None] * 10)
    proposal = propose_project(frame, task="classification", column="crop")
    assert len(proposal.annotations) == 50
    assert sum(proposal.left_out.values()) == 10


def test_start_and_end_say_which_year() -> None:
    frame = label_files.points().assign(start=["2021-11-01"] * 60, end=["2022-06-01"] * 60, name="x")
    assert year_of(frame.rename(columns={"start": "start_date", "end": "end_date"})) == {(2022, 2023)}


def test_without_dates_it_is_the_last_full_year_and_says_so() -> None:
    proposal = propose_project(label_files.points(), task="segmentation")
    assert proposal.time_range[0].year == datetime.now(UTC).year - 1
    assert "start_time" in proposal.reasons["time"]


def test_a_given_time_goes_before_all() -> None:
    frame = label_files.points().assign(year=2019)
    proposal = propose_project(
        frame, task="segmentation", column="crop", start_time="2022-03-01", end_time="2022-09-01"
    )
    assert proposal.time_range == (datetime(2022, 3, 1, tzinfo=UTC), datetime(2022, 9, 1, tzinfo=UTC))


def mixed(count: int) -> gpd.GeoDataFrame:
    """Every kind of geometry, some of them none or broken."""
    rng = np.random.default_rng(0)
    shapes: list[Any] = []
    for index, (x, y) in enumerate(zip(rng.uniform(0, 6, count), rng.uniform(44, 48, count), strict=True)):
        point = shapely.Point(x, y)
        kinds = [
            point,
            shapely.LineString([(x, y), (x + 0.002, y + 0.001)]),
            shapely.box(x, y, x + 0.003, y + 0.002),
            shapely.GeometryCollection([point, shapely.box(x, y, x + 0.001, y + 0.001)]),
            shapely.Polygon([(x, y), (x + 0.001, y + 0.001), (x + 0.001, y), (x, y + 0.001)]),  # a bow tie
            shapely.MultiPoint([(x, y), (x + 0.01, y)]),
            shapely.Point(x, y, 120.0),
            None,
            shapely.Polygon(),
        ]
        shapes.append(kinds[index % len(kinds)])
    crops = rng.choice(["wheat", "maize", "grass"], count)
    return gpd.GeoDataFrame({"crop": crops}, geometry=shapes, crs=4326)


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_mixed_geometries_become_labels(task: str) -> None:
    proposal = propose_project(mixed(90), task=task)
    assert proposal.left_out == {"no geometry": 20}
    assert sum(one.count for one in proposal.classes) == 70
    assert any("mixed" in note for note in proposal.notes)
    kinds = {"Point"} if task == "classification" else {"Polygon", "MultiPolygon"}
    assert set(proposal.annotations.geom_type) <= kinds
    assert proposal.annotations.is_valid.all()


def test_labels_across_the_antimeridian_stay_where_they_are() -> None:
    shapes = [
        shapely.box(179.99 + 0.001 * index, -16.5 + 0.01 * index, 180.01, -16.49 + 0.01 * index) for index in range(8)
    ]
    frame = gpd.GeoDataFrame({"crop": ["wheat", "maize"] * 4}, geometry=shapes, crs=4326)
    areas = propose_project(frame, task="segmentation").annotations
    assert set(areas.geom_type) <= {"Polygon", "MultiPolygon"}
    assert areas.is_valid.all()
    # Half of them lie beyond 180°, none reaches around the globe.
    assert (areas.bounds["maxx"] - areas.bounds["minx"]).max() < 0.1


@pytest.mark.parametrize("task", ["segmentation", "classification"])
def test_null_classes_are_left_out_and_counted(task: str) -> None:
    frame = label_files.points()
    frame.loc[:9, "crop"] = None
    frame.loc[10:11, "crop"] = " "
    proposal = propose_project(frame, task=task)
    assert proposal.left_out == {"no label": 12}
    assert [one.name for one in proposal.classes] == ["field", "forest", "water"]


def test_only_null_classes() -> None:
    frame = label_files.points().assign(crop=None)
    with pytest.raises(InputFileError, match="crop"):
        propose_project(frame, task="segmentation", column="crop")


@pytest.mark.parametrize("numbers", [[1, 2, 5], [1.0, 2.0, 5.0], ["1", "2", "5"]])
def test_numeric_classes_keep_their_numbers(numbers: list[Any]) -> None:
    frame = label_files.points()
    frame["class"] = frame.pop("crop").map(dict(zip(("water", "forest", "field"), numbers, strict=True)))
    proposal = propose_project(frame, task="segmentation")
    values = [one.value for one in proposal.classes]
    assert values == ([1, 2, 5] if not isinstance(numbers[0], str) else [0, 1, 2])
    assert [one.name for one in proposal.classes] == ["1", "2", "5"]


def test_numbers_beyond_a_byte_are_counted_anew() -> None:
    frame = label_files.points()
    frame["class_code"] = frame.pop("crop").map({"water": 1000, "forest": 2000, "field": 3000})
    proposal = propose_project(frame, task="classification")
    assert [(one.value, one.name) for one in proposal.classes] == [(0, "1000"), (1, "2000"), (2, "3000")]


def test_a_number_and_a_name_of_the_same_classes_belong_together() -> None:
    frame = label_files.points()
    frame["crop_code"] = frame["crop"].map({"water": 3, "forest": 1, "field": 7})
    proposal = propose_project(frame, task="segmentation")
    assert [(one.value, one.name) for one in proposal.classes] == [(1, "forest"), (3, "water"), (7, "field")]


def test_two_candidates_are_asked_for() -> None:
    frame = label_files.points().assign(landcover=["a", "b", "c"] * 20)
    with pytest.raises(InputFileError, match=r"'crop'.*--class-column"):
        propose_project(frame, task="segmentation")
    assert propose_project(frame, task="segmentation", column="landcover").column == "landcover"


def test_classes_that_maps_know_have_their_colours() -> None:
    colors = {one.name: one.color for one in propose_project(label_files.points(), task="segmentation").classes}
    assert colors["water"][2] > colors["water"][0]
    assert colors["forest"][1] == max(colors["forest"])
    assert len(set(colors.values())) == 3


@pytest.mark.parametrize("task", ["regression", "per-pixel-regression"])
def test_values_have_a_range_and_a_scale(task: str) -> None:
    proposal = propose_project(label_files.points(), task=task)
    assert proposal.column == "height"
    assert proposal.reasons["column"] == "its name looks like that of values"
    assert proposal.values is not None
    assert proposal.values.low == pytest.approx(0, abs=1)
    assert 23 <= proposal.values.high <= 26
    assert proposal.values.scale == pytest.approx(0.1)


def test_a_value_that_is_no_number_is_named() -> None:
    frame = label_files.points().astype({"height": object})
    frame.loc[7, "height"] = "tall"
    with pytest.raises(InputFileError, match=r"row 7.*'tall'"):
        propose_project(frame, task="regression", column="height")


@pytest.mark.parametrize("task", label_files.TASKS)
def test_every_split_has_windows_and_training_every_class(task: str) -> None:
    split = propose_project(label_files.points(200), task=task).split
    assert all(count >= 1 for count in split.counts.values())


@pytest.mark.parametrize("seed", range(5))
def test_few_labels_are_divided_too(seed: int) -> None:
    proposal = propose_project(label_files.points(8, seed=seed), task="classification")
    assert sum(proposal.split.counts.values()) == 8
    assert min(proposal.split.counts.values()) >= 1


def test_too_few_labels_are_told() -> None:
    with pytest.raises(InputFileError, match="too few labels"):
        propose_project(label_files.points(60)[:2], task="segmentation", column="crop")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"task": "segment"}, "no such task"),
        ({"source": "sentinel3"}, "no such source"),
        ({"encoder": "resnet"}, "no such encoder"),
        ({"window_size": 10}, "multiple of 4"),
        ({"window_size": 0}, "window_size"),
        ({"epochs": 0}, "epochs"),
        ({"resolution": -1}, "resolution"),
        ({"start_time": "2024-01-01"}, "start and an end"),
        ({"start_time": "2024-01-01", "end_time": "2023-01-01"}, "ends before"),
        ({"start_time": "yesterday", "end_time": "2023-01-01"}, "Not a time"),
        ({"windowsize": 16}, "Did you mean 'window_size'"),
        ({"colors": {"swamp": "#000000"}}, "no such class"),
        ({"colors": {"water": "blue"}}, "no colour"),
        ({"split": (0.9, 0.2, 0.1)}, "(?i)split|sum|prop"),
        ({"split": "most"}, "split"),
        ({"grid_size": 1.5}, "grid_size"),
    ],
)
def test_wrong_arguments_are_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        propose_project(label_files.points(), **{"task": "segmentation", **wrong})


@pytest.mark.parametrize("column", ["crops", "geometry"])
def test_a_column_that_is_not_there_is_named(column: str) -> None:
    with pytest.raises(InputFileError, match="crop"):
        propose_project(label_files.points(), task="segmentation", column=column)


def test_rare_classes_are_those_that_are_left(tmp_path: Path) -> None:
    inside = label_files.points(60)
    outside = inside.assign(geometry=inside.translate(1, 0))
    frame = pd.concat([inside[inside["crop"] != "water"], inside[inside["crop"] == "water"][:4], outside])
    proposal = propose_project(frame, task="segmentation", source=label_files.scene_folder(tmp_path / "imagery"))
    assert proposal.left_out == {"outside the imagery": 60}
    assert {one.name: one.count for one in proposal.classes}["water"] == 4
    assert "'water' has only 4 features" in proposal.notes


def test_proposals_show_themselves() -> None:
    frame = label_files.points()
    frame["crop"] = frame["crop"].replace("water", "<b>water</b>")
    proposal = propose_project(frame, task="segmentation")
    assert "16 × 16 pixels" in repr(proposal)
    assert "<b>water" not in proposal._repr_html_()
    assert "&lt;b&gt;water" in proposal._repr_html_()
    assert proposal.to_dict()["task"] == "segmentation"
