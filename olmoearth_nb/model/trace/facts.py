"""What a window and a model are, apart from what they do."""

from __future__ import annotations

import functools
import importlib.metadata
from pathlib import Path

import torch
from rslearn.dataset import Window

from olmoearth_nb.files import hash_file
from olmoearth_nb.model.load import LoadedModel
from olmoearth_nb.model.trace.frame import Frame
from olmoearth_nb.traces.data import TraceModel, TraceWindow

__all__ = ["model_facts", "window_facts"]

_PACKAGES = ("olmoearth-nb", "rslearn", "torch", "lightning", "numpy", "olmoearth-pretrain-minimal")


def window_facts(window: Window, *, temporary: bool) -> TraceWindow:
    """What a window is.

    Args:
        window: The window.
        temporary: Whether it was built for a trace.
    """
    frame = Frame.of(window)
    return TraceWindow(
        group=window.group,
        name=window.name,
        crs=frame.crs,
        resolution=frame.resolution,
        bounds=frame.bounds,
        time_range=window.time_range,
        options=dict(window.options or {}),
        temporary=temporary,
    )


def model_facts(loaded: LoadedModel, network: torch.nn.Module, split: str) -> TraceModel:
    """What a model is.

    Args:
        loaded: The model.
        network: Its network.
        split: Whose transforms and crops are used.
    """
    return TraceModel(
        config=str(loaded.model_yaml),
        type=type(network).__name__,
        checkpoint=None if loaded.checkpoint is None else str(loaded.checkpoint),
        checkpoint_sha256=None if loaded.checkpoint is None else _hash(loaded.checkpoint),
        split=split,
        device=str(loaded.device),
        precision=loaded.precision,
        parameters=sum(one.numel() for one in network.parameters()),
        versions=dict(_versions()),
    )


def _hash(path: Path) -> str:
    stat = path.stat()
    return _hash_once(path, stat.st_mtime_ns, stat.st_size)


# Of files of gigabytes it takes seconds.
@functools.lru_cache(maxsize=32)
def _hash_once(path: Path, _mtime_ns: int, _size: int) -> str:
    return hash_file(path)


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = []
    for name in _PACKAGES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return tuple(found)
