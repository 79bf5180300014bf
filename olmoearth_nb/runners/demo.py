"""Both workflows on one project, from its annotations to the combined results of its requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from olmoearth_nb.files import shown_path
from olmoearth_nb.progress import Progress
from olmoearth_nb.runners.finetune import OlmoEarthRunFineTuneRunner
from olmoearth_nb.runners.predict import OlmoEarthRunPredictRunner
from olmoearth_nb.runners.summaries import StepSummary
from olmoearth_nb.tables import html_table, text_table

__all__ = ["DemoSummary", "run_demo"]

_COLUMNS = ("request", "step", "counts", "seconds", "files")


@dataclass(frozen=True, kw_only=True)
class DemoSummary:
    """What the demonstration did.

    Attributes:
        steps: Request ("" for fine-tuning) and summary of each step.
        metrics: Metrics of the test split, apart from windows that overlap training windows.
    """

    steps: tuple[tuple[str, StepSummary], ...]
    metrics: Mapping[str, float]

    def _rows(self) -> list[tuple[object, ...]]:
        return [
            (
                request or "annotations",
                summary.step.value,
                ", ".join(f"{count} {name}" for name, count in summary.counts.items() if count),
                f"{summary.seconds:.1f}",
                ", ".join(str(shown_path(path)) for path in summary.files[:3])
                + (", …" if len(summary.files) > 3 else ""),
            )
            for request, summary in self.steps
        ]

    def _metric_rows(self) -> list[tuple[str, str]]:
        return [(name, f"{value:.3f}" if value % 1 else f"{value:.0f}") for name, value in self.metrics.items()]

    def __str__(self) -> str:
        metrics = text_table(("test split", ""), self._metric_rows())
        return f"{text_table(_COLUMNS, self._rows())}\n\n{metrics}"

    def _repr_html_(self) -> str:
        return html_table(_COLUMNS, self._rows()) + html_table(("test split", ""), self._metric_rows())

    def to_dict(self) -> dict[str, Any]:
        """The summary as plain values, for JSON."""
        return {
            "steps": [{"request": request, **summary.to_dict()} for request, summary in self.steps],
            "metrics": dict(self.metrics),
        }


def run_demo(
    project_path: str | PathLike[str],
    scratch_path: str | PathLike[str],
    *,
    random_weights: bool = False,
    device: str | None = None,
    progress: Progress = None,
) -> DemoSummary:
    """Fine-tunes on the annotations of a project, then predicts each of its requests with what was learnt.

    What is done already is found and not done again.

    Args:
        project_path: The project folder.
        scratch_path: Folder for the scratches, one for fine-tuning and one a request.
        random_weights: Start training from random weights, so that nothing is fetched.
        device: ``cuda``, ``mps`` or ``cpu``; the best there is if None.
        progress: See :mod:`olmoearth_nb.progress`.

    Raises:
        OlmoEarthError: Whatever a step raises.
    """
    root = Path(scratch_path)
    tuning = OlmoEarthRunFineTuneRunner(
        project_path, root / "finetune", random_weights=random_weights, device=device, progress=progress
    )
    steps: list[tuple[str, StepSummary]] = [("", summary) for summary in tuning.run_pipeline()]
    training = tuning.training()
    metrics = tuning.evaluate("test", apart_from="train").metrics
    for name, path in tuning.project.requests.items():
        predicting = OlmoEarthRunPredictRunner(
            project_path,
            root / name,
            path,
            training.best_checkpoint if training else None,
            device=device,
            progress=progress,
        )
        steps += [(name, summary) for summary in predicting.run_pipeline()]
    return DemoSummary(steps=tuple(steps), metrics=metrics)
