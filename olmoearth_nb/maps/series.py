"""The images of a window's layer one after the other: a time series, when each was taken, and what it was made of."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from rslearn.dataset import Dataset, Window
from rslearn.utils.raster_array import RasterArray

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import StorageError
from olmoearth_nb.maps.grid import Pixels
from olmoearth_nb.maps.imagery import ImageryView, Stretch, stretch_over
from olmoearth_nb.maps.rasters import Rasters, completed_groups, read_groups, stacked, where_of
from olmoearth_nb.types import TimeRange

__all__ = ["Series", "TimeStep", "read_series"]


@dataclass(frozen=True)
class TimeStep:
    """One image of a series.

    Attributes:
        pixels: Shape (C, H, W), NaN where there is nothing.
        time: When it was taken; of a mosaic, or where the source does not say, the time it stands for; None if nothing
            is known.
        items: Names of the source items it was made of, where they are known.
    """

    pixels: Pixels
    time: TimeRange | None
    items: tuple[str, ...]

    @property
    def date(self) -> str:
        """Its day, or its first and last day; empty if nothing is known."""
        if self.time is None:
            return ""
        first, last = (f"{moment:%Y-%m-%d}" for moment in self.time)
        return first if first == last else f"{first} to {last}"

    @property
    def source(self) -> str:
        """The source item, of several the first and how many more; empty if nothing is known."""
        more = f" + {len(self.items) - 1}" if len(self.items) > 1 else ""
        return f"{self.items[0]}{more}" if self.items else ""


@dataclass(frozen=True)
class Series:
    """The images of a layer of imagery.

    Attributes:
        layer: Name of the layer.
        bands: Names of the bands, one or three.
        steps: The images, in their order; of very many, some.
        count: How many there are.
        view: How to show them.
    """

    layer: str
    bands: tuple[str, ...]
    steps: tuple[TimeStep, ...]
    count: int
    view: ImageryView

    @property
    def title(self) -> str:
        """Layer and bands."""
        return f"{self.layer}: {', '.join(self.bands)}"

    @cached_property
    def stretch(self) -> Stretch:
        """One for all images, so that they can be compared."""
        return stretch_over([one.pixels for one in self.steps], self.view.percentiles)


def read_series(dataset: Dataset, window: Window, view: ImageryView, *, most: int = 24) -> Series:
    """All images of a window's layer, whatever time step the view says.

    Args:
        dataset: The dataset.
        window: A window whose layer is there.
        view: Which layer and bands.
        most: Of more images, so many are read, spread evenly.

    Raises:
        UsageError: If there is no such layer or band.
        StorageError: If it can't be read.
    """
    layer, bands = view.resolved(dataset)
    groups = completed_groups(window, layer)
    items = _items_of(window, layer)
    steps: list[TimeStep] = []
    for group in _spread(groups, most):
        rasters = read_groups(dataset, window, layer, bands, [group])[0]
        times = _times(rasters)
        for step, time in enumerate(times):
            names, item_time = items.get(group, ((), None))
            pixels = stacked(dataset.layers[layer], rasters, step, bands)
            steps.append(TimeStep(pixels, time or item_time, names if len(times) == 1 else ()))
    count = len(groups) * len(steps) // max(1, min(len(groups), most))
    return Series(layer, bands, tuple(_spread(steps, most)), count, view)


def _spread(things: Sequence[Any], most: int) -> list[Any]:
    if len(things) <= most:
        return list(things)
    return [things[index] for index in np.linspace(0, len(things) - 1, most).round().astype(int).tolist()]


def _times(rasters: Rasters) -> list[TimeRange | None]:
    """The time of each step, as the raster says."""
    raster: RasterArray = rasters[0][1]
    count = raster.array.shape[1]
    times: Sequence[TimeRange | None] = raster.timestamps or [None] * count
    return list(times)


def _items_of(window: Window, layer: str) -> dict[int, tuple[tuple[str, ...], TimeRange | None]]:
    """For each item group, the names of its source items and its time; what rslearn's ``prepare`` noted."""
    # An image is worth looking at also where the list of its items is broken.
    with (
        contextlib.suppress(StorageError),
        foreign_code(StorageError, "The list of source items can't be read", where=where_of(window, layer)),
    ):
        noted = window.load_layer_datas().get(layer)
        if noted is not None:
            periods = noted.group_time_ranges or [None] * len(noted.serialized_item_groups)
            return {
                group: (tuple(str(item.get("name", "")) for item in items), _item_time(items) or period)
                for group, (items, period) in enumerate(zip(noted.serialized_item_groups, periods, strict=True))
            }
    return {}


def _item_time(items: Sequence[dict[str, Any]]) -> TimeRange | None:
    """From the first to the last of the items' times."""
    ranges = [(item.get("geometry") or {}).get("time_range") for item in items]
    times = [tuple(datetime.fromisoformat(moment) for moment in one) for one in ranges if one]
    return (min(start for start, _ in times), max(end for _, end in times)) if times else None
