"""Combined rasters as others read them: Cloud Optimized, with colours and names of classes, and several as one."""

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from rasterio.enums import ColorInterp
from rasterio.windows import Window
from rio_cogeo.cogeo import cog_validate

from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend, RangeLegend
from olmoearth_nb.postprocess.geotiffs import updating
from olmoearth_nb.postprocess.raster import CombineGeotiff

CLASSES = Legend(
    "RASTER",
    classes=(ClassLegend("cover", 1, (ClassEntry(1, "water", (0, 0, 250)), ClassEntry(4, "bog & fen", (90, 60, 30)))),),
)
MEASURES = Legend("RASTER", ranges=(RangeLegend("height", 1, 0.0, 30.0),))


def source(path: Path, pixels: np.ndarray, *, left: float = 600_000, top: float = 5_000_000, **options: object) -> Path:
    pixels = pixels[None] if pixels.ndim == 2 else pixels
    count, height, width = pixels.shape
    profile = {"driver": "GTiff", "crs": "EPSG:32631", "nodata": 0, "dtype": pixels.dtype, **options}
    transform = rasterio.Affine(10, 0, left, 0, -10, top)
    with rasterio.open(path, "w", count=count, height=height, width=width, transform=transform, **profile) as file:
        file.write(pixels)
    return path


def combined(paths: list[Path], folder: Path, legend: Legend | None = None, **options: object) -> list[Path]:
    combine = CombineGeotiff(**options)
    combine.set_legend(legend)
    return combine.process_dataset(paths, folder)


def noise(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 5, shape).astype(dtype)


@pytest.mark.parametrize(
    ("shape", "dtype", "crs"),
    [
        ((40, 30), "uint8", "EPSG:32631"),
        ((700, 1300), "uint8", None),
        ((3, 600, 600), "uint8", "EPSG:32631"),
        ((2, 520, 40), "int16", "EPSG:32631"),
        ((600, 600), "float32", "EPSG:4326"),
        ((5, 80, 90), "float64", "EPSG:32631"),
    ],
)
def test_results_are_cloud_optimized(tmp_path: Path, shape: tuple[int, ...], dtype: str, crs: str | None) -> None:
    pixels = noise(shape, dtype)
    (path,) = combined([source(tmp_path / "in.tif", pixels, crs=crs)], tmp_path / "out")
    valid, errors, warnings = cog_validate(path, strict=True)
    assert (valid, errors, warnings) == (True, [], [])
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(), pixels if pixels.ndim == 3 else pixels[None])
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.nodata == 0
        assert bool(file.overviews(1)) == (max(shape[-2:]) > 512)


def test_a_change_keeps_the_layout(tmp_path: Path) -> None:
    (path,) = combined([source(tmp_path / "in.tif", noise((600, 600), "uint8"))], tmp_path / "out", CLASSES)
    with updating(path) as file:
        file.write(np.full((1, 600, 600), 4, np.uint8))
    assert cog_validate(path, strict=True) == (True, [], [])
    with rasterio.open(path, overview_level=0) as file:
        assert (file.read(1) == 4).all()
        assert file.colormap(1)[4] == (90, 60, 30, 255)
    assert [one.name for one in path.parent.glob("*.tif")] == [path.name]


def test_classes_have_colours_and_names(tmp_path: Path) -> None:
    (path,) = combined([source(tmp_path / "in.tif", noise((20, 20), "uint8"))], tmp_path / "out", CLASSES)
    with rasterio.open(path) as file:
        assert file.colorinterp == (ColorInterp.palette,)
        colors = file.colormap(1)
        # Pixels without data are seen through.
        assert [colors[0], colors[1], colors[4]] == [(0, 0, 0, 0), (0, 0, 250, 255), (90, 60, 30, 255)]
    # GDAL itself reads the names.
    rasterio.shutil.copy(path, tmp_path / "copy.vrt", driver="VRT")
    names = [one.text for one in ET.parse(tmp_path / "copy.vrt").getroot().iter("Category")]
    assert names == [None, "water", None, None, "bog & fen"]


@pytest.mark.parametrize(
    ("shape", "dtype", "legend"),
    [((2, 20, 20), "uint8", CLASSES), ((20, 20), "float32", CLASSES), ((20, 20), "uint8", MEASURES)],
)
def test_what_can_not_have_a_colour_table_has_none(
    tmp_path: Path, shape: tuple[int, ...], dtype: str, legend: Legend
) -> None:
    (path,) = combined([source(tmp_path / "in.tif", noise(shape, dtype))], tmp_path / "out", legend)
    with rasterio.open(path) as file:
        assert ColorInterp.palette not in file.colorinterp
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(("legend", "expected"), [(CLASSES, {10, 50}), (MEASURES, {30})])
def test_overviews_mix_measurements_and_not_classes(tmp_path: Path, legend: Legend, expected: set[int]) -> None:
    pixels = np.indices((600, 600)).sum(axis=0) % 2 * 40 + 10
    (path,) = combined([source(tmp_path / "in.tif", pixels.astype(np.uint8))], tmp_path / "out", legend)
    with rasterio.open(path, overview_level=0) as file:
        assert set(np.unique(file.read(1))) <= expected


def test_several_files_are_one_mosaic(tmp_path: Path) -> None:
    pixels = noise((300, 500), "uint8")
    pixels[:100, :200] = 0
    files = combined(
        [source(tmp_path / f"{row}{column}.tif", pixels[row : row + 100, column : column + 100],
                left=600_000 + 10 * column, top=5_000_000 - 10 * row)
         for row in range(0, 300, 100) for column in range(0, 500, 100)],
        tmp_path / "out", CLASSES, max_pixels_per_dimension=200,
    )  # fmt: skip
    assert len(files) == 6
    moved = (tmp_path / "out").rename(tmp_path / "moved")
    with rasterio.open(moved / "result_epsg32631.vrt") as mosaic:
        # Cells without data have no file, so that the mosaic may begin with the first one that has.
        row = round((5_000_000 - mosaic.transform.f) / 10)
        column = round((mosaic.transform.c - 600_000) / 10)
        assert (row, column) == (0, 0)
        np.testing.assert_array_equal(mosaic.read(1), pixels)
        np.testing.assert_array_equal(mosaic.read_masks(1) > 0, pixels > 0)
        assert mosaic.crs.to_epsg() == 32631
        assert (mosaic.nodata, mosaic.dtypes) == (0, ("uint8",))
        assert mosaic.colormap(1)[4] == (90, 60, 30, 255)
        np.testing.assert_array_equal(mosaic.read(1, window=Window(150, 90, 130, 140)), pixels[90:230, 150:280])


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32", "float64"])
def test_a_mosaic_keeps_type_and_descriptions(tmp_path: Path, dtype: str) -> None:
    pixels = noise((2, 20, 40), dtype)
    paths = []
    for number, part in enumerate(np.split(pixels, 2, axis=2)):
        paths.append(source(tmp_path / f"{number}.tif", part, left=600_000 + 200 * number))
        with rasterio.open(paths[-1], "r+") as file:
            file.descriptions = ("height", "error")
    combined(paths, tmp_path / "out", max_pixels_per_dimension=20)
    with rasterio.open(tmp_path / "out" / "result_epsg32631.vrt") as mosaic:
        assert mosaic.dtypes == (dtype, dtype)
        assert mosaic.descriptions == ("height", "error")
        np.testing.assert_array_equal(mosaic.read(), pixels)
