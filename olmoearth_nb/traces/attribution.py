"""Why a model said something of a window: what each band, date and pixel of its inputs had to do with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr

from olmoearth_nb.errors import UsageError
from olmoearth_nb.tables import html_table, text_table
from olmoearth_nb.traces.data import TraceWindow
from olmoearth_nb.traces.places import Pixels, Region

__all__ = ["METHODS", "Attribution", "Baseline", "Method", "Question", "time_labels"]

Method: TypeAlias = Literal["gradient", "integrated_gradients", "occlusion"]
"""How importance is found, see :class:`Attribution`."""

METHODS: tuple[str, ...] = get_args(Method)

Baseline: TypeAlias = str | float | Mapping[str, npt.ArrayLike]
"""What importance is relative to: ``zero`` after all transforms; ``mean`` of the training windows or ``nodata`` in all
pixels before the transforms; ``window:NAME`` for the inputs of another window; a number, or numbers for each input,
after the transforms, that broadcast to (time, band, y, x)."""

_MOST_ROWS = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """What is asked of a model.

    Attributes:
        target: Name or index of a class; None for the class that the pixels have, or for the value of measurements.
        against: A class whose score is subtracted.
        task: The task; None for the only one.
        at: Longitude and latitude of a pixel.
        pixel: Row and column of a pixel.
        region: Polygon in longitude and latitude, or mask (y, x).
        method: How importance is found.
        baseline: What it is relative to.
        patch_size: Side of the squares that are covered by ``occlusion``, in pixels of the input; None for a sixteenth
            of the crop.
        batch_size: Samples in a pass through the model; None for what the configuration says.
        tolerance: How far ``integrated_gradients`` may miss the difference that they explain, as a share of it.
        most_steps: After how many steps they give up.
    """

    target: str | int | None = None
    against: str | int | None = None
    task: str | None = None
    at: tuple[float, float] | None = None
    pixel: tuple[int, int] | None = None
    region: Region | None = None
    method: Method = "integrated_gradients"
    baseline: Baseline = "zero"
    patch_size: int | None = None
    batch_size: int | None = None
    tolerance: float = 0.01
    most_steps: int = 1024

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError("There is no such method.", expected=", ".join(METHODS), found=repr(self.method))
        for name in ("patch_size", "batch_size", "most_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError("Not a number.", where=name, expected="1 or more", found=repr(value))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Attribution:
    """Importance of the model's inputs, as they are after all transforms, for a class at some pixels.

    The score that is explained is what goes into the head for the class (the logit, not the probability), or the value
    of a measurement, the mean over the pixels. ``gradient``: how much the score rises when a value of the input rises
    by one. ``integrated_gradients``: which part of the difference between the score and that of the baseline is due to
    a value; all parts add up to the difference. ``occlusion``: by how much the score falls when a band, a date or a
    square of an input is covered by the baseline.

    Attributes:
        window: The window.
        task: The task.
        target: Name of the class, or ``value``; with ``- other`` if the score of another class is subtracted.
        pixels: Where.
        method: See :data:`Method`.
        baseline: What it is relative to, in words.
        score: The score.
        baseline_score: That of the baseline; None for ``gradient``.
        inputs: Name of the input -> importance of every value, (time, band, y, x), 0 where nothing reaches the pixels.
            Empty for ``occlusion``.
        by_band: (band,) of each input: the sum, or what covering the band does.
        by_time: (time,) of each input: the same of dates.
        by_pixel: (y, x) of each input: the same of pixels; of ``occlusion`` what covering the square does that a pixel
            is in.
        magnitude: Input, then ``band`` or ``time`` -> sum of absolute values: what :meth:`bands` takes shares of.
        steps: How many steps ``integrated_gradients`` took; None for other methods.
        gap: By how much their sum misses the difference of the scores, as a share of it (or of a hundredth of their
            absolute sum, if that is more).
        images: The inputs as read, (time, band, y, x), to draw.
        notes: What to know.
        seconds: How long it took.

    Example:
        >>> why = trace.attribute("water", pixel=(10, 12))  # doctest: +SKIP
        >>> why.by_band["image"].sel(band="B8")  # doctest: +SKIP
    """

    window: TraceWindow
    task: str
    target: str
    pixels: Pixels
    method: Method
    baseline: str
    score: float
    baseline_score: float | None
    inputs: Mapping[str, xr.DataArray]
    by_band: Mapping[str, xr.DataArray]
    by_time: Mapping[str, xr.DataArray]
    by_pixel: Mapping[str, xr.DataArray]
    magnitude: Mapping[str, Mapping[str, npt.NDArray[np.float64]]]
    steps: int | None = None
    gap: float | None = None
    images: Mapping[str, xr.DataArray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    def bands(self) -> pd.DataFrame:
        """One row an input and band, the most important first.

        Returns:
            ``input``, ``band``, ``importance`` (with its sign) and ``share`` (of the absolute importance of all bands).
        """
        return self._table("band", self.by_band, {name: _names(one, "band") for name, one in self.by_band.items()})

    def dates(self) -> pd.DataFrame:
        """One row an input and date, in the order of time.

        Returns:
            ``input``, ``date``, ``importance`` and ``share``, as in :meth:`bands`.
        """
        table = self._table("time", self.by_time, {name: time_labels(one) for name, one in self.by_time.items()})
        return table.rename(columns={"time": "date"}).sort_index().reset_index(drop=True)

    def _table(self, dim: str, arrays: Mapping[str, xr.DataArray], names: Mapping[str, Sequence[str]]) -> pd.DataFrame:
        rows: list[tuple[str, str, float, float]] = []
        total = sum(float(self.magnitude[name][dim].sum()) for name in arrays)
        for name, array in arrays.items():
            parts = self.magnitude[name][dim] / total if total > 0 else np.zeros(array.size)
            rows += zip([name] * array.size, names[name], array.values.tolist(), parts.tolist(), strict=True)
        table = pd.DataFrame(rows, columns=["input", dim, "importance", "share"])
        return table.sort_values("share", ascending=False, kind="stable")

    @property
    def title(self) -> str:
        """What is explained, in words."""
        return f"Why {self.target} ({self.task}): {self.pixels.text} of {self.window.group}/{self.window.name}"

    def _rows(self) -> list[tuple[str, str]]:
        rows = [("score", f"{self.score:.4g}"), ("method", _method_text(self))]
        if self.baseline_score is not None:
            rows.append(("baseline", f"{self.baseline}: score {self.baseline_score:.4g}"))
        bands = self.bands()
        rows += [(f"{row.input} {row.band}", _importance(row)) for row in bands.head(_MOST_ROWS).itertuples()]
        if len(bands) > _MOST_ROWS:
            rows.append(("…", f"{len(bands) - _MOST_ROWS} more: .bands()"))
        dates = self.dates()
        if any(one.size > 1 for one in self.by_time.values()):
            rows += [(f"{row.input} {row.date}", _importance(row)) for row in dates.head(_MOST_ROWS).itertuples()]
            if len(dates) > _MOST_ROWS:
                rows.append(("…", f"{len(dates) - _MOST_ROWS} more: .dates()"))
        return [*rows, *(("note", note) for note in self.notes)]

    def __repr__(self) -> str:
        return text_table(("", "importance"), self._rows(), caption=self.title)

    def _repr_html_(self) -> str:
        return html_table(("", "importance"), self._rows(), caption=self.title)


def time_labels(array: xr.DataArray) -> list[str]:
    """The time steps of an array in words: their dates, or their numbers if they have none.

    Args:
        array: With a dimension ``time``.
    """
    if "time" not in array.coords:
        return [f"step {index}" for index in range(array.sizes["time"])]
    return [str(day) for day in array["time"].values.astype("datetime64[D]")]


def _names(array: xr.DataArray, dim: str) -> list[str]:
    return [str(name) for name in array[dim].values]


def _method_text(why: Attribution) -> str:
    text = why.method.replace("_", " ")
    if why.steps is None or why.gap is None:
        return text
    return f"{text}, {why.steps} steps, {why.gap:.2%} off the difference of the scores"


def _importance(row: Any) -> str:
    return f"{row.importance:+.4g}  ({row.share:.0%})"
