"""The figures that an estimate rests on: how fast, how dear, how many, and where each number comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeAlias

from olmoearth_nb.errors import UsageError

__all__ = ["Figure", "Rates", "Source", "figures_of"]

Source: TypeAlias = Literal["given", "here", "measured", "assumed"]
"""Given by the caller; found on this machine just now; measured on that of ``docs/scale.md``; measured by nobody."""

_WITHIN: dict[Source, float] = {"given": 1.0, "here": 1.5, "measured": 2.0, "assumed": 3.0}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A number that an estimate uses.

    Attributes:
        value: The number.
        unit: Its unit.
        source: Where it comes from, see :data:`Source`.
        about: What it is.

    Example:
        >>> Figure(value=8, unit="", source="assumed", about="workers").within
        3.0
    """

    value: float
    unit: str
    source: Source
    about: str

    @property
    def within(self) -> float:
        """The truth is expected between the number divided by this and multiplied with it: a rule of thumb."""
        return _WITHIN[self.source]


def _figure(value: float | None, unit: str, source: Source, about: str) -> Any:
    default = Figure(value=math.nan if value is None else value, unit=unit, source=source, about=about)
    return field(default=None, metadata={"default": default})


@dataclass(frozen=True, kw_only=True)
class Rates:
    """What is known about machines, catalogue and prices; everything left out has the default that an estimate shows.

    Those that are measured come from ``python -m benchmarks.scale figures``, on the machine of ``docs/scale.md``.

    Attributes:
        workers: Processes that fetch, read and compute on CPUs, one core each.
        gpus: GPUs that compute at the same time.
        download_mb_per_s: What a worker gets from the catalogue.
        seconds_per_read: Until the first byte of one band of one image.
        catalogue_mb_per_s: What the catalogue gives all workers together.
        items_per_image: Scenes that are opened to fill one image of a window.
        download_ratio: Bytes on the wire, compressed, over those of the pixels.
        stored_ratio: The same of imagery in the scratch.
        result_ratio: The same of results.
        partition_ms_per_window: Time to partition.
        build_ms_per_raster: Time to write one raster of a window.
        build_ms_per_mb: Time to read, resample and write 10^6 bytes of pixels.
        inference_ms_per_window: Time beside the forward pass.
        inference_ms_per_mb: The same, for 10^6 bytes of imagery.
        postprocess_ms_per_window: Time to process and merge.
        postprocess_ms_per_megapixel: The same, for 10^6 pixels.
        combine_ms_per_megapixel: Time to combine.
        plan_kb_per_window: Memory of planning, 10^3 bytes.
        worker_gb: Memory of a worker with a small model loaded, 10^9 bytes.
        combine_gb: Memory of combining, whatever the number of files.
        seconds_per_window: Forward pass on a CPU, one thread, of an average window.
        gpu_seconds_per_window: The same on a GPU; if it is not known, from operations.
        gflop_per_window: Operations of the same, 10^9.
        model_gb: Memory of the model's weights, twice while they are loaded, 10^9 bytes.
        gpu_tflops: Operations a second that a GPU can do at most, 10^12.
        gpu_utilisation: Share of them that a model reaches.
        core_dollars_per_hour: Price of a core.
        gpu_dollars_per_hour: Price of a GPU.
        storage_dollars_per_gb_month: Price of keeping 10^9 bytes for a month.
        months: How long scratch and results are kept.
        patience_hours: The longest that a step may take, for telling what breaks first.

    Raises:
        UsageError: If a number is not above zero.

    Example:
        >>> Rates(workers=16, gpu_dollars_per_hour=1.2).gpu_dollars_per_hour
        1.2
    """

    workers: float | None = _figure(2, "", "assumed", "processes, one core each")
    gpus: float | None = _figure(1, "", "assumed", "GPUs at the same time")
    download_mb_per_s: float | None = _figure(10, "MB/s", "assumed", "that a worker gets from the catalogue")
    seconds_per_read: float | None = _figure(0.2, "s", "assumed", "until the first byte of a band of an image")
    catalogue_mb_per_s: float | None = _figure(500, "MB/s", "assumed", "from the catalogue to all workers together")
    items_per_image: float | None = _figure(1.5, "", "assumed", "scenes opened to fill an image of a window")
    download_ratio: float | None = _figure(0.7, "", "assumed", "compressed bytes over those of pixels, on the wire")
    stored_ratio: float | None = _figure(0.7, "", "assumed", "the same of imagery in the scratch (ZSTD)")
    result_ratio: float | None = _figure(0.1, "", "assumed", "the same of results")
    partition_ms_per_window: float | None = _figure(0.075, "ms", "measured", "to partition a window")
    build_ms_per_raster: float | None = _figure(6.7, "ms", "measured", "to write a raster of a window")
    build_ms_per_mb: float | None = _figure(39, "ms", "measured", "to read, resample and write 1 MB of pixels")
    inference_ms_per_window: float | None = _figure(8.8, "ms", "measured", "beside the forward pass of a window")
    inference_ms_per_mb: float | None = _figure(18, "ms", "measured", "the same, for 1 MB of imagery")
    postprocess_ms_per_window: float | None = _figure(5, "ms", "measured", "to process and merge a window")
    postprocess_ms_per_megapixel: float | None = _figure(20, "ms", "measured", "the same, for a million pixels")
    combine_ms_per_megapixel: float | None = _figure(47, "ms", "measured", "to combine a million pixels")
    plan_kb_per_window: float | None = _figure(2, "kB", "measured", "of memory to plan a window")
    worker_gb: float | None = _figure(1.2, "GB", "measured", "of memory of a worker with a small model")
    combine_gb: float | None = _figure(0.27, "GB", "measured", "of memory to combine, however many files")
    seconds_per_window: float | None = _figure(None, "s", "here", "forward pass of a window on one core")
    gpu_seconds_per_window: float | None = _figure(None, "s", "here", "the same on a GPU")
    gflop_per_window: float | None = _figure(None, "GFLOP", "here", "operations of the same")
    model_gb: float | None = _figure(None, "GB", "here", "of memory of weights, twice while they load")
    gpu_tflops: float | None = _figure(312, "TFLOP/s", "assumed", "peak of a GPU (A100, bfloat16)")
    gpu_utilisation: float | None = _figure(0.25, "", "assumed", "share of the peak that the model reaches")
    core_dollars_per_hour: float | None = _figure(0.05, "$", "assumed", "for a core and an hour")
    gpu_dollars_per_hour: float | None = _figure(3.0, "$", "assumed", "for a GPU and an hour")
    storage_dollars_per_gb_month: float | None = _figure(0.023, "$", "assumed", "to keep 1 GB for a month")
    months: float | None = _figure(1, "", "assumed", "months that scratch and results are kept")
    patience_hours: float | None = _figure(168, "h", "assumed", "that a step may take")

    def __post_init__(self) -> None:
        for name, value in _values(self):
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if value is not None and not (number and math.isfinite(value) and value > 0):
                raise UsageError(
                    "A rate is not above zero.", where=name, expected="a number above 0", found=repr(value)
                )


def figures_of(rates: Rates, found: dict[str, float]) -> dict[str, Figure]:
    """Every figure by its name: what is given, else what was found on this machine, else the default.

    Args:
        rates: What is given.
        found: What was measured or found here, by name.

    Returns:
        The figures; those of the model are not there if nobody gave or measured them.
    """
    figures = {}
    for one in fields(rates):
        given, default = getattr(rates, one.name), one.metadata["default"]
        value, source = (given, "given") if given is not None else (found.get(one.name), "here")
        if value is not None:
            figures[one.name] = replace(default, value=float(value), source=source)
        elif not math.isnan(default.value):
            figures[one.name] = default
    return figures


def _values(rates: Rates) -> Iterator[tuple[str, Any]]:
    for one in fields(rates):
        yield one.name, getattr(rates, one.name)
