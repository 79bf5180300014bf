from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st

from olmoearth_nb.errors import ConfigError, PostprocessError, UnsupportedError
from olmoearth_nb.postprocess import CombineGeotiff, LinearValueTransform, NoopRaster, mosaic
from olmoearth_nb.postprocess.geotiffs import updating
from olmoearth_nb.protocols import RasterPostprocessor


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def merged(paths, out, **arguments):
    (path,) = CombineGeotiff(**arguments).process_partition(paths, out)
    return path


def test_noop_does_nothing(tif, tmp_path, request_feature):
    path = tif(tmp_path / "a.tif", [[1, 2]], left=0, top=0)
    before = path.read_bytes()
    noop = NoopRaster()
    assert isinstance(noop, RasterPostprocessor)
    assert noop.process_window(request_feature, path) is None
    assert noop.process_partition([path], tmp_path / "out") == []
    assert noop.process_dataset([path], tmp_path / "out") == []
    assert path.read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_combine_has_no_window_stage(request_feature):
    assert "process_window" in CombineGeotiff.unsupported
    with pytest.raises(UnsupportedError, match=r"w\.tif: CombineGeotiff can't process a window: it merges several"):
        CombineGeotiff().process_window(request_feature, Path("w.tif"))


def test_no_inputs_no_outputs(tmp_path):
    assert CombineGeotiff().process_partition([], tmp_path / "out") == []
    assert not (tmp_path / "out").exists()


def test_places_inputs_and_fills_gaps(tif, tmp_path, gradient):
    # South of the equator, west of the origin, the second one lower right of the first with a gap between.
    a, b = gradient(3, 4), gradient(2, 5, seed=3)
    paths = [
        tif(tmp_path / "a.tif", a, left=-200, top=-100, descriptions=["class"]),
        tif(tmp_path / "b.tif", b, left=-150, top=-140),
    ]
    path = merged(paths, tmp_path / "out", nodata_value=255)
    assert path == tmp_path / "out" / "result_epsg32733_0.tif"
    with rasterio.open(path) as dataset:
        assert dataset.transform == Affine(10, 0, -200, 0, -10, -100)
        assert dataset.crs.to_epsg() == 32733
        assert (dataset.nodata, dataset.dtypes, dataset.descriptions) == (255, ("uint8",), ("class",))
        expected = np.full((6, 10), 255, dtype=np.uint8)
        expected[0:3, 0:4], expected[4:6, 5:10] = a, b
        assert np.array_equal(dataset.read(1), expected)
        assert np.array_equal(dataset.read_masks(1) > 0, expected != 255)


def test_class_0_is_data_and_the_first_wins(tif, tmp_path, gradient):
    zeros, ones = np.zeros((4, 4), dtype=np.uint8), gradient(4, 4)
    paths = [tif(tmp_path / "a.tif", zeros, left=0, top=0), tif(tmp_path / "b.tif", ones, left=20, top=20)]
    out = read(merged(paths, tmp_path / "out"))
    assert out[2:, :4].tolist() == zeros.tolist()
    assert out[:4, 4:].tolist() == ones[:, 2:].tolist()
    assert out[:2, 2:4].tolist() == ones[:2, :2].tolist()
    out = read(merged(paths[::-1], tmp_path / "out"))
    assert out[:4, 2:].tolist() == ones.tolist()


def test_class_0_survives_the_next_stage(tif, tmp_path, gradient):
    zeros = np.zeros((2, 2), dtype=np.uint8)
    first = merged([tif(tmp_path / "a.tif", zeros, left=0, top=0)], tmp_path / "p0")
    second = merged([tif(tmp_path / "b.tif", gradient(2, 3), left=0, top=0)], tmp_path / "p1")
    out = CombineGeotiff(nodata_value=9, value_transform={"scale": 1, "offset": 5, "output_dtype": "uint8"})
    (path,) = out.process_dataset([first, second], tmp_path / "results")
    assert read(path).tolist() == [[5, 5, gradient(2, 3)[0, 2] + 5], [5, 5, gradient(2, 3)[1, 2] + 5]]


def test_nodata_of_inputs_is_what_they_say(tif, tmp_path):
    place = {"left": 0, "top": 0}
    inputs = [
        tif(tmp_path / "a.tif", [[7, 1, 7, 7]], nodata=7, **place),
        tif(tmp_path / "b.tif", [[8, 8, 8, 2]], nodata=8, **place),
        tif(tmp_path / "c.tif", [[7, 3, 3, 3]], mask=[[1, 1, 0, 1]], **place),
    ]
    # Each 7 and 8 that is not its own file's nodata is data.
    assert read(merged(inputs, tmp_path / "out", nodata_value=99)).tolist() == [[7, 1, 99, 2]]


def test_nan_is_no_data(tif, tmp_path):
    first = np.array([[np.nan, 1.5, np.nan]], dtype=np.float32)
    second = np.array([[0.0, 9.0, np.nan]], dtype=np.float32)
    paths = [tif(tmp_path / f"{i}.tif", a, left=0, top=0) for i, a in enumerate((first, second))]
    assert read(merged(paths, tmp_path / "out", nodata_value=-1)).tolist() == [[0.0, 1.5, -1.0]]
    path = merged(paths, tmp_path / "out", nodata_value=float("nan"))
    assert np.isnan(read(path)).tolist() == [[False, False, True]]


def test_bands_of_a_pixel_come_from_the_same_input(tif, tmp_path):
    # Band 1 is missing in the first input's second pixel, band 2 is not.
    first, second = [[[1, 0]], [[10, 20]]], [[[5, 6]], [[50, 60]]]
    paths = [
        tif(
            tmp_path / "a.tif", np.array(first, dtype="uint8"), left=0, top=0, nodata=0, descriptions=["class", "conf"]
        ),
        tif(tmp_path / "b.tif", np.array(second, dtype="uint8"), left=0, top=0, nodata=0),
    ]
    with rasterio.open(merged(paths, tmp_path / "out", nodata_value=255)) as dataset:
        assert dataset.read().tolist() == [[[1, 255]], [[10, 20]]]
        assert dataset.descriptions == ("class", "conf")


def test_types_are_promoted(tif, tmp_path):
    paths = [
        tif(tmp_path / "a.tif", np.array([[200]], dtype="uint8"), left=0, top=0),
        tif(tmp_path / "b.tif", np.array([[-300]], dtype="int16"), left=10, top=0),
        # Another CRS is another file of the same result, and of the same type.
        tif(tmp_path / "c.tif", np.array([[3]], dtype="uint8"), left=0, top=0, crs="EPSG:32734"),
    ]
    first, second = CombineGeotiff().process_partition(paths, tmp_path / "out")
    assert read(first).tolist() == [[200, -300]]
    assert second.name == "result_epsg32734_0.tif"
    assert read(first).dtype == read(second).dtype == np.int16


def test_values_are_transformed_where_there_is_data(tif, tmp_path):
    paths = [
        tif(tmp_path / "a.tif", np.array([[0, 1, 255]], dtype="uint8"), left=0, top=0, nodata=255),
        tif(tmp_path / "b.tif", np.array([[200]], dtype="uint8"), left=40, top=0),
    ]
    transform = {"scale": 200.0, "offset": -5.0, "output_dtype": "int16"}
    expected = [[-5, 195, -1, -1, 32767]]
    assert read(merged(paths, tmp_path / "a", nodata_value=-1, value_transform=transform)).tolist() == expected
    same = LinearValueTransform(**transform)
    assert read(merged(paths, tmp_path / "b", nodata_value=-1, value_transform=same)).tolist() == expected


def test_other_grids_are_sampled_at_pixel_centres(tif, tmp_path, gradient, monkeypatch):
    base, coarse, fine, south_up = (
        gradient(2, 4),
        gradient(2, 2, seed=1),
        gradient(8, 8, seed=2),
        gradient(2, 4, seed=5),
    )
    paths = [
        tif(tmp_path / "base.tif", base, left=-100, top=-50),
        tif(tmp_path / "coarse.tif", coarse, left=-100, top=-70, res=20),
        tif(tmp_path / "fine.tif", fine, left=-60, top=-70, res=5),
        tif(tmp_path / "up.tif", south_up, left=0, top=0, transform=Affine(10, 0, -60, 0, 10, -70)),
    ]
    expected = np.zeros((6, 8), dtype=np.uint8)
    expected[:2, :4] = base
    expected[2:6, :4] = coarse.repeat(2, axis=0).repeat(2, axis=1)
    expected[2:6, 4:8] = fine[1::2, 1::2]
    expected[:2, 4:8] = south_up[::-1]
    assert read(merged(paths, tmp_path / "out")).tolist() == expected.tolist()
    monkeypatch.setattr(mosaic, "_MAX_READ", 5)
    assert read(merged(paths, tmp_path / "out")).tolist() == expected.tolist()


def test_an_input_smaller_than_a_pixel_is_no_trouble(tif, tmp_path, gradient):
    paths = [
        tif(tmp_path / "base.tif", gradient(2, 2), left=0, top=0),
        tif(tmp_path / "tiny.tif", [[9]], left=11, top=-11, res=0.5),
    ]
    assert read(merged(paths, tmp_path / "out")).tolist() == gradient(2, 2).tolist()


def test_files_are_split_by_cells(tif, tmp_path, gradient):
    tiles = {(x, y): gradient(4, 4, seed=3 * x + y) for y in range(2) for x in range(3)}
    paths = [tif(tmp_path / f"{x}{y}.tif", a, left=-70 + 40 * x, top=-40 * y) for (x, y), a in tiles.items()]
    outputs = CombineGeotiff(max_pixels_per_dimension=8).process_partition(paths, tmp_path / "out")
    assert [path.name for path in outputs] == ["result_epsg32733_0.tif", "result_epsg32733_1.tif"]
    assert read(outputs[0]).tolist() == np.block([[tiles[0, 0], tiles[1, 0]], [tiles[0, 1], tiles[1, 1]]]).tolist()
    assert read(outputs[1]).tolist() == np.block([[tiles[2, 0]], [tiles[2, 1]]]).tolist()
    with rasterio.open(outputs[1]) as dataset:
        assert dataset.transform == Affine(10, 0, 10, 0, -10, 0)


def test_many_inputs_over_many_blocks(tif, tmp_path, gradient):
    # 9 by 9 inputs of 64 pixels make blocks that cut inputs, and more files than stay open.
    paths, expected = [], np.zeros((576, 576), dtype=np.uint8)
    for y in range(9):
        for x in range(9):
            tile = gradient(64, 64, seed=y * 9 + x)
            expected[y * 64 : y * 64 + 64, x * 64 : x * 64 + 64] = tile
            paths.append(tif(tmp_path / f"{y}_{x}.tif", tile, left=640 * x, top=-640 * y))
    assert np.array_equal(read(merged(paths, tmp_path / "out")), expected)


def test_output_is_the_same_to_the_bit(tif, tmp_path, gradient):
    paths = [tif(tmp_path / f"{i}.tif", gradient(5, 6, seed=i), left=40 * i, top=-20 * i) for i in range(3)]
    assert merged(paths, tmp_path / "a").read_bytes() == merged(paths, tmp_path / "b").read_bytes()


def test_memory_does_not_grow_with_the_output(tif, tmp_path, gradient):
    # 8000 by 6000 pixels are 48 MB of bytes, a block is a quarter of one.
    paths = [
        tif(tmp_path / "a.tif", gradient(8, 8), left=0, top=0),
        tif(tmp_path / "b.tif", gradient(8, 8), left=79_920, top=-59_920),
    ]
    tracemalloc.start()
    path = merged(paths, tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    with rasterio.open(path) as dataset:
        assert dataset.shape == (6000, 8000)
    assert peak < 8e6


def test_errors_name_the_input_and_leave_nothing(tif, tmp_path, gradient):
    good = tif(tmp_path / "good.tif", gradient(64, 64), left=0, top=0)
    cut = tif(tmp_path / "cut.tif", gradient(64, 64), left=640, top=0)
    cut.write_bytes(cut.read_bytes()[:2000])  # a header, but not all pixels
    with pytest.raises(PostprocessError, match=r"absent\.tif: The raster is missing"):
        merged([good, tmp_path / "absent.tif"], tmp_path / "out")
    with pytest.raises(PostprocessError, match=r"cut\.tif: The raster can't be read"):
        merged([good, cut], tmp_path / "out")
    assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_pixels_per_dimension": 0}, r"CombineGeotiff\.max_pixels_per_dimension: .*above 0.*found 0"),
        ({"max_pixels_per_dimension": 10.5}, "max_pixels_per_dimension"),
        ({"nodata_value": "0"}, r"CombineGeotiff\.nodata_value: .*a number.*'0'"),
        ({"nodata_value": -1, "value_transform": {"output_dtype": "uint8"}}, r"nodata_value: .*uint8.*found -1"),
        ({"value_transform": {"gain": 3}}, r"value_transform: .*'gain'"),
    ],
)
def test_arguments_are_checked_by_name(arguments, message):
    with pytest.raises(ConfigError, match=message):
        CombineGeotiff(**arguments)


def test_nodata_has_to_fit_the_data(tif, tmp_path):
    path = tif(tmp_path / "a.tif", np.array([[1]], dtype="uint8"), left=0, top=0)
    with pytest.raises(PostprocessError, match=r"a\.tif: .*a nodata_value that uint8 has; found -1"):
        merged([path], tmp_path / "out", nodata_value=-1)
    assert not (tmp_path / "out").exists()


tiles = st.tuples(
    st.integers(-9, 9), st.integers(-9, 9), st.integers(1, 8), st.integers(1, 8), st.sampled_from([None, 0, 3])
)


@settings(max_examples=15, deadline=None)
@given(st.lists(tiles, min_size=1, max_size=7), st.integers(0, 7), st.integers(0, 2**16))
def test_merging_partitions_is_merging_windows(tif, tmp_path_factory, inputs, cut, seed):
    """However inputs overlap and whatever their nodata, and both are what a dictionary of pixels gives."""
    folder = tmp_path_factory.mktemp("tiles")
    rng = np.random.default_rng(seed)
    paths, pixels = [], {}
    for i, (x, y, width, height, nodata) in enumerate(inputs):
        data = rng.integers(0, 5, (height, width)).astype(np.uint8)
        paths.append(tif(folder / f"{i}.tif", data, left=10 * x, top=-10 * y, nodata=nodata))
        for (row, column), value in np.ndenumerate(data):
            if value != nodata:
                pixels.setdefault((y + row, x + column), int(value))
    combine = CombineGeotiff()
    direct = combine.process_dataset(paths, folder / "direct")
    parts = combine.process_partition(paths[:cut], folder / "p0") + combine.process_partition(
        paths[cut:], folder / "p1"
    )
    staged = combine.process_dataset(parts, folder / "staged")
    assert [path.name for path in direct] == [path.name for path in staged] == ["result_epsg32733_0.tif"]
    with rasterio.open(direct[0]) as one, rasterio.open(staged[0]) as other:
        assert one.profile == other.profile
        assert np.array_equal(one.read(), other.read())
        assert np.array_equal(one.read_masks(1), other.read_masks(1))
        top, left = min(y for _, y, *_ in inputs), min(x for x, *_ in inputs)
        data, valid = one.read(1), one.read_masks(1) > 0
        assert (one.transform.c, one.transform.f) == (10 * left, -10 * top)
    found = {(top + row, left + column): int(data[row, column]) for row, column in np.argwhere(valid)}
    assert found == pixels
    assert not data[~valid].any()


def test_large_results_carry_smaller_pictures_of_the_same_classes(tmp_path: Path) -> None:
    pixels = np.kron(np.random.default_rng(0).integers(1, 5, (40, 75)), np.ones((32, 32))).astype(np.uint8)
    with rasterio.open(
        tmp_path / "in.tif",
        "w",
        driver="GTiff",
        count=1,
        height=1280,
        width=2400,
        dtype="uint8",
        crs="EPSG:32631",
        transform=rasterio.Affine(10, 0, 600_000, 0, -10, 5_000_000),
        nodata=0,
    ) as source:
        source.write(pixels, 1)
    (large,) = CombineGeotiff().process_dataset([tmp_path / "in.tif"], tmp_path / "large")
    with rasterio.open(large) as result:
        assert result.overviews(1) == [2, 4, 8]
        np.testing.assert_array_equal(result.read(1), pixels)
    with rasterio.open(large, overview_level=1) as result:
        np.testing.assert_array_equal(result.read(1), pixels[::4, ::4])
    with updating(large) as result:
        result.write(np.full((1, 640, 2400), 9, np.uint8), window=rasterio.windows.Window(0, 0, 2400, 640))
    with rasterio.open(large, overview_level=1) as result:
        assert (result.read(1)[:160] == 9).all()
        np.testing.assert_array_equal(result.read(1)[160:], pixels[640::4, ::4])
    small = tmp_path / "small.tif"
    with rasterio.open(large) as result:
        profile = {**result.profile, "width": 512, "height": 512}
        with rasterio.open(small, "w", **profile) as part:
            part.write(result.read(window=rasterio.windows.Window(0, 0, 512, 512)))
    (one,) = CombineGeotiff().process_dataset([small], tmp_path / "one")
    with rasterio.open(one) as result:
        assert result.overviews(1) == []
