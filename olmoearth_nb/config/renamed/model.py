"""``model.yaml``: arguments and classes that rslearn renamed, moved or dropped."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

from olmoearth_nb.config.renamed.draft import Draft, Keys, Modern, specs
from olmoearth_nb.config.renamed.series import modern_series
from olmoearth_nb.config.renamed.splits import modern_splits

__all__ = ["modern_model"]

_MODULE = "rslearn.train.lightning_module.RslearnLightningModule"
_DATA = "rslearn.train.data_module.RslearnDataModule"
_ENCODER = "rslearn.models.olmoearth_pretrain.model.OlmoEarth"
_NORMALIZE = "rslearn.models.olmoearth_pretrain.norm.OlmoEarthNormalize"
_POOLING = "rslearn.models.pooling_decoder.SegmentationPoolingDecoder"
# The input that projects' own class took its size from; rslearn's takes "image".
_POOLING_KEY = "sentinel2_l2a"

# Classes that rslearn has taken over from projects; taken from there where the project's package has them.
_MOVED = {
    "olmoearth_projects.olmoearth_pretrain.model.OlmoEarth": _ENCODER,
    "olmoearth_projects.olmoearth_pretrain.norm.OlmoEarthNormalize": _NORMALIZE,
    "olmoearth_projects.helios.model.Helios": _ENCODER,
    "olmoearth_projects.helios.norm.HeliosNormalize": _NORMALIZE,
    "rslp.helios.model.Helios": _ENCODER,
    "rslp.helios.norm.HeliosNormalize": _NORMALIZE,
    "olmoearth_projects.train.segmentation_pooling_decoder.SegmentationPoolingDecoder": _POOLING,
    "rslp.nandi.train.SegmentationPoolingDecoder": _POOLING,
    "rslp.transforms.mask.Mask": "rslearn.train.transforms.mask.Mask",
}

# Class -> argument -> its new name and the new value of an old one.
_RENAMED: Mapping[str, Mapping[str, tuple[str, Callable[[Any], Any], str]]] = {
    "rslearn.train.prediction_writer.RasterMerger": {
        "padding": (
            "overlap_pixels",
            lambda padding: padding * 2,
            "Twice the padding: half of what crops share is cut from each.",
        )
    },
    _DATA: dict.fromkeys(
        ("use_in_memory_all_patches_dataset", "use_in_memory_all_crops_dataset"),
        ("use_in_memory_dataset", bool, "It is called use_in_memory_dataset now."),
    ),
    **{
        f"rslearn.train.tasks.{name}": {
            "metric_mode": (
                "metrics",
                lambda mode: [mode] if isinstance(mode, str) else list(mode),
                "Several metrics can be given, so it is a list.",
            )
        }
        for name in ("regression.RegressionTask", "per_pixel_regression.PerPixelRegressionTask")
    },
    **{
        f"rslearn.models.olmoearth_pretrain.{name}": {
            "use_register_bottleneck_output": ("use_location_token_output", bool, "Registers are location tokens now."),
            "projected_register_dim": ("projected_location_token_dim", int, "Registers are location tokens now."),
        }
        for name in ("model.OlmoEarth", "model_period_timestamps.OlmoEarthPeriodTimestamps")
    },
}
_DROPPED = {
    "rslearn.models.pick_features.PickFeatures": {"collapse": "The heads take a list with one feature map."},
    "rslearn.train.transforms.normalize.Normalize": {"num_bands": "It has no effect any more."},
    "rslearn.train.transforms.select_bands.SelectBands": {"num_bands_per_timestep": "It has no effect any more."},
}
_PLATEAU = {
    "plateau_factor": "factor",
    "plateau_patience": "patience",
    "plateau_min_lr": "min_lr",
    "plateau_cooldown": "cooldown",
}


def modern_model(value: Any) -> Modern:
    """``model.yaml`` in the spelling of today.

    Args:
        value: What the file says, template variables as text.

    Example:
        >>> merger = {"class_path": "rslearn.train.prediction_writer.RasterMerger", "init_args": {"padding": 4}}
        >>> modern_model({"merger": merger}).value["merger"]["init_args"]
        {'overlap_pixels': 8}
    """
    draft = Draft(value)
    for keys, path in list(specs(draft.value)):
        if path in _MOVED and not _is_there(path.rpartition(".")[0]):
            _moved(draft, keys, path)
    for keys, path in list(specs(draft.value)):
        if isinstance(draft.at((*keys, "init_args")), Mapping):
            _object(draft, keys, path)
    return draft.finished()


def _object(draft: Draft, keys: Keys, path: str) -> None:
    arguments = (*keys, "init_args")
    for name, renamed in _RENAMED.items():
        if _is(path, name):
            for old, (new, translate, why) in renamed.items():
                _rename(draft, (*arguments, old), new, translate, why)
    for name, dropped in _DROPPED.items():
        for old, why in dropped.items() if _is(path, name) else ():
            if old in draft.mapping(arguments):
                draft.changed((*arguments, old), {old: draft.at((*arguments, old))}, None, why)
                draft.drop((*arguments, old))
    for name, bring in _SPECIAL.items():
        if _is(path, name):
            bring(draft, arguments)
    modern_series(draft, keys, path)


def _is(path: str, name: str) -> bool:
    # The parser takes the bare name as well.
    return path == name or path == name.rpartition(".")[2]


def _moved(draft: Draft, keys: Keys, path: str) -> None:
    place = (*keys, "class_path")
    draft.put(place, "class_path", _MOVED[path])
    draft.changed(place, {"class_path": path}, {"class_path": _MOVED[path]}, "The class is part of rslearn now.")
    arguments = (*keys, "init_args")
    if _MOVED[path] == _POOLING and "image_key" not in draft.mapping(arguments):
        if not draft.mapping(arguments):
            draft.add(arguments, {})
        draft.add((*arguments, "image_key"), _POOLING_KEY)


def _rename(draft: Draft, place: Keys, new: str, translate: Callable[[Any], Any], why: str) -> None:
    arguments = draft.mapping(place[:-1])
    old = str(place[-1])
    if old not in arguments:
        return
    value, there = arguments[old], arguments.get(new)
    if value is None or (there is not None and there == translate(value)):
        draft.drop(place)
        draft.changed(place, {old: value}, None, f"It is called {new} now.")
    elif there is None:
        draft.put(place, new, translate(value))
        draft.changed(place, {old: value}, {new: translate(value)}, why)
    else:
        found = f"It has both {old} ({value}) and {new} ({there})."
        draft.unclear(place, found, f"{old} is the older name of {new}: keep one.")


def _lightning_module(draft: Draft, keys: Keys) -> None:
    """Learning rate and plateau, to an optimizer and a scheduler; those that are given win, as they do in rslearn."""
    _factory(draft, keys, "lr", "optimizer", {"lr": "lr"}, "rslearn.train.optimizer.AdamW")
    arguments = draft.mapping(keys)
    if any(key in arguments for key in ("plateau", *_PLATEAU)):
        _factory(draft, keys, "plateau", "scheduler", _PLATEAU, "rslearn.train.scheduler.PlateauScheduler")
    if arguments.get("strict_loading") is True:
        draft.drop((*keys, "strict_loading"))
        draft.changed((*keys, "strict_loading"), {"strict_loading": True}, None, "Weights are always loaded so.")


def _factory(draft: Draft, keys: Keys, switch: str, new: str, options: Mapping[str, str], path: str) -> None:
    """One key that stands for an object, and those that are its arguments, to the object."""
    arguments = draft.mapping(keys)
    old = {key: arguments[key] for key in dict.fromkeys((switch, *options)) if key in arguments}
    if not old:
        return
    given = {name: old[key] for key, name in options.items() if old.get(key) is not None}
    first, *others = old
    on = bool(old.get(switch)) or switch in options
    if not on or arguments.get(new) is not None:
        why = f"{new} says it." if on else "It is off."
        draft.drop((*keys, first))
        value = None
    else:
        why = f"It is the {new} now, a class with its arguments."
        value = {"class_path": path, "init_args": given}
        draft.put((*keys, first), new, value)
    for key in others:
        draft.drop((*keys, key))
    draft.changed((*keys, first), old, None if value is None else {new: value}, why)


def _numbered_classes(draft: Draft, keys: Keys) -> None:
    """Classes that are numbers: names are text now, and labels are compared with numbers only as places in the list."""
    place = (*keys, "classes")
    classes = draft.at(place)
    if not isinstance(classes, list) or not any(isinstance(one, int) for one in classes):
        return
    by_number = draft.mapping(keys).get("read_class_id") is True
    if not by_number and classes != list(range(len(classes))):
        found = f"Names of classes have to be text now, and labels are not: {classes}."
        fix = "Label the classes 0, 1, 2, …, and say read_class_id: true with their names as classes."
        draft.unclear(place, found, fix)
        return
    new: dict[str, Any] = {"classes": [str(one) for one in classes]}
    draft.put(place, "classes", new["classes"])
    if not by_number:
        new["read_class_id"] = True
        draft.add((*keys, "read_class_id"), True)
    draft.changed(place, {"classes": classes}, new, "Names are text; labels and results stay the numbers.")


def _encoder(draft: Draft, keys: Keys) -> None:
    place = (*keys, "forward_kwargs")
    if "patch_size" not in draft.mapping(place) or draft.mapping(keys).get("patch_size") is not None:
        return
    value = draft.at((*place, "patch_size"))
    if len(draft.mapping(place)) == 1:
        draft.put(place, "patch_size", value)
    else:
        draft.drop((*place, "patch_size"))
        draft.add((*keys, "patch_size"), value)
    why = "It is an argument of the encoder itself."
    draft.changed((*place, "patch_size"), f"forward_kwargs.patch_size: {value}", {"patch_size": value}, why)


# Those whose older arguments are more than other names.
_SPECIAL: Mapping[str, Callable[[Draft, Keys], None]] = {
    _MODULE: _lightning_module,
    _DATA: modern_splits,
    _ENCODER: _encoder,
    "rslearn.train.tasks.classification.ClassificationTask": _numbered_classes,
    "rslearn.train.tasks.detection.DetectionTask": _numbered_classes,
}


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package that it would be in
        return False
