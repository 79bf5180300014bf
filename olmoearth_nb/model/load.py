"""Load the model of a project without a trainer: module, data module, writer and weights, on a device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.utilities.seed import isolate_rng
from rslearn.train.prediction_writer import RslearnWriter
from rslearn.train.tasks import Task
from rslearn.train.tasks.multi_task import MultiTask

from olmoearth_nb.errors import ConfigError, ModelError
from olmoearth_nb.model.checkpoints import load_weights, read_checkpoint
from olmoearth_nb.model.devices import autocast, choose_device, choose_precision, leave_precision
from olmoearth_nb.model.encoders import offline_encoders, without_pretrained
from olmoearth_nb.model.fields_writer import FieldsWriter
from olmoearth_nb.model.hub import explain_missing
from olmoearth_nb.model.instantiate import component_class, instantiate
from olmoearth_nb.model.quiet import quiet
from olmoearth_nb.model.template import read_model_config, template_variables
from olmoearth_nb.model.training_log import seed_all

__all__ = ["LoadedModel", "build_modules", "load_model", "read_model_config", "template_variables"]


RANDOM_SEED = 0
"""Of random weights, so that two runs agree."""


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model that is ready to run.

    Attributes:
        module: The Lightning module, in evaluation mode, on ``device``.
        data: The Lightning data module; it reads nothing until it is set up.
        task: The rslearn task of both.
        writer: The configuration's RslearnWriter, or one with its defaults; None if the model has several tasks and
            the configuration doesn't say which to write.
        device: Where the model is.
        precision: ``32``, ``bf16-mixed`` or ``16-mixed``.
        dataset_path: The rslearn dataset that it reads from and writes to.
        model_yaml: The configuration.
        config: The configuration as read, template variables filled in.
        checkpoint: Where the weights come from; None if they are those that the configuration starts training with,
            or random.
    """

    module: LightningModule
    data: LightningDataModule
    task: Task
    writer: RslearnWriter | None
    device: torch.device
    precision: str
    dataset_path: Path
    model_yaml: Path
    config: dict[str, Any]
    checkpoint: Path | None

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Context that a forward pass of this precision runs in."""
        return autocast(self.precision, self.device)


def load_model(
    model_yaml: Path,
    *,
    variables: Mapping[str, str],
    checkpoint: Path | None,
    device: str | None = None,
    precision: str | None = None,
    random_weights: bool = False,
) -> LoadedModel:
    """Loads the model that ``model.yaml`` describes.

    With a checkpoint or random weights, encoders don't load those they were pretrained with, and nothing is fetched.

    Args:
        model_yaml: The configuration.
        variables: Template variable -> value; ``DATASET_PATH`` is where the model reads and writes, whatever paths
            the configuration has.
        checkpoint: Lightning checkpoint; None leaves the model with the weights that it starts training with.
        device: ``cuda``, ``mps``, ``cpu``; None or ``auto`` for the best there is.
        precision: ``32``, ``bf16-mixed``, ``16-mixed``; None for what ``trainer.precision`` says, or 32.
        random_weights: Without a checkpoint, leave all weights random, the same each time.

    Raises:
        ConfigError: If the configuration can't be read, or names what does not import or fit.
        MissingDependencyError: If a package is missing that it needs.
        ModelError: If the model can't be built, or the checkpoint is not one of this model.
        UsageError: If the device or the precision is not there.
    """
    chosen = choose_device(device)
    config = read_model_config(model_yaml, variables)
    bits = choose_precision(precision, config, chosen)
    # Before the model, which takes longer: a wrong path is reported at once.
    content = None if checkpoint is None else read_checkpoint(checkpoint)
    weights = None if content is None else content["state_dict"]
    with quiet(), _seeded(random_weights):
        module, data = build_modules(
            config, variables, where=str(model_yaml), random=random_weights or weights is not None, weights=weights
        )
        task = _task(module, str(model_yaml))
        writer = _writer(config, variables, task, where=str(model_yaml))
        if weights is not None:
            load_weights(module, weights, where=str(checkpoint))
    leave_precision(module, config, chosen)
    module.to(chosen)
    module.eval()
    return LoadedModel(
        module=module,
        data=data,
        task=task,
        writer=writer,
        device=chosen,
        precision=bits,
        dataset_path=Path(variables["DATASET_PATH"]),
        model_yaml=model_yaml,
        config=config,
        checkpoint=checkpoint,
    )


@contextlib.contextmanager
def _seeded(random_weights: bool) -> Iterator[None]:
    if not random_weights:
        yield
        return
    with isolate_rng():
        seed_all(RANDOM_SEED)
        yield


def build_modules(
    config: Mapping[str, Any],
    variables: Mapping[str, str],
    *,
    where: str,
    random: bool,
    weights: Mapping[str, torch.Tensor] | None = None,
) -> tuple[LightningModule, LightningDataModule]:
    """Builds the module and the data module of a configuration.

    Args:
        config: The configuration, variables filled in.
        variables: For the dataset's path.
        where: The file, for errors.
        random: Whether weights are left as they are initialized, and nothing is fetched.
        weights: Those that are loaded afterwards, if any.

    Raises:
        ConfigError: If something does not import or fit.
        MissingDependencyError: If a package is missing that it needs.
        ModelError: If something can't be built; a file that can't be fetched or is missing is named.
    """
    sections = {name: _section(config, name, where) for name in ("model", "data")}
    # Published configurations have paths of other machines here.
    arguments = sections["data"].get("init_args") or {}
    if "data_modules" not in arguments:
        sections["data"] = {**sections["data"], "init_args": {**arguments, "path": variables["DATASET_PATH"]}}
    if random:
        sections["model"] = without_pretrained(sections["model"], weights)
    types: dict[str, type] = {"model": LightningModule, "data": LightningDataModule}
    try:
        with offline_encoders(sections["model"], stubborn=random):
            built = instantiate(sections, types, where=where)
    except ModelError as error:
        explained = explain_missing(error, config, where=where, random=random)
        if explained is None:
            raise
        raise explained from error
    return built.model, built.data


def _section(config: Mapping[str, Any], name: str, where: str) -> dict[str, Any]:
    section = config.get(name)
    if not isinstance(section, dict) or "class_path" not in section:
        raise ConfigError(
            f"The section {name!r} has no class_path.",
            where=where,
            expected="class_path and init_args",
            found="nothing" if section is None else repr(section)[:80],
        )
    return section


def _task(module: LightningModule, where: str) -> Task:
    task = getattr(module, "task", None)
    if not isinstance(task, Task):
        raise ConfigError(
            "The Lightning module has no rslearn task.",
            where=f"{where}: model.class_path",
            expected="rslearn.train.lightning_module.RslearnLightningModule or a class derived from it",
            found=type(module).__name__,
        )
    return task


def _writer(config: Mapping[str, Any], variables: Mapping[str, str], task: Task, *, where: str) -> RslearnWriter | None:
    """The writer that the trainer would have; outputs go to the run's dataset."""
    entry = _writer_entry(config)
    if entry is not None:
        arguments = {**(entry.get("init_args") or {}), "path": variables["DATASET_PATH"], "output_path": None}
        arguments.pop("path_options", None)
        section = {"writer": {"class_path": entry["class_path"], "init_args": arguments}}
        built = instantiate(section, {"writer": RslearnWriter}, where=f"{where}: trainer.callbacks")
        writer: RslearnWriter = built.writer
        wanted = writer.fields if isinstance(writer, FieldsWriter) else writer.selector[:1]
        if isinstance(task, MultiTask) and (not wanted or not set(wanted) <= set(task.tasks)):
            raise ConfigError(
                "The writer does not select one of the tasks.",
                where=f"{where}: trainer.callbacks: RslearnWriter.selector",
                expected=f"a list with one of {', '.join(task.tasks)}",
                found=repr(list(wanted)),
            )
        return writer
    selector = None
    if isinstance(task, MultiTask):
        if len(task.tasks) > 1:
            return None
        selector = list(task.tasks)
    return RslearnWriter(
        output_layer=variables.get("PREDICTION_OUTPUT_LAYER", "output"),
        path=variables["DATASET_PATH"],
        selector=selector,
    )


def _writer_entry(config: Mapping[str, Any]) -> dict[str, Any] | None:
    callbacks = (config.get("trainer") or {}).get("callbacks") or []
    for entry in callbacks if isinstance(callbacks, list) else [callbacks]:
        path = entry.get("class_path") if isinstance(entry, dict) else None
        if path == RslearnWriter.__name__:
            return dict(entry)
        cls = component_class(path)
        if cls is not None and issubclass(cls, RslearnWriter):
            return dict(entry)
    return None
