"""Colours of what a model says, by the project's legend."""

from __future__ import annotations

import numpy as np

from olmoearth_nb.colors import RGB
from olmoearth_nb.legend import ClassLegend, Legend, RangeLegend
from olmoearth_nb.maps.style import Coloring, coloring_of
from olmoearth_nb.maps.traced_panels import Array, numbers, spread
from olmoearth_nb.maps.what_if import output_legend
from olmoearth_nb.traces.data import TraceData, TraceOutput, TraceWritten

__all__ = ["TraceColors"]


class TraceColors:
    """What has which colour in the pictures of a trace.

    Args:
        data: The trace.
        legend: The project's legend; colours of our own without one.
    """

    def __init__(self, data: TraceData, legend: Legend | None) -> None:
        self._data, self._legend = data, legend
        # Asked for whenever the cursor moves.
        self._classes: dict[str, ClassLegend] = {}

    def classes(self, output: TraceOutput) -> ClassLegend:
        """Classes of a task by their index.

        Args:
            output: What the model says.
        """
        if output.task not in self._classes:
            self._classes[output.task] = output_legend(output, self._legend)
        return self._classes[output.task]

    def class_colors(self, output: TraceOutput) -> tuple[RGB, ...]:
        """One for each class.

        Args:
            output: What the model says.
        """
        return tuple(entry.color for entry in self.classes(output).entries)

    def values(self, output: TraceOutput) -> Coloring:
        """Colours of a task's measurements, the same for what is said and what is true.

        Args:
            output: What the model says.
        """
        ranges = self._legend.ranges if self._legend is not None else ()
        named = next((one for one in ranges if one.property_name == output.task), None)
        if named is not None or len(ranges) == 1:
            return named or ranges[0]
        both = [numbers(one).ravel() for one in (output.values, output.label) if one is not None]
        return spread(np.concatenate(both) if both else np.empty(0), output.task, percentiles=(1, 99))

    def prediction(self, output: TraceOutput) -> Coloring:
        """Colours of classes that are said or true somewhere, with their shares in what is said.

        Args:
            output: What the model says.
        """
        if output.prediction is None:
            return self.values(output)
        return coloring_of(numbers(output.prediction), self.classes(output))

    def label(self, output: TraceOutput) -> Coloring:
        """The same of the label.

        Args:
            output: Of a task that has one.
        """
        if output.label is None or not output.classes:
            return self.values(output)
        return coloring_of(numbers(output.label), self.classes(output))

    @property
    def label_field(self) -> ClassLegend | RangeLegend | None:
        """What values of a label layer mean; None where the project has several fields, or none."""
        if self._legend is None:
            return None
        fields: tuple[ClassLegend | RangeLegend, ...] = (*self._legend.classes, *self._legend.ranges)
        return fields[0] if len(fields) == 1 else None

    def of_target(self, name: str, values: Array) -> Coloring:
        """Colours of what a task makes of a label.

        Args:
            name: Keys joined by ``/``.
            values: (H, W).
        """
        parts = name.split("/")
        output = next((one for task, one in self._data.outputs.items() if task in parts), None)
        if output is None and len(self._data.outputs) == 1:
            output = next(iter(self._data.outputs.values()))
        whole = bool(np.all(np.mod(values[np.isfinite(values)], 1) == 0))
        if output is None or parts[-1] != "classes" or not whole:
            return spread(values, name)
        return coloring_of(values, self.classes(output))

    def written(self, written: TraceWritten, band: int, values: Array) -> Coloring:
        """Colours of what is written.

        Args:
            written: What is written.
            band: Counted from 0.
            values: (H, W), NaN for nodata.
        """
        if self._legend is not None:
            known = self._legend.classes_of_band(band + 1) or self._legend.range_of_band(band + 1)
            if known is not None:
                return coloring_of(values, known)
        output = self._data.outputs.get(written.task)
        if band == 0 and output is not None and output.classes and output.prediction is not None:
            return coloring_of(values, self.classes(output))
        return coloring_of(values, None)
