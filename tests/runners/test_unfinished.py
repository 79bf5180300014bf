from __future__ import annotations

from pathlib import Path

from olmoearth_nb.runners.unfinished import Unfinished

A, B, C = ("g", "a"), ("g", "b"), ("h", "a")


def test_what_was_there_at_the_beginning_is_remembered_until_the_end(tmp_path: Path) -> None:
    first = Unfinished(tmp_path, [A, B, C])
    assert first.predicted_before({A}) == {A}
    # It was cut off after B.
    again = Unfinished(tmp_path, [C, B, A])
    assert again.predicted_before({A, B}) == {A}
    # Predictions that were removed meanwhile are not there any more.
    assert again.predicted_before(set()) == set()
    # Of other windows nothing is known.
    assert Unfinished(tmp_path, [A, B]).predicted_before({A, B}) == {A, B}
    again.end()
    assert Unfinished(tmp_path, [A, B, C]).predicted_before({A, B}) == {A, B}
    Unfinished(tmp_path, [A, B, C]).end()
    Unfinished(tmp_path, [A, B]).end()
    Unfinished(tmp_path, [C]).end()
    assert list(tmp_path.iterdir()) == []
