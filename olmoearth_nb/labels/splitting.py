"""Assign windows to train, validation and test: by a hash, so that a window's split depends on nothing else."""

from __future__ import annotations

import hashlib
import math
from typing import Any

from olmoearth_nb.errors import ConfigError
from olmoearth_nb.types import DataSplitType, LabeledWindow

__all__ = ["RandomDataSplitter", "SpatialDataSplitter"]

_TOLERANCE = 1e-6


class RandomDataSplitter:
    """Splits windows at random: a hash of the seed and the window's name decides.

    The same seed gives the same split in any order, in any process and with any number of workers.

    Args:
        train_prop: Share of windows to train on, 0..1.
        val_prop: Share of windows to validate on, 0..1.
        test_prop: Share of windows to test on, 0..1.
        seed: Another seed makes another split; None is a seed like any other.

    Raises:
        ConfigError: If the proportions are not in 0..1 or don't sum to 1.

    Example:
        >>> RandomDataSplitter(0.8, 0.1, 0.1, seed=42).proportions
        (0.8, 0.1, 0.1)
    """

    def __init__(self, train_prop: float, val_prop: float, test_prop: float, seed: int | None = None) -> None:
        self.proportions = _checked(train_prop, val_prop, test_prop, where=type(self).__name__)
        self.seed = seed

    def choose_split_for_window(self, labeled_window: LabeledWindow[Any]) -> DataSplitType:
        """The split of a window.

        Args:
            labeled_window: Only its name counts.
        """
        return _split_of(f"{self.seed}_{labeled_window.name}", self.proportions)


class SpatialDataSplitter:
    """Splits windows by place: all windows of a grid cell come into the same split.

    A window belongs to the cell that holds its lower bounds. Neighbouring windows are alike, so that a random split
    tells too good a story; a spatial one keeps them together.

    Args:
        train_prop: Share of cells to train on, 0..1.
        val_prop: Share of cells to validate on, 0..1.
        test_prop: Share of cells to test on, 0..1.
        grid_size: Size of a cell in pixels of the windows, above 0.

    Raises:
        ConfigError: If the proportions are not in 0..1 or don't sum to 1, or ``grid_size`` is not above 0.

    Example:
        >>> SpatialDataSplitter(0.7, 0.2, 0.1, grid_size=128).grid_size
        128
    """

    def __init__(self, train_prop: float, val_prop: float, test_prop: float, grid_size: float) -> None:
        self.proportions = _checked(train_prop, val_prop, test_prop, where=type(self).__name__)
        if not _is_number(grid_size) or not 0 < grid_size < math.inf:
            raise ConfigError(
                "The grid of a spatial split has no usable size.",
                where=f"{type(self).__name__}.grid_size",
                expected="a number of pixels above 0",
                found=repr(grid_size),
            )
        self.grid_size = grid_size

    def choose_split_for_window(self, labeled_window: LabeledWindow[Any]) -> DataSplitType:
        """The split of a window.

        Args:
            labeled_window: Only its CRS and lower bounds count.
        """
        return self.split_at(str(labeled_window.projection.crs), *labeled_window.bounds[:2])

    def split_at(self, crs: str, x: int, y: int) -> DataSplitType:
        """The split of a window by its place.

        Args:
            crs: Its CRS.
            x: Its lower bound in pixels.
            y: The same.
        """
        # The quotient is printed as Python prints it ("545.0" for a grid_size of 128.0): existing splits hang on it.
        return _split_of(f"{crs}_{x // self.grid_size}_{y // self.grid_size}", self.proportions)


def _split_of(text: str, proportions: tuple[float, float, float]) -> DataSplitType:
    fraction = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") / 2**256
    train, val, _ = proportions
    if fraction < train:
        return DataSplitType.TRAIN
    return DataSplitType.VAL if fraction < train + val else DataSplitType.TEST


def _checked(train: float, val: float, test: float, *, where: str) -> tuple[float, float, float]:
    proportions = {"train_prop": train, "val_prop": val, "test_prop": test}
    for name, value in proportions.items():
        if not _is_number(value) or not 0 <= value <= 1:
            raise ConfigError("Not a proportion.", where=f"{where}.{name}", expected="a number 0..1", found=repr(value))
    total = math.fsum(proportions.values())
    if abs(total - 1) > _TOLERANCE:
        raise ConfigError(
            "The proportions of the splits don't sum to 1.",
            where=where,
            expected="train_prop + val_prop + test_prop = 1",
            found=f"{train} + {val} + {test} = {total:g}",
        )
    return train, val, test


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
