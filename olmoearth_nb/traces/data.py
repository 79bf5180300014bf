"""What a trace holds: one window, from the file on disk to what the writer would write.

Every array is an ``xarray.DataArray``, with these names wherever they occur.

Dimensions
    ``time`` time steps, ``band`` bands of an image, ``channel`` channels of features, ``class`` classes, ``token``
    tokens at a place, ``y`` rows from north to south, ``x`` columns from west to east, ``crop`` crops of the window
    (only where an array has no place in the window and there are several crops).
Coordinates
    ``band`` names of bands; ``time`` start and ``time_end`` (along ``time``) end of a time step, UTC; ``source``
    (along ``time``) names of the items it was made of; ``class`` names of classes; ``y`` and ``x`` centres of pixels in
    units of the CRS; ``crop`` numbers of crops. ``time``, ``time_end`` and ``source`` are missing where they are not
    known.

Attributes:
    ``units``; ``crs`` (EPSG code or WKT) and ``transform`` (six numbers a, b, c, d, e, f: x = a * column + b * row + c,
    y = d * column + e * row + f) where there are ``y`` and ``x``; ``nodata`` where a value means that there is none;
    ``note``: what it is, in words.

Pixels that nothing was computed for are NaN, in arrays of classes -1. Models that have one task have one output too, by
the name that evaluations give it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr
from rslearn.utils.geometry import Projection

from olmoearth_nb.errors import UsageError
from olmoearth_nb.geometry import wgs84_outlines
from olmoearth_nb.legend import Legend
from olmoearth_nb.types import PixelBounds, TimeRange

__all__ = [
    "TraceCrop",
    "TraceData",
    "TraceItem",
    "TraceLayer",
    "TraceLoss",
    "TraceModel",
    "TraceModule",
    "TraceOutput",
    "TraceStage",
    "TraceWarning",
    "TraceWindow",
    "TraceWritten",
]

LayerRole: TypeAlias = Literal["input", "label", "both"]
"""What a layer is read for."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceWindow:
    """The window.

    Attributes:
        group: Its group.
        name: Its name.
        crs: CRS, as EPSG code where it has one, else WKT.
        resolution: CRS units a pixel, x and y; y is negative where rows go from north to south.
        bounds: ``(x0, y0, x1, y1)`` in pixels, half-open.
        time_range: Start and end, or None for any time.
        options: rslearn's options of the window: its split and the like.
        temporary: Whether the dataset does not have it, so that it was built for the trace.
    """

    group: str
    name: str
    crs: str
    resolution: tuple[float, float]
    bounds: PixelBounds
    time_range: TimeRange | None
    options: Mapping[str, Any] = field(default_factory=dict)
    temporary: bool = False

    @property
    def projection(self) -> Projection:
        """CRS and resolution as rslearn has them."""
        return Projection.deserialize(
            {"crs": self.crs, "x_resolution": self.resolution[0], "y_resolution": self.resolution[1]}
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        x0, y0, x1, y1 = self.bounds
        return y1 - y0, x1 - x0

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Pixels of the window to coordinates, as ``transform`` of arrays."""
        x, y = self.resolution
        return x, 0.0, self.bounds[0] * x, 0.0, y, self.bounds[1] * y

    def outline(self) -> gpd.GeoDataFrame:
        """Its outline in WGS84: one row with ``group`` and ``name``."""
        shapes = list(wgs84_outlines(self.projection, np.array([self.bounds], dtype=float)))
        return gpd.GeoDataFrame({"group": [self.group], "name": [self.name]}, geometry=shapes, crs="EPSG:4326")


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceItem:
    """An item of a data source: a scene, a tile.

    Attributes:
        name: The item's name.
        used: Whether the layer was made of it.
        group: For which time step of the layer it was matched, counted from 0; None if it was not.
        start: When it was taken; None if the source does not say.
        end: Until when.
        reason: Why it is not used.
    """

    name: str
    used: bool
    group: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceLayer:
    """A layer of the dataset, as it was read.

    Attributes:
        name: The layer's name.
        role: What it is read for.
        data: Pixels of a raster layer, (time, band, y, x): all bands that some input of the model reads, at the
            resolution that it reads them in, in the type it reads them as. None if the layer is missing or has vectors.
        features: Features of a vector layer, in the window's CRS; else None.
        items: Items that were matched, and those that were not, as far as the source can tell without a connection.
        reason: Why the layer is missing; None if it is there.
        note: What to know of the items.
    """

    name: str
    role: LayerRole
    data: xr.DataArray | None = None
    features: gpd.GeoDataFrame | None = None
    items: tuple[TraceItem, ...] = ()
    reason: str | None = None
    note: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceStage:
    """The model's inputs after a transform.

    Attributes:
        name: ``read`` for the inputs before all transforms, ``task`` for what the task makes of them (its targets),
            then the class names of the transforms in their order, numbered if one comes again (``Normalize``,
            ``Normalize 2``). Names are unique.
        note: The transform with its settings, as text.
        inputs: Name of the input -> (time, band, y, x), or other dimensions if the model gets no image. A tensor
            without time steps has one.
        targets: The same of the label as the task has it, keys joined by ``/``; empty without a label.
        stats: One row an input and band: ``input``, ``band``, ``min``, ``mean``, ``max``, ``std`` (of values that are
            neither nodata nor infinite), ``nodata`` (share of values that were nodata where they were read, or are
            NaN), ``infinite`` (share), ``values`` (their number).
    """

    name: str
    note: str
    inputs: Mapping[str, xr.DataArray]
    targets: Mapping[str, xr.DataArray]
    stats: pd.DataFrame


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceModule:
    """A part of the network.

    Attributes:
        name: Its name in the model, the one that ``features=[...]`` takes.
        type: Its class.
        parameters: Number of its parameters, those of its parts included.
        shape: Shape of what it gives for one crop, without the batch; None if it gives no tensor or was not used.
        outputs: How many tensors it gives.
    """

    name: str
    type: str
    parameters: int
    shape: tuple[int, ...] | None
    outputs: int


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceCrop:
    """A piece of the window that went through the model by itself.

    Attributes:
        index: Its number, as in ``TraceData.merged_from``.
        bounds: ``(x0, y0, x1, y1)`` in pixels, half-open; may reach beyond the window.
        losses: Its losses by name, weighted as in training; empty without a label.
    """

    index: int
    bounds: PixelBounds
    losses: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceLoss:
    """The loss of a window for a task.

    Attributes:
        total: The loss: weighted sum of the parts, the mean over crops that have a label.
        parts: Name of the loss as the model has it -> its share of the total.
        map: Share of each pixel in the loss, (y, x), NaN where there is no label. Its sum is the part that is computed
            by pixels, ``parts[map.attrs["part"]]``; None where the task or its loss has no pixels. With several crops
            it is the one of the crop that each pixel of the output comes from, so that sums can differ.
    """

    total: float
    parts: Mapping[str, float]
    map: xr.DataArray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceOutput:
    """What the model says for one task.

    Tasks by window instead of by pixel have the same arrays without ``y`` and ``x``. Where a window has several crops,
    a task by window has those of the last one, and all of them in ``by_crop``.

    Attributes:
        task: The task's name.
        kind: What sort of task it is, in words: ``segmentation``, ``per-pixel regression``, ``classification``,
            ``regression``, ``detection`` and others.
        classes: Names of the classes; empty if there are none.
        logits: What goes into the head, (class, y, x), float32; of measurements (y, x); None if the head gets no such
            thing.
        probabilities: What the model gives, (class, y, x), 0..1.
        prediction: Index of the class that is written, (y, x), int64: the highest probability after the task's
            ``prob_scales``.
        confidence: Highest probability, (y, x).
        entropy: Of the probabilities, (y, x), in nats: 0..ln(number of classes).
        margin: Between the best two probabilities, (y, x).
        values: Measurements, (y, x), in the unit of the labels.
        vectors: Objects that were found, in the window's CRS, with the properties that are written (score, class).
        label: Index of the class, int64, -1 where there is no label, or value, NaN where there is none; (y, x).
        label_vectors: Objects that are labelled, in the window's CRS.
        loss: None without a label.
        error: (y, x): of classes 1 where wrong, 0 where right; of measurements prediction - label; NaN without a label.
        seam: (y, x): how far crops that overlap differ there, NaN where there is only one: the largest difference of a
            probability, or of the value. None if no crops overlap.
        by_crop: Probabilities (crop, class) or values (crop,) of a task by window that has several crops.
    """

    task: str
    kind: str
    classes: tuple[str, ...] = ()
    logits: xr.DataArray | None = None
    probabilities: xr.DataArray | None = None
    prediction: xr.DataArray | None = None
    confidence: xr.DataArray | None = None
    entropy: xr.DataArray | None = None
    margin: xr.DataArray | None = None
    values: xr.DataArray | None = None
    vectors: gpd.GeoDataFrame | None = None
    label: xr.DataArray | None = None
    label_vectors: gpd.GeoDataFrame | None = None
    loss: TraceLoss | None = None
    error: xr.DataArray | None = None
    seam: xr.DataArray | None = None
    by_crop: xr.DataArray | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceWritten:
    """What the writer would write: bit by bit what it writes when the window is predicted alone.

    In a run over several windows their crops share batches, and the last bits of floating-point numbers may differ with
    the others of a batch (by some 1e-7 of the value); classes are the same.

    Attributes:
        layer: Name of the output layer.
        task: The task that is written.
        raster: (band, y, x) in the layer's type; None for vectors.
        vectors: Features in the window's CRS; None for rasters.
        geojson: The very file of vectors, as text.
    """

    layer: str
    task: str
    raster: xr.DataArray | None = None
    vectors: gpd.GeoDataFrame | None = None
    geojson: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceWarning:
    """Something that was noticed on the way.

    Attributes:
        kind: ``range`` values far outside what the training windows had, ``training`` nothing to compare with,
            ``layer`` a layer that is missing, ``loss`` why a label has none, ``writer`` why nothing would be written,
            ``crops`` about crops.
        text: A sentence.
        input: Name of the model's input.
        band: Name of the band.
    """

    kind: str
    text: str
    input: str | None = None
    band: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceModel:
    """The model that was asked.

    Attributes:
        config: Path of ``model.yaml``.
        type: Class of the network.
        checkpoint: Path of the checkpoint; None for the weights that training starts with.
        checkpoint_sha256: Hash of the file, hexadecimal.
        split: Whose section of ``model.yaml`` the transforms and crops are of.
        device: Where it ran.
        precision: ``32``, ``bf16-mixed`` or ``16-mixed``.
        parameters: Their number.
        versions: Package -> version.
    """

    config: str
    type: str
    checkpoint: str | None
    checkpoint_sha256: str | None
    split: str
    device: str
    precision: str
    parameters: int
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, eq=False)
class TraceData:
    """One window, from the file on disk to what the writer would write; see the module for names of dimensions.

    Of a window that lacks an input that the model needs there are only the layers, with the reasons, and warnings.

    Attributes:
        window: The window.
        model: The model.
        layers: Name of the layer of the dataset -> how it was read, inputs first.
        stages: The model's inputs after each transform in turn; the last one is what the model gets.
        modules: Parts of the network, in the order in which they are part of it.
        features: Name of the module -> what it gave: (channel, y, x) of feature maps, (token, channel, y, x) of tokens
            at places, (channel,) of vectors; ``name[0]``, ``name[1]`` … if it gives several. Only those asked for.
        outputs: Name of the task -> what the model says.
        crops: The pieces that the window went through the model in.
        merged_from: Which crop each pixel of the output comes from, (y, x); None unless there are several.
        written: What the writer would write; None if there is no writer.
        losses: Name -> loss, weighted, the mean over crops that have a label: what training would add up. Empty without
            a label.
        training: What training windows had, one row an input and band: ``input``, ``band``, ``min``, ``p01``, ``mean``,
            ``p99``, ``max``, ``std``, ``nodata`` (share), ``windows``; None if there are none.
        warnings: What was noticed.
        seconds: Step -> how long it took.
        legend: What classes are called, and their colours; None if the project does not say.
    """

    window: TraceWindow
    model: TraceModel
    layers: Mapping[str, TraceLayer]
    stages: tuple[TraceStage, ...]
    modules: tuple[TraceModule, ...]
    features: Mapping[str, xr.DataArray]
    outputs: Mapping[str, TraceOutput]
    crops: tuple[TraceCrop, ...]
    merged_from: xr.DataArray | None = None
    written: TraceWritten | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    training: pd.DataFrame | None = None
    warnings: tuple[TraceWarning, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    legend: Legend | None = None

    @property
    def loss(self) -> float | None:
        """What training would minimise; None without a label."""
        return sum(self.losses.values()) if self.losses else None

    def stage(self, name: str | int) -> TraceStage:
        """A stage.

        Args:
            name: Its name, or its number: 0 as read, -1 what the model gets.

        Raises:
            UsageError: If there is none.
        """
        names = [stage.name for stage in self.stages]
        if isinstance(name, int) and -len(names) <= name < len(names):
            return self.stages[name]
        if name in names:
            return self.stages[names.index(str(name))]
        raise UsageError("There is no such stage.", expected=", ".join(names), found=repr(name))

    def output(self, task: str | None = None) -> TraceOutput:
        """What the model says for a task.

        Args:
            task: The task's name; None for the only one.

        Raises:
            UsageError: If there is none, or there are several and none is named.
        """
        if task is None and len(self.outputs) == 1:
            return next(iter(self.outputs.values()))
        if task in self.outputs:
            return self.outputs[str(task)]
        names = ", ".join(self.outputs)
        if not self.outputs:
            reasons = " ".join(warning.text for warning in self.warnings if warning.kind == "layer")
            raise UsageError(
                "The model was not run on this window.",
                where=f"window {self.window.group}/{self.window.name}",
                found=reasons.rstrip(".") or "no output",
            )
        if task is None:
            raise UsageError(
                "The model has several tasks.",
                expected="one of them",
                found=names,
                fix=f"Ask for one: trace.output({next(iter(self.outputs), '')!r}).",
            )
        raise UsageError("The model has no such task.", expected=names, found=repr(task))
