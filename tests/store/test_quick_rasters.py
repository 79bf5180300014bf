"""Rasters read without a warp are those that rslearn reads."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.enums import ColorInterp, Resampling
from rslearn.config import DType
from rslearn.dataset import Window
from rslearn.dataset.storage.file import FileWindowStorage
from rslearn.dataset.window_data_storage.per_item_group import PerItemGroupStorage, per_item_group_raster_dir
from rslearn.utils.geometry import PixelBounds, Projection
from rslearn.utils.raster_array import RasterArray, RasterMetadata
from rslearn.utils.raster_format import GeotiffRasterFormat, NumpyRasterFormat
from upath import UPath

from olmoearth_nb.store.dataset import ScratchDataset
from olmoearth_nb.store.quick_rasters import QuickRasters, quick_format

from .conftest import create, spec

UTM = Projection(CRS.from_epsg(32637), 10, -10)
BOUNDS = (100, -240, 140, -200)
TIMES = (datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 6, 2, tzinfo=UTC))


def window(folder: Path, projection: Projection = UTM, bounds: PixelBounds = BOUNDS) -> Window:
    storage = FileWindowStorage(UPath(folder))
    return Window(storage=storage, group="g", name="w", projection=projection, bounds=bounds, time_range=None)


def write(one: Window, pixels: npt.NDArray[Any], form: GeotiffRasterFormat | None = None, **told: Any) -> Path:
    """Writes (C, T, H, W) as rslearn does, or in another format; returns the file."""
    with PerItemGroupStorage(one).open_layer_writer("image") as writer:
        writer.write_raster(
            ["a", "b"], form or GeotiffRasterFormat(), one.projection, one.bounds, RasterArray(array=pixels, **told)
        )
    return Path(str(per_item_group_raster_dir(one.window_root, "image", ["a", "b"], 0))) / "geotiff.tif"


def both(one: Window, **wanted: Any) -> tuple[RasterArray, RasterArray]:
    """What rslearn reads, and what we do."""
    wanted = {"resampling": Resampling.nearest, **wanted}
    return tuple(  # type: ignore[return-value]
        storage(one).read_raster("image", ["a", "b"], GeotiffRasterFormat(), **wanted)
        for storage in (PerItemGroupStorage, QuickRasters)
    )


def same(theirs: RasterArray, ours: RasterArray) -> None:
    assert ours.array.dtype == theirs.array.dtype
    np.testing.assert_array_equal(ours.array, theirs.array)
    assert ours.timestamps == theirs.timestamps
    np.testing.assert_equal(ours.metadata.nodata_value, theirs.metadata.nodata_value)


@pytest.fixture
def without_warp(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading through a warp fails."""

    def warp(*_: Any, **__: Any) -> None:
        raise AssertionError("a warp")

    monkeypatch.setattr(PerItemGroupStorage, "read_raster", warp)


def pixels_of(dtype: str, count: int, steps: int, seed: int) -> npt.NDArray[Any]:
    values = np.random.default_rng(seed).integers(0, 4, (count, steps, 40, 40)).astype(dtype)
    if np.issubdtype(values.dtype, np.floating):
        values[values == 3] = np.nan
    return values


@settings(deadline=None, max_examples=40)
@example(dtype="int32", count=2, steps=1, nodata=0, box=(0, 0, 1, 1), scale=1, timed=False, seed=0)
@given(
    dtype=st.sampled_from(["uint8", "uint16", "int16", "int32", "float32", "float64"]),
    count=st.integers(1, 5),
    steps=st.sampled_from([1, 1, 3]),
    nodata=st.sampled_from([None, 0, 1, 2, float("nan"), -9999]),
    box=st.tuples(st.integers(-5, 44), st.integers(-5, 44), st.integers(1, 20), st.integers(1, 20)),
    scale=st.sampled_from([1, 1, 2, 0.5]),
    timed=st.booleans(),
    seed=st.integers(0, 9),
)
def test_same_as_rslearn(
    tmp_path_factory: pytest.TempPathFactory,
    dtype: str,
    count: int,
    steps: int,
    nodata: float | None,
    box: tuple[int, int, int, int],
    scale: float,
    timed: bool,
    seed: int,
) -> None:
    one = window(tmp_path_factory.mktemp("windows"))
    if nodata is not None and dtype[0] != "f" and (nodata != nodata or (nodata < 0 and dtype[0] == "u")):
        nodata = 3
    told = {"timestamps": [TIMES] * steps} if timed else {}
    write(one, pixels_of(dtype, count, steps, seed), metadata=RasterMetadata(nodata_value=nodata), **told)
    x0, y0 = BOUNDS[0] + box[0], BOUNDS[1] + box[1]
    projection = Projection(UTM.crs, UTM.x_resolution / scale, UTM.y_resolution / scale)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(*both(one, projection=projection, bounds=(x0, y0, x0 + box[2], y0 + box[3])))
        same(*both(one))


@settings(deadline=None, max_examples=20)
@given(
    dtype=st.sampled_from(list(DType)),
    stored=st.sampled_from(["uint8", "uint16", "float32"]),
    count=st.integers(1, 5),
    steps=st.sampled_from([1, 3]),
    nodata=st.sampled_from([None, 1]),
    large=st.booleans(),
)
def test_the_quick_format_keeps_what_rslearns_own_keeps(
    tmp_path_factory: pytest.TempPathFactory,
    dtype: DType,
    stored: str,
    count: int,
    steps: int,
    nodata: float | None,
    large: bool,
) -> None:
    bounds = (0, 0, 530, 40) if large else BOUNDS  # beyond 512 pixels rslearn's are tiled
    one, other = (window(tmp_path_factory.mktemp("windows"), bounds=bounds) for _ in range(2))
    shape = count, steps, bounds[3] - bounds[1], bounds[2] - bounds[0]
    # Whatever the configuration says, the array may be of another type.
    pixels = np.random.default_rng(0).integers(0, 200, shape).astype(stored)
    told = {"metadata": RasterMetadata(nodata_value=nodata), "timestamps": [TIMES] * steps}
    files = write(one, pixels, **told), write(other, pixels, quick_format(dtype), **told)
    same(
        *(PerItemGroupStorage(found).read_raster("image", ["a", "b"], GeotiffRasterFormat()) for found in (one, other))
    )
    same(both(one)[0], both(other)[1])
    with rasterio.open(files[0]) as usual, rasterio.open(files[1]) as quick:
        assert (quick.crs, quick.transform, quick.dtypes) == (usual.crs, usual.transform, usual.dtypes)
        assert (quick.colorinterp, quick.mask_flag_enums, quick.block_shapes[0][1]) == (
            usual.colorinterp,
            usual.mask_flag_enums,
            usual.block_shapes[0][1],
        )
        assert quick.compression.name == "zstd"


@pytest.mark.usefixtures("without_warp")
@pytest.mark.parametrize("part", [BOUNDS, (110, -230, 120, -201)], ids=["whole", "part"])
def test_its_own_pixels_need_no_warp(tmp_path: Path, part: PixelBounds) -> None:
    one, pixels = window(tmp_path), pixels_of("uint16", 2, 1, 0)
    write(one, pixels)
    read = QuickRasters(one).read_raster(
        "image", ["a", "b"], GeotiffRasterFormat(), bounds=part, resampling=Resampling.nearest
    )
    x0, y0, x1, y1 = part
    np.testing.assert_array_equal(read.array, pixels[..., y0 + 240 : y1 + 240, x0 - 100 : x1 - 100])


@pytest.mark.parametrize("epsg", [4326, 3857, 32637, 3413, 5070])
def test_projections(tmp_path: Path, epsg: int) -> None:
    resolution = 0.0001 if epsg == 4326 else 10
    one = window(tmp_path, Projection(CRS.from_epsg(epsg), resolution, -resolution))
    write(one, pixels_of("float32", 2, 1, 1))
    same(*both(one))


def test_transparent_pixels(tmp_path: Path) -> None:
    one = window(tmp_path)
    path = write(one, pixels_of("uint8", 4, 1, 2))
    with rasterio.open(path, "r+") as target:
        target.colorinterp = [ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha]
    same(*both(one))


def test_a_mask_beside(tmp_path: Path) -> None:
    one = window(tmp_path)
    path = write(one, pixels_of("uint8", 2, 1, 2))
    with rasterio.open(path, "r+") as target:
        target.write_mask(np.arange(1600).reshape(40, 40) % 2 == 0)
    same(*both(one))


def test_another_grid(tmp_path: Path) -> None:
    one = window(tmp_path)
    path = write(one, pixels_of("uint8", 2, 1, 3))
    with rasterio.open(path, "r+") as target:
        target.transform = rasterio.Affine(10, 0, 1003, 0, -10, 2401)
    same(*both(one))


def test_another_format(tmp_path: Path) -> None:
    one, pixels = window(tmp_path), pixels_of("uint8", 2, 1, 4)
    with PerItemGroupStorage(one).open_layer_writer("image") as writer:
        writer.write_raster(["a", "b"], NumpyRasterFormat(), one.projection, one.bounds, RasterArray(array=pixels))
    read = QuickRasters(one).read_raster("image", ["a", "b"], NumpyRasterFormat(), resampling=Resampling.nearest)
    np.testing.assert_array_equal(read.array, pixels)


def test_without_a_file_the_error_is_that_of_rslearn(tmp_path: Path) -> None:
    one, errors = window(tmp_path), []
    for storage in (PerItemGroupStorage, QuickRasters):
        with pytest.raises(Exception) as raised:  # noqa: PT011
            storage(one).read_raster("image", ["a", "b"], GeotiffRasterFormat(), resampling=Resampling.nearest)
        errors.append((type(raised.value), str(raised.value)))
    assert errors[0] == errors[1]


def test_windows_of_a_scratch_are_read_so(dataset: ScratchDataset) -> None:
    create(dataset, spec("a", 0, 0))
    assert [type(one.data) for one in dataset.load_windows()] == [QuickRasters]
