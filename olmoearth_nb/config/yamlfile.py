"""YAML with places: syntax errors with line and column, keys that are written twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import yaml

from olmoearth_nb.errors import ConfigError, InputFileError
from olmoearth_nb.files import read_text

__all__ = ["YamlFile", "join", "parse_yaml", "read_yaml"]


@dataclass(frozen=True)
class YamlFile:
    """A parsed file.

    Attributes:
        value: What it holds; an empty file holds an empty mapping.
        duplicates: Paths of keys that are written twice, with the line of the second.
    """

    value: dict[str, Any]
    duplicates: tuple[tuple[str, int], ...]


class _Loader(yaml.SafeLoader):
    """Safe, with the numbers of YAML 1.2: PyYAML takes ``1e-4`` for a text."""


_Loader.yaml_implicit_resolvers = {key: list(value) for key, value in yaml.SafeLoader.yaml_implicit_resolvers.items()}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)[eE][-+]?[0-9]+$"),
    list("-+0123456789."),
)


def read_yaml(path: str | PathLike[str]) -> YamlFile:
    """Reads a YAML file.

    Args:
        path: The file.

    Raises:
        ConfigError: If it is missing, is not YAML (with line and column) or is not a mapping.
    """
    try:
        text = read_text(path, what="configuration file")
    except InputFileError as error:
        raise ConfigError(error.what, where=error.where) from error
    return parse_yaml(text, str(Path(path)))


def parse_yaml(text: str, where: str) -> YamlFile:
    """Parses YAML.

    Args:
        text: The YAML.
        where: File it comes from, for errors.

    Raises:
        ConfigError: If it is not YAML (with line and column) or is not a mapping.
    """
    try:
        value, duplicates = _load(text)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"It is not YAML: {_problem(error)}.", where=_place(where, error.problem_mark)) from error
    except RecursionError as error:
        raise ConfigError("It is not YAML that can be read: it is nested too deeply.", where=where) from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"It is not YAML: {' '.join(str(error).split())}.", where=where) from error
    if not isinstance(value, dict):
        raise ConfigError("It is not a mapping.", where=where, expected="keys with values", found=type(value).__name__)
    return YamlFile(value, duplicates)


def _load(text: str) -> tuple[Any, tuple[tuple[str, int], ...]]:
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return {}, ()
        # Before construction, which merges the keys of "<<" into the node.
        duplicates = tuple(_duplicates(node, "", ()))
        return loader.construct_document(node), duplicates
    finally:
        loader.dispose()


def join(path: str, key: object) -> str:
    """The path of a key below another: ``a``, ``b`` -> ``a.b``; ``a``, 0 -> ``a[0]``.

    Args:
        path: The path so far; empty at the top.
        key: A mapping's key or a list's index.
    """
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else str(key)


def _duplicates(node: yaml.Node, path: str, above: tuple[yaml.Node, ...]) -> Iterator[tuple[str, int]]:
    if node in above:
        raise yaml.constructor.ConstructorError(None, None, "an anchor contains itself", node.start_mark)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _duplicates(item, join(path, index), (*above, node))
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            name = str(key.value)
            if name in seen:
                yield join(path, name), key.start_mark.line + 1
            seen.add(name)
            yield from _duplicates(value, join(path, name), (*above, node))


def _problem(error: yaml.MarkedYAMLError) -> str:
    return ", ".join(part for part in (error.context, error.problem) if part)


def _place(where: str, mark: yaml.Mark | None) -> str:
    return where if mark is None else f"{where}, line {mark.line + 1}, column {mark.column + 1}"
