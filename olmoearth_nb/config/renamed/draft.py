"""A configuration that is being brought up to date: its value, what was changed, and how to repeat that in its text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

__all__ = ["KEEP", "Add", "Change", "Draft", "Drop", "Edit", "Keys", "Modern", "Put", "Unclear", "specs", "unshared"]

Keys: TypeAlias = tuple[str | int, ...]
"""Where something is: keys of mappings and indexes of lists, from the top."""

KEEP: Final = object()
"""Instead of a value: the one that is there."""


@dataclass(frozen=True)
class Put:
    """An entry gets another key, another value or both, where it stands.

    Attributes:
        keys: Where it is.
        key: Its new key.
        value: Its new value; ``KEEP`` for the same.
    """

    keys: Keys
    key: str
    value: Any = KEEP


@dataclass(frozen=True)
class Drop:
    """An entry goes.

    Attributes:
        keys: Where it is.
    """

    keys: Keys


@dataclass(frozen=True)
class Add:
    """A new entry, after the others of its mapping.

    Attributes:
        keys: Where it will be.
        value: Its value.
    """

    keys: Keys
    value: Any


Edit: TypeAlias = Put | Drop | Add


@dataclass(frozen=True)
class Change:
    """An older spelling and what it is now.

    Attributes:
        keys: Where it was.
        old: What was written.
        new: What it is now; empty if it goes.
        why: One sentence.
    """

    keys: Keys
    old: str
    new: str
    why: str


@dataclass(frozen=True)
class Unclear:
    """An older spelling that can't be translated.

    Attributes:
        keys: Where it is.
        found: What is wrong, one sentence.
        fix: What to do.
        works: Whether rslearn still takes it as it is.
    """

    keys: Keys
    found: str
    fix: str
    works: bool = False


@dataclass(frozen=True)
class Modern:
    """A configuration in the spelling of today.

    Attributes:
        value: What it says; nothing in it is shared with what was given.
        changes: What was changed, in order.
        unclear: What can't be translated and was left.
        edits: The changes as edits of the text, each of what the ones before it leave.
    """

    value: Any
    changes: tuple[Change, ...]
    unclear: tuple[Unclear, ...]
    edits: tuple[Edit, ...]


class Draft:
    """A copy of a configuration with its edits.

    Args:
        value: What a file says.

    Attributes:
        value: The copy.
    """

    def __init__(self, value: Any) -> None:
        self.value = unshared(value)
        self._edits: list[Edit] = []
        self._changes: list[Change] = []
        self._unclear: list[Unclear] = []

    def at(self, keys: Keys) -> Any:
        """What is at a place; None if there is nothing.

        Args:
            keys: The place.
        """
        place = self.value
        for key in keys:
            match place:
                case Mapping() if key in place:
                    place = place[key]
                case list() if isinstance(key, int) and key < len(place):
                    place = place[key]
                case _:
                    return None
        return place

    def mapping(self, keys: Keys) -> Mapping[str, Any]:
        """The mapping at a place; an empty one if there is none.

        Args:
            keys: The place.
        """
        found = self.at(keys)
        return found if isinstance(found, Mapping) else {}

    def put(self, keys: Keys, key: str, value: Any = KEEP) -> None:
        """Gives an entry another key or value; one that had the key already goes.

        Args:
            keys: Where it is.
            key: Its new key.
            value: Its new value.
        """
        *above, old = keys
        if key != old and key in self.mapping(tuple(above)):
            self.drop((*above, key))
        parent = self.at(tuple(above))
        given = unshared(value) if value is not KEEP else KEEP
        entries = [
            (key, item if given is KEEP else given) if name == old else (name, item) for name, item in parent.items()
        ]
        parent.clear()
        parent.update(entries)
        self._edits.append(Put(keys, key, unshared(value) if value is not KEEP else KEEP))

    def drop(self, keys: Keys) -> None:
        """Removes an entry.

        Args:
            keys: Where it is.
        """
        del self.at(keys[:-1])[keys[-1]]
        self._edits.append(Drop(keys))

    def add(self, keys: Keys, value: Any) -> None:
        """Adds an entry, or replaces the value of one.

        Args:
            keys: Where it will be.
            value: Its value.
        """
        if keys[-1] in self.mapping(keys[:-1]):
            self.put(keys, str(keys[-1]), value)
            return
        self.at(keys[:-1])[keys[-1]] = unshared(value)
        self._edits.append(Add(keys, unshared(value)))

    def changed(self, keys: Keys, old: Any, new: Any, why: str) -> None:
        """Notes a change that was made.

        Args:
            keys: Where it was.
            old: What was written: an entry, or text.
            new: What it is now; None if it went.
            why: One sentence.
        """
        self._changes.append(Change(keys, _shown(old), "" if new is None else _shown(new), why))

    def unclear(self, keys: Keys, found: str, fix: str, *, works: bool = False) -> None:
        """Notes what can't be translated.

        Args:
            keys: Where it is.
            found: What is wrong, one sentence.
            fix: What to do.
            works: Whether rslearn still takes it as it is.
        """
        self._unclear.append(Unclear(keys, found, fix, works))

    def finished(self) -> Modern:
        """What became of it."""
        return Modern(self.value, tuple(self._changes), tuple(self._unclear), tuple(self._edits))


def unshared(value: Any) -> Any:
    """A copy of nested data in which nothing is shared, as aliases of YAML share it.

    Args:
        value: Mappings, lists and scalars.
    """
    match value:
        case Mapping():
            return {key: unshared(item) for key, item in value.items()}
        case list() | tuple():
            return [unshared(item) for item in value]
        case _:
            return value


def specs(value: Any, keys: Keys = ()) -> Iterator[tuple[Keys, str]]:
    """Every object with a ``class_path``: its place and the path, outer ones first.

    Args:
        value: Nested data.
        keys: Its place.
    """
    match value:
        case Mapping():
            if isinstance(value.get("class_path"), str):
                yield keys, value["class_path"]
            for key, item in value.items():
                yield from specs(item, (*keys, key))
        case list():
            for index, item in enumerate(value):
                yield from specs(item, (*keys, index))
        case _:
            return


def _shown(entry: Any, limit: int = 160) -> str:
    if isinstance(entry, str):
        return entry
    text = ", ".join(f"{key}: {_value(item)}" for key, item in entry.items())
    return text if len(text) <= limit else f"{text[:limit]}…"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
