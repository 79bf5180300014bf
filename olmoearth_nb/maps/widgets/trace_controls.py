"""Which stage of a trace, and what of it: the row above an explorer's pictures."""

from __future__ import annotations

from typing import Any

from olmoearth_nb.maps.live import LiveView, widget_library
from olmoearth_nb.maps.traced_features import channels_of
from olmoearth_nb.maps.traced_inputs import band_names, dates_of
from olmoearth_nb.maps.traced_stops import Stop, stops_of
from olmoearth_nb.traces.data import TraceData

__all__ = ["TraceControls"]

_MOST_CHANNELS = 2048


class TraceControls:
    """The inputs; each sets a trait of the explorer, and follows it.

    Args:
        view: The explorer, with ``stage``, ``task``, ``bands``, ``time_step``, ``channel`` and ``stop``.
        data: The trace.

    Attributes:
        root: The widget.
    """

    def __init__(self, view: LiveView, data: TraceData) -> None:
        self._view: Any = view
        self._data, self._quiet = data, False
        widgets = widget_library()

        def dropdown(name: str, width: str) -> Any:
            made = widgets.Dropdown(
                description=name, style={"description_width": "initial"}, layout={"width": "auto", "max_width": width}
            )
            made.observe(self._set, "value")
            return made

        self.stages, self.tasks = dropdown("stage", "300px"), dropdown("task", "220px")
        self.bands, self.steps, self.channels = (
            dropdown("bands", "220px"),
            dropdown("date", "180px"),
            dropdown("channel", "200px"),
        )
        self._named = {
            "stage": self.stages,
            "task": self.tasks,
            "bands": self.bands,
            "time_step": self.steps,
            "channel": self.channels,
        }
        self.root = widgets.HBox(list(self._named.values()), layout={"flex_flow": "row wrap"})

    def show(self) -> None:
        """Brings the inputs to the explorer's traits."""
        stop: Stop = self._view.stop
        self._quiet = True
        try:
            stops = stops_of(self._data, self._view.task or None)
            self._fill("stage", [(one.title, one.key) for one in stops], stop.key, fewest=1)
            self._fill("task", [(name, name) for name in self._data.outputs], self._view.task)
            bands, steps = self._bands(stop), self._steps(stop)
            usual = "each band" if stop.kind == "transform" else "natural colours"
            if not isinstance(self._view.bands, str | None):
                bands = [*bands, (", ".join(self._view.bands), self._view.bands)]
            self._fill("bands", [(usual, None), *bands], self._view.bands)
            self._fill("time_step", [("the usual", None), *steps], self._view.time_step, fewest=3)
            channels = self._channels(stop)
            self._fill(
                "channel", [("3 components", None), *((str(at), at) for at in range(channels))], self._view.channel
            )
        finally:
            self._quiet = False

    def _fill(self, name: str, options: list[tuple[str, Any]], value: Any, *, fewest: int = 2) -> None:
        box = self._named[name]
        if list(box.options) != options:
            box.options = options
        box.value = value
        box.layout.display = None if len(options) >= fewest else "none"

    def _set(self, change: Any) -> None:
        if self._quiet:
            return
        name = next(name for name, box in self._named.items() if box is change["owner"])
        with self._view.guarded():
            setattr(self._view, name, change["new"])

    def _arrays(self, stop: Stop) -> list[Any]:
        if stop.kind == "transform":
            arrays = list(self._data.stage(stop.name).inputs.values())
        elif stop.kind in ("inputs", "layer"):
            wanted = [stop.name] if stop.kind == "layer" else list(self._data.layers)
            layers = [self._data.layers[name] for name in wanted]
            arrays = [one.data for one in layers if one.data is not None and one.role != "label"]
        else:
            return []
        return [
            one for one in arrays if one.dims == ("time", "band", "y", "x") and one.size and one.shape[-2:] != (1, 1)
        ]

    def _bands(self, stop: Stop) -> list[tuple[str, Any]]:
        names = dict.fromkeys(name for array in self._arrays(stop) for name in band_names(array))
        return [(name, name) for name in names] if len(names) > 1 else []

    def _steps(self, stop: Stop) -> list[tuple[str, Any]]:
        arrays = self._arrays(stop)
        if not arrays:
            return []
        # Of several inputs, those that all have.
        dates = dates_of(min(arrays, key=lambda array: int(array.sizes["time"])))
        return [(f"{at}: {date}" if date else str(at), at) for at, date in enumerate(dates)]

    def _channels(self, stop: Stop) -> int:
        return min(channels_of(self._data.features[stop.name]), _MOST_CHANNELS) if stop.kind == "features" else 0
