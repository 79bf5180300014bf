"""Where arrays lie: named axes with coordinates, and crops put together as the writer puts them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import xarray as xr
from rslearn.config import LayerConfig
from rslearn.dataset import Window
from rslearn.train.prediction_writer import CropPredictionMerger, PendingCropOutput, RasterMerger

from olmoearth_nb.types import PixelBounds

__all__ = ["Crops", "Frame", "crs_name"]

Array = npt.NDArray[Any]


def crs_name(crs: Any) -> str:
    """A CRS as EPSG code where it has one, else as WKT.

    Args:
        crs: Of rasterio.
    """
    code = crs.to_epsg()
    return f"EPSG:{code}" if code else str(crs.to_wkt())


@dataclass(frozen=True)
class Frame:
    """A place with pixels.

    Attributes:
        bounds: In pixels of the projection.
        crs: Name of the CRS.
        resolution: CRS units a pixel, x and y.
    """

    bounds: PixelBounds
    crs: str
    resolution: tuple[float, float]

    @classmethod
    def of(cls, window: Window) -> Frame:
        """The frame of a window.

        Args:
            window: The window.
        """
        projection = window.projection
        return cls(
            tuple(window.bounds),  # type: ignore[arg-type]
            crs_name(projection.crs),
            (float(projection.x_resolution), float(projection.y_resolution)),
        )

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        x0, y0, x1, y1 = self.bounds
        return y1 - y0, x1 - x0

    def raster(
        self, values: Array, dims: Sequence[str], coords: Mapping[str, Any] | None = None, **attrs: Any
    ) -> xr.DataArray:
        """An array that covers the frame, at any resolution.

        Args:
            values: Its last axes are rows and columns.
            dims: Names of its axes, the last two ``y`` and ``x``.
            coords: Further coordinates.
            attrs: Attributes; None is left out.
        """
        rows, columns = values.shape[-2:]
        x_step = self.resolution[0] * self.shape[1] / columns
        y_step = self.resolution[1] * self.shape[0] / rows
        left, top = self.bounds[0] * self.resolution[0], self.bounds[1] * self.resolution[1]
        places = {"y": top + (np.arange(rows) + 0.5) * y_step, "x": left + (np.arange(columns) + 0.5) * x_step}
        georeference = {"crs": self.crs, "transform": [x_step, 0.0, left, 0.0, y_step, top]}
        given = {name: value for name, value in attrs.items() if value is not None}
        return xr.DataArray(values, dims=list(dims), coords={**(coords or {}), **places}, attrs=given | georeference)


class Crops:
    """The pieces of a window, and which of them each pixel of the output comes from.

    Args:
        window: The window.
        bounds: Of the crops, in their order.
        merger: How the writer puts them together.

    Attributes:
        source: Number of the crop, (H, W); -1 where none is.
    """

    def __init__(self, window: Window, bounds: Sequence[PixelBounds], merger: CropPredictionMerger) -> None:
        self.frame = Frame.of(window)
        self.bounds = list(bounds)
        self.source = _sources(window, self.bounds, merger)

    def overlap(self) -> npt.NDArray[np.bool_]:
        """Where more than one crop is, (H, W)."""
        count = np.zeros(self.frame.shape, dtype=int)
        for bounds in self.bounds:
            count[_inside(self.frame.bounds, bounds)[0]] += 1
        return count > 1

    def merged(self, parts: Sequence[Array], fill: Any) -> Array | None:
        """One array of the window out of one array a crop; None if they have no place in it.

        Args:
            parts: (..., h, w) of each crop: its pixels, or finer or coarser ones.
            fill: Where no crop is; of their type.
        """
        scales = {_scale(part.shape[-2:], bounds) for part, bounds in zip(parts, self.bounds, strict=True)}
        scale = scales.pop()
        if scales or scale is None or len({part.shape[:-2] for part in parts}) != 1:
            return None
        rows, columns = (size * scale for size in self.frame.shape)
        x0, y0 = self.frame.bounds[:2]
        corners = [((bounds[1] - y0) * scale, (bounds[0] - x0) * scale) for bounds in self.bounds]
        if any(value.denominator != 1 for pair in [(rows, columns), *corners] for value in pair):
            return None
        height, width = int(rows), int(columns)
        source = self.source[np.ix_(_centres(height, scale), _centres(width, scale))]
        whole = np.full((*parts[0].shape[:-2], height, width), fill, dtype=parts[0].dtype)
        for index, (part, (top, left)) in enumerate(zip(parts, corners, strict=True)):
            inner, outer = _inside(
                (0, 0, width, height), (int(left), int(top), int(left) + part.shape[-1], int(top) + part.shape[-2])
            )
            mine = source[inner] == index
            np.copyto(whole[(..., *inner)], part[(..., *outer)], where=mine)
        return whole

    def spread(self, parts: Sequence[Array]) -> Array | None:
        """How far crops differ where they overlap, NaN elsewhere; None if none overlap.

        Args:
            parts: (h, w) or (C, h, w) of each crop, at the window's resolution; of C the largest difference counts.
        """
        several = self.overlap()
        if not several.any() or any(
            part.shape[-2:] != (b[3] - b[1], b[2] - b[0]) for part, b in zip(parts, self.bounds, strict=True)
        ):
            return None
        low = np.full((*parts[0].shape[:-2], *self.frame.shape), np.inf, dtype=parts[0].dtype)
        high = -low
        for part, bounds in zip(parts, self.bounds, strict=True):
            inner, outer = _inside(self.frame.bounds, bounds)
            np.minimum(low[(..., *inner)], part[(..., *outer)], out=low[(..., *inner)])
            np.maximum(high[(..., *inner)], part[(..., *outer)], out=high[(..., *inner)])
        spread = high - low
        if spread.ndim == 3:
            spread = spread.max(axis=0)
        return np.where(several, spread, np.nan).astype(np.float32)


def _sources(window: Window, bounds: Sequence[PixelBounds], merger: CropPredictionMerger) -> Array:
    """Lets the merger merge the numbers of the crops."""
    x0, y0, x1, y1 = window.bounds
    shape = (y1 - y0, x1 - x0)
    if len(bounds) == 1 and tuple(bounds[0]) == tuple(window.bounds):
        return np.zeros(shape, dtype=np.int32)
    layer = LayerConfig.model_validate(
        {"type": "raster", "band_sets": [{"dtype": "int32", "bands": ["crop"], "nodata_value": -1}]}
    )
    numbered = [
        PendingCropOutput(one, np.full((1, one[3] - one[1], one[2] - one[0]), index, dtype=np.int32))
        for index, one in enumerate(bounds)
    ]
    plain = RasterMerger()
    if isinstance(merger, RasterMerger) and merger.overlap_pixels is not None:
        # One for coarser pixels counts in those.
        plain = RasterMerger(overlap_pixels=merger.overlap_pixels * merger.downsample_factor)
    merged: Array = plain.merge(window, numbered, layer)[0]
    return merged


def _scale(shape: Iterable[int], bounds: PixelBounds) -> Fraction | None:
    """How many pixels of an array there are to one of the window, along each axis."""
    rows, columns = shape
    y_scale, x_scale = Fraction(rows, bounds[3] - bounds[1]), Fraction(columns, bounds[2] - bounds[0])
    # Anything else has been cut or padded, so that its pixels are not where they seem to be.
    return y_scale if y_scale == x_scale and 1 in (y_scale.numerator, y_scale.denominator) else None


def _centres(size: int, scale: Fraction) -> Array:
    """Pixels of the window in which the middles of finer or coarser pixels lie."""
    return ((np.arange(size) * 2 + 1) * scale.denominator // (2 * scale.numerator)).astype(int)


def _inside(frame: Sequence[int], bounds: Sequence[int]) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Rows and columns of what a frame and a crop share: in the frame, in the crop."""
    x0, y0 = max(frame[0], bounds[0]), max(frame[1], bounds[1])
    x1, y1 = max(min(frame[2], bounds[2]), x0), max(min(frame[3], bounds[3]), y0)
    inner = slice(y0 - frame[1], y1 - frame[1]), slice(x0 - frame[0], x1 - frame[0])
    outer = slice(y0 - bounds[1], y1 - bounds[1]), slice(x0 - bounds[0], x1 - bounds[0])
    return inner, outer
