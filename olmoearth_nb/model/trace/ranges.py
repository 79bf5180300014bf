"""What the windows that a model was trained on had in their inputs, and what a window has that they had not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from rslearn.dataset import Dataset, Window
from rslearn.train.data_module import RslearnDataModule
from rslearn.train.model_context import RasterImage

from olmoearth_nb.border import foreign_code
from olmoearth_nb.errors import InferenceError, InputFileError
from olmoearth_nb.files import hash_json, read_json, write_json
from olmoearth_nb.model.quiet import no_stderr
from olmoearth_nb.model.samples import WindowStream, missing_input
from olmoearth_nb.model.splits import split_windows
from olmoearth_nb.model.trace.layers import input_facts
from olmoearth_nb.traces.data import TraceWarning

__all__ = ["range_warnings", "training_ranges"]

_COLUMNS = ("input", "band", "min", "p01", "mean", "p99", "max", "std", "nodata", "windows")
# Enough for percentiles: so many windows, and so many pixels of each.
_WINDOWS = 200
_PIXELS = 4096
# A share of values that a cloud or a shadow does not have alone.
_FAR_SHARE = 0.05


def training_ranges(data: RslearnDataModule, dataset: Dataset, *, cache: Path | None = None) -> pd.DataFrame | None:
    """Statistics of the inputs of training windows as they are read, before all transforms.

    Args:
        data: Data module, for its inputs and its training split.
        dataset: The dataset with the training windows.
        cache: Folder to keep them in; they are computed again for other windows, layers or inputs.

    Returns:
        One row an input and band, see :class:`olmoearth_nb.traces.data.TraceData`; None if there is no such window.

    Raises:
        InferenceError: If the windows can't be read.
    """
    inputs = {name: one for name, one in data.inputs.items() if not one.is_target and one.data_type == "raster"}
    with no_stderr(), foreign_code(InferenceError, "The training windows can't be listed", where=str(dataset.path)):
        windows = split_windows(data, dataset, "train")
    if (
        not windows
        or not inputs
        or any(option.split(".")[0] not in dataset.layers for one in inputs.values() for option in one.layers)
    ):
        return None
    # They are in an order that has nothing to do with where they lie.
    windows = [window for window in windows if missing_input(inputs, window) is None][:_WINDOWS]
    if not windows:
        return None
    path = None if cache is None else cache / f"training_ranges_{_key(inputs, dataset, windows)[:16]}.json"
    found = None if path is None else _stored(path)
    if found is None:
        found = _compute(data, dataset, windows, list(inputs))
        if path is not None:
            write_json(path, found.to_dict("records"))
    return found


def _stored(path: Path) -> pd.DataFrame | None:
    if not path.exists():
        return None
    try:
        return pd.DataFrame(read_json(path), columns=list(_COLUMNS))
    except (InputFileError, ValueError, TypeError):
        return None


def _key(inputs: Mapping[str, Any], dataset: Dataset, windows: Sequence[Window]) -> str:
    """Changes with the windows, the inputs and what was materialized."""
    layers = sorted({option for one in inputs.values() for option in one.layers})
    reads = {
        name: [one.layers, one.bands, str(one.dtype), str(vars(one.resolution_factor))] for name, one in inputs.items()
    }
    config = {name: str(dataset.layers[name.split(".")[0]].band_sets) for name in layers}
    states = [[window.group, window.name, *window.bounds, *_stamps(window, layers)] for window in windows]
    return hash_json([reads, config, states])


def _stamps(window: Window, layers: Iterable[str]) -> list[int]:
    found = []
    for layer in layers:
        mark = Path(str(window.window_root)) / "layers" / layer / "completed"
        found.append(mark.stat().st_mtime_ns if mark.exists() else 0)
    return found


def _compute(data: RslearnDataModule, dataset: Dataset, windows: list[Window], names: list[str]) -> pd.DataFrame:
    stream = WindowStream(windows, dataset, data, split="train", chunk_size=1, targets=False)
    facts = input_facts(dataset, {name: data.inputs[name] for name in names}, {})
    parts: dict[str, list[_Part]] = {name: [] for name in names}
    for index, window in enumerate(windows):
        with foreign_code(InferenceError, "It can't be read", where=f"window {window.group}/{window.name}"):
            raw, _, _ = stream.windows.get_raw_inputs(index)
        for name in names:
            value = raw.get(name)
            if isinstance(value, RasterImage):
                parts[name].append(_Part(value.image.numpy(), facts[name].nodata))
    rows = []
    for name, ones in parts.items():
        for band, label in enumerate(facts[name].bands):
            rows.append({"input": name, "band": str(label), **_summary([one.bands[band] for one in ones])})
    return pd.DataFrame(rows, columns=list(_COLUMNS))


class _Part:
    """The bands of a window: what is needed of each."""

    def __init__(self, image: npt.NDArray[Any], nodata: float | None) -> None:
        self.bands: list[dict[str, Any]] = []
        for band in image:
            values = band.reshape(-1).astype(np.float64)
            valid = np.isfinite(values) if nodata is None else np.isfinite(values) & (values != nodata)
            used = values[valid]
            self.bands.append(
                {
                    "n": values.size,
                    "valid": used.size,
                    "sum": used.sum(),
                    "squares": (used**2).sum(),
                    "min": used.min() if used.size else np.inf,
                    "max": used.max() if used.size else -np.inf,
                    "sample": used[:: max(1, -(-used.size // _PIXELS))],
                }
            )


def _summary(parts: list[dict[str, Any]]) -> dict[str, float]:
    count, valid = (sum(part[name] for part in parts) for name in ("n", "valid"))
    numbers = dict.fromkeys(("min", "p01", "mean", "p99", "max", "std"), float("nan"))
    if valid:
        mean = sum(part["sum"] for part in parts) / valid
        low, high = np.percentile(np.concatenate([part["sample"] for part in parts]), [1, 99])
        numbers = {
            "min": float(min(part["min"] for part in parts)),
            "p01": float(low),
            "mean": float(mean),
            "p99": float(high),
            "max": float(max(part["max"] for part in parts)),
            "std": float(np.sqrt(max(sum(part["squares"] for part in parts) / valid - mean**2, 0))),
        }
    return {**numbers, "nodata": 1 - valid / max(count, 1), "windows": len(parts)}


def range_warnings(inputs: Mapping[str, xr.DataArray], ranges: pd.DataFrame) -> list[TraceWarning]:
    """Bands whose values lie far outside what the training windows had.

    Args:
        inputs: As read, (time, band, y, x).
        ranges: Of the training windows.
    """
    found = []
    for row in ranges.to_dict("records"):
        name, band = str(row["input"]), str(row["band"])
        array = inputs.get(name)
        if array is None or "band" not in array.dims or band not in list(array["band"].values):
            continue
        values = array.sel(band=band).values.astype(np.float64)
        nodata = array.attrs.get("nodata")
        values = values[np.isfinite(values) & (values != nodata)] if nodata is not None else values[np.isfinite(values)]
        low, high, least, most = (float(row[key]) for key in ("p01", "p99", "min", "max"))
        if not values.size or not np.isfinite(low):
            continue
        span = max(high - low, abs(high) * 1e-6)
        outside = float(((values < least - span / 4) | (values > most + span / 4)).mean())
        mean = float(values.mean())
        if outside <= _FAR_SHARE and low - span / 4 <= mean <= high + span / 4:
            continue
        text = (
            f"Band {band} of the input {name!r} is far from what the model was trained on: mean {mean:,.4g}, "
            f"{values.min():,.4g} to {values.max():,.4g}; 98% of the values of {int(row['windows']):,} training "
            f"windows are {low:,.4g} to {high:,.4g}, their mean is {float(row['mean']):,.4g}."
        )
        found.append(TraceWarning(kind="range", text=text, input=name, band=band))
    return found
