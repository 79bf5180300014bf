"""When imagery is looked for: each temporality as layers with a time range and a number of images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from olmoearth_nb.config.single_file.data import Framed, Observation, Period, RepeatingInterval, Temporality

__all__ = ["MODALITIES", "Frame", "ModalityFacts", "frames_of", "item_groups"]


@dataclass(frozen=True)
class ModalityFacts:
    """What OlmoEarth encoders know of a modality.

    Attributes:
        name: Their name for it: of the model's input, and of the layer.
        bands: Its bands in the order of the pretraining.
        dtype: Of its pixels.
    """

    name: str
    bands: tuple[str, ...]
    dtype: str


MODALITIES = {
    "sentinel2_l2a": ModalityFacts(
        "sentinel2_l2a",
        ("B02", "B03", "B04", "B08", "B05", "B06", "B07", "B8A", "B11", "B12", "B01", "B09"),
        "uint16",
    ),
    "sentinel1_rtc": ModalityFacts("sentinel1", ("vv", "vh"), "float32"),
    "landsat": ModalityFacts("landsat", ("B8", "B1", "B2", "B3", "B4", "B5", "B6", "B7", "B9", "B10", "B11"), "uint16"),
}
"""By the key in ``data.modalities``."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """A time range with images.

    Attributes:
        suffix: What is put behind the name of the modality for the name of the layer.
        start: From the start of the window's time range to that of this one; negative for before.
        duration: Its length.
        count: How many images there are.
        period: Length of the period for each image; None if they come from anywhere in the range.
        whole: Whether an image has to contain the window, whatever ``space_mode`` says.
    """

    suffix: str = ""
    start: timedelta = timedelta(0)
    duration: timedelta
    count: int
    period: timedelta | None = None
    whole: bool = False


def frames_of(temporality: Temporality) -> list[Frame]:
    """The time ranges of a temporality, in the order in which the model gets their images.

    Args:
        temporality: Of the file.
    """
    match temporality:
        case Period():
            return [_observed(temporality.observation)]
        case Framed():
            return list(_framed(temporality))
        case _:
            length = timedelta(seconds=temporality.observation_window_seconds)
            return [Frame(start=-length / 2, duration=length, count=1, period=length, whole=True)]


def item_groups(facts: ModalityFacts, frames: list[Frame]) -> list[str]:
    """Names of all images of a modality as rslearn has them: ``layer``, ``layer.1``, ….

    Args:
        facts: The modality.
        frames: Its time ranges.
    """
    return [
        f"{facts.name}{frame.suffix}" + (f".{index}" if index else "")
        for frame in frames
        for index in range(frame.count)
    ]


def _framed(temporality: Framed) -> Iterator[Frame]:
    if temporality.lookbehind_observation is not None:
        yield _before(temporality.lookbehind_observation, temporality.lookbehind_offset_days or 0, "_lookbehind")
    for index, one in enumerate(temporality.lookbehind_observations):
        yield _before(one.observation, one.offset_days, f"_lookbehind_{index}")
    if temporality.lookahead_observation is not None:
        yield _after(temporality.lookahead_observation, temporality.lookahead_offset_days or 0, "_lookahead")
    for index, one in enumerate(temporality.lookahead_observations):
        yield _after(one.observation, one.offset_days, f"_lookahead_{index}")


def _before(observation: Observation, gap_days: int, suffix: str) -> Frame:
    length = _observed(observation).duration
    return _observed(observation, suffix=suffix, start=-timedelta(days=gap_days) - length)


def _after(observation: Observation, gap_days: int, suffix: str) -> Frame:
    return _observed(observation, suffix=suffix, start=timedelta(days=gap_days))


def _observed(observation: Observation, *, suffix: str = "", start: timedelta = timedelta(0)) -> Frame:
    match observation:
        case RepeatingInterval():
            period = timedelta(days=observation.period_duration_days)
            count = observation.num_periods
            duration = period * (count + observation.recovery_periods)
            return Frame(suffix=suffix, start=start, duration=duration, count=count, period=period)
        case _:
            duration = timedelta(days=observation.duration_days)
            return Frame(suffix=suffix, start=start, duration=duration, count=observation.num_samples)
