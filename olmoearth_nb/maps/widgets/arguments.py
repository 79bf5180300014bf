"""Inputs for the arguments of a component: numbers, choices, boxes to tick, else YAML."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import yaml

from olmoearth_nb.config import ArgumentInput
from olmoearth_nb.errors import UsageError
from olmoearth_nb.maps.live import LiveView, widget_library

__all__ = ["ArgumentInputs"]

_LABEL = "font:12px/1.4 sans-serif;color:var(--jp-ui-font-color2,#666)"


class ArgumentInputs:
    """A column of inputs; made anew for another component.

    Args:
        view: The view that they belong to; it frees them and shows errors.
        changed: Called with the name and the value of an argument that somebody changed.

    Attributes:
        root: The widget.
        widgets: Argument -> its input.
    """

    def __init__(self, view: LiveView, changed: Callable[[str, object], None]) -> None:
        self._view, self._changed = view, changed
        self.root = widget_library().VBox()
        self.widgets: dict[str, Any] = {}
        self._inputs: tuple[ArgumentInput, ...] = ()
        self._made: Mapping[str, Any] = {}
        self._component: str | None = None
        self._quiet = False

    def show(self, component: str, inputs: Sequence[ArgumentInput], arguments: Mapping[str, Any]) -> None:
        """Shows the arguments of a component.

        Args:
            component: Its class.
            inputs: Its arguments.
            arguments: Those that have a value other than their default.
        """
        if component != self._component:
            before, self._component, self._inputs = self._made, component, tuple(inputs)
            with self._view.owning() as self._made:
                self.widgets = {one.name: _input(one) for one in self._inputs}
                rows = [row for one in self._inputs for row in self._rows(one)]
                self.root.children = rows
            self._view.free(before)
            for one in self._inputs:
                self.widgets[one.name].observe(self._listener(one), "value")
        self._quiet = True
        try:
            for one in self._inputs:
                _put(self.widgets[one.name], one, arguments.get(one.name, one.default))
        finally:
            self._quiet = False

    def _rows(self, one: ArgumentInput) -> list[Any]:
        widget = self.widgets[one.name]
        if one.kind == "flag":
            return [widget]
        return [widget_library().HTML(f'<div style="{_LABEL}">{html.escape(one.name)}</div>'), widget]

    def _listener(self, one: ArgumentInput) -> Callable[[Any], None]:
        def changed(change: Any) -> None:
            # Asked within: what another thread shows must not make a change of somebody's unheard.
            with self._view.guarded(anew=False):
                if not self._quiet:
                    self._changed(one.name, _value(change["new"], one))

        return changed


def _input(one: ArgumentInput) -> Any:
    widgets, wide = widget_library(), {"width": "auto"}
    match one.kind:
        case "flag":
            return widgets.Checkbox(description=one.name, indent=False, layout=wide)
        case "choice":
            return widgets.Dropdown(options=[(str(choice), choice) for choice in one.choices], layout=wide)
        case "whole":
            return widgets.IntText(continuous_update=False, layout=wide)
        case "number":
            return widgets.FloatText(continuous_update=False, layout=wide)
        case _:
            return widgets.Text(continuous_update=False, layout=wide, placeholder="YAML, none if empty")


def _put(widget: Any, one: ArgumentInput, value: Any) -> None:
    if one.kind == "yaml":
        widget.value = "" if value is None else _as_yaml(value)
    elif one.kind == "flag":
        widget.value = bool(value)
    elif one.kind == "choice":
        widget.value = value if value in one.choices else one.choices[0]
    elif isinstance(value, int | float):
        widget.value = value  # what is no number, code has set; the error says so


def _as_yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    return text.removesuffix("\n").removesuffix("\n...")


def _value(raw: Any, one: ArgumentInput) -> object:
    if one.kind == "number":
        return int(raw) if float(raw).is_integer() else float(raw)
    if one.kind != "yaml":
        return raw
    try:
        return yaml.safe_load(raw)
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise UsageError("The text is no YAML.", where=one.name, found=repr(raw), fix=f"{problem}.") from error
