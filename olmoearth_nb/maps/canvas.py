"""What every map picture has: axes in the map's projection, scale bar, north, legend. By matplotlib, without pyplot."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import Affine2D, Affine2DBase, ScaledTranslation, Transform
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from PIL import Image

from olmoearth_nb.colors import RGB
from olmoearth_nb.maps.frame import MapFrame, nice_step
from olmoearth_nb.maps.style import ClassColors, Coloring

__all__ = ["Picture", "add_key_of", "add_legend", "add_scale_bar", "draw_pixels", "key_of", "map_axes", "plain", "unit"]

_DPI = 100
_WIDEST, _HIGHEST = 4.7, 4.2
_COMMON_COLORS, _GREYS = 48, 16
_MOST_KEYS, _KEYS_IN_COLUMN = 64, 22


class Picture(Figure):
    """A matplotlib figure that shows itself in a notebook.

    It is made without pyplot, so nothing has to be closed and no setting of the notebook changes what it looks like.
    """

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.08)
        handles = [handle for legend in self.findobj(Legend) for handle in legend.legend_handles]
        boxes = [handle.get_facecolor() for handle in handles if isinstance(handle, Patch)]
        return _compact(buffer, np.rint(np.array(boxes, dtype=float).reshape(-1, 4)[:, :3] * 255).astype(int))


def _compact(png: io.BytesIO, exact: npt.NDArray[np.int64]) -> bytes:
    """The same picture in 256 colours, a third of the size: notebooks are kept with their pictures.

    Colours of the legend, and those that most pixels have, stay exactly as they are.
    """
    picture = Image.open(png).convert("RGB")
    # One number a pixel: rows of three take ten times as long to sort.
    numbers, counts = np.unique(np.asarray(picture) @ np.array([1 << 16, 1 << 8, 1]), return_counts=True)
    if len(numbers) > 256:
        colors = np.column_stack([numbers >> 16, numbers >> 8 & 255, numbers & 255])
        common = colors[np.argsort(-counts, kind="stable")[:_COMMON_COLORS]]
        greys = np.repeat(np.linspace(0, 255, _GREYS).round(), 3).reshape(-1, 3)  # for the edges of letters
        kept = np.vstack([exact[:_MOST_KEYS], common, greys]).astype(int)
        others = picture.quantize(256 - len(kept), method=Image.Quantize.MEDIANCUT).getpalette() or []
        palette = Image.new("P", (1, 1))
        palette.putpalette([*kept.ravel().tolist(), *others][: 3 * 256])
        picture = picture.quantize(palette=palette, dither=Image.Dither.NONE)
    out = io.BytesIO()
    picture.save(out, format="png", optimize=True)
    return out.getvalue()


def unit(color: RGB) -> tuple[float, float, float]:
    """A colour as matplotlib takes it: 0..1.

    Args:
        color: Each 0..255.
    """
    red, green, blue = color
    return red / 255, green / 255, blue / 255


def map_axes(frame: MapFrame, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Axes for a map: equal scales on the ground, meridians and parallels, scale bar, north arrow.

    Args:
        frame: Projection and extent.
        title: One line above the map.
        ax: Axes to use; those of a new :class:`Picture` if None.
    """
    if ax is None:
        tall = frame.height * frame.aspect / frame.width
        width = min(_WIDEST, _HIGHEST / tall)
        picture = Picture(figsize=(max(width, 2.2) + 2.2, max(width * tall, 1.2) + 0.6), dpi=_DPI, layout="constrained")
        ax = picture.add_subplot()
    left, bottom, right, top = frame.bounds
    ax.set(xlim=(left, right), ylim=(bottom, top))
    ax.set_aspect(frame.aspect)
    ax.set_title(plain(title), loc="left", fontsize=10)
    ax.set_facecolor("#f4f4f2")
    for axis, ticks in ((ax.xaxis, frame.meridians()), (ax.yaxis, frame.parallels())):
        axis.set_ticks([position for position, _ in ticks], [text for _, text in ticks])
    ax.tick_params(labelsize=7, colors="#555555", length=3)
    for label in ax.get_yticklabels():
        label.set(rotation=90, va="center")
    add_scale_bar(ax, frame, below=True)
    _add_north(ax, frame)
    return ax


def add_scale_bar(ax: Axes, frame: MapFrame, *, below: bool = False) -> None:
    """Adds a bar of a round length, at most a quarter of the map.

    Args:
        ax: The map.
        frame: Its projection and extent.
        below: In the margin, where it hides nothing; else in the lower left corner.
    """
    metres = nice_step(frame.width * frame.metres_per_unit, 4)
    bar = AnchoredSizeBar(
        ax.transData,
        metres / frame.metres_per_unit,
        f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m",
        "upper right" if below else "lower left",
        pad=0.0 if below else 0.35,
        borderpad=0.0 if below else 0.5,
        sep=3,
        frameon=not below,
        fontproperties={"size": 7},
        **({"bbox_to_anchor": (0, -20), "bbox_transform": _points_from(ax, 1, 0)} if below else {}),
    )
    bar.size_bar.get_children()[0].set(linewidth=2, edgecolor="#222222")
    bar.patch.set(alpha=0.8, linewidth=0)
    ax.add_artist(bar)


def _add_north(ax: Axes, frame: MapFrame) -> None:
    """An arrow in the margin below the map."""
    origin = _points_from(ax, 0, 0)
    middle, along = np.array([4.0, -26.0]), np.array(frame.north) * 8
    ax.annotate(
        "N",
        xy=tuple(middle + along),
        xytext=tuple(middle - along),
        xycoords=origin,
        textcoords=origin,
        fontsize=8,
        ha="center",
        va="center",
        arrowprops={"arrowstyle": "-|>", "color": "#222222", "linewidth": 1.2},
        annotation_clip=False,
    )


def _points_from(ax: Axes, x: float, y: float) -> Transform:
    """Points (1/72 inch) from a place in the axes, 0..1."""
    return (
        Affine2D().scale(1 / 72) + ax.figure.dpi_scale_trans + ScaledTranslation(x, y, cast(Affine2DBase, ax.transAxes))
    )


def draw_pixels(ax: Axes, frame: MapFrame, rgba: npt.NDArray[np.uint8], *, opacity: float = 1.0) -> None:
    """Puts a picture under the shapes of a map, pixel by pixel.

    Args:
        ax: The map.
        frame: What the picture covers.
        rgba: Shape (H, W, 4), north up.
        opacity: 0..1.
    """
    left, bottom, right, top = frame.bounds
    # Smoothed only where there are more pixels than the map has, so that single pixels keep their edges.
    how = "nearest" if max(rgba.shape[:2]) <= _WIDEST * _DPI else "antialiased"
    limits = ax.axis()
    ax.imshow(
        rgba,
        extent=(left, right, bottom, top),
        interpolation=how,
        interpolation_stage="rgba",
        alpha=opacity,
        aspect=ax.get_aspect(),
        zorder=1,
    )
    ax.axis(limits)


def key_of(label: str, color: RGB, *, line: bool = False) -> Artist:
    """One line of a legend.

    Args:
        label: Its text.
        color: Its colour.
        line: A line instead of a box.
    """
    if line:
        return Line2D([], [], linewidth=1.4, color=unit(color), label=plain(label))
    return Patch(facecolor=unit(color), edgecolor="#666666", linewidth=0.4, label=plain(label))


def add_legend(ax: Axes, keys: Sequence[Artist], *, title: str = "", below: bool = False) -> None:
    """Puts a legend beside a map.

    Args:
        ax: The map.
        keys: Its lines; very long ones are cut, and say so.
        title: Its heading.
        below: Put it below instead.
    """
    shown = list(keys[:_MOST_KEYS])
    if len(keys) > _MOST_KEYS:
        shown.append(Line2D([], [], linestyle="none", label=f"… and {len(keys) - _MOST_KEYS} more"))
    if shown:
        ax.legend(
            handles=shown,
            title=plain(title) or None,
            loc="upper left",
            bbox_to_anchor=(0.0, -0.02) if below else (1.01, 1.0),
            borderaxespad=0,
            frameon=False,
            fontsize=8,
            title_fontsize=8,
            alignment="left",
            ncols=1 + len(shown) // _KEYS_IN_COLUMN,
        )


def add_key_of(ax: Axes, coloring: Coloring, *, below: bool = False, sheet: Sequence[Axes] = ()) -> None:
    """Puts the legend of classes, or the colour bar of a range, beside a map.

    Args:
        ax: The map.
        coloring: What its colours mean.
        below: Put it below instead.
        sheet: All the axes of a sheet of pictures, if it is for all of them.
    """
    if isinstance(coloring, ClassColors):
        keys = [key_of(f"{one.label}  {_percent(one.share)}", one.color) for one in coloring.shares]
        add_legend(ax, keys, title=coloring.name, below=below)
        return
    scale = Normalize(coloring.min_value, coloring.max_value)
    bar = ax.figure.colorbar(
        ScalarMappable(scale, coloring.colormap_name),
        ax=list(sheet) or ax,
        location="bottom" if below else "right",
        shrink=0.7,
        pad=0.02,
        extend="both",
        aspect=25,
    )
    bar.set_label(plain(coloring.property_name), fontsize=8)
    bar.ax.tick_params(labelsize=7)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 else f"{share:.1%}" if share >= 0.001 else "<0.1%"


def plain(text: str) -> str:
    """A name from a file as it is: matplotlib reads formulas between dollar signs, and hides what begins with _.

    Args:
        text: Any text.
    """
    text = text.replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text
