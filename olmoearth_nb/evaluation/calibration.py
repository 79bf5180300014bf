"""Whether a model is right as often as it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

__all__ = ["BINS", "Calibration"]

BINS = 10
"""Bins of equal width."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Labelled pixels (or windows) by the confidence of their prediction, in bins of equal width.

    Attributes:
        count: Number in each bin, shape (B,).
        confidence: Sum of their confidences, the probability of the predicted class, shape (B,).
        correct: How many of them are right, shape (B,).

    Example:
        >>> sure = Calibration(np.array([0, 10]), np.array([0.0, 9.0]), np.array([0, 7]))
        >>> round(sure.error, 3)
        0.2
    """

    count: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    correct: npt.NDArray[np.int64]

    @property
    def error(self) -> float:
        """Expected calibration error: how far confidence and accuracy of a bin are apart on average, 0..1.

        Weighted by the number in the bin (Naeini et al. 2015, doi.org/10.1609/aaai.v29i1.9602); NaN without labels.
        """
        total = int(self.count.sum())
        return float(np.abs(self.confidence - self.correct).sum() / total) if total else float("nan")

    @property
    def table(self) -> pd.DataFrame:
        """One row a bin: ``from`` and ``to`` (confidence), ``count``, mean ``confidence``, ``accuracy``."""
        edges = np.linspace(0, 1, len(self.count) + 1)
        filled = np.where(self.count > 0, self.count, np.nan)
        return pd.DataFrame(
            {
                "from": edges[:-1],
                "to": edges[1:],
                "count": self.count,
                "confidence": self.confidence / filled,
                "accuracy": self.correct / filled,
            }
        )
