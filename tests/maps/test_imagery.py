from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawings import BANDS, add_window, make_dataset, raster_layer, write_layer
from rslearn.config import LayerConfig
from rslearn.dataset import Dataset, Window

from olmoearth_nb.errors import UsageError
from olmoearth_nb.maps.imagery import (
    ImageryView,
    Stretch,
    colored,
    default_bands,
    pick_layer,
    read_bands,
    stretch_over,
    with_layer,
)

BOUNDS = (60_000, -500_000, 60_004, -499_997)
PIXELS = np.arange(1, 37).reshape(3, 3, 4)


def scene(folder: Path, raster: np.ndarray, **band_set: Any) -> tuple[Dataset, Window]:
    dataset = make_dataset(folder, label=raster_layer(["x"]), scene=raster_layer(BANDS, source=True, **band_set))
    window = add_window(dataset, "one", BOUNDS)
    write_layer(dataset, window, "scene", raster)
    return dataset, window


def test_bands_come_in_the_order_they_were_asked_for(tmp_path: Path) -> None:
    dataset, window = scene(tmp_path, PIXELS)
    pixels = read_bands(dataset, window, "scene", ["B3", "B1"])
    assert np.array_equal(pixels, PIXELS[[2, 0]])
    assert np.array_equal(read_bands(dataset, window, "scene"), PIXELS)


def test_only_pixels_without_a_value_in_any_band_are_nothing(tmp_path: Path) -> None:
    raster = PIXELS.copy()
    raster[:, 0, 1] = 9
    raster[1, 2, 2] = 9
    pixels = read_bands(*scene(tmp_path, raster, nodata_value=9), "scene")
    assert np.isnan(pixels[:, 0, 1]).all()
    assert np.isnan(pixels).sum() == 3
    assert pixels[1, 2, 2] == 9


def test_imagery_that_declares_no_nodata_has_0_there_and_labels_have_not(tmp_path: Path) -> None:
    raster = PIXELS.copy()
    raster[:, 1, 0] = 0
    dataset, window = scene(tmp_path, raster)
    write_layer(dataset, window, "label", raster[:1])
    assert np.isnan(read_bands(dataset, window, "scene")[:, 1, 0]).all()
    assert read_bands(dataset, window, "label")[0, 1, 0] == 0
    assert np.isnan(read_bands(dataset, window, "label", nodata=0)[0, 1, 0])


def test_time_steps_are_counted_through_groups_and_stacks(tmp_path: Path) -> None:
    dataset, window = scene(tmp_path, PIXELS)
    stack = np.stack([PIXELS + 100, PIXELS + 200], axis=1)
    write_layer(dataset, window, "scene", PIXELS, stack)
    found = [read_bands(dataset, window, "scene", ["B2"], time_step=step)[0, 0, 0] for step in range(3)]
    assert found == [13, 113, 213]
    with pytest.raises(UsageError, match=r"no time step 3. Expected 0 to 2"):
        read_bands(dataset, window, "scene", time_step=3)


def test_bands_of_several_sets(tmp_path: Path) -> None:
    layer = raster_layer(["B1", "B2"])
    layer["band_sets"].append({"bands": ["B3"], "dtype": "uint16"})
    dataset = make_dataset(tmp_path, scene=layer)
    window = add_window(dataset, "one", BOUNDS)
    with window.data.open_layer_writer("scene") as writer:
        from rslearn.utils.raster_array import RasterArray

        for band_set, part in zip(dataset.layers["scene"].band_sets, (PIXELS[:2], PIXELS[2:]), strict=True):
            raster = RasterArray(chw_array=part.astype(np.uint16))
            raster_format = band_set.instantiate_raster_format()
            writer.write_raster(list(band_set.bands), raster_format, window.projection, window.bounds, raster)
    window.mark_layer_completed("scene")
    assert np.array_equal(read_bands(dataset, window, "scene", ["B3", "B2"]), PIXELS[[2, 1]])


def test_wrong_names_are_told_with_the_right_ones(tmp_path: Path) -> None:
    dataset, window = scene(tmp_path, PIXELS)
    with pytest.raises(UsageError, match=r"no band 'B9'. Expected some of B1, B2, B3"):
        read_bands(dataset, window, "scene", ["B1", "B9"])
    with pytest.raises(UsageError, match=r"no raster layer 'sene'. Expected one of label, scene"):
        pick_layer(dataset, "sene")
    with pytest.raises(UsageError, match="no layer of imagery"):
        pick_layer(make_dataset(tmp_path / "other", label=raster_layer(["x"])))
    with pytest.raises(UsageError, match="one band or three"):
        ImageryView(bands=["B1", "B2"]).resolved(dataset)


def test_the_first_layer_of_imagery_is_shown(tmp_path: Path) -> None:
    dataset, window = scene(tmp_path, PIXELS)
    assert ImageryView().resolved(dataset) == ("scene", ("B3", "B2", "B1"))
    assert ImageryView(bands="B2").resolved(dataset) == ("scene", ("B2",))
    assert np.array_equal(ImageryView(bands="B2").read(dataset, window), PIXELS[1:2])
    assert with_layer([window, add_window(dataset, "two", BOUNDS)], "scene") == [window]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["B02", "B03", "B04", "B08"], ("B04", "B03", "B02")),
        (["B1", "B2", "B3", "B4", "B5"], ("B3", "B2", "B1")),
        (["B8", "B1", "B2", "B3", "B4", "B10"], ("B4", "B3", "B2")),
        (["R", "G", "B"], ("R", "G", "B")),
        (["vv", "vh"], ("vv",)),
    ],
)
def test_natural_colours_by_the_names_of_bands(names: list[str], shown: tuple[str, ...]) -> None:
    assert default_bands(LayerConfig.model_validate(raster_layer(names))) == shown


def test_a_stretch_is_shared() -> None:
    dark, bright = np.full((1, 2, 2), 10, np.float32), np.full((1, 2, 2), 30, np.float32)
    dark[0, 0, 0] = np.nan
    stretch = stretch_over([dark, bright], (0, 100))
    assert stretch == Stretch((10.0,), (30.0,))
    middle = np.array([[[20, 5], [40, np.nan]]], np.float32)
    assert stretch.apply(middle)[0, 0].tolist() == [0.5, 0]
    assert stretch.apply(middle)[0, 1, 0] == 1
    assert np.isnan(stretch.apply(middle)[0, 1, 1])


def test_percentiles_leave_out_what_is_rare() -> None:
    values = np.arange(101, dtype=np.float32).reshape(1, 1, 101)
    assert stretch_over([values], (10, 90)) == Stretch((10.0,), (90.0,))
    with pytest.raises(UsageError, match="percentiles"):
        stretch_over([values], (90, 10))


def test_a_picture_without_contrast_or_without_pixels_has_a_stretch() -> None:
    assert stretch_over([np.full((1, 2, 2), 7, np.float32)]) == Stretch((7.0,), (8.0,))
    assert stretch_over([np.full((3, 2, 2), np.nan, np.float32)]) == Stretch((0.0,) * 3, (1.0,) * 3)


def test_three_bands_are_red_green_blue_and_one_takes_a_colormap() -> None:
    pixels = np.array([[[0, 10]], [[5, 10]], [[10, 10]]], np.float32)
    pixels = np.concatenate([pixels, np.full((3, 1, 1), np.nan, np.float32)], axis=2)
    picture = colored(pixels, Stretch((0.0,) * 3, (10.0,) * 3))
    assert picture[0].tolist() == [[0, 128, 255, 255], [255, 255, 255, 255], [0, 0, 0, 0]]
    grey = colored(pixels[1:2], Stretch((0.0,), (10.0,)))
    assert grey[0, :, 3].tolist() == [255, 255, 0]
    assert grey[0, 1].tolist() == [255, 255, 255, 255]
    with pytest.raises(UsageError, match="no colormap 'gry'"):
        colored(pixels[1:2], Stretch((0.0,), (10.0,)), colormap="gry")
