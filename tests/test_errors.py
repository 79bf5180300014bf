from __future__ import annotations

import pickle

import pytest

from olmoearth_nb import errors
from olmoearth_nb.border import describe, foreign_code
from olmoearth_nb.errors import BuildError, ConfigError, OlmoEarthError


def test_every_error_has_one_base() -> None:
    named = [getattr(errors, name) for name in errors.__all__]
    assert all(issubclass(error, OlmoEarthError) for error in named)


def test_a_message_says_where_expected_found_and_what_to_do() -> None:
    error = ConfigError("Bad value.", where="a.yaml: x", expected="a number", found="'b'", fix="Change it.")
    assert str(error) == "a.yaml: x: Bad value. Expected a number; found 'b'. Change it."


def test_errors_survive_a_process_boundary() -> None:
    error = pickle.loads(pickle.dumps(ConfigError("Bad.", where="f", found="1")))
    assert type(error) is ConfigError
    assert str(error) == "f: Bad. Found 1."


def test_foreign_code_turns_anything_into_one_error() -> None:
    with pytest.raises(BuildError, match=r"w: Reading failed: ZeroDivisionError: division by zero\.") as caught:
        with foreign_code(BuildError, "Reading failed", where="w"):
            1 / 0
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(BuildError, match="SystemExit"), foreign_code(BuildError, "It"):
        raise SystemExit(2)
    with pytest.raises(ConfigError, match="ours"), foreign_code(BuildError, "It"):
        raise ConfigError("ours")
    with pytest.raises(KeyboardInterrupt), foreign_code(BuildError, "It"):
        raise KeyboardInterrupt


def test_a_long_message_is_cut() -> None:
    assert len(describe(ValueError("x" * 5000))) < 500
