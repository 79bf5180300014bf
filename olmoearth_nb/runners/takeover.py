"""A scratch that olmoearth-runner made, taken over as it is: partitions, windows, imagery, predictions.

That package notes nowhere what a scratch was made from. So this is found out here: its windows have to be those that
this project makes of this request, which their names tell, and the files beside them those of the project.

It makes a folder for each window and knows of no database (its rslearn is 0.0.27). Where somebody has moved them into
one since, ``olmoearth-nb migrate`` say, they are taken from there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rslearn.dataset.storage.file import FileWindowStorage
from rslearn.dataset.window import Window
from upath import UPath

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InputFileError, StaleScratchError
from olmoearth_nb.files import read_json
from olmoearth_nb.geojson import PredictionRequestCollection, PredictionRequestFeature, read_request, write_collection
from olmoearth_nb.planning import Plan
from olmoearth_nb.postprocess.raster import NoopRaster
from olmoearth_nb.runners.base import file_hash, model_hash
from olmoearth_nb.runners.components import Components
from olmoearth_nb.runners.predict_scratch import PredictionScratch
from olmoearth_nb.store.dataset import CONFIG_NAME, imagery_layers
from olmoearth_nb.store.index import write_index
from olmoearth_nb.store.sqlite import ThreadedStorage, WindowStorage, database_files
from olmoearth_nb.store.windows import WindowKey
from olmoearth_nb.store.workspace import OUTPUT_LAYER, partition_number
from olmoearth_nb.types import StepName, WindowSpec

__all__ = ["is_of_olmoearth_runner", "take_over"]


def is_of_olmoearth_runner(scratch: PredictionScratch) -> bool:
    """Whether a scratch holds partitions and windows that this package did not make.

    Args:
        scratch: The scratch.
    """
    if scratch.stamps.path.exists():
        return False
    ids = _partition_ids(scratch)
    return any(_window_folders(scratch, pid) for pid in ids) or bool(ids and _storage(scratch) == "sqlite")


def take_over(scratch: PredictionScratch, components: Components, plan: Plan) -> str:
    """Goes on with partitions and windows of olmoearth-runner; none of its windows is changed.

    Args:
        scratch: The scratch.
        components: The project's components.
        plan: What this package would make.

    Returns:
        What was done, for people.

    Raises:
        StaleScratchError: If it was made from another request, partitioning, configuration or checkpoint.
        InputFileError: If a file of it can't be read.
    """
    windows = {pid: _windows(scratch, pid) for pid in _partition_ids(scratch)}
    everything = [window for group in windows.values() for window in group]
    _check_names(scratch, everything, plan)
    keys = [(window.group, window.name) for window in everything]
    layers = _layers_with_data(scratch, keys)
    _check_files(scratch, layers)
    if OUTPUT_LAYER in layers and _has_rasters(scratch, list(windows)) and _changes_windows(components):
        raise _refused(scratch, "olmoearth-runner has postprocessed its windows in place already.")
    for pid, group in windows.items():
        features, specs = _index(scratch, pid, group)
        if features is not None:
            write_collection(scratch.workspace.partition_request(pid), features)
        write_index(scratch.workspace.partition_index(pid), specs)
    # Last, and finished at once: a partitioning that was begun and not finished is made anew.
    scratch.begin(StepName.PARTITION, storage=_storage(scratch))
    scratch.stamps.finish(StepName.PARTITION, made=list(windows))
    if layers & imagery_layers(scratch.dataset).keys():
        scratch.begin(StepName.DATASET_BUILD)
    if OUTPUT_LAYER in layers:
        scratch.begin(StepName.INFERENCE)
    return f"The {len(everything):,} windows that olmoearth-runner made in this scratch are used as they are."


def _partition_ids(scratch: PredictionScratch) -> list[str]:
    requests = scratch.workspace.partitions.glob("*/request.geojson")
    return sorted((path.parent.name for path in requests), key=partition_number)


def _window_folders(scratch: PredictionScratch, partition_id: str) -> list[Path]:
    return list((scratch.workspace.dataset / "windows" / f"group_{partition_id}").glob("*/metadata.json"))


def _storage(scratch: PredictionScratch) -> WindowStorage:
    """Where the windows are: what lies there says it, the configuration may be linked to a project that was changed."""
    return "sqlite" if database_files(scratch.workspace.dataset)[0].is_file() else "files"


def _windows(scratch: PredictionScratch, partition_id: str) -> list[Window]:
    root = UPath(scratch.workspace.dataset)
    with foreign_code(InputFileError, "The windows can't be read", where=str(root)):
        if _storage(scratch) == "sqlite":
            with contextlib.closing(ThreadedStorage(root)) as storage:
                found: list[Window] = storage.get_windows(groups=[f"group_{partition_id}"])
        elif _window_folders(scratch, partition_id):
            found = FileWindowStorage(root).get_windows(groups=[f"group_{partition_id}"])
        else:
            found = []
    return sorted(found, key=lambda window: window.name)


def _check_names(scratch: PredictionScratch, windows: Sequence[Window], plan: Plan) -> None:
    """A name ends with a hash of extent and time, so it says whether the same request was split in the same way."""
    planned = {spec.name.rpartition("_")[2] for partition in plan.partitions for spec in partition.windows}
    same = sum(window.name.rpartition("_")[2] in planned for window in windows)
    # Not all have to be the same: slivers of grids that drift are only made there, windows at points only here.
    if 2 * same < len(windows):
        raise _refused(
            scratch,
            "olmoearth-runner made this scratch from another request or partitioning: of its "
            f"{len(windows):,} windows this project would make {same:,}.",
        )


def _layers_with_data(scratch: PredictionScratch, keys: Sequence[WindowKey]) -> set[str]:
    root = scratch.workspace.dataset / "windows"
    folders = (root / group / name / "layers" for group, name in keys)
    return {path.name for folder in folders if folder.is_dir() for path in folder.iterdir() if path.is_dir()}


def _check_files(scratch: PredictionScratch, layers: set[str]) -> None:
    stage, project = scratch.workspace.model_stage, scratch.project
    config = scratch.workspace.dataset / CONFIG_NAME
    differ = []
    if layers and _imagery(read_json(config)) not in map(
        _imagery, (read_json(project.dataset_config_path), project.dataset_config())
    ):
        differ.append("dataset.json")
    if OUTPUT_LAYER in layers:
        now = scratch.inputs(StepName.INFERENCE)
        model, checkpoint = stage / "model.yaml", stage / "checkpoint.ckpt"
        if not model.is_file() or model_hash(model) != now["model.yaml"]:
            differ.append(model.name)
        if not checkpoint.is_file() or file_hash(checkpoint) != now["checkpoint"]:
            differ.append(checkpoint.name)
    if differ:
        raise _refused(scratch, f"olmoearth-runner made this scratch with another {' and '.join(differ)}.")


def _imagery(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a dataset's configuration says about imagery, not about where windows are kept."""
    return {key: value for key, value in config.items() if key != "storage"}


def _changes_windows(components: Components) -> bool:
    return components.is_raster and not isinstance(components.window_postprocessor(), NoopRaster)


def _has_rasters(scratch: PredictionScratch, partition_ids: Sequence[str]) -> bool:
    return any(scratch.workspace.partition_rasters(pid).is_dir() for pid in partition_ids)


def _refused(scratch: PredictionScratch, what: str) -> StaleScratchError:
    return StaleScratchError(
        what,
        where=str(scratch.workspace.root),
        fix="Use another scratch folder; runner.partition(overwrite=True) removes what is there and makes all anew.",
    )


def _index(
    scratch: PredictionScratch, partition_id: str, windows: Sequence[Window]
) -> tuple[PredictionRequestCollection | None, list[WindowSpec]]:
    """The windows of a partition, and its features if some windows are for features that it does not have yet."""
    features = list(read_request(scratch.workspace.partition_request(partition_id)).features)
    before = len(features)
    places = {one.model_dump_json(): place for place, one in reversed([*enumerate(features)])}
    specs = []
    for window in windows:
        made_for = read_request(scratch.workspace.window_request(window.group, window.name)).features
        specs.append(_spec(window, tuple(_place(one, features, places) for one in made_for)))
    changed = len(features) > before
    return (PredictionRequestCollection(type="FeatureCollection", features=features) if changed else None), specs


def _place(one: PredictionRequestFeature, features: list[PredictionRequestFeature], places: dict[str, int]) -> int:
    text = one.model_dump_json()
    if text not in places:
        places[text] = len(features)
        features.append(one)
    return places[text]


def _spec(window: Window, features: tuple[int, ...]) -> WindowSpec:
    return WindowSpec(
        name=window.name,
        group=window.group,
        projection=window.projection,
        bounds=window.bounds,
        time_range=window.time_range,
        features=features,
    )
