"""Build the imagery of windows: look up items, ingest, materialize, verify.

rslearn does the work; here it gets chunks, one pool for all partitions, and its silences are filled: it counts a
window outside the imagery as done with nothing written, and its messages don't say which window they are about. So
every window and layer is verified afterwards, and what failed in a chunk is tried again one by one to know why.
"""

from __future__ import annotations

import contextlib
import math
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import rasterio
from rslearn.dataset import Window
from rslearn.dataset.manage import materialize_dataset_windows, prepare_dataset_windows
from upath import UPath

from olmoearth_nb.border import foreign_code
from olmoearth_nb.compat import quiet_rslearn
from olmoearth_nb.errors import BuildError, OlmoEarthError, UsageError
from olmoearth_nb.files import read_json
from olmoearth_nb.many import collected_quickly
from olmoearth_nb.progress import Progress, ProgressBar, open_bar
from olmoearth_nb.remote.layout import Kind
from olmoearth_nb.sources.files import is_ours
from olmoearth_nb.sources.raster_file import kept_open
from olmoearth_nb.store.dataset import CONFIG_NAME, ScratchDataset, imagery_layers, open_dataset
from olmoearth_nb.store.local_listing import drop_outdated_listings
from olmoearth_nb.store.windows import WindowKey, as_window, completed_layers, groups_label
from olmoearth_nb.types import WindowSpec

__all__ = ["BuildOptions", "RunJobs", "build_windows", "default_workers"]

# Windows of a job: few of a small build, so that all workers end at about the same time.
_CHUNK, _CHUNKS = 16, 32
# Below this many windows starting processes costs more than it saves (some 2 s each to import rslearn, unless forked).
_WORTH_A_POOL = 200

Reasons = dict[tuple[str, str, str], str]
"""Group, window and layer -> why it failed."""


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How to build.

    Attributes:
        workers: Processes; 0 builds in this one, None chooses by the number of windows and cores.
        retries: How often rslearn tries again after an error; None: three times, never for local files.
        retry_backoff: Seconds before the first of these, growing with each.
    """

    workers: int | None = None
    retries: int | None = None
    retry_backoff: float = 5.0

    def __post_init__(self) -> None:
        for name in ("workers", "retries", "retry_backoff"):
            value = getattr(self, name)
            kinds = int if name != "retry_backoff" else (int, float)
            if value is None and name != "retry_backoff":
                continue
            if isinstance(value, bool) or not isinstance(value, kinds) or not 0 <= value < math.inf:
                expected = "a number of seconds, 0 or more" if name == "retry_backoff" else "a whole number, 0 or more"
                raise UsageError("Not a number that works here.", where=name, expected=expected, found=repr(value))


def default_workers(windows: int) -> int:
    """Number of processes that is worth it for so many windows; 0 for none but this one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if windows < _WORTH_A_POOL or cores < 2 else min(cores, 8)


def build_windows(
    path: Path,
    windows: Sequence[WindowSpec],
    *,
    options: BuildOptions,
    progress: Progress = None,
    in_workers: Callable[[int], RunJobs | None] | None = None,
) -> dict[WindowKey, str | None]:
    """Builds every imagery layer that windows don't have yet.

    Args:
        path: The dataset folder; its windows exist.
        windows: What to build.
        options: How.
        progress: See :mod:`olmoearth_nb.progress`.
        in_workers: Given how many processes are worth it, what runs jobs in workers; None to build in this process.

    Returns:
        For each window that had something to build: None if it is complete now, else the reason.

    Raises:
        ConfigError: If the dataset's configuration is refused.
        WorkerError: If workers are killed again and again.
    """
    dataset = open_dataset(path)
    layers = imagery_layers(dataset)
    states = completed_layers(dataset, [(spec.group, spec.name) for spec in windows], list(layers))
    todo = [spec for spec, done in zip(windows, states, strict=True) if not all(done)]
    if not todo:
        return {}
    quiet_rslearn()
    drop_outdated_listings(read_json(path / CONFIG_NAME))
    place = _Place(path, uuid.uuid4().hex)
    _list_files(place.dataset)
    workers = default_workers(len(todo)) if options.workers is None else options.workers
    run_jobs = (None if in_workers is None else in_workers(workers)) or _here
    retry = _retry(dataset, options)
    bar = open_bar(progress, total=2 * len(todo), desc="Building dataset", unit="window")
    try:
        chunks = _chunks(todo)
        if any(layer.data_source.ingest for layer in layers.values() if layer.data_source is not None):
            reasons = _run(run_jobs, [_Job(_prepare, place, chunk, retry) for chunk in chunks], bar)
            reasons = _ingest(place.dataset, todo, retry) | reasons
            # What failed first is why: without ingested files rslearn only says that there are none.
            reasons = _run(run_jobs, [_Job(_materialize, place, chunk, retry) for chunk in chunks], bar) | reasons
        else:
            reasons = _run(run_jobs, [_Job(_build, place, chunk, retry) for chunk in chunks], bar, steps=2)
    finally:
        bar.close()
    return {(spec.group, spec.name): _verify(dataset, spec, list(layers), reasons) for spec in todo}


def _list_files(dataset: ScratchDataset) -> None:
    """Has our sources list their files before there are forks, each of which would; what is wrong comes up again."""
    for layer in imagery_layers(dataset).values():
        source = layer.data_source
        if source is not None and is_ours(source.class_path):
            with contextlib.suppress(OlmoEarthError), foreign_code(BuildError, "failed"):
                layer.instantiate_data_source(dataset.path).get_items([], source.query_config)


def _chunks(windows: list[WindowSpec]) -> list[list[WindowSpec]]:
    length = min(_CHUNK, -(-len(windows) // _CHUNKS))
    return [windows[start : start + length] for start in range(0, len(windows), length)]


def _retry(dataset: ScratchDataset, options: BuildOptions) -> dict[str, Any]:
    local = all(
        layer.data_source is not None and "local" in layer.data_source.class_path.lower()
        for layer in imagery_layers(dataset).values()
    )
    attempts = options.retries if options.retries is not None else (0 if local else 3)
    return {"retry_max_attempts": attempts, "retry_backoff": timedelta(seconds=options.retry_backoff)}


class _Place(NamedTuple):
    """The dataset, opened once in each process of a build."""

    path: Path
    session: str

    @property
    def dataset(self) -> ScratchDataset:
        return open_dataset(self.path, session=self.session)


class _Job(NamedTuple):
    """A chunk of windows and what to do with it."""

    work: Callable[[_Place, list[WindowSpec], dict[str, Any]], Reasons]
    place: _Place
    specs: list[WindowSpec]
    retry: dict[str, Any]

    @property
    def label(self) -> str:
        return f"{self.work.__name__.strip('_')}-{groups_label(self.specs)}"

    @property
    def kinds(self) -> frozenset[Kind]:
        """What it reads."""
        return frozenset({"tiles"})


class RunJobs(Protocol):
    """Applies a function to jobs and yields each with its result, as they come."""

    def __call__(self, work: Callable[[_Job], Reasons], jobs: Sequence[_Job], /) -> Iterator[tuple[_Job, Reasons]]:
        """Runs the jobs."""
        ...


def _do(job: _Job) -> Reasons:
    return job.work(job.place, job.specs, job.retry)


def _run(run_jobs: RunJobs, jobs: list[_Job], bar: ProgressBar, *, steps: int = 1) -> Reasons:
    reasons: Reasons = {}
    for job, found in run_jobs(_do, jobs):
        reasons |= found
        bar.update(steps * len(job.specs))
    return reasons


def _here(work: Callable[[_Job], Reasons], jobs: Sequence[_Job], /) -> Iterator[tuple[_Job, Reasons]]:
    for job in jobs:
        yield job, work(job)


def _build(place: _Place, chunk: list[WindowSpec], retry: dict[str, Any]) -> Reasons:
    prepared = _prepare(place, chunk, retry)
    return _materialize(place, chunk, retry) | prepared


def _prepare(place: _Place, chunk: list[WindowSpec], retry: dict[str, Any]) -> Reasons:
    def prepare(dataset: ScratchDataset, windows: list[Window]) -> None:
        prepare_dataset_windows(dataset, windows, **retry)

    return _attempt(prepare, place, chunk)


def _materialize(place: _Place, chunk: list[WindowSpec], retry: dict[str, Any]) -> Reasons:
    def materialize(dataset: ScratchDataset, windows: list[Window]) -> None:
        with kept_open():
            materialize_dataset_windows(dataset, windows, **retry)

    return _attempt(materialize, place, chunk)


def _attempt(call: Callable[[ScratchDataset, list[Window]], None], place: _Place, chunk: list[WindowSpec]) -> Reasons:
    quiet_rslearn()
    dataset = place.dataset
    try:
        # With one environment of GDAL: else rasterio makes one for each file and each geometry.
        with foreign_code(BuildError, "failed"), rasterio.Env.from_defaults():
            call(dataset, [as_window(dataset, spec) for spec in chunk])
        return {}
    except OlmoEarthError:
        return _one_by_one(call, dataset, chunk)


def _one_by_one(
    call: Callable[[ScratchDataset, list[Window]], None], dataset: ScratchDataset, chunk: list[WindowSpec]
) -> Reasons:
    reasons: Reasons = {}
    for layer in imagery_layers(dataset):
        single = ScratchDataset(UPath(dataset.path), enabled_layers=[layer])
        for spec in chunk:
            try:
                with foreign_code(BuildError, f"layer {layer}"):
                    call(single, [as_window(single, spec)])
            except BuildError as error:
                reasons[spec.group, spec.name, layer] = error.what
            except OlmoEarthError as error:  # of our own data sources
                reasons[spec.group, spec.name, layer] = f"layer {layer}: {error}"
    return reasons


def _ingest(dataset: ScratchDataset, windows: list[WindowSpec], retry: dict[str, Any]) -> Reasons:
    from rslearn.main import IngestHandler

    handler = IngestHandler(**retry)
    handler.set_dataset(dataset)
    reasons: Reasons = {}
    jobs = handler.get_jobs([as_window(dataset, spec) for spec in windows], 0)
    with collected_quickly():  # rslearn looks for garbage after each item
        for job in jobs:
            layer, _, item, _ = job
            try:
                with foreign_code(BuildError, f"layer {layer}: item {item.name} can't be ingested"):
                    handler([job])
            except BuildError as error:
                reasons |= {(spec.group, spec.name, layer): error.what for spec in windows}
    return reasons


def _verify(dataset: ScratchDataset, spec: WindowSpec, layers: list[str], reasons: Reasons) -> str | None:
    window = as_window(dataset, spec)
    missing = [layer for layer in layers if not window.is_layer_completed(layer)]
    if not missing:
        return None
    found = window.load_layer_datas()
    texts = []
    for layer in missing:
        reason = reasons.get((spec.group, spec.name, layer))
        if layer in found and not found[layer].serialized_item_groups:
            when = " .. ".join(time.date().isoformat() for time in spec.time_range or ())
            texts.append(f"layer {layer}: no imagery of the source covers the window{f' in {when}' if when else ''}.")
        else:
            texts.append(reason or f"layer {layer}: rslearn wrote nothing and gave no reason.")
    return " ".join(texts)
