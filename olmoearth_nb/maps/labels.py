"""Labels and predictions of windows: pixels or shapes, each with its value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from rslearn.config import LayerType
from rslearn.dataset import Dataset, Window

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import StorageError, UsageError
from olmoearth_nb.globe import Shapes, shape_array
from olmoearth_nb.legend import ClassLegend, Legend, RangeLegend
from olmoearth_nb.maps.imagery import read_bands
from olmoearth_nb.types import PixelBounds, shape_of

__all__ = ["LabelView", "WindowLabels", "field_of", "property_of", "read_labels"]


@dataclass(frozen=True, kw_only=True)
class LabelView:
    """Which labels (or predictions) to show, and what they mean.

    Attributes:
        layer: Name of the dataset layer.
        name: Band of a raster layer, or property of a vector layer; the first one if None.
        nodata: What unlabelled pixels hold, where the layer's configuration does not say; None for nothing.
        legend: The project's legend.
    """

    layer: str
    name: str | None = None
    nodata: float | None = None
    legend: Legend | None = None


@dataclass(frozen=True)
class WindowLabels:
    """The labels of a window, as pixels or as shapes.

    Attributes:
        name: Band or property.
        pixels: Shape (H, W), NaN where nothing is labelled; None for shapes.
        shapes: Geometries in pixels of the window's projection; empty for pixels.
        values: Value of each shape.
    """

    name: str
    pixels: npt.NDArray[np.float32] | None
    shapes: Shapes
    values: tuple[object, ...]

    @property
    def all_values(self) -> list[object]:
        """The value of each labelled pixel or shape."""
        if self.pixels is None:
            return list(self.values)
        there: list[object] = self.pixels[np.isfinite(self.pixels)].tolist()
        return there

    def as_shapes(self, bounds: PixelBounds) -> Shapes:
        """The labels as shapes in pixels of the window's projection, each labelled pixel a square.

        Args:
            bounds: Pixel bounds of the window.
        """
        if self.pixels is None:
            return self.shapes
        rows, columns = np.nonzero(np.isfinite(self.pixels))
        x, y = columns + bounds[0], rows + bounds[1]
        return np.asarray(shapely.box(x, y, x + 1, y + 1), dtype=object)


def read_labels(dataset: Dataset, window: Window, view: LabelView) -> WindowLabels:
    """The labels of a window.

    Args:
        dataset: The dataset.
        window: A window whose label layer is there.
        view: Which labels.

    Raises:
        UsageError: If the dataset has no such layer, or the layer no such band.
        StorageError: If they can't be read.
    """
    config = dataset.layers.get(view.layer)
    if config is None:
        raise UsageError(f"The dataset has no layer {view.layer!r}.", expected=f"one of {', '.join(dataset.layers)}")
    if config.type == LayerType.RASTER:
        name = view.name or config.band_sets[0].bands[0]
        pixels = read_bands(dataset, window, view.layer, [name], nodata=view.nodata)[0]
        return WindowLabels(name, pixels, shape_array([]), ())
    with foreign_code(StorageError, "Labels can't be read", where=f"window {window.group}/{window.name}"):
        features = window.data.read_vector(view.layer, config.instantiate_vector_format())
    names = [name for feature in features for name in feature.properties or {}]
    name = view.name or property_of(view.legend, names)
    values = [(feature.properties or {}).get(name) for feature in features]
    return WindowLabels(name, None, shape_array([shape_of(feature.geometry) for feature in features]), tuple(values))


def property_of(legend: Legend | None, names: Sequence[str]) -> str:
    """The property to colour by: one that the legend knows, else the first that is not a time or an id.

    Args:
        legend: The project's legend.
        names: Names of the properties.
    """
    known = [name for name in names if legend is not None and legend.of_property(name) is not None]
    others = [name for name in names if not name.startswith(("oe_", "es_"))]
    return next(iter(known or others or names), "label")


def field_of(
    legend: Legend | None, *, name: str | None = None, band: int | None = None
) -> ClassLegend | RangeLegend | None:
    """What a project says of a band or a property.

    Labels rarely have the name of the output, so that a project's only field means them too.

    Args:
        legend: The project's legend.
        name: Name of a property or of a label.
        band: Number of a band of the results, counted from 1.
    """
    if legend is None:
        return None
    if band is not None:
        return legend.classes_of_band(band) or legend.range_of_band(band)
    named = legend.of_property(name) if name else None
    fields: list[ClassLegend | RangeLegend] = [*legend.classes, *legend.ranges]
    return named or (fields[0] if len(fields) == 1 else None)
