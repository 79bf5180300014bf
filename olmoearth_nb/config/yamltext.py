"""Where things stand in a YAML text, and how new ones are written into it."""

from __future__ import annotations

import math
from typing import Any

import yaml

__all__ = ["block", "flow", "line_end", "newline", "scalar", "value_end"]


def value_end(node: yaml.Node, key: yaml.Node) -> int:
    """Where a value ends; that of a block, PyYAML puts behind the comments and blank lines after it.

    Args:
        node: The value.
        key: Its key, or itself in a list.
    """
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return value_end(last[1], last[0]) if isinstance(last, tuple) else value_end(last, last)
    return max(int(node.end_mark.index), int(key.end_mark.index) + 1 if node.start_mark == node.end_mark else 0)


def line_end(text: str, index: int) -> int:
    """The place behind the line break of a line.

    Args:
        text: The text.
        index: A place in the line.
    """
    found = text.find("\n", index)
    return len(text) if found < 0 else found + 1


def newline(text: str) -> str:
    """The line break of a text.

    Args:
        text: The text.
    """
    return "\r\n" if "\r\n" in text else "\n"


def scalar(value: object, style: str | None = None) -> str:
    """A scalar on one line, in quotes of this style if it is text and was in quotes.

    Args:
        value: The scalar.
        style: The quotes that were there.
    """
    quotes = style if isinstance(value, str) and style in ("'", '"') else None
    return _dump(value, default_style=quotes)


def flow(value: object) -> str:
    """A value on one line.

    Args:
        value: The value.
    """
    return _dump(value, default_flow_style=True)


def block(name: str, value: object, column: int, text: str) -> str:
    """A key with its value, without the indentation of its first line and its last line break.

    Args:
        name: The key.
        value: Its value.
        column: Its indentation.
        text: The text that it comes into.
    """
    lines = _dump({name: value}, default_flow_style=False).split("\n")
    return f"{newline(text)}{' ' * column}".join(lines)


def _dump(value: object, **style: Any) -> str:
    text: str = yaml.safe_dump(value, width=math.inf, allow_unicode=True, sort_keys=False, **style)
    return text.removesuffix("\n").removesuffix("\n...")
