"""``SimpleTimeSeries``: channels of a stack of images, to the number of images that go through the encoder at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from olmoearth_nb.config.renamed.draft import Draft, Keys, specs

__all__ = ["modern_series"]

_SERIES = "rslearn.models.simple_time_series.SimpleTimeSeries"
_CONCATENATE = "rslearn.train.transforms.concatenate.Concatenate"
_NEW = "num_timesteps_per_forward_pass"
_WHY = "Images have an axis for time now: the channels of one pass over those of one image."


def modern_series(draft: Draft, keys: Keys, path: str) -> None:
    """Brings the arguments of a ``SimpleTimeSeries`` up to date.

    Images were stacked along their channels; now they have an axis for time, along which a concatenation of several
    inputs puts them as well, unless it is told otherwise.

    Args:
        draft: The configuration.
        keys: The object.
        path: Its class.
    """
    if path not in (_SERIES, "SimpleTimeSeries"):
        return
    arguments = draft.mapping((*keys, "init_args"))
    channels = arguments.get("image_channels")
    by_key = arguments.get("image_keys") if isinstance(arguments.get("image_keys"), Mapping) else None
    if by_key:
        _series(draft, (*keys, "init_args", "image_keys"), dict(by_key))
    elif isinstance(channels, int):
        names = arguments.get("image_keys") or [arguments.get("image_key", "image")]
        _series(draft, (*keys, "init_args", "image_channels"), dict.fromkeys(names, channels))


def _series(draft: Draft, place: Keys, channels: Mapping[str, Any]) -> None:
    old = {str(place[-1]): draft.at(place)}
    passes = {_passes(count, _bands(draft, name)) for name, count in channels.items()}
    steps = passes.pop() if len(passes) == 1 else None
    if steps is None or draft.mapping(place[:-1]).get(_NEW) not in (None, 1, steps):
        fix = f"Write {_NEW} instead: how many images go through the encoder at once."
        found = f"{place[-1]} can't be put in numbers of images: the bands of the inputs don't say how."
        draft.unclear(place, found, fix, works=True)
        return
    if place[-1] == "image_keys":
        draft.put(place, "image_keys", list(channels))
        draft.add((*place[:-1], _NEW), steps)
        new: dict[str, Any] = {"image_keys": list(channels), _NEW: steps}
    else:
        draft.put(place, _NEW, steps)
        new = {_NEW: steps}
    draft.changed(place, old, new, _WHY)


def _passes(channels: Any, bands: int | None) -> int | None:
    if not isinstance(channels, int) or not bands or channels % bands or channels < bands:
        return None
    return channels // bands


def _inputs(draft: Draft) -> dict[str, Mapping[str, Any]]:
    found = {}
    for name, one in draft.mapping(("data", "init_args", "inputs")).items():
        if isinstance(one, Mapping):
            found[name] = one.get("init_args") or {} if "class_path" in one else one
    return found


def _stacks(draft: Draft, name: str) -> Iterator[Keys]:
    """Transforms that put several inputs together for the series."""
    if name in _inputs(draft):
        return
    for keys, path in specs(draft.mapping(("data",)), ("data",)):
        arguments = draft.mapping((*keys, "init_args"))
        along_time = arguments.get("concatenate_dim") in (None, 1, "TIME")
        if path in (_CONCATENATE, "Concatenate") and arguments.get("output_selector") == name and along_time:
            yield keys


def _bands(draft: Draft, name: str) -> int | None:
    """Bands of one image of the series; None if it does not show."""
    inputs = _inputs(draft)
    if name in inputs:
        bands = inputs[name].get("bands")
        return len(bands) if isinstance(bands, list) else None
    counts: set[int | None] = set()
    for keys in _stacks(draft, name):
        for source, chosen in draft.mapping((*keys, "init_args", "selections")).items():
            bands = chosen or inputs.get(source, {}).get("bands")
            counts.add(len(bands) if isinstance(bands, list) else None)
    return counts.pop() if len(counts) == 1 else None
