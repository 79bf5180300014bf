from typing import Any

import numpy as np
import pytest
import shapely

from olmoearth_nb.errors import ConfigError, GeometryError, InputFileError
from olmoearth_nb.labels.rasterize import burn, check_nodata, check_value, label_names, resolve_dtype

UINT8 = np.dtype(np.uint8)


@pytest.mark.parametrize(("name", "dtype"), [("INT32", np.int32), ("uint8", np.uint8), ("Float32", np.float32)])
def test_data_types_are_named_in_any_case(name: str, dtype: type) -> None:
    assert resolve_dtype(name, where="dtype") == np.dtype(dtype)


@pytest.mark.parametrize("name", ["float64", "byte", "", None])
def test_unknown_data_types_are_refused(name: Any) -> None:
    with pytest.raises(ConfigError, match=r"P\.dtype: Not a data type.*uint8, uint16.*float32; found"):
        resolve_dtype(name, where="P.dtype")


@pytest.mark.parametrize(
    ("value", "dtype", "expected"), [(255, "uint8", 255), (-1, "int8", -1), (-1, "float32", -1.0), (2.0, "int32", 2)]
)
def test_nodata_values_that_fit(value: float, dtype: str, expected: float) -> None:
    result = check_nodata(value, np.dtype(dtype), where="n")
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [(-1, "uint8"), (256, "uint8"), (0.5, "int16"), (float("nan"), "int16"), ("0", "uint8"), (None, "uint8")],
)
def test_nodata_values_that_do_not_fit_are_refused(value: Any, dtype: str) -> None:
    with pytest.raises(ConfigError, match=rf"n: The nodata value does not fit a {dtype} raster\. Expected a whole"):
        check_nodata(value, np.dtype(dtype), where="n")


def test_nan_is_a_nodata_value_of_floats() -> None:
    assert np.isnan(check_nodata(float("nan"), np.dtype(np.float32), where="n"))


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (256, "uint8"),
        (-1, "uint8"),
        (2.5, "int32"),
        (2**31, "int32"),
        (float("inf"), "float32"),
        (float("nan"), "float32"),
        (float("nan"), "uint8"),
        (1e39, "float32"),
        (10**400, "float32"),
    ],
)
def test_values_that_an_array_would_change_are_refused(value: float, dtype: str) -> None:
    with pytest.raises(InputFileError, match=rf"task 7, annotation 2: .*does not fit a {dtype} raster.*found"):
        check_value(value, np.dtype(dtype), where="task 7, annotation 2")


@pytest.mark.parametrize(("value", "dtype"), [(0, "uint8"), (3.0, "uint8"), (24.25, "float32"), (-5, "int8")])
def test_values_that_fit_pass(value: float, dtype: str) -> None:
    check_value(value, np.dtype(dtype), where="here")


def test_polygons_cover_pixels_by_their_centre_and_later_ones_win() -> None:
    array = burn(
        [(shapely.box(-3, -7, 0.4, -5), 4), (shapely.box(-1.6, -6, 1, -4), 0)],
        (-4, -8, 1, -4),
        nodata_value=255,
        where="task",
    )
    n = 255
    expected = [[n, n, n, n, n], [n, 4, 4, 4, n], [n, 4, 0, 0, 0], [n, n, 0, 0, 0]]
    assert array.dtype == np.uint8
    np.testing.assert_array_equal(array, expected)


def test_nothing_to_burn_gives_nodata() -> None:
    array = burn([(shapely.Polygon(), 3)], (0, 0, 3, 2), nodata_value=7, where="task")
    np.testing.assert_array_equal(array, np.full((2, 3), 7))


def test_an_area_of_a_continent_is_refused() -> None:
    with pytest.raises(GeometryError, match="task 3: An area of 400000 x 300000 pixels is too large"):
        burn([], (0, 0, 400000, 300000), nodata_value=0, where="task 3")


def test_label_names_are_those_of_all_annotations(make_task: Any) -> None:
    point = shapely.Point(1, 2)
    task = make_task((point, {"b": 1, "c": None}), (point, {"a": 2}))
    assert label_names(task.annotations) == ["a", "b", "c"]
