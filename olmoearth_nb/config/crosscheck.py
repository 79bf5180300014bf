"""Whether the configuration files of a project fit each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rslearn.config import LayerConfig

from olmoearth_nb.config.dataset_json import DATASET_CONFIG_NAME
from olmoearth_nb.config.imports import import_object
from olmoearth_nb.config.model_yaml import MODEL_CONFIG_NAME, MODEL_STEPS, ModelFile, at
from olmoearth_nb.config.report import FINE_TUNE_STEPS, Problem, did_you_mean, one_of
from olmoearth_nb.config.roles import labels_kind
from olmoearth_nb.config.schema import RUN_CONFIG_NAME, InferenceResultsConfig, WindowPrep
from olmoearth_nb.config.yamlfile import join
from olmoearth_nb.errors import ConfigError, UsageError
from olmoearth_nb.legend import RangeLegend
from olmoearth_nb.types import DataSplitType, StepName

__all__ = ["check_label_layer", "check_legend", "check_model_inputs", "check_output_layer", "check_splits"]

_OUTPUT_LAYER = "output"
_TASKS = "rslearn.train.tasks."
_WRITTEN = {
    "ClassificationTask": "vector",
    "DetectionTask": "vector",
    "RegressionTask": "vector",
    "EmbeddingTask": "raster",
    "PerPixelRegressionTask": "raster",
    "PerPixelTimestepTask": "raster",
    "SegmentationTask": "raster",
}
_PREPARE = frozenset({StepName.PREPARE_LABELED_WINDOWS})
_TRAINING = frozenset({StepName.FINE_TUNE})

Layers = Mapping[str, LayerConfig | None]
"""Layers of the dataset by name; None for one that is wrong in itself."""


def check_label_layer(
    window_prep: WindowPrep, layers: Layers, label_names: Sequence[str] | None, *, search_path: Sequence[Path] = ()
) -> Iterator[Problem]:
    """Whether the labels have a layer that can hold them.

    Args:
        window_prep: The section.
        layers: Layers of the dataset.
        label_names: Names of the labels in the annotations, if they could be read.
        search_path: Folders to look in for custom modules.
    """
    name = window_prep.label_layer
    if name not in layers:
        yield Problem(
            file=RUN_CONFIG_NAME,
            key="window_prep.label_layer",
            found=f"{DATASET_CONFIG_NAME} has no layer {name!r} for the labels.",
            expected=f"one of {one_of(layers)}",
            fix=did_you_mean(name, layers),
            # The windows can be prepared all the same, as the guide's sample has it.
            steps=FINE_TUNE_STEPS - _PREPARE,
        )
        return
    layer = layers[name]
    spec = window_prep.labeled_window_preparer
    try:
        kind = labels_kind(import_object(spec.target, search_path=search_path))
    except ConfigError:
        return  # the check of the class has it
    if layer is None or kind is None:
        return
    if layer.type != kind:
        yield Problem(
            file=DATASET_CONFIG_NAME,
            key=f"layers.{name}.type",
            found=f"The window preparer makes {kind} labels, and the layer is {layer.type.value}.",
            fix="Change the type of the layer, or choose another labeled_window_preparer.",
            steps=_PREPARE,
        )
    elif kind == "raster":
        yield from _label_bands(name, layer, label_names)
        yield from _label_dtype(name, layer, spec.arguments.get("dtype"))


def _label_bands(name: str, layer: LayerConfig, label_names: Sequence[str] | None) -> Iterator[Problem]:
    if label_names is None:
        return
    bands = [list(band_set.bands) for band_set in layer.band_sets]
    if not any(set(one) == set(label_names) or len(one) == len(label_names) == 1 for one in bands):
        yield Problem(
            file=DATASET_CONFIG_NAME,
            key=f"layers.{name}.band_sets",
            found=f"The annotations have the labels {', '.join(label_names)}, and the bands are {bands}.",
            fix="Give the layer a band set with a band for each label.",
            steps=_PREPARE,
        )


def _label_dtype(name: str, layer: LayerConfig, dtype: object) -> Iterator[Problem]:
    try:
        made = np.dtype(dtype.lower()) if isinstance(dtype, str) else None
    except TypeError:
        return  # the check of the preparer has it
    held = np.dtype(layer.band_sets[0].dtype.get_numpy_dtype())
    if made is not None and not np.can_cast(made, held, casting="safe"):
        yield Problem(
            file=DATASET_CONFIG_NAME,
            key=f"layers.{name}.band_sets[0].dtype",
            found=f"The window preparer makes {made} labels, and {held} does not hold all their values.",
            fix=f"Make the layer {made}.",
            severity="warning",
            steps=_PREPARE,
        )


def check_output_layer(
    results: InferenceResultsConfig | None, layers: Layers, model: ModelFile | None
) -> Iterator[Problem]:
    """Whether the model has a layer to write to, of the kind that it writes.

    Args:
        results: The section, if it could be read.
        layers: Layers of the dataset.
        model: ``model.yaml``, if it could be read.
    """
    steps = frozenset({StepName.INFERENCE})
    key = f"layers.{_OUTPUT_LAYER}"
    if _OUTPUT_LAYER not in layers:
        found = f"There is no layer {_OUTPUT_LAYER!r} for the model to write to."
        fix = f"Add one: {_fitting_layer(results)}."
        yield Problem(file=DATASET_CONFIG_NAME, key=key, found=found, fix=fix, steps=steps)
        return
    layer = layers[_OUTPUT_LAYER]
    if layer is None:
        return
    kind, data_type = layer.type.value, results.data_type if results is not None else None
    task, written = _written(model)
    writes = f"{task} of {MODEL_CONFIG_NAME} writes {written} results"
    if data_type is not None and kind != data_type.lower():
        found = f"The layer is {kind}, and {RUN_CONFIG_NAME} says data_type {data_type}."
        wrong = f"data_type and the postprocessing in {RUN_CONFIG_NAME}" if kind == written else "the layer"
        fix = "Change one of them." if written is None else f"Change {wrong}: {writes}."
    elif written is not None and kind != written:
        found = f"The layer is {kind}, and {writes}."
        fix = "Change the layer and data_type, or the task."
    else:
        return
    yield Problem(file=DATASET_CONFIG_NAME, key=f"{key}.type", found=found, fix=fix, steps=steps)


def _fitting_layer(results: InferenceResultsConfig | None) -> str:
    """The layer that would hold the results, as the file would have it."""
    vector = f'"{_OUTPUT_LAYER}": {{"type": "vector"}}'
    values = [entry.value for one in results.classification_fields for entry in one.allowed_values] if results else []
    dtype = "…" if results is None else "float32"
    if values and not (results and results.regression_fields):
        dtype = "uint8" if all(isinstance(one, int) and 0 <= one <= 255 for one in values) else "int32"
    bands = f'"band_sets": [{{"bands": ["{_OUTPUT_LAYER}"], "dtype": "{dtype}"}}]'
    raster = f'"{_OUTPUT_LAYER}": {{"type": "raster", {bands}}}'
    if results is None:
        return f"{vector}, or {raster}"
    return vector if results.data_type == "VECTOR" else raster


def _written(model: ModelFile | None) -> tuple[str, str | None]:
    """The task of the model, and the kind of layer that holds what it writes; None where that does not show."""
    task = at(model.value, "data", "init_args", "task") if model is not None else {}
    several = at(task, "init_args", "tasks")
    paths = [str(at(one).get("class_path")) for one in several.values()] or [str(task.get("class_path"))]
    names = sorted({path.rpartition(".")[2] for path in paths})
    kinds = {_WRITTEN.get(path.rpartition(".")[2]) if path.startswith(_TASKS) else None for path in paths}
    return ", ".join(names), kinds.pop() if len(kinds) == 1 else None


def check_model_inputs(model: ModelFile, layers: Layers) -> Iterator[Problem]:
    """Whether the dataset has the layers and bands that the model reads.

    Args:
        model: ``model.yaml``.
        layers: Layers of the dataset.
    """
    for name, one in model.inputs.items():
        path = join("data.init_args.inputs", name)
        # Targets are not read for a prediction.
        steps = _TRAINING if one.get("is_target") else MODEL_STEPS
        for index, item_group in enumerate(_list(one.get("layers"))):
            layer_name = str(item_group).partition(".")[0]
            key = join(join(path, "layers"), index)
            if layer_name in layers:
                yield from _input_layer(one, path, layer_name, layers[layer_name], steps)
                continue
            yield Problem(
                file=MODEL_CONFIG_NAME,
                key=key,
                found=f"{DATASET_CONFIG_NAME} has no layer {layer_name!r}.",
                expected=f"one of {one_of(layers)}",
                fix=did_you_mean(layer_name, layers),
                severity="warning" if one.get("required") is False else "error",
                steps=steps,
            )


def _input_layer(
    one: Mapping[str, Any], path: str, name: str, layer: LayerConfig | None, steps: frozenset[StepName]
) -> Iterator[Problem]:
    kind = one.get("data_type")
    if layer is None:
        return
    if kind != layer.type.value:
        yield Problem(
            file=MODEL_CONFIG_NAME,
            key=join(path, "data_type"),
            found=f"It is {kind!r}, and the layer {name!r} of {DATASET_CONFIG_NAME} is {layer.type.value}.",
            steps=steps,
        )
        return
    there = [band for band_set in layer.band_sets for band in band_set.bands]
    missing = [str(band) for band in _list(one.get("bands")) if band not in there]
    if kind == "raster" and missing:
        yield Problem(
            file=MODEL_CONFIG_NAME,
            key=join(path, "bands"),
            found=f"The layer {name!r} of {DATASET_CONFIG_NAME} has no bands {', '.join(missing)}.",
            expected=f"some of {one_of(there)}",
            steps=steps,
        )


def check_splits(model: ModelFile, window_prep: WindowPrep) -> Iterator[Problem]:
    """Whether training reads the windows that window preparation makes; only warnings.

    Args:
        model: ``model.yaml``.
        window_prep: The section.
    """
    for split in ("train", "val", "test"):
        config = model.split(split)
        path = f"data.init_args.{split}_config"
        groups, tags = _list(config.get("groups")), at(config, "tags")
        found: list[tuple[str, str]] = []
        if groups and window_prep.group_name not in groups:
            found.append(("groups", f"It is {groups}, and window_prep.group_name is {window_prep.group_name!r}."))
        value = tags.get(window_prep.split_property)
        if window_prep.split_property not in tags:
            found.append(("tags", f"It does not select a split: windows have it as {window_prep.split_property!r}."))
        elif value not in list(DataSplitType):
            found.append((f"tags.{window_prep.split_property}", f"It is {value!r}; splits are train, val and test."))
        for key, text in found:
            yield Problem(file=MODEL_CONFIG_NAME, key=join(path, key), found=text, severity="warning", steps=_TRAINING)


def check_legend(results: InferenceResultsConfig) -> Iterator[Problem]:
    """Classes that are given twice, bands that don't exist, colormaps that nobody has; only warnings.

    Args:
        results: The section.
    """
    for index, one in enumerate(results.classification_fields):
        path = f"inference_results_config.classification_fields[{index}]"
        values = Counter(str(entry.value) for entry in one.allowed_values)
        for value in [value for value, count in values.items() if count > 1]:
            yield _legend_warning(
                join(path, "allowed_values"), f"The value {value} is given twice; the last one counts."
            )
        if one.band_index is not None and one.band_index < 1:
            yield _legend_warning(join(path, "band_index"), f"It is {one.band_index}; bands are counted from 1.")
    for index, field in enumerate(results.regression_fields):
        path = f"inference_results_config.regression_fields[{index}]"
        if field.band_index is not None and field.band_index < 1:
            yield _legend_warning(join(path, "band_index"), f"It is {field.band_index}; bands are counted from 1.")
        try:
            _ = RangeLegend(field.property_name, None, 0, 1, field.colormap_name).colormap_name
        except UsageError as error:
            yield _legend_warning(join(path, "colormap_name"), error.what)


def _legend_warning(key: str, found: str) -> Problem:
    return Problem(file=RUN_CONFIG_NAME, key=key, found=found, severity="warning")


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
