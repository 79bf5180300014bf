"""Crops of the splits of ``model.yaml``: patches are crops, and an overlap is given in pixels."""

from __future__ import annotations

from typing import Any

from olmoearth_nb.config.renamed.draft import Draft, Keys

__all__ = ["modern_splits"]

_RENAMED = {"patch_size": "crop_size", "load_all_patches": "load_all_crops"}
_SPLITS = ("train_config", "val_config", "test_config", "predict_config")
_SECTIONS = ("default_config", *_SPLITS)
_RATIO, _PIXELS = "overlap_ratio", "overlap_pixels"
_WHY = "The overlap is given in pixels: the side of a crop times the ratio, rounded."


def modern_splits(draft: Draft, keys: Keys) -> None:
    """Brings the splits of a data module up to date, all of them together: rslearn refuses a mixture.

    Args:
        draft: The configuration.
        keys: Arguments of the data module.
    """
    places = {name: _arguments(draft, (*keys, name)) for name in _SECTIONS}
    for place in places.values():
        for old, new in _RENAMED.items():
            _rename(draft, place, old, new)
    _overlap(draft, places)


def _arguments(draft: Draft, keys: Keys) -> Keys:
    section = draft.mapping(keys)
    return (*keys, "init_args") if "class_path" in section else keys


def _rename(draft: Draft, keys: Keys, old: str, new: str) -> None:
    section, place = draft.mapping(keys), (*keys, old)
    if old not in section:
        return
    value = section[old]
    if value is None:
        draft.drop(place)
        draft.changed(place, {old: None}, None, f"It is called {new} now, and nothing is given.")
    elif section.get(new) in (None, value):
        draft.put(place, new)
        draft.changed(place, {old: value}, {new: value}, f"It is called {new} now.")
    else:
        found = f"It has both {old} ({value}) and {new} ({section[new]})."
        draft.unclear(place, found, f"{old} is the older name of {new}: keep one.")


def _overlap(draft: Draft, places: dict[str, Keys]) -> None:
    default = draft.mapping(places["default_config"])
    shared = default.get(_RATIO)
    wanted = {name: _pixels(draft, places, name, shared) for name in _SPLITS}
    for name in _SPLITS:
        keys = places[name]
        section = draft.mapping(keys)
        own = section.get(_RATIO)
        pixels = wanted[name]
        if pixels is None or pixels is _UNKNOWN:
            if pixels is None and _RATIO in section:
                draft.drop((*keys, _RATIO))
                draft.changed((*keys, _RATIO), {_RATIO: own}, None, "Crops only overlap where all of them are loaded.")
        elif own is not None:
            draft.put((*keys, _RATIO), _PIXELS, pixels)
            draft.changed((*keys, _RATIO), {_RATIO: own}, {_PIXELS: pixels}, _WHY)
    if _RATIO in default and _UNKNOWN not in wanted.values():
        _shared_overlap(draft, places, wanted)


def _shared_overlap(draft: Draft, places: dict[str, Keys], wanted: dict[str, Any]) -> None:
    """The ratio of the default section: there in pixels if they follow from it alone, and where a split differs."""
    keys = places["default_config"]
    default = draft.mapping(keys)
    ratio, side = default[_RATIO], default.get("crop_size")
    base = round(side * ratio) if default.get("load_all_crops") and isinstance(side, int) and ratio else None
    new = {} if base is None else {_PIXELS: base}
    if base is None:
        draft.drop((*keys, _RATIO))
    else:
        draft.put((*keys, _RATIO), _PIXELS, base)
    for name in _SPLITS:
        pixels, place = wanted[name] or 0, places[name]
        if pixels != (base or 0) and draft.mapping(place).get(_PIXELS) is None:
            draft.add((*place, _PIXELS), pixels)
            new[f"{name}.{_PIXELS}"] = pixels
    draft.changed((*keys, _RATIO), {_RATIO: ratio}, new or None, _WHY)


_UNKNOWN = object()


def _pixels(draft: Draft, places: dict[str, Keys], name: str, shared: Any) -> Any:
    """Pixels that the crops of a split share; None where none, or no ratio, is given."""
    default, section = draft.mapping(places["default_config"]), draft.mapping(places[name])
    merged = {**default, **{key: value for key, value in section.items() if value is not None}}
    ratio = section[_RATIO] if section.get(_RATIO) is not None else shared
    if ratio is None or not merged.get("load_all_crops"):
        return None
    if merged.get(_PIXELS) is not None and section.get(_RATIO) is None:
        return None  # the newer spelling is nearer
    keys = (*places[name if section.get(_RATIO) is not None else "default_config"], _RATIO)
    crop = merged.get("crop_size")
    sides = [crop] if isinstance(crop, int) else list(crop) if isinstance(crop, list | tuple) else []
    fix = f"Write {_PIXELS} instead, the pixels that neighbouring crops share."
    if not sides or not all(isinstance(side, int) for side in sides) or not isinstance(ratio, int | float):
        draft.unclear(keys, f"{_RATIO} can't be put in pixels: {name} has no crop_size in whole numbers.", fix)
        return _UNKNOWN
    pixels = {round(side * ratio) for side in sides}
    if len(pixels) > 1:
        draft.unclear(keys, f"{_RATIO} is a different number of pixels in each direction of a crop of {crop}.", fix)
        return _UNKNOWN
    return pixels.pop()
