from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import write_geotiff
from ipywidgets.widgets import widget as widget_module
from shapely import box

from olmoearth_nb.errors import GeometryError
from olmoearth_nb.globe import shape_array
from olmoearth_nb.maps.layers import Layer, LayerKind, PictureLayer, ShapeLayer
from olmoearth_nb.maps.pictures import geotiff_layers
from olmoearth_nb.maps.preview import build_comparison

ONES, TWOS = np.ones((1, 16, 16), np.uint8), np.full((1, 16, 16), 2, np.uint8)


def result(path: Path, pixels: Any, **options: Any) -> list[Layer]:
    return geotiff_layers([write_geotiff(path, pixels, **options)])


def test_each_half_is_cut_by_its_panes_and_the_line_is_a_trait(tmp_path: Path) -> None:
    build_comparison(result(tmp_path / "a.tif", ONES), result(tmp_path / "b.tif", TWOS)).close()
    before = set(widget_module._instances)  # importing leafmap makes some
    view = build_comparison(result(tmp_path / "a.tif", ONES), result(tmp_path / "b.tif", TWOS))
    overlays = [layer for layer in view.map.layers if getattr(layer, "pane", "")]
    assert [one.pane for one in overlays] == ["olmoearth-left-predictions", "olmoearth-right-predictions"]
    assert {one.pane for one in overlays} <= view.map.panes.keys()
    (swipe,) = (widget for widget in widget_module._instances.values() if type(widget).__name__ == "Swipe")
    assert (swipe.left, swipe.right) == ("prediction: a.tif", "prediction: b.tif")
    view.position = 0.25
    assert swipe.position == 0.25
    swipe.position = 0.75
    assert view.position == 0.75
    view.close()
    assert set(widget_module._instances) == before


def test_shapes_become_pictures_so_that_they_can_be_cut(tmp_path: Path) -> None:
    squares = ShapeLayer(
        kind=LayerKind.PREDICTIONS,
        name="squares",
        shapes=shape_array([box(4.27, 45.14, 4.28, 45.15)]),
        colors=[(1, 2, 3)],
    )
    view = build_comparison([squares], result(tmp_path / "b.tif", TWOS))
    panes = [getattr(layer, "pane", "") for layer in view.map.layers]
    assert any(pane.startswith("olmoearth-left-") for pane in panes)
    view.close()


def test_hidden_layers_are_shown_when_they_are_compared(tmp_path: Path) -> None:
    (layer,) = result(tmp_path / "a.tif", ONES)
    assert isinstance(layer, PictureLayer)
    view = build_comparison([replace(layer, shown=False)], [layer])
    assert all(one.shown for one in view.layers)
    view.close()


def test_an_empty_half_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GeometryError, match="nothing to compare on the right"):
        build_comparison(result(tmp_path / "a.tif", ONES), [])


def test_the_picture_has_both_halves_whole_on_the_same_extent(tmp_path: Path) -> None:
    left = result(tmp_path / "a.tif", ONES)
    right = result(tmp_path / "b.tif", TWOS, origin=(600_200, 5_000_100))
    view = build_comparison(left, right)
    axes = [ax for ax in view.static().axes if ax.images]
    assert [ax.get_title(loc="left") for ax in axes] == ["prediction: a.tif", "prediction: b.tif"]
    assert axes[0].get_xlim() == axes[1].get_xlim()
    assert axes[0].get_ylim() == axes[1].get_ylim()
    assert "left" not in repr(view)
    assert repr(view) == "Map of prediction: a.tif | prediction: b.tif"
    view.close()
