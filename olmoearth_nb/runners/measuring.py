"""Measure a model on the windows of a scratch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import geopandas as gpd

from olmoearth_nb.errors import MissingStepError, UsageError
from olmoearth_nb.runners.base import Ids, several
from olmoearth_nb.runners.evaluation import Evaluation
from olmoearth_nb.runners.maps import labels_of
from olmoearth_nb.runners.worst import EvaluatedWindows
from olmoearth_nb.store.windows import as_window
from olmoearth_nb.store.workspace import OUTPUT_LAYER
from olmoearth_nb.types import DataSplitType, StepName

if TYPE_CHECKING:
    from olmoearth_nb.maps.labels import LabelView
    from olmoearth_nb.runners.finetune_looks import FineTuneLooks
    from olmoearth_nb.runners.predict_looks import PredictionLooks

__all__ = ["measured_partitions", "measured_splits"]


def measured_splits(runner: FineTuneLooks, split: str | Sequence[str] | None, *, apart_from: str | None) -> Evaluation:
    """Runs the best checkpoint on the windows of some splits, in one pass.

    Args:
        runner: The runner.
        split: One split or several; all if None.
        apart_from: Leave out windows whose centre a window of this split covers.

    Raises:
        MissingStepError: If there is no checkpoint, or no window of the split.
    """
    from olmoearth_nb.model.evaluate import evaluate_windows

    checkpoint = runner.best_checkpoint()
    splits = [one.value for one in DataSplitType] if split is None else several(split, what="splits")
    table = _of_splits(runner, splits, apart_from)
    keys = set(zip(table["group"], table["name"], strict=True))
    windows = [window for window in runner.scratch.windows() if (window.group, window.name) in keys]
    found = evaluate_windows(
        runner.model(),
        windows,
        split="val" if splits == ["val"] else "test",
        legend=runner.project.legend,
        progress=runner.progress,
    )
    title = f"{', '.join(splits)} by {checkpoint.name}" + (f", apart from {apart_from}" if apart_from else "")
    source = EvaluatedWindows(
        title=title,
        dataset=runner.scratch.dataset,
        windows=windows,
        table=table,
        views=lambda: (labels_of(runner, None), None),
    )
    return Evaluation(found, source)


def _of_splits(runner: FineTuneLooks, splits: Sequence[str], apart_from: str | None) -> gpd.GeoDataFrame:
    """The windows of some splits that have their imagery."""
    table = runner.windows()
    chosen = table[table["split"].isin(splits) & (table["state"] == "built")]
    if apart_from is not None:
        covered = gpd.sjoin(_centres(chosen), table[table["split"] == apart_from], predicate="within")
        chosen = chosen.drop(covered.index.unique())
    if not len(chosen):
        raise MissingStepError(
            f"There is no window of the split {', '.join(map(repr, splits))} with imagery.",
            where=str(runner.workspace.dataset),
            found=", ".join(f"{count} {name}" for name, count in Counter(table["split"]).items()) or "no windows",
        )
    return chosen


def _centres(table: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    # The middle of the corners' box in degrees is the middle of the window to far less than a pixel.
    bounds = table.bounds
    x, y = (bounds["minx"] + bounds["maxx"]) / 2, (bounds["miny"] + bounds["maxy"]) / 2
    return gpd.GeoDataFrame(index=table.index, geometry=gpd.points_from_xy(x, y), crs=table.crs)


def measured_partitions(runner: PredictionLooks, ids: Ids, *, labels: bool) -> Evaluation:
    """Runs the model on the windows of some partitions, in one pass, and writes nothing.

    Args:
        runner: The runner.
        ids: One partition id, several, or None for all.
        labels: Take the windows that have labels and compare; else take all and only note what the model says.

    Raises:
        MissingStepError: If no window has been built.
        UsageError: If labels are wanted and no window has them.
    """
    from olmoearth_nb.model.evaluate import evaluate_windows, label_layers, labelled_windows

    scratch = runner.scratch
    pids = scratch.partition_ids(ids)
    scratch.check(StepName.DATASET_BUILD)
    ready, _ = scratch.with_imagery(scratch.specs(pids))
    windows = [as_window(scratch.dataset, spec) for spec in ready.values()]
    if not windows:
        raise MissingStepError(
            "No window has its imagery yet.",
            where=str(runner.workspace.dataset),
            fix="Call runner.build_dataset() first.",
        )
    model = runner.model()
    layers = label_layers(model)
    if labels:
        windows = labelled_windows(model, windows)
        if not windows:
            raise UsageError(
                "Without labels there is no loss and no error.",
                where=str(runner.workspace.dataset),
                expected=f"windows with the layer {' or '.join(layers)}" if layers else "inputs with is_target: true",
                found=f"{len(ready):,} windows without it" if layers else "none in model.yaml",
                fix='runner.worst(by="entropy") needs no labels.',
            )
    found = evaluate_windows(
        model,
        windows,
        split="predict",
        labels=labels,
        legend=runner.project.legend,
        batch_size=runner.batch_size,
        progress=runner.progress,
    )

    def views() -> tuple[LabelView | None, LabelView]:
        from olmoearth_nb.maps.labels import LabelView

        legend = runner.project.legend
        return LabelView(layer=layers[0], legend=legend) if labels else None, LabelView(
            layer=OUTPUT_LAYER, legend=legend
        )

    table = runner.windows(pids)
    title = f"{len(pids):,} partitions" if len(pids) > 1 else pids[0]
    source = EvaluatedWindows(title=title, dataset=scratch.dataset, windows=windows, table=table, views=views)
    return Evaluation(found, source)
