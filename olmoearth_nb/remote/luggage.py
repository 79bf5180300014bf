"""Values on their way to another machine, where folders have other names."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import cloudpickle

__all__ = ["pack", "unpack"]


def pack(value: Any, folders: Sequence[Path]) -> bytes:
    """A value as bytes; paths in these folders, also as texts, are those of whoever unpacks them.

    Args:
        value: Anything that can be pickled.
        folders: Folders of this machine.
    """
    buffer = io.BytesIO()
    _Packer(buffer, [str(folder) for folder in folders]).dump(value)
    return buffer.getvalue()


def unpack(data: bytes, folders: Sequence[Path]) -> Any:
    """What was packed.

    Args:
        data: What :func:`pack` gave.
        folders: What its folders are called here, in the same order.
    """
    return _Unpacker(io.BytesIO(data), folders).load()


class _Packer(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    def __init__(self, file: io.BytesIO, folders: Sequence[str]) -> None:
        super().__init__(file)
        self.folders = folders

    def persistent_id(self, value: Any) -> tuple[bool, int, str] | None:
        if not isinstance(value, str | PurePath):
            return None
        text = str(value)
        for number, folder in enumerate(self.folders):
            if text == folder or text.startswith(f"{folder}/"):
                return isinstance(value, str), number, text[len(folder) + 1 :]
        return None


class _Unpacker(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, folders: Sequence[Path]) -> None:
        super().__init__(file)
        self.folders = folders

    def persistent_load(self, found: tuple[bool, int, str]) -> str | Path:
        is_text, number, rest = found
        path = self.folders[number] / rest if rest else self.folders[number]
        return str(path) if is_text else path
