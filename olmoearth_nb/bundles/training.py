"""What a fine-tuning's scratch says of the model that came out of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import shapely
from rslearn.dataset import Window

from olmoearth_nb.config import Project
from olmoearth_nb.errors import BundleError
from olmoearth_nb.files import hash_file
from olmoearth_nb.geometry import wgs84_outlines
from olmoearth_nb.labels.tasks import read_annotation_tasks
from olmoearth_nb.model.history import TrainingResult, read_training
from olmoearth_nb.store.dataset import open_dataset
from olmoearth_nb.store.windows import load_windows
from olmoearth_nb.store.workspace import FineTuneWorkspace

__all__ = ["HasMetrics", "annotation_facts", "metric_facts", "scratch_training", "training_facts", "window_facts"]


# Measurements may have as many values as annotations.
_MOST_VALUES = 30


class HasMetrics(Protocol):
    """What ``runner.evaluate()`` returns."""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Metrics by name."""
        ...


def scratch_training(scratch: Path) -> TrainingResult:
    """The training of a scratch.

    Args:
        scratch: The scratch of a fine-tuning.

    Raises:
        BundleError: If there is none.
    """
    training = read_training(FineTuneWorkspace(scratch).trainer)
    if training is None:
        raise BundleError("The scratch has no training.", where=str(scratch), expected="the scratch of a fine-tuning")
    return training


def annotation_facts(project: Project) -> dict[str, Any] | None:
    """Numbers and hashes of the project's annotations; None without annotations.

    Args:
        project: The project.
    """
    tasks_path, path = project.annotation_paths
    if not (tasks_path.exists() and path.exists()):
        return None
    prep = project.run_config.window_prep
    tasks = read_annotation_tasks(tasks_path, path, label_property=prep.label_property if prep else None)
    values: dict[str, Counter[str]] = {}
    for task in tasks.tasks:
        for annotation in task.annotations:
            for name, value in annotation.labels.items():
                if value is not None:
                    values.setdefault(name, Counter())[f"{value:.6g}"] += 1
    return {
        "tasks": tasks.task_count,
        "annotations": tasks.annotation_count,
        "labels": {name: dict(counts.most_common(_MOST_VALUES)) for name, counts in sorted(values.items())},
        "sha256": {one.name: hash_file(one) for one in (tasks_path, path)},
    }


def window_facts(project: Project, scratch: Path) -> dict[str, Any] | None:
    """Numbers, extent and dates of the labelled windows; None if there are none.

    Args:
        project: The project.
        scratch: The scratch of a fine-tuning.
    """
    prep = project.run_config.window_prep
    if prep is None:
        return None
    windows = load_windows(open_dataset(FineTuneWorkspace(scratch).dataset), groups=[prep.group_name])
    if not windows:
        return None
    splits = Counter(str(window.options.get(prep.split_property, "none")) for window in windows)
    tasks = {window.options.get("source_task_id") for window in windows} - {None}
    times = [window.time_range for window in windows if window.time_range is not None]
    return {
        "windows": dict(sorted(splits.items())),
        "tasks": len(tasks),
        "extent_wgs84": _extent(windows),
        "from": min(start for start, _ in times).isoformat() if times else None,
        "to": max(end for _, end in times).isoformat() if times else None,
    }


def training_facts(training: TrainingResult) -> dict[str, Any]:
    """The best epoch of a training, and its metrics.

    Args:
        training: The training.
    """
    best: Mapping[str, float] = {}
    if training.monitor is not None and training.best_score is not None:
        best = next((row for row in training.history if row.get(training.monitor) == training.best_score), {})
    names = [name for name in best if name not in ("seconds", "epoch")]
    return {
        "epochs": training.epochs,
        "finished": training.finished,
        "monitor": training.monitor,
        "best_score": rounded(training.best_score),
        "best_epoch": int(best["epoch"]) if "epoch" in best else None,
        "best_epoch_metrics": {name: rounded(best[name]) for name in sorted(names)},
    }


def metric_facts(evaluations: Mapping[str, HasMetrics | Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    """Metrics of evaluations by split, to six digits.

    Args:
        evaluations: Split -> what ``runner.evaluate(split)`` returned, or a mapping of metrics.
    """
    found = {}
    for split, given in sorted(evaluations.items()):
        metrics = given if isinstance(given, Mapping) else given.metrics
        found[split] = {name: rounded(value) for name, value in sorted(metrics.items())}
    return found


def rounded(value: float | None) -> float | None:
    """A number to six digits; None for what is none, or not finite.

    Args:
        value: The number.
    """
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _extent(windows: list[Window]) -> list[float]:
    outlines = [
        wgs84_outlines(projection, np.array([one.bounds for one in windows if one.projection == projection]))
        for projection in dict.fromkeys(window.projection for window in windows)
    ]
    return [float(f"{value:.4f}") for value in shapely.total_bounds(np.concatenate(outlines))]
