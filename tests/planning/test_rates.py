from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import pytest

from olmoearth_nb.errors import UsageError
from olmoearth_nb.planning.rates import Rates, figures_of


def test_what_is_given_goes_before_what_was_found_and_that_before_defaults() -> None:
    figures = figures_of(Rates(workers=7, gpus=1), {"workers": 2.0, "gflop_per_window": 5.0})
    assert (figures["workers"].value, figures["workers"].source) == (7.0, "given")
    assert (figures["gpus"].value, figures["gpus"].source) == (1.0, "given")  # though it is the default
    assert (figures["gflop_per_window"].value, figures["gflop_per_window"].source) == (5.0, "here")
    assert figures["gpu_tflops"].source == "assumed"
    assert figures["build_ms_per_mb"].source == "measured"
    assert "seconds_per_window" not in figures
    assert [figures[name].within for name in ("workers", "gflop_per_window", "build_ms_per_mb", "gpu_tflops")] == [
        1.0,
        1.5,
        2.0,
        3.0,
    ]


def test_every_figure_says_what_it_is() -> None:
    for one in figures_of(Rates(**{one.name: 2 for one in fields(Rates)}), {}).values():
        assert one.about
        assert one.value == 2


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, "3", True])
def test_rates_are_above_zero(value: Any) -> None:
    with pytest.raises(UsageError, match="gpus"):
        Rates(gpus=value)
