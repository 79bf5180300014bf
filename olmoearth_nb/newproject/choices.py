"""What somebody may want otherwise than proposed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from olmoearth_nb.errors import ConfigError, UsageError
from olmoearth_nb.labels.rasterize import check_resolution, whole_number
from olmoearth_nb.labels.splitting import SpatialDataSplitter

__all__ = ["Choices", "Task", "choices_of", "task_named"]


class Task(StrEnum):
    """What a model shall say."""

    SEGMENTATION = "segmentation"
    CLASSIFICATION = "classification"
    REGRESSION = "regression"
    PER_PIXEL_REGRESSION = "per-pixel-regression"

    @property
    def is_raster(self) -> bool:
        """Whether it says something about each pixel, not about a place."""
        return self in (Task.SEGMENTATION, Task.PER_PIXEL_REGRESSION)

    @property
    def has_classes(self) -> bool:
        """Whether it says a class, not a number."""
        return self in (Task.SEGMENTATION, Task.CLASSIFICATION)


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Choices that go before what is proposed; None leaves it to the proposal.

    Attributes:
        column: Of the class or the value.
        label_name: Name of the label and of the result's property.
        colors: Class name or value -> ``#rrggbb`` or three numbers.
        start_time: Start of the time of all labels.
        end_time: End of it.
        window_size: Width and height of the windows in pixels, a multiple of 4.
        resolution: Metres per pixel.
        grid_size: Width and height in pixels of the cells that come into one split.
        split: Shares of train, val and test.
        epochs: Passes over the training windows.
        layer: Layer of a file that has several.
        crs: CRS of a source that does not say which it has.
    """

    column: str | None = None
    label_name: str | None = None
    colors: Mapping[Any, Any] | None = None
    start_time: datetime | date | str | None = None
    end_time: datetime | date | str | None = None
    window_size: int | None = None
    resolution: float | None = None
    grid_size: int | None = None
    split: tuple[float, float, float] | None = None
    epochs: int | None = None
    layer: str | None = None
    crs: Any = None


def choices_of(choices: Mapping[str, Any]) -> Choices:
    """Choices given by keyword.

    Args:
        choices: Names and values.

    Raises:
        UsageError: If there is no such choice, or a value makes no sense.
    """
    names = [one.name for one in fields(Choices)]
    for name in choices:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            raise UsageError(
                f"There is no choice {name!r}.",
                expected=f"one of {', '.join(names)}",
                fix=f"Did you mean {near[0]!r}?" if near else None,
            )
    if choices.get("resolution") is not None:
        check_resolution(choices["resolution"], where="resolution", error=UsageError)
    for name, least in (("window_size", 4), ("grid_size", 1), ("epochs", 1)):
        if choices.get(name) is not None:
            whole_number(choices[name], where=name, at_least=least, error=UsageError)
    size = choices.get("window_size")
    if size is not None and size % 4:
        raise UsageError(
            "Windows can't have this size.", where="window_size", expected="a multiple of 4", found=repr(size)
        )
    if (choices.get("start_time") is None) != (choices.get("end_time") is None):
        raise UsageError(
            "A time range has a start and an end.", where="start_time, end_time", expected="both, or neither"
        )
    if choices.get("split") is not None:
        _check_split(choices["split"])
    return Choices(**choices)


def _check_split(shares: Any) -> None:
    try:
        train, val, test = shares
        SpatialDataSplitter(train, val, test, grid_size=1)
    except (ConfigError, TypeError, ValueError) as error:
        raise UsageError(
            "Windows can't be divided so.",
            where="split",
            expected="shares of train, val and test, three numbers of 0 to 1 that sum to 1",
            found=repr(shares),
        ) from error


def task_named(task: str) -> Task:
    """A task by its name.

    Args:
        task: ``segmentation``, ``classification``, ``regression`` or ``per-pixel-regression``.

    Raises:
        UsageError: If there is none of that name.
    """
    try:
        return Task(str(task).replace("_", "-"))
    except ValueError as error:
        raise UsageError(
            "There is no such task.", where="task", expected=f"one of {', '.join(Task)}", found=repr(task)
        ) from error
