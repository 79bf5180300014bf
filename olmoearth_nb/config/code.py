"""What custom classes say, so that what an earlier version of one has made is noticed."""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from olmoearth_nb.config.imports import import_object
from olmoearth_nb.config.modules import is_beneath
from olmoearth_nb.config.schema import ObjectSpec

__all__ = ["custom_code"]


def custom_code(raw: object, *, search_path: Sequence[Path]) -> dict[str, str]:
    """Hashes of the custom classes that a configuration names, nested ones and their bases included.

    Comments and blank lines don't count, nor does what else is in their modules.

    Args:
        raw: An object of a configuration, or several in a list or mapping.
        search_path: Folders of custom modules; classes that lie elsewhere are not custom.

    Returns:
        Dotted name -> SHA-256 of the code; nothing if no class is custom.

    Raises:
        ConfigError: If a class does not import.
    """
    classes = {base for target in _targets(raw, search_path) if isinstance(target, type) for base in target.__mro__}
    custom = [one for one in classes if is_beneath(one.__module__, search_path)]
    return {f"{one.__module__}.{one.__qualname__}": _hash(one) for one in sorted(custom, key=repr)}


def _targets(raw: object, search_path: Sequence[Path]) -> Iterator[object]:
    match raw:
        case Mapping():
            if ObjectSpec.is_spec(raw):
                yield import_object(ObjectSpec(raw, "").target, search_path=search_path)
            for value in raw.values():
                yield from _targets(value, search_path)
        case list() | tuple():
            for value in raw:
                yield from _targets(value, search_path)


def _hash(one: type) -> str:
    linecache.checkcache()  # the file may have been edited since an error showed a line of it
    try:
        text = ast.dump(ast.parse(textwrap.dedent(inspect.getsource(one))))
    except (OSError, TypeError, SyntaxError):
        text = ""  # made by a function, say: nothing to be seen
    return hashlib.sha256(text.encode()).hexdigest()
