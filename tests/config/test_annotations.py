from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Optional

import pytest
from rasterio.crs import CRS
from rslearn.utils.geometry import Projection

from olmoearth_nb.config.annotations import coerce, describe, fits, is_plain, item_type, value_type


class Mode(enum.StrEnum):
    CENTER = "center_crop"
    PAD = "pad_to_fill"


@dataclass
class Record:
    size: int

    def __post_init__(self) -> None:
        raise AssertionError("nothing is constructed")


@pytest.mark.parametrize(
    ("value", "annotation"),
    [
        (1, int),
        (1, float),
        (1.5, float),
        (3, int | float),
        (None, Optional[int]),  # noqa: UP045  the older spelling is what is tested
        ("a", str | None),
        ("a", Literal["a", "b"]),
        ("center_crop", Mode),
        ("PAD", Mode),
        ([1, 2], tuple[int, int]),
        ([1, 2], Sequence[float]),
        ({"a": 1}, dict[str, int]),
        ({"a": "x"}, Mapping[str, Any]),
        ("some/file", Path),
        ("EPSG:32633", CRS),
        (32633, CRS | None),
        (object(), Any),
        (3, "NotImported"),
    ],
)
def test_values_that_fit(value: object, annotation: object) -> None:
    assert fits(value, annotation)


@pytest.mark.parametrize(
    ("value", "annotation", "expected"),
    [
        (True, int, "a whole number"),
        (True, float, "a number"),
        (1.5, int, "a whole number"),
        ("1", int, "a whole number"),
        ("1", float | None, "a number or null"),
        (1, bool, "true or false"),
        (3, str, "text"),
        (None, int, "a whole number"),
        ("c", Literal["a", "b"], "one of 'a', 'b'"),
        ("crop", Mode, "one of 'center_crop', 'pad_to_fill'"),
        ([1, "x"], list[int], "a list of a whole number"),
        ([1, 2, 3], tuple[int, int], "a list of a whole number"),
        ("EPSG:99999999", CRS, "a CRS, such as EPSG:32633"),
        (True, CRS, "a CRS, such as EPSG:32633"),
        ("EPSG:3857", Projection, "an object of Projection, given as class_path and init_args"),
        (3, dict[str, int], "a mapping"),
    ],
)
def test_values_that_do_not_fit(value: object, annotation: object, expected: str) -> None:
    assert not fits(value, annotation)
    assert describe(annotation) == expected


def test_what_is_passed_on() -> None:
    assert coerce("EPSG:32633", CRS) == CRS.from_epsg(32633)
    assert coerce(32633, CRS | None) == CRS.from_epsg(32633)
    assert coerce("pad_to_fill", Mode | None) is Mode.PAD
    assert coerce("a/b", Path) == Path("a/b")
    assert coerce("a/b", str | Path) == "a/b"
    assert coerce(None, CRS | None) is None
    # The number stays as it is written: 128 and 128.0 make different names of grid cells.
    assert repr(coerce(128, float)) == "128"


def test_types_of_what_is_inside() -> None:
    assert item_type(list[int] | None) is int
    assert item_type(list) is Any
    assert item_type(int) is None
    assert item_type(Any) is Any
    assert value_type(Mapping[str, Record]) is Record
    assert value_type(list[int]) is None


def test_annotations_that_would_need_an_object_are_not_plain() -> None:
    assert is_plain(dict[str, list[int | None]])
    assert is_plain(Literal["a"] | Mode | Path | CRS)
    assert not is_plain(Record | None)
    assert not is_plain(list[Record])
