"""From the sections of ``model.yaml`` to objects, by rslearn's own parser, with errors that say which key is wrong."""

from __future__ import annotations

import contextlib
import copy
import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rslearn.utils.jsonargparse import init_jsonargparse

from olmoearth_nb.border import describe, foreign_code
from olmoearth_nb.config.imports import import_object
from olmoearth_nb.config.report import did_you_mean
from olmoearth_nb.errors import ConfigError, MissingDependencyError, ModelError

__all__ = ["component_class", "instantiate", "parser_errors"]

_KEY = re.compile(r'Parser key "([^"]+)"')
_CLASS = re.compile(r"Problem with given class_path '([^']+)'")
_REFUSED = re.compile(r"Option '([^']+)' is not accepted")
_WRONG_KIND = re.compile(r"Import path \S+ does not correspond to a subclass of \w+")
_MISSING = re.compile(r"No module named '([^']+)'")
# Lines that carry no news: how the parser tried, and the whole configuration printed back.
_NOISE = re.compile(
    r"^(Subtypes|Errors|Given value|Does not validate|Expected a <class 'NoneType'>)|not correspond to a subclass"
)


def instantiate(sections: Mapping[str, Any], types: Mapping[str, type], *, where: str) -> Namespace:
    """Builds the objects of some sections of a model configuration.

    The task of ``data`` is given to ``model``, as rslearn does.

    Args:
        sections: Name -> ``{class_path, init_args}``.
        types: Name -> base class.
        where: The file they come from, for errors.

    Returns:
        The objects, as attributes by the sections' names.

    Raises:
        ConfigError: If a section names something that does not import or does not take its arguments.
        MissingDependencyError: If a package is missing that a class needs.
        ModelError: If a class fails while it is built.
    """
    init_jsonargparse()
    parser = ArgumentParser(exit_on_error=False)
    for name, base in types.items():
        parser.add_subclass_arguments(base, name, required=True, fail_untyped=False)
    if {"model", "data"} <= types.keys():
        parser.link_arguments("data.init_args.task", "model.init_args.task", apply_on="instantiate")
    with parser_errors(where, ConfigError):
        # The parser works on what it is given.
        parsed = parser.parse_object(copy.deepcopy({name: sections.get(name) for name in types}))
    with parser_errors(where, ModelError):
        built: Namespace = parser.instantiate_classes(parsed)
    return built


@contextlib.contextmanager
def parser_errors(where: str, error: type[ConfigError | ModelError]) -> Iterator[None]:
    """Turns the parser's nested reports into one sentence about the innermost key.

    Args:
        where: The file, for errors.
        error: Class to raise.

    Raises:
        ConfigError: Or whatever class ``error`` is.
        MissingDependencyError: If the cause is a package that is not installed.
    """
    try:
        # The parser also exits, for classes that it builds by parsers of its own.
        with foreign_code(error, "The model configuration can't be used"):
            yield
    except (ConfigError, ModelError) as raised:
        cause = raised.__cause__
        if cause is None:
            raise
        raise _explain(cause, where, error) from cause


def _explain(cause: BaseException, where: str, error: type[ConfigError | ModelError]) -> Exception:
    text = str(cause if not isinstance(cause, SystemExit) else cause.__context__ or cause)
    key, class_path, leaf = _innermost(text)
    place = f"{where}: {key}" if key else where
    if class_path:
        place += f" ({class_path})"
    if missing := _MISSING.search(leaf):
        package = missing.group(1).split(".")[0]
        if package != (class_path or "").split(".")[0]:
            return MissingDependencyError(
                f"The package {package} is not installed.", where=place, fix=f"Run: pip install {package}"
            )
    if refused := _REFUSED.search(leaf):
        return _refused_option(refused.group(1), class_path, place, error)
    if "\n" not in text and error is ModelError:
        leaf = describe(cause)
    return error(leaf[:1].upper() + leaf[1:].rstrip(".") + ".", where=place)


def _innermost(text: str) -> tuple[str, str | None, str]:
    """Key, class and message of the most deeply nested part of a parser's report."""
    lines = [(len(line) - len(line.lstrip(" -")), line.strip(" -")) for line in text.splitlines() if line.strip(" -")]
    leaves = [
        (indent, index)
        for index, (indent, line) in enumerate(lines)
        if not line.endswith(":") and not _NOISE.search(line)
    ]
    if not leaves:
        wrong = _WRONG_KIND.search(text)
        key = _KEY.search(text)
        return key.group(1) if key else "", None, wrong.group(0) if wrong else " ".join(text.split())[:400]
    depth, leaf = max(leaves, key=lambda item: (item[0], -item[1]))
    keys: list[str] = []
    class_path = None
    for indent, line in reversed(lines[:leaf]):
        if indent >= depth:
            continue
        depth = indent
        if found := _KEY.search(line):
            keys.insert(0, found.group(1))
        if class_path is None and (found := _CLASS.search(line)):
            class_path = found.group(1)
    return ".init_args.".join(keys), class_path, lines[leaf][1]


def _refused_option(
    option: str, class_path: str | None, place: str, error: type[ConfigError | ModelError]
) -> ConfigError | ModelError:
    names: list[str] = []
    cls = component_class(class_path)
    if cls is not None:
        names = [name for name in inspect.signature(cls).parameters if name not in ("args", "kwargs")]
    return error(
        f"The argument {option!r} is not accepted.",
        where=place,
        expected=f"one of {', '.join(names)}" if names else None,
        fix=did_you_mean(option, names),
    )


def component_class(class_path: object) -> type | None:
    """The class that a ``class_path`` names, or None if it can't be imported.

    Args:
        class_path: Dotted path.
    """
    if not isinstance(class_path, str):
        return None
    try:
        with foreign_code(ConfigError, "The class can't be imported"):
            found = import_object(class_path)
    except ConfigError:
        return None
    return found if isinstance(found, type) else None
