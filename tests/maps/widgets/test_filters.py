from __future__ import annotations

import geopandas as gpd
import pytest
from shapely import box

from olmoearth_nb.errors import UsageError
from olmoearth_nb.maps.widgets.filters import Filters, WindowRows


def table(**columns: list[object]) -> gpd.GeoDataFrame:
    count = len(next(iter(columns.values())))
    return gpd.GeoDataFrame(columns, geometry=[box(0, 0, 1, 1)] * count, crs=4326)


def rows() -> WindowRows:
    return WindowRows(
        table(
            name=["a1", "a2", "b10", "b2"],
            group=["g"] * 4,
            partition=["partition_1", "partition_1", "partition_10", "partition_2"],
            partitions=["partition_1, partition_10", "partition_1", "partition_10", "partition_2"],
            state=["failed", "built", None, "built"],
            reason=["Out of reach", None, None, None],
        )
    )


def test_a_partition_has_all_windows_that_it_needs() -> None:
    windows = rows()
    assert windows.options("partition") == {"partition_1": 2, "partition_2": 1, "partition_10": 2}
    assert windows.matching(Filters(partition="partition_10")).tolist() == [0, 2]
    # One name is the beginning of another.
    assert windows.matching(Filters(partition="partition_1")).tolist() == [0, 1]


def test_filters_narrow_each_other() -> None:
    windows = rows()
    assert windows.options("state") == {"built": 2, "failed": 1}
    assert windows.options("split") == {}
    assert windows.matching(Filters(state="built", partition="partition_1")).tolist() == [1]
    assert windows.matching(Filters(state="failed", partition="partition_2")).tolist() == []
    windows.know_classes(["water", None, "water", "forest"])
    assert windows.options("label_class") == {"forest": 1, "water": 2}
    assert windows.matching(Filters(label_class="water", state="failed")).tolist() == [0]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", [0, 1, 2, 3]),
        ("B", [1, 2, 3]),
        ("b1", [2]),
        ("REACH out", [0]),
        ("a1 built", []),
        ("partition_2", [3]),
        ("(.*", []),
    ],
)
def test_every_word_is_somewhere_in_any_case(text: str, found: list[int]) -> None:
    assert rows().matching(Filters(text=text)).tolist() == found


def test_a_class_can_be_searched_once_it_is_known() -> None:
    windows = rows()
    assert windows.matching(Filters(text="meadow")).tolist() == []
    windows.know_classes(["meadow", None, None, "wood"])
    assert windows.matching(Filters(text="meadow")).tolist() == [0]


def test_rows_are_sorted_and_those_without_a_value_come_last() -> None:
    windows = WindowRows(table(name=list("abcd"), value=[3.0, float("nan"), 1.0, 2.0], split=["x", None, "y", "x"]))
    every = windows.matching(Filters())
    assert windows.ordered(every, "value", descending=False).tolist() == [2, 3, 0, 1]
    assert windows.ordered(every, "value", descending=True).tolist() == [0, 3, 2, 1]
    # Equal ones stay in the order of the table.
    assert windows.ordered(every, "split", descending=False).tolist() == [0, 3, 2, 1]


def test_names_are_unique_or_refused() -> None:
    assert WindowRows(table(name=["w", "w"], group=["a", "b"])).names == ["a/w", "b/w"]
    with pytest.raises(UsageError, match=r"in the table twice.*'a/w'"):
        WindowRows(table(name=["w", "w"], group=["a", "a"]))
    with pytest.raises(UsageError, match=r"no windows table.*'name'"):
        WindowRows(table(group=["a"]))


def test_what_no_window_has_is_refused() -> None:
    windows = rows()
    windows.check("state", "built")
    with pytest.raises(UsageError, match=r"this state. Expected one of built, failed; found 'bilt'"):
        windows.check("state", "bilt")
    with pytest.raises(UsageError, match="a table with a column 'split'"):
        windows.check("split", "train")
    with pytest.raises(UsageError, match=r"no such window. Expected a name such as 'a1'; found 'zz'"):
        windows.place_of("zz")
