from __future__ import annotations

from pathlib import Path

import pytest

from olmoearth_nb.errors import MissingStepError, StaleScratchError
from olmoearth_nb.store.stamps import Stamps


@pytest.fixture
def stamps(tmp_path: Path) -> Stamps:
    return Stamps(tmp_path / "state" / "stamps.json", tmp_path)


def test_a_step_begun_from_other_files_is_noticed_by_name(stamps: Stamps) -> None:
    stamps.begin("partition", {"request": "a", "mask": None}, redo="runner.partition(overwrite=True)")
    with pytest.raises(StaleScratchError, match=r"request changed since the step 'partition'.*overwrite=True"):
        stamps.begin("partition", {"request": "b", "mask": None}, redo="runner.partition(overwrite=True)")
    assert stamps.inputs("partition") == {"request": "a", "mask": None}


def test_an_unfinished_step_is_missing_and_names_the_call(stamps: Stamps) -> None:
    inputs = {"request": "a"}
    with pytest.raises(MissingStepError, match=r"Call runner\.partition\(\) first"):
        stamps.require("partition", inputs, call="runner.partition()", redo="again")
    stamps.begin("partition", inputs, redo="again")
    with pytest.raises(MissingStepError):
        stamps.require("partition", inputs, call="runner.partition()", redo="again")
    stamps.finish("partition")
    stamps.require("partition", inputs, call="runner.partition()", redo="again")


def test_beginning_again_with_the_same_inputs_keeps_it_done(stamps: Stamps) -> None:
    stamps.begin("build", {"x": 1}, redo="again")
    stamps.finish("build")
    stamps.begin("build", {"x": 1}, redo="again")
    assert stamps.is_done("build")


def test_a_dropped_step_can_begin_with_other_inputs(stamps: Stamps) -> None:
    stamps.begin("build", {"x": 1}, redo="again")
    stamps.drop("build", "never begun")
    stamps.begin("build", {"x": 2}, redo="again")
    assert stamps.inputs("build") == {"x": 2}
    assert not stamps.is_done("build")


def test_a_damaged_record_is_an_error_for_people(stamps: Stamps) -> None:
    stamps.path.parent.mkdir()
    stamps.path.write_text("{half")
    with pytest.raises(StaleScratchError, match="can't be read"):
        stamps.is_done("build")
