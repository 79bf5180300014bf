"""All that is known of one window: its images, label, prediction, confidence, and where label and prediction differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import rasterio.features
import shapely
from rslearn.config import LayerType
from rslearn.dataset import Dataset, Window

from olmoearth_nb.colors import RGB, ClassValue
from olmoearth_nb.legend import ClassLegend, DetectionLegend, RangeLegend
from olmoearth_nb.maps.imagery import ImageryView, read_bands
from olmoearth_nb.maps.labels import LabelView, WindowLabels, field_of, read_labels
from olmoearth_nb.maps.series import Series, read_series
from olmoearth_nb.maps.style import ClassColors, Coloring, category_name, class_value, coloring_of
from olmoearth_nb.store.dataset import imagery_layers

__all__ = ["Difference", "SharesRow", "ValueLayer", "WindowDetail", "read_detail", "read_values"]

Plane = npt.NDArray[np.float32]


@dataclass(frozen=True)
class ValueLayer:
    """The label or the prediction of a window.

    Attributes:
        layer: Name of the layer.
        found: Its values.
        field: What the project says of them, if anything.
    """

    layer: str
    found: WindowLabels
    field: ClassLegend | RangeLegend | None

    @property
    def title(self) -> str:
        """Layer, and band or property."""
        return self.layer if self.found.name == self.layer else f"{self.layer}: {self.found.name}"


@dataclass(frozen=True)
class Difference:
    """Where label and prediction differ.

    Attributes:
        values: Shape (H, W), NaN where one of them is missing. Of classes, 1 where they differ and 0 where not; of
            measurements, prediction less label.
        of_classes: Whether they are classes.
    """

    values: Plane
    of_classes: bool

    @property
    def summary(self) -> str:
        """One line: the share of pixels that agree, or the mean error."""
        there = self.values[np.isfinite(self.values)]
        pixels = f"{there.size:,} pixel{'s' * (there.size != 1)}"
        if self.of_classes:
            return f"{1 - there.mean():.0%} of {pixels} agree"
        return f"mean {there.mean():+.3g}, mean size {np.abs(there).mean():.3g}"


@dataclass(frozen=True)
class SharesRow:
    """A class of a window.

    Attributes:
        label: Its name.
        color: Its colour.
        shares: Part of the label and of the prediction that it has, 0..1, for each of them that is there.
    """

    label: str
    color: RGB
    shares: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class WindowDetail:
    """What is known of a window.

    Attributes:
        window: The window.
        series: Its layers of imagery.
        label: Its label, if it has one.
        prediction: Its prediction, if it has one.
        confidence: Of the prediction; NaN where there is none.
    """

    window: Window
    series: tuple[Series, ...] = ()
    label: ValueLayer | None = None
    prediction: ValueLayer | None = None
    confidence: WindowLabels | None = None

    @property
    def values(self) -> list[ValueLayer]:
        """Label and prediction, as far as they are there."""
        return [one for one in (self.label, self.prediction) if one is not None]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show yet."""
        return not self.series and not self.values

    @cached_property
    def colorings(self) -> list[Coloring]:
        """The colours of label and prediction: the same for both where they mean the same."""
        if self._comparable:
            together = [value for one in self.values for value in one.found.all_values]
            return [coloring_of(together, self.values[0].field)] * 2
        return [coloring_of(one.found.all_values, one.field) for one in self.values]

    @property
    def _comparable(self) -> bool:
        return len(self.values) == 2 and self.values[0].field == self.values[1].field

    @cached_property
    def difference(self) -> Difference | None:
        """Where label and prediction differ, or None if they have no place in common."""
        if not self._comparable:
            return None
        coloring = self.colorings[0]
        label, prediction = (_as_plane(one.found, self.window, coloring) for one in self.values)
        if label is None or prediction is None or not np.isfinite(label + prediction).any():
            return None
        if not isinstance(coloring, ClassColors):
            return Difference(prediction - label, of_classes=False)
        both = np.isfinite(label + prediction)
        return Difference(np.where(both, label != prediction, np.nan).astype(np.float32), of_classes=True)

    @cached_property
    def shares(self) -> list[SharesRow]:
        """The classes of label and prediction in the order of the legend; none for measurements."""
        rows: dict[tuple[str, RGB], list[float]] = {}
        for place, (one, coloring) in enumerate(zip(self.values, self.colorings, strict=True)):
            if isinstance(coloring, ClassColors):
                for value, share in _shares(one.found).items():
                    key = (coloring.labels[value], coloring.colors[value])
                    rows.setdefault(key, [0.0] * len(self.values))[place] = share
        order = {key: place for place, key in enumerate(_keys_in_order(self.colorings))}
        return [
            SharesRow(label, color, tuple(shares))
            for (label, color), shares in sorted(rows.items(), key=lambda item: order[item[0]])
        ]

    @property
    def majority(self) -> str | None:
        """The class that most of the label has, or of the prediction if there is no label; None for measurements."""
        if not self.values or not isinstance(self.colorings[0], ClassColors):
            return None
        shares = _shares(self.values[0].found)
        order = list(self.colorings[0].colors)
        best = max(shares, key=lambda value: (shares[value], -order.index(value)), default=None)
        return None if best is None else self.colorings[0].labels[best]


def _shares(found: WindowLabels) -> dict[ClassValue, float]:
    if found.pixels is not None:
        values, numbers = np.unique(found.pixels[np.isfinite(found.pixels)], return_counts=True)
        counts = Counter(dict(zip(map(class_value, values.tolist()), numbers.tolist(), strict=True)))
    else:
        counts = Counter(class_value(value) for value in found.values if category_name(value) != "none")
    return {value: count / counts.total() for value, count in counts.items()}


def _keys_in_order(colorings: Sequence[Coloring]) -> list[tuple[str, RGB]]:
    found = [
        (one.labels[value], color)
        for one in colorings
        if isinstance(one, ClassColors)
        for value, color in one.colors.items()
    ]
    return list(dict.fromkeys(found))


def _as_plane(found: WindowLabels, window: Window, coloring: Coloring) -> Plane | None:
    """Values of pixels, shapes burnt in; classes that are text become numbers. None if there is nothing."""
    codes = _codes(coloring)
    if found.pixels is not None:
        if codes is None:
            return found.pixels
        out = np.full(found.pixels.shape, np.nan, dtype=np.float32)
        for value, code in codes.items():
            if isinstance(value, int):
                out[found.pixels == value] = code
        return out
    numbers = [_number(value, codes) for value in found.values]
    pairs = [(shape, number) for shape, number in zip(found.shapes, numbers, strict=True) if not np.isnan(number)]
    pairs = [(shape, number) for shape, number in pairs if not shapely.is_empty(shape)]
    if not pairs:
        return None
    x0, y0, x1, y1 = window.bounds
    burnt: Plane = rasterio.features.rasterize(
        pairs,
        out_shape=(y1 - y0, x1 - x0),
        transform=rasterio.Affine(1, 0, x0, 0, 1, y0),
        fill=np.nan,
        dtype="float32",
    )
    return burnt


def _codes(coloring: Coloring) -> dict[ClassValue, float] | None:
    """A number for each class; the name of a class and its value are the same one."""
    if not isinstance(coloring, ClassColors):
        return None
    labels = list(dict.fromkeys(coloring.labels.values()))
    return {value: float(labels.index(label)) for value, label in coloring.labels.items()}


def _number(value: object, codes: dict[ClassValue, float] | None) -> float:
    if category_name(value) == "none":
        return float("nan")
    if codes is not None:
        return codes.get(class_value(value), float("nan"))
    return float(value) if isinstance(value, int | float) else float("nan")


def read_detail(
    dataset: Dataset,
    window: Window,
    *,
    labels: LabelView | None = None,
    prediction: LabelView | None = None,
    view: ImageryView | None = None,
) -> WindowDetail:
    """Reads what is there of a window.

    Args:
        dataset: The dataset of the window.
        window: The window.
        labels: Which labels; none if None.
        prediction: Which prediction; none if None.
        view: Which imagery, and how; if None, each layer of imagery in its natural colours.

    Raises:
        UsageError: If there is no such layer or band.
        StorageError: If something can't be read.
    """
    rasters = [name for name, config in imagery_layers(dataset).items() if config.type == LayerType.RASTER]
    views = [view] if view is not None else [ImageryView(layer=name) for name in rasters]
    views = [one for one in views if window.is_layer_completed(one.resolved(dataset)[0])]
    predicted = _read(dataset, window, prediction)
    sure = _confidence(dataset, window, prediction, predicted) if prediction and predicted else None
    return WindowDetail(
        window=window,
        series=tuple(read_series(dataset, window, one) for one in views),
        label=_read(dataset, window, labels),
        prediction=predicted,
        confidence=sure,
    )


def read_values(
    dataset: Dataset, window: Window, *, labels: LabelView | None = None, prediction: LabelView | None = None
) -> WindowDetail:
    """Reads label and prediction of a window without its imagery.

    Args:
        dataset: The dataset of the window.
        window: The window.
        labels: Which labels; none if None.
        prediction: Which prediction; none if None.

    Raises:
        UsageError: If there is no such layer or band.
        StorageError: If something can't be read.
    """
    return WindowDetail(
        window=window, label=_read(dataset, window, labels), prediction=_read(dataset, window, prediction)
    )


def _read(dataset: Dataset, window: Window, view: LabelView | None) -> ValueLayer | None:
    if view is None or not window.is_layer_completed(view.layer):
        return None
    found = read_labels(dataset, window, view)
    return ValueLayer(view.layer, found, field_of(view.legend, name=found.name) or field_of(view.legend, band=1))


def _confidence(dataset: Dataset, window: Window, view: LabelView, predicted: ValueLayer) -> WindowLabels | None:
    """What the legend says is the confidence of the prediction, if the layer has it."""
    fields: list[ClassLegend | DetectionLegend] = list(view.legend.detections if view.legend else ())
    if isinstance(predicted.field, ClassLegend):
        fields.insert(0, predicted.field)
    config = dataset.layers[view.layer]
    if config.type == LayerType.RASTER:
        bands = [band for band_set in config.band_sets for band in band_set.bands]
        numbers = [one.confidence_band_index or 0 for one in fields]
        band = next((bands[number - 1] for number in numbers if 1 <= number <= len(bands)), None)
        if band is None:
            return None
        pixels = read_bands(dataset, window, view.layer, [band], nodata=view.nodata)[0]
        return WindowLabels(band, pixels, predicted.found.shapes, ())
    for name in [one.confidence_property_name for one in fields if one.confidence_property_name]:
        found = read_labels(dataset, window, LabelView(layer=view.layer, name=name))
        confidences = tuple(_highest(value) for value in found.values)
        if np.isfinite(confidences).any():
            return replace(found, values=confidences)
    return None


def _highest(value: object) -> float:
    """A confidence as a number; of the probabilities of all classes, the highest. NaN if it is none."""
    cells = value if isinstance(value, list | tuple | np.ndarray) else [value]
    numbers = pd.to_numeric(pd.Series(list(cells), dtype=object), errors="coerce")
    return float(numbers.max())
