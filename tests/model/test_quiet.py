import logging
import sys
import warnings

import pytest

from olmoearth_nb.model.quiet import no_stderr, quiet


def test_levels_and_filters_come_back() -> None:
    lightning = logging.getLogger("lightning.pytorch")
    mine = logging.getLogger("mine")
    before = lightning.level, mine.level, list(warnings.filters)
    lightning.setLevel(logging.INFO)
    with pytest.raises(ValueError, match="x"), quiet():
        assert not lightning.isEnabledFor(logging.INFO)
        assert lightning.isEnabledFor(logging.WARNING)
        assert logging.getLogger("rslearn.somewhere").getEffectiveLevel() >= logging.WARNING
        assert mine.level == before[1]
        raise ValueError("x")
    assert lightning.level == logging.INFO
    assert list(warnings.filters) == before[2]
    lightning.setLevel(before[0])


def test_warnings_of_others_are_still_heard() -> None:
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        with quiet():
            warnings.warn_explicit("mine", UserWarning, "mine.py", 1, module="mine")
            warnings.warn_explicit("theirs", UserWarning, "theirs.py", 1, module="lightning.pytorch.trainer")
    assert [str(warning.message) for warning in heard] == ["mine"]


def test_what_is_drawn_on_stderr_is_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    with no_stderr():
        sys.stderr.write("a bar")
    sys.stderr.write("a line")
    assert capsys.readouterr().err == "a line"
