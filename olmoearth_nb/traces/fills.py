"""Values that stand for nothing although nobody said so."""

from __future__ import annotations

import numpy as np

from olmoearth_nb.traces.pixels import Array, Mask

__all__ = ["fill_values"]

# Numbers that people write where there is nothing.
_FILLS = (0, 255, 65535, -9999, -999, -99, -32768, 32767, -32767, 9999, 99999, -99999)
_MIN_PIXELS = 16


def fill_values(values: Array, empty: Mask) -> dict[float, dict[int, Mask]]:
    """Values that stand apart from all others and are what people write for nothing.

    Args:
        values: (time, band, H, W).
        empty: Where nothing is known to be, the same shape.

    Returns:
        Value -> number of the band -> where it has it, (time, H, W).
    """
    found: dict[float, dict[int, Mask]] = {}
    valid = ~empty & np.isfinite(values)
    for index in range(values.shape[1]):
        band, there = values[:, index], valid[:, index]
        for fill in _apart(band[there]):
            found.setdefault(fill, {})[index] = there & (band == fill)
    black = valid.all(axis=1) & (values == 0).all(axis=1)
    zeros = int((valid & (values == 0)).any(axis=1).sum())
    # Of several bands all are 0 only where there is no image; if single ones are 0 too, 0 is a value like others.
    if values.shape[1] > 1 and black.sum() >= 4 and 0.002 < black.mean() < 1 and black.sum() > 0.8 * zeros:
        found[0.0] = dict.fromkeys(range(values.shape[1]), black)
    return found


def _apart(band: Array) -> list[float]:
    if band.size < _MIN_PIXELS:
        return []
    found = []
    low, high = band.min(), band.max()
    for extreme in dict.fromkeys((float(low), float(high))):
        if extreme == 0 or (extreme not in _FILLS and abs(extreme) < 1e30):
            continue
        is_fill = band == extreme
        others = band[~is_fill].astype(np.float64)
        # A single pixel may be anything; a band with few values holds classes or a mask.
        if is_fill.sum() < 4 or others.size < _MIN_PIXELS or len(np.unique(others[:4096])) < 8:
            continue
        first, low_1, low_25, middle, high_75, high_99, last = np.percentile(others, [0, 1, 25, 50, 75, 99, 100])
        near = first if extreme == low else last
        spread = max(high_75 - low_25, (high_99 - low_1) / 4, 1e-12)
        if abs(near - extreme) > max(3 * spread, abs(middle - near)):
            found.append(extreme)
    return found
