"""Features inside the network: channels that say nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from olmoearth_nb.traces.data import TraceData
from olmoearth_nb.traces.findings import Finding, FindingSeverity

__all__ = ["check_features"]


def check_features(data: TraceData) -> Iterator[Finding]:
    """Findings about features that were kept.

    Args:
        data: The trace.
    """
    for name, array in data.features.items():
        where = f"features {name}"
        values = np.asarray(array.values, dtype=np.float64)
        if not values.size:
            continue
        bad = ~np.isfinite(values)
        if bad.all() or (bad.any() and data.merged_from is None):
            words = f"{bad.mean():.2%} of the values are NaN or infinite."
            yield Finding(severity="error", code="nan", where=where, words=words, number=float(bad.mean()))
        if bad.all() or "channel" not in array.dims:
            continue
        channels = np.moveaxis(values, array.get_axis_num("channel"), 0).reshape(array.sizes["channel"], -1)
        low, high = (function(channels, axis=1) for function in (np.fmin.reduce, np.fmax.reduce))
        size = np.fmax.reduce(np.abs(channels).ravel())
        dead = high - low <= 1e-7 * size if channels.shape[1] > 1 else (low == 0) & (high == 0)
        share = float(dead.mean())
        if share < 0.1:
            continue
        # A third of the channels of a network with ReLU is often silent on one window.
        severity: FindingSeverity = "error" if share == 1 else "warning" if share >= 0.5 else "note"
        words = (
            f"{dead.sum()} of {len(dead)} channels have one value everywhere (first: channel {int(dead.argmax())}, "
            f"{low[dead.argmax()]:.3g}). Weights that died in training, or inputs far from those of training?"
        )
        yield Finding(severity=severity, code="dead-channels", where=where, words=words, number=share)
