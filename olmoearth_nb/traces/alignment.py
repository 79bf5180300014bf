"""Whether a label lies where imagery or a prediction has what it says, without any model.

A label explains an image as far as pixels of one class are alike: the share of the variance that lies between the
classes (of measurements: R² of a line). Where the label is right this share falls with every shift; if it rises by far
with one, and does so all over the window, the label has moved.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from olmoearth_nb.traces.pixels import Array, Mask

__all__ = ["Alignment", "explain", "separable"]

Move: TypeAlias = tuple[int, int] | str

_REACH = 4
_TILE = 8
_MIN_PIXELS = 200
_MIN_EDGES = 40
# Standard errors that a better place must be better by, and the least share of what varies that it must explain more.
_SCORE = 4.0
# Small windows have few parts; there a large difference counts too.
_LOW_SCORE, _LARGE_GAIN = 2.5, 0.08
_GAIN = {"shift": 0.04, "flip": 0.12}


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """A place that suits a label better than its own.

    Attributes:
        move: Rows to the south and columns to the east that the label has gone too far, or how to flip it back.
        before: Share of the variance that it explains as it is.
        after: The share when moved back.
        score: The difference in standard errors over parts of the window.
    """

    move: Move
    before: float
    after: float
    score: float

    @property
    def gain(self) -> float:
        """What it explains more."""
        return self.after - self.before


def explain(label: Array, known: Mask, image: Array | None, *, classes: bool) -> Alignment | None:
    """Looks for a better place of a label.

    Args:
        label: Classes or measurements, (H, W).
        known: Where there is a label, (H, W).
        image: What it should explain, (C, H, W), NaN where there is nothing.
        classes: Whether the label has classes.

    Returns:
        None if its own place suits it best, or if there is too little to tell.
    """
    if image is None or not _enough(label, known, classes=classes):
        return None
    there = np.asarray(np.isfinite(image).all(axis=0))
    if (known & there).sum() < _MIN_PIXELS:
        return None
    spread = image[:, there].std(axis=1)
    image = np.where(there, image, 0)[spread > 0] / spread[spread > 0, None, None]
    if not len(image):
        return None
    shifts = _best(label, known, image, there, _shifts(label.shape), "shift", classes=classes)
    flips = _best(label, known, image, there, iter(_flips(label.shape)), "flip", classes=classes)
    found = [one for one in (shifts, flips) if one is not None]
    return max(found, key=lambda one: one.gain, default=None)


def separable(label: Array, known: Mask, image: Array | None) -> float | None:
    """Share of the labelled pixels whose class has the nearest mean: how well the image itself tells classes apart.

    Args:
        label: Classes, (H, W).
        known: Where there is a label, (H, W).
        image: (C, H, W), NaN where there is nothing.

    Returns:
        None if there are too few pixels, or only one class, to tell.
    """
    if image is None:
        return None
    used = known & np.asarray(np.isfinite(image).all(axis=0))
    if used.sum() < _MIN_PIXELS:
        return None
    classes, index = np.unique(label[used], return_inverse=True)
    count = np.bincount(index)
    if len(classes) < 2 or np.sort(count)[-2] < 0.05 * used.sum():
        return None
    pixels = image[:, used]
    means = np.stack([np.bincount(index, weights=channel) / count for channel in pixels])
    spread = np.maximum((pixels - means[:, index]).std(axis=1), 1e-12)[:, None]
    distances = np.stack([(((pixels - mean[:, None]) / spread) ** 2).sum(axis=0) for mean in means.T])
    return float((distances.argmin(axis=0) == index).mean())


def _enough(label: Array, known: Mask, *, classes: bool) -> bool:
    if known.sum() < _MIN_PIXELS or min(label.shape) < 4 * _REACH:
        return False
    if not classes:
        return bool(np.ptp(label[known]) > 0)
    edges = sum(
        int(((a != b) & both).sum())
        for a, b, both in (
            (label[1:], label[:-1], known[1:] & known[:-1]),
            (label[:, 1:], label[:, :-1], known[:, 1:] & known[:, :-1]),
        )
    )
    return edges >= _MIN_EDGES


def _shifts(shape: tuple[int, ...]) -> Iterator[tuple[Move, Array]]:
    """Shifts to undo, each with the places that label pixels come from, (2, H, W)."""
    places, reach = np.indices(shape), min(_REACH, min(shape) // 16)
    for rows in range(-reach, reach + 1):
        for columns in range(-reach, reach + 1):
            if rows or columns:
                yield (rows, columns), places + np.array([rows, columns])[:, None, None]


def _flips(shape: tuple[int, ...]) -> list[tuple[Move, Array]]:
    rows, columns = np.indices(shape)
    turned, mirrored = shape[0] - 1 - rows, shape[1] - 1 - columns
    flips: list[tuple[Move, Array]] = [
        ("turned upside down (rows)", np.stack([turned, columns])),
        ("mirrored (columns)", np.stack([rows, mirrored])),
        ("turned by 180 degrees", np.stack([turned, mirrored])),
    ]
    if shape[0] == shape[1]:
        flips.append(("transposed (rows and columns changed places)", np.stack([columns, rows])))
    return flips


def _best(
    label: Array,
    known: Mask,
    image: Array,
    there: Mask,
    moves: Iterator[tuple[Move, Array]],
    kind: str,
    *,
    classes: bool,
) -> Alignment | None:
    """The move after which the label explains most, if it is far more than as it is."""
    height, width = label.shape
    inner = np.zeros(label.shape, dtype=bool)
    reach = min(_REACH, min(label.shape) // 16) if kind == "shift" else 0
    # The same pixels of the image for all shifts.
    inner[reach : height - reach, reach : width - reach] = True
    best: Alignment | None = None
    for move, (rows, columns) in moves:
        rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
        used = inner & there & known & known[rows, columns]
        if used.sum() < _MIN_PIXELS:
            continue
        pixels = image[:, used]
        total = float(((pixels - pixels.mean(axis=1, keepdims=True)) ** 2).sum())
        if total == 0:
            continue
        here = _left(label[used], pixels, classes=classes)
        moved = _left(label[rows, columns][used], pixels, classes=classes)
        before, after = (1 - float(one.sum()) / total for one in (here, moved))
        if after - before < _GAIN[kind] or (best is not None and after <= best.after):
            continue
        score = _score(here - moved, used)
        if score >= (_LOW_SCORE if after - before >= 2 * max(_GAIN[kind], _LARGE_GAIN / 2) else _SCORE):
            best = Alignment(move=move, before=before, after=after, score=score)
    return best


def _left(label: Array, pixels: Array, *, classes: bool) -> Array:
    """Squares of what the label does not explain, of each pixel."""
    if classes:
        _, index = np.unique(label, return_inverse=True)
        count = np.bincount(index)
        means = np.stack([np.bincount(index, weights=channel) / count for channel in pixels])
        fitted = means[:, index]
    else:
        line = np.stack([np.ones(len(label)), label.astype(float)], axis=1)
        fitted = (line @ np.linalg.lstsq(line, pixels.T, rcond=None)[0]).T
    found: Array = ((pixels - fitted) ** 2).sum(axis=0)
    return found


def _score(gain: Array, used: Mask) -> float:
    """Mean gain of tiles in its standard errors: neighbours are alike, tiles hardly so."""
    rows, columns = np.nonzero(used)
    tiles = (rows // _TILE) * (used.shape[1] // _TILE + 1) + columns // _TILE
    sums = np.bincount(tiles, weights=gain)
    sums = sums[np.bincount(tiles) > 0]
    if len(sums) < 4:
        return 0.0
    error = float(sums.std(ddof=1)) / np.sqrt(len(sums))
    return float(sums.mean()) / error if error else 0.0
