from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from olmoearth_nb.errors import UsageError
from olmoearth_nb.evaluation.calibration import Calibration
from olmoearth_nb.evaluation.classes import SCORES, ClassResult, class_scores
from olmoearth_nb.evaluation.intervals import BOOTSTRAP, WILSON, bootstrap, wilson
from olmoearth_nb.evaluation.ranking import ranked


def made(matrices: list[Any], *, names: tuple[str, ...] = ("water", "forest", "field"), **columns: Any) -> ClassResult:
    """A result of hand-made confusion matrices, one a window."""
    stacked = np.array(matrices)
    window, label, predicted = np.nonzero(stacked)
    labels = stacked.sum(axis=(1, 2))
    right = np.trace(stacked, axis1=1, axis2=2)
    error = np.where(labels > 0, 1 - right / np.maximum(labels, 1), np.nan)
    shares = stacked.sum(axis=1) / np.maximum(labels, 1)[:, None]
    windows = pd.DataFrame(
        {
            "group": "g",
            "name": [f"w{index}" for index in range(len(stacked))],
            "loss": error * 2,
            "labels": labels,
            "accuracy": 1 - error,
            "error": error,
            "entropy": np.linspace(0.1, 0.4, len(stacked)),
            "confidence": 0.75,
            **{f"predicted {name}": shares[:, index] for index, name in enumerate(names)},
            **columns,
        }
    )
    counts = stacked[window, label, predicted]
    return ClassResult(
        name="cover",
        kind="segmentation",
        windows=windows,
        classes=names,
        cells=pd.DataFrame({"window": window, "label": label, "predicted": predicted, "count": counts}),
        scores=pd.DataFrame(class_scores(stacked.sum(axis=0)).T, columns=list(SCORES)),
        calibration=Calibration(np.array([4, 6]), np.array([1.0, 5.0]), np.array([2, 5])),
    )


FIRST = [[6, 2, 0], [1, 3, 0], [0, 0, 0]]
SECOND = [[0, 0, 0], [4, 4, 0], [0, 0, 0]]


def test_scores_by_hand() -> None:
    precision, recall, f1, iou = class_scores([[6, 2, 0], [1, 3, 0], [2, 0, 0]]).tolist()
    assert precision == pytest.approx([6 / 9, 3 / 5, math.nan], nan_ok=True)
    assert recall == pytest.approx([6 / 8, 3 / 4, 0.0])
    assert f1 == pytest.approx([12 / 17, 6 / 9, 0.0])
    assert iou == pytest.approx([6 / 11, 3 / 6, 0.0])


def test_a_class_that_is_not_there_has_no_scores() -> None:
    result = made([FIRST, SECOND])
    assert class_scores(result.matrix)[:, 2].tolist() == pytest.approx([math.nan] * 4, nan_ok=True)
    # Without the absent class: (6/13 + 7/14) / 2.
    assert result.mean_iou.value == pytest.approx((6 / 13 + 7 / 14) / 2)
    table = result.table()
    assert table is not None
    assert table.loc[2, "iou"] == "–"
    assert table["support"].tolist() == [8, 12, 0]
    assert table["predicted"].tolist() == [11, 9, 0]


@given(st.lists(st.lists(st.integers(0, 50), min_size=9, max_size=9), min_size=1, max_size=4))
def test_scores_are_between_precision_and_recall(rows: list[list[int]]) -> None:
    precision, recall, f1, iou = class_scores(np.array(rows).reshape(-1, 3, 3)).transpose(1, 0, 2)
    there = np.isfinite(precision) & np.isfinite(recall)
    assert (f1[there] <= np.maximum(precision, recall)[there] + 1e-12).all()
    assert np.allclose(iou[there], (f1 / (2 - f1))[there])


def test_pixels_are_bootstrapped_by_window_and_points_are_not() -> None:
    dense = made([FIRST, SECOND] * 20)
    assert dense.method == dense.accuracy.method == BOOTSTRAP
    assert dense.accuracy.value == pytest.approx(13 / 20)
    assert dense.accuracy.low < 13 / 20 < dense.accuracy.high
    # Two kinds of windows with 9 of 12 and 4 of 8: as many draws of 40 as there are, by the delta method.
    expected = 1.96 * np.std([9 - 12 * 0.65, 4 - 8 * 0.65]) / 10 / math.sqrt(40)
    assert (dense.accuracy.high - dense.accuracy.low) / 2 == pytest.approx(expected, rel=0.15)
    assert "bootstrap over 40 windows" in dense.notes()[0]
    right, wrong = np.zeros((3, 3), int), np.zeros((3, 3), int)
    right[0, 0], wrong[1, 0] = 1, 1
    points = made([right] * 8 + [wrong] * 2)
    assert points.method == points.accuracy.method == WILSON
    assert (points.accuracy.low, points.accuracy.high) == pytest.approx((0.490162, 0.943318), abs=1e-6)
    assert points.estimates["precision"][0] == points.accuracy
    assert math.isnan(points.estimates["recall"][2].value)
    assert "Wilson" in points.notes()[0]


def test_one_window_says_nothing_of_others() -> None:
    result = made([FIRST])
    assert math.isnan(result.accuracy.low)
    assert str(result.accuracy) == "0.750"
    assert "hint" in result.notes()[0]


def test_wilson_at_the_ends() -> None:
    assert (wilson(0, 10).low, wilson(10, 10).high) == (0.0, 1.0)
    assert wilson(10, 10).low == pytest.approx(0.722467, abs=1e-6)
    assert str(wilson(0, 0)) == "–"


def test_a_bootstrap_is_the_same_every_time_and_skips_what_is_not_defined() -> None:
    counts = np.arange(30.0).reshape(15, 2)

    def statistic(sums: Any) -> Any:
        return np.column_stack([sums[:, 0] / sums[:, 1], np.full(len(sums), np.nan)])

    low, high = bootstrap(counts, statistic)
    again, _ = bootstrap(counts, statistic)
    assert low[0] == again[0] < 210 / 225 < high[0]
    assert np.isnan([low[1], high[1]]).all()


def test_the_windows_behind_a_cell_come_in_order_of_count() -> None:
    result = made([FIRST, SECOND, [[0, 0, 0], [9, 0, 0], [0, 0, 1]]])
    behind = result.behind("forest", "water")
    assert behind[["name", "count"]].to_numpy().tolist() == [["w2", 9], ["w1", 4], ["w0", 1]]
    assert result.behind(1, 0).equals(behind)
    assert len(result.behind("field", "water")) == 0
    for wrong in ("lake", 3, -1):
        with pytest.raises(UsageError, match=r"no such class.*water, forest, field"):
            result.behind("water", wrong)


def test_why_says_which_mistakes() -> None:
    result = made([FIRST, [[5, 0, 0], [0, 0, 0], [0, 0, 0]], np.zeros((3, 3), int)])
    assert result.why(0) == "3 of 12 labels wrong: water called forest (2), forest called water (1)"
    assert result.why(1) == "none of 5 labels is wrong; confidence 0.75"
    assert result.why(2).startswith("predicted ")


def test_why_of_a_single_label_is_what_it_was_called() -> None:
    right, wrong = np.zeros((3, 3), int), np.zeros((3, 3), int)
    right[0, 0], wrong[1, 2] = 1, 1
    result = made([right, wrong], label=["water", "forest"])
    assert result.why(0) == "water, right; confidence 0.75"
    assert result.why(1) == "forest, called field; confidence 0.75"


def test_a_rare_class_does_not_change_what_a_mean_is_of() -> None:
    # One window has the only water, which is never found: draws without it are no better for that.
    rare = [[0, 5, 0], [0, 20, 0], [0, 0, 0]]
    common = [[0, 0, 0], [0, 25, 0], [0, 0, 0]]
    result = made([rare] + [common] * 9)
    assert result.mean_iou.value == pytest.approx(245 / 250 / 2)
    assert result.mean_iou.high == pytest.approx(0.5)


def test_ranking_leaves_out_windows_without_a_value() -> None:
    result = made([FIRST, SECOND, np.zeros((3, 3), int), SECOND])
    table = ranked(result, 10, "error")
    assert table[["rank", "name", "value"]].to_numpy().tolist() == [[1, "w1", 0.5], [2, "w3", 0.5], [3, "w0", 0.25]]
    assert ranked(result, 1, "entropy")["name"].tolist() == ["w3"]
    for n, by, told in ((0, "loss", "1 or more"), (1, "size", "loss, entropy, error")):
        with pytest.raises(UsageError, match=told):
            ranked(result, n, by)


def test_groups_add_up_their_windows() -> None:
    result = made([FIRST, SECOND])
    row = result.group_row(result.windows.index)
    assert row["accuracy"] == pytest.approx(13 / 20)
    assert row["mean iou"] == pytest.approx(result.mean_iou.value)
    assert result.group_row(result.windows.index[1:])["labels"] == 8


def test_calibration_by_hand() -> None:
    calibration = made([FIRST]).calibration
    # |1 - 2| of 4 and |5 - 5| of 6.
    assert calibration.error == pytest.approx(0.1)
    assert calibration.table["accuracy"].tolist() == pytest.approx([0.5, 5 / 6])
    assert math.isnan(Calibration(np.zeros(2, int), np.zeros(2), np.zeros(2, int)).error)


def test_names_are_text_in_a_table() -> None:
    result = made([FIRST], names=("<b>water</b>", "forest", "field"))
    assert "<b>water" not in result._repr_html_()
    assert "&lt;b&gt;water" in result._repr_html_()
