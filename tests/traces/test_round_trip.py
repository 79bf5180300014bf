from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from traced import sound_trace

from olmoearth_nb.traces.data import TraceData
from olmoearth_nb.traces.files import load_trace, save_trace

_DTYPES = st.sampled_from(["bool", "u1", "i2", "i4", "i8", "f2", "f4", "f8"]).map(np.dtype)
_TEXTS = st.text(st.characters(codec="ascii", min_codepoint=32), min_size=1, max_size=5)
_ATTRS = st.dictionaries(
    st.sampled_from(["note", "nodata", "part"]), _TEXTS | st.integers(-9999, 9999) | st.floats(), max_size=2
)


def again(data: TraceData, folder: Path) -> TraceData:
    save_trace(data, folder / "trace.zip")
    return load_trace(folder / "trace.zip")


def features_again(features: dict[str, xr.DataArray], folder: Path) -> dict[str, xr.DataArray]:
    return dict(again(replace(sound_trace(size=8, steps=1), features=features), folder).features)


def check_same(left: dict[str, xr.DataArray], right: dict[str, xr.DataArray]) -> None:
    assert list(left) == list(right)
    for a, b in zip(left.values(), right.values(), strict=True):
        assert (a.dims, a.shape, a.dtype) == (b.dims, b.shape, b.dtype)
        assert a.values.tobytes() == b.values.tobytes()
        assert list(a.attrs) == list(b.attrs)
        for one, other in zip(a.attrs.values(), b.attrs.values(), strict=True):
            assert one == other or (one != one and other != other)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_arrays_come_back_bit_by_bit(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    shape = data.draw(st.lists(st.integers(1, 3), max_size=4).map(tuple))
    dims = ["time", "band", "y", "x"][4 - len(shape) :]
    array = xr.DataArray(data.draw(hnp.arrays(data.draw(_DTYPES), shape)), dims=dims, attrs=data.draw(_ATTRS))
    names = st.sampled_from(["a/b", "<script>", "..", "values", "model.0.é", "x[0]"])
    features = dict.fromkeys(data.draw(st.lists(names, min_size=1, max_size=3, unique=True)), array)
    check_same(features, features_again(features, tmp_path_factory.mktemp("trace")))


@pytest.mark.parametrize(
    "attrs",
    [
        {"units": "days since 2000-01-01"},
        {"units": "seconds"},
        {"_FillValue": 3.0},
        {"scale_factor": 2.0},
        {"calendar": "x"},
    ],
)
def test_attributes_that_netcdf_reads_something_into(attrs: dict[str, Any], tmp_path: Path) -> None:
    features = {"f": xr.DataArray(np.arange(4, dtype=np.float32), dims=["channel"], attrs=attrs)}
    check_same(features, features_again(features, tmp_path))


def test_tables_keep_their_types(tmp_path: Path) -> None:
    table = pd.DataFrame({"band": ["B02"], "windows": [12], "mean": [0.1], "nodata": [np.nan]})
    for rows in (table, table.iloc[:0]):
        training = again(replace(sound_trace(size=8), training=rows), tmp_path).training
        assert training is not None
        assert list(training.columns) == list(table.columns)
        if len(rows):
            pd.testing.assert_frame_equal(training, rows)
