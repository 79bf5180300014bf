"""The postprocessing view: a stage before and after, what changed, and the same with other settings, on a copy."""

from __future__ import annotations

import contextlib
import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import geopandas as gpd
import pandas as pd
import traitlets
from matplotlib.figure import Figure

from olmoearth_nb.errors import MissingStepError, OlmoEarthError, UsageError
from olmoearth_nb.maps.live import LiveView, widget_library
from olmoearth_nb.maps.preview import build_map
from olmoearth_nb.maps.trial import TrialLayers, draw_trial, layers_of_trial
from olmoearth_nb.maps.widgets.stage_controls import Bench, StageControls
from olmoearth_nb.maps.widgets.trial_panels import changes_html, counts_html, files_html
from olmoearth_nb.postprocess.trial import STAGES, Stage, StageChoice, StageTrial

__all__ = ["PostprocessingView"]

_MAP_HEIGHT = 460


class PostprocessingView(LiveView):
    """A stage of postprocessing, with what it changes; another setting runs it again, on a copy.

    Setting a trait runs the stage; several are set at once by :meth:`choose`. What the postprocessor refuses is shown
    under the widget.

    Args:
        bench: Where stages are tried.
        stage: ``window``, ``partition`` or ``dataset``.
        partition: A partition; if None the first one, or all of them for ``dataset``.

    Attributes:
        stage: The stage.
        partition: The partition; for ``dataset`` one that is shown with its neighbours, or empty for all.
        window: Name of the window, for ``window``.
        component: Class of the postprocessor.
        arguments: Its ``init_args``.
        map: The map, a :class:`olmoearth_nb.maps.view.MapView`.

    Raises:
        MissingStepError: If what goes into the stage has not been made yet.
        UsageError: If there is no such stage or partition.
    """

    stage = traitlets.Unicode("partition")
    partition = traitlets.Unicode("")
    window = traitlets.Unicode("")
    component = traitlets.Unicode("")
    arguments = traitlets.Dict()

    def __init__(self, bench: Bench, *, stage: str = "partition", partition: str | None = None) -> None:
        super().__init__()
        self._bench = bench
        self._settling = False
        self._trial: StageTrial | None = None
        self._layers: TrialLayers | None = None
        self._failed: OlmoEarthError | None = None
        try:
            with self._settled():
                self.stage, self.partition = stage, partition or ""
                self._follow({"stage", "partition"})
            self._build(self._try())
        except BaseException:
            self.close()
            raise
        self._show(fit=False)

    # ---- what it is about ------------------------------------------------------------------------------------

    @property
    def trial(self) -> StageTrial:
        """All of what the last choice gave.

        Raises:
            OlmoEarthError: If it failed, for the same reason.
        """
        if self._failed is not None:
            raise self._failed
        if self._trial is None:
            raise UsageError("There is nothing to show: the view has been closed.")
        return self._trial

    @property
    def changes(self) -> gpd.GeoDataFrame:
        """What the stage changed, a row each."""
        return self.trial.changes.table

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of pixels or features, before and after, and of each kind of change."""
        return dict(self.trial.changes.counts)

    @property
    def files(self) -> pd.DataFrame:
        """Files before and after, with their sizes in bytes."""
        return self.trial.files

    def settings(self) -> str:
        """The choice as YAML, to paste into ``olmoearth_run.yaml``."""
        return self._bench.settings(self._choice)

    @property
    def _choice(self) -> StageChoice:
        stage: Stage = next(one for one in STAGES if one == self.stage)
        return StageChoice(
            stage=stage,
            partition=self.partition,
            window=self.window if stage == "window" else "",
            component=self.component,
            arguments=dict(self.arguments),
        )

    # ---- choosing --------------------------------------------------------------------------------------------

    def choose(
        self,
        *,
        stage: str | None = None,
        partition: str | None = None,
        window: str | None = None,
        component: str | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        """Sets several traits and runs the stage once; what is None stays, or follows from the others.

        Args:
            stage: The stage; component and arguments become those of the project.
            partition: The partition.
            window: The window.
            component: The postprocessor; arguments become its defaults.
            arguments: Its arguments.

        Raises:
            UsageError: If there is no such stage, partition or window.
        """
        given = {"stage": stage, "partition": partition, "window": window, "component": component}
        chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        if arguments is not None:
            chosen["arguments"] = dict(arguments)
        with self._settled():
            for name, value in chosen.items():
                setattr(self, name, value)
        self._changed_to(set(chosen))

    @traitlets.observe("stage", "partition", "window", "component", "arguments")
    def _changed(self, change: Any) -> None:
        with self.guarded(anew=False):
            if not self._settling:
                self._changed_to({change["name"]})

    def _changed_to(self, given: set[str]) -> None:
        before = self._trial.choice if self._trial is not None else None
        with self.guarded():
            try:
                with self._settled():
                    self._follow(given)
                if self._choice != before or self._failed is not None:
                    self._try()
            except OlmoEarthError as error:
                self._failed = error
                raise
            finally:
                self._show(fit=before is None or _place(before) != _place(self._choice))

    def _follow(self, given: set[str]) -> None:
        """Gives the other traits values that fit."""
        configured, arguments = self._bench.configured(self._choice.stage)
        if "stage" in given and "component" not in given:
            self.component = configured
        if given & {"stage", "component"} and "arguments" not in given:
            self.arguments = arguments if self.component == configured else {}
        if self.stage == "dataset":
            if "stage" in given and "partition" not in given:
                self.partition = ""
        elif not self.partition:
            ids = self._bench.partitions()
            self.partition = next((pid for pid in ids if self._bench.windows(pid)), ids[0])
        if self.stage == "window":
            names = self._bench.windows(self.partition)
            if not names:
                raise MissingStepError(
                    "No window of this partition has a prediction.",
                    where=self.partition,
                    fix="Call runner.run_inference() first.",
                )
            if self.window not in names:
                self.window = names[0]

    @contextlib.contextmanager
    def _settled(self) -> Iterator[None]:
        """Traits are set without a run for each."""
        before, self._settling = self._settling, True
        try:
            yield
        finally:
            self._settling = before

    @traitlets.validate("stage")
    def _known_stage(self, proposal: Any) -> str:
        return _one_of(proposal["value"], STAGES, "stage")

    @traitlets.validate("partition")
    def _known_partition(self, proposal: Any) -> str:
        return _one_of(proposal["value"], ["", *self._bench.partitions()], "partition")

    @traitlets.validate("window")
    def _known_window(self, proposal: Any) -> str:
        names = ["", *self._bench.windows(self.partition)] if self.partition else [""]
        return _one_of(proposal["value"], names, "window in this partition")

    # ---- trying ----------------------------------------------------------------------------------------------

    def _try(self) -> TrialLayers:
        self._failed = None
        trial = self._bench.run(self._choice)
        self._layers = layers = layers_of_trial(trial, self._bench.legend)
        if self._trial is not None:
            self._trial.close()
        self._trial = trial
        return layers

    # ---- widgets ---------------------------------------------------------------------------------------------

    def _build(self, layers: TrialLayers) -> None:
        widgets = widget_library()
        self.map = build_map(layers.all, height=_MAP_HEIGHT)
        with self.owning():
            self.controls = StageControls(self, self._bench, self.choose)
            self._numbers, self._table = widgets.HTML(), widgets.HTML()
            self._files, self._yaml = widgets.HTML(), widgets.HTML()
            side = {"flex": "1 1 280px", "min_width": "260px", "padding": "0 12px 0 0"}
            left = widgets.VBox([self.controls.root, self._numbers], layout=side)
            self.map.root.layout = widgets.Layout(flex="3 1 400px", min_width="300px")
            more = widgets.Accordion(
                children=[self._table, self._files, self._yaml],
                titles=("changes", "files", "for olmoearth_run.yaml"),
                selected_index=0,
            )
            layout = {"flex_flow": "row wrap", "align_items": "flex-start", "width": "100%"}
            sides = widgets.HBox([left, self.map.root], layout=layout)
            self.root = widgets.VBox([sides, self.message, more])

    def _show(self, *, fit: bool) -> None:
        """Brings all widgets to what was chosen and what it gave."""
        self.controls.show(self._choice)
        self._yaml.value = ""
        with contextlib.suppress(OlmoEarthError):  # what can't be written could not be tried either
            self._yaml.value = f"<pre>{html.escape(self.settings())}</pre>"
        if self._failed is not None or self._trial is None or self._layers is None:
            self._numbers.value = '<i style="color:#b00020">No result with these settings: see below.</i>'
            self._table.value = self._files.value = ""
            self.map.show([])
            return
        self.map.show(self._layers.all, fit=fit)
        self._numbers.value = counts_html(self._trial)
        self._table.value = changes_html(self._trial, self._bench.legend)
        self._files.value = files_html(self._trial)

    # ---- faces -----------------------------------------------------------------------------------------------

    def static(self) -> Figure:
        """Before, after and changes beside each other, as a matplotlib figure."""
        trial = self.trial
        return draw_trial(self._layers if self._layers is not None else layers_of_trial(trial, self._bench.legend))

    def close(self) -> None:
        """Removes this from the notebook, frees its widgets and the files that were made."""
        if hasattr(self, "map"):
            self.map.close()
        if self._trial is not None:
            self._trial.close()
            self._trial = None
        super().close()

    def __repr__(self) -> str:
        choice = self._choice
        place = choice.window or choice.partition or "all partitions"
        name = choice.component.rpartition(".")[2]
        said = ", ".join(f"{name} {count:,}" for name, count in self.counts.items() if count)
        return f"Postprocessing of {choice.stage} ({place}) by {name}: {said or 'nothing'}"


def _one_of(value: str, known: Sequence[str], what: str) -> str:
    if value not in known:
        shown = [repr(one) for one in known[:8]] + ["…"] * (len(known) > 8)
        raise UsageError(f"There is no such {what}.", expected=f"one of {', '.join(shown)}", found=repr(value))
    return value


def _place(choice: StageChoice) -> tuple[str, str]:
    return choice.partition, choice.window
