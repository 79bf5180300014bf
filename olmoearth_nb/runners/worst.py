"""The windows that something was measured on, and those of them to look at first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import geopandas as gpd
import pandas as pd
from rslearn.dataset import Dataset, Window

from olmoearth_nb.evaluation.results import number
from olmoearth_nb.tables import html_table, text_table

if TYPE_CHECKING:
    from olmoearth_nb.maps.labels import LabelView
    from olmoearth_nb.maps.view import MapView
    from olmoearth_nb.maps.widgets.browser import WindowBrowser

__all__ = ["ABOUT", "KEY", "EvaluatedWindows", "WorstWindows"]

ABOUT = ("split", "task", "partition", "partitions")
"""What the table of a runner says of a window and stays beside what was measured."""

KEY = ["group", "name"]
"""Which window a row is of."""

_PLACE = ("x0", "y0", "x1", "y1", "crs", "resolution", "start", "end", "geometry")
_MOST_RANKED = 30


@dataclass(frozen=True, kw_only=True)
class EvaluatedWindows:
    """Where the windows of an evaluation come from.

    Attributes:
        title: Of what, in words.
        dataset: Their dataset.
        windows: The windows.
        table: What the runner's ``windows()`` says of them.
        views: Which labels and which prediction to show; asked when something is drawn.
    """

    title: str
    dataset: Dataset
    windows: Sequence[Window]
    table: gpd.GeoDataFrame
    views: Callable[[], tuple[LabelView | None, LabelView | None]]

    def joined(self, measured: pd.DataFrame) -> gpd.GeoDataFrame:
        """Rows that were measured, with what is known of their windows.

        Args:
            measured: Any table with ``group`` and ``name``; its order and index stay.
        """
        about = self.table.set_index(KEY)
        known = about.loc[pd.MultiIndex.from_frame(measured[KEY])]
        kept = [name for name in (*ABOUT, *_PLACE) if name in known.columns and name not in measured.columns]
        columns = {name: known[name].array for name in kept}
        first = [name for name in ("rank", "value", "why", "count") if name in measured.columns]
        rest = [name for name in measured.columns if name not in (*first, *KEY)]
        ordered = [*first, "name", "group", *(name for name in ABOUT if name in kept), *rest]
        whole = pd.concat([measured, pd.DataFrame(columns, index=measured.index)], axis=1)
        return gpd.GeoDataFrame(whole[[*ordered, *(name for name in _PLACE if name in kept)]], crs=self.table.crs)

    def map(self, table: gpd.GeoDataFrame, *, by: str) -> MapView:
        """A live map of some of them over their imagery.

        Args:
            table: What :meth:`joined` gives, or part of it.
            by: Column to colour by.

        Raises:
            MissingDependencyError: If leafmap is not installed.
            UsageError: If there is no such column.
        """
        from olmoearth_nb.maps.features import windows_layer
        from olmoearth_nb.maps.imagery import ImageryView
        from olmoearth_nb.maps.pictures import imagery_layer
        from olmoearth_nb.maps.preview import build_map
        from olmoearth_nb.store.dataset import imagery_layers

        also = ("why", "loss", "error", "entropy", "label", "predicted")
        keys = set(table[KEY].itertuples(index=False, name=None))
        windows = [window for window in self.windows if (window.group, window.name) in keys]
        imagery = imagery_layer(self.dataset, windows, ImageryView()) if imagery_layers(self.dataset) else None
        # Above a picture that is on, windows are outlines; here their colours are what matters.
        below = [] if imagery is None else [replace(imagery, shown=False)]
        return build_map([replace(windows_layer(table, by=by, also=also), fill=0.6), *below])


class WorstWindows:
    """Windows in the order in which to look at them.

    Args:
        by: What they are ranked by.
        table: One row a window, with ``rank``, ``value`` and ``why`` in front.
        source: Where the windows come from.

    Attributes:
        by: ``loss``, ``error`` or ``entropy``.
        table: The ranking, a GeoDataFrame.

    Example:
        >>> runner.trace(runner.worst(5).names[0])  # doctest: +SKIP
    """

    def __init__(self, by: str, table: gpd.GeoDataFrame, source: EvaluatedWindows) -> None:
        self.by = by
        self.table = table
        self._source = source

    @property
    def names(self) -> list[str]:
        """Names of the windows, the worst first."""
        return list(self.table["name"].astype(str))

    @property
    def windows(self) -> list[Window]:
        """The windows themselves, the worst first."""
        by_key = {(window.group, window.name): window for window in self._source.windows}
        return [by_key[key] for key in self.table[KEY].itertuples(index=False, name=None)]

    def __len__(self) -> int:
        return len(self.table)

    def map(self) -> MapView:
        """A live map of them over their imagery.

        Raises:
            MissingDependencyError: If leafmap is not installed.
        """
        return self._source.map(self.table, by="value")

    def browse(self) -> WindowBrowser:
        """The window browser on them, the worst first.

        Raises:
            MissingDependencyError: If ipywidgets is not installed.
        """
        from olmoearth_nb.maps.widgets.browser import WindowBrowser
        from olmoearth_nb.maps.widgets.source import DatasetSource

        labels, prediction = self._source.views()
        source = DatasetSource(dataset=self._source.dataset, labels=labels, prediction=prediction)
        return WindowBrowser(
            self.table, source, color_by="value", columns=("rank", "value", "why"), caption=self._caption
        )

    @property
    def _caption(self) -> str:
        return f"{len(self)} windows of {self._source.title} by {self.by}, highest first"

    def _rows(self) -> list[tuple[str, ...]]:
        about = [name for name in ("split", "partition") if name in self.table.columns]
        columns = ["rank", "name", *about, "value", "why"]
        return [
            tuple(number(cell) if isinstance(cell, float) else str(cell) for cell in row)
            for row in self.table[columns].head(_MOST_RANKED).itertuples(index=False)
        ]

    def _columns(self) -> tuple[str, ...]:
        return ("", "window", *(name for name in ("split", "partition") if name in self.table.columns), self.by, "why")

    def __repr__(self) -> str:
        return text_table(self._columns(), self._rows(), caption=self._caption)

    def _repr_html_(self) -> str:
        return html_table(self._columns(), self._rows(), caption=self._caption)
