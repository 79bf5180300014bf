from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.enums import Resampling

from olmoearth_nb.errors import ConfigError, PostprocessError
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend
from olmoearth_nb.postprocess import CombineGeotiff
from olmoearth_nb.postprocess.blending import edge_weights

LEGEND = Legend(
    "RASTER",
    classes=(ClassLegend("kind", 1, tuple(ClassEntry(n, f"class {n}", (n, 2 * n, 200)) for n in range(3))),),
)


def read(path):
    with rasterio.open(path) as dataset:
        return dataset.read(), dataset.read_masks(1) != 0


def blended(paths, out, *, times=None, **arguments):
    combine = CombineGeotiff(**({"overlap": "mean", "nodata_value": -1} | arguments))
    combine.set_times(times or {})
    return combine.process_dataset(paths, out)


def windows_of(tif, folder, places, size, *, seed=0, bands=3):
    """Random probabilities, one file for each upper left corner in pixels."""
    random = np.random.default_rng(seed)
    paths, arrays = [], []
    for number, (x, y) in enumerate(places):
        values = random.dirichlet(np.ones(bands), (size, size)).transpose(2, 0, 1).astype(np.float32)
        paths.append(tif(folder / f"w{number}.tif", values, left=10 * x, top=-10 * y))
        arrays.append(values)
    return paths, arrays


def expected(places, arrays, size):
    """The weighted mean, pixel by pixel, from the whole arrays at once."""
    x1, y1 = (max(place[axis] for place in places) + size for axis in (0, 1))
    above, below = np.zeros((len(arrays[0]), y1, x1)), np.zeros((y1, x1))
    weights = np.outer(edge_weights(size), edge_weights(size))
    for (x, y), values in zip(places, arrays, strict=True):
        above[:, y : y + size, x : x + size] += weights * values
        below[y : y + size, x : x + size] += weights
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0), below > 0


@pytest.mark.parametrize("size", [1, 2, 7, 64, 20_000])
def test_weights_are_symmetric_and_never_zero(size):
    weights = edge_weights(size)
    assert np.array_equal(weights, weights[::-1])
    assert weights[0] ** 2 > 0
    assert weights.max() <= 1
    assert (np.diff(weights[: (size + 1) // 2]) > 0).all()


def test_the_mean_is_weighted(tif, tmp_path):
    places, size = [(0, 0), (20, 0), (0, 20), (20, 20), (10, 13)], 32
    paths, arrays = windows_of(tif, tmp_path, places, size)
    (path,) = blended(paths, tmp_path / "out")
    values, valid = read(path)
    mean, there = expected(places, arrays, size)
    assert np.array_equal(valid, there)
    assert np.abs(values - mean)[:, valid].max() < 1e-7
    assert np.abs(values.sum(axis=0) - 1)[valid].max() < 1e-6  # still probabilities
    (path,) = blended(paths, tmp_path / "classes", overlap="classes", nodata_value=255)
    classes, _ = read(path)
    assert classes.dtype == np.uint8
    assert np.array_equal(classes[0], np.where(there, mean.argmax(axis=0), 255))


def test_without_overlap_nothing_changes(tif, tmp_path):
    places = [(0, 0), (16, 0), (40, 16)]
    paths, arrays = windows_of(tif, tmp_path, places, 16, bands=2)
    (path,), (first,) = blended(paths, tmp_path / "out"), blended(paths, tmp_path / "first", overlap="first")
    (values, valid), (before, valid_before) = read(path), read(first)
    assert np.array_equal(values, before)
    assert np.array_equal(valid, valid_before)
    assert np.array_equal(values[:, 16:, 40:], arrays[2])


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_neither_order_nor_partitions_matter(tif, tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("blend")
    places = data.draw(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), min_size=2, max_size=6, unique=True))
    cell = data.draw(st.sampled_from([10_000, 16, 7]))
    paths, arrays = windows_of(tif, folder, places, 12)
    shuffled = data.draw(st.permutations(paths))
    results = [
        {path.name: path.read_bytes() for path in blended(given, folder / name, max_pixels_per_dimension=cell)}
        for name, given in (("a", paths), ("b", shuffled))
    ]
    assert results[0] == results[1]
    # Every output has the mean of all windows, whichever output those belong to.
    low = np.min(places, axis=0)
    mean, there = expected([tuple(place - low) for place in np.array(places)], arrays, 12)
    for name in results[0]:
        with rasterio.open(folder / "a" / name) as output:
            column, row = round(output.transform.c / 10) - low[0], round(-output.transform.f / 10) - low[1]
            rows, columns = slice(row, row + output.height), slice(column, column + output.width)
            valid = output.read_masks(1) != 0
            assert np.array_equal(valid, there[rows, columns])
            assert np.abs(output.read() - mean[:, rows, columns])[:, valid].max() < 1e-6


def test_what_is_no_data_weighs_nothing(tif, tmp_path):
    a, b = np.full((1, 4, 8), 0.25, dtype=np.float32), np.full((1, 4, 8), 0.75, dtype=np.float32)
    a[0, 1, 5], a[0, 2, 6] = np.nan, -9
    b[0, 3, 0] = -9
    paths = [
        tif(tmp_path / "a.tif", a, left=0, top=0, nodata=-9),
        tif(tmp_path / "b.tif", b, left=40, top=0, nodata=-9),
    ]
    (path,) = blended(paths, tmp_path / "out")
    values, valid = read(path)
    assert valid.all()
    assert values[0, 1, 5] == values[0, 2, 6] == 0.75
    assert values[0, 3, 4] == 0.25
    between = values[0, 0, 4:8]
    assert ((between > 0.25) & (between < 0.75)).all()
    assert (np.diff(between) > 0).all()
    hole = np.full((1, 4, 8), -9, dtype=np.float32)
    paths[1] = tif(tmp_path / "40.tif", hole, left=40, top=0, nodata=-9)
    values, valid = read(blended(paths, tmp_path / "hole")[0])
    assert valid.sum() == 30
    assert (values[~np.broadcast_to(valid, values.shape)] == -1).all()


def test_windows_of_different_times_are_not_mixed(tif, tmp_path):
    old, new = [(0, 0), (12, 0)], [(6, 0), (18, 0)]
    paths, arrays = windows_of(tif, tmp_path, old + new, 16, bands=1)
    spring, summer = ((datetime(2024, month, 1, tzinfo=UTC), datetime(2024, month, 9, tzinfo=UTC)) for month in (4, 7))
    times = {str(path): spring if n < 2 else summer for n, path in enumerate(paths)}
    (path,) = blended(paths, tmp_path / "out", times=times)
    values, valid = read(path)
    earlier, _ = expected(old, arrays[:2], 16)
    later, has_later = expected(new, arrays[2:], 16)
    mean = later.copy()
    mean[:, :, :6] = earlier[:, :, :6]
    assert valid.all()
    assert np.abs(values - mean).max() < 1e-7
    (again,) = blended(paths[::-1], tmp_path / "again", times=times)
    assert again.read_bytes() == path.read_bytes()
    assert not has_later[:, :6].any()


def test_classes_have_the_legends_colours(tif, tmp_path):
    paths, _ = windows_of(tif, tmp_path, [(0, 0), (500, 0)], 600)
    combine = CombineGeotiff(overlap="classes", nodata_value=255)
    combine.set_legend(LEGEND)
    (path,) = combine.process_dataset(paths, tmp_path / "out")
    with rasterio.open(path) as output:
        assert output.colormap(1)[2] == (2, 4, 200, 255)
        assert output.count == 1
        assert set(np.unique(output.read(1, out_shape=(300, 550), resampling=Resampling.nearest))) <= {0, 1, 2}
    assert "class 2" in path.with_name(f"{path.name}.aux.xml").read_text()
    assert combine.from_windows
    assert not CombineGeotiff().from_windows


@pytest.mark.parametrize("known", [True, False])
def test_a_class_that_means_nothing_is_no_data(tif, tmp_path, known):
    paths, arrays = windows_of(tif, tmp_path, [(0, 0)], 8)
    entries = tuple(ClassEntry(n, f"class {n}", (n, 2 * n, 200)) for n in range(0 if known else 1, 3))
    combine = CombineGeotiff(overlap="classes", nodata_value=0)
    combine.set_legend(Legend("RASTER", classes=(ClassLegend("kind", 1, entries),)))
    (path,) = combine.process_dataset(paths, tmp_path / "out")
    classes, valid = read(path)
    assert np.array_equal(classes[0], arrays[0].argmax(axis=0))
    assert np.array_equal(valid, np.ones_like(valid) if known else classes[0] != 0)


def test_probabilities_have_averaged_overviews(tif, tmp_path):
    paths, _ = windows_of(tif, tmp_path, [(0, 0), (500, 0)], 600, bands=2)
    combine = CombineGeotiff(overlap="mean", nodata_value=-1)
    combine.set_legend(LEGEND)
    (path,) = combine.process_dataset(paths, tmp_path / "out")
    with rasterio.open(path, overview_level=0) as half, rasterio.open(path) as full:
        whole = full.read(1)[:100, :100].reshape(50, 2, 50, 2).mean(axis=(1, 3))
        assert np.abs(half.read(1)[:50, :50] - whole).max() < 1e-6


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"overlap": "median"}, "CombineGeotiff.overlap: .* Expected one of first, mean, classes"),
        ({"overlap": "classes", "value_transform": {"scale": 2.0}}, "CombineGeotiff.value_transform"),
    ],
)
def test_arguments_are_checked(arguments, match):
    with pytest.raises(ConfigError, match=match):
        CombineGeotiff(**arguments)


def test_classes_can_not_be_blended(tif, tmp_path, gradient):
    paths = [tif(tmp_path / "a.tif", gradient(4, 4), left=0, top=0)]
    with pytest.raises(PostprocessError, match=r"found uint8.*output_probs: true"):
        blended(paths, tmp_path / "out")
    paths = [tif(tmp_path / "b.tif", gradient(4, 4, "float32"), left=0, top=0)]
    with pytest.raises(PostprocessError, match=r"Expected a band for each class.*overlap: mean"):
        blended(paths, tmp_path / "out", overlap="classes")


def test_memory_does_not_grow_with_the_windows(tif, tmp_path):
    places = [(300 * x, 300 * y) for x in range(6) for y in range(6)]
    values = np.random.default_rng(0).random((2, 512, 512)).astype(np.float32)
    paths = [tif(tmp_path / f"{x}_{y}.tif", values, left=10 * x, top=-10 * y) for x, y in places]
    peaks = []
    for count in (4, 36):
        tracemalloc.start()
        blended(paths[:count], tmp_path / f"out_{count}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 80 * 2**20
