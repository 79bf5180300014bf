"""Pieces of YAML, put together."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Sequence

__all__ = ["block", "flow_list", "indented"]

_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n", "none"})


def block(text: str, **parts: str) -> str:
    """A block of text without its indentation.

    Args:
        text: Lines; one that is ``@NAME`` is replaced by the part of that name, and left out if that is empty.
        **parts: The parts, as they shall be.
    """
    lines: list[str] = []
    for line in textwrap.dedent(text).strip("\n").rstrip().split("\n"):
        if line.strip().startswith("@"):
            part = parts[line.strip()[1:]]
            lines += [part] if part else []
        else:
            lines.append(line)
    return "\n".join(lines)


def indented(text: str, by: int) -> str:
    """Text further to the right.

    Args:
        text: Lines.
        by: Spaces.
    """
    return textwrap.indent(text, " " * by)


def flow_list(values: Sequence[str]) -> str:
    """A YAML list in one line, in quotes where YAML would read something else (``no``, ``2024``, ``a: b``).

    Args:
        values: Its items.
    """
    return (
        "[" + ", ".join(value if _is_plain(value) else json.dumps(value, ensure_ascii=False) for value in values) + "]"
    )


def _is_plain(value: str) -> bool:
    return re.fullmatch(r"[A-Za-z][A-Za-z0-9_/]*", value) is not None and value.lower() not in _WORDS
