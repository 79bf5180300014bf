import hashlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from rasterio.crs import CRS
from rslearn.utils.geometry import Projection, STGeometry

from olmoearth_nb.errors import ConfigError
from olmoearth_nb.labels import RandomDataSplitter, SpatialDataSplitter
from olmoearth_nb.types import DataSplitType, LabeledWindow, RasterLabel

UTM = Projection(CRS.from_epsg(32617), 10, -10)


def _window(name: str, x: int = 0, y: int = 0, projection: Projection = UTM) -> LabeledWindow[Any]:
    return LabeledWindow(
        name=name,
        st_geometry=STGeometry(projection, shapely.box(x, y, x + 1, y + 1), None),
        labels=[RasterLabel(key="label", value=np.zeros((1, 1), dtype=np.uint8))],
    )


def _hashed(text: str, train: float, val: float) -> str:
    fraction = int(hashlib.sha256(text.encode()).hexdigest(), 16) / 2**256
    return "train" if fraction < train else "val" if fraction < train + val else "test"


@given(st.permutations([f"window_{i}" for i in range(12)]), st.one_of(st.none(), st.integers()))
def test_a_random_split_depends_on_seed_and_name_only(names: list[str], seed: int | None) -> None:
    one = RandomDataSplitter(0.4, 0.3, 0.3, seed=seed)
    other = RandomDataSplitter(0.4, 0.3, 0.3, seed=seed)

    in_order = {name: one.choose_split_for_window(_window(name)) for name in sorted(names)}
    shuffled = {name: other.choose_split_for_window(_window(name, x=5)) for name in names}
    assert in_order == shuffled


def test_another_seed_makes_another_split() -> None:
    windows = [_window(f"w{i}") for i in range(100)]
    first, second = (
        [RandomDataSplitter(0.5, 0.5, 0, seed=seed).choose_split_for_window(window) for window in windows]
        for seed in (1, 2)
    )
    assert 20 < sum(a != b for a, b in zip(first, second, strict=True)) < 80


def test_proportions_come_out_about_right() -> None:
    splitter = RandomDataSplitter(0.7, 0.2, 0.1, seed=42)
    counts = Counter(splitter.choose_split_for_window(_window(f"task_{i}_point_0")) for i in range(4000))

    # Four standard deviations of a binomial of 4000.
    assert counts[DataSplitType.TRAIN] == pytest.approx(2800, abs=116)
    assert counts[DataSplitType.VAL] == pytest.approx(800, abs=101)
    assert counts[DataSplitType.TEST] == pytest.approx(400, abs=76)


@pytest.mark.parametrize(("props", "split"), [((1, 0, 0), "train"), ((0, 1, 0), "val"), ((0, 0, 1), "test")])
def test_a_proportion_of_one_takes_all(props: tuple[float, float, float], split: str) -> None:
    for splitter in (RandomDataSplitter(*props, seed=0), SpatialDataSplitter(*props, grid_size=8)):
        assert {splitter.choose_split_for_window(_window(f"w{i}", x=8 * i)).value for i in range(50)} == {split}


@pytest.mark.parametrize(
    ("grid_size", "x", "y", "cell"),
    [
        (128, 70743, -395209, "552_-3088"),
        (128.0, 70743, -395209, "552.0_-3088.0"),
        (100, -1, 99, "-1_0"),
        (100, -100, 100, "-1_1"),
    ],
)
def test_a_spatial_split_hashes_crs_and_cell(grid_size: float, x: int, y: int, cell: str) -> None:
    for train in np.linspace(0.05, 0.65, 7).tolist():
        splitter = SpatialDataSplitter(train, 0.3, 0.7 - train, grid_size=grid_size)
        expected = _hashed(f"EPSG:32617_{cell}", train, 0.3)
        assert splitter.choose_split_for_window(_window("any", x, y)).value == expected


@given(st.integers(-3000, 3000), st.integers(-3000, 3000), st.integers(1, 200))
def test_all_windows_of_a_cell_are_in_one_split(column: int, row: int, size: int) -> None:
    splitter = SpatialDataSplitter(0.4, 0.3, 0.3, grid_size=size)
    corners = [(column * size, row * size), ((column + 1) * size - 1, (row + 1) * size - 1)]
    assert len({splitter.choose_split_for_window(_window("w", x, y)) for x, y in corners}) == 1


def test_the_crs_is_part_of_the_cell() -> None:
    splitter = SpatialDataSplitter(0.5, 0.5, 0, grid_size=10)
    south = Projection(CRS.from_epsg(32717), 10, -10)
    pairs = [
        (
            splitter.choose_split_for_window(_window("w", 10 * i, 0)),
            splitter.choose_split_for_window(_window("w", 10 * i, 0, south)),
        )
        for i in range(64)
    ]
    assert 10 < sum(a != b for a, b in pairs) < 54


@pytest.mark.parametrize(
    ("props", "message"),
    [
        ((0.7, 0.2, 0.2), r"sum to 1\. Expected train_prop .* found 0.7 \+ 0.2 \+ 0.2 = 1.1"),
        ((1.2, -0.1, -0.1), r"train_prop: Not a proportion\. Expected a number 0\.\.1; found 1\.2"),
        ((0.8, -0.1, 0.3), r"val_prop: Not a proportion.*found -0\.1"),
        ((0.8, 0.1, "0.1"), r"test_prop: Not a proportion.*found '0\.1'"),
        ((float("nan"), 0.5, 0.5), r"train_prop: Not a proportion.*found nan"),
    ],
)
def test_proportions_that_make_no_split_are_refused(props: tuple[Any, Any, Any], message: str) -> None:
    with pytest.raises(ConfigError, match="RandomDataSplitter.*" + message):
        RandomDataSplitter(*props)
    with pytest.raises(ConfigError, match="SpatialDataSplitter.*" + message):
        SpatialDataSplitter(*props, grid_size=10)


def test_thirds_sum_to_one() -> None:
    assert RandomDataSplitter(0.333333, 0.333333, 0.333334).proportions == (0.333333, 0.333333, 0.333334)


@pytest.mark.parametrize("grid_size", [0, -5, "128", None, float("inf"), True])
def test_a_grid_without_size_is_refused(grid_size: Any) -> None:
    with pytest.raises(ConfigError, match=r"SpatialDataSplitter\.grid_size: .*above 0"):
        SpatialDataSplitter(0.8, 0.1, 0.1, grid_size=grid_size)
