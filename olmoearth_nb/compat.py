"""What has to be arranged before rslearn is imported.

Two functions, both safe to call any number of times and from any thread: :func:`quiet_rslearn` before anything of
rslearn, :func:`prepare_rslearn` before ``rslearn.train`` or ``rslearn.models``. Nothing here imports torch until
``prepare_rslearn`` is called, so that rooms without torch may call it.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

from olmoearth_nb.errors import MissingDependencyError

__all__ = ["prepare_rslearn", "quiet_rslearn"]

_lock = threading.Lock()
# torch unregisters what a Library registered as soon as the object is collected.
_libraries: list[Any] = []

_BOXES_AT_A_TIME = 64

# Of glibc's mallopt, see malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3

# The operators that torchvision describes to torch unconditionally when it is imported, so that they have to exist.
_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def quiet_rslearn() -> None:
    """Keeps rslearn and its parser from writing to standard output; what the user has set wins.

    rslearn attaches a handler for standard output to each of its loggers when the module is imported, with the level
    of ``RSLEARN_LOGLEVEL``; so the variable is set for modules and processes to come, and the level of the loggers
    that exist is raised. Critical only: what goes wrong comes back as exceptions and reasons.
    """
    if "RSLEARN_LOGLEVEL" not in os.environ:
        os.environ["RSLEARN_LOGLEVEL"] = "CRITICAL"
        for name in [name for name in logging.root.manager.loggerDict if name.split(".")[0] == "rslearn"]:
            logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")


def prepare_rslearn() -> None:
    """Makes ``rslearn.train`` and ``rslearn.models`` importable, quietly.

    They import torchvision. PyPI has only the CUDA build of torchvision for Linux; beside a CPU build of torch (the
    usual light installation) its native library can't be loaded, and ``import torchvision`` ends with "operator
    torchvision::nms does not exist", although rslearn needs none of the native operators but ``nms`` and ``roi_align``,
    and those only for detection. So ``nms`` is registered here, written in plain torch, and its quantized sister
    ``qnms`` by name only; ``roi_align`` torchvision has in plain torch itself, and that is used as it is. Where
    torchvision works by itself, nothing is changed. Forked worker processes inherit it; others have to call this
    function themselves.

    Raises:
        MissingDependencyError: If torch or torchvision is not installed.
    """
    quiet_rslearn()
    # Torch's threads spin while they wait for one another, which costs more than it saves as soon as other processes
    # want the cores too: 20 epochs of the sample took 95 s so, on two busy cores, and 11 s like this.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _keep_freed_memory()
    with _lock:
        try:
            torch = importlib.import_module("torch")
            try:
                importlib.import_module("torchvision")
            except RuntimeError as error:
                if "operator torchvision::" not in str(error):
                    raise
                _register_nms(torch)
        except ModuleNotFoundError as error:
            if error.name not in ("torch", "torchvision"):
                raise
            raise MissingDependencyError(
                f"The package {error.name} is not installed; models need it.", fix=f"Run: pip install {error.name}"
            ) from error


def _keep_freed_memory() -> None:
    """Has the C library use again what is freed, where it would give large arrays back to the system.

    Each layer of a network frees an array and asks for one of the same size: to get its pages from the system every
    time takes longer than a small convolution itself. What the user has set wins, and what Dask sets for its workers,
    whose memory it watches.
    """
    if os.environ.keys() & {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"}:
        return
    with contextlib.suppress(AttributeError, OSError, TypeError):  # another C library than glibc
        set_option = ctypes.CDLL(None).mallopt
        set_option(_MMAP_THRESHOLD, 2**30)
        set_option(_TRIM_THRESHOLD, 2**31 - 1)


def _register_nms(torch: Any) -> None:
    if not _libraries:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in _SCHEMAS:
            library.define(schema)
        library.impl("nms", _nms, "CPU")
        _libraries.append(library)
    with warnings.catch_warnings():
        # It warns that its image library can't be loaded, for the same reason; rslearn reads with rasterio.
        warnings.simplefilter("ignore", UserWarning)
        importlib.import_module("torchvision")
    # The public function refuses to run when the native library is not there; this one operator now is.
    boxes: Any = importlib.import_module("torchvision.ops.boxes")
    with contextlib.suppress(AttributeError):
        boxes._assert_has_ops = _no_check
    # Its own form of this operator it would compile first, which takes minutes, and a C++ compiler.
    pooling: Any = importlib.import_module("torchvision.ops.roi_align")
    with contextlib.suppress(AttributeError):
        pooling._roi_align = _in_parts(torch, pooling._roi_align.__wrapped__)


def _no_check() -> None:
    """The operator is registered."""


def _in_parts(torch: Any, roi_align: Callable[..., Any]) -> Callable[..., Any]:
    """Takes some boxes at a time: in one go, a thousand with 768 channels are several gigabytes."""

    def in_parts(image: Any, boxes: Any, *options: Any) -> Any:
        return torch.cat([roi_align(image, part, *options) for part in boxes.split(_BOXES_AT_A_TIME)])

    return in_parts


def _nms(boxes: Any, scores: Any, iou_threshold: float) -> Any:
    """Non-maximum suppression as torchvision's: the best box first, those that overlap it too much dropped.

    Args:
        boxes: (N, 4) tensor of x1, y1, x2, y2.
        scores: (N,) tensor.
        iou_threshold: Boxes with a larger intersection over union than this are dropped.

    Returns:
        (K,) int64 tensor of the indices of the kept boxes, best first.
    """
    torch = importlib.import_module("torch")
    order = scores.argsort(descending=True, stable=True)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while order.numel():
        best, order = order[0], order[1:]
        kept.append(best)
        lower = torch.maximum(boxes[best, :2], boxes[order, :2])
        upper = torch.minimum(boxes[best, 2:], boxes[order, 2:])
        shared = (upper - lower).clamp(min=0).prod(dim=1)
        # Two boxes without area give nan, which counts as no overlap.
        order = order[~(shared / (area[best] + area[order] - shared) > iou_threshold)]
    return torch.stack(kept) if kept else scores.new_empty(0, dtype=torch.int64)
