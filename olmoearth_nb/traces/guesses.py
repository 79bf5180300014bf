"""What may have happened to values so that they are not like others: guesses that are tried one by one.

A guess is a change of the values that would make them fit: another unit, a logarithm, another order of bands. How
badly values fit is the Kullback-Leibler divergence of a normal distribution with their mean and standard deviation from
one with those of the reference, the mean over bands: (z² + r² - 1) / 2 - ln r with z = (mean - mean') / std' and
r = std / std'. 0 is the same distribution; the window of a single class among many has 1 to 3, other units 100.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from olmoearth_nb.traces.pixels import Array

__all__ = ["Guess", "Moments", "best_guess", "best_order", "misfit"]

_FACTORS = {
    10.0: "10 times",
    100.0: "100 times",
    1e3: "1000 times",
    1e4: "10000 times",
    255.0: "255 times",
    65535.0: "65535 times",
    10000 / 255: "10000/255 times",
    257.0: "257 times",
}
# So that a constant band fits badly, but not infinitely so.
_MIN_RATIO = 0.02


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of bands.

    Attributes:
        mean: (band,).
        std: (band,), over 0.
    """

    mean: Array
    std: Array

    @classmethod
    def of(cls, pixels: Array) -> Moments:
        """Those of pixels.

        Args:
            pixels: (band, N), NaN where there is nothing.
        """
        return cls(np.nanmean(pixels, axis=1), np.nanstd(pixels, axis=1))


@dataclass(frozen=True, kw_only=True)
class Guess:
    """What may have happened.

    Attributes:
        code: Of the finding: ``scale`` or ``logarithm``.
        words: How the values look next to the reference.
        number: The factor; 0 of logarithms.
        before: How badly the values fit, as they are.
        after: How badly they fit without what happened.
    """

    code: str
    words: str
    number: float
    before: float
    after: float


def misfit(seen: Moments, reference: Moments) -> Array:
    """How badly each band fits that of the reference, see the module.

    Args:
        seen: What is looked at.
        reference: What it should be like.
    """
    z = (seen.mean - reference.mean) / reference.std
    ratio = np.maximum(seen.std / reference.std, _MIN_RATIO)
    found: Array = (z**2 + ratio**2 - 1) / 2 - np.log(ratio)
    return found


def best_guess(pixels: Array, reference: Moments, *, gain: float = 3.0, fit: float = 3.0) -> Guess | None:
    """The change after which values fit the reference far better; None if none does.

    Args:
        pixels: (band, N), NaN where there is nothing.
        reference: What they should be like.
        gain: By how much the misfit must fall; half of it if then next to nothing is left.
        fit: What may be left of it.
    """
    before = float(misfit(Moments.of(pixels), reference).mean())
    if before < gain / 2:
        return None
    if len(pixels) < 3:
        # One or two bands of water or snow may be ten times darker or brighter than others.
        gain *= 1.7
    found = []
    for code, words, number, change in _changes():
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            changed = change(pixels)
        if not np.isfinite(changed).any(axis=1).all():
            continue
        moments = Moments.of(np.where(np.isfinite(changed), changed, np.nan))
        bands = misfit(moments, reference)
        # Clouds and water make some bands ten times brighter or darker, but not all of them alike.
        uneven = code == "scale" and 0.05 < number < 20 and _unevenness(moments, reference) > 0.5
        if bands.max() <= 2.5 * fit and not uneven:
            found.append(Guess(code=code, words=words, number=number, before=before, after=float(bands.mean())))
    best = min(found, key=lambda one: one.after, default=None)
    if best is None or best.after > fit:
        return None
    enough = gain / 2 if best.after < 0.5 and len(pixels) >= 3 else gain
    return best if before - best.after >= enough else None


def _unevenness(seen: Moments, reference: Moments) -> float:
    """Standard deviation over bands of the logarithm of how much brighter they are."""
    ratio = seen.mean / np.where(reference.mean == 0, np.nan, reference.mean)
    return float(np.log(ratio).std()) if (ratio > 0).all() else 0.0


def _changes() -> list[tuple[str, str, float, Callable[[Array], Array]]]:
    changes: list[tuple[str, str, float, Callable[[Array], Array]]] = []
    for factor, name in _FACTORS.items():
        changes.append(("scale", f"about {name} larger", factor, lambda x, f=factor: x / f))  # type: ignore[misc]
        changes.append(("scale", f"about {name} smaller", 1 / factor, lambda x, f=factor: x * f))  # type: ignore[misc]
    changes.append(("logarithm", "like linear power where decibels are meant", 0.0, lambda x: 10 * np.log10(x)))
    changes.append(
        ("logarithm", "like decibels where linear power is meant", 0.0, lambda x: 10 ** (np.minimum(x, 300) / 10))
    )
    return changes


def best_order(
    seen: Moments,
    reference: Moments,
    *,
    gain: float,
    fit: float = 1.5,
    many: bool = False,
    ends: tuple[Array, Array] | None = None,
) -> tuple[list[int], float] | None:
    """The order of bands that fits the reference far better than the one that is; None if none does.

    Args:
        seen: What is looked at.
        reference: What it should be like.
        gain: By how much the misfit must fall, summed over bands, and by a quarter of it for each band that moves.
        fit: What may be left of it in bands that move.
        many: Whether what is seen is of many windows: if they fit in another order as if made for it, that is enough.
        ends: Low and high ends of what is seen, (2, band), and least and largest values of the reference, (2, band).
            Bands of digital numbers have much the same mean, but haze gives each a darkest value of its own: what lies
            beyond all that the reference has counts too.

    Returns:
        For each band of the reference the band that is seen in its place, and the fall of the misfit.
    """
    count = len(seen.mean)
    costs = np.stack([misfit(Moments(seen.mean[[i] * count], seen.std[[i] * count]), reference) for i in range(count)])
    if ends is not None:
        (low, high), (least, largest) = ends
        beyond = np.maximum(least - low[:, None], 0) + np.maximum(high[:, None] - largest, 0)
        costs = costs + (beyond / reference.std) ** 2 / 2
    _, places = linear_sum_assignment(costs)
    moved = [i for i in range(count) if places[i] != i]
    if not moved:
        return None
    left = [float(costs[i, places[i]]) for i in moved]
    fall = float(sum(costs[i, i] for i in moved)) - sum(left)
    exact = many and max(left) < 0.1 and fall > max(8 * sum(left), 0.05)
    if not exact and (fall < gain or fall < gain / 4 * len(moved) or max(left) > fit):
        return None
    return [int(i) for i in np.argsort(places)], fall
