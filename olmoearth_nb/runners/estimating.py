"""What a request takes before anything is fetched: plans, looks at the machine, and times the model."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rslearn.config import LayerConfig

from olmoearth_nb.config.dataset_json import read_dataset
from olmoearth_nb.errors import ConfigError, OlmoEarthError
from olmoearth_nb.geojson import read_request
from olmoearth_nb.planning import Plan
from olmoearth_nb.planning.amounts import amounts_of
from olmoearth_nb.planning.costs import costs_of, doubts_about
from olmoearth_nb.planning.estimate import Estimate
from olmoearth_nb.planning.limits import limits_of, look_at
from olmoearth_nb.planning.rates import Rates, figures_of
from olmoearth_nb.planning.steps import Work, step_costs
from olmoearth_nb.planning.volume import imagery_volume, images_of
from olmoearth_nb.runners.models import Models
from olmoearth_nb.store.dataset import open_dataset, write_dataset_config
from olmoearth_nb.store.random_window import write_random_window
from olmoearth_nb.store.workspace import OUTPUT_LAYER
from olmoearth_nb.types import WindowSpec

if TYPE_CHECKING:
    from olmoearth_nb.runners.predict_looks import PredictionLooks

__all__ = ["estimate_request"]


def estimate_request(runner: PredictionLooks, *, measure: bool | None, rates: Rates | None) -> Estimate:
    """See ``PredictionLooks.estimate``.

    Args:
        runner: The runner.
        measure: Whether to time the model.
        rates: What is known about machines, catalogue and prices.
    """
    from olmoearth_nb.runners.predict import MANY_WINDOWS

    rates, planned = rates or Rates(), runner.plan()
    layers, notes = _layers(runner)
    specs, machine = planned.windows, look_at(runner.workspace.root)
    imagery = None if layers is None else imagery_volume([(one.bounds, one.time_range) for one in specs], layers)
    found = {"workers": float(min(machine.cores, 8))}
    if layers is not None and _is_measured(runner, measure, rates):
        try:
            found |= _timed_model(runner, planned, layers)
        except OlmoEarthError as error:
            if measure:
                raise
            notes = (*notes, f"The model could not be timed: {error}")
    figures = figures_of(rates, found)
    in_rows = planned.counts.windows > MANY_WINDOWS
    amounts = amounts_of(planned, imagery, (layers or {}).get(OUTPUT_LAYER), figures, in_rows=in_rows)
    costs = costs_of(planned, read_request(runner.scratch.request_path), layers)
    work = Work(
        windows=len(specs),
        uses=sum(len(partition.windows) for partition in planned.partitions),
        pixels=costs.pixels,
        imagery=imagery,
    )
    steps = step_costs(work, figures)
    kept = (amounts.scratch_bytes + amounts.result_bytes) / 1e9 * figures["months"].value
    return Estimate(
        costs=costs,
        amounts=amounts,
        steps=steps,
        keeping_dollars=kept * figures["storage_dollars_per_gb_month"].value,
        limits=limits_of(amounts, steps, figures, machine, windows=len(specs)),
        figures=figures,
        notes=(*costs.assumptions, *doubts_about(costs), *notes),
    )


def _layers(runner: PredictionLooks) -> tuple[Mapping[str, LayerConfig] | None, tuple[str, ...]]:
    """Layers of dataset.json, and why they are not known if they are not."""
    try:
        file = read_dataset(runner.project.dataset_config_path)
    except ConfigError as error:
        return None, (f"Imagery is not counted: {error}",)
    wrong = [problem for problem in file.problems if problem.severity == "error"]
    return file.layers, tuple(f"{problem}; a layer that is wrong is not counted." for problem in wrong[:1])


def _is_measured(runner: PredictionLooks, measure: bool | None, rates: Rates) -> bool:
    if measure is not None:
        return measure
    known = rates.seconds_per_window is not None and rates.gflop_per_window is not None
    return not known and (runner.scratch.random_weights or runner.scratch.checkpoint_path is not None)


def _timed_model(runner: PredictionLooks, planned: Plan, layers: Mapping[str, LayerConfig]) -> dict[str, float]:
    """Figures of the model, timed with random weights on a window of random pixels, of the commonest size.

    Raises:
        OlmoEarthError: If the model can't be loaded, or can't compute such a window.
    """
    from olmoearth_nb.model.load import template_variables
    from olmoearth_nb.model.timing import forward_cost

    spec = _typical(planned)
    counts = {
        name: images_of(layer, spec.time_range) for name, layer in layers.items() if layer.data_source is not None
    }
    with tempfile.TemporaryDirectory(prefix="olmoearth_nb_timing_") as folder:
        path = Path(folder) / "dataset"
        write_dataset_config(path, runner.project.dataset_config(), storage="files")
        dataset = open_dataset(path)
        window = write_random_window(dataset, spec, counts)
        # The time does not depend on the weights, and nothing has to be fetched for these.
        models = Models(runner.project, device=runner.device, precision=runner.precision)
        variables = template_variables(
            dataset_path=path,
            extra_files_path=runner.scratch.extra_files_path or runner.project.path / "extra_model_files",
            trainer_data_path=Path(folder),
            num_workers=0,
            output_layer=OUTPUT_LAYER,
        )
        cost = forward_cost(models.load(None, variables), window)
    sizes = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (one.bounds for one in planned.windows)]
    x0, y0, x1, y1 = spec.bounds
    average = sum(sizes) / len(sizes) / ((x1 - x0) * (y1 - y0))
    seconds = "seconds_per_window" if cost.device == "cpu" else "gpu_seconds_per_window"
    return {
        seconds: cost.seconds * average,
        "gflop_per_window": cost.gflop * average,
        "model_gb": 2 * cost.weights / 1e9,
    }


def _typical(planned: Plan) -> WindowSpec:
    sizes = Counter((one.bounds[2] - one.bounds[0], one.bounds[3] - one.bounds[1]) for one in planned.windows)
    (size, _), *_ = sizes.most_common(1)
    return next(
        replace(one, group="timing", name="random")
        for one in planned.windows
        if (one.bounds[2] - one.bounds[0], one.bounds[3] - one.bounds[1]) == size
    )
