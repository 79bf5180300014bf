"""Distances between splits against all pairs; across zones, at 180° and near a pole."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod
from rasterio.crs import CRS
from rslearn.utils.geometry import Projection

from olmoearth_nb.geometry import wgs84_outlines
from olmoearth_nb.globe import utm_projection_for
from olmoearth_nb.labels.report.leakage import check_leakage, check_task_splits, nearest_in_training
from olmoearth_nb.labels.report.planned import SplitWindows

ZONE = Projection(CRS.from_epsg(32633), 10, -10)
Box = tuple[int, int, int, int]


def windows(*given: tuple[str, Projection, Box], task: str = "") -> SplitWindows:
    outlines = [wgs84_outlines(projection, np.array([box], dtype=float))[0] for _, projection, box in given]
    data = {
        "name": [f"w{index}" for index in range(len(given))],
        "split": [split for split, _, _ in given],
        "task": [task or str(index) for index in range(len(given))],
        "width_m": [10.0 * max(box[2] - box[0], box[3] - box[1]) for _, _, box in given],
        "pixel_m": [10.0] * len(given),
    }
    labels = pd.DataFrame(columns=["window", "label", "value", "pixels"])
    return SplitWindows(table=gpd.GeoDataFrame(data, geometry=outlines, crs=4326), labels=labels)


def in_zone(split: str, x: int, y: int, size: int = 32) -> tuple[str, Projection, Box]:
    # The middle of the zone, 50° N.
    return split, ZONE, (50_000 + x, -554_000 + y, 50_000 + x + size, -554_000 + y + size)


@given(
    boxes=st.lists(
        st.tuples(st.sampled_from(["train", "val", "test"]), st.integers(-300, 300), st.integers(-300, 300)),
        min_size=2,
        max_size=25,
    ),
    size=st.sampled_from([1, 5, 32]),
)
@settings(max_examples=40, deadline=None)
def test_nearest_is_that_of_all_pairs(boxes: list[tuple[str, int, int]], size: int) -> None:
    made = [in_zone(*box, size=size) for box in boxes]
    found = nearest_in_training(windows(*made))
    train = [shapely.box(*box) for split, _, box in made if split == "train"]
    asked = [shapely.box(*box) for split, _, box in made if split != "train"]
    if not train or not asked:
        assert not len(found)
        return
    # The zone is 0.04 % smaller than the ground in its middle.
    metres = [min(shapely.distance(one, other) for other in train) * 10 / 0.9996 for one in asked]
    shared = [max(shapely.intersection(one, other).area for other in train) >= 1 for one in asked]
    assert found["metres"].tolist() == pytest.approx(metres, rel=1e-4, abs=0.05)
    assert found["shared"].tolist() == shared


def test_shared_pixels_are_bad_and_neighbours_worth_a_look() -> None:
    train = in_zone("train", 0, 0)
    for x, verdict in ((31, "bad"), (32, "look"), (63, "look"), (64 + 1, "good")):
        finding = next(check_leakage(windows(train, in_zone("test", x, 0))))
        assert finding.verdict == verdict, x
        assert finding.numbers["test"]["sharing"] == (x == 31)
        assert (finding.where is None) == (verdict == "good")
    tiny = next(check_leakage(windows(in_zone("train", 0, 0, 1), in_zone("val", 9, 0, 1))))
    assert (tiny.verdict, tiny.numbers["val"]["near"]) == ("look", 1)


@pytest.mark.parametrize(
    ("lon", "lat", "east"),
    [
        (12.0, 48.0, 0.002),  # between zones 32632 and 32633
        (180.0, -16.0, 0.002),
        (30.0, 0.0, 0.002),  # zones 32635 and 32636, on the equator
        (40.0, 83.9, 0.02),
        (17.0, 84.05, 0.02),  # UPS
        (-70.0, -85.0, 0.03),
    ],
)
def test_metres_across_zones_and_near_poles(lon: float, lat: float, east: float) -> None:
    """Single pixels on both sides of a line, so that distances of edges are those of centres less a pixel, about."""
    places = [(lon - east, lat), (lon + east - 360 * (lon + east > 180), lat)]
    made = []
    for split, (x, y) in zip(("train", "test"), places, strict=True):
        point = shapely.Point(x, y)
        projection = utm_projection_for(point, 10, -10)
        ends = gpd.GeoSeries([point], crs=4326).to_crs(projection.crs.to_wkt())[0]
        column, row = int(np.floor(ends.x / 10)), int(np.floor(ends.y / -10))
        made.append((split, projection, (column, row, column + 1, row + 1)))
    metres = Geod(ellps="WGS84").inv(*places[0], *places[1])[2]
    found = nearest_in_training(windows(*made))
    assert found["metres"].iloc[0] == pytest.approx(metres, abs=20)
    assert not found["shared"].iloc[0]


def test_windows_of_two_zones_that_share_ground() -> None:
    point = shapely.Point(12.0, 48.0)
    made = []
    for split, code in (("train", 32632), ("val", 32633)):
        ends = gpd.GeoSeries([point], crs=4326).to_crs(code)[0]
        column, row = int(ends.x // 10), int(-ends.y // 10)
        made.append((split, Projection(CRS.from_epsg(code), 10, -10), (column - 5, row - 5, column + 5, row + 5)))
    found = nearest_in_training(windows(*made))
    assert found[["metres", "shared"]].to_numpy().tolist() == [[0.0, True]]


def test_far_away_counts_from_centre_to_centre() -> None:
    far = Projection(CRS.from_epsg(32636), 10, -10)
    made = windows(in_zone("train", 0, 0), ("test", far, (50_000, -554_000, 50_032, -553_968)))
    # 18 degrees of longitude at 50° N.
    assert nearest_in_training(made)["metres"].iloc[0] == pytest.approx(1_285_000, rel=0.01)


def test_tasks_in_several_splits() -> None:
    several = windows(in_zone("train", 0, 0), in_zone("test", 500, 0), task="a")
    assert (check_task_splits(several).verdict, check_task_splits(several).numbers["tasks"]) == ("look", 1)
    assert check_task_splits(windows(in_zone("train", 0, 0), in_zone("test", 500, 0))).verdict == "good"
