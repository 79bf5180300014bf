"""A window's way through a model without a model: sound traces for tests, to look at and to break.

Classes are patches with ragged edges. Each has a spectrum of Sentinel-2 L2A that changes with the season; pixels vary
around it with a texture that all bands share. The "model" scores classes by the distance to their spectra, as a small
trained one does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt
import pandas as pd
import shapely
import xarray as xr
from scipy import ndimage

from olmoearth_nb.traces.data import (
    TraceCrop,
    TraceData,
    TraceItem,
    TraceLayer,
    TraceLoss,
    TraceModel,
    TraceModule,
    TraceOutput,
    TraceStage,
    TraceWindow,
    TraceWritten,
)

CLASSES = ("water", "forest", "field", "town")
BANDS = ("B02", "B03", "B04", "B08", "B11", "B12")
START = datetime(2024, 3, 1, tzinfo=UTC)
STEP = timedelta(days=30)
CRS = "EPSG:32631"

Array = npt.NDArray[Any]

# Reflectance times 10000 of each class in each band.
_SPECTRA = np.array(
    [
        [620, 540, 380, 260, 150, 110],
        [330, 480, 300, 2600, 1500, 700],
        [650, 950, 900, 3400, 2500, 1500],
        [1250, 1400, 1550, 2200, 2300, 2000],
    ],
    dtype=np.float64,
)


def trace_window(*, size: int = 64, **other: Any) -> TraceWindow:
    """A square window of 10 m pixels, 2024-03-01 to 2025-03-01."""
    given: dict[str, Any] = {
        "group": "default",
        "name": "window_0",
        "crs": CRS,
        "resolution": (10.0, -10.0),
        "bounds": (60_000, -500_000, 60_000 + size, -500_000 + size),
        "time_range": (START, START + timedelta(days=365)),
        "options": {"split": "val"},
    }
    return TraceWindow(**given | other)


def raster(
    values: Array, dims: Sequence[str], window: TraceWindow, coords: Mapping[str, Any] | None = None, **attrs: Any
) -> xr.DataArray:
    """An array over the window, as traces have them."""
    a, _, c, _, e, f = window.transform
    rows, columns = values.shape[-2:]
    a, e = a * window.shape[1] / columns, e * window.shape[0] / rows
    places = {"y": f + (np.arange(rows) + 0.5) * e, "x": c + (np.arange(columns) + 0.5) * a}
    return xr.DataArray(
        values,
        dims=list(dims),
        coords={**(coords or {}), **places},
        attrs={**attrs, "crs": window.crs, "transform": [a, 0.0, c, 0.0, e, f]},
    )


def patches(*, size: int = 64, seed: int = 0, count: int = len(CLASSES)) -> npt.NDArray[np.int64]:
    """Classes of a landscape, (H, W)."""
    noise = np.random.default_rng(seed).normal(size=(count, size, size))
    return np.argmax([ndimage.gaussian_filter(one, 4, mode="wrap") for one in noise], axis=0)


def season(steps: int) -> npt.NDArray[np.float64]:
    """Factor of each band at each time step, (T, B)."""
    phase = 2 * np.pi * (np.arange(steps) * 30 + 60) / 365
    growth = np.array([0.02, 0.04, -0.08, 0.25, -0.05, -0.1])
    return 1 - np.cos(phase)[:, None] * growth[None]


def imagery(classes: npt.NDArray[np.int64], *, steps: int = 4, seed: int = 0) -> npt.NDArray[np.uint16]:
    """Pixels of a landscape, (T, B, H, W), reflectance times 10000."""
    rng = np.random.default_rng(seed + 1)
    texture = ndimage.gaussian_filter(rng.normal(size=classes.shape), 0.7) * 0.2 + 1
    mean = _SPECTRA[classes].transpose(2, 0, 1)[None] * season(steps)[:, :, None, None]
    haze = rng.normal(0, 25, (steps, 1, 1, 1))
    noise = rng.normal(0, 25, (steps, len(BANDS), *classes.shape))
    return np.clip(mean * texture + haze + noise, 1, 65535).round().astype(np.uint16)


@cache
def _training_pixels(steps: int, windows: int) -> Array:
    return np.concatenate(
        [
            imagery(patches(seed=seed), steps=steps, seed=seed).transpose(1, 0, 2, 3).reshape(len(BANDS), -1)
            for seed in range(1000, 1000 + windows)
        ],
        axis=1,
    ).astype(np.float64)


@cache
def _training_of(steps: int, windows: int) -> pd.DataFrame:
    return training_table(_training_pixels(steps, windows))


def training_table(pixels: Array, bands: Sequence[str] = BANDS, *, name: str = "sentinel2") -> pd.DataFrame:
    """What training windows of these pixels (B, N) had."""
    low, high = np.percentile(pixels, [1, 99], axis=1)
    return pd.DataFrame(
        {
            "input": name,
            "band": list(bands),
            "min": pixels.min(1),
            "p01": low,
            "mean": pixels.mean(1),
            "p99": high,
            "max": pixels.max(1),
            "std": pixels.std(1),
            "nodata": 0.0,
            "windows": 12,
        }
    )


def time_coords(steps: int) -> dict[str, Any]:
    """Time steps of 30 days."""
    starts = [np.datetime64((START + i * STEP).replace(tzinfo=None), "ns") for i in range(steps)]
    ends = [one + np.timedelta64(STEP) for one in starts]
    return {"time": starts, "time_end": ("time", ends), "source": ("time", [f"S2A_{i}" for i in range(steps)])}


def scores(pixels: Array) -> npt.NDArray[np.float64]:
    """What the model says of pixels (T, B, H, W): logits (class, H, W)."""
    steps = len(pixels)
    ideal = np.log(_SPECTRA[:, None] * season(steps)[None])  # class, time, band
    seen = ndimage.uniform_filter(np.log(np.maximum(pixels.astype(np.float64), 1)), (0, 0, 3, 3))
    return -((seen[None] - ideal[..., None, None]) ** 2).mean((1, 2)) * 12


def softmax(logits: Array, axis: int = 0) -> npt.NDArray[np.float64]:
    """Probabilities of logits."""
    powers = np.exp(logits - logits.max(axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis, keepdims=True))


def segmentation_output(
    logits: Array, label: Array | None, window: TraceWindow, *, classes: Sequence[str] = CLASSES
) -> TraceOutput:
    """What a model says with these logits (class, H, W), with a label (H, W), -1 without one."""
    p = softmax(logits)
    second, first = np.sort(p, axis=0)[-2:]
    predicted = p.argmax(0)
    by_class = {"class": list(classes)}
    loss = error = None
    if label is not None:
        known = (label >= 0) & (label < len(classes))
        shares = -np.log(np.maximum(np.take_along_axis(p, np.where(known, label, 0)[None], 0)[0], 1e-12))
        shares = np.where(known, shares, np.nan).astype(np.float32) / max(known.sum(), 1)
        total = float(np.nansum(shares))
        loss = TraceLoss(total=total, parts={"cls": total}, map=raster(shares, ("y", "x"), window, part="cls"))
        error = np.where(known, predicted != label, np.nan).astype(np.float32)
    entropy = -(p * np.log(np.maximum(p, 1e-12))).sum(0)
    return TraceOutput(
        task="segmentation",
        kind="segmentation",
        classes=tuple(classes),
        logits=raster(logits.astype(np.float32), ("class", "y", "x"), window, by_class),
        probabilities=raster(p.astype(np.float32), ("class", "y", "x"), window, by_class),
        prediction=raster(predicted.astype(np.int64), ("y", "x"), window),
        confidence=raster(first.astype(np.float32), ("y", "x"), window),
        entropy=raster(entropy.astype(np.float32), ("y", "x"), window, units="nat"),
        margin=raster((first - second).astype(np.float32), ("y", "x"), window),
        label=None if label is None else raster(label.astype(np.int64), ("y", "x"), window),
        loss=loss,
        error=None if error is None else raster(error, ("y", "x"), window),
    )


def stats_of(inputs: Mapping[str, xr.DataArray]) -> pd.DataFrame:
    """Statistics of a stage."""
    return pd.DataFrame(
        [
            {
                "input": name,
                "band": str(band.item()),
                "min": float(values.min()),
                "mean": float(values.mean()),
                "max": float(values.max()),
                "std": float(values.std()),
                "nodata": 0.0,
                "infinite": 0.0,
                "values": values.size,
            }
            for name, array in inputs.items()
            for band in array["band"]
            for values in [array.sel(band=band).values.astype(np.float64)]
        ]
    )


def stage_of(name: str, note: str, inputs: Mapping[str, xr.DataArray]) -> TraceStage:
    """A stage of these inputs."""
    return TraceStage(name=name, note=note, inputs=dict(inputs), targets={}, stats=stats_of(inputs))


def sound_trace(*, seed: int = 0, size: int = 64, steps: int = 4, labelled: bool = True) -> TraceData:
    """A sound trace of a time series of six bands and four classes."""
    window = trace_window(size=size, name=f"window_{seed}")
    classes = patches(size=size, seed=seed)
    return trace_of(imagery(classes, steps=steps, seed=seed), classes if labelled else None, window)


def trace_of(
    pixels: Array,
    label: Array | None,
    window: TraceWindow,
    *,
    bands: Sequence[str] = BANDS,
    training: pd.DataFrame | None = None,
    mean: Array | None = None,
    std: Array | None = None,
    nodata: float | None = 0,
    logits: Array | None = None,
) -> TraceData:
    """A trace of pixels (T, B, H, W) with a label (H, W), -1 where there is none.

    Training windows are sound ones and the normaliser is made for them unless others are given.
    """
    steps = len(pixels)
    if training is None:
        training = _training_of(steps, 12).copy()
    mean = training["mean"].to_numpy() if mean is None else mean
    std = training["std"].to_numpy() if std is None else std
    coords = {**time_coords(steps), "band": list(bands)}
    dims = ("time", "band", "y", "x")
    given = {} if nodata is None else {"nodata": nodata}
    read = raster(pixels.astype(np.float32), dims, window, coords, **given)
    normal = ((pixels - mean[None, :, None, None]) / std[None, :, None, None]).astype(np.float32)
    output = segmentation_output(scores(pixels) if logits is None else logits, label, window)
    items = tuple(
        TraceItem(
            name=f"S2A_{i}", used=True, group=i, start=START + i * STEP, end=START + i * STEP + timedelta(hours=1)
        )
        for i in range(steps)
    )
    layers = {"sentinel2": TraceLayer(name="sentinel2", role="input", data=read, items=items)}
    if label is not None:
        values = np.where(label >= 0, label, 255).astype(np.uint8)[None, None]
        layers["label"] = TraceLayer(
            name="label", role="label", data=raster(values, dims, window, {"band": ["label"]}, nodata=255)
        )
    cells = np.asarray(normal.mean(0)[:, ::4, ::4])
    prediction = output.prediction
    assert prediction is not None
    return TraceData(
        window=window,
        model=TraceModel(
            config="model.yaml",
            type="Model",
            checkpoint="model.ckpt",
            checkpoint_sha256="0" * 64,
            split="val",
            device="cpu",
            precision="32",
            parameters=10,
        ),
        layers=layers,
        stages=(
            stage_of("read", "as read", {"sentinel2": read}),
            stage_of("Normalize", "Normalize(...)", {"sentinel2": raster(normal, dims, window, coords)}),
        ),
        modules=(TraceModule(name="encoder", type="Conv", parameters=10, shape=(6, 16, 16), outputs=1),),
        features={"encoder": raster(cells, ("channel", "y", "x"), window)},
        outputs={"segmentation": output},
        crops=(TraceCrop(index=0, bounds=window.bounds, losses={"cls": 0.1} if label is not None else {}),),
        written=TraceWritten(
            layer="output",
            task="segmentation",
            raster=raster(
                prediction.values.astype(np.uint8)[None], ("band", "y", "x"), window, {"band": ["output"]}, nodata=255
            ),
        ),
        losses={} if output.loss is None else dict(output.loss.parts),
        training=training,
        seconds={"read": 0.02, "model": 0.05},
    )


def detections(window: TraceWindow) -> gpd.GeoDataFrame:
    """Two boxes in a window, its CRS."""
    x0, y0, _, _ = window.bounds
    boxes = [shapely.box(x0 * 10 + i, -y0 * 10 - i - 20, x0 * 10 + i + 20, -y0 * 10 - i) for i in (0, 100)]
    return gpd.GeoDataFrame({"class": ["ship", "<b>"], "score": [0.9, 0.25]}, geometry=boxes, crs=window.crs)


def label_of(data: TraceData) -> Array | None:
    """The label (H, W)."""
    label = data.outputs["segmentation"].label
    return None if label is None else np.asarray(label.values)


def pixels_of(data: TraceData) -> Array:
    """Pixels (T, B, H, W) of the imagery, as float."""
    values = data.layers["sentinel2"].data
    assert values is not None
    return np.asarray(values.values)


def with_pixels(data: TraceData, pixels: Array, **other: Any) -> TraceData:
    """The same window with other pixels, the model's outputs made anew."""
    return trace_of(pixels, label_of(data), data.window, **other)


def with_label(data: TraceData, label: Array) -> TraceData:
    """The same window with another label (H, W)."""
    return trace_of(pixels_of(data), label, data.window)


def with_layer(trace: TraceData, **changes: Any) -> TraceData:
    """The same trace with the imagery's layer changed, nothing else."""
    layers = dict(trace.layers)
    layers["sentinel2"] = replace(layers["sentinel2"], **changes)
    return replace(trace, layers=layers)


def with_output(trace: TraceData, **changes: Any) -> TraceData:
    """The same trace with the output changed, nothing else."""
    output = replace(trace.outputs["segmentation"], **changes)
    return replace(trace, outputs={"segmentation": output})
