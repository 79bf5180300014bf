from __future__ import annotations

import numpy as np
import pytest

from olmoearth_nb.errors import ConfigError
from olmoearth_nb.postprocess.value_transform import LinearValueTransform, value_transform_from


def test_scales_then_adds_and_clips_to_the_type():
    transform = LinearValueTransform(scale=10.0, offset=5.0, output_dtype="int16")
    out = transform.apply(np.array([[0, 1, 200]], dtype=np.uint8))
    assert out.dtype == np.int16
    assert out.tolist() == [[5, 15, 2005]]
    assert transform.apply(np.array([4000.0, -4000.0, 0.29])).tolist() == [32767, -32768, 7]


def test_without_a_type_it_is_that_of_the_product():
    assert LinearValueTransform(scale=0.5).dtype_for("uint8") == np.float64
    assert LinearValueTransform(scale=2).dtype_for("float32") == np.float32
    assert LinearValueTransform(scale=2, output_dtype="uint8").dtype_for("float32") == np.uint8


def test_a_mapping_is_taken():
    assert value_transform_from({"type": "linear", "scale": 2, "output_dtype": "int32"}) == LinearValueTransform(
        scale=2, output_dtype="int32"
    )
    assert value_transform_from(None) is None
    ready = LinearValueTransform(offset=1.0)
    assert value_transform_from(ready) is ready


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"factor": 2}, r"value_transform: .*scale, offset, output_dtype.*'factor'"),
        ({"scale": "2"}, r"value_transform\.scale: .*a number.*'2'"),
        ({"offset": float("nan")}, r"value_transform\.offset"),
        ({"output_dtype": "uint16"}, r"output_dtype: .*uint8, int16, int32, float32.*'uint16'"),
        ({"type": "log"}, r"value_transform\.type"),
        (3.0, r"value_transform: .*mapping.*3\.0"),
    ],
)
def test_what_it_does_not_take(given, message):
    with pytest.raises(ConfigError, match=message):
        value_transform_from(given)
