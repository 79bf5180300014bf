"""The two workflows: order, preconditions, summaries and progress; no algorithm."""

from olmoearth_nb.runners.evaluation import Evaluation
from olmoearth_nb.runners.finetune import OlmoEarthRunFineTuneRunner
from olmoearth_nb.runners.predict import OlmoEarthRunPredictRunner
from olmoearth_nb.runners.summaries import (
    BuildSummary,
    InferenceSummary,
    PartitionSummary,
    PostprocessSummary,
    PredictionResult,
    PrepareSummary,
    Status,
    StepSummary,
    TrainingSummary,
)
from olmoearth_nb.runners.worst import WorstWindows

__all__ = [
    "BuildSummary",
    "Evaluation",
    "InferenceSummary",
    "OlmoEarthRunFineTuneRunner",
    "OlmoEarthRunPredictRunner",
    "PartitionSummary",
    "PostprocessSummary",
    "PredictionResult",
    "PrepareSummary",
    "Status",
    "StepSummary",
    "TrainingSummary",
    "WorstWindows",
]
