"""A stage of postprocessing that was tried, as layers of a map: before, after, and what changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure
from scipy.ndimage import maximum_filter

from olmoearth_nb.colors import RGB
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend
from olmoearth_nb.maps.features import results_layers
from olmoearth_nb.maps.frame import one_side
from olmoearth_nb.maps.layers import Key, Layer, LayerKind, PictureLayer, ShapeLayer, arranged
from olmoearth_nb.maps.overlay import geotiff_overlay
from olmoearth_nb.maps.pictures import geotiff_layers
from olmoearth_nb.maps.twin import draw_beside
from olmoearth_nb.postprocess.changes_raster import PixelChange
from olmoearth_nb.postprocess.trial import StageTrial

__all__ = ["TrialLayers", "draw_trial", "layers_of_trial"]

_PIXELS: dict[PixelChange, RGB] = {
    PixelChange.OVERLAP: (150, 150, 150),
    PixelChange.CHANGED: (0, 114, 178),
    PixelChange.SEAM: (214, 39, 190),
    PixelChange.ADDED: (0, 158, 115),
    PixelChange.REMOVED: (213, 61, 0),
    PixelChange.MASKED: (30, 30, 30),
}
_BROAD, _BROAD_ALPHA = (PixelChange.OVERLAP, PixelChange.CHANGED), 120
# Parts of the width of a map by which seams and pixels that came or went are widened on each side.
_WIDENED = 300
_FEATURES: dict[str, RGB] = {
    "dropped": (214, 39, 190),
    "added": (0, 158, 115),
    "geometry": (255, 127, 14),
    "geometry and properties": (106, 61, 154),
    "properties": (0, 114, 178),
}
_PLACES: RGB = (110, 110, 110)
_FAINT = 0.3
_DESCRIBED = ("change", "reason", "iou", "distance", "vertices_before", "vertices_after", "source", "properties")


@dataclass(frozen=True, kw_only=True)
class TrialLayers:
    """The layers of a trial; what there is nothing of is left out.

    Attributes:
        places: Outlines of the windows or partitions that went into the stage.
        before: What went in.
        after: What came out.
        changes: What is different.
    """

    places: ShapeLayer
    before: Layer | None
    after: Layer | None
    changes: tuple[Layer, ...]

    @property
    def all(self) -> list[Layer]:
        """All layers; what went in is under what came out, which would hide a picture of it."""
        before, after = self.before, self.after
        if after is not None and before is not None:
            before = replace(before, shown=isinstance(before, ShapeLayer))
            if before.key == after.key:
                before = replace(before, key=None)
            elif before.key is not None and after.key is not None:
                before = replace(before, key=replace(before.key, title=f"before: {before.key.title}"))
                after = replace(after, key=replace(after.key, title=f"after: {after.key.title}"))
        return [self.places, *(one for one in (before, after) if one is not None), *self.changes]


def layers_of_trial(trial: StageTrial, legend: Legend | None = None) -> TrialLayers:
    """What a trial gave, for a map.

    Args:
        trial: The trial; its files are read now.
        legend: What the values of results mean.

    Raises:
        InputFileError: If a file can't be read.
    """
    is_vector = any(path.suffix == ".geojson" for path in (*trial.before, *trial.after))
    read = _features if is_vector else _pixels
    places = ShapeLayer(
        kind=LayerKind.PARTITIONS,
        name="partitions" if trial.choice.stage == "dataset" else "windows",
        shapes=one_side(list(trial.places.geometry)),
        colors=[_PLACES] * len(trial.places),
        about=pd.DataFrame({"name": trial.places["name"]}),
        fill=0.0,
    )
    return TrialLayers(
        places=places,
        before=read("before", trial, legend),
        after=read("after", trial, legend),
        changes=_changed_features(trial) if is_vector else _changed_pixels(trial),
    )


def _pixels(side: str, trial: StageTrial, legend: Legend | None) -> Layer | None:
    files = list(getattr(trial, side))
    if not files:
        return None
    first = geotiff_layers(files, legend)[0]
    return replace(first, kind=LayerKind.PREDICTIONS, name=side)


def _features(side: str, trial: StageTrial, legend: Legend | None) -> Layer | None:
    if not trial.changes.counts[f"features {side}"]:
        return None
    (path,) = getattr(trial, side)
    first = results_layers(path, legend)[0]
    return replace(first, name=f"{side} ({len(first.shapes):,})", fill=0.15 if side == "before" else 0.5)


def _changed_pixels(trial: StageTrial) -> tuple[Layer, ...]:
    files, counts = trial.changes.pictures, trial.changes.counts
    there = [change for change in PixelChange if counts.get(change.words)]
    if not files or not there:
        return ()
    entries = tuple(ClassEntry(int(change), change.words, _PIXELS[change]) for change in there)
    picture, _ = geotiff_overlay(files, ClassLegend("changes", 1, entries))
    _emphasise(picture.pixels, counts)
    lines = tuple((f"{change.words} ({counts[change.words]:,})", _PIXELS[change]) for change in reversed(there))
    return (PictureLayer(kind=LayerKind.CHANGES, name="changes", picture=picture, key=Key("", lines)),)


def _emphasise(pixels: npt.NDArray[np.uint8], counts: Mapping[str, int]) -> None:
    """Lets what is below be seen where most pixels changed, and widens what may be a line of single pixels."""
    colors, seen = pixels[..., :3].copy(), pixels[..., 3] > 0
    reach = max(1, max(seen.shape) // _WIDENED)
    for change, color in _PIXELS.items():
        here = seen & (colors == color).all(axis=-1)
        if change in _BROAD:
            pixels[here, 3] = _BROAD_ALPHA
        elif counts.get(change.words):
            pixels[maximum_filter(here, 2 * reach + 1)] = (*color, 255)


def _changed_features(trial: StageTrial) -> tuple[Layer, ...]:
    table = trial.changes.table
    table = table[~(table.geometry.isna() | table.geometry.is_empty)]
    if not len(table):
        return ()
    counts = Counter(table["change"])
    about = pd.DataFrame(table[list(_DESCRIBED)]).reset_index(drop=True)
    layer = ShapeLayer(
        kind=LayerKind.CHANGES,
        name=f"changes ({len(table):,})",
        shapes=one_side(list(table.geometry)),
        colors=[_FEATURES[change] for change in table["change"]],
        about=about,
        fill=0.1,
        key=Key("", tuple((f"{name} ({counts[name]:,})", color) for name, color in _FEATURES.items() if counts[name])),
    )
    return (layer,)


def draw_trial(layers: TrialLayers) -> Figure:
    """Before, after and changes beside each other.

    Args:
        layers: Those of the trial.
    """
    before, after = ([] if one is None else [replace(one, shown=True)] for one in (layers.before, layers.after))
    faint = [_faint(one) for one in after] if layers.changes else after
    sides = {"before": before, "after": after, "changes": [*faint, *layers.changes]}
    panels = [(name, arranged([layers.places, *seen])) for name, seen in sides.items()]
    return draw_beside(arranged(layers.all), panels)


def _faint(layer: Layer) -> Layer:
    return replace(layer, opacity=_FAINT) if isinstance(layer, PictureLayer) else replace(layer, fill=0.1)
