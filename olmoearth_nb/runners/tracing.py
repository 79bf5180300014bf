"""Find the window that somebody means, or build it, and trace it."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pandas as pd
from rslearn.dataset import Dataset, Window

from olmoearth_nb.errors import OlmoEarthError
from olmoearth_nb.runners.home import fetch_window
from olmoearth_nb.runners.window_choice import Chosen, Drawn, choose_window
from olmoearth_nb.runners.window_trace import WindowTrace
from olmoearth_nb.store.dataset import open_dataset, write_dataset_config
from olmoearth_nb.store.materialize import BuildOptions, build_windows
from olmoearth_nb.store.windows import create_window, read_failures
from olmoearth_nb.store.workspace import FineTuneWorkspace
from olmoearth_nb.types import StepName

if TYPE_CHECKING:
    from olmoearth_nb.model.load import LoadedModel
    from olmoearth_nb.runners.finetune_looks import FineTuneLooks
    from olmoearth_nb.runners.predict_looks import PredictionLooks

    Runner: TypeAlias = PredictionLooks | FineTuneLooks

__all__ = ["trace_labelled", "trace_prediction"]


def trace_prediction(
    runner: PredictionLooks,
    window: object,
    *,
    features: Sequence[str],
    checkpoint: str | PathLike[str] | None,
    training: FineTuneLooks | None,
) -> WindowTrace:
    """Traces a window of a prediction, see ``OlmoEarthRunPredictRunner.trace``."""
    scratch = runner.scratch
    scratch.partition_ids()
    chosen = choose_window(window, dataset=scratch.dataset, table=runner.windows)
    if isinstance(chosen, Chosen):
        scratch.check(StepName.DATASET_BUILD)
        fetch_window(runner, chosen.window)
    loaded = runner.traced_model(checkpoint)
    tuning = None if training is None else training.workspace
    if tuning is None and loaded.checkpoint is not None:
        tuning = _tuning_of(loaded.checkpoint.resolve())
    return _trace(
        runner,
        chosen,
        loaded,
        features=features,
        split="predict",
        training=None if tuning is None else tuning.dataset,
        failures=scratch.failures_path(StepName.DATASET_BUILD),
    )


def trace_labelled(
    runner: FineTuneLooks,
    window: object,
    *,
    features: Sequence[str],
    checkpoint: str | PathLike[str] | None,
    split: str,
) -> WindowTrace:
    """Traces a window of a fine-tuning, see ``OlmoEarthRunFineTuneRunner.trace``."""
    scratch = runner.scratch
    scratch.require(StepName.PREPARE_LABELED_WINDOWS)
    chosen = choose_window(window, dataset=scratch.dataset, table=runner.windows)
    if isinstance(chosen, Chosen):
        scratch.require(StepName.BUILD_DATASET_FROM_WINDOWS)
    return _trace(
        runner,
        chosen,
        runner.traced_model(checkpoint),
        features=features,
        split=split,
        training=runner.workspace.dataset,
        failures=scratch.failures_path,
    )


def _trace(
    runner: Runner,
    chosen: Chosen | Drawn,
    loaded: LoadedModel,
    *,
    features: Sequence[str],
    split: str,
    training: Path | None,
    failures: Path,
) -> WindowTrace:
    from olmoearth_nb.model.trace.capture import TraceRequest
    from olmoearth_nb.model.trace.engine import Engine

    ranges = None if training is None else _ranges(runner, loaded, training)
    keep: Any = None
    if isinstance(chosen, Drawn):
        keep, dataset, window, failure = _build(runner, chosen)
    else:
        dataset, window = runner.scratch.dataset, chosen.window
        failure = read_failures(failures).get((window.group, window.name))
    request = TraceRequest(
        window=window,
        dataset=dataset,
        split=split,
        features=tuple(features) if not isinstance(features, str) else features,
        legend=runner.project.legend,
        batch_size=getattr(runner, "batch_size", None),
        training=ranges,
        failure=failure,
        temporary=keep is not None,
    )
    engine = Engine(loaded, request, keep=keep)
    return WindowTrace(engine.capture(features=request.features), engine=engine)


def _build(runner: Runner, drawn: Drawn) -> tuple[Any, Dataset, Window, str | None]:
    """Builds a window in a folder that is removed when nobody holds it any more."""
    folder = tempfile.TemporaryDirectory(prefix="olmoearth_nb_trace_", ignore_cleanup_errors=True)
    path = Path(folder.name) / "dataset"
    write_dataset_config(path, runner.project.dataset_config())
    dataset = open_dataset(path)
    window = create_window(dataset, drawn.spec)
    options = BuildOptions(
        workers=0, retries=runner.build_options.retries, retry_backoff=runner.build_options.retry_backoff
    )
    failure: str | None
    try:
        failure = build_windows(path, [drawn.spec], options=options, progress=False).get((window.group, window.name))
    except OlmoEarthError as error:
        failure = str(error)
    return folder, dataset, window, failure


def _tuning_of(checkpoint: Path) -> FineTuneWorkspace | None:
    """The scratch of the training that a checkpoint lies in."""
    workspace = FineTuneWorkspace(checkpoint.parent.parent)
    lies_there = checkpoint.parent == workspace.trainer and (workspace.dataset / "config.json").is_file()
    return workspace if lies_there else None


@dataclass
class _Known:
    """Ranges of training windows that a runner has asked for: dataset -> its state then, and the ranges."""

    ranges: dict[tuple[str, str], tuple[list[int], pd.DataFrame | None]] = field(default_factory=dict)


_known: weakref.WeakKeyDictionary[Any, _Known] = weakref.WeakKeyDictionary()


def _ranges(runner: Runner, loaded: LoadedModel, path: Path) -> pd.DataFrame | None:
    """What training windows had; looked up on disk once for a runner, as long as the dataset has the same windows."""
    from olmoearth_nb.model.predict import rslearn_data
    from olmoearth_nb.model.trace.ranges import training_ranges

    if not (path / "config.json").is_file():
        return None
    groups = [path / "windows", *sorted((path / "windows").glob("*"))]
    state = [group.stat().st_mtime_ns for group in groups if group.is_dir()]
    known = _known.setdefault(runner, _Known()).ranges
    key = (str(path), str(loaded.model_yaml))
    if key not in known or known[key][0] != state:
        found = training_ranges(rslearn_data(loaded), open_dataset(path), cache=runner.workspace.state)
        known[key] = (state, found)
    return known[key][1]
