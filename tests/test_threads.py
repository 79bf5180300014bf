"""Reading ahead and writing behind: the same items in the same order, errors where they belong, no thread left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olmoearth_nb.threads import Behind, ahead


def _threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("olmoearth-nb")]


@given(sizes=st.lists(st.integers(0, 50), max_size=30), budget=st.integers(0, 60))
def test_all_items_come_in_their_order(sizes: list[int], budget: int) -> None:
    items = list(enumerate(sizes))
    assert list(ahead(iter(items), size=lambda item: item[1], budget=budget)) == items
    assert not _threads()


def test_no_more_waits_than_the_budget_allows() -> None:
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    found = ahead(numbers(), size=lambda _: 10, budget=25)
    assert next(found) == 0
    deadline = time.monotonic() + 10
    while len(taken) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    # Three of ten bytes wait: with the third there is no more room. Number 0 is out.
    assert taken == [0, 1, 2, 3]
    assert list(found) == list(range(1, 20))


def test_one_item_may_be_larger_than_the_budget() -> None:
    assert list(ahead(iter([1, 2, 3]), size=lambda _: 1000, budget=1)) == [1, 2, 3]


def test_an_error_comes_after_the_items_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise OSError("the disk is gone")

    found = ahead(broken(), size=lambda _: 1, budget=100)
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(found)
    assert not _threads()


def test_who_stops_early_leaves_no_thread() -> None:
    found = ahead(iter(range(1000)), size=lambda _: 1, budget=5)
    assert next(found) == 0
    found.close()  # type: ignore[attr-defined]
    assert not _threads()


def test_calls_come_one_after_the_other_and_all_are_told_of() -> None:
    done: list[int] = []
    running: list[int] = []

    def call(number: int) -> int:
        running.append(number)
        time.sleep(0.002)
        assert running == list(range(number + 1))
        return number

    with Behind(done.append) as behind:
        for number in range(10):
            behind.call(lambda number=number: call(number))  # type: ignore[misc]
            assert len(done) >= number - 1
    assert done == list(range(10))
    assert not _threads()


def test_the_first_error_of_a_call_is_raised() -> None:
    def fail() -> int:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"), Behind(list[int]().append) as behind:
        behind.call(fail)
    assert not _threads()


def test_after_an_error_outside_what_was_written_is_still_told() -> None:
    done: list[int] = []
    release = threading.Event()

    def slow() -> int:
        release.wait(10)
        return 1

    def outside() -> None:
        with Behind(done.append) as behind:
            behind.call(slow)
            behind.call(lambda: 2)
            release.set()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outside()
    assert done in ([1], [1, 2])
    assert not _threads()
