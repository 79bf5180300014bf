"""All checks of labels, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from rslearn.config import LayerConfig
from shapely.geometry.base import BaseGeometry

from olmoearth_nb.labels.report.balance import check_legend, check_splits, check_values
from olmoearth_nb.labels.report.extent import check_density, check_extent
from olmoearth_nb.labels.report.facts import LabelFacts
from olmoearth_nb.labels.report.findings import LabelFinding
from olmoearth_nb.labels.report.leakage import check_leakage, check_task_splits
from olmoearth_nb.labels.report.overlaps import check_overlaps
from olmoearth_nb.labels.report.planned import SplitWindows
from olmoearth_nb.labels.report.tasks import check_fit, check_readable, check_shapes
from olmoearth_nb.labels.report.times import check_class_times, check_imagery_times, check_spans, check_time_order
from olmoearth_nb.legend import ClassLegend, RangeLegend

__all__ = ["LabelContext", "check_labels"]


@dataclass(frozen=True, kw_only=True)
class LabelContext:
    """What labels are for, as far as checks need it.

    Attributes:
        fields: What the legend says of each label.
        layers: Those of ``dataset.json``.
        requests: Name -> geometries in degrees.
        nodata: Value that stands for no label.
        windows: The windows with their splits; None if they can't be made.
        no_windows: Why they can't.
        now: Today.
    """

    now: datetime
    fields: Mapping[str, ClassLegend | RangeLegend | None] = field(default_factory=dict)
    layers: Mapping[str, LayerConfig] = field(default_factory=dict)
    requests: Mapping[str, Sequence[BaseGeometry]] = field(default_factory=dict)
    nodata: float | None = None
    windows: SplitWindows | None = None
    no_windows: str = ""


def check_labels(facts: LabelFacts, context: LabelContext) -> Iterator[LabelFinding]:
    """Everything that can be said of labels before imagery is paid for.

    Args:
        facts: What is labelled.
        context: What it is for.
    """
    yield from check_readable(facts)
    if not len(facts.annotations):
        yield LabelFinding(
            code="balance",
            check="annotations",
            verdict="bad",
            found="There is no annotation that can be used.",
            advice="Look at the features that can't be used.",
        )
        return
    yield from check_values(facts, context.fields, nodata=context.nodata)
    yield from check_legend(facts, context.fields, nodata=context.nodata)
    yield from check_fit(facts)
    yield check_shapes(facts)
    yield from check_overlaps(facts, context.fields)
    yield check_extent(facts, context.requests)
    yield check_density(facts)
    yield from _check_windows(context)
    yield check_time_order(facts, now=context.now)
    yield check_spans(facts)
    yield from check_imagery_times(facts, context.layers, now=context.now)
    yield from check_class_times(facts, context.fields)


def _check_windows(context: LabelContext) -> Iterator[LabelFinding]:
    windows = context.windows
    if windows is None or not len(windows.table):
        yield LabelFinding(
            code="windows",
            check="windows and splits",
            verdict="bad",
            found=context.no_windows or "The annotations give no window.",
            advice="Correct that; splits can't be judged without windows.",
        )
        return
    yield from check_splits(windows, context.fields)
    yield from check_leakage(windows)
    yield check_task_splits(windows)
