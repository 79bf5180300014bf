"""What a stage did to rasters, block by block: masked, removed, added and changed pixels, and where inputs overlap."""

from __future__ import annotations

import contextlib
import enum
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window
from rslearn.utils.geometry import Projection
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.errors import GeometryError
from olmoearth_nb.geometry import wgs84_outlines
from olmoearth_nb.postprocess.changes import Changes, changes_frame
from olmoearth_nb.postprocess.geotiffs import OpenRasters, Pixels, Valid, creating, gdal_env
from olmoearth_nb.postprocess.grids import Cell, Grid, Source, grids_of, read_source
from olmoearth_nb.postprocess.mask import Mask
from olmoearth_nb.postprocess.mosaic import Mosaic
from olmoearth_nb.types import PixelBounds

__all__ = ["COLUMNS", "PixelChange", "raster_changes"]

COLUMNS = ("change", "band", "before", "after", "pixels", "share", "first", "second", "detail")
"""Columns of the table; ``first`` and ``second`` are inputs that overlap, the first one wins."""

# More pairs of values than this are told as a range.
_MOST_PAIRS = 64


class PixelChange(enum.IntEnum):
    """What happened to a pixel, by its value in the picture of changes; of several things the largest."""

    OVERLAP = 1
    CHANGED = 2
    SEAM = 3
    ADDED = 4
    REMOVED = 5
    MASKED = 6

    @property
    def words(self) -> str:
        """The same for people."""
        return _WORDS[self]


_WORDS = {
    PixelChange.OVERLAP: "inputs overlap and agree",
    PixelChange.CHANGED: "value changed",
    PixelChange.SEAM: "inputs overlap and disagree",
    PixelChange.ADDED: "was nodata",
    PixelChange.REMOVED: "became nodata",
    PixelChange.MASKED: "outside of the mask",
}

Key: TypeAlias = tuple[Any, ...]
Box: TypeAlias = tuple[int, int, int, int]
Plane: TypeAlias = npt.NDArray[np.bool_]


def raster_changes(
    before: Mapping[Path, str], after: Sequence[Path], folder: Path, *, mask: Mask | None = None
) -> Changes:
    """Compares the inputs of a stage, where the first one with data wins, with what it made of them.

    Pixels are compared on the grid of the inputs, so that an output on another grid is sampled there.

    Args:
        before: The inputs, those that win first -> what each is called.
        after: The outputs.
        folder: Where the pictures of changes go.
        mask: Valid area that the stage was given, or None.

    Raises:
        PostprocessError: If a file can't be read.
        StorageError: If a picture can't be written.
    """
    with gdal_env(), OpenRasters() as rasters:
        sources = [read_source(path, rasters) for path in (*before, *after)]
        bands = [{len(one.descriptions) for one in part} for part in (sources[: len(before)], sources[len(before) :])]
        if len(set().union(*bands)) > 1:
            text = f"{_numbers(bands[0])} bands before, {_numbers(bands[1])} after: pixels can't be compared."
            return Changes(table=changes_frame([], COLUMNS), counts={}, notes=(text,))
        found = [_GridChanges(grid, before, mask, rasters) for grid in (grids_of(sources) if sources else [])]
        pictures = tuple(one.write(folder) for one in found)
    rows = [row for one in found for row in one.rows()]
    counts: Counter[str] = Counter()
    for one in found:
        counts.update(one.counts)
    named = {change.words: counts[change.words] for change in reversed(PixelChange)}
    totals = {name: counts[name] for name in ("pixels before", "pixels after")}
    notes = tuple(note for one in found for note in one.notes)
    return Changes(table=changes_frame(rows, COLUMNS), counts={**totals, **named}, pictures=pictures, notes=notes)


def _numbers(values: set[int]) -> str:
    return " or ".join(map(str, sorted(values)))


class _GridChanges:
    """The changes within one CRS."""

    def __init__(self, grid: Grid, before: Mapping[Path, str], mask: Mask | None, rasters: OpenRasters) -> None:
        self._grid, self._mask, self._rasters, self._names = grid, mask, rasters, before
        is_input = np.array([source.path in before for source in grid.sources])
        members = [np.flatnonzero(is_input), np.flatnonzero(~is_input)]
        low, high = grid.boxes[:, :2].min(axis=0).tolist(), grid.boxes[:, 2:].max(axis=0).tolist()
        self._cell = Cell((*low, max(high[0], low[0] + 1), max(high[1], low[1] + 1)), np.arange(len(grid.sources)))
        self._inputs, self._outputs = (Mosaic(grid, Cell(self._cell.bounds, one), rasters) for one in members)
        self._dtype = np.result_type(*{source.dtype for source in grid.sources})
        self.counts: Counter[str] = Counter()
        self._pixels: Counter[Key] = Counter()
        self._boxes: dict[Key, Box] = {}
        self._ranges: dict[Key, tuple[float, float, float, float]] = {}
        # Where nothing was made, nothing was lost either: the inputs are the result.
        self._has_output = bool(len(members[1]))
        sides = [(members[0], "went into"), (members[1], "came out of")]
        label = grid.sources[0].label
        self.notes = [f"No file in {label} {what} this stage." for one, what in sides if not len(one)]

    def write(self, folder: Path) -> Path:
        """Looks at all pixels, and writes what happened to each.

        Args:
            folder: Where to.
        """
        first = self._grid.sources[0]
        target = folder / f"changes_{first.label}.tif"
        x0, y0, x1, y1 = self._cell.bounds
        profile: dict[str, Any] = {
            "count": 1,
            "dtype": "uint8",
            "crs": first.crs,
            "transform": self._grid.block_transform(x0, y0),
            "width": x1 - x0,
            "height": y1 - y0,
        }
        with creating(target, nodata=0, **profile) as output:
            for block in self._cell.blocks():
                codes = self._codes(block)
                window = Window(block[0] - x0, block[1] - y0, block[2] - block[0], block[3] - block[1])
                output.write(codes, 1, window=window)
        return target

    def _codes(self, block: PixelBounds) -> npt.NDArray[np.uint8]:
        old, had, overlap, seam = self._read_inputs(block)
        new, has = self._outputs.read(block, self._dtype)
        there_before, there_after = had.any(axis=0), has.any(axis=0)
        gone = there_before & ~there_after & self._has_output
        masked = np.zeros_like(gone)
        if self._mask is not None and gone.any():
            transform, crs = self._grid.block_transform(*block[:2]), self._grid.sources[0].crs
            masked = gone & ~self._mask.valid_pixels(transform, crs, gone.shape, rasters=self._rasters)
        differs = (old != new) & had & has
        planes = {
            PixelChange.OVERLAP: overlap & ~seam,
            PixelChange.CHANGED: differs.any(axis=0),
            PixelChange.SEAM: seam,
            PixelChange.ADDED: ~there_before & there_after,
            PixelChange.REMOVED: gone & ~masked,
            PixelChange.MASKED: masked,
        }
        codes = np.zeros(gone.shape, dtype=np.uint8)
        for change, plane in planes.items():
            codes[plane] = change
            self.counts[change.words] += int(plane.sum())
            if change in (PixelChange.ADDED, PixelChange.REMOVED, PixelChange.MASKED):
                self._note((change,), plane, block)
        self.counts["pixels before"] += int(there_before.sum())
        self.counts["pixels after"] += int(there_after.sum())
        for band in np.flatnonzero(differs.any(axis=(1, 2))).tolist():
            self._note_values(band, old[band], new[band], differs[band], block)
        return codes

    def _read_inputs(self, block: PixelBounds) -> tuple[Pixels, Valid, Plane, Plane]:
        """Pixels as merging takes them, which of them are data, where inputs overlap, and where those disagree."""
        shape = self._inputs.shape(block)
        data, valid = np.zeros(shape, dtype=self._dtype), np.zeros(shape, dtype=bool)
        winner = np.full(shape[1:], -1)
        overlap, seam = np.zeros(shape[1:], dtype=bool), np.zeros(shape[1:], dtype=bool)
        for index, here, values, has_data in self._inputs.parts(block):
            there = has_data.any(axis=0)
            twice = there & (winner[here] >= 0)
            other = twice & ((values != data[:, *here]) & has_data & valid[:, *here]).any(axis=0)
            for first in np.unique(winner[here][twice]).tolist():
                pair = twice & (winner[here] == first)
                corner = (block[0] + here[1].start, block[1] + here[0].start)
                self._note((PixelChange.OVERLAP, first, index), pair & ~other, corner)
                self._note((PixelChange.SEAM, first, index), pair & other, corner)
            overlap[here] |= twice
            seam[here] |= other
            wins = there & (winner[here] < 0)
            np.copyto(data[:, *here], values, where=wins, casting="unsafe")
            np.copyto(valid[:, *here], has_data, where=wins)
            winner[here][wins] = index
        return data, valid, overlap, seam

    # ---- collecting ------------------------------------------------------------------------------------------

    def _note(self, key: Key, plane: Plane, corner: Sequence[int]) -> None:
        """Counts pixels, and notes how far they reach in pixels of the grid."""
        rows, columns = np.flatnonzero(plane.any(axis=1)), np.flatnonzero(plane.any(axis=0))
        if not len(rows):
            return
        self._pixels[key] += int(plane.sum())
        x, y = corner[:2]
        box = (int(columns[0]) + x, int(rows[0]) + y, int(columns[-1]) + 1 + x, int(rows[-1]) + 1 + y)
        known = self._boxes.get(key, box)
        self._boxes[key] = (*map(min, known[:2], box[:2]), *map(max, known[2:], box[2:]))  # type: ignore[assignment]

    def _note_values(self, band: int, old: Pixels, new: Pixels, differs: Plane, block: PixelBounds) -> None:
        """Counts which value became which; of very many, their range."""
        pairs = _pairs(old[differs], new[differs])
        known = {key for key in self._pixels if key[:2] == (PixelChange.CHANGED, band) and len(key) == 4}
        key: Key = (PixelChange.CHANGED, band)
        if key in self._ranges or pairs is None or len(known) + len(pairs) > _MOST_PAIRS:
            for pair in known:
                self._fold(pair, key)
            self._note(key, differs, block)
            self._widen(key, old[differs].min(), old[differs].max(), new[differs].min(), new[differs].max())
            return
        for a, b in pairs:
            self._note((*key, a, b), differs & (old == a) & (new == b), block)

    def _fold(self, pair: Key, key: Key) -> None:
        self._pixels[key] += self._pixels.pop(pair)
        known, box = self._boxes.get(key), self._boxes.pop(pair)
        if known is not None:
            box = (*map(min, known[:2], box[:2]), *map(max, known[2:], box[2:]))  # type: ignore[assignment]
        self._boxes[key] = box
        self._widen(key, pair[2], pair[2], pair[3], pair[3])

    def _widen(self, key: Key, *ends: float) -> None:
        low, high, low2, high2 = map(float, ends)
        a, b, c, d = self._ranges.get(key, (low, high, low2, high2))
        self._ranges[key] = (min(a, low), max(b, high), min(c, low2), max(d, high2))

    # ---- telling ---------------------------------------------------------------------------------------------

    def rows(self) -> Iterator[dict[str, Any]]:
        """Rows of the table, the gravest changes first."""
        total = max(self.counts["pixels before"], 1)
        for key in sorted(self._pixels, key=lambda key: (-key[0], -self._pixels[key])):
            row: dict[str, Any] = {
                "change": key[0].words,
                "pixels": self._pixels[key],
                "share": self._pixels[key] / total,
                "geometry": self._outline(self._boxes[key]),
            }
            if key[0] in (PixelChange.OVERLAP, PixelChange.SEAM):
                row |= {"first": self._named(key[1]), "second": self._named(key[2])}
            elif len(key) == 4:
                row |= {"band": key[1] + 1, "before": key[2], "after": key[3]}
            elif len(key) == 2:
                low, high, low2, high2 = self._ranges[key]
                row |= {"band": key[1] + 1, "detail": f"{low:g} … {high:g} became {low2:g} … {high2:g}"}
            yield row

    def _named(self, index: int) -> str:
        source: Source = self._grid.sources[index]
        return self._names.get(source.path, source.path.name)

    def _outline(self, box: Box) -> BaseGeometry | None:
        crs = self._grid.sources[0].crs
        if crs is None:
            return None
        transform = self._grid.transform
        (x0, y0), (x1, y1) = transform * box[:2], transform * box[2:]
        with contextlib.suppress(GeometryError):
            outline: BaseGeometry = wgs84_outlines(Projection(crs, 1, 1), np.array([[x0, y1, x1, y0]]))[0]
            return outline
        return None


def _pairs(old: Pixels, new: Pixels) -> list[tuple[float, float]] | None:
    """Which value became which, or None if there are very many."""
    before, after = np.unique(old), np.unique(new)
    if max(len(before), len(after)) > _MOST_PAIRS:
        return None
    # A hundred times faster than sorting rows of two.
    codes = np.bincount(np.searchsorted(before, old) * len(after) + np.searchsorted(after, new))
    return [(before[code // len(after)].item(), after[code % len(after)].item()) for code in np.flatnonzero(codes)]
