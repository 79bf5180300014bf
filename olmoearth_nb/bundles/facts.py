"""What a project's configuration says of its model, for the model card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from olmoearth_nb.config import Project
from olmoearth_nb.config.dataset_json import read_dataset
from olmoearth_nb.config.model_yaml import ModelFile, at, read_model
from olmoearth_nb.errors import OlmoEarthError
from olmoearth_nb.legend import Legend

__all__ = ["imagery_facts", "legend_facts", "model_facts", "needed_folders"]

# What says which model it is, among the arguments of an encoder.
_TELLING = ("model_id", "arch", "model_size", "patch_size", "pretrained")


def legend_facts(legend: Legend | None) -> dict[str, Any] | None:
    """The legend as plain values.

    Args:
        legend: The legend of a project.
    """
    if legend is None:
        return None
    return {key: value for key, value in asdict(legend).items() if value}


def needed_folders(project: Project) -> list[str]:
    """The folders of imagery that ``dataset.json`` names, as it names them.

    Args:
        project: The project.
    """
    try:
        return list(read_dataset(project.dataset_config_path).local_folders(project.data_path))
    except OlmoEarthError:
        return []


def imagery_facts(project: Project) -> dict[str, dict[str, Any]]:
    """Layers with a data source: where the imagery comes from, which bands, over which time.

    Args:
        project: The project.
    """
    try:
        layers = read_dataset(project.dataset_config_path).layers
    except OlmoEarthError:
        return {}
    found = {}
    for name, layer in layers.items():
        source = layer.data_source
        if source is None:
            continue
        query = source.query_config.model_dump(mode="json", exclude_defaults=True)
        found[name] = {
            "source": source.class_path,
            "bands": [band for band_set in layer.band_sets for band in band_set.bands],
            "query": query,
            "time_offset": str(source.time_offset) if source.time_offset is not None else None,
            "duration": str(source.duration) if source.duration is not None else None,
        }
    return found


def model_facts(project: Project) -> dict[str, Any] | None:
    """Encoder, decoders, tasks and inputs that ``model.yaml`` names.

    Args:
        project: The project.
    """
    try:
        model = read_model(project.model_config_path, has_extra_files=True)
    except OlmoEarthError:
        return None
    arguments = at(model.value, "model", "init_args", "model", "init_args")
    data = at(model.value, "data", "init_args")
    return {
        "encoder": list(_classes(arguments.get("encoder"))),
        "decoder": list(_classes(arguments.get("decoders", arguments.get("decoder")))),
        "task": list(_classes(data.get("task"))),
        "inputs": _inputs(model),
    }


def _inputs(model: ModelFile) -> dict[str, Any]:
    wanted = {name: one for name, one in model.inputs.items() if not one.get("is_target")}
    return {name: {"layers": one.get("layers", [name]), "bands": one.get("bands", [])} for name, one in wanted.items()}


def _classes(value: Any) -> Iterator[str]:
    """Class names with the arguments that tell which model it is."""
    match value:
        case {"class_path": str(path)}:
            arguments = at(value, "init_args")
            telling = ", ".join(f"{key}={arguments[key]}" for key in _TELLING if key in arguments)
            yield f"{path}({telling})" if telling else path
            for item in arguments.values():
                yield from _classes(item)
        case dict():
            for item in value.values():
                yield from _classes(item)
        case list():
            for item in value:
                yield from _classes(item)
        case _:
            pass
