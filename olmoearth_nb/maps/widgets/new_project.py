"""The form for a new project: labels in, a proposal with reasons, every choice editable, a button that writes."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
import traitlets
from matplotlib.figure import Figure

from olmoearth_nb.errors import UsageError
from olmoearth_nb.files import shown_path
from olmoearth_nb.geometry import shape_array
from olmoearth_nb.legend import RangeLegend
from olmoearth_nb.maps.canvas import Picture
from olmoearth_nb.maps.frame import one_side
from olmoearth_nb.maps.layers import Key, LayerKind, ShapeLayer
from olmoearth_nb.maps.live import LiveView, widget_library
from olmoearth_nb.maps.style import colors_for
from olmoearth_nb.maps.twin import draw_layers
from olmoearth_nb.maps.widgets.quiet import Quiet
from olmoearth_nb.newproject.choices import Task
from olmoearth_nb.newproject.classes import recolored
from olmoearth_nb.newproject.imagery import ENCODERS, SOURCES
from olmoearth_nb.newproject.proposal import Proposal, hex_of
from olmoearth_nb.newproject.propose import propose_project
from olmoearth_nb.newproject.reading import Labels
from olmoearth_nb.newproject.writing import NewProject, write_project

__all__ = ["ProjectForm", "new_project_form"]

_AUTO = "as fits the imagery"
_LABEL = "font-weight:600;margin:6px 0 0"
# Thousands of outlines say no more than some.
_MOST_DRAWN = 2000
_MOST_COLORS = 30


def _shares(text: str) -> tuple[float, ...]:
    return tuple(float(part) for part in text.replace(",", " ").split())


_CHOICES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "column": ("column of class or value", str),
    "label_name": ("name of the label", str),
    "start_time": ("time of all labels, from", str),
    "end_time": ("to", str),
    "window_size": ("window size (pixels)", int),
    "resolution": ("resolution (m)", float),
    "split": ("shares of train, val, test", _shares),
    "grid_size": ("cells of the split (pixels)", int),
    "epochs": ("epochs", int),
    "layer": ("layer of the file", str),
    "crs": ("CRS, if the file has none", str),
}
"""Choice -> what it is called, and how what is typed becomes it."""


def new_project_form(
    labels: Labels | None = None,
    *,
    directory: str | PathLike[str] = "my_project",
    task: str = Task.SEGMENTATION.value,
    source: str = "sentinel2",
    encoder: str | None = None,
    **choices: Any,
) -> ProjectForm:
    """A form for a new project from labels.

    Args:
        labels: A vector file, a table with lon and lat, or a frame; may be typed into the form.
        directory: Where the project shall be written.
        task: ``segmentation``, ``classification``, ``regression`` or ``per-pixel-regression``.
        source: ``sentinel2``, ``sentinel1``, ``landsat``, or ``local:`` and a glob of raster files.
        encoder: As :func:`olmoearth_nb.propose_project` has it; None for what fits the imagery.
        **choices: What shall be otherwise than proposed, as for :func:`olmoearth_nb.propose_project`.

    Raises:
        MissingDependencyError: If ipywidgets is not installed.

    Example:
        >>> form = new_project_form("fields.gpkg", source="local:imagery/*.tif")  # doctest: +SKIP
    """
    return ProjectForm(
        labels=labels, directory=str(directory), task=task, source=source, encoder=encoder, choices=choices
    )


class ProjectForm(LiveView):
    """Labels, task and imagery with what is proposed for them; the last expression of a cell shows it.

    Setting a trait, or typing into the form, proposes anew. Nothing is written until :meth:`write`.

    Args:
        **given: Traits.

    Attributes:
        labels: A file or a frame.
        directory: Where the project shall be written.
        task: What the model shall say.
        source: The imagery.
        encoder: Name of the encoder; None for what fits the imagery.
        choices: What shall be otherwise than proposed.
        proposal: What would be written; None if the labels can't be read or used, for the reason shown below.
        written: The project, once it is written.
    """

    labels = traitlets.Any(None, allow_none=True)
    directory = traitlets.Unicode()
    task = traitlets.Unicode()
    source = traitlets.Unicode()
    encoder = traitlets.Unicode(None, allow_none=True)
    choices = traitlets.Dict()
    proposal = traitlets.Any(None, allow_none=True)
    written = traitlets.Any(None, allow_none=True)

    def __init__(self, **given: Any) -> None:
        super().__init__()
        self._quiet = Quiet()
        for name, value in given.items():
            self.set_trait(name, value)
        with self.owning():
            self._compose()
        self.observe(self._on_set, ["labels", "directory", "task", "source", "encoder", "choices"])
        self._on_set(None)

    # ---- what is proposed ------------------------------------------------------------------------------------

    def propose(self) -> Proposal:
        """Proposes a project for what is set.

        Raises:
            InputFileError: If the labels or the imagery can't be read or used.
            UsageError: If there are no labels yet, or a choice makes no sense.
        """
        if self.labels is None or (isinstance(self.labels, str) and not self.labels):
            raise UsageError("There are no labels yet.", fix="Give a vector file, or a table with lon and lat.")
        self.proposal = None
        found = propose_project(
            self.labels,
            task=self.task,
            source=self.source,
            encoder=self.encoder,
            project_dir=self.directory,
            **self.choices,
        )
        self.proposal = found
        return found

    def write(self) -> NewProject:
        """Writes the project that is proposed.

        Raises:
            InputFileError: If the labels or the imagery can't be used.
            StorageError: If the folder can't be written.
            UsageError: If something is there already, or there are no labels.
        """
        if not self.directory.strip():
            raise UsageError("The project has no folder.", where="directory", fix="Name a new folder.")
        self.written = write_project(self.proposal or self.propose(), self.directory)
        return self.written

    def _on_set(self, change: Any) -> None:
        with self.guarded():
            try:
                if change is not None and change["name"] == "choices" and self._recolored(change):
                    return
                if self.labels is None:
                    self.proposal = None
                    self.say("Name a file of labels to begin.")
                else:
                    self.propose()
            finally:
                self._show()

    def _recolored(self, change: Any) -> bool:
        """Whether only colours were changed: then the labels need not be read again."""
        before, now = dict(change["old"] or {}), dict(change["new"])
        before.pop("colors", None)
        colors = now.pop("colors", None)
        if self.proposal is None or before != now or not colors:
            return False
        self.proposal = replace(self.proposal, classes=recolored(self.proposal.classes, colors))
        return True

    # ---- widgets ---------------------------------------------------------------------------------------------

    def _compose(self) -> None:
        widgets = widget_library()
        wide = {"layout": {"width": "auto"}}
        tasks = [task.value for task in Task]
        self._first = {
            "labels": widgets.Text(continuous_update=False, placeholder="fields.gpkg, plots.csv …", **wide),
            "task": widgets.Dropdown(options=tasks, **wide),
            "source": widgets.Combobox(options=list(SOURCES), continuous_update=False, **wide),
            "encoder": widgets.Dropdown(options=[_AUTO, *ENCODERS], **wide),
            "directory": widgets.Text(continuous_update=False, **wide),
        }
        self._others = {name: widgets.Text(continuous_update=False, **wide) for name in _CHOICES}
        self._colors = widgets.VBox()
        self._swatches: dict[str, Any] = {}
        self._painted: dict[str, Any] = {}
        self._button = widgets.Button(description="Write the project", button_style="primary", layout={"width": "auto"})
        called = {"labels": "file of labels", "source": "imagery", "directory": "folder of the project"}
        rows = [part for name, box in self._first.items() for part in (_label(called.get(name, name)), box)]
        more = [part for name, box in self._others.items() for part in (_label(_CHOICES[name][0]), box)]
        edits = widgets.Accordion([widgets.VBox(more), self._colors], titles=["other choices", "colours"])
        panel = widgets.VBox([*rows, edits, self._button], layout={"flex": "1 1 240px", "max_width": "320px"})
        self._table = widgets.HTML()
        self._map = widgets.Image(format="png", layout={"max_width": "100%"})
        side = widgets.VBox([self._table, self._map], layout={"flex": "1 1 440px", "min_width": "300px"})
        row = widgets.Box(
            [panel, side], layout={"flex_flow": "row wrap", "align_items": "flex-start", "grid_gap": "14px"}
        )
        self.root = widgets.VBox([row, self.message])
        for name, box in self._first.items():
            box.observe(self._setter(name), "value")
        for name, box in self._others.items():
            box.observe(self._chooser(name), "value")
        self._button.on_click(self._on_write)

    def _setter(self, name: str) -> Callable[[Any], None]:
        def changed(change: Any) -> None:
            if not self._quiet:
                value = change["new"]
                empty = value == _AUTO or (name == "labels" and not value.strip())
                self.set_trait(name, None if empty else value)

        return changed

    def _chooser(self, name: str) -> Callable[[Any], None]:
        called, read = _CHOICES[name]

        def changed(change: Any) -> None:
            if self._quiet:
                return
            text = change["new"].strip()
            with self.guarded():
                try:
                    value = read(text) if text else None
                except ValueError as error:
                    raise UsageError("No number.", where=called, expected="a number", found=repr(text)) from error
                self._choose(name, value)

        return changed

    def _choose(self, name: str, value: Any) -> None:
        rest = {key: one for key, one in self.choices.items() if key != name}
        self.choices = rest if value is None else rest | {name: value}

    def _on_write(self, _: object) -> None:
        with self.guarded():
            # The first check in a notebook imports rslearn's models, some seconds.
            self.say("Writing and checking …")
            made = self.write()
            wrong = "" if made.ok else " Its check finds something wrong: see form.written."
            self.say(f"Written to {shown_path(made.path)}.{wrong} Next: {made.next_steps()[0][0]}")

    def _show(self) -> None:
        """Shows the traits in the widgets."""
        with self._quiet:
            for name, box in self._first.items():
                value = getattr(self, name)
                shown = _AUTO if name == "encoder" and value is None else _text(value)
                # What is set in code and is no option is told by the error, not by the widget.
                if name not in ("task", "encoder") or shown in box.options:
                    box.value = shown
            for name, box in self._others.items():
                box.value = _text(self.choices.get(name))
            self._button.disabled = self.proposal is None
            self._table.value = "" if self.proposal is None else self.proposal._repr_html_()
            self._map.value = b"" if self.proposal is None else self.static()._repr_png_()  # type: ignore[attr-defined]
            self._show_colors()

    def _show_colors(self) -> None:
        classes = () if self.proposal is None else self.proposal.classes[:_MOST_COLORS]
        if [one.name for one in classes] != list(self._swatches):
            self.free(self._painted)
            with self.owning() as self._painted:
                self._swatches = {one.name: widget_library().ColorPicker(description=one.name) for one in classes}
                self._colors.children = list(self._swatches.values())
            for one in classes:
                self._swatches[one.name].observe(self._painter(one.name), "value")
        for one in classes:
            self._swatches[one.name].value = hex_of(one)

    def _painter(self, name: str) -> Callable[[Any], None]:
        def changed(change: Any) -> None:
            if not self._quiet:
                self._choose("colors", {**self.choices.get("colors", {}), name: change["new"]})

        return changed

    # ---- faces -----------------------------------------------------------------------------------------------

    def static(self) -> Figure:
        """The labels as they would be written, on a map; where there are many, some of them."""
        if self.proposal is None:
            figure = Picture(figsize=(6.0, 0.6), dpi=100)
            figure.text(0.02, 0.5, "Nothing is proposed yet.", fontsize=10, va="center")
            return figure
        return draw_layers([labels_layer(self.proposal)])

    def __repr__(self) -> str:
        if self.proposal is None:
            return f"ProjectForm: nothing is proposed yet for {self.directory!r}"
        state = f"written to {shown_path(self.written.path)}" if self.written else "not written"
        return f"{self.proposal!r}\n\nProjectForm: {state}"


def labels_layer(proposal: Proposal) -> ShapeLayer:
    """The labels of a proposal for a map, some of them where there are many.

    Args:
        proposal: The proposal.
    """
    frame = proposal.annotations
    rows = np.unique(np.linspace(0, len(frame) - 1, min(_MOST_DRAWN, len(frame))).round().astype(int))
    some, values = frame.iloc[rows], frame["value"].iloc[rows].tolist()
    if proposal.values is None:
        by_value = {one.value: one.color for one in proposal.classes}
        colors = [by_value[value] for value in values]
        key = Key(proposal.label_name, tuple((one.name, one.color) for one in proposal.classes[:_MOST_COLORS]))
    else:
        scale = RangeLegend(
            property_name=proposal.label_name,
            band_index=1,
            min_value=proposal.values.low,
            max_value=proposal.values.high,
            colormap=proposal.values.colormap,
        )
        colors, key = colors_for(values, scale), Key(proposal.label_name, scale=scale)
    return ShapeLayer(
        kind=LayerKind.LABELS,
        name=proposal.label_name,
        shapes=one_side(shape_array(list(some.geometry))),
        colors=colors,
        about=some[["value"]].reset_index(drop=True),
        fill=0.6,
        key=key,
    )


def _text(value: Any) -> str:
    match value:
        case None:
            return ""
        case tuple() | list():
            return ", ".join(f"{part:g}" for part in value)
        case str() | int() | float() | PathLike():
            return str(value)
        case _:
            return "(a table)"


def _label(text: str) -> Any:
    return widget_library().HTML(f'<div style="{_LABEL}">{html.escape(text)}</div>')
