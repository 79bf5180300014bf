"""Batches over many windows: read by workers, put back in order, filled across windows."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import multiprocessing
import os
from collections import defaultdict, deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import Any

import torch
from rslearn.dataset import Window
from torch.utils.data import DataLoader

from olmoearth_nb.errors import ConfigError, InferenceError
from olmoearth_nb.model.samples import Chunk, Sample, WindowStream
from olmoearth_nb.model.sockets import keep_sockets_short
from olmoearth_nb.threads import ahead
from olmoearth_nb.types import WindowSpec

__all__ = ["batches", "read_chunks", "window_order", "worker_context"]

# Bytes of samples that are read while the model is busy with those before.
_READ_AHEAD = 256_000_000


def read_chunks(stream: WindowStream, num_workers: int | None) -> Generator[Chunk]:
    """Chunks of all windows, those of a window together and the windows in order, however many workers read them.

    Args:
        stream: The windows.
        num_workers: Worker processes; 0 reads in this one, None takes the configuration's number.

    Raises:
        ConfigError: If the number is below 0.
        InferenceError: If a worker process dies.
    """
    # Configurations have numbers for large machines: more than there are cores or windows only cost memory.
    wanted = stream.num_workers if num_workers is None else num_workers
    if wanted < 0:
        raise ConfigError("Not a number of processes.", where="num_workers", expected="0 or more", found=str(wanted))
    workers = min(wanted, len(stream.windows), os.cpu_count() or 1)
    if workers == 0:
        yield from ahead(iter(stream), size=_bytes, budget=_READ_AHEAD) if len(stream.windows) > 1 else stream
        return
    loader: DataLoader[Chunk] = DataLoader(
        stream, batch_size=None, num_workers=workers, collate_fn=_as_it_is, multiprocessing_context=worker_context()
    )
    waiting: defaultdict[int, deque[Chunk]] = defaultdict(deque)
    current = 0
    chunks = iter(loader)
    while True:
        try:
            chunk = next(chunks, None)
        except RuntimeError as error:
            raise InferenceError(
                f"A process that reads data has died: {error}.",
                fix="It may have run out of memory: use fewer workers (num_workers=0 reads in this process).",
            ) from error
        if chunk is None:
            return
        # What has to wait leaves the memory that it shares with its worker, of which a process has only so much.
        waiting[chunk.index].append(chunk if chunk.index == current else _copy(chunk))
        while waiting[current]:
            ready = waiting[current].popleft()
            yield ready
            if ready.last:
                del waiting[current]
                current += 1


def _bytes(chunk: Chunk) -> int:
    tensors: list[torch.Tensor] = []
    for inputs, targets, _ in chunk.samples:
        for value in (*inputs.values(), *targets.values()):
            image = getattr(value, "image", value)
            tensors += [image] if isinstance(image, torch.Tensor) else []
    return sum(tensor.nbytes for tensor in tensors)


def _copy(chunk: Chunk) -> Chunk:
    samples = tuple((*copy.deepcopy((inputs, targets)), metadata) for inputs, targets, metadata in chunk.samples)
    return replace(chunk, samples=samples)


def worker_context() -> multiprocessing.context.BaseContext:
    """How processes that read are started: forked where that is possible.

    Forked ones need no ``__main__`` guard, work in notebooks and have the windows already. They never touch a GPU.

    Raises:
        UsageError: If the path of the temporary folder is too long for their sockets, and there is no other.
    """
    keep_sockets_short()
    methods = multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("fork" if "fork" in methods else None)


def _as_it_is(chunk: Any) -> Any:
    return chunk


def batches(
    stream: WindowStream,
    *,
    size: int,
    num_workers: int | None,
    failed: Callable[[int, str], None],
    chunk_of: Sequence[int] | None = None,
) -> Generator[list[tuple[int, Sample]]]:
    """Batches of samples with their windows' indices, over all windows; rasters of a batch have the same size.

    Args:
        stream: The windows.
        size: Samples to a batch.
        num_workers: See :func:`read_chunks`.
        failed: Is told the index of a window that can't be read (to its end), and why.
        chunk_of: For each window the number of its chunk, which no batch reaches beyond.

    Raises:
        InferenceError: If a worker process dies.
    """
    batch: list[tuple[int, Sample]] = []
    with contextlib.closing(read_chunks(stream, num_workers)) as chunks:
        for chunk in chunks:
            if batch and chunk_of is not None and chunk_of[batch[0][0]] != chunk_of[chunk.index]:
                yield batch
                batch = []
            for sample in chunk.samples:
                if len(batch) == size or (batch and _spatial_shape(batch[0][1]) != _spatial_shape(sample)):
                    yield batch
                    batch = []
                batch.append((chunk.index, sample))
            if chunk.error is not None:
                failed(chunk.index, chunk.error)
    if batch:
        yield batch


def _spatial_shape(sample: Sample) -> list[tuple[str, tuple[int, ...]]]:
    """Height and width of each raster input of a sample; numbers of time steps may differ within a batch."""
    return [
        (name, tuple(image.shape[-2:]))
        for name, value in sample[0].items()
        if isinstance(image := getattr(value, "image", value), torch.Tensor)
    ]


def window_order(window: Window | WindowSpec) -> tuple[int, int, str, str]:
    """Key to sort windows by: those of a size together, so that they fill batches, and else in rslearn's order.

    Args:
        window: The window.
    """
    x0, y0, x1, y1 = window.bounds
    return x1 - x0, y1 - y0, hashlib.sha256(window.name.encode()).hexdigest(), window.group
