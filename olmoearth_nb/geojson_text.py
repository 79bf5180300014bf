"""Features of GeoJSON files as they are, one after the other: a million of them need not be in memory at once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from os import PathLike
from typing import Any

from olmoearth_nb.errors import InputFileError
from olmoearth_nb.files import atomic_path, parse_json, read_text

__all__ = ["load_features", "stream_features", "write_features"]

# How this package writes a collection.
_HEAD, _TAIL = '{"type":"FeatureCollection","features":[', "]}"
# Half of a pair that stands for one character; alone it is no text that could be written again.
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def load_features(path: str | PathLike[str], what: str) -> list[Any]:
    """The features of a file as they are, not checked.

    Args:
        path: GeoJSON.
        what: What they are, for the error.

    Raises:
        InputFileError: If the file is missing or no GeoJSON feature collection.
    """
    return _features(read_text(path, what=f"{what} file"), path, what)


def stream_features(path: str | PathLike[str], what: str) -> Iterator[Any]:
    """The features of a file as they are, not checked; those of a file of this package are parsed as they are needed.

    Args:
        path: GeoJSON.
        what: What they are, for the error.

    Raises:
        InputFileError: If the file is missing or no GeoJSON feature collection; some features may have come before.
    """
    text = read_text(path, what=f"{what} file")
    count = 0
    if text.startswith(_HEAD) and text.endswith(_TAIL) and not _SURROGATE.search(text):
        decoder, place, end = json.JSONDecoder(), len(_HEAD), len(text) - len(_TAIL)
        if place == end:
            return
        while True:
            try:
                feature, place = decoder.raw_decode(text, place)
            except (ValueError, RecursionError):
                break
            yield feature
            count += 1
            if place == end:
                return
            if text[place : place + 1] != ",":  # a file that was cut off may end within a feature
                break
            place += 1
    # Written by others, or damaged: parsed as a whole, which says what is wrong.
    yield from _features(text, path, what)[count:]


def write_features(path: str | PathLike[str], texts: Iterable[bytes]) -> None:
    """Writes a collection; the file is complete or not there at all.

    Args:
        path: Where to; folders are made.
        texts: The features as JSON, in order.

    Raises:
        StorageError: If the place can't be written.
    """
    with atomic_path(path) as beside, beside.open("wb") as file:
        file.write(_HEAD.encode())
        for index, text in enumerate(texts):
            file.write(b"," + text if index else text)
        file.write(_TAIL.encode())


def _features(text: str, path: str | PathLike[str], what: str) -> list[Any]:
    try:
        data = parse_json(text)
        if _SURROGATE.search(text):
            json.dumps(data, ensure_ascii=False).encode()
    except ValueError as error:
        raise InputFileError(
            f"The {what} file is not JSON: {error}.", where=str(path), expected="a GeoJSON FeatureCollection"
        ) from error
    match data:
        case {"type": "FeatureCollection", "features": list(features)}:
            return features
        case {"type": "Feature"}:
            return [data]
        case {"geometry": {"type": "FeatureCollection", "features": list(features)}}:
            return features  # the body of an API call, as some published projects have it
        case _:
            found = data.get("type") if isinstance(data, dict) else type(data).__name__
            raise InputFileError(
                f"The {what} file is not a GeoJSON feature collection.",
                where=str(path),
                expected="an object with type FeatureCollection and a list of features",
                found=repr(found),
            )
