"""``runner.label_report()``: what is doubtful about the labels of a project, before imagery is paid for."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import geopandas as gpd
import pandas as pd
from rslearn.config import LayerConfig

from olmoearth_nb.config import Project
from olmoearth_nb.config.dataset_json import read_dataset
from olmoearth_nb.errors import OlmoEarthError
from olmoearth_nb.geojson import feature_shape, read_request
from olmoearth_nb.labels.report.check import LabelContext, check_labels
from olmoearth_nb.labels.report.facts import LabelFacts, read_facts
from olmoearth_nb.labels.report.findings import VERDICTS, LabelFinding, Verdict, worst
from olmoearth_nb.labels.report.planned import SplitWindows, plan_windows
from olmoearth_nb.legend import Legend
from olmoearth_nb.tables import html_table
from olmoearth_nb.types import StepName

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from olmoearth_nb.maps.layers import Layer
    from olmoearth_nb.maps.view import MapView
    from olmoearth_nb.runners.finetune_looks import FineTuneLooks

__all__ = ["LabelReport", "make_label_report"]

T = TypeVar("T")

_COLUMNS = ("verdict", "what was checked", "what was found", "what to do")
_TINTS = {"bad": "#c62828", "look": "#b26a00", "good": "#2e7d32"}
_WIDTH = 118


@dataclass(frozen=True, kw_only=True, repr=False)
class LabelReport:
    """What is doubtful about labels: a table with a verdict a line, and a map.

    Attributes:
        project: Name of the project.
        findings: A line each, worst first.
        facts: The annotations as they were read.
        windows: The windows with their splits, as planned or as the scratch has them; None if they can't be made.
        legend: The project's legend.

    Example:
        >>> report = runner.label_report()  # doctest: +SKIP
        >>> report.conflicts  # doctest: +SKIP
    """

    project: str
    findings: tuple[LabelFinding, ...]
    facts: LabelFacts
    windows: SplitWindows | None
    legend: Legend | None

    @property
    def verdict(self) -> Verdict:
        """The worst of all verdicts."""
        return worst(one.verdict for one in self.findings)

    @property
    def ok(self) -> bool:
        """Whether nothing is bad."""
        return self.verdict != "bad"

    def of(self, code: str) -> tuple[LabelFinding, ...]:
        """The findings of a check; some are made for each label or layer.

        Args:
            code: Its code: ``balance``, ``leakage`` and others, see :meth:`table`.
        """
        return tuple(one for one in self.findings if one.code == code)

    def where(self, code: str) -> gpd.GeoDataFrame:
        """The places that the findings of a check concern.

        Args:
            code: Its code.

        Returns:
            A table of annotations, tasks or windows in WGS84; an empty one if the check found nothing.
        """
        frames = [one.where for one in self.of(code) if one.where is not None]
        if not frames:
            return gpd.GeoDataFrame(geometry=[], crs=4326)
        return frames[0] if len(frames) == 1 else gpd.GeoDataFrame(pd.concat(frames, ignore_index=True))

    @property
    def conflicts(self) -> gpd.GeoDataFrame:
        """Pairs of annotations that give the same ground different labels."""
        return self.where("conflicts")

    @property
    def overlaps(self) -> gpd.GeoDataFrame:
        """Annotations that share ground with another and agree."""
        return self.where("overlaps")

    @property
    def duplicates(self) -> gpd.GeoDataFrame:
        """Annotations that repeat an earlier one."""
        return self.where("duplicates")

    @property
    def leaks(self) -> gpd.GeoDataFrame:
        """Windows of ``val`` and ``test`` too near to one of ``train``, with a line to it and the metres between."""
        return self.where("leakage")

    @property
    def empty_tasks(self) -> gpd.GeoDataFrame:
        """Tasks without annotations."""
        return self.where("empty-tasks")

    def table(self) -> pd.DataFrame:
        """One row a finding: ``code``, ``check``, ``verdict``, ``found``, ``advice``."""
        names = ["code", "check", "verdict", "found", "advice"]
        return pd.DataFrame([[getattr(one, name) for name in names] for one in self.findings], columns=names)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        findings = [
            {
                "code": one.code,
                "check": one.check,
                "verdict": one.verdict,
                "found": one.found,
                "advice": one.advice,
                "numbers": dict(one.numbers),
            }
            for one in self.findings
        ]
        planned = None if self.windows is None else self.windows.planned
        return {"project": self.project, "verdict": self.verdict, "windows_planned": planned, "findings": findings}

    # ---- looking ---------------------------------------------------------------------------------------------

    def layers(self, *, label: str | None = None) -> list[Layer]:
        """The map's layers: annotations by class, what is wrong with them, windows by split, pairs too near.

        Args:
            label: Which label to colour by; the first one if None.

        Raises:
            UsageError: If there is no such label.
        """
        from olmoearth_nb.maps.label_report import report_layers

        frames = {code: self.where(code) for code in ("conflicts", "overlaps", "duplicates", "empty-tasks", "leakage")}
        windows = None if self.windows is None else self.windows.table
        return report_layers(self.facts.usable, frames, windows=windows, label=label, legend=self.legend)

    def map(self, *, label: str | None = None) -> MapView:
        """A live map of the labels and of what is wrong with them.

        Args:
            label: Which label to colour by; the first one if None.

        Raises:
            UsageError: If there is no such label.
            MissingDependencyError: If leafmap is not installed.
        """
        from olmoearth_nb.maps.preview import build_map

        return build_map(self.layers(label=label))

    def plot(self, *, label: str | None = None) -> Figure:
        """The same map as a matplotlib figure.

        Args:
            label: Which label to colour by; the first one if None.

        Raises:
            UsageError: If there is no such label.
        """
        from olmoearth_nb.maps.layers import arranged
        from olmoearth_nb.maps.twin import draw_layers

        return draw_layers(arranged(self.layers(label=label)), title=self._caption())

    def _caption(self) -> str:
        counts = [(sum(one.verdict == verdict for one in self.findings), verdict) for verdict in VERDICTS]
        made = "" if self.windows is None else " (windows as planned)" if self.windows.planned else ""
        return f"Labels of {self.project}: " + ", ".join(f"{n} {verdict}" for n, verdict in counts if n) + made

    def __repr__(self) -> str:
        # As a list: a table of sentences is wider than any terminal.
        lines = [self._caption()]
        for one in self.findings:
            text = " → ".join(part for part in (one.found, one.advice) if part)
            head = f"{one.verdict:<4}  {one.check}: "
            lines += textwrap.wrap(head + text, _WIDTH, subsequent_indent=" " * 6)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [(one.verdict, one.check, one.found, one.advice) for one in self.findings]
        return html_table(_COLUMNS, rows, caption=self._caption(), tints=_TINTS)


def make_label_report(runner: FineTuneLooks, *, now: datetime | None = None) -> LabelReport:
    """Checks the labels of a project; nothing is written, and no windows are needed.

    Args:
        runner: The runner.
        now: Today; times after it have no imagery yet.

    Raises:
        InputFileError: If an annotation file is missing or no GeoJSON.
        ConfigError: If ``olmoearth_run.yaml`` can't be read.
    """
    from olmoearth_nb.maps.labels import field_of

    project, problems = runner.project, list[str]()

    def attempt(call: Callable[[], T]) -> T | None:
        """A fault of one file should not hide those of others."""
        try:
            return call()
        except OlmoEarthError as error:
            problems.append(str(error))
            return None

    preparer = attempt(runner.components.window_preparer)
    prep = attempt(lambda: runner.scratch.window_prep)
    facts = read_facts(
        *project.annotation_paths,
        label_property=None if prep is None else prep.label_property,
        resolution=getattr(preparer, "window_resolution", 10.0),
    )
    windows = None
    if not problems and len(facts.annotations):
        windows = attempt(lambda: _windows(runner, facts))
    legend = attempt(lambda: project.legend)
    context = LabelContext(
        now=now or datetime.now(UTC),
        fields={str(name): field_of(legend, name=str(name)) for name in facts.values.columns},
        layers=attempt(lambda: _layers(project)) or {},
        requests=attempt(lambda: _requests(runner)) or {},
        nodata=getattr(preparer, "nodata_value", None),
        windows=windows,
        no_windows=problems[0] if problems and windows is None else "",
    )
    findings = tuple(sorted(check_labels(facts, context), key=lambda one: VERDICTS.index(one.verdict)))
    return LabelReport(project=project.name, findings=findings, facts=facts, windows=windows, legend=legend)


def _layers(project: Project) -> dict[str, LayerConfig]:
    """Those of ``dataset.json``, for which local folders are looked into: relative ones count from the project."""
    file = read_dataset(project.dataset_config_path)
    return replace(file, raw=file.with_absolute_paths(project.data_path)).layers


def _windows(runner: FineTuneLooks, facts: LabelFacts) -> SplitWindows:
    """The windows as they would be made, in the splits that the scratch has them in, if it has."""
    parts = runner.components
    planned = plan_windows(
        facts.usable.tasks, sampler=parts.sampler(), preparer=parts.window_preparer(), splitter=parts.data_splitter()
    )
    try:
        runner.scratch.require(StepName.PREPARE_LABELED_WINDOWS)
    except OlmoEarthError:
        return planned  # not prepared, or from other files
    key = runner.scratch.window_prep.split_property
    return planned.with_splits({window.name: window.options.get(key) for window in runner.scratch.windows()})


def _requests(runner: FineTuneLooks) -> dict[str, list[Any]]:
    return {
        name: [feature_shape(feature) for feature in read_request(path).features]
        for name, path in runner.project.requests.items()
    }
