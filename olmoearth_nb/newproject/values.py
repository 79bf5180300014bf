"""The range of values of a regression."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd

from olmoearth_nb.errors import InputFileError

__all__ = ["NODATA_VALUE", "ValueRange", "values_of"]

NODATA_VALUE = -9999
"""What pixels without a value hold; no measurement has it."""

_COLORMAP = "viridis"


@dataclass(frozen=True, kw_only=True)
class ValueRange:
    """Values of a regression.

    Attributes:
        low: What the map's first colour stands for, near the 2nd percentile.
        high: What its last colour stands for, near the 98th percentile.
        scale: What labels are multiplied by for training, so that they are about 1.
        colormap: Name of the colours.
    """

    low: float
    high: float
    scale: float
    colormap: str = _COLORMAP


def values_of(frame: gpd.GeoDataFrame, column: str, *, where: str) -> tuple[ValueRange, list[float | None]]:
    """The values of a column and their range.

    Args:
        frame: The labels.
        column: Its column of values.
        where: The source, for errors.

    Returns:
        The range; and the value of each row, None for null.

    Raises:
        InputFileError: If a cell is no number, or none has a value.
    """
    numbers = pd.to_numeric(frame[column], errors="coerce")
    wrong = numbers.isna() & frame[column].notna() & (frame[column].astype(str).str.strip() != "")
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputFileError(
            "A value is no number.",
            where=f"{where}, column {column!r}, row {row}",
            expected="a number, or nothing",
            found=repr(frame[column].iloc[row]),
        )
    values = [float(value) if math.isfinite(value) and value != NODATA_VALUE else None for value in numbers]
    present = np.array([value for value in values if value is not None])
    if not len(present):
        raise InputFileError("No feature has a value.", where=f"{where}, column {column!r}")
    return _range(present), values


def _range(present: Sequence[float] | np.ndarray) -> ValueRange:
    low, high = (float(value) for value in np.percentile(present, [2, 98]))
    if low == high:
        low, high = low - 0.5, high + 0.5
    step = 10.0 ** (math.floor(math.log10(high - low)) - 1)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    largest = max(abs(low), abs(high))
    scale = 10.0 ** -math.floor(math.log10(largest)) if largest > 0 else 1.0
    return ValueRange(low=float(f"{low:.6g}"), high=float(f"{high:.6g}"), scale=float(f"{scale:.6g}"))
