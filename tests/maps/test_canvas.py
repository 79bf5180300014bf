from __future__ import annotations

import io
import subprocess
import sys
from typing import Any, cast

import numpy as np
import pytest
import shapely
from drawings import color_at, legend_of
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from PIL import Image
from rasterio.crs import CRS

from olmoearth_nb.globe import shape_array
from olmoearth_nb.legend import RangeLegend
from olmoearth_nb.maps.canvas import Picture, add_key_of, add_legend, draw_pixels, key_of, map_axes
from olmoearth_nb.maps.frame import MapFrame
from olmoearth_nb.maps.shapes import OUTLINE, ShapeStyle, draw_shapes, request_shapes
from olmoearth_nb.maps.style import coloring_of

FRAME = MapFrame(CRS.from_epsg(32631), (600_000, 5_000_000, 601_000, 5_000_800))
RED, BLUE = (200, 10, 20), (10, 20, 200)


def pixels(picture: object) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(cast(Any, picture)._repr_png_())).convert("RGB"))


def test_a_picture_shows_itself_without_pyplot() -> None:
    code = (
        "import sys; from IPython.core.formatters import DisplayFormatter\n"
        "from olmoearth_nb.maps.canvas import Picture\n"
        "data, _ = DisplayFormatter().format(Picture(figsize=(2, 1)))\n"
        "assert data['image/png'][:4] == b'\\x89PNG', data\n"
        "assert ' at 0x' not in data['text/plain'], data\n"
        "assert 'matplotlib.pyplot' not in sys.modules and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_picture_of_many_colours_is_small_and_true_to_its_legend() -> None:
    ax = map_axes(FRAME)
    noise = np.random.default_rng(0).integers(0, 256, (80, 100, 4), dtype=np.uint8)
    draw_pixels(ax, FRAME, noise)
    colors = [(3 * i, 255 - 7 * i, 11 * i % 256) for i in range(36)]
    add_legend(ax, [key_of(str(color), color) for color in colors])
    figure = cast(Figure, ax.figure)
    plain = io.BytesIO()
    figure.savefig(plain, format="png", bbox_inches="tight")
    shown = pixels(figure)
    assert len(figure._repr_png_()) < 0.5 * len(plain.getvalue())  # type: ignore[attr-defined]
    there = {tuple(color) for color in np.unique(shown.reshape(-1, 3), axis=0).tolist()}
    assert set(colors) <= there


def test_pixels_lie_where_they_belong_and_nothing_is_transparent() -> None:
    ax = map_axes(FRAME)
    rgba = np.zeros((8, 10, 4), dtype=np.uint8)
    rgba[2, 7] = (*RED, 255)
    empty = color_at(ax, 600_350, 5_000_350)
    draw_pixels(ax, FRAME, rgba)
    assert color_at(ax, 600_702, 5_000_598) == RED
    assert color_at(ax, 600_798, 5_000_502) == RED
    assert color_at(ax, 600_690, 5_000_550) == empty
    assert ax.axis() == (600_000, 601_000, 5_000_000, 5_000_800)


def test_the_scale_bar_is_as_long_as_it_says() -> None:
    ax = map_axes(MapFrame(CRS.from_epsg(4326), (10.0, 59.9, 10.4, 60.1)))
    (bar,) = [artist for artist in ax.artists if isinstance(artist, AnchoredSizeBar)]
    text = bar.txt_label.get_text()
    assert text == "5 km"
    # A degree of longitude at 60° north, from the ellipsoid: 55.8 km.
    assert bar.size_bar.get_children()[0].get_width() * 55_800 == pytest.approx(5000, rel=1e-3)


def test_squares_are_square() -> None:
    ax = map_axes(MapFrame(CRS.from_epsg(4326), (10.0, 59.9, 10.4, 60.1)))
    cast(Figure, ax.figure).savefig(io.BytesIO(), format="png")
    (x0, y0), (x1, y1) = ax.transData.transform([(10.1, 59.95), (10.2, 60.0)])
    assert (x1 - x0) / (y1 - y0) == pytest.approx(1.0, rel=0.01)


def test_names_are_text() -> None:
    ax = map_axes(FRAME, title="$a^2$")
    add_legend(ax, [key_of("_hidden", RED), key_of("$\\frac{$", BLUE)], title="$x$")
    assert legend_of(ax) == [" _hidden", "\\$\\frac{\\$"]
    assert len(pixels(ax.figure))  # matplotlib raises on a formula that it can't read


def test_a_long_legend_is_cut_and_says_so() -> None:
    ax = map_axes(FRAME)
    add_legend(ax, [key_of(str(i), RED) for i in range(100)])
    lines = legend_of(ax)
    assert len(lines) == 65
    assert lines[-1] == "… and 36 more"


def test_shares_of_classes_and_a_bar_for_a_range() -> None:
    ax = map_axes(FRAME)
    add_key_of(ax, coloring_of(np.array([1.0] * 1995 + [2.0] * 4 + [3.0]), None))
    assert legend_of(ax) == ["1  100%", "2  0.2%", "3  <0.1%"]
    other = map_axes(FRAME)
    add_key_of(other, RangeLegend("height", 1, -2.0, 8.0))
    (bar,) = [ax for ax in other.figure.axes if ax is not other]
    assert bar.get_ylabel() == "height"
    assert bar.get_ylim() == (-2, 8)


def test_polygons_keep_their_holes_and_lie_where_they_belong() -> None:
    ax = map_axes(FRAME)
    ground = color_at(ax, 600_500, 5_000_400)
    outer, hole = (
        shapely.box(600_200, 5_000_200, 600_800, 5_000_600),
        shapely.box(600_400, 5_000_300, 600_600, 5_000_500),
    )
    draw_shapes(ax, FRAME, shape_array([outer.difference(hole)]), [RED], ShapeStyle(opacity=1.0))
    assert color_at(ax, 600_300, 5_000_400) == RED
    assert color_at(ax, 600_500, 5_000_400) == ground
    assert color_at(ax, 600_100, 5_000_400) == ground


def test_small_polygons_and_points_are_dots_of_their_colour() -> None:
    ax = map_axes(FRAME)
    tiny = shapely.box(600_299, 5_000_299, 600_301, 5_000_301)
    points = shapely.MultiPoint([(600_500, 5_000_500), (600_700, 5_000_500)])
    shapes = shape_array([tiny, shapely.Point(), points])
    draw_shapes(ax, FRAME, shapes, [RED, (1, 2, 3), BLUE])
    assert color_at(ax, 600_300, 5_000_300) == RED
    assert color_at(ax, 600_500, 5_000_500) == BLUE
    assert color_at(ax, 600_700, 5_000_500) == BLUE


def test_lines_and_outlines_are_drawn() -> None:
    ax = map_axes(FRAME)
    ground = color_at(ax, 600_500, 5_000_400)
    line = shapely.LineString([(600_100, 5_000_700), (600_700, 5_000_700)])
    box = shapely.box(600_200, 5_000_200, 600_800, 5_000_600)
    draw_shapes(ax, FRAME, shape_array([shapely.GeometryCollection([line, box])]), [BLUE], OUTLINE)
    assert color_at(ax, 600_400, 5_000_700) == BLUE
    assert color_at(ax, 600_200, 5_000_400) != ground
    assert color_at(ax, 600_500, 5_000_400) == ground


def test_no_request_has_no_shapes() -> None:
    assert request_shapes(None) == []


def test_figures_are_pictures_for_the_formatter() -> None:
    data, _ = DisplayFormatter().format(map_axes(FRAME).figure)
    assert set(data) == {"text/plain", "image/png"}
    assert isinstance(map_axes(FRAME).figure, Picture)
