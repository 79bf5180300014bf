"""What a model could not be built without: a file of a hub or of another machine, and where to put it by hand."""

from __future__ import annotations

import errno
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from olmoearth_nb.border import describe
from olmoearth_nb.config.yamlfile import join
from olmoearth_nb.errors import ModelError
from olmoearth_nb.model.instantiate import component_class

__all__ = ["explain_missing"]

_OTHERWISE = (
    "with a checkpoint of the whole model it is not needed, nor with random weights (--random-weights, "
    "random_weights=True)"
)
_NEEDED = "without it the architecture is not known, which random weights or a checkpoint need too"


@dataclass(frozen=True)
class _Fetch:
    """A file that was to be fetched.

    Attributes:
        url: Its address, for a browser.
        place: What to do with it.
        repository: Of a hub, with ``/``; empty for other addresses.
    """

    url: str
    place: str
    repository: str = ""


def explain_missing(error: ModelError, config: object, *, where: str, random: bool = False) -> ModelError | None:
    """One line on the file without which a model could not be built, if that is why it failed.

    Args:
        error: Why it failed, with its causes.
        config: The configuration.
        where: Its file.
        random: Whether it failed although weights were left out.
    """
    ending = _NEEDED if random else _OTHERWISE
    for cause in _chain(error):
        frames = list(_frames(cause))
        fetches = [fetch for frame in frames if (fetch := _fetch(frame)) is not None]
        if fetches:
            return _not_fetched(fetches[0], _part(frames, config), list(_chain(error))[-1], where, ending)
        if isinstance(cause, FileNotFoundError) and cause.errno == errno.ENOENT and cause.filename:
            return _not_there(str(cause.filename), _part(frames, config), config, where, ending)
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _frames(error: BaseException) -> Iterator[FrameType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _fetch(frame: FrameType) -> _Fetch | None:
    """What a function that fetches was called with; no hub's exceptions say it."""
    found = _FETCHERS.get((str(frame.f_globals.get("__name__", "")).split(".")[0], frame.f_code.co_name))
    return None if found is None else found(frame.f_locals)


def _of_hugging_face(names: Mapping[str, Any]) -> _Fetch | None:
    repository, file = names.get("repo_id"), names.get("filename")
    if not repository or not file:
        return None
    url = f"https://huggingface.co/{repository}/resolve/{names.get('revision') or 'main'}/{file}"
    if names.get("local_dir"):
        return _Fetch(url, f"Put it at {Path(str(names['local_dir'])) / file}", repository)
    cache = f"{names.get('cache_dir') or '~/.cache/huggingface/hub'}/models--{repository.replace('/', '--')}"
    place = f"Run 'hf download {repository} {file}' where there is a connection and copy the folder {cache} here"
    return _Fetch(url, place, repository)


def _of_torch(names: Mapping[str, Any]) -> _Fetch | None:
    url = names.get("url")
    target = names.get("cached_file") or names.get("dst")
    return None if not url else _Fetch(str(url), f"Put it at {target}" if target else "Put it into torch.hub.get_dir()")


def _of_github(names: Mapping[str, Any]) -> _Fetch | None:
    repository = names.get("repo_or_dir")
    if not isinstance(repository, str) or names.get("source") == "local":
        return None
    name, _, branch = repository.partition(":")
    folder = f"{name.replace('/', '_')}_{branch or 'main'}"
    return _Fetch(f"https://github.com/{name}", f"Clone it into {torch.hub.get_dir()}/{folder}", repository)


def _of_address(names: Mapping[str, Any]) -> _Fetch | None:
    url = names.get("url")
    url = getattr(url, "full_url", url)
    return _Fetch(url, "Fetch it by hand and give its path") if isinstance(url, str) else None


_FETCHERS: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], _Fetch | None]] = {
    ("huggingface_hub", "hf_hub_download"): _of_hugging_face,
    ("torch", "load_state_dict_from_url"): _of_torch,
    ("torch", "download_url_to_file"): _of_torch,
    ("torch", "load"): _of_github,
    ("urllib", "urlopen"): _of_address,
    ("requests", "request"): _of_address,
}


@dataclass(frozen=True)
class _Part:
    """The object of a configuration that was being built.

    Attributes:
        key: Its YAML path.
        cls: Its class.
    """

    key: str
    cls: type


def _part(frames: list[FrameType], config: object) -> _Part | None:
    """The innermost object that was being built, of those that the configuration names."""
    building = [type(frame.f_locals.get("self")) for frame in frames if frame.f_code.co_name == "__init__"]
    named = list(_parts(config, ""))
    return next((part for cls in reversed(building) for part in named if part.cls is cls), None)


def _parts(value: object, key: str) -> Iterator[_Part]:
    match value:
        case {"class_path": str(path), **rest}:
            cls = component_class(path)
            if cls is not None:
                yield _Part(key, cls)
            yield from _parts(rest.get("init_args"), join(key, "init_args"))
        case dict():
            for name, item in value.items():
                yield from _parts(item, join(key, str(name)))
        case list():
            for index, item in enumerate(value):
                yield from _parts(item, join(key, index))


def _not_fetched(fetch: _Fetch, part: _Part | None, cause: BaseException, where: str, ending: str) -> ModelError:
    place = fetch.place
    arguments = () if part is None else inspect.signature(part.cls).parameters
    if {"model_id", "model_path"} <= set(arguments):
        files = f"https://huggingface.co/{fetch.repository}/resolve/main/ (config.json and weights.pth)"
        place = f"Put both files of {files} into a folder and write model_path: FOLDER in place of model_id"
    elif "Put it at" not in place:
        named = next((name for name in ("checkpoint_path", "pretrained_path") if name in arguments), None)
        place = place if named is None else f"Fetch it by hand and give its path as {named}"
    return ModelError(
        f"A file that the model is built from can't be fetched: {fetch.url} ({describe(cause).rstrip('.')}).",
        where=where if part is None else f"{where}: {part.key} ({part.cls.__name__})",
        fix=f"{place}; {ending}.",
    )


def _not_there(path: str, part: _Part | None, config: object, where: str, ending: str) -> ModelError:
    key = _key_of(path, config)
    place = key or (part.key if part is not None else "")
    return ModelError(
        "A file that the model is built from is missing.",
        where=f"{where}: {place}" if place else where,
        found=f"no {path}",
        fix=f"Put it there, or give another path; {ending}.",
    )


def _key_of(path: str, value: object, key: str = "") -> str:
    """YAML path of the longest text that a missing file's path begins with; empty if there is none."""
    found: list[tuple[int, str]] = []

    def look(item: object, at: str) -> None:
        match item:
            case dict():
                for name, inner in item.items():
                    look(inner, join(at, str(name)))
            case list():
                for index, inner in enumerate(item):
                    look(inner, join(at, index))
            case str() if len(item) > 1 and path.startswith(item.rstrip("/")):
                found.append((len(item), at))

    look(value, key)
    return max(found, default=(0, ""))[1]
