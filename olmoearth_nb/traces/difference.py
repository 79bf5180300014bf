"""What differs between what a model says of a window in two traces of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from olmoearth_nb.traces.data import TraceData, TraceOutput

__all__ = ["OutputDifference", "output_difference", "output_differences"]


@dataclass(frozen=True, kw_only=True, eq=False)
class OutputDifference:
    """What differs in what the model says for a task; "after" minus "before" everywhere.

    Attributes:
        task: The task.
        kind: What sort of task it is.
        classes: Names of the classes; empty if there are none.
        changed: 1 where the class differs, 0 where not, NaN where there is none, (y, x); None without classes.
        changes: ``from``, ``to``, ``pixels``, ``share`` (of the pixels that have a class), the most first: the pixels
            whose class differs. Of tasks by window ``pixels`` counts windows.
        probability: Difference of the probabilities, (class, y, x); None without classes.
        mean_probability: Its mean, one a class.
        values: Difference of the values, (y, x); None unless there are measurements.
        objects: How many objects before and after; None unless the task finds objects.
        loss: The task's loss before and after, None without a label.
    """

    task: str
    kind: str
    classes: tuple[str, ...] = ()
    changed: xr.DataArray | None = None
    changes: pd.DataFrame
    probability: xr.DataArray | None = None
    mean_probability: pd.Series[float] | None = None
    values: xr.DataArray | None = None
    objects: tuple[int, int] | None = None
    loss: tuple[float, float] | None = None

    @property
    def share(self) -> float:
        """Share of the pixels whose class differs, 0..1; NaN without classes."""
        if self.changed is None:
            return float("nan")
        return float(self.changed.mean())

    @property
    def mean_value(self) -> float:
        """Mean difference of the values; NaN without measurements."""
        return float("nan") if self.values is None else float(self.values.mean())

    def rows(self) -> list[tuple[str, str]]:
        """It in words, for a table."""
        rows = []
        if self.changed is not None:
            count = int(np.nansum(self.changed.values))
            unit = "pixel" if self.changed.ndim else "window"
            rows.append(("class changed", f"{count:,} {unit}{'s' * (count != 1)} ({self.share:.1%})"))
            rows += [
                (f"{row['from']} → {row['to']}", f"{row['pixels']:,} ({row['share']:.1%})")
                for row in self.changes.head(8).to_dict("records")
            ]
        if self.mean_probability is not None:
            means = [f"{key} {value:+.3f}" for key, value in self.mean_probability.items()]
            rows.append(("mean change of probability", ", ".join(means[:12])))
        if self.values is not None:
            most = float(np.nanmax(np.abs(self.values.values)))
            rows.append(("change of value", f"mean {self.mean_value:+.4g}, at most {most:.4g}"))
        if self.objects is not None:
            rows.append(("objects", f"{self.objects[0]} → {self.objects[1]}"))
        if self.loss is not None:
            rows.append(("loss", f"{self.loss[0]:.4g} → {self.loss[1]:.4g}"))
        return rows


def output_differences(before: TraceData, after: TraceData) -> dict[str, OutputDifference]:
    """Differences by task, of the tasks that both have.

    Args:
        before: A trace.
        after: Another trace of the same window.
    """
    return {
        name: output_difference(one, after.outputs[name])
        for name, one in before.outputs.items()
        if name in after.outputs
    }


def output_difference(before: TraceOutput, after: TraceOutput) -> OutputDifference:
    """What differs between two outputs.

    Args:
        before: An output.
        after: Another one, of the same shape.
    """
    losses = None if before.loss is None or after.loss is None else (before.loss.total, after.loss.total)
    objects = None
    if before.vectors is not None and after.vectors is not None:
        objects = len(before.vectors), len(after.vectors)
    probability = _minus(after.probabilities, before.probabilities, "change of probability")
    means = None
    if probability is not None:
        others = [dim for dim in probability.dims if dim != "class"]
        means = probability.mean(others).to_series() if others else probability.to_series()
    return OutputDifference(
        task=before.task,
        kind=before.kind,
        classes=before.classes,
        changed=_changed(before, after),
        changes=_changes(before, after),
        probability=probability,
        mean_probability=means,
        values=_minus(after.values, before.values, "change of value"),
        objects=objects,
        loss=losses,
    )


def _minus(after: xr.DataArray | None, before: xr.DataArray | None, note: str) -> xr.DataArray | None:
    if after is None or before is None or after.shape != before.shape:
        return None
    return before.copy(data=after.values - before.values).assign_attrs(note=note)


def _changed(before: TraceOutput, after: TraceOutput) -> xr.DataArray | None:
    one, other = before.prediction, after.prediction
    if one is None or other is None or one.shape != other.shape:
        return None
    known = (one.values >= 0) & (other.values >= 0)
    values = np.where(known, (one.values != other.values).astype(np.float64), np.nan)
    return one.copy(data=values).assign_attrs(note="1 where the class differs")


def _changes(before: TraceOutput, after: TraceOutput) -> pd.DataFrame:
    columns = ["from", "to", "pixels", "share"]
    one, other = before.prediction, after.prediction
    if one is None or other is None or one.shape != other.shape:
        return pd.DataFrame(columns=columns)
    pairs = np.stack([one.values.ravel(), other.values.ravel()])
    pairs = pairs[:, (pairs >= 0).all(axis=0)]
    total = pairs.shape[1]
    found, counts = np.unique(pairs[:, pairs[0] != pairs[1]], axis=1, return_counts=True)
    names = dict(enumerate(before.classes))
    rows = [
        (names.get(int(a), str(a)), names.get(int(b), str(b)), int(count), count / total)
        for (a, b), count in zip(found.T.tolist(), counts.tolist(), strict=True)
    ]
    table = pd.DataFrame(rows, columns=columns)
    return table.sort_values("pixels", ascending=False, kind="stable").reset_index(drop=True)
