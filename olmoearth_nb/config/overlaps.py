"""Whether the results of a project can be blended where windows overlap, as ``overlap`` of CombineGeotiff wants it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from rslearn.config import LayerConfig

from olmoearth_nb.config.dataset_json import DATASET_CONFIG_NAME
from olmoearth_nb.config.model_yaml import MODEL_CONFIG_NAME, ModelFile, at
from olmoearth_nb.config.report import Problem
from olmoearth_nb.config.runconfig import RunConfig
from olmoearth_nb.config.schema import RUN_CONFIG_NAME, ObjectSpec
from olmoearth_nb.config.yamlfile import join
from olmoearth_nb.types import StepName

__all__ = ["check_overlaps"]

_TASK = "data.init_args.task"
_BANDS = "layers.output.band_sets[0]"
_STEPS = {
    "postprocessing_strategies.process_partition": StepName.POSTPROCESS,
    "postprocessing_strategies.process_dataset": StepName.COMBINE,
}


def check_overlaps(run: RunConfig, output: LayerConfig | None, model: ModelFile | None) -> Iterator[Problem]:
    """Whether the model writes what can be blended, and whether there is anything to blend.

    Args:
        run: ``olmoearth_run.yaml``.
        output: The layer that the model writes, if it could be read.
        model: ``model.yaml``, if it could be read.
    """
    specs = run.specs()
    wanted = {path: _overlap(specs.get(path)) for path in _STEPS}
    blending = [path for path, overlap in wanted.items() if overlap in ("mean", "classes")]
    if not blending:
        return
    overlap = "classes" if "classes" in wanted.values() else "mean"
    # A model that writes something else has to predict again.
    steps = frozenset({StepName.INFERENCE, *(_STEPS[path] for path in blending)})
    key, task = _task(model)
    for found in (*_model_problems(key, task, overlap), *_layer_problems(output, task, overlap)):
        yield found.for_steps(steps)
    yield from _doubts(specs, wanted)


def _overlap(spec: ObjectSpec | None) -> object:
    """What a stage does where its inputs overlap; None if that is not for CombineGeotiff to say."""
    if spec is None or spec.target.rpartition(".")[2] != "CombineGeotiff":
        return None
    return spec.arguments.get("overlap", "first")


def _task(model: ModelFile | None) -> tuple[str, dict[str, Any]]:
    """The task of the model and its key; nothing where there are several, of which the writer selects one."""
    task = at(model.value, *_TASK.split(".")) if model is not None else {}
    several = at(task, "init_args", "tasks")
    if not several:
        return _TASK, task
    name, one = next(iter(several.items()))
    return join(f"{_TASK}.init_args.tasks", name), at(one) if len(several) == 1 else {}


def _model_problems(key: str, task: Mapping[str, Any], overlap: str) -> Iterator[Problem]:
    if str(task.get("class_path")).rpartition(".")[2] != "SegmentationTask":
        return
    arguments = at(task, "init_args")
    if arguments.get("output_probs") is not True:
        yield Problem(
            file=MODEL_CONFIG_NAME,
            key=f"{key}.init_args.output_probs",
            found=f"The model writes classes, and overlap: {overlap} in {RUN_CONFIG_NAME} blends probabilities.",
            fix=f"Add output_probs: true here, and in {DATASET_CONFIG_NAME} give layers.output a band of float32 "
            "for each class.",
        )
    elif overlap == "classes" and arguments.get("output_class_idx") is not None:
        yield Problem(
            file=MODEL_CONFIG_NAME,
            key=f"{key}.init_args.output_class_idx",
            found=f"Only one probability is written, and overlap: classes in {RUN_CONFIG_NAME} looks for the "
            "greatest one.",
            fix="Take it out, or choose overlap: mean.",
        )


def _layer_problems(output: LayerConfig | None, task: Mapping[str, Any], overlap: str) -> Iterator[Problem]:
    if output is None or not output.band_sets:
        return
    dtype, bands = np.dtype(output.band_sets[0].dtype.get_numpy_dtype()), len(output.band_sets[0].bands)
    if dtype.kind != "f":
        yield Problem(
            file=DATASET_CONFIG_NAME,
            key=f"{_BANDS}.dtype",
            found=f"It is {dtype}, and overlap: {overlap} in {RUN_CONFIG_NAME} blends probabilities.",
            expected="float32, for probabilities and for measurements",
        )
    arguments = at(task, "init_args")
    classes = arguments.get("num_classes")
    all_of_them = arguments.get("output_probs") is True and arguments.get("output_class_idx") is None
    if all_of_them and isinstance(classes, int) and bands != classes:
        yield Problem(
            file=DATASET_CONFIG_NAME,
            key=f"{_BANDS}.bands",
            found=f"There are {bands}, and the model writes the probabilities of {classes} classes.",
            expected=f"{classes} bands, one for each class in their order",
        )
    elif overlap == "classes" and bands == 1:
        yield Problem(
            file=DATASET_CONFIG_NAME,
            key=f"{_BANDS}.bands",
            found=f"There is one, and overlap: classes in {RUN_CONFIG_NAME} needs one for each class.",
            fix="Let the model write the probabilities of all classes, or choose overlap: mean.",
        )


def _doubts(specs: Mapping[str, ObjectSpec], wanted: Mapping[str, object]) -> Iterator[Problem]:
    partition, dataset = _STEPS
    if wanted[dataset] == "first":
        yield Problem(
            file=RUN_CONFIG_NAME,
            key=f"{dataset}.init_args.overlap",
            found=f"Windows are blended within partitions only ({partition}): seams between partitions stay.",
            fix="Say overlap there too.",
            severity="warning",
            steps=frozenset({StepName.COMBINE}),
        )
    path = "partition_strategies.prepare_window_geometries"
    windows = specs.get(path)
    is_grid = windows is not None and windows.target.rpartition(".")[2] == "GridPartitioner"
    if windows is not None and is_grid and not windows.arguments.get("overlap_size"):
        yield Problem(
            file=RUN_CONFIG_NAME,
            key=f"{path}.init_args.overlap_size",
            found="Windows do not overlap, so that there is nothing to blend.",
            fix="Set it to an eighth of grid_size, say: each window grows by it on all sides.",
            severity="warning",
            steps=frozenset({StepName.PARTITION}),
        )
