from __future__ import annotations

from pathlib import Path

import pytest

from olmoearth_nb.config.yamlfile import join, parse_yaml, read_yaml
from olmoearth_nb.errors import ConfigError


def test_numbers_with_exponents_are_numbers() -> None:
    value = parse_yaml("a: 1e-4\nb: -2E5\nc: 1.5e+3\nd: e5\ne: '1e-4'", "f.yaml").value
    assert value == {"a": 1e-4, "b": -2e5, "c": 1500.0, "d": "e5", "e": "1e-4"}


def test_keys_written_twice_are_listed_with_the_line_of_the_second() -> None:
    file = parse_yaml("a: 1\nb:\n  - x: 1\n    x: 2\na: 3\n", "f.yaml")
    assert file.value == {"a": 3, "b": [{"x": 2}]}
    assert sorted(file.duplicates) == [("a", 5), ("b[0].x", 4)]


def test_a_key_that_overrides_a_merged_one_is_not_written_twice() -> None:
    file = parse_yaml("base: &base {k: 1}\nown: {<<: *base, k: 2}", "f.yaml")
    assert file.value["own"] == {"k": 2}
    assert file.duplicates == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,\nb: 2\n", r"f\.yaml, line \d, column \d+: It is not YAML: .*flow sequence"),
        ("a: 1\nb: c: d\n", r"f\.yaml, line 2, column 5: It is not YAML: mapping values are not allowed"),
        ("a: !custom 3", r"f\.yaml, line 1, column 4: It is not YAML: could not determine a constructor"),
        ("a: &x {b: *x}", r"f\.yaml, line 1, column 4: It is not YAML: an anchor contains itself"),
        ("a: 1\n---\nb: 2", r"line 2, column 1: It is not YAML: expected a single document"),
        ("a: 2024-99-01", r"f\.yaml: It is not YAML: month must be in 1..12"),
        ("a: \x00", r"f\.yaml: It is not YAML: "),
        ("- a\n- b", r"f\.yaml: It is not a mapping\. Expected keys with values; found list"),
    ],
)
def test_what_is_no_yaml_is_refused_with_its_place(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_yaml(text, "f.yaml")


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("# nothing\n")
    assert read_yaml(path).value == {}


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"f\.yaml: The configuration file is missing"):
        read_yaml(tmp_path / "f.yaml")


def test_paths() -> None:
    assert join("", "a") == "a"
    assert join("a", "b") == "a.b"
    assert join("a.b", 0) == "a.b[0]"
