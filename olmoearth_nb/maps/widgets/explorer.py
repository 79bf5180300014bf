"""The partition explorer: how a request is split, on a map and in numbers, before anything is written."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import traitlets
from matplotlib.figure import Figure
from rasterio.crs import CRS
from rslearn.config import LayerConfig

from olmoearth_nb.border import foreign_code
from olmoearth_nb.config import PartitionStrategies, Project
from olmoearth_nb.config.choices import SIZED, StageChoice
from olmoearth_nb.config.dataset_json import read_dataset
from olmoearth_nb.config.strategies import STAGES, PartitionSettings, PartitionStage
from olmoearth_nb.errors import ConfigError, OlmoEarthError, UsageError
from olmoearth_nb.geojson import PredictionRequestCollection
from olmoearth_nb.maps.features import request_layer
from olmoearth_nb.maps.layers import Layer
from olmoearth_nb.maps.live import LiveView, widget_library
from olmoearth_nb.maps.planned import plan_layers
from olmoearth_nb.maps.preview import build_map
from olmoearth_nb.maps.twin import draw_layers
from olmoearth_nb.maps.widgets.changes import FileChange
from olmoearth_nb.maps.widgets.partition_inputs import StageInputs, costs_html
from olmoearth_nb.planning import Plan
from olmoearth_nb.planning.costs import PlanCosts, costs_of, doubts_about

__all__ = ["PartitionExplorer"]

# A value that follows sooner replaces the one before.
_PAUSE_SECONDS = 0.15
_MAP_HEIGHT = 560
# Of a partitioner that had no size before.
_FIRST_SIZE: dict[PartitionStage, float] = {"partition": 0.25, "window": 128.0}
_TRAITS: dict[PartitionStage, dict[str, str]] = {
    "partition": {
        "partitioner": "partition_class",
        "size": "partition_size",
        "overlap": "partition_overlap",
        "chunk": "partition_chunk",
    },
    "window": {
        "partitioner": "window_class",
        "size": "window_size",
        "overlap": "window_overlap",
        "use_utm": "use_utm",
        "crs": "crs",
        "resolution": "resolution",
    },
}
"""Value of a :class:`StageChoice` -> trait."""


class PartitionExplorer(LiveView):
    """Settings of both stages of partitioning with what they lead to; the last expression of a cell shows it.

    Setting a trait plans anew; ``explorer.plan`` and ``explorer.costs`` are always those of the settings. Nothing is
    written until :meth:`save`.

    Args:
        project: The project; its ``olmoearth_run.yaml`` says what to start from.
        request: What is planned for.
        make_plan: Plans as the runner does, with other strategies; refuses what is too much to look at.

    Attributes:
        partition_class: Partitioner of the request: a class of this package, or the one that is configured.
        partition_size: Of ``GridPartitioner``, in degrees.
        partition_overlap: The same.
        partition_chunk: Features to a partition, of ``ChunkPartitioner``.
        window_class: Partitioner that makes windows.
        window_size: Of ``GridPartitioner`` and ``FixedWindowPartitioner``, in pixels.
        window_overlap: Of ``GridPartitioner``, in pixels.
        use_utm: Whether windows are in the UTM zone of each place.
        crs: Else in this projection, ``EPSG:3857`` say.
        resolution: Size of a pixel in units of the projection, metres mostly.
        map: The map, see :class:`olmoearth_nb.maps.view.MapView`.

    Raises:
        ConfigError: If ``partition_strategies`` are missing or wrong.
        MissingDependencyError: If leafmap is not installed.
    """

    partition_class = traitlets.Unicode()
    partition_size = traitlets.Float()
    partition_overlap = traitlets.Float()
    partition_chunk = traitlets.Int(1)
    window_class = traitlets.Unicode()
    window_size = traitlets.Float()
    window_overlap = traitlets.Float()
    use_utm = traitlets.Bool()
    crs = traitlets.Unicode()
    resolution = traitlets.Float(1.0)

    def __init__(
        self,
        project: Project,
        request: PredictionRequestCollection,
        make_plan: Callable[[PartitionStrategies], Plan],
    ) -> None:
        super().__init__()
        self._project, self._request, self._make_plan = project, request, make_plan
        self._layers, self._unknown = _known_layers(project)
        self._timer: asyncio.TimerHandle | None = None
        self._loading = self._stale = False
        self._plan: Plan | None = None
        self._costs: PlanCosts | None = None
        self._problem: OlmoEarthError | None = None
        self._settings = PartitionSettings(project)
        self._load()
        layers = self._replan()
        with self.owning():
            self.map = build_map(layers, height=_MAP_HEIGHT)
            self._compose()
        self._show_settings()
        self._show_numbers()
        self.observe(self._on_setting, [name for names in _TRAITS.values() for name in names.values()])

    # ---- settings --------------------------------------------------------------------------------------------

    def _load(self) -> None:
        """Sets all traits to what is configured."""
        self._loading = True
        try:
            for stage, names in _TRAITS.items():
                for value, name in names.items():
                    self.set_trait(name, getattr(self._settings.configured[stage], value))
        finally:
            self._loading = False
        self._stale = True

    def reload(self) -> None:
        """Reads ``olmoearth_run.yaml`` again and goes back to what it says.

        Raises:
            ConfigError: If it is wrong.
        """
        self._settings = PartitionSettings(self._project)
        for stage, inputs in self._inputs.items():
            inputs.offer(self._settings.classes(stage))
        self._ask(None)
        self._load()
        self._show_settings()
        self._refresh()

    @property
    def choices(self) -> dict[PartitionStage, StageChoice]:
        """The settings of both stages."""
        configured = self._settings.configured
        return {
            stage: replace(configured[stage], **{value: getattr(self, name) for value, name in names.items()})
            for stage, names in _TRAITS.items()
        }

    @traitlets.validate("partition_class", "window_class")
    def _known_class(self, proposal: Any) -> str:
        name, value = proposal["trait"].name, str(proposal["value"])
        classes = self._settings.classes("partition" if name == "partition_class" else "window")
        if value not in classes:
            raise UsageError(f"There is no such {name}.", expected=f"one of {', '.join(classes)}", found=repr(value))
        return value

    @traitlets.validate("partition_size", "window_size", "partition_overlap", "window_overlap", "resolution")
    def _number(self, proposal: Any) -> float:
        name, value = proposal["trait"].name, proposal["value"]
        may_be_zero = name.endswith("overlap") or self._loading
        if not math.isfinite(value) or value < 0 or (value == 0 and not may_be_zero):
            raise UsageError(
                f"{name} can't be this.",
                expected="a number of at least 0" if may_be_zero else "a number above 0",
                found=f"{value:g}",
            )
        return float(value)

    @traitlets.validate("partition_chunk")
    def _count(self, proposal: Any) -> int:
        if proposal["value"] < 1:
            raise UsageError("partition_chunk can't be this.", expected="at least 1", found=str(proposal["value"]))
        return int(proposal["value"])

    @traitlets.validate("crs")
    def _known_crs(self, proposal: Any) -> str:
        with foreign_code(UsageError, f"{proposal['value']!r} is no CRS", fix="Give a code such as EPSG:32617."):
            CRS.from_user_input(proposal["value"])
        return str(proposal["value"])

    def _on_setting(self, _: Any) -> None:
        if self._loading:
            return
        for stage in STAGES:
            if getattr(self, f"{stage}_class") in SIZED and not getattr(self, f"{stage}_size"):
                self.set_trait(f"{stage}_size", _FIRST_SIZE[stage])
        with self.guarded(anew=False):
            self._show_settings()
            self._ask(None)
            self._stale = True
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                self._refresh()
                return
            if self._timer is not None:
                self._timer.cancel()
            self._timer = loop.call_later(_PAUSE_SECONDS, self._refresh)

    # ---- what they lead to -----------------------------------------------------------------------------------

    @property
    def plan(self) -> Plan:
        """The plan of the settings.

        Raises:
            OlmoEarthError: If they lead to none; says why.
        """
        self._refresh()
        if self._plan is None:
            raise self._problem or UsageError("There is no plan.")
        return self._plan

    @property
    def costs(self) -> PlanCosts:
        """What the plan costs.

        Raises:
            OlmoEarthError: If the settings lead to no plan.
        """
        planned = self.plan
        if self._costs is None:
            self._costs = costs_of(planned, self._request, self._layers)
        return self._costs

    @property
    def doubts(self) -> tuple[str, ...]:
        """What is odd about the settings, one sentence each.

        Raises:
            OlmoEarthError: If they lead to no plan.
        """
        return doubts_about(self.costs)

    def _refresh(self) -> None:
        """Plans and shows the plan, if the settings have changed since."""
        # Also the wait for a thread that is at it: the plan is there afterwards.
        with self.guarded(anew=False):
            if self._stale:
                self.map.show(self._replan())
                self._show_numbers()

    def _replan(self) -> list[Layer]:
        """Plans; gives the layers that show the plan, or the request alone if there is none."""
        if self._timer is not None:
            self._timer.cancel()
        self._stale, self._timer = False, None
        self._plan, self._costs, self._problem = None, None, None
        with self.guarded():
            try:
                self._plan = self._make_plan(self._settings.strategies(self.choices))
                return plan_layers(self._plan, self._request)
            except OlmoEarthError as error:
                self._problem = error
                raise
        return [request_layer(self._request)]

    # ---- saving ----------------------------------------------------------------------------------------------

    def change(self) -> FileChange:
        """What :meth:`save` would change in ``olmoearth_run.yaml``.

        Raises:
            ConfigError: If the file is written in a way that can't be changed at one place only.
        """
        return FileChange(self._settings.file.path.name, self._settings.diff(self.choices))

    def save(self) -> FileChange:
        """Writes the settings into ``olmoearth_run.yaml``; the version before is kept beside it as ``.bak``.

        Only what differs is changed: comments, order and quotes stay.

        Returns:
            What was changed.

        Raises:
            UsageError: If the file has changed since it was read.
            OlmoEarthError: If the settings lead to no plan.
        """
        _ = self.plan
        done = self.change()
        self._settings.write(self.choices)
        self._settings = PartitionSettings(self._project)
        self._ask(None)
        return done

    # ---- widgets ---------------------------------------------------------------------------------------------

    def _compose(self) -> None:
        widgets = widget_library()
        self._inputs = {
            stage: StageInputs(stage, self._settings.classes(stage), self._setter(stage)) for stage in STAGES
        }
        self._numbers = widgets.HTML()
        self._diff = widgets.HTML()
        self._write = widgets.Button(layout={"width": "auto"})
        self._cancel = widgets.Button(description="Cancel", layout={"width": "auto"})
        self._write.on_click(self._on_write)
        self._cancel.on_click(lambda _: self._ask(None))
        panel = widgets.VBox(
            [*(one.root for one in self._inputs.values()), self._numbers, widgets.HBox([self._write, self._cancel])],
            layout={"flex": "1 1 330px", "max_width": "420px"},
        )
        self.map.root.layout = {"flex": "1 1 440px", "min_width": "300px"}
        row = widgets.Box(
            [self.map.root, panel], layout={"flex_flow": "row wrap", "align_items": "flex-start", "grid_gap": "14px"}
        )
        self.root = widgets.VBox([row, self._diff, self.message])
        self._ask(None)

    def _setter(self, stage: PartitionStage) -> Callable[[str, object], None]:
        def changed(value: str, new: object) -> None:
            with self.guarded():
                try:
                    self.set_trait(_TRAITS[stage][value], new)
                finally:
                    self._show_settings()

        return changed

    def _show_settings(self) -> None:
        for stage, choice in self.choices.items():
            own = self._settings.own_class(stage)
            is_own = own is not None and choice.partitioner == self._settings.configured[stage].partitioner
            self._inputs[stage].show(choice, own=own if is_own else None)

    def _show_numbers(self) -> None:
        self._numbers.value = costs_html(None if self._plan is None else self.costs, self._unknown)

    def _ask(self, change: FileChange | None) -> None:
        """Shows a change and asks whether to make it; with None, what was asked is forgotten."""
        self._asked = change is not None
        self._diff.value = change._repr_html_() if change is not None else ""
        self._write.description = "Write this change" if change else f"Write to {self._settings.file.path.name} …"
        self._write.button_style = "warning" if change else ""
        self._cancel.layout.display = "flex" if change else "none"

    def _on_write(self, _: object) -> None:
        with self.guarded():
            if self._asked:
                self.save()
                self.say(f"Written to {self._settings.file.path.name}; the version before is beside it, as .bak.")
                return
            _ = self.plan
            change = self.change()
            if change:
                self._ask(change)
            else:
                self.say(repr(change))

    # ---- faces -----------------------------------------------------------------------------------------------

    def static(self) -> Figure:
        """The map as a matplotlib figure, with the main numbers above it."""
        self._refresh()
        return draw_layers(self.map.layers, title=self._title())

    def _title(self) -> str:
        if self._plan is None:
            return "no plan"
        costs = self.costs
        return f"{costs.partitions:,} partitions, {costs.windows:,} windows, {costs.pixels:,} pixels"

    def close(self) -> None:
        """Removes this from the notebook and frees its widgets."""
        if self._timer is not None:
            self._timer.cancel()
        self.map.close()
        super().close()

    def __repr__(self) -> str:
        return f"PartitionExplorer of {self._project.name}: {self._title()}"


def _known_layers(project: Project) -> tuple[Mapping[str, LayerConfig] | None, str]:
    """Layers of dataset.json, and why they are not known if they are not."""
    try:
        return read_dataset(project.dataset_config_path).layers, ""
    except ConfigError as error:
        return None, error.what
