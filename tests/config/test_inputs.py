from __future__ import annotations

import enum
from pathlib import Path

import pytest

from olmoearth_nb.config import ArgumentInput, inputs_of
from olmoearth_nb.errors import ConfigError

CUSTOM = """
import enum
from typing import Literal

class Way(enum.StrEnum):
    FAST = "fast"
    GOOD = "good"

class Custom:
    def __init__(self, size: int, way: Way = Way.GOOD, share: int | float = 0.5, exact: bool = False,
                 kind: Literal["a", "b"] = "b", limit: int | None = None, anything=3):
        pass
"""


def test_every_argument_has_an_input_of_its_kind(tmp_path: Path) -> None:
    (tmp_path / "custom_inputs.py").write_text(CUSTOM)
    found = inputs_of("custom_inputs.Custom", search_path=[tmp_path])
    assert [(one.name, one.kind, one.default) for one in found] == [
        ("size", "whole", None),
        ("way", "choice", "good"),
        ("share", "number", 0.5),
        ("exact", "flag", False),
        ("kind", "choice", "b"),
        ("limit", "yaml", None),
        ("anything", "yaml", 3),
    ]
    assert found[0].required
    assert not found[1].required
    assert found[1].choices == ("fast", "good")
    assert not isinstance(found[1].default, enum.Enum) or found[1].default in found[1].choices


def test_without_arguments_there_are_no_inputs() -> None:
    assert inputs_of("NoopRaster") == ()
    assert isinstance(inputs_of("CombineGeotiff")[0], ArgumentInput)


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="no component 'Nothing'"):
        inputs_of("Nothing")
