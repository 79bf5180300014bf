"""When annotations are valid, and whether there can be imagery of that time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from rslearn.config import LayerConfig
from rslearn.config.dataset import DataSourceConfig, QueryConfig, SpaceMode

from olmoearth_nb.labels.report.balance import are_classes
from olmoearth_nb.labels.report.bounds import CONFOUNDED, EMPTY_TIME, FEWEST_FOR_TIMES
from olmoearth_nb.labels.report.facts import LabelFacts
from olmoearth_nb.labels.report.files import check_file_times, is_local
from olmoearth_nb.labels.report.findings import LabelFinding, named, plural
from olmoearth_nb.labels.report.moments import Asked, asked_of, day_of, tasks_at
from olmoearth_nb.legend import ClassLegend, RangeLegend

__all__ = ["KNOWN_STARTS", "check_class_times", "check_imagery_times", "check_spans", "check_time_order"]

Rows = npt.NDArray[np.bool_]
_SOURCES = "rslearn.data_sources."
_DAY = 86_400.0
_MOST_LAYERS = 4
_MONTH = timedelta(days=30)
_S2, _S1, _L8 = datetime(2015, 6, 27, tzinfo=UTC), datetime(2014, 10, 3, tzinfo=UTC), datetime(2013, 3, 18, tzinfo=UTC)

KNOWN_STARTS: Mapping[str, datetime] = {
    f"{_SOURCES}planetary_computer.Sentinel2": _S2,
    f"{_SOURCES}gcp_public_data.Sentinel2": _S2,
    f"{_SOURCES}copernicus.Sentinel2": _S2,
    f"{_SOURCES}aws_sentinel2_element84.Sentinel2": _S2,
    f"{_SOURCES}planetary_computer.Sentinel1": datetime(2014, 10, 10, tzinfo=UTC),
    f"{_SOURCES}copernicus.Sentinel1": _S1,
    f"{_SOURCES}aws_sentinel1.Sentinel1": _S1,
    f"{_SOURCES}planetary_computer.LandsatC2L2": datetime(1982, 8, 22, tzinfo=UTC),
    f"{_SOURCES}aws_landsat.LandsatOliTirs": _L8,
    f"{_SOURCES}usgs_landsat.LandsatOliTirs": _L8,
}
"""First images that there are: starts of collections in the Planetary Computer's catalogue, of missions elsewhere."""


def check_time_order(facts: LabelFacts, *, now: datetime) -> LabelFinding:
    """Times that can't be read, end before they start, or have not come yet.

    Args:
        facts: What is labelled.
        now: Today.
    """
    wrong = [one for one in facts.refused if one.fault == "time"]
    start, end = facts.task_seconds.T
    future = start > now.timestamp()
    partly = ~future & (end > now.timestamp())
    there = facts.task_seconds[np.isfinite(facts.task_seconds).all(axis=1)]
    span = f"From {day_of(there[:, 0].min())} to {day_of(there[:, 1].max())}." if len(there) else ""
    parts = [f"{plural(len(wrong), 'task')}: {wrong[0].words}"] if wrong else []
    parts += [f"{plural(int(future.sum()), 'task')} begin after today ({now:%Y-%m-%d})."] if future.any() else []
    parts += [f"{plural(int(partly.sum()), 'task')} go on after today."] if partly.any() else []
    rows = np.flatnonzero(future | partly | np.isin(facts.tasks["feature"], [one.feature for one in wrong]))
    return LabelFinding(
        code="time-order",
        check="times",
        verdict="bad" if wrong or future.any() else "look" if partly.any() else "good",
        found=" ".join([*parts, span]),
        advice="Correct oe_start_time and oe_end_time." * bool(parts),
        numbers={"wrong": len(wrong), "future": int(future.sum()), "not_over": int(partly.sum())},
        where=facts.tasks.iloc[rows].reset_index(drop=True) if len(rows) else None,
    )


def check_imagery_times(
    facts: LabelFacts, layers: Mapping[str, LayerConfig], *, now: datetime
) -> Iterator[LabelFinding]:
    """Whether the layers' sources have imagery of the tasks' times, and enough of it.

    Args:
        facts: What is labelled.
        layers: Those of ``dataset.json``.
        now: Today.
    """
    sources = {name: layer.data_source for name, layer in layers.items() if layer.data_source is not None}
    dated = {name: source for name, source in sources.items() if not is_local(source)}
    if dated and np.isfinite(facts.task_seconds).all(axis=1).any():
        asked = {name: asked_of(facts, source) for name, source in dated.items()}
        yield _outside_sources(facts, asked, dated, now)
        yield _too_short(facts, asked, dated)
    for name, source in sources.items():
        if is_local(source):
            yield check_file_times(facts, name, source)


def _outside_sources(
    facts: LabelFacts, asked: Mapping[str, Asked], sources: Mapping[str, DataSourceConfig], now: datetime
) -> LabelFinding:
    parts, numbers, rows = [], {}, np.zeros(len(facts.tasks), dtype=bool)
    for name, (start, end) in asked.items():
        first = KNOWN_STARTS.get(sources[name].class_path)
        begin, today = (first.timestamp() if first else -np.inf), now.timestamp()
        outside, partly = (end < begin) | (start > today), (start < begin) | (end > today)
        partly &= ~outside
        rows |= outside | partly
        numbers[name] = {
            "since": None if first is None else f"{first:%Y-%m-%d}",
            "outside": int(outside.sum()),
            "partly": int(partly.sum()),
        }
        if (outside | partly).any():
            since = f", which begins {first:%Y-%m-%d}" if first else ""
            parts.append(f"{name}{since}: {int(outside.sum()):,} tasks outside, {int(partly.sum()):,} in part.")
    starts, ends = (np.concatenate([one[side] for one in asked.values()]) for side in (0, 1))
    span = f"Tasks ask for {day_of(np.nanmin(starts))} to {day_of(np.nanmax(ends))}."
    known = sorted({one["since"] for one in numbers.values() if one["since"]})
    begins = f"The imagery begins {named(known)}." if known else "When the imagery begins is not known here."
    return LabelFinding(
        code="time-imagery",
        check="imagery of the times",
        verdict="bad" if any(one["outside"] for one in numbers.values()) else "look" if parts else "good",
        found=" ".join([*parts[:_MOST_LAYERS], span, begins]),
        advice="Correct the times, leave these tasks out, or take another source." * bool(parts),
        numbers=numbers,
        where=tasks_at(facts, rows),
    )


def _too_short(facts: LabelFacts, asked: Mapping[str, Asked], sources: Mapping[str, DataSourceConfig]) -> LabelFinding:
    parts, numbers, rows = [], {}, np.zeros(len(facts.tasks), dtype=bool)
    for name, (start, end) in asked.items():
        none, short, wanted = _images(end - start, sources[name].query_config)
        rows |= none | short
        numbers[name] = {"none": int(none.sum()), "fewer": int(short.sum())}
        if (none | short).any():
            days = _spans((end - start) / _DAY)
            parts.append(
                f"{name} wants {wanted} and is asked for {days}: {int(none.sum()):,} tasks get no imagery, "
                f"{int(short.sum()):,} fewer images."
            )
    return LabelFinding(
        code="time-span",
        check="times long enough",
        verdict="bad" if any(one["none"] for one in numbers.values()) else "look" if parts else "good",
        found=" ".join(parts[:_MOST_LAYERS]) or f"Each of {plural(len(asked), 'layer')} gets the images it asks for.",
        advice="Widen the times of the tasks, or give the layer a duration and time_offset." * bool(parts),
        numbers=numbers,
        where=tasks_at(facts, rows),
    )


def _images(seconds: npt.NDArray[np.float64], query: QueryConfig) -> tuple[Rows, Rows, str]:
    """Which times give no image at all, which fewer than wanted, and how much is wanted."""
    period = query.period_duration
    if period is None and query.space_mode == SpaceMode.PER_PERIOD_MOSAIC:
        period = _MONTH  # as rslearn has it where the older mode says no period
    if period is None:
        return np.zeros(len(seconds), dtype=bool), seconds < EMPTY_TIME * _DAY, _length(EMPTY_TIME)
    # A millionth, so that whole periods stay whole in floating point.
    periods = np.floor(seconds / period.total_seconds() + 1e-6)
    none = periods < max(query.min_matches, 1)
    fewer = (periods < query.max_matches) & ~none
    return none, fewer, f"{query.max_matches} × {_length(period.total_seconds() / _DAY)}"


def check_spans(facts: LabelFacts) -> LabelFinding:
    """Whether all tasks have times of the same length.

    Args:
        facts: What is labelled.
    """
    days = (facts.task_seconds[:, 1] - facts.task_seconds[:, 0]) / _DAY
    days = days[np.isfinite(days)]
    # A month more or less is a calendar's, not an annotator's.
    middle = float(np.median(days)) if len(days) else 0.0
    uneven = bool(((days > 2 * max(middle, 1.0)) | (days < 0.5 * middle)).any())
    return LabelFinding(
        code="time-lengths",
        check="lengths of times",
        verdict="look" if uneven else "good",
        found=f"{_spans(days)}.",
        advice="Longer times have more images, which tells tasks apart: give all the same length." * bool(uneven),
        numbers={"least_days": float(days.min(initial=np.inf)), "most_days": float(days.max(initial=-np.inf))},
    )


def check_class_times(
    facts: LabelFacts, fields: Mapping[str, ClassLegend | RangeLegend | None]
) -> Iterator[LabelFinding]:
    """Whether classes were labelled at different times, so that a season could stand for a class.

    Args:
        facts: What is labelled.
        fields: What the legend says of each label.
    """
    middle = facts.seconds.mean(axis=1)
    for name in map(str, facts.values.columns):
        column = facts.values[name].to_numpy()
        there = np.isfinite(column) & np.isfinite(middle)
        if not there.any() or not are_classes(column[there], fields.get(name)):
            continue
        quarters = pd.to_datetime(middle[there], unit="s").to_period("Q").astype(str)
        table = pd.crosstab(column[there], np.asarray(quarters))
        strength = cramers_v(table.to_numpy())
        doubtful = int(there.sum()) >= FEWEST_FOR_TIMES and strength >= CONFOUNDED
        field = fields.get(name)
        only = [
            f"{field.label_of(value) if isinstance(field, ClassLegend) else f'{value:g}'} in {row.idxmax()}"
            for value, (_, row) in zip(table.index.to_numpy(dtype=float).tolist(), table.iterrows(), strict=True)
            if (row > 0).sum() == 1 and table.shape[1] > 1
        ]
        yield LabelFinding(
            code="time-classes",
            check=f"times of the classes of {name}",
            verdict="look" if doubtful else "good",
            found=f"{plural(table.shape[1], 'quarter')} of a year; association with class {strength:.2f} (Cramér's V)."
            + (f" Only once: {named(only)}." if only and doubtful else ""),
            advice="A model may learn the season for the class: label every class in every season." * doubtful,
            numbers={"label": name, "cramers_v": strength, "quarters": table.shape[1]},
        )


def cramers_v(table: npt.NDArray[Any]) -> float:
    """How much two categories go together, 0 not at all and 1 wholly, corrected for small numbers.

    Bergsma, A bias-correction for Cramér's V and Tschuprow's T (J. Korean Stat. Soc. 42, 2013).

    Args:
        table: Counts, (rows, columns).

    Example:
        >>> cramers_v(np.array([[50, 0], [0, 50]])) > 0.98, cramers_v(np.array([[25, 25], [25, 25]]))
        (True, 0.0)
    """
    total = table.sum()
    if total < 2 or min(table.shape) < 2:
        return 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
    rows, columns = table.shape
    squared = ((table - expected) ** 2 / expected).sum() / total
    squared = max(0.0, squared - (rows - 1) * (columns - 1) / (total - 1))
    least = min(rows - (rows - 1) ** 2 / (total - 1), columns - (columns - 1) ** 2 / (total - 1)) - 1
    return float(min(1.0, np.sqrt(squared / least))) if least > 0 else 0.0


def _spans(days: Sequence[float] | npt.NDArray[np.float64]) -> str:
    known = np.asarray(days)[np.isfinite(days)]
    if not len(known):
        return "No times"
    low, high = float(known.min()), float(known.max())
    return _length(low) if high - low < 0.5 else f"{low:.4g} to {_length(high)}"


def _length(days: float) -> str:
    return f"{days:.4g} {'day' if days == 1 else 'days'}" if days >= 1 or days == 0 else f"{days * 24:.2g} hours"
