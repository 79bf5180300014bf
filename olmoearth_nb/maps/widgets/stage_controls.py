"""Which stage, partition, window and postprocessor, with its arguments: the left side of the postprocessing view."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from olmoearth_nb.config import ArgumentInput
from olmoearth_nb.errors import OlmoEarthError
from olmoearth_nb.legend import Legend
from olmoearth_nb.maps.live import LiveView, widget_library
from olmoearth_nb.maps.widgets.arguments import ArgumentInputs
from olmoearth_nb.postprocess.trial import STAGES, Stage, StageChoice, StageTrial

__all__ = ["Bench", "StageControls"]

_MOST_OPTIONS = 500
_LABEL = "font:12px/1.5 sans-serif;color:var(--jp-ui-font-color2,#666);margin-top:4px"


class Bench(Protocol):
    """Where stages are tried, on copies."""

    @property
    def legend(self) -> Legend | None:
        """What the values of results mean."""

    def partitions(self) -> list[str]:
        """Ids of the partitions."""

    def windows(self, partition: str) -> list[str]:
        """Names of the windows of a partition that have a prediction."""

    def configured(self, stage: Stage) -> tuple[str, dict[str, Any]]:
        """Class and arguments that the project has for a stage."""

    def components(self, stage: Stage) -> list[str]:
        """Classes that a stage can have, that of the project first."""

    def inputs(self, component: str) -> Sequence[ArgumentInput]:
        """The arguments of a class."""

    def run(self, choice: StageChoice) -> StageTrial:
        """Runs a stage on a copy."""

    def settings(self, choice: StageChoice) -> str:
        """A choice as YAML for the project."""


class StageControls:
    """The inputs of a choice.

    Args:
        view: The view that they belong to; it owns them and shows errors.
        bench: What can be chosen.
        choose: Called with the part of the choice that somebody changed, by name.

    Attributes:
        root: The widget; what the view shows below the inputs can be put into its children.
        arguments: The inputs of the postprocessor.
    """

    def __init__(self, view: LiveView, bench: Bench, choose: Callable[..., None]) -> None:
        self._view, self._bench, self._choose = view, bench, choose
        self._quiet = False
        self._choice: StageChoice | None = None
        widgets, wide = widget_library(), {"width": "auto"}
        self.stages = widgets.ToggleButtons(options=list(STAGES), style={"button_width": "88px"})
        self.partitions = widgets.Dropdown(layout=wide)
        self.windows = widgets.Dropdown(layout=wide)
        self.components = widgets.Dropdown(layout=wide)
        self.arguments = ArgumentInputs(view, self._argument_changed)
        self.reset = widgets.Button(description="as configured", icon="undo", layout=wide)
        self._window_row = widgets.VBox([_label("window"), self.windows])
        rows = [self.stages, _label("partition"), self.partitions, self._window_row]
        rows += [_label("postprocessor"), self.components, self.arguments.root, self.reset]
        self.root = widgets.VBox(rows)
        named = {"stage": self.stages, "partition": self.partitions, "window": self.windows}
        for name, widget in {**named, "component": self.components}.items():
            widget.observe(self._listener(name), "value")
        self.reset.on_click(lambda _: self._as_configured())

    def show(self, choice: StageChoice) -> None:
        """Brings the inputs to a choice.

        Args:
            choice: The choice.
        """
        self._choice, self._quiet = choice, True
        try:
            self._show(choice)
        finally:
            self._quiet = False

    def _show(self, choice: StageChoice) -> None:
        bench = self._bench
        self.stages.value = choice.stage
        every = [("all", "")] if choice.stage == "dataset" else []
        _set_options(self.partitions, [*every, *((pid, pid) for pid in bench.partitions())], choice.partition)
        self._window_row.layout.display = None if choice.stage == "window" else "none"
        names = bench.windows(choice.partition) if choice.stage == "window" else []
        _set_options(self.windows, [(name, name) for name in names], choice.window)
        classes = dict.fromkeys((*bench.components(choice.stage), choice.component))
        _set_options(self.components, [(name.rpartition(".")[2], name) for name in classes], choice.component)
        self.arguments.show(choice.component, self._inputs_of(choice.component), choice.arguments)
        self.reset.disabled = (choice.component, dict(choice.arguments)) == bench.configured(choice.stage)

    def _inputs_of(self, component: str) -> Sequence[ArgumentInput]:
        """None of a class that can't be imported, which the attempt to run it says."""
        try:
            return self._bench.inputs(component)
        except OlmoEarthError:
            return ()

    def _listener(self, name: str) -> Callable[[Any], None]:
        def changed(change: Any) -> None:
            # Asked within: what another thread shows must not make a change of somebody's unheard.
            with self._view.guarded(anew=False):
                if not self._quiet and change["new"] is not None:
                    self._choose(**{name: change["new"]})

        return changed

    def _argument_changed(self, name: str, value: object) -> None:
        """What is the default needs not be said, unless the project says it."""
        if self._choice is None:
            return
        component = self._choice.component
        configured, known = self._bench.configured(self._choice.stage)
        default = {one.name: one.default for one in self._inputs_of(component)}.get(name)
        arguments = {key: given for key, given in self._choice.arguments.items() if key != name}
        if value != default or (configured == component and name in known):
            arguments[name] = value
        self._choose(arguments=arguments)

    def _as_configured(self) -> None:
        if self._choice is not None:
            component, arguments = self._bench.configured(self._choice.stage)
            self._choose(component=component, arguments=arguments)


def _set_options(widget: Any, options: Sequence[tuple[str, str]], value: str) -> None:
    """Sets the options of a dropdown, of very many the first ones, and which one is chosen."""
    shown = list(options[:_MOST_OPTIONS])
    if shown and value not in [one for _, one in shown]:
        shown.append((value, value))
    if tuple(widget.options) != tuple(shown):
        widget.options = shown
    if shown:
        widget.value = value


def _label(text: str) -> Any:
    return widget_library().HTML(f'<div style="{_LABEL}">{html.escape(text)}</div>')
