"""What runners return when they measure a model on windows, as objects that show themselves."""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import pandas as pd

from olmoearth_nb.errors import UsageError
from olmoearth_nb.evaluation.classes import SCORES, ClassResult
from olmoearth_nb.evaluation.intervals import Estimate
from olmoearth_nb.evaluation.ranking import ranked
from olmoearth_nb.evaluation.regression import RegressionResult
from olmoearth_nb.evaluation.results import Measured, TaskResult, number
from olmoearth_nb.runners.worst import ABOUT, KEY, EvaluatedWindows, WorstWindows
from olmoearth_nb.tables import html_table, text_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from olmoearth_nb.maps.confusion import ConfusionView
    from olmoearth_nb.maps.view import MapView

__all__ = ["Evaluation"]

_MOST_GROUPS = 20


class Evaluation:
    """How right a model is on windows: by class, by window, by group, and where it is wrong.

    Accuracy and scores of classes have 95% intervals. Where each window has one label, that of a share is Wilson's;
    pixels of a window are not independent of each other, so that for maps windows are drawn instead (bootstrap).
    Neighbouring windows are alike as well: take intervals as rather too narrow. A class without labels and predictions
    has no scores, not zeros.

    A model with several tasks has one evaluation for each: ``evaluation["name"]``.

    Args:
        measured: What was measured.
        source: Where the windows come from.

    Attributes:
        metrics: Metrics of the model's tasks by the names that training logs have, ``loss`` and ``windows``.

    Example:
        >>> evaluation = runner.evaluate("test")  # doctest: +SKIP
        >>> evaluation.metrics["accuracy"], str(evaluation.accuracy)  # doctest: +SKIP
        (0.66, '0.660 (0.579 to 0.733)')
    """

    def __init__(self, measured: Measured, source: EvaluatedWindows) -> None:
        self.metrics = measured.metrics
        self._measured = measured
        self._source = source

    @property
    def tasks(self) -> Mapping[str, Evaluation]:
        """The evaluation of each task, by its name."""
        found = {}
        for name, result in self._measured.tasks.items():
            metrics = {**result.metrics, "windows": self.metrics["windows"]}
            found[name] = Evaluation(
                Measured(metrics=metrics, tasks={name: result}, left_out=self._measured.left_out), self._source
            )
        return found

    def __getitem__(self, task: str) -> Evaluation:
        if task not in self._measured.tasks:
            raise UsageError("The model has no such task.", expected=", ".join(self._measured.tasks), found=repr(task))
        return self.tasks[task]

    # ---- numbers ---------------------------------------------------------------------------------------------

    @property
    def result(self) -> TaskResult:
        """What was measured for the only task.

        Raises:
            UsageError: If there are several.
        """
        names = list(self._measured.tasks)
        if len(names) != 1:
            raise UsageError(
                "The model has several tasks.",
                expected="one of them",
                found=", ".join(names),
                fix=f"Ask for one: evaluation[{names[0]!r}].",
            )
        return self._measured.tasks[names[0]]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self._classes.classes

    @property
    def confusion(self) -> pd.DataFrame:
        """The confusion matrix: how many labels of the row's class were predicted as the column's."""
        names = pd.Index(self.classes, name="label")
        return pd.DataFrame(self._classes.matrix, index=names, columns=names.rename("predicted"))

    @property
    def scores(self) -> pd.DataFrame:
        """One row a class: precision, recall, f1, iou with ``_low`` and ``_high`` of their 95% intervals, support.

        ``support`` counts labels, ``predicted`` predictions. NaN is what is not defined.
        """
        result = self._classes
        table = pd.DataFrame(index=pd.Index(self.classes, name="class"))
        for name in SCORES:
            table[name] = result.scores[name].to_numpy()
            table[f"{name}_low"] = [one.low for one in result.estimates[name]]
            table[f"{name}_high"] = [one.high for one in result.estimates[name]]
        table["support"], table["predicted"] = result.matrix.sum(axis=1), result.matrix.sum(axis=0)
        return table

    @property
    def accuracy(self) -> Estimate:
        """Share of labels that are predicted, with its 95% interval."""
        return self._classes.accuracy

    @property
    def mean_iou(self) -> Estimate:
        """Mean IoU of the classes that occur, with its 95% interval."""
        return self._classes.mean_iou

    @property
    def calibration(self) -> pd.DataFrame:
        """Accuracy by confidence in ten bins; ``evaluation.calibration_error`` sums it up."""
        return self._classes.calibration.table

    @property
    def calibration_error(self) -> float:
        """Expected calibration error, 0..1."""
        return self._classes.calibration.error

    @property
    def errors(self) -> Mapping[str, Estimate]:
        """Of measurements: ``mae``, ``rmse``, ``bias``, ``r2`` with their 95% intervals, in the unit of the labels."""
        result = self.result
        if not isinstance(result, RegressionResult):
            raise self._other("measurements")
        return result.estimates

    @functools.cached_property
    def windows(self) -> gpd.GeoDataFrame:
        """One row a window: its place, split or partition, loss, error, entropy, shares of classes.

        With several tasks, what was measured has the task's name in front: ``name/error``.
        """
        if len(self._measured.tasks) == 1:
            return self._source.joined(self.result.windows)
        parts = [
            result.windows.rename(columns={c: f"{name}/{c}" for c in result.windows.columns if c not in KEY})
            for name, result in self._measured.tasks.items()
        ]
        return self._source.joined(pd.concat([parts[0], *(part.drop(columns=KEY) for part in parts[1:])], axis=1))

    def by(self, column: str) -> pd.DataFrame:
        """The same numbers for groups of windows.

        Args:
            column: Of ``evaluation.windows``: ``split``, ``partition``, ``task`` or ``group``, say.

        Returns:
            One row a group: ``windows``, ``labels``, ``loss``, and accuracy or errors.

        Raises:
            UsageError: If there is no such column.
        """
        result, table = self.result, self.windows
        if column not in table.columns or column == "geometry":
            names = [name for name in (*ABOUT, "group", "name") if name in table.columns]
            raise UsageError("There is no such column.", expected=", ".join(names), found=repr(column))
        groups = table[column].astype(object).where(table[column].notna(), "none")
        indices = table.groupby(groups).groups
        rows = {value: result.group_row(indices[value]) for value in sorted(indices, key=_natural)}
        found = pd.DataFrame.from_dict(rows, orient="index")
        found.index.name = column
        return found.astype({"windows": int, "labels": int})

    def behind(self, label: str | int, predicted: str | int) -> gpd.GeoDataFrame:
        """The windows behind a cell of the confusion matrix.

        Args:
            label: A class, by name or index.
            predicted: A class, by name or index.

        Returns:
            Rows of ``evaluation.windows`` with ``count`` in front, the largest first.

        Raises:
            UsageError: If there is no such class.
        """
        return self._source.joined(self._classes.behind(label, predicted))

    def worst(self, n: int = 10, *, by: str = "loss") -> WorstWindows:
        """The windows to look at first.

        Args:
            n: How many.
            by: ``loss``, ``error`` or ``entropy``.

        Raises:
            UsageError: If the task has no such value, or there are several tasks.
        """
        return WorstWindows(by, self._source.joined(ranked(self.result, n, by)), self._source)

    # ---- pictures --------------------------------------------------------------------------------------------

    def plot(self) -> Figure:
        """Confusion matrix and calibration, or predicted against label.

        Raises:
            UsageError: If there are several tasks, or the task has no picture.
        """
        from olmoearth_nb.maps.scores import plot_result

        return plot_result(self.result)

    def map(self, *, by: str = "error") -> MapView:
        """A live map of the windows over their imagery, coloured by how wrong the model is there.

        Args:
            by: Column of ``evaluation.windows``: ``error``, ``loss``, ``entropy``, ``predicted``, ``split``, …

        Raises:
            MissingDependencyError: If leafmap is not installed.
            UsageError: If there is no such column.
        """
        return self._source.map(self.windows, by=by)

    def explore(self) -> ConfusionView:
        """The confusion matrix to click on: a cell lists the windows behind it, of which one can be selected.

        ``view.cell = ("water", "forest")`` and ``view.selected`` do the same by code.

        Raises:
            MissingDependencyError: If ipywidgets is not installed.
            UsageError: If there are no classes, or no labels.
        """
        from olmoearth_nb.maps.confusion import ConfusionView, WindowPictures

        windows = {(window.group, window.name): window for window in self._source.windows}
        labels, prediction = self._source.views()
        pictures = WindowPictures(dataset=self._source.dataset, windows=windows, labels=labels, prediction=prediction)
        return ConfusionView(self._classes, pictures)

    # ---- showing ---------------------------------------------------------------------------------------------

    def _head(self) -> list[tuple[str, str]]:
        left_out = [(f"left out: {count:,}", reason) for reason, count in self._measured.left_out.items()]
        return [*((name, number(value)) for name, value in self.metrics.items()), *left_out]

    def _groups(self) -> list[tuple[str, pd.DataFrame]]:
        """Tables by split and by partition, where there is more than one."""
        if len(self._measured.tasks) != 1:
            return []
        tables = [(column, self.by(column)) for column in ("split", "partition") if column in self.windows.columns]
        return [(column, table.head(_MOST_GROUPS)) for column, table in tables if len(table) > 1]

    def __repr__(self) -> str:
        parts = [text_table((f"Evaluation of {self._source.title}", ""), self._head())]
        parts += map(repr, self._measured.tasks.values())
        parts += [text_table(*_printed(table)) for _, table in self._groups()]
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        parts = [html_table((f"Evaluation of {self._source.title}", ""), self._head())]
        for name, result in self._measured.tasks.items():
            parts += [result._repr_html_(), self[name]._picture()]
        parts += [html_table(*_printed(table)) for _, table in self._groups()]
        return "".join(parts)

    def _picture(self) -> str:
        try:
            figure: Any = self.plot()
        except UsageError:
            return ""
        picture = base64.b64encode(figure._repr_png_()).decode("ascii")
        return f'<img src="data:image/png;base64,{picture}" style="max-width:100%">'

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain values, for JSON."""
        tasks = {name: dict(result.headline()) for name, result in self._measured.tasks.items()}
        return {"metrics": dict(self.metrics), "tasks": tasks, "left_out": dict(self._measured.left_out)}

    # ---- inner -----------------------------------------------------------------------------------------------

    @property
    def _classes(self) -> ClassResult:
        result = self.result
        if not isinstance(result, ClassResult):
            raise self._other("classes")
        return result

    def _other(self, wanted: str) -> UsageError:
        return UsageError(f"The task {self.result.name!r} has no {wanted}.", found=self.result.kind)


def _natural(value: object) -> list[tuple[int, str]]:
    """So that partition_10 comes after partition_9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(value))]


def _printed(table: pd.DataFrame) -> tuple[list[str], list[tuple[str, ...]]]:
    rows = [
        (str(name), *(number(float(cell)) for cell in row))
        for name, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    return [str(table.index.name), *map(str, table.columns)], rows
