"""Changes values of a YAML file and leaves every other character as it is.

Not by a YAML library's round trip: those move comments when a key is added or removed (a comment belongs to the key
before it there), and write ``True``, odd indentation and CRLF their own way. Here only the text of what changes is
replaced, and what comes out is read again and compared with what was meant.
"""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from olmoearth_nb.config.yamlfile import parse_yaml
from olmoearth_nb.config.yamltext import block, flow, line_end, newline, scalar, value_end
from olmoearth_nb.errors import ConfigError, StorageError, UsageError
from olmoearth_nb.files import atomic_path

__all__ = ["KeptFile", "edited_yaml"]

Keys: TypeAlias = tuple[str, ...]

_BOM = "\ufeff"
_REMOVED = object()


@dataclass(frozen=True)
class KeptFile:
    """A text file as it was when it was read, to be changed only if it is still the same.

    Attributes:
        path: The file.
        data: Its bytes.
    """

    path: Path
    data: bytes

    @classmethod
    def read(cls, path: str | PathLike[str]) -> KeptFile:
        """Reads a file.

        Args:
            path: The file.

        Raises:
            ConfigError: If it can't be read or is not UTF-8.
        """
        real = Path(path).resolve()
        try:
            data = real.read_bytes()
            data.decode()
        except UnicodeDecodeError as error:
            raise ConfigError("The file is not UTF-8 text.", where=str(path)) from error
        except OSError as error:
            raise ConfigError(f"The file can't be read: {error.strerror}.", where=str(path)) from error
        return cls(real, data)

    @property
    def text(self) -> str:
        """What it says, line ends as they are."""
        return self.data.decode()

    def diff(self, text: str) -> str:
        """What would change, as a unified diff; empty if nothing would.

        Args:
            text: What it shall say.
        """
        before, after = self.text.splitlines(), text.splitlines()
        name = self.path.name
        return "\n".join(difflib.unified_diff(before, after, name, f"{name} (new)", n=2, lineterm=""))

    def write(self, text: str) -> KeptFile:
        """Writes the file; what it said before is kept beside it as ``<name>.bak``, ``<name>.bak2`` and so on.

        Args:
            text: What it shall say.

        Returns:
            The file as it is now.

        Raises:
            UsageError: If the file has changed since it was read.
            StorageError: If it can't be written.
        """
        if not self.path.exists() or self.path.read_bytes() != self.data:
            raise UsageError(
                "The file has changed since it was read, and is left as it is.",
                where=str(self.path),
                fix="Read it again and make the change anew.",
            )
        if text == self.text:
            return self
        self._keep_copy()
        data = text.encode()
        with atomic_path(self.path) as beside:
            beside.write_bytes(data)
            shutil.copymode(self.path, beside)
        return KeptFile(self.path, data)

    def _keep_copy(self) -> None:
        """A copy that is never written over: another one is kept under the next number."""
        try:
            number = 1
            while (copy := self._copy(number)).exists():
                if copy.read_bytes() == self.data:
                    return
                number += 1
            with atomic_path(copy) as beside:
                beside.write_bytes(self.data)
        except OSError as error:
            raise StorageError(f"No copy can be kept: {error.strerror}.", where=str(self.path)) from error

    def _copy(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.bak{number if number > 1 else ''}")


def edited_yaml(text: str, path: Sequence[str], value: object, *, where: str = "the file") -> str:
    r"""A YAML text with another value at a place, comments, order, quotes and layout kept.

    Mappings are compared key by key, so only what differs is written. A new key comes after the last one of its
    mapping; with a key that goes, the comment in its line goes.

    Args:
        text: The YAML.
        path: Keys from the top.
        value: What shall be there: mappings, lists and scalars.
        where: The file, for errors.

    Raises:
        ConfigError: If it is not YAML, or is written in a way that can't be changed at one place only (an anchor that
            is used elsewhere too, keys that are written twice).

    Example:
        >>> edited_yaml("a:\n  b: 1  # one\n", ["a", "b"], 2)
        'a:\n  b: 2  # one\n'
    """
    bom, body = (_BOM, text[1:]) if text.startswith(_BOM) else ("", text)
    file = parse_yaml(body, where)
    if file.duplicates:
        key, line = file.duplicates[0]
        raise ConfigError(f"The key {key} is written twice (again in line {line}).", where=where, fix="Remove one.")
    before, wanted = _plain(file.value), _with(_plain(file.value), path, value)
    try:
        for keys, new in _changes(before, wanted, ()):
            body = _changed(body, keys, new)
        if _plain(parse_yaml(body, where).value) == wanted:
            return bom + body
    except (LookupError, yaml.YAMLError, ConfigError):
        pass  # said below
    raise ConfigError(
        f"{'.'.join(path)} can't be changed here alone.",
        where=where,
        expected="plain keys and values, without anchors that are used elsewhere",
        fix="Change the file by hand.",
    )


def _plain(value: object) -> Any:
    """A copy in which nothing is shared, as aliases share it."""
    match value:
        case Mapping():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return value


def _with(tree: dict[str, Any], path: Sequence[str], value: object) -> dict[str, Any]:
    *parents, last = path
    place = tree
    for key in parents:
        place = place[key]
    place[last] = _plain(value)
    return tree


def _changes(before: object, after: object, keys: Keys) -> Iterator[tuple[Keys, object]]:
    """What differs, outermost place first: the new value, or that the key goes."""
    match before, after:
        case (Mapping(), Mapping()) if not before or before.keys() & after.keys():
            pass
        case _:
            # A mapping that loses every key is replaced: nothing is left that others could be put beside.
            if type(before) is not type(after) or before != after:
                yield keys, after
            return
    for key in before:
        yield from _changes(before[key], after.get(key, _REMOVED), (*keys, key))
    for key in after:
        if key not in before:
            yield (*keys, key), after[key]


# ---- one change in the text ------------------------------------------------------------------------------------


def _changed(text: str, keys: Keys, new: object) -> str:
    *parents, last = keys
    parent: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    for name in parents:
        parent = _entry(parent, name)[1]
    if not isinstance(parent, yaml.MappingNode):
        raise LookupError(keys)
    known = any(key.value == last for key, _ in parent.value)
    if new is _REMOVED:
        return _removed(text, parent, last)
    if not known:
        return _added(text, parent, last, new)
    key, value = _entry(parent, last)
    if isinstance(value, yaml.ScalarNode) and not isinstance(new, Mapping | list):
        start, end = value.start_mark.index, value.end_mark.index
        gap = " " if start == end and text[start - 1 : start] == ":" else ""
        return text[:start] + gap + scalar(new, value.style) + text[end:]
    if parent.flow_style:
        return text[: value.start_mark.index] + flow(new) + text[value.end_mark.index :]
    first = key.start_mark.index
    return text[:first] + block(last, new, key.start_mark.column, text) + text[value_end(value, key) :]


def _entry(node: yaml.Node | None, name: str) -> tuple[yaml.Node, yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == name and value.start_mark.index >= key.end_mark.index:
                return key, value
    raise LookupError(name)


def _added(text: str, parent: yaml.MappingNode, name: str, new: object) -> str:
    if parent.flow_style or not parent.value:
        place = parent.end_mark.index - 1
        if parent.value:
            last = parent.value[-1]
            place = value_end(last[1], last[0])
        return f"{text[:place]}{', ' if parent.value else ''}{flow({name: new})[1:-1]}{text[place:]}"
    last_key, last = parent.value[-1]
    place = line_end(text, value_end(last, last_key) - 1)
    column = last_key.start_mark.column
    line = f"{' ' * column}{block(name, new, column, text)}{newline(text)}"
    return text[:place] + ("" if text[:place].endswith("\n") else newline(text)) + line + text[place:]


def _removed(text: str, parent: yaml.MappingNode, name: str) -> str:
    key, value = _entry(parent, name)
    start, end = key.start_mark.index, value_end(value, key)
    if not parent.flow_style:
        return text[: text.rfind("\n", 0, start) + 1] + text[line_end(text, end - 1) :]
    index = [one for one, _ in parent.value].index(key)
    if index:
        before = parent.value[index - 1]
        return text[: value_end(before[1], before[0])] + text[end:]
    after = parent.value[1][0].start_mark.index if len(parent.value) > 1 else end
    return text[:start] + text[after:]
