"""Blends rasters that overlap, so that no seam shows where one window ends.

A model knows less of what lies at the edge of a window, so two windows say different things of the same place. Their
mean, weighted by a raised cosine that is 1 in the middle of a window and almost 0 at its edge, goes over from one to
the other without a step. A window without a neighbour keeps its values exactly.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from olmoearth_nb.errors import PostprocessError
from olmoearth_nb.postprocess.geotiffs import OpenRasters, Pixels, Valid
from olmoearth_nb.postprocess.grids import Cell, Grid, Source
from olmoearth_nb.postprocess.mosaic import Mosaic, Part
from olmoearth_nb.types import PixelBounds, TimeRange

__all__ = ["Blend", "check_values", "edge_weights", "in_order"]

_NEVER: TimeRange = (datetime.min.replace(tzinfo=UTC),) * 2


class Blend:
    """Reads blocks of one output as the weighted mean of the inputs that lie there.

    Unlike in a :class:`Mosaic`, inputs of neighbouring outputs count too, so that outputs agree where they overlap.

    Args:
        grid: The grid.
        cell: The output.
        rasters: Where inputs stay open.
        times: Time range of each input, by its path. Those of different ranges are not mixed: the latest one that has
            data counts.
    """

    def __init__(
        self, grid: Grid, cell: Cell, rasters: OpenRasters, *, times: Mapping[str, TimeRange | None] | None = None
    ) -> None:
        self._grid = grid
        self._times = [(times or {}).get(str(source.path)) for source in grid.sources]
        x0, y0, x1, y1 = cell.bounds
        left, top, right, bottom = grid.boxes.T
        near = np.flatnonzero((left < x1) & (right > x0) & (top < y1) & (bottom > y0))
        self._mosaic = Mosaic(grid, Cell(cell.bounds, near), rasters)

    def read(self, block: PixelBounds, dtype: npt.DTypeLike) -> tuple[Pixels, Valid]:
        """Pixels of a block and which of them are data.

        Args:
            block: In pixels of the grid.
            dtype: Type of the result.

        Returns:
            Two arrays of shape (C, H, W).
        """
        shape = self._mosaic.shape(block)
        data, valid = np.zeros(shape, dtype=dtype), np.zeros(shape, dtype=bool)
        for _, parts in itertools.groupby(self._mosaic.parts(block), key=lambda part: self._times[part[0]]):
            mean, has_data = self._mean(parts, block, shape)
            wins = has_data.any(axis=0) & ~valid.any(axis=0)
            np.copyto(data, mean, where=wins, casting="unsafe")
            np.copyto(valid, has_data, where=wins)
            if valid.any(axis=0).all():
                break
        return data, valid

    def read_classes(self, block: PixelBounds, dtype: npt.DTypeLike) -> tuple[Pixels, Valid]:
        """The class of the greatest probability, the first one of equals: band i has the probability of class i.

        Args:
            block: In pixels of the grid.
            dtype: Type of the classes.

        Returns:
            Two arrays of shape (1, H, W): classes, and which of them are data.
        """
        means, valid = self.read(block, np.float64)
        classes: Pixels = np.where(valid, means, -np.inf).argmax(axis=0)[np.newaxis].astype(dtype)
        return classes, np.asarray(valid.any(axis=0, keepdims=True))

    def _mean(self, parts: Iterable[Part], block: PixelBounds, shape: tuple[int, int, int]) -> tuple[Pixels, Valid]:
        mean, total = np.zeros(shape), np.zeros(shape)
        for index, here, values, has_data in parts:
            weights = np.where(has_data, self._weights(index, here, block), 0.0)
            total[:, *here] += weights
            # A mean that is moved by each input's share: of a single one, or of equal ones, it is exactly the value.
            share = np.divide(weights, total[:, *here], out=np.zeros_like(weights), where=has_data)
            mean[:, *here] += share * (np.where(has_data, values, 0) - mean[:, *here])
        return mean, total > 0

    def _weights(self, index: int, here: tuple[slice, slice], block: PixelBounds) -> npt.NDArray[np.float64]:
        x0, y0, x1, y1 = self._grid.boxes[index].tolist()
        rows, columns = here
        across = edge_weights(x1 - x0)[columns.start + block[0] - x0 : columns.stop + block[0] - x0]
        down = edge_weights(y1 - y0)[rows.start + block[1] - y0 : rows.stop + block[1] - y0]
        return down[:, np.newaxis] * across


def edge_weights(size: int) -> npt.NDArray[np.float64]:
    """Weights of the pixels of a window along one axis: a raised cosine, never 0.

    Args:
        size: Number of pixels.

    Returns:
        Shape (size,), symmetric, between 0 (excluded) and 1.

    Example:
        >>> edge_weights(4).round(3).tolist()
        [0.146, 0.854, 0.854, 0.146]
    """
    # Of the distance to the nearer edge, so that a mirrored window has exactly the mirrored weights.
    distance = np.minimum(np.arange(size), np.arange(size)[::-1]) + 0.5
    weights: npt.NDArray[np.float64] = np.sin(np.pi * distance / size) ** 2
    return weights


def check_values(sources: Sequence[Source], *, classes: bool) -> None:
    """Whether inputs hold what can be blended.

    Args:
        sources: The inputs.
        classes: Whether they have to be probabilities of several classes.

    Raises:
        PostprocessError: If they hold classes, or have one band where one for each class is needed.
    """
    for source in sources:
        if source.dtype.kind != "f":
            raise PostprocessError(
                "Only probabilities and measurements can be blended.",
                where=str(source.path),
                expected="float32",
                found=f"{source.dtype}, as classes have it",
                fix="Let the model write probabilities: output_probs: true for the SegmentationTask in model.yaml, and "
                "in dataset.json a band of float32 for each class in layers.output. Or leave overlap as it was: first.",
            )
        if classes and len(source.descriptions) == 1:
            raise PostprocessError(
                "The greatest probability can't be found in one band.",
                where=str(source.path),
                expected="a band for each class",
                found="1 band",
                fix="Let the model write all of them (no output_class_idx in model.yaml), or choose overlap: mean.",
            )


def in_order(sources: Sequence[Source], times: Mapping[str, TimeRange | None]) -> list[Source]:
    """Inputs from the latest to the earliest, then by place: the order in which they are given must not matter.

    Args:
        sources: The inputs.
        times: Time range of each, by its path.
    """
    placed = sorted(
        sources,
        key=lambda one: (-one.transform.f, one.transform.c, one.height, one.width, str(one.path)),
    )
    # Stable, so that those of one time stay in the order of their places.
    return sorted(placed, key=lambda one: times.get(str(one.path)) or _NEVER, reverse=True)
