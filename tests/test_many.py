from __future__ import annotations

import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from olmoearth_nb.many import collected_quickly, distinct, rarely_collected


@given(st.lists(st.integers(0, 5) | st.text(max_size=2)))
def test_distinct_values_and_places_give_the_values_back(values: list[object]) -> None:
    found, places = distinct(values)
    assert [found[place] for place in places] == values
    assert len(set(found)) == len(found)
    assert places == [found.index(value) for value in values]


def test_a_key_is_asked_once_an_object() -> None:
    asked = []

    def key(value: list[int]) -> int:
        asked.append(value)
        return sum(value)

    one, other, third = [1, 2], [3], [4]
    assert distinct([one, other, one, third, one], key) == ([one, third], [0, 0, 0, 1, 0])
    assert asked == [one, other, third]


def test_garbage_is_looked_for_as_before_afterwards() -> None:
    before = gc.get_threshold()
    with pytest.raises(ValueError, match="x"), rarely_collected():
        assert gc.get_threshold() > before
        raise ValueError("x")
    assert gc.get_threshold() == before


def test_blocks_of_two_threads_may_overlap() -> None:
    before = gc.get_threshold()
    one, other = rarely_collected(), rarely_collected()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    assert gc.get_threshold() > before
    other.__exit__(None, None, None)
    assert gc.get_threshold() == before


def test_only_what_is_new_is_looked_at_and_all_of_it_afterwards() -> None:
    def cycle() -> weakref.ref[_Node]:
        node = _Node()
        node.itself = node
        return weakref.ref(node)

    gc.disable()  # only where it is asked for
    try:
        old = cycle()
        with pytest.raises(ValueError, match="x"), collected_quickly(), collected_quickly():
            new = cycle()
            gc.collect()
            assert new() is None
            assert old() is not None
            raise ValueError("x")
        assert gc.get_freeze_count() == 0
        gc.collect()
        assert old() is None
    finally:
        gc.enable()


def test_what_the_user_has_frozen_stays_so() -> None:
    gc.freeze()
    try:
        with collected_quickly():
            pass
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


class _Node:
    itself: _Node
