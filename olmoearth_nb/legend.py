"""What the values of a project's outputs mean: classes with colours, and ranges with a colormap.

No map library here: colours are plain RGB integers, 0..255, and a colormap is a name.
``band_index`` counts from 1, as GDAL and rasterio do: the OlmoEarth Run schema says so and the published
configurations have 1 for the only band of their outputs.
"""

from __future__ import annotations

import functools
import html
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from olmoearth_nb.colors import RGB, ClassValue, fallback_colors
from olmoearth_nb.errors import UsageError
from olmoearth_nb.tables import html_table, text_table

__all__ = [
    "RGB",
    "ClassEntry",
    "ClassLegend",
    "ClassValue",
    "DetectionLegend",
    "Legend",
    "RangeLegend",
    "fallback_colors",
]


@dataclass(frozen=True)
class ClassEntry:
    """One class.

    Attributes:
        value: What the output holds.
        label: What people call it.
        color: RGB, each 0..255.
    """

    value: ClassValue
    label: str
    color: RGB


@dataclass(frozen=True)
class ClassLegend:
    """The classes of one band or property.

    Attributes:
        property_name: Property of the result's features, or the name of the band.
        band_index: Band of a raster result, counted from 1; None for vector results.
        entries: The classes, in the order of the configuration.
        confidence_property_name: Property with the confidence, if there is one.
        confidence_band_index: Band with the confidence, counted from 1, if there is one.

    Example:
        >>> legend = ClassLegend("segment", 1, (ClassEntry(1, "water", (0, 0, 255)),))
        >>> legend.label_of(1.0), legend.color_of(1), legend.label_of(7)
        ('water', (0, 0, 255), '7')
    """

    property_name: str
    band_index: int | None
    entries: tuple[ClassEntry, ...]
    confidence_property_name: str | None = None
    confidence_band_index: int | None = None

    def entry_of(self, value: object) -> ClassEntry | None:
        """The entry of a value, or None.

        A raster of floats holds 3.0 for class 3, and a property may hold ``"3"``: both mean class 3. Where no
        value fits, labels are looked at: classification of features writes the name of the class.

        Args:
            value: A number or a text, numpy's too.
        """
        return self._by_text.get(_as_text(value))

    def label_of(self, value: object) -> str:
        """The label of a value; the value itself as text where the legend has none.

        Args:
            value: A number or a text, numpy's too.
        """
        entry = self.entry_of(value)
        return entry.label if entry else _as_text(value)

    def color_of(self, value: object) -> RGB:
        """The colour of a value; one that the legend does not use where it has none.

        Args:
            value: A number or a text, numpy's too.
        """
        return self.colors_of([value])[_as_value(value)]

    def colors_of(self, values: Iterable[object]) -> dict[ClassValue, RGB]:
        """Colours of several values, distinct for those without an entry; see :func:`fallback_colors`.

        Args:
            values: Numbers or texts, numpy's too.
        """
        wanted = [_as_value(value) for value in values]
        unknown = [value for value in wanted if self.entry_of(value) is None]
        colors = fallback_colors(unknown, avoid=tuple(entry.color for entry in self.entries))
        for value in wanted:
            entry = self.entry_of(value)
            if entry is not None:
                colors[value] = entry.color
        return {value: colors[value] for value in wanted}

    def colormap(self) -> dict[int, tuple[int, int, int, int]]:
        """``{value: (red, green, blue, alpha)}`` of the integer classes, as rasterio and GDAL take it.

        Text that is an integer counts as one; other texts are left out.
        """
        values = ((_as_value(entry.value), entry.color) for entry in self.entries)
        return {value: (*color, 255) for value, color in values if isinstance(value, int)}

    @functools.cached_property
    def _by_text(self) -> Mapping[str, ClassEntry]:
        by_label = {entry.label: entry for entry in self.entries}
        return by_label | {_as_text(entry.value): entry for entry in self.entries}

    def __repr__(self) -> str:
        rows = [(entry.value, entry.label, entry.color) for entry in self.entries]
        return text_table(("value", "label", "color"), rows, caption=f"Classes of {self.property_name}")

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{_swatch(entry.color)}</td><td>{html.escape(str(entry.value))}</td>"
            f"<td>{html.escape(entry.label)}</td></tr>"
            for entry in self.entries
        )
        return f"<b>{html.escape(self.property_name)}</b><table>{rows}</table>"


@dataclass(frozen=True)
class RangeLegend:
    """The range of one band or property of measurements.

    Attributes:
        property_name: Property of the result's features, or the name of the band.
        band_index: Band of a raster result, counted from 1; None for vector results.
        min_value: Lower end, in the unit of the output.
        max_value: Upper end, above ``min_value``.
        colormap: Name of a matplotlib colormap, as written in the configuration.

    Example:
        >>> RangeLegend("value", 1, 0.0, 10.0, "gray").color_of(10)
        (255, 255, 255)
    """

    property_name: str
    band_index: int | None
    min_value: float
    max_value: float
    colormap: str = "viridis"

    @property
    def colormap_name(self) -> str:
        """The name in matplotlib's spelling; published configurations write ``rdylgn`` for ``RdYlGn``.

        Raises:
            UsageError: If matplotlib has no such colormap.
        """
        names = _colormap_names()
        name = names.get(self.colormap.lower())
        if name is None:
            raise UsageError(
                f"There is no colormap {self.colormap!r}.",
                where=f"legend of {self.property_name}",
                expected="a colormap of matplotlib, such as viridis or RdYlGn",
            )
        return name

    def colors_of(self, values: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Colours of measurements; values outside the range get those of its ends, NaN is transparent.

        Args:
            values: Array of any shape S.

        Returns:
            Array of shape (*S, 4): red, green, blue, alpha.

        Raises:
            UsageError: If matplotlib has no such colormap.
        """
        from matplotlib import colormaps

        array = np.asarray(values, dtype=np.float64)
        scaled = (array - self.min_value) / (self.max_value - self.min_value)
        rgba = colormaps[self.colormap_name](np.clip(scaled, 0, 1), bytes=True)
        return np.where(np.isnan(array)[..., np.newaxis], 0, rgba).astype(np.uint8)

    def color_of(self, value: float) -> RGB:
        """The colour of a measurement.

        Args:
            value: In the unit of the output; outside the range, the end's colour.

        Raises:
            UsageError: If matplotlib has no such colormap.
        """
        red, green, blue, _ = self.colors_of(value).tolist()
        return red, green, blue

    def _repr_html_(self) -> str:
        title = html.escape(f"{self.property_name}: {self.min_value:g} to {self.max_value:g} ({self.colormap})")
        if self.colormap.lower() not in _colormap_names():
            return f"<b>{title}</b>"
        steps = self.colors_of(np.linspace(self.min_value, self.max_value, 9))[:, :3].tolist()
        stops = ",".join(f"rgb({red},{green},{blue})" for red, green, blue in steps)
        return f'<b>{title}</b><div style="width:16em;height:1em;background:linear-gradient(90deg,{stops})"></div>'


@dataclass(frozen=True)
class DetectionLegend:
    """An object that the model detects.

    Attributes:
        name: What is detected.
        confidence_property_name: Property with the confidence, if there is one.
        confidence_band_index: Band with the confidence, counted from 1, if there is one.
    """

    name: str
    confidence_property_name: str | None = None
    confidence_band_index: int | None = None


@dataclass(frozen=True)
class Legend:
    """What the outputs of a project mean.

    Attributes:
        data_type: Whether results are rasters or features.
        classes: Bands or properties with classes.
        ranges: Bands or properties with measurements.
        detections: Objects that are detected.

    Example:
        >>> water = ClassLegend("segment", 1, (ClassEntry(1, "water", (0, 0, 255)),))
        >>> Legend("RASTER", classes=(water,)).classes_of_band(1).colormap()
        {1: (0, 0, 255, 255)}
    """

    data_type: Literal["RASTER", "VECTOR"]
    classes: tuple[ClassLegend, ...] = ()
    ranges: tuple[RangeLegend, ...] = ()
    detections: tuple[DetectionLegend, ...] = ()

    def classes_of_band(self, band_index: int) -> ClassLegend | None:
        """The classes of a band; those without a band index mean the first.

        Args:
            band_index: Counted from 1.
        """
        return next((legend for legend in self.classes if (legend.band_index or 1) == band_index), None)

    def range_of_band(self, band_index: int) -> RangeLegend | None:
        """The range of a band; one without a band index means the first.

        Args:
            band_index: Counted from 1.
        """
        return next((legend for legend in self.ranges if (legend.band_index or 1) == band_index), None)

    def of_property(self, name: str) -> ClassLegend | RangeLegend | None:
        """The classes or the range of a property of result features.

        Args:
            name: Name of the property.
        """
        return next((legend for legend in self._fields if legend.property_name == name), None)

    @property
    def _fields(self) -> list[ClassLegend | RangeLegend]:
        return [*self.classes, *self.ranges]

    def _repr_html_(self) -> str:
        shown = [legend._repr_html_() for legend in self._fields]
        if self.detections:
            rows = [(one.name, one.confidence_property_name or "") for one in self.detections]
            shown.append(html_table(("object", "confidence"), rows))
        return "<br>".join(shown) or "No legend."


@functools.cache
def _colormap_names() -> Mapping[str, str]:
    from matplotlib import colormaps

    return {name.lower(): name for name in colormaps}


def _as_value(value: object) -> ClassValue:
    text = _as_text(value)
    return int(text) if text.removeprefix("-").isdecimal() else text


def _as_text(value: object) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    return str(value)


def _swatch(color: RGB) -> str:
    red, green, blue = color
    return (
        f'<span style="display:inline-block;width:1em;height:1em;border:1px solid #888;'
        f'background:rgb({red},{green},{blue})"></span>'
    )
