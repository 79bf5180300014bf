"""Colours that can be told apart, for values that nobody gave one."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["RGB", "ClassValue", "fallback_colors"]

RGB: TypeAlias = tuple[int, int, int]
"""Red, green, blue, each 0..255."""

ClassValue: TypeAlias = int | str
"""What a raster (int) or a feature's property (int or text) holds for a class."""

_PALETTE_SIZE = 256


def fallback_colors(values: Iterable[ClassValue], *, avoid: Iterable[RGB] = ()) -> dict[ClassValue, RGB]:
    """Colours for class values that nobody gave one.

    An integer 0..255 always gets the same colour whatever else is there, so that windows agree; other values
    follow in order. Colours are as far as can be from each other, from black and white, and from ``avoid``.

    Args:
        values: Class values.
        avoid: Colours in use.

    Example:
        >>> fallback_colors([3, 5])[3] == fallback_colors([3])[3]
        True
    """
    palette = _palette(frozenset(avoid))
    unique = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    fixed = [value for value in unique if isinstance(value, int) and 0 <= value < _PALETTE_SIZE]
    colors: dict[ClassValue, RGB] = {value: palette[value] for value in fixed}
    free = [color for index, color in enumerate(palette) if index not in colors]
    others = [value for value in unique if value not in colors]
    return colors | {value: (free or palette)[i % len(free or palette)] for i, value in enumerate(others)}


@functools.lru_cache(maxsize=32)
def _palette(avoid: frozenset[RGB]) -> list[RGB]:
    """Colours by the farthest-point rule in CIELAB, each as far as can be from all before it."""
    levels = np.linspace(0, 255, 16).round()
    candidates = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    lab = _lab(candidates)
    # Black, white and grey are what maps and nodata look like.
    taken = _lab(np.array([(0, 0, 0), (255, 255, 255), (128, 128, 128), *sorted(avoid)], dtype=np.float64))
    distance = np.linalg.norm(lab[:, np.newaxis] - taken, axis=-1).min(axis=1)
    palette: list[RGB] = []
    for _ in range(_PALETTE_SIZE):
        best = int(distance.argmax())
        red, green, blue = candidates[best].astype(int).tolist()
        palette.append((red, green, blue))
        distance = np.minimum(distance, np.linalg.norm(lab - lab[best], axis=-1))
    return palette


def _lab(rgb: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """CIELAB (D65) of sRGB 0..255, shape (N, 3), by IEC 61966-2-1 and CIE 15."""
    linear = np.where(rgb <= 0.04045 * 255, rgb / 255 / 12.92, ((rgb / 255 + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=-1)
