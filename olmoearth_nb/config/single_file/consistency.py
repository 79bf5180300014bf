"""Whether the sections of ``olmoearth_config.yaml`` fit each other, and what of them can't be done."""

from __future__ import annotations

from collections.abc import Iterator

from olmoearth_nb.config.report import Problem, did_you_mean, one_of
from olmoearth_nb.config.single_file.data import ClassField, Output, PointInTime
from olmoearth_nb.config.single_file.network import EMBEDDING_SIZES, HuggingFace, ManualTask, Model, Task
from olmoearth_nb.config.single_file.schema import Places, SingleConfig
from olmoearth_nb.config.single_file.steps import LabeledDataPrep, PointToPixel, PolygonToRaster
from olmoearth_nb.config.single_file.transforms import Transforms
from olmoearth_nb.config.yamlfile import join

__all__ = ["inconsistencies"]

_KINDS = {
    "segmentation": ("segmentation", True),
    "per_pixel_regression": ("regression", True),
    "classification": ("classification", False),
}


def inconsistencies(config: SingleConfig, places: Places) -> list[Problem]:
    """Errors and warnings.

    Args:
        config: The file.
        places: Lines of its keys.
    """
    output = config.data.output
    found = [*_temporality(config, places), *_classes(config, places)]
    if config.model is not None:
        found += _model(config.model, output, places)
        for key, section in (("input_preprocessing", config.input_preprocessing), ("data.output", output)):
            if section is None:
                found.append(places.problem(key, "The section is missing; a model needs it.", severity="error"))
    if config.labeled_data_prep is not None:
        found += _prep(config.labeled_data_prep, config, places)
    return [*found, *_repeated_transforms(config, places), *_postprocessing(config, places)]


def _temporality(config: SingleConfig, places: Places) -> Iterator[Problem]:
    if not isinstance(config.data.temporality, PointInTime):
        return
    for key, modality in config.data.modalities.given.items():
        if modality.space_mode == "mosaic":
            yield places.problem(
                f"data.modalities.{key}.space_mode",
                "A point in time takes one image that contains the window, as olmoearth-runner does, and no mosaic.",
                fix="Write contains, or choose another temporality.",
                severity="warning",
            )


def _classes(config: SingleConfig, places: Places) -> Iterator[Problem]:
    for name, one in config.data.output.fields.items() if config.data.output else ():
        if not isinstance(one, ClassField):
            continue
        values = {value.value for value in one.allowed_values} - {one.nodata_value}
        if len(one.allowed_values) <= max(values, default=0):
            yield places.problem(
                f"data.output.fields.{name}.allowed_values",
                f"The model has {len(one.allowed_values)} classes, 0 to {len(one.allowed_values) - 1}, and a value is "
                f"{max(values)}.",
                fix="Number the classes from 0 without gaps.",
                severity="warning",
            )


def _model(model: Model, output: Output | None, places: Places) -> Iterator[Problem]:
    source = model.encoder.source
    if isinstance(source, HuggingFace) and source.embedding_size is None:
        yield places.problem(
            "model.encoder.source.model_id",
            f"It is {source.model_id!r}.",
            expected=f"one of {one_of(EMBEDDING_SIZES)}",
            fix=did_you_mean(source.model_id, EMBEDDING_SIZES),
        )
    fields = output.fields if output is not None else {}
    for name, task in model.tasks.items():
        key = join("model.tasks", name)
        if output is not None and name not in fields:
            fix = did_you_mean(name, fields)
            yield places.problem(
                key, f"data.output has no field {name!r}.", expected=f"one of {one_of(fields)}", fix=fix
            )
        elif output is not None:
            yield from _task(key, task, fields[name].field_type, output, places)
    for name in fields:
        if name not in model.tasks:
            fix = "Add one, or remove the field."
            yield places.problem(join("data.output.fields", name), "The model has no task for this field.", fix=fix)


def _task(key: str, task: Task, field_type: str, output: Output, places: Places) -> Iterator[Problem]:
    if isinstance(task, ManualTask):
        return
    kind, is_raster = _KINDS.get(task.name, ("regression", output.is_raster))
    if kind != field_type or is_raster != output.is_raster:
        found = (
            f"It is a task of {task.name}, and data.output has the field as {field_type} of {output.data_type} data."
        )
        yield places.problem(join(key, "name"), found, fix="Change one of them.")
    elif (task.decoder.name == "pooling") == output.is_raster:
        yield places.problem(
            f"{key}.decoder.name",
            f"It is {task.decoder.name!r}, and results are {output.data_type} data.",
            expected="unet, upsample_conv" if output.is_raster else "pooling",
        )


def _prep(prep: LabeledDataPrep, config: SingleConfig, places: Places) -> Iterator[Problem]:
    key, preparer, output = "labeled_data_prep.window_preparer", prep.window_preparer, config.data.output
    if output is not None and isinstance(preparer, PointToPixel) == output.is_raster:
        options = "point_to_raster, polygon_to_raster" if output.is_raster else "point_to_pixel"
        found = f"It is {preparer.name!r}, and results are {output.data_type} data."
        yield places.problem(f"{key}.name", found, expected=options)
    if isinstance(preparer, PolygonToRaster) and preparer.gridding_strategy and config.input_preprocessing is None:
        found = "The size of the squares is input_preprocessing.default.input_size, and there is no such section."
        yield places.problem(f"{key}.gridding_strategy", found)
    splitter = prep.data_splitter
    total = splitter.train_prop + splitter.val_prop + splitter.test_prop
    if abs(total - 1) > 1e-9:
        found = f"The proportions sum to {total:g}."
        yield places.problem("labeled_data_prep.data_splitter", found, expected="a sum of 1")


def _repeated_transforms(config: SingleConfig, places: Places) -> Iterator[Problem]:
    section = config.input_preprocessing
    if section is None:
        return
    splits = {"default": section.default.transforms}
    for name in ("train", "val", "test", "predict"):
        split = getattr(section, name)
        for key in ("transforms", "additional_transforms") if split is not None else ():
            splits[join(name, key)] = getattr(split, key) or []
    for name, transforms in splits.items():
        path = f"input_preprocessing.{name if '.' in name else f'{name}.transforms'}"
        for index in Transforms.repeated(transforms):
            yield places.problem(
                join(path, index),
                f"{transforms[index].name} comes first of all in any case; it is done once.",
                fix="Remove it: olmoearth-runner 0.1.14 does it twice.",
                severity="warning",
            )


def _postprocessing(config: SingleConfig, places: Places) -> Iterator[Problem]:
    if config.prediction_requests is None:
        return
    steps, output = config.prediction_requests.postprocessors, config.data.output
    path = "prediction_requests.postprocessors"
    if steps.additional_steps:
        yield places.problem(
            f"{path}.additional_steps", "Steps of one's own are not known here.", expected="an empty list"
        )
    if steps.window.name != "noop":
        found = f"It is {steps.window.name!r}, which merges several files, and a window has one."
        yield places.problem(f"{path}.window.name", found, expected="noop")
    if output is not None and not output.is_raster:
        for name in ("partition", "request"):
            stage = getattr(steps, name)
            if stage is not None and stage.name != "noop":
                found = f"It is {stage.name!r}, and results are vector data."
                yield places.problem(f"{path}.{name}.name", found, expected="noop, which merges GeoJSON")
