"""How sure a number is: 95% intervals of shares, and of anything that can be added up over windows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

__all__ = ["BOOTSTRAP", "WILSON", "Estimate", "bootstrap", "wilson"]

WILSON = "Wilson"
"""Each label counts as an independent draw: right where a window has one."""

BOOTSTRAP = "bootstrap over windows"
"""Windows are drawn, not pixels: those of one window are alike, and their number says little."""

_Z = 1.959963984540054
_RESAMPLES, _AT_ONCE, _SEED = 1000, 100, 0

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95% interval.

    Attributes:
        value: The number; NaN where it is not defined.
        low: Lower end; NaN where there is no interval (one window says nothing of others).
        high: Upper end.
        method: :data:`WILSON` or :data:`BOOTSTRAP`.

    Example:
        >>> print(Estimate(0.5, 0.25, 0.75, WILSON))
        0.500 (0.250 to 0.750)
    """

    value: float
    low: float
    high: float
    method: str

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "–"
        if math.isnan(self.low):
            return _short(self.value)
        return f"{_short(self.value)} ({_short(self.low)} to {_short(self.high)})"


def _short(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.4g}"


def wilson(right: float, total: float) -> Estimate:
    """A share with Wilson's score interval (E. B. Wilson 1927, doi.org/10.1080/01621459.1927.10502953).

    Args:
        right: How many of them.
        total: Of how many independent draws.

    Example:
        >>> print(wilson(8, 10))
        0.800 (0.490 to 0.943)
    """
    if total <= 0:
        return Estimate(math.nan, math.nan, math.nan, WILSON)
    share = right / total
    middle = (share + _Z**2 / (2 * total)) / (1 + _Z**2 / total)
    half = _Z / (1 + _Z**2 / total) * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    # At 0 and 1 rounding would leave the value a hair outside of its interval.
    return Estimate(share, min(max(0.0, middle - half), share), max(min(1.0, middle + half), share), WILSON)


def bootstrap(counts: Any, statistic: Callable[[Floats], Floats]) -> tuple[Floats, Floats]:
    """95% percentile intervals of numbers that come from sums over windows.

    Windows are drawn with replacement a thousand times, always the same draws. Neighbouring windows are alike too, so
    that intervals are rather too narrow than too wide.

    Args:
        counts: Shape (windows, K), dense or sparse: what is added up.
        statistic: Sums of shape (draws, K) -> numbers of shape (draws, M), NaN where one is not defined.

    Returns:
        Lower and upper ends, shape (M,); NaN where there are fewer than two windows.
    """
    table = sparse.csr_array(counts, dtype=np.float64)
    windows, rng = table.shape[0], np.random.default_rng(_SEED)
    if windows < 2:
        nothing = np.full(statistic(np.zeros((1, table.shape[1]))).shape[1], np.nan)
        return nothing, nothing
    found = []
    for _ in range(_RESAMPLES // _AT_ONCE):
        drawn = rng.integers(windows, size=(_AT_ONCE, windows)) + windows * np.arange(_AT_ONCE)[:, np.newaxis]
        times = np.bincount(drawn.ravel(), minlength=_AT_ONCE * windows).reshape(_AT_ONCE, windows)
        found.append(statistic(np.asarray((table.T @ times.T).T, dtype=np.float64)))
    values = np.concatenate(found)
    # Where a class is in none of the draws there is nothing to rank.
    defined = np.isfinite(values).any(axis=0)
    ends = np.full((2, values.shape[1]), np.nan)
    ends[:, defined] = np.nanpercentile(values[:, defined], (2.5, 97.5), axis=0)
    return ends[0], ends[1]
