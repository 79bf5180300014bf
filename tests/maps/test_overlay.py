from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyproj
import pytest
import rasterio
import scenes
from PIL import Image
from rasterio.crs import CRS
from rasterio.transform import from_origin
from rslearn.utils.geometry import Projection
from shapely.geometry import box, mapping

from olmoearth_nb.errors import GeometryError, InputFileError, MissingStepError, UsageError
from olmoearth_nb.globe import utm_ups_crs
from olmoearth_nb.legend import ClassEntry, ClassLegend, RangeLegend
from olmoearth_nb.maps.imagery import ImageryView
from olmoearth_nb.maps.mercator import MERCATOR, WORLD, to_lonlat, to_mercator
from olmoearth_nb.maps.overlay import (
    Overlay,
    geotiff_imagery_overlay,
    geotiff_overlay,
    imagery_overlay,
    mask_overlay,
    mercator_grid,
    pixels_overlay,
)
from olmoearth_nb.maps.style import ClassColors, coloring_of
from olmoearth_nb.postprocess.mask import Mask

LEGEND = ClassLegend(
    "category", 1, tuple(ClassEntry(value, f"class {value}", (10 * value, 255 - value, value)) for value in range(20))
)


def decoded(overlay: Overlay) -> npt.NDArray[np.uint8]:
    kind, _, data = overlay.data_uri().partition(",")
    assert kind in ("data:image/png;base64", "data:image/webp;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))


def source_pixels(overlay: Overlay, crs: CRS, transform: rasterio.Affine) -> tuple[npt.NDArray[np.float64], ...]:
    """Column and row in the source of every pixel's middle, as Leaflet places the picture between its corners."""
    (south, west), (north, east) = overlay.corners
    height, width = overlay.pixels.shape[:2]
    # Leaflet's SphericalMercator, written out.
    y = {lat: np.log(np.tan(np.pi / 4 + np.radians(lat) / 2)) * 6378137.0 for lat in (south, north)}
    x = {lon: np.radians(lon) * 6378137.0 for lon in (west, east)}
    columns = x[west] + (np.arange(width) + 0.5) / width * (x[east] - x[west])
    rows = y[north] + (np.arange(height) + 0.5) / height * (y[south] - y[north])
    xs, ys = np.meshgrid(columns, rows)
    px, py = pyproj.Transformer.from_crs(3857, crs.to_wkt(), always_xy=True).transform(xs, ys)
    inverse = ~transform
    return inverse.a * px + inverse.b * py + inverse.c, inverse.d * px + inverse.e * py + inverse.f


def assert_in_place(
    overlay: Overlay, values: npt.NDArray[np.uint8], crs: CRS, transform: rasterio.Affine, *, within: float
) -> None:
    """Every pixel of the picture has the colour of the source there, but for ``within`` pixels around edges."""
    column, row = source_pixels(overlay, crs, transform)
    height, width = values.shape
    inside = (column > within) & (column < width - within) & (row > within) & (row < height - within)
    outside = (column < -within) | (column > width + within) | (row < -within) | (row > height + within)
    assert inside.sum() > values.size / 2
    assert (overlay.pixels[inside, 3] == 255).all()
    assert (overlay.pixels[outside, 3] == 0).all()
    off_edges = np.minimum(np.abs(column - np.round(column)), np.abs(row - np.round(row))) > min(within, 0.45)
    clear = inside & off_edges
    there = values[row[clear].astype(int), column[clear].astype(int)]
    expected = np.array([LEGEND.color_of(value) for value in range(20)])[there]
    assert clear.sum() > values.size / 40
    assert (overlay.pixels[clear, :3] == expected).all()


@pytest.mark.parametrize(
    ("lon", "lat"), [(3.1, 0.01), (-78.7, 35.7), (5.9, 45.0), (0.1, -45.0), (5.9, 70.0), (14.5, 70.0)]
)
def test_pixels_lie_where_they_belong_at_any_latitude(tmp_path: Path, lon: float, lat: float) -> None:
    crs = utm_ups_crs(lon, lat)
    x, y = pyproj.Transformer.from_crs(4326, crs.to_wkt(), always_xy=True).transform(lon, lat)
    projection, corner = Projection(crs, 10, -10), (round(x / 10), round(-y / 10))
    values = np.random.default_rng(0).integers(0, 20, (48, 64)).astype(np.uint8)
    transform = from_origin(corner[0] * 10, -corner[1] * 10, 10, 10)
    coloring = coloring_of(values.astype(np.float32), LEGEND)
    bounds = (*corner, corner[0] + 64, corner[1] + 48)
    from_windows = pixels_overlay([(projection, bounds, values[None].astype(np.float32))], coloring)
    assert from_windows.corners[0] == pytest.approx((lat, lon), abs=0.02)
    assert_in_place(from_windows, values, crs, transform, within=0.3)
    path = tmp_path / "result.tif"
    profile = {"driver": "GTiff", "width": 64, "height": 48, "count": 1, "dtype": "uint8", "nodata": 255}
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform) as file:
        file.write(values, 1)
    from_file, _ = geotiff_overlay([path], LEGEND)
    assert_in_place(from_file, values, crs, transform, within=0.3)


def test_a_coarse_picture_is_in_place_within_half_of_its_pixels() -> None:
    values = np.repeat(np.repeat(np.arange(12).reshape(3, 4), 100, axis=0), 100, axis=1).astype(np.uint8)
    projection, bounds = Projection(CRS.from_epsg(32633), 10, -10), (60_000, -776_000, 60_400, -775_700)
    grid = mercator_grid([(projection, bounds)], max_pixels=50)
    assert max(grid.shape) <= 50
    from olmoearth_nb.maps.grid import mosaic
    from olmoearth_nb.maps.style import painted

    pixels = mosaic(grid, [(projection, bounds, values[None].astype(np.float32))], count=1)
    picture = Overlay(painted(pixels[0], coloring_of(pixels, LEGEND)), grid.frame.bounds)
    column, row = source_pixels(picture, projection.crs, from_origin(600_000, 7_760_000, 10, 10))
    half = 0.5 * np.abs(np.diff(column, axis=1)).max() * 1.1
    sure = np.minimum(np.abs(column % 100 - 50), np.abs(row % 100 - 50)) < 50 - half
    sure &= (column > half) & (column < 400 - half) & (row > half) & (row < 300 - half)
    sure &= (np.abs((column + 50) % 100 - 50) > half) & (np.abs((row + 50) % 100 - 50) > half)
    expected = np.array([LEGEND.color_of(v) for v in range(20)])[
        values[row[sure].astype(int), column[sure].astype(int)]
    ]
    assert sure.sum() > 300
    assert (picture.pixels[sure, :3] == expected).all()


def test_degrees_and_metres_agree_with_proj() -> None:
    lonlat = np.array([[0.0, 0.0], [-179.5, 70.0], [12.3, -84.9]])
    xy = np.column_stack(pyproj.Transformer.from_crs(4326, 3857, always_xy=True).transform(*lonlat.T))
    assert np.allclose(to_mercator(lonlat), xy, atol=1e-6)
    assert np.allclose(to_lonlat(xy), lonlat, atol=1e-12)


def test_windows_on_both_sides_of_the_antimeridian_lie_next_to_each_other() -> None:
    one = np.full((1, 40, 40), 3, dtype=np.float32)
    two = np.full((1, 40, 40), 7, dtype=np.float32)
    east = Projection(CRS.from_epsg(32660), 100, -100)
    west = Projection(CRS.from_epsg(32601), 100, -100)
    to_east = pyproj.Transformer.from_crs(4326, 32660, always_xy=True).transform(179.9, 10.0)
    to_west = pyproj.Transformer.from_crs(4326, 32601, always_xy=True).transform(-179.9, 10.0)
    places = [[round(x / 100), round(-y / 100)] for x, y in (to_east, to_west)]
    boxes = [(x - 20, y - 20, x + 20, y + 20) for x, y in places]
    coloring = coloring_of(np.array([3.0, 7.0]), LEGEND)
    picture = pixels_overlay([(east, boxes[0], one), (west, boxes[1], two)], coloring)
    left, _, right, _ = picture.bounds
    assert right - left < WORLD / 1000
    (_, lon), (_, end) = picture.corners
    assert 179 < lon < 180 < end < 181

    def color_at(longitude: float) -> list[int]:
        column = int((longitude - lon) / (end - lon) * picture.pixels.shape[1])
        return picture.pixels[picture.pixels.shape[0] // 2, column].tolist()

    assert color_at(179.9) == [*LEGEND.color_of(3), 255]
    assert color_at(180.1) == [*LEGEND.color_of(7), 255]


def test_nodata_is_transparent_and_colours_survive_the_encoding() -> None:
    values = np.array([[1, np.nan], [np.nan, 2]], dtype=np.float32)
    picture = pixels_overlay(
        [(scenes.PROJECTION, (60_000, -500_000, 60_002, -499_998), values[None])], coloring_of(values, LEGEND)
    )
    found = {tuple(color) for color in decoded(picture).reshape(-1, 4).tolist() if color[3]}
    assert found == {(*LEGEND.color_of(1), 255), (*LEGEND.color_of(2), 255)}
    assert np.array_equal(decoded(picture)[..., 3], picture.pixels[..., 3])
    assert (picture.pixels[..., 3] == 0).any()


def test_a_picture_of_many_colours_survives_too() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 4)).astype(np.uint8)
    assert np.array_equal(decoded(Overlay(pixels, (0, 0, 1, 1))), pixels)


def test_a_range_has_the_colours_of_its_colormap() -> None:
    values = np.linspace(0, 10, 64, dtype=np.float32).reshape(1, 8, 8)
    scale = RangeLegend("height", 1, 0.0, 10.0, "magma")
    picture = pixels_overlay([(scenes.PROJECTION, (60_000, -500_000, 60_008, -499_992), values)], scale)
    shown = {tuple(color) for color in picture.pixels.reshape(-1, 4).tolist() if color[3]}
    assert shown == {tuple(color) for color in scale.colors_of(values).reshape(-1, 4).tolist()}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> scenes.Dataset:
    dataset = scenes.write_dataset(tmp_path_factory.mktemp("data"), scenes.raster_dataset_config())
    for x in (0, 32, 64):
        scenes.add_window(dataset, f"w{x}", (x, 0, x + 32, 32), layers=("scene", "label") if x < 64 else ())
    return dataset


def test_imagery_of_neighbours_has_one_stretch(dataset: scenes.Dataset) -> None:
    windows = dataset.load_windows()
    both = imagery_overlay(dataset, windows, ImageryView(bands="B3"))
    alone = imagery_overlay(dataset, windows[:1], ImageryView(bands="B3", percentiles=(0, 100)))
    assert both.photo
    column, row = source_pixels(both, scenes.PROJECTION.crs, from_origin(*scenes.ORIGIN, 10, 10))
    truth = scenes.scene_array()[2]
    inside = (column > 1) & (column < 63) & (row > 1) & (row < 31)
    assert (both.pixels[inside, 3] == 255).all()
    # Brighter in the scene is brighter in the picture, across windows.
    shown, values = both.pixels[inside, 0].astype(float), truth[row[inside].astype(int), column[inside].astype(int)]
    assert np.corrcoef(shown, np.clip(values, *np.percentile(truth[:32, :64], (2, 98))))[0, 1] > 0.98
    assert alone.pixels.shape[1] > 32
    assert decoded(both).shape == both.pixels.shape


def test_imagery_says_what_is_missing(dataset: scenes.Dataset) -> None:
    windows = dataset.load_windows()
    with pytest.raises(MissingStepError, match="None of the 1 windows has the layer 'scene'"):
        imagery_overlay(dataset, [window for window in windows if window.name == "w64"], ImageryView())
    with pytest.raises(UsageError, match="no band 'B9'"):
        imagery_overlay(dataset, windows, ImageryView(bands="B9"))
    with pytest.raises(UsageError, match="no time step 4"):
        imagery_overlay(dataset, windows, ImageryView(time_step=4))
    with pytest.raises(GeometryError, match="nothing to draw"):
        pixels_overlay([], RangeLegend("x", 1, 0, 1))


def test_imagery_of_a_file_takes_its_bands_by_number(tmp_path: Path) -> None:
    path = scenes.write_scene(tmp_path)
    picture = geotiff_imagery_overlay([path], (3, 2, 1), view=ImageryView(percentiles=(0, 100)))
    column, row = source_pixels(picture, scenes.PROJECTION.crs, from_origin(*scenes.ORIGIN, 10, 10))
    inside = (column > 1) & (column < 127) & (row > 1) & (row < 127)
    for channel, band in enumerate((2, 1, 0)):
        values = scenes.scene_array()[band][row[inside].astype(int), column[inside].astype(int)]
        assert np.corrcoef(picture.pixels[inside, channel], values)[0, 1] > 0.98
    with pytest.raises(UsageError, match="no band 4"):
        geotiff_imagery_overlay([path], (4, 2, 1))


def test_a_large_result_is_read_from_its_overviews(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    options = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "SPARSE_OK": True}
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=10_000,
        height=10_000,
        count=1,
        dtype="uint8",
        nodata=0,
        crs="EPSG:32631",
        transform=from_origin(600_000, 5_000_000, 10, 10),
        **options,
    ) as file:
        for row in range(0, 10_000, 2048):
            file.write(np.full((1, 512, 512), 5, dtype=np.uint8), window=rasterio.windows.Window(row, row, 512, 512))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([4, 8])
    picture, coloring = geotiff_overlay([path], LEGEND)
    assert len(picture.data_uri()) < 100_000
    assert max(picture.pixels.shape) <= 2048
    assert isinstance(coloring, ClassColors)
    assert list(coloring.colors) == [5]
    column, row = source_pixels(picture, CRS.from_epsg(32631), from_origin(600_000, 5_000_000, 10, 10))
    shown = picture.pixels[..., 3] > 0
    starts = np.arange(0, 10_000, 2048)
    blocks = [(column > s) & (column < s + 512) & (row > s) & (row < s + 512) for s in starts]
    # Half a pixel of a picture that shows about five of the file in one.
    sure = np.any([(column > s + 5) & (column < s + 507) & (row > s + 5) & (row < s + 507) for s in starts], axis=0)
    assert shown[sure].all()
    assert abs(shown.sum() / np.any(blocks, axis=0).sum() - 1) < 0.02


def test_several_files_make_one_picture(tmp_path: Path) -> None:
    for index, epsg in enumerate((32631, 32632)):
        x, y = pyproj.Transformer.from_crs(4326, epsg, always_xy=True).transform((5.98, 6.02)[index], 50.0)
        with rasterio.open(
            tmp_path / f"{epsg}.tif",
            "w",
            driver="GTiff",
            width=100,
            height=100,
            count=1,
            dtype="uint8",
            nodata=255,
            crs=f"EPSG:{epsg}",
            transform=from_origin(x, y, 10, 10),
        ) as file:
            file.write(np.full((1, 100, 100), index + 1, dtype=np.uint8))
    picture, coloring = geotiff_overlay(sorted(tmp_path.glob("*.tif")))
    assert isinstance(coloring, ClassColors)
    assert coloring.labels == {1: "1", 2: "2"}
    halves = picture.pixels[picture.pixels.shape[0] // 2]
    assert tuple(halves[20, :3]) == coloring.colors[1]
    assert tuple(halves[-20, :3]) == coloring.colors[2]
    with pytest.raises(InputFileError, match="no GeoTIFF"):
        geotiff_overlay([])


def test_a_mask_is_dark_where_nothing_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "mask.geojson"
    path.write_text(json.dumps(scenes.collection([(dict(mapping(box(5.0, 69.0, 6.0, 70.0))), {})])))
    (left, bottom), (right, top) = to_mercator(np.array([(4.5, 68.5), (6.5, 70.5)])).tolist()
    picture = mask_overlay(Mask.open(path), (left, bottom, right, top))
    lon, lat = source_pixels(picture, CRS.from_epsg(4326), rasterio.Affine.identity())
    inside = (lon > 5.01) & (lon < 5.99) & (lat > 69.01) & (lat < 69.99)
    outside = (lon < 4.99) | (lon > 6.01) | (lat < 68.99) | (lat > 70.01)
    assert (picture.pixels[inside, 3] == 0).all()
    assert (picture.pixels[outside, 3] > 100).all()
    assert picture.frame.crs == MERCATOR
