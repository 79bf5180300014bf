from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import traced
import xarray as xr
from drawings import color_at
from matplotlib.collections import LineCollection

from olmoearth_nb.maps.attribution import input_picture, plot_attribution
from olmoearth_nb.runners.attribution import WindowAttribution
from olmoearth_nb.traces.places import pixels_of

SIZE = 8


def _why(**changes: Any) -> WindowAttribution:
    window = traced.trace_window(size=SIZE)
    values = np.zeros((3, 2, SIZE, SIZE))
    values[1, 0, 2, 5] = 2.0
    values[2, 1, 6, 1] = -1.0
    coords = {"band": ["B04", "$x_1$"], **traced.time_coords(3)}
    array = traced.raster(values, ("time", "band", "y", "x"), window, coords)
    given: dict[str, Any] = {
        "window": window,
        "task": "cover",
        "target": "water",
        "pixels": pixels_of(window, pixel=(2, 5)),
        "method": "integrated_gradients",
        "baseline": "zeros after all transforms",
        "score": 1.5,
        "baseline_score": 0.5,
        "inputs": {"image": array},
        "by_band": {"image": array.sum(["time", "y", "x"])},
        "by_time": {"image": array.sum(["band", "y", "x"])},
        "by_pixel": {"image": array.sum(["time", "band"], keep_attrs=True)},
        "magnitude": {"image": {"band": np.array([2.0, 1.0]), "time": np.array([0.0, 2.0, 1.0])}},
        "images": {"image": traced.raster(np.full((3, 2, SIZE, SIZE), 7.0), array.dims, window, coords)},  # type: ignore[arg-type]
    }
    return WindowAttribution(**given | changes)


def test_bars_by_band_and_by_date() -> None:
    bands, dates = plot_attribution(_why()).axes[:2]
    assert bands.get_title(loc="left") == "by band"
    assert [bar.get_width() for bar in bands.patches] == [2.0, -1.0]  # type: ignore[attr-defined]
    assert [label.get_text() for label in bands.get_yticklabels()] == ["B04", r"\$x_1\$"]
    assert [bar.get_width() for bar in dates.patches] == [0.0, 2.0, -1.0]  # type: ignore[attr-defined]
    assert [label.get_text() for label in dates.get_yticklabels()] == ["2024-03-01", "2024-03-31", "2024-04-30"]


def test_red_speaks_for_it_and_blue_against_it_where_it_is() -> None:
    why = _why()
    ax = why.plot().axes[3]
    pixels = why.by_pixel["image"]

    def color(row: int, column: int) -> tuple[int, int, int]:
        return color_at(ax, float(pixels["x"][column]), float(pixels["y"][row]))

    red, blue, grey = color(2, 5), color(6, 1), color(0, 0)
    assert red[0] > red[2] + 60
    assert blue[2] > blue[0] + 40
    assert max(grey) - min(grey) < 12
    # The pixel that is explained has an outline of four sides.
    lines = [one for one in ax.collections if isinstance(one, LineCollection)]
    assert [len(one.get_segments()) for one in lines] == [4, 4]
    corners = np.concatenate(lines[0].get_segments())
    assert corners.mean(axis=0).tolist() == [float(pixels["x"][5]), float(pixels["y"][2])]


def test_one_date_needs_no_bars() -> None:
    array = _why().inputs["image"].isel(time=[1])
    magnitude = {"image": {"band": np.array([2.0, 0.0]), "time": np.array([2.0])}}
    why = _why(by_time={"image": array.sum(["band", "y", "x"])}, magnitude=magnitude)
    titles = [ax.get_title(loc="left") for ax in plot_attribution(why).axes]
    assert titles[:3] == ["by band", "image", "by pixel"]


def test_a_mask_that_is_not_used_neither_pales_the_colours_nor_takes_room() -> None:
    why = _why()
    small = why.by_pixel["image"] * 1e-3
    small.attrs = why.by_pixel["image"].attrs
    two = _why(
        by_pixel={"image": small, "mask": small * 0},
        by_band=dict.fromkeys(("image", "mask"), why.by_band["image"]),
        by_time=dict.fromkeys(("image", "mask"), why.by_time["image"]),
        magnitude=dict.fromkeys(("image", "mask"), why.magnitude["image"]),
    )
    axes = two.plot().axes
    assert [ax.get_title(loc="left") for ax in axes[2:4]] == ["image", "by pixel"]
    red, _, blue = color_at(axes[3], float(small["x"][5]), float(small["y"][2]))
    assert red > blue + 60


def test_many_bands_are_cut_and_said() -> None:
    count = 40
    by_band = xr.DataArray(np.arange(count, dtype=float), dims="band", coords={"band": [f"F{i}" for i in range(count)]})
    magnitude = {"image": {"band": by_band.values, "time": np.ones(3)}}
    why = _why(by_band={"image": by_band}, magnitude=magnitude)
    ax = plot_attribution(why).axes[0]
    assert ax.get_title(loc="left") == "by band (16 more left out)"
    assert ax.get_yticklabels()[0].get_text() == "F39"
    assert "24 more: .bands()" in repr(why)


def test_a_thumbnail_in_natural_colours_of_the_fullest_date() -> None:
    window = traced.trace_window(size=4)
    values = np.zeros((2, 4, 4, 4))
    values[1] = np.arange(4 * 16).reshape(4, 4, 4) + 1
    values[1, :, 0, 0] = 0
    coords = {"band": ["B02", "B03", "B04", "B08"]}
    image = traced.raster(values, ("time", "band", "y", "x"), window, coords, nodata=0.0)
    picture = input_picture(image)
    assert picture is not None
    assert picture[0, 0, 3] == 0
    assert (picture[1:, :, 3] == 255).all()
    assert picture[3, 3, 0] > picture[0, 1, 0]
    assert input_picture(image[0]) is None


def test_inputs_without_a_place_have_bars_only() -> None:
    why = _why(by_pixel={"image": xr.DataArray(np.zeros((2, 4, 4)), dims=("crop", "y", "x"))})
    assert [ax.get_title(loc="left") for ax in plot_attribution(why).axes] == ["by band", "by date"]


@pytest.mark.parametrize("text", ["<b>", "$\\alpha$"])
def test_names_are_text(text: str) -> None:
    why = _why(target=text)
    assert why.plot()._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    assert "<b>" not in why._repr_html_()
