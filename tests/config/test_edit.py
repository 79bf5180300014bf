from __future__ import annotations

import copy
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from olmoearth_nb.config.edit import KeptFile, edited_yaml
from olmoearth_nb.config.yamlfile import parse_yaml
from olmoearth_nb.errors import ConfigError, UsageError

SAMPLE = Path(__file__).parents[2] / "olmoearth_run_data" / "sample" / "olmoearth_run.yaml"
ODD = """\
# Head.
---
top: True     # YAML 1.1
section:

    first:    # about first
          class_path:   "a.B"
          init_args:
                # about size
                size: 0x10
                name: 'it''s'

                flags: {x: 1,  y: [1, 2 ,3]}   # flow
    # about second
    second: {class_path: c.D, init_args: {size: 1.50}}
    third:
# about after
after:
- 1
-   two
"""


def value_of(text: str) -> dict[str, Any]:
    return parse_yaml(text, "f.yaml").value


def edited(text: str, path: str, value: object) -> str:
    return edited_yaml(text, path.split("."), value, where="f.yaml")


def lines_that_differ(before: str, after: str) -> list[tuple[str, str]]:
    pairs = zip(before.split("\n"), after.split("\n"), strict=True)
    return [(one, other) for one, other in pairs if one != other]


@pytest.mark.parametrize(
    ("path", "value", "before", "after"),
    [
        ("section.first.init_args.size", 20, "size: 0x10", "size: 20"),
        ("section.first.init_args.name", "it's new", "name: 'it''s'", "name: 'it''s new'"),
        ("section.first.class_path", "a.C", 'class_path:   "a.B"', 'class_path:   "a.C"'),
        ("section.second.init_args.size", 2.5, "{size: 1.50}", "{size: 2.5}"),
        (
            "section.first.init_args.flags.x",
            True,
            "{x: 1,  y: [1, 2 ,3]}   # flow",
            "{x: true,  y: [1, 2 ,3]}   # flow",
        ),
        ("section.first.init_args.flags.y", [1], "y: [1, 2 ,3]}   # flow", "y: [1]}   # flow"),
        ("section.third", "x", "third:", "third: x"),
        ("top", None, "top: True     # YAML 1.1", "top: null     # YAML 1.1"),
    ],
)
def test_only_the_value_is_replaced(path: str, value: object, before: str, after: str) -> None:
    ((one, other),) = lines_that_differ(ODD, edited(ODD, path, value))
    assert before in one
    assert one.replace(before, after) == other


def test_keys_come_after_the_last_and_before_comments_of_what_follows() -> None:
    arguments = value_of(ODD)["section"]["first"]["init_args"]
    after = edited(ODD, "section.first.init_args", {**arguments, "more": 3, "nested": {"a": {"b": 1}}})
    added = ["more: 3", "nested:", "  a:", "    b: 1"]
    flow = "                flags: {x: 1,  y: [1, 2 ,3]}   # flow\n"
    assert after == ODD.replace(flow, flow + "".join(f"{' ' * 16}{line}\n" for line in added))


def test_keys_of_one_line_stay_in_it() -> None:
    after = edited(ODD, "section.second", {"class_path": "c.D", "init_args": {"size": 1.5, "new": "x"}})
    assert after == ODD.replace("{size: 1.50}", "{size: 1.50, new: x}")
    after = edited(ODD, "section.second", {"class_path": "c.E"})
    assert after == ODD.replace("{class_path: c.D, init_args: {size: 1.50}}", "{class_path: c.E}")
    after = edited(ODD, "section.first.init_args.flags", {"y": [1, 2, 3]})
    assert after == ODD.replace("{x: 1,  y:", "{y:")


def test_a_key_goes_with_the_comment_in_its_line_only() -> None:
    after = edited(ODD, "section.first.init_args", {"size": 16, "name": "it's"})
    assert after == ODD.replace("                flags: {x: 1,  y: [1, 2 ,3]}   # flow\n", "")
    assert "# about second" in after


def test_a_text_becomes_a_mapping_and_back() -> None:
    text = "a: One  # which\nb: 2\n"
    after = edited(text, "a", {"class_path": "Two", "init_args": {"n": 1}})
    assert value_of(after) == {"a": {"class_path": "Two", "init_args": {"n": 1}}, "b": 2}
    assert value_of(edited(after, "a", "One")) == {"a": "One", "b": 2}


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_mark_stay(end: str, mark: str) -> None:
    text = mark + ODD.replace("\n", end)
    after = edited(text, "section.first.init_args", {"size": 16, "more": 1})
    assert after.startswith(mark)
    assert after.count("\n") == after.count(end)
    assert f"size: 0x10{end}" in after
    assert f"more: 1{end}" in after


def test_a_last_line_without_an_end_gets_one() -> None:
    assert edited("a:\n  b: 1", "a", {"b": 1, "c": 2}) == "a:\n  b: 1\n  c: 2\n"


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("base: &b {n: 1}\na: *b\n", "a.n", 2),
        ("base: &b 1\na: *b\n", "base", 2),
        ("base: &b {n: 1}\na: {<<: *b}\n", "a.n", 2),
        ("a: &x\n  n: 1\nb: *x\n", "a.n", 2),
    ],
)
def test_anchors_are_not_changed_elsewhere(text: str, path: str, value: object) -> None:
    with pytest.raises(ConfigError, match=r"can't be changed here alone\. Expected plain keys"):
        edited(text, path, value)


def test_keys_written_twice_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"f\.yaml: The key a\.b is written twice \(again in line 3\)"):
        edited("a:\n  b: 1\n  b: 2\n", "a.b", 3)


scalars = st.one_of(
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.text("aZ0:#-'\"{}[],&*!|>%@` é\t\n", max_size=12),
)
PLACES = [
    ("partition_strategies", "partition_request_geometry", "init_args", "grid_size"),
    ("partition_strategies", "prepare_window_geometries", "class_path"),
    ("partition_strategies", "prepare_window_geometries", "init_args", "use_utm"),
    ("partition_strategies", "prepare_window_geometries", "init_args", "output_projection", "init_args", "crs"),
    (
        "partition_strategies",
        "prepare_window_geometries",
        "init_args",
        "output_projection",
        "init_args",
        "y_resolution",
    ),
]


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(PLACES), scalars)
def test_any_scalar_comes_back_and_nothing_else_differs(place: tuple[str, ...], value: object) -> None:
    text = SAMPLE.read_text()
    after = edited_yaml(text, place, value)
    expected = value_of(text)
    inner = expected
    for key in place[:-1]:
        inner = inner[key]
    same = inner[place[-1]] == value and type(inner[place[-1]]) is type(value)
    inner[place[-1]] = value
    assert value_of(after) == expected
    # A text with line breaks takes more lines in quotes; what is before and after it is the same.
    start = (
        next(i for i, pair in enumerate(zip(text, after + "\0", strict=False)) if pair[0] != pair[1]) if not same else 0
    )
    line = text.rfind("\n", 0, start)
    assert text[:line] == after[:line]
    rest = text[text.find("\n", start) :]
    assert same or after.endswith(rest)


@settings(deadline=None, max_examples=30)
@given(
    st.dictionaries(st.sampled_from(["grid_size", "overlap_size", "clip", "limit", "zeta"]), scalars, max_size=5),
    st.sampled_from(["partition_request_geometry", "prepare_window_geometries"]),
)
def test_any_arguments_come_back_and_all_comments_of_others_stay(arguments: dict[str, Any], stage: str) -> None:
    text = SAMPLE.read_text()
    before = value_of(text)
    after = edited_yaml(text, ["partition_strategies", stage, "init_args"], arguments)
    expected = copy.deepcopy(before)
    expected["partition_strategies"][stage]["init_args"] = arguments
    assert value_of(after) == expected
    assert list(value_of(after)) == list(before)
    kept = [line for line in text.split("\n") if line.lstrip().startswith("#")]
    assert [line for line in after.split("\n") if line in kept] == kept
    head, tail = text.split("partition_strategies:")[0], text[text.index("\n# How the results of windows") :]
    assert after.startswith(head)
    assert after.endswith(tail)


# ---- files -----------------------------------------------------------------------------------------------------


def test_a_file_keeps_its_mode_and_its_versions(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("a: 1\n")
    path.chmod(0o640)
    file = KeptFile.read(path).write("a: 2\n").write("a: 3\n").write("a: 1\n").write("a: 4\n")
    assert path.read_text() == file.text == "a: 4\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    kept = {one.name: one.read_text() for one in tmp_path.iterdir() if one != path}
    assert kept == {"run.yaml.bak": "a: 1\n", "run.yaml.bak2": "a: 2\n", "run.yaml.bak3": "a: 3\n"}


def test_nothing_is_written_if_nothing_changes(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("a: 1\n")
    KeptFile.read(path).write("a: 1\n")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("change", ["a: 2\n", None])
def test_a_file_that_changed_meanwhile_is_left_alone(tmp_path: Path, change: str | None) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("a: 1\n")
    file = KeptFile.read(path)
    path.unlink() if change is None else path.write_text(change)
    with pytest.raises(UsageError, match=r"run\.yaml: The file has changed since it was read"):
        file.write("a: 3\n")
    assert (path.read_text() if path.exists() else None) == change
    assert len(list(tmp_path.iterdir())) == (change is not None)


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("a: 1\n")
    link.symlink_to(real)
    KeptFile.read(link).write("a: 2\n")
    assert link.is_symlink()
    assert real.read_text() == "a: 2\n"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        KeptFile.read(tmp_path / "f.yaml")
    with pytest.raises(ConfigError, match="can't be read: No such file"):
        KeptFile.read(tmp_path / "none.yaml")
