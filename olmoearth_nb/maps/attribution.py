"""Importance of inputs as a picture: bars by band and date, and the importance of pixels over each input."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from olmoearth_nb.maps.canvas import Picture, plain
from olmoearth_nb.maps.imagery import colored, composite_of, stretch_over
from olmoearth_nb.traces.attribution import Attribution

__all__ = ["input_picture", "plot_attribution"]

_FOR, _AGAINST = "#b2182b", "#2166ac"
_COLORMAP = "RdBu_r"
_MOST_BARS, _LONGEST_NAME = 24, 22
_PANEL = 2.5
_WIDEST_ROW = 4


def plot_attribution(why: Attribution) -> Figure:
    """What the inputs have to do with what the model says: red speaks for it, blue against it.

    Args:
        why: What was found.
    """
    maps = {name: one for name, one in why.by_pixel.items() if one.ndim == 2}
    # An input that has nothing to do with it, a mask say, needs no map.
    maps = {name: one for name, one in maps.items() if _limit(one)} or maps
    bands, dates = why.bands(), why.dates()
    has_dates = any(one.size > 1 for one in why.by_time.values())
    several = len(why.by_band) > 1
    bars = 1 + has_dates
    columns = max(min(len(maps) * 2, _WIDEST_ROW), bars, 1)
    rows = -(-len(maps) * 2 // columns)
    tallest = max(len(bands), len(dates) if has_dates else 0)
    height = 0.6 + 0.17 * min(tallest, _MOST_BARS)
    figure = Picture(figsize=(0.4 + _PANEL * columns, 0.5 + height + _PANEL * rows), dpi=100, layout="constrained")
    heading = f"{why.title}\nscore {why.score:.4g}, {why.method.replace('_', ' ')}"
    figure.suptitle(plain(heading), fontsize=9, x=0.01, ha="left")
    grid = GridSpec(1 + rows, columns * bars, figure=figure, height_ratios=[height, *[_PANEL] * rows])
    axes = [figure.add_subplot(grid[0, index * columns : (index + 1) * columns]) for index in range(bars)]
    _draw_bars(axes[0], bands, "band", several=several)
    if has_dates:
        _draw_bars(axes[1], dates, "date", several=several)
    limit = max((_limit(one) for one in maps.values()), default=0.0) or 1.0
    places = [
        figure.add_subplot(grid[1 + index // columns, index % columns * bars : (index % columns + 1) * bars])
        for index in range(len(maps) * 2)
    ]
    for index, (name, pixels) in enumerate(maps.items()):
        image = why.images.get(name)
        _draw_input(places[2 * index], name, image)
        _draw_pixels(places[2 * index + 1], pixels, image, limit)
        for ax in places[2 * index : 2 * index + 2]:
            _mark(ax, why, pixels)
    if places:
        scale = ScalarMappable(Normalize(-limit, limit), _COLORMAP)
        bar = figure.colorbar(scale, ax=places, location="right", shrink=0.7, pad=0.02, aspect=25, extend="both")
        bar.ax.tick_params(labelsize=6.5)
    return figure


def _draw_bars(ax: Axes, table: pd.DataFrame, what: str, *, several: bool) -> None:
    shown = table.head(_MOST_BARS)
    values = shown["importance"].to_numpy(dtype=float)
    names = [_name(row, what, several=several) for row in shown.to_dict("records")]
    places = np.arange(len(shown))
    ax.barh(places, values, color=np.where(values >= 0, _FOR, _AGAINST).tolist(), height=0.7)
    ax.axvline(0, color="#444444", linewidth=0.6)
    ax.set_yticks(places, names)
    ax.set_ylim(len(shown) - 0.4, -0.6)
    left_out = len(table) - len(shown)
    ax.set_title(f"by {what}" + (f" ({left_out} more left out)" if left_out else ""), loc="left", fontsize=9)
    ax.tick_params(labelsize=7)
    ax.spines[["top", "right"]].set_visible(False)


def _name(row: dict[Any, Any], what: str, *, several: bool) -> str:
    text = f"{row['input']} {row[what]}" if several else str(row[what])
    return plain(text if len(text) <= _LONGEST_NAME else f"…{text[1 - _LONGEST_NAME :]}")


def _limit(pixels: xr.DataArray) -> float:
    """What is darkest: a single pixel must not leave all others white."""
    sizes = np.abs(pixels.values[np.isfinite(pixels.values)])
    sizes = sizes[sizes > 0]
    return float(np.percentile(sizes, 99)) if sizes.size else 0.0


def input_picture(image: xr.DataArray) -> npt.NDArray[np.uint8] | None:
    """A picture of an input, (H, W, 4): natural colours where it has them, of the time step with the most data.

    Args:
        image: (time, band, y, x) as read.

    Returns:
        None if it is no image.
    """
    if image.dims != ("time", "band", "y", "x") or not image.size:
        return None
    names = [str(band) for band in image["band"].values]
    values = image.values[:, [names.index(band) for band in composite_of(names)]].astype(np.float32)
    if "nodata" in image.attrs:
        values[(values == image.attrs["nodata"]).all(axis=1, keepdims=True).repeat(values.shape[1], axis=1)] = np.nan
    step = int(np.isfinite(values).sum(axis=(1, 2, 3)).argmax())
    return colored(values[step], stretch_over([values[step]]))


def _extent(array: xr.DataArray) -> tuple[float, float, float, float]:
    """Left, right, bottom, top in the units of the CRS, or in pixels."""
    rows, columns = array.shape[-2:]
    if "transform" not in array.attrs:
        return 0.0, float(columns), float(rows), 0.0
    a, _, c, _, e, f = (float(number) for number in array.attrs["transform"])
    return c, c + a * columns, f + e * rows, f


def _draw_input(ax: Axes, name: str, image: xr.DataArray | None) -> None:
    picture = None if image is None else input_picture(image)
    if image is not None and picture is not None:
        ax.imshow(picture, extent=_extent(image), interpolation="nearest")
    _bare(ax, name)


def _draw_pixels(ax: Axes, pixels: xr.DataArray, image: xr.DataArray | None, limit: float) -> None:
    picture = None if image is None else input_picture(image)
    if image is not None and picture is not None:
        grey = picture[..., :3].mean(axis=-1) / 255
        # Pale, so that the colours above it are seen.
        ax.imshow(0.55 + 0.45 * grey, extent=_extent(image), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    strength = np.clip(np.abs(np.nan_to_num(pixels.values)) / limit, 0, 1)
    ax.imshow(
        pixels.values,
        extent=_extent(pixels),
        cmap=_COLORMAP,
        vmin=-limit,
        vmax=limit,
        alpha=0.15 + 0.85 * np.sqrt(strength),
        interpolation="nearest",
    )
    _bare(ax, "by pixel")


def _bare(ax: Axes, title: str) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.set_title(plain(title), loc="left", fontsize=9)


def _mark(ax: Axes, why: Attribution, pixels: xr.DataArray) -> None:
    """The outline of the pixels that are explained."""
    if why.pixels.everything or "transform" not in pixels.attrs:
        return
    a, _, c, _, e, f = why.window.transform
    lines = _edges(why.pixels.mask) * np.array([a, e]) + np.array([c, f])
    # A second line below, because the first is not seen on what is dark.
    for color, width in (("white", 2.2), ("#111111", 1.0)):
        ax.add_collection(LineCollection(list(lines), colors=color, linewidths=width))


def _edges(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Sides of pixels between what is in a mask and what is not: (N, 2 ends, x and y)."""
    padded = np.pad(mask, 1)
    across = np.argwhere(padded[1:, 1:-1] != padded[:-1, 1:-1])[:, ::-1]
    down = np.argwhere(padded[1:-1, 1:] != padded[1:-1, :-1])[:, ::-1]
    ends = [
        np.stack([corners, corners + np.array(step)], axis=1) for corners, step in ((across, (1, 0)), (down, (0, 1)))
    ]
    return np.concatenate(ends)
