"""Measure a model on the windows of a prediction scratch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from olmoearth_nb.errors import MissingStepError, UsageError
from olmoearth_nb.runners.base import Ids
from olmoearth_nb.runners.evaluation import EvaluatedWindows, Evaluation
from olmoearth_nb.store.windows import as_window
from olmoearth_nb.store.workspace import OUTPUT_LAYER
from olmoearth_nb.types import StepName

if TYPE_CHECKING:
    from olmoearth_nb.maps.labels import LabelView
    from olmoearth_nb.runners.predict import OlmoEarthRunPredictRunner

__all__ = ["measured"]


def measured(runner: OlmoEarthRunPredictRunner, ids: Ids, *, labels: bool) -> Evaluation:
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
