"""Where in ``olmoearth_config.yaml`` something of the three files comes from."""

from __future__ import annotations

from dataclasses import replace

from olmoearth_nb.config.dataset_json import DATASET_CONFIG_NAME
from olmoearth_nb.config.model_yaml import MODEL_CONFIG_NAME
from olmoearth_nb.config.report import Problem
from olmoearth_nb.config.schema import RUN_CONFIG_NAME
from olmoearth_nb.config.single_file.observed import MODALITIES
from olmoearth_nb.config.single_file.schema import SINGLE_CONFIG_NAME

__all__ = ["at_origin"]

# The longest beginning of a key that fits counts.
_ORIGINS: dict[str, dict[str, str]] = {
    DATASET_CONFIG_NAME: {
        "": "data",
        "layers.labels": "data.output",
        "layers.output": "data.output",
        **{f"layers.{facts.name}": f"data.modalities.{key}" for key, facts in MODALITIES.items()},
    },
    MODEL_CONFIG_NAME: {
        "": "model",
        "model.init_args.model.init_args.encoder": "model.encoder",
        "model.init_args.model.init_args.decoder": "model.tasks",
        "model.init_args.optimizer": "training.optimizer",
        "model.init_args.scheduler": "training.scheduler",
        "data.init_args.inputs": "data",
        "data.init_args.task": "model.tasks",
        "data.init_args.batch_size": "training.batch_size",
        **{
            f"data.init_args.{name}_config": f"input_preprocessing.{name}"
            for name in ("default", "train", "val", "test", "predict")
        },
        "trainer": "training",
    },
    RUN_CONFIG_NAME: {
        "": "data.output",
        "partition_strategies": "prediction_requests",
        "partition_strategies.partition_request_geometry": "prediction_requests.partitioners.request_to_partitions",
        "partition_strategies.prepare_window_geometries": "prediction_requests.partitioners.partition_to_windows",
        "postprocessing_strategies": "prediction_requests",
        "postprocessing_strategies.process_window": "prediction_requests.postprocessors.window",
        "postprocessing_strategies.process_partition": "prediction_requests.postprocessors.partition",
        "postprocessing_strategies.process_dataset": "prediction_requests.postprocessors.request",
        "window_prep": "labeled_data_prep",
        "window_prep.sampler": "labeled_data_prep.sampler",
        "window_prep.labeled_window_preparer": "labeled_data_prep.window_preparer",
        "window_prep.data_splitter": "labeled_data_prep.data_splitter",
        "inference_results_config": "data.output",
    },
}


def at_origin(problem: Problem) -> Problem:
    """A problem of one of the three files as one of ``olmoearth_config.yaml``.

    Args:
        problem: Any; those of other files stay as they are.
    """
    origins = _ORIGINS.get(problem.file)
    if origins is None:
        return problem
    begin = max((one for one in origins if problem.key.startswith(one)), key=len)
    key = origins[begin]
    rest = problem.key[len(begin) :]
    if problem.file == RUN_CONFIG_NAME and rest.startswith(".init_args."):
        key += rest.removeprefix(".init_args")
    place = f"{problem.file}, {problem.key}" if problem.key else problem.file
    if problem.found in ("The section is missing.", "The model configuration is missing."):
        return replace(problem, file=SINGLE_CONFIG_NAME, key=key, found="The section is missing.", fix=None)
    return replace(problem, file=SINGLE_CONFIG_NAME, key=key, found=f"{problem.found} (In what it becomes: {place}.)")
