"""Outputs of modules as arrays of the window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from olmoearth_nb.model.trace.frame import Crops
from olmoearth_nb.model.trace.hooks import ModuleWatch
from olmoearth_nb.model.trace.tokens import Feature, as_feature, split_batch

__all__ = ["feature_arrays"]


def feature_arrays(
    watch: ModuleWatch, sizes: Sequence[Sequence[tuple[int, int]]], crops: Crops
) -> dict[str, xr.DataArray]:
    """What was kept of the modules, put together over crops.

    Args:
        watch: What was noted.
        sizes: For each batch height and width of the model's input of each sample.
        crops: Where the crops lie.
    """
    found = {name: _array(name, _samples(ones, sizes, watch.layouts), crops) for name, ones in watch.kept.items()}
    # In the order that was asked for, not that of the network.
    places = {name: place for place, name in enumerate(watch.features)}
    return dict(sorted(found.items(), key=lambda pair: places[pair[0].partition("[")[0]]))


def _samples(
    tensors: Sequence[torch.Tensor],
    sizes: Sequence[Sequence[tuple[int, int]]],
    layouts: Sequence[Mapping[str, torch.Tensor] | None],
) -> list[Feature]:
    return [
        as_feature(one, size, layout, index)
        for tensor, batch, layout in zip(tensors, sizes, layouts, strict=True)
        for index, (one, size) in enumerate(zip(split_batch(tensor, len(batch)), batch, strict=True))
    ]


def _array(name: str, samples: Sequence[Feature], crops: Crops) -> xr.DataArray:
    _, dims, tokens = samples[0]
    values = [sample[0] for sample in samples]
    coords: dict[str, Any] = {} if tokens is None else {"token": tokens}
    note = f"output of {name}"
    if dims[-2:] == ("y", "x"):
        whole = crops.merged(values, np.float32(np.nan))
        if whole is not None:
            return crops.frame.raster(whole, dims, coords, note=note)
    if len(values) == 1 or len({one.shape for one in values}) > 1:
        return xr.DataArray(values[0], dims=dims, coords=coords, attrs={"note": note})
    coords["crop"] = list(range(len(values)))
    return xr.DataArray(np.stack(values), dims=("crop", *dims), coords=coords, attrs={"note": note})
