"""The grid of a spatial split, chosen so that every split has windows, and every class if that can be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from olmoearth_nb.errors import InputFileError
from olmoearth_nb.labels.splitting import SpatialDataSplitter
from olmoearth_nb.types import DataSplitType

__all__ = ["Split", "WindowPlace", "choose_split", "split_with"]

_SHARES = (0.7, 0.15, 0.15)
# Cells of this many windows' widths, the widest first: the wider, the less neighbours tell about each other.
_FACTORS = (32, 16, 8, 4, 2, 1)
_LEAST_SHARE = 0.07
_FEW = 3
# Windows to be divided while a class is lacking in val or test only: a second of work.
_MOST_DIVIDED = 500_000


@dataclass(frozen=True, kw_only=True)
class WindowPlace:
    """Where a window lies, and the class in it.

    Attributes:
        crs: Its CRS as text.
        x: Left side in pixels.
        y: Upper side in pixels.
        labels: Classes in it.
    """

    crs: str
    x: int
    y: int
    labels: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Split:
    """How windows are divided.

    Attributes:
        shares: Of train, val and test.
        grid_size: Width and height in pixels of the cells that come into one split.
        counts: Windows of train, val and test.
        reason: Why this grid.
    """

    shares: tuple[float, float, float]
    grid_size: int
    counts: dict[str, int]
    reason: str


def choose_split(
    windows: Sequence[WindowPlace], *, size: int, shares: tuple[float, float, float] | None, where: str
) -> Split:
    """The widest grid with which every split has enough windows and every class that it can have.

    Where there is none, the one with the fewest classes lacking: first in training, then in the other splits.

    Args:
        windows: Places of the windows.
        size: Width of the windows, pixels.
        shares: Of train, val and test; 0.7, 0.15 and 0.15 if None.
        where: The source, for the error.

    Raises:
        InputFileError: If there are too few windows for three splits.
    """
    shares = shares or _SHARES
    if len(windows) < _FEW:
        raise InputFileError(
            "There are too few labels to train, validate and test with.",
            where=where,
            expected=f"labels in at least {_FEW} windows of {size} pixels",
            found=f"{len(windows)}",
        )
    names = [name for name, share in _named(shares) if share > 0]
    # A class of two windows can't be in three splits.
    found = Counter(one for window in windows for one in window.labels)
    fewest = sum(max(0, len(names) - count) for count in found.values())
    best: tuple[tuple[int, ...], Split] | None = None
    # Where labels are few or lie close together, any width that happens to divide them will do.
    widths = (factor * size for factor in (*_FACTORS, *range(3, 64)))
    for tried, width in enumerate((*widths, *range(size + 1, 4 * size))):
        if tried * len(windows) > _MOST_DIVIDED and best is not None and best[0][:3] == (1, 0, 1):
            break
        split = split_with(windows, grid_size=width, shares=shares)
        classes = _classes(windows, split)
        untrained = len(found) - len(classes[DataSplitType.TRAIN.value])
        lacking = sum(len(found) - len(classes[name]) for name in names)
        least = min(split.counts[name] / len(windows) for name in names)
        enough = least >= _LEAST_SHARE
        if enough and not untrained and lacking == fewest:
            return split
        rank = (int(least > 0), -untrained, int(enough), -lacking, 0 if enough else round(least * 100))
        if best is None or rank > best[0]:
            best = rank, split
    if best is None or not best[0][0]:
        raise InputFileError(
            "The labels lie too close together to be divided by place.",
            where=where,
            expected="labels in more places, or a smaller window_size",
            found=f"{len(windows)} windows",
        )
    return best[1]


def split_with(windows: Iterable[WindowPlace], *, grid_size: int, shares: tuple[float, float, float]) -> Split:
    """What a grid makes of the windows.

    Args:
        windows: Places of the windows.
        grid_size: Width and height of its cells in pixels.
        shares: Of train, val and test.
    """
    counts = Counter(split.value for _, split in _divided(windows, grid_size, shares))
    return Split(
        shares=shares,
        grid_size=grid_size,
        counts={name.value: counts[name.value] for name in DataSplitType},
        reason=f"cells of {grid_size} pixels: neighbours, which are alike, come into the same split",
    )


def _divided(
    windows: Iterable[WindowPlace], grid_size: int, shares: tuple[float, float, float]
) -> Iterator[tuple[WindowPlace, DataSplitType]]:
    splitter = SpatialDataSplitter(*shares, grid_size=grid_size)
    cells: dict[tuple[str, int, int], DataSplitType] = {}
    for window in windows:
        cell = (window.crs, window.x // grid_size, window.y // grid_size)
        if cell not in cells:
            cells[cell] = splitter.split_at(window.crs, window.x, window.y)
        yield window, cells[cell]


def _classes(windows: Iterable[WindowPlace], split: Split) -> dict[str, set[int]]:
    """Classes that each split has."""
    found: dict[str, set[int]] = {name.value: set() for name in DataSplitType}
    for window, name in _divided(windows, split.grid_size, split.shares):
        found[name.value] |= window.labels
    return found


def _named(shares: tuple[float, float, float]) -> Iterable[tuple[str, float]]:
    return zip((one.value for one in DataSplitType), shares, strict=True)
