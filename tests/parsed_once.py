"""Parsing a model configuration takes most of a second, and most tests use one of the same few."""

from __future__ import annotations

import copy
import re
from typing import Any

from jsonargparse import ArgumentParser, Namespace

# A test's own modules are others under the same name in the next test.
_OWN_CLASS = re.compile(r"class_path(': |=)'(?!rslearn\.|torch\.|lightning\.|olmoearth_nb\.)")
_parse = ArgumentParser.parse_object
_parsed: dict[str, Namespace] = {}


def parse_object(self: ArgumentParser, obj: Any, *args: Any, **kwargs: Any) -> Namespace:
    """In place of the parser's method: what was parsed before, but for paths, is a copy; errors come anew."""
    if args or kwargs or _OWN_CLASS.search(repr(obj)):  # with arguments, it is a part of a configuration
        return _parse(self, obj, *args, **kwargs)
    paths: dict[str, str] = {}
    general = _without_paths(obj, paths)
    key = repr([(action.dest, getattr(action, "_typehint", None)) for action in self._actions]) + repr(general)
    if key not in _parsed:
        parsed = _parse(self, obj)
        _parsed[key] = _replaced(parsed, paths)
        return parsed
    return _replaced(_parsed[key], {name: path for path, name in paths.items()})


def _without_paths(value: Any, paths: dict[str, str]) -> Any:
    """The same with names in place of absolute paths, which are those of a test's own folder."""
    if isinstance(value, dict):
        return {key: _without_paths(one, paths) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_paths(one, paths) for one in value]
    if isinstance(value, str) and value.startswith("/"):
        return paths.setdefault(value, f"/path {len(paths)}")
    return value


def _replaced(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, Namespace):
        return Namespace(**{key: _replaced(one, names) for key, one in vars(value).items()})
    if isinstance(value, dict):
        return {key: _replaced(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [_replaced(one, names) for one in value]
    return names.get(value, value) if isinstance(value, str) else copy.deepcopy(value)
