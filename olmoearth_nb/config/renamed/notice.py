"""Older spellings as problems of a check, and as one warning when a run reads them."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from pathlib import Path

import yaml

from olmoearth_nb.config.renamed.draft import Keys, Modern
from olmoearth_nb.config.report import Problem
from olmoearth_nb.config.yamlfile import join
from olmoearth_nb.types import StepName

__all__ = ["OlderSpellingWarning", "key_of", "renamed_problems", "warn_of_renamed"]

_HINT = "It is read so; olmoearth-nb upgrade PROJECT writes it."


class OlderSpellingWarning(UserWarning):
    """A configuration has older spellings, which were translated."""


def renamed_problems(modern: Modern, file: str, text: str, steps: frozenset[StepName]) -> Iterator[Problem]:
    """One warning for each change, and a problem for each that can't be made, with its line.

    Args:
        modern: The configuration.
        file: Its name.
        text: Its text.
        steps: Steps that use it.
    """
    for change in modern.changes:
        found = f"{change.old} → {change.new}." if change.new else f"{change.old} is dropped."
        yield Problem(
            file=file,
            key=key_of(change.keys),
            found=f"An older spelling: {found} {change.why}",
            fix=_HINT,
            severity="warning",
            steps=steps,
        )
    for one in modern.unclear:
        line = _line_of(text, one.keys)
        yield Problem(
            file=file,
            key=key_of(one.keys),
            found=one.found if line is None else f"{one.found} It is in line {line}.",
            fix=one.fix,
            severity="warning" if one.works else "error",
            steps=steps,
        )


def warn_of_renamed(path: Path, modern: Modern) -> None:
    """Warns of older spellings, once for a file as it is.

    Args:
        path: The file.
        modern: What it says.
    """
    changes = tuple(dict.fromkeys(f"{one.old} → {one.new or 'dropped'}" for one in modern.changes))
    if changes:
        _warn(path, changes)


@functools.lru_cache(maxsize=64)
def _warn(path: Path, changes: tuple[str, ...]) -> None:
    lines = "".join(f"\n- {change}" for change in changes)
    message = (
        f"{path.name} has older spellings, read as those of today:{lines}\nolmoearth-nb upgrade PROJECT writes them."
    )
    warnings.warn(message, OlderSpellingWarning, stacklevel=4)


def key_of(keys: Keys) -> str:
    """A place as problems show it.

    Args:
        keys: The place.
    """
    return functools.reduce(join, keys, "")


def _line_of(text: str, keys: Keys) -> int | None:
    """The line of a place, counted from 1; that of what is around it if it has none of its own."""
    try:
        # Tabs are white space in JSON, and none that YAML takes.
        node = yaml.compose(text.replace("\t", " "), Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    line = None
    for key in keys:
        match node:
            case yaml.MappingNode():
                found = next((pair for pair in node.value if pair[0].value == str(key)), None)
            case yaml.SequenceNode() if isinstance(key, int) and key < len(node.value):
                found = (node.value[key], node.value[key])
            case _:
                found = None
        if found is None and key == "init_args":
            continue  # arguments stand beside an older name
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return line
