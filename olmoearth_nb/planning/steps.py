"""How long each step of a prediction takes, and what it costs, from the figures of an estimate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from olmoearth_nb.planning.rates import Figure
from olmoearth_nb.planning.volume import ImageryVolume

__all__ = ["INFERENCE", "StepCost", "Work", "step_costs", "total_of"]

INFERENCE = ("CPUs", "GPUs")
"""Where inference runs: one or the other."""

_MB = 1e6
_HOUR = 3600.0
_INFERENCE = "inference on "
_UNKNOWN = "not known: measure=True, or give {}"


@dataclass(frozen=True, kw_only=True)
class Work:
    """How much there is to do.

    Attributes:
        windows: Distinct windows.
        uses: Windows of all partitions, shared ones as often as they are listed.
        pixels: Of all windows.
        imagery: What they take; None if it is not known.
    """

    windows: int
    uses: int
    pixels: int
    imagery: ImageryVolume | None


@dataclass(frozen=True, kw_only=True)
class StepCost:
    """What a step takes.

    Attributes:
        step: Its name.
        seconds: Until it is done, by all workers; None if it can't be said.
        core_hours: Hours of cores.
        gpu_hours: Hours of GPUs.
        dollars: What those cost.
        within: The truth is expected between ``seconds`` divided by this and multiplied with it.
        note: What takes the time, or why it is not known.
    """

    step: str
    seconds: float | None
    core_hours: float = 0.0
    gpu_hours: float = 0.0
    dollars: float = 0.0
    within: float = 1.0
    note: str = ""


def total_of(steps: Sequence[StepCost], inference: str) -> StepCost:
    """All steps after each other.

    Args:
        steps: The steps.
        inference: Which of the two counts, one of :data:`INFERENCE`.
    """
    kept = [one for one in steps if not one.step.startswith(_INFERENCE) or one.step.endswith(inference)]
    seconds = [one.seconds for one in kept if one.seconds is not None]
    longest = max(kept, key=lambda one: one.seconds or 0.0)
    return StepCost(
        step=f"all, {_INFERENCE}{inference}",
        seconds=sum(seconds) if len(seconds) == len(kept) else None,
        core_hours=sum(one.core_hours for one in kept),
        gpu_hours=sum(one.gpu_hours for one in kept),
        dollars=sum(one.dollars for one in kept),
        within=longest.within,
        note=f"mostly {longest.step}" if len(seconds) == len(kept) else "",
    )


class _Reader:
    """Values of figures; remembers how sure the least sure of those that a duration rests on is."""

    def __init__(self, figures: Mapping[str, Figure]) -> None:
        self._figures = figures
        self.within = 1.0

    def __contains__(self, name: str) -> bool:
        return name in self._figures

    def __call__(self, name: str) -> float:
        figure = self._figures[name]
        self.within = max(self.within, figure.within)
        return figure.value

    def exactly(self, name: str) -> float:
        """A number that is chosen, or only multiplies money."""
        return self._figures[name].value


def step_costs(work: Work, figures: Mapping[str, Figure]) -> tuple[StepCost, ...]:
    """The steps in their order; inference twice, on CPUs and on GPUs.

    Args:
        work: How much there is to do.
        figures: See :func:`olmoearth_nb.planning.rates.figures_of`.
    """
    steps = (_partitioning, _building, _on_cpus, _on_gpus, _postprocessing, _combining)
    return tuple(step(work, _Reader(figures)) for step in steps)


def _on_cores(step: str, seconds: float, get: _Reader, *, cores: float, note: str = "") -> StepCost:
    hours = seconds * cores / _HOUR
    dollars = hours * get.exactly("core_dollars_per_hour")
    return StepCost(step=step, seconds=seconds, core_hours=hours, dollars=dollars, within=get.within, note=note)


def _partitioning(work: Work, get: _Reader) -> StepCost:
    return _on_cores("partition", work.windows * get("partition_ms_per_window") / 1e3, get, cores=1)


def _building(work: Work, get: _Reader) -> StepCost:
    step, workers = "dataset_build", get.exactly("workers")
    if work.imagery is None:
        return StepCost(step=step, seconds=None, note="the layers of dataset.json are not known")
    writing = sum(one.rasters for one in work.imagery.layers) * get("build_ms_per_raster") / 1e3
    writing += work.imagery.total_bytes / _MB * get("build_ms_per_mb") / 1e3
    fetched = [one for one in work.imagery.layers if not one.local]
    if not fetched:
        return _on_cores(step, writing / workers, get, cores=workers, note="from local files")
    megabytes = sum(one.fetched_bytes for one in fetched) / _MB * get("items_per_image") * get("download_ratio")
    parts = {
        "waiting for the catalogue": sum(one.reads for one in fetched)
        * get("items_per_image")
        * get("seconds_per_read"),
        "receiving": megabytes / get("download_mb_per_s"),
        "writing": writing,
    }
    seconds, least = sum(parts.values()) / workers, megabytes / get("catalogue_mb_per_s")
    note = f"mostly {max(parts, key=lambda part: parts[part])}" if seconds > least else "as fast as the catalogue gives"
    return _on_cores(step, max(seconds, least), get, cores=workers, note=note)


def _on_cpus(work: Work, get: _Reader) -> StepCost:
    step, workers = f"{_INFERENCE}{INFERENCE[0]}", get.exactly("workers")
    if "seconds_per_window" not in get:
        return StepCost(step=step, seconds=None, note=_UNKNOWN.format("seconds_per_window"))
    beside, forward = _beside_the_model(work, get), work.windows * get("seconds_per_window")
    note = f"{forward / (forward + beside):.0%} of it forward passes"
    return _on_cores(step, (forward + beside) / workers, get, cores=workers, note=note)


def _on_gpus(work: Work, get: _Reader) -> StepCost:
    step, workers, gpus = f"{_INFERENCE}{INFERENCE[1]}", get.exactly("workers"), get.exactly("gpus")
    if "gpu_seconds_per_window" in get:
        forward = work.windows * get("gpu_seconds_per_window") / gpus
    elif "gflop_per_window" in get:
        speed = get("gpu_tflops") * 1e3 * get("gpu_utilisation")
        forward = work.windows * get("gflop_per_window") / speed / gpus
    else:
        return StepCost(step=step, seconds=None, note=_UNKNOWN.format("gflop_per_window"))
    beside = _beside_the_model(work, get) / workers
    seconds = max(forward, beside)
    on_cores = _on_cores(step, seconds, get, cores=workers)
    gpu_hours = seconds * gpus / _HOUR
    return replace(
        on_cores,
        gpu_hours=gpu_hours,
        dollars=on_cores.dollars + gpu_hours * get.exactly("gpu_dollars_per_hour"),
        note="forward passes" if forward >= beside else f"the GPUs wait for {workers:g} workers that read",
    )


def _beside_the_model(work: Work, get: _Reader) -> float:
    """Seconds of one core for reading and writing."""
    megabytes = 0.0 if work.imagery is None else work.imagery.total_bytes / _MB
    return (work.windows * get("inference_ms_per_window") + megabytes * get("inference_ms_per_mb")) / 1e3


def _postprocessing(work: Work, get: _Reader) -> StepCost:
    workers = get.exactly("workers")
    seconds = work.uses * get("postprocess_ms_per_window") / 1e3
    seconds += work.pixels / 1e6 * get("postprocess_ms_per_megapixel") / 1e3
    return _on_cores("postprocess", seconds / workers, get, cores=workers)


def _combining(work: Work, get: _Reader) -> StepCost:
    return _on_cores("combine", work.pixels / 1e6 * get("combine_ms_per_megapixel") / 1e3, get, cores=1)
