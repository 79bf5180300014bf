"""Features of any network as maps: what is a feature map already, and tokens put back to where they come from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch

__all__ = ["Feature", "as_feature", "split_batch"]

_MASK = "_mask"
_MOST_REGISTERS = 64
_VISIBLE = 0  # MaskValue.ONLINE_ENCODER of OlmoEarth

Array = npt.NDArray[np.float32]
Feature = tuple[npt.NDArray[np.float32], tuple[str, ...], list[str] | None]
"""An array, names of its axes without the crop, names of its tokens."""


def split_batch(tensor: torch.Tensor, size: int) -> list[torch.Tensor]:
    """One tensor a sample; what a module was given as more samples (time steps, say) comes as a first axis.

    Args:
        tensor: What it gave.
        size: Number of samples.
    """
    count = tensor.shape[0]
    if count == size:
        return list(tensor)
    if count % size == 0:
        # rslearn's series of images put the time steps of a sample one after the other.
        return list(tensor.reshape(size, count // size, *tensor.shape[1:]))
    return [tensor] * size


def as_feature(
    tensor: torch.Tensor, size: tuple[int, int], layout: Mapping[str, torch.Tensor] | None, index: int
) -> Feature:
    """What a module gave for a sample, with rows and columns where it has a place.

    Args:
        tensor: Without the batch.
        size: Height and width of the model's input.
        layout: What an OlmoEarth encoder gave for the batch: modality -> (B, H, W, T, S, D), and masks.
        index: The sample's in that batch.
    """
    values = tensor.float().cpu().numpy()
    match values.ndim:
        case 1:
            return values, ("channel",), None
        case 2:
            found = None if layout is None else _from_sequence(values, layout, index)
            found = found or _from_grid(values, size)
        case 3:
            found = _from_map(values, size, ("channel",))
        case 4:
            found = _from_map(values, size, ("token", "channel"))
        case 5:
            found = _from_patches(values, size)
        case _:
            found = None
    return found or (values, tuple(f"axis_{i}" for i in range(values.ndim)), None)


def _from_map(values: Array, size: tuple[int, int], dims: tuple[str, ...]) -> Feature | None:
    """(…, H, W), or (H, W, …) with channels after rows and columns."""
    if _fits(values.shape[-2:], size):
        return values, (*dims, "y", "x"), None
    if values.ndim == 3 and _fits(values.shape[:2], size):
        return np.moveaxis(values, -1, 0), (*dims, "y", "x"), None
    if values.ndim == 4 and _fits(values.shape[1:3], size):
        # (C, H, W, N) of tokens that are not pooled.
        return values.transpose(3, 0, 1, 2), (*dims, "y", "x"), None
    if values.ndim == 4 and _fits(values.shape[:2], size):
        # (H, W, T, D) of OlmoEarth's patch embeddings.
        return values.transpose(2, 3, 0, 1), (*dims, "y", "x"), None
    return None


def _from_patches(values: Array, size: tuple[int, int]) -> Feature | None:
    """(H, W, T, S, D) of OlmoEarth."""
    if not _fits(values.shape[:2], size):
        return None
    rows, columns, times, sets, channels = values.shape
    tokens = values.transpose(2, 3, 4, 0, 1).reshape(times * sets, channels, rows, columns)
    return tokens, ("token", "channel", "y", "x"), [f"t{t} s{s}" for t in range(times) for s in range(sets)]


def _from_grid(values: Array, size: tuple[int, int]) -> Feature | None:
    """Tokens of a plain transformer, row by row."""
    grid = _grid(len(values), size)
    if grid is not None:
        return values[-grid[0] * grid[1] :].T.reshape(-1, *grid), ("channel", "y", "x"), None
    return (values, ("y", "x"), None) if _fits(values.shape, size) else None


def _fits(shape: Sequence[int], size: tuple[int, int]) -> bool:
    """Whether rows and columns can be those of the input, coarser or finer by the same whole factor."""
    rows, columns = shape
    return rows > 0 and rows * size[1] == columns * size[0] and (size[0] % rows == 0 or rows % size[0] == 0)


def _grid(count: int, size: tuple[int, int]) -> tuple[int, int] | None:
    """Rows and columns of so many tokens, perhaps after one for the whole."""
    for patch in range(1, min(size) + 1):
        if size[0] % patch or size[1] % patch:
            continue
        rows, columns = size[0] // patch, size[1] // patch
        if rows * columns > 1 and count - rows * columns in (0, 1):
            return rows, columns
    return None


def _from_sequence(values: npt.NDArray[np.float32], layout: Mapping[str, torch.Tensor], index: int) -> Feature | None:
    """Tokens of OlmoEarth's blocks: modalities one after the other, each (H, W, T, S), those without data left out."""
    shapes = {name: tuple(one.shape[1:-1]) for name, one in layout.items() if not name.endswith(_MASK)}
    if not shapes or any(len(shape) != 4 for shape in shapes.values()):
        return None
    total = sum(int(np.prod(shape)) for shape in shapes.values())
    keep = np.concatenate(
        [
            (layout[name + _MASK][index] == _VISIBLE).cpu().numpy().reshape(-1)
            if name + _MASK in layout
            else np.ones(int(np.prod(shape)), dtype=bool)
            for name, shape in shapes.items()
        ]
    )
    whole = np.full((total, values.shape[1]), np.nan, dtype=np.float32)
    if keep.all():
        # Registers come first.
        if not 0 <= len(values) - total <= _MOST_REGISTERS:
            return None
        whole[:] = values[len(values) - total :]
    else:
        visible = int(keep.sum())
        if len(values) < visible:
            return None
        whole[keep] = values[:visible]
    parts, names, start = [], [], 0
    rows, columns = next(iter(shapes.values()))[:2]
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        tokens = whole[start : start + size].reshape(*shape, -1).transpose(2, 3, 4, 0, 1)
        if tokens.shape[-2:] != (rows, columns):
            return None
        parts.append(tokens.reshape(-1, values.shape[1], rows, columns))
        names += [f"{name} t{t} s{s}" for t in range(shape[2]) for s in range(shape[3])]
        start += size
    return np.concatenate(parts), ("token", "channel", "y", "x"), names
