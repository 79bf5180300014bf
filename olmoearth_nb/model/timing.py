"""How long a model's forward pass takes, and how many operations it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from rslearn.dataset import Window
from torch.utils.flop_counter import FlopCounterMode

from olmoearth_nb.errors import InferenceError
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.predict import forward, rslearn_data
from olmoearth_nb.model.quiet import quiet
from olmoearth_nb.model.samples import Sample, WindowStream, missing_input
from olmoearth_nb.store.dataset import open_dataset

__all__ = ["ForwardCost", "forward_cost"]

# A pass that takes longer is not repeated, seconds.
_PATIENCE = 2.0


@dataclass(frozen=True, kw_only=True)
class ForwardCost:
    """What the forward passes of a window take.

    Attributes:
        crops: Forward passes of one sample each: crops of the window, or 1.
        seconds: Of all of them; on a CPU with one thread.
        gflop: Operations of all of them, 10^9; a multiplication and an addition are two.
        weights: Bytes of the weights.
        device: Where they ran: ``cpu``, ``cuda``.
    """

    crops: int
    seconds: float
    gflop: float
    weights: int
    device: str


def forward_cost(loaded: LoadedModel, window: Window) -> ForwardCost:
    """Times the model on the first sample of a window, and counts its operations.

    Args:
        loaded: The model.
        window: A window with all that the model reads but labels.

    Raises:
        InferenceError: If the window can't be read or computed.
        ConfigError: If crops can't be made as the configuration says.
        UnsupportedError: If the data module is not rslearn's.
    """
    data = rslearn_data(loaded)
    inputs = {name: one for name, one in data.inputs.items() if not one.is_target}
    if reason := missing_input(inputs, window):
        raise InferenceError(f"The model can't be timed: {reason}.")
    dataset = open_dataset(loaded.dataset_path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with quiet():
            stream = WindowStream([window], dataset, data, split="predict", chunk_size=1, targets=False)
            first = next(iter(stream))
            if not first.samples:
                raise InferenceError(f"The model can't be timed: {first.error}.")
            return _cost(loaded, first.samples[0], batch_size=data.batch_size)
    finally:
        torch.set_num_threads(threads)


def _cost(loaded: LoadedModel, sample: Sample, *, batch_size: int) -> ForwardCost:
    loaded.module.eval()
    # Torch has no formula for what attention is on a CPU; its arguments are those of the others.
    sdpa = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flop}
    counter = FlopCounterMode(display=False, custom_mapping=sdpa)
    with counter:
        seconds = _timed(loaded, lambda: forward(loaded, [sample]))
    flop = counter.get_total_flops()
    if seconds < _PATIENCE:
        seconds = _timed(loaded, lambda: forward(loaded, [sample]))
    if seconds * batch_size < _PATIENCE:
        seconds = _timed(loaded, lambda: forward(loaded, [sample] * batch_size)) / batch_size
    crops = sample[2].num_crops_in_window
    weights = sum(one.numel() * one.element_size() for one in loaded.module.parameters())
    return ForwardCost(
        crops=crops, seconds=seconds * crops, gflop=flop * crops / 1e9, weights=weights, device=loaded.device.type
    )


def _timed(loaded: LoadedModel, work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    if loaded.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _attention_flop(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    batch, heads, queries, width = query
    return int(2 * batch * heads * queries * key[-2] * (width + value[-1]))
