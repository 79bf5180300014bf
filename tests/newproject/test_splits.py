from __future__ import annotations

import numpy as np
import pytest

from olmoearth_nb.labels.splitting import SpatialDataSplitter
from olmoearth_nb.newproject.splits import WindowPlace, choose_split, split_with

SIZE, SHARES = 16, (0.7, 0.15, 0.15)


def scattered(count: int, *, rare: int, seed: int) -> list[WindowPlace]:
    """Windows in a square of 64 x 64 cells: one of three classes, or a fourth in some of them."""
    rng = np.random.default_rng(seed)
    labels = np.where(np.arange(count) < rare, 3, rng.integers(0, 3, count))
    places = rng.choice(64 * 64, count, replace=False)
    return [
        WindowPlace(crs="EPSG:32631", x=int(at % 64) * SIZE, y=int(at // 64) * SIZE, labels=frozenset([int(one)]))
        for at, one in zip(places, labels, strict=True)
    ]


def classes_of(windows: list[WindowPlace], grid_size: int) -> dict[str, set[int]]:
    splitter = SpatialDataSplitter(*SHARES, grid_size=grid_size)
    found: dict[str, set[int]] = {"train": set(), "val": set(), "test": set()}
    for one in windows:
        found[splitter.split_at(one.crs, one.x, one.y).value] |= one.labels
    return found


@pytest.mark.parametrize("seed", range(8))
def test_every_split_has_every_class_if_that_can_be(seed: int) -> None:
    windows = scattered(300, rare=6, seed=seed)
    split = choose_split(windows, size=SIZE, shares=None, where="labels")
    assert set(map(len, classes_of(windows, split.grid_size).values())) == {4}
    assert min(split.counts.values()) >= 0.07 * 300


@pytest.mark.parametrize("seed", range(4))
def test_a_class_of_two_windows_is_learnt_and_nothing_else_is_lost(seed: int) -> None:
    windows = scattered(300, rare=2, seed=seed)
    found = classes_of(windows, choose_split(windows, size=SIZE, shares=None, where="labels").grid_size)
    assert 3 in found["train"]
    assert sorted(map(len, found.values())) == [3, 4, 4]


def test_the_widest_of_the_grids_that_do_is_taken() -> None:
    windows = scattered(2000, rare=500, seed=0)
    split = choose_split(windows, size=SIZE, shares=None, where="labels")
    wider = [factor * SIZE for factor in (32, 16, 8, 4, 2, 1) if factor * SIZE > split.grid_size]
    for width in wider:
        lacking = any(len(one) < 4 for one in classes_of(windows, width).values())
        assert lacking or min(split_with(windows, grid_size=width, shares=SHARES).counts.values()) < 0.07 * 2000
