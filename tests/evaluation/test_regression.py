from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from olmoearth_nb.evaluation.regression import ERRORS, SUMS, RegressionResult, errors_of


def sums_of(label: np.ndarray, predicted: np.ndarray) -> list[float]:
    error = predicted - label
    return [len(label), error.sum(), abs(error).sum(), (error**2).sum(), label.sum(), (label**2).sum()]


def test_errors_by_hand() -> None:
    label, predicted = np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 5.0])
    mae, rmse, bias, r2 = errors_of(sums_of(label, predicted)).tolist()
    assert (mae, rmse, bias) == pytest.approx((1.0, math.sqrt(5 / 3), 1.0))
    assert r2 == pytest.approx(1 - 5 / 2)


def test_labels_that_are_all_the_same_have_no_r2() -> None:
    errors = errors_of([sums_of(np.full(5, 0.1), np.arange(5.0)), [0.0] * 6])
    assert np.isnan(errors[:, 3]).all()
    assert np.isnan(errors[1]).all()


def test_intervals_and_groups() -> None:
    rng = np.random.default_rng(0)
    label = rng.normal(10, 3, (40, 25))
    predicted = label + 0.5 + rng.normal(0, 1, (40, 1))
    sums = pd.DataFrame([sums_of(*pair) for pair in zip(label, predicted, strict=True)], columns=list(SUMS))
    total = dict(zip(ERRORS, errors_of(sums.sum().to_numpy()).tolist(), strict=True))
    windows = pd.DataFrame({"group": "g", "name": [f"w{i}" for i in range(40)], "loss": 1.0, "labels": 25})
    windows["label"], windows["predicted"] = label.mean(axis=1), predicted.mean(axis=1)
    result = RegressionResult(
        name="height", kind="regression", windows=windows, sums=sums, errors=total, pairs=np.zeros((0, 2))
    )
    for name, estimate in result.estimates.items():
        assert estimate.low < total[name] < estimate.high
    # Errors of a window are alike: the interval is that of 40 draws, not of 1,000.
    half = 1.96 * (predicted - label).mean(axis=1).std() / math.sqrt(40)
    bias = result.estimates["bias"]
    assert (bias.high - bias.low) / 2 == pytest.approx(half, rel=0.15)
    assert result.group_row(windows.index[:1])["bias"] == pytest.approx((predicted - label)[0].mean())
    assert "on average of 25" in result.why(0)
