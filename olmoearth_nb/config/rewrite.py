"""Edits of a configuration repeated in its text, YAML or JSON: comments, order and layout of the rest are kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import yaml

from olmoearth_nb.config.renamed import Add, Drop, Edit, Keys, Put
from olmoearth_nb.config.renamed.draft import KEEP
from olmoearth_nb.config.yamltext import block, flow, line_end, newline, scalar, value_end

__all__ = ["masked", "rewritten_json", "rewritten_yaml", "unmasked"]

_VARIABLE = re.compile(r"\$\{([^{}]+)\}")


def masked(text: str) -> str:
    """A text whose template variables are plain words of the same length: ``[${A}]`` is no YAML.

    Args:
        text: The text.
    """
    return _VARIABLE.sub("\ue000\ue001\\1\ue002", text)


def unmasked(text: str) -> str:
    """The text that was masked.

    Args:
        text: A masked text.
    """
    return re.sub("\ue000\ue001([^\ue002]+)\ue002", r"${\1}", text)


def rewritten_yaml(text: str, edits: Iterable[Edit]) -> str:
    r"""A YAML text with edits made.

    Args:
        text: The text.
        edits: Each of what the ones before it leave.

    Raises:
        LookupError: If a place is not written there alone (an anchor that is used elsewhere, say).
        yaml.YAMLError: If it is not YAML.

    Example:
        >>> rewritten_yaml("a: 1  # one\n", [Put(("a",), "b")])
        'b: 1  # one\n'
    """
    for edit in edits:
        parent = _parent(text, edit.keys)
        if isinstance(edit, Add):
            text = _yaml_added(text, parent, str(edit.keys[-1]), edit.value)
        elif isinstance(edit, Drop):
            text = _yaml_dropped(text, parent, edit.keys[-1])
        else:
            text = _yaml_put(text, parent, edit)
    return text


def rewritten_json(text: str, edits: Iterable[Edit]) -> str:
    """A JSON text with edits made.

    Args:
        text: The text.
        edits: Each of what the ones before it leave.

    Raises:
        LookupError: If a place is not there.
        yaml.YAMLError: If it is written in a way that YAML does not take.

    Example:
        >>> rewritten_json('{"a": 1, "c": [2]}', [Put(("a",), "b"), Drop(("c",))])
        '{"b": 1}'
    """
    for edit in edits:
        # Tabs are white space in JSON, and none that YAML takes.
        parent = _parent(text.replace("\t", " "), edit.keys)
        if isinstance(edit, Add):
            text = _json_added(text, parent, str(edit.keys[-1]), edit.value)
        elif isinstance(edit, Drop):
            text = _flow_dropped(text, parent, edit.keys[-1])
        else:
            key, value = _entry(parent, edit.keys[-1])
            end = key.end_mark.index if edit.value is KEEP else value.end_mark.index
            new = json.dumps(edit.key, ensure_ascii=False)
            if edit.value is not KEEP:
                new += f": {_json_value(text, key, edit.value)}"
            text = text[: key.start_mark.index] + new + text[end:]
    return text


def _parent(text: str, keys: Keys) -> yaml.MappingNode:
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    for key in keys[:-1]:
        if isinstance(node, yaml.SequenceNode) and isinstance(key, int):
            node = node.value[key]
        else:
            before = node.start_mark.index if node is not None else 0
            node = _entry(node, key)[1]
            if node.start_mark.index < before:
                raise LookupError(key)  # an alias: it stands elsewhere
    if not isinstance(node, yaml.MappingNode):
        raise LookupError(keys)
    return node


def _entry(node: yaml.Node | None, name: str | int) -> tuple[yaml.Node, yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(name) and value.start_mark.index >= key.end_mark.index:
                return key, value
    raise LookupError(name)


# ---- YAML ------------------------------------------------------------------------------------------------------


def _yaml_put(text: str, parent: yaml.MappingNode, edit: Put) -> str:
    key, value = _entry(parent, edit.keys[-1])
    start = key.start_mark.index
    if edit.value is KEEP:
        return text[:start] + scalar(edit.key) + text[key.end_mark.index :]
    end = value_end(value, key)
    if parent.flow_style:
        return f"{text[:start]}{flow({edit.key: edit.value})[1:-1]}{text[end:]}"
    return text[:start] + block(edit.key, edit.value, key.start_mark.column, text) + text[end:]


def _yaml_added(text: str, parent: yaml.MappingNode, name: str, value: Any) -> str:
    if parent.flow_style or not parent.value:
        last = parent.value[-1] if parent.value else None
        place = value_end(last[1], last[0]) if last else parent.end_mark.index - 1
        return f"{text[:place]}{', ' if last else ''}{flow({name: value})[1:-1]}{text[place:]}"
    last_key, last_value = parent.value[-1]
    place, column = line_end(text, value_end(last_value, last_key) - 1), last_key.start_mark.column
    before = text[:place] + ("" if text[:place].endswith("\n") else newline(text))
    return f"{before}{' ' * column}{block(name, value, column, text)}{newline(text)}{text[place:]}"


def _yaml_dropped(text: str, parent: yaml.MappingNode, name: str | int) -> str:
    key, value = _entry(parent, name)
    if parent.flow_style:
        return _flow_dropped(text, parent, name)
    start, end = key.start_mark.index, value_end(value, key)
    if len(parent.value) == 1:
        return text[:start] + "{}" + text[end:]
    if text[text.rfind("\n", 0, start) + 1 : start].strip():
        # The first key of a list's item: the next one takes its place.
        return text[:start] + text[parent.value[1][0].start_mark.index :]
    return text[: text.rfind("\n", 0, start) + 1] + text[line_end(text, end - 1) :]


def _flow_dropped(text: str, parent: yaml.MappingNode, name: str | int) -> str:
    key, value = _entry(parent, name)
    index = [one for one, _ in parent.value].index(key)
    if len(parent.value) == 1:
        return text[: parent.start_mark.index] + "{}" + text[parent.end_mark.index :]
    if index:
        return text[: parent.value[index - 1][1].end_mark.index] + text[value.end_mark.index :]
    return text[: key.start_mark.index] + text[parent.value[1][0].start_mark.index :]


# ---- JSON ------------------------------------------------------------------------------------------------------


def _json_added(text: str, parent: yaml.MappingNode, name: str, value: Any) -> str:
    if not parent.value:
        return (
            f"{text[: parent.end_mark.index - 1]}{json.dumps({name: value})[1:-1]}{text[parent.end_mark.index - 1 :]}"
        )
    key, last = parent.value[-1]
    place = last.end_mark.index
    margin = _margin(text, key)
    between = " " if margin is None else f"{newline(text)}{margin}"
    entry = f"{json.dumps(name, ensure_ascii=False)}: {_json_value(text, key, value)}"
    return f"{text[:place]},{between}{entry}{text[place:]}"


def _json_value(text: str, key: yaml.Node, value: Any) -> str:
    """A value for the place of a key, laid out as the file is: one entry a line where the key has a line of its own."""
    margin = _margin(text, key)
    if margin is None:
        return json.dumps(value, ensure_ascii=False)
    step = re.search(r"\n([ \t]+)\S", text)
    lines = json.dumps(value, ensure_ascii=False, indent=step.group(1) if step else 2).split("\n")
    return f"{newline(text)}{margin}".join(lines)


def _margin(text: str, key: yaml.Node) -> str | None:
    before = text[text.rfind("\n", 0, key.start_mark.index) + 1 : key.start_mark.index]
    return before if not before.strip() else None
