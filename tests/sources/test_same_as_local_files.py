"""``LocalRasters`` in place of ``LocalFiles``: the same arrays, whatever the layer asks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.control import GroundControlPoint
from rasterio.transform import Affine

from .conftest import OURS, THEIRS, build, layer, rasters, window, write_raster

INSIDE, EDGE, OUTSIDE = window("inside", 8, 20), window("edge", 48, -10), window("outside", 400, 0)
WINDOWS = [INSIDE, EDGE, OUTSIDE]
# Where the files lie, in other projections.
MERCATOR = window("mercator", 47_565, -564_450, 32, crs="EPSG:3857")
DEGREES = window("degrees", 42_730, -451_455, 32, crs="EPSG:4326", resolution=1e-4)
NEXT_ZONE = window("zone", 12_690, -501_130, 24, crs="EPSG:32632")


def _compare(tmp_path: Path, windows: list[Any], bands: Any = ("B1", "B2"), **options: Any) -> list[Any]:
    """Builds the same windows with both sources and compares every pixel, time and nodata value."""
    ours, outcome = build(tmp_path / "ours", layer(OURS, tmp_path / "imagery", bands=bands, **options), windows)
    theirs, expected = build(tmp_path / "theirs", layer(THEIRS, tmp_path / "imagery", bands=bands, **options), windows)
    assert outcome == expected
    found = []
    for spec in windows:
        pairs = list(zip(rasters(ours, spec), rasters(theirs, spec), strict=True))
        for one, other in pairs:
            assert one.array.dtype == other.array.dtype
            np.testing.assert_array_equal(one.array, other.array)
            np.testing.assert_array_equal(one.metadata.nodata_value, other.metadata.nodata_value)  # NaN is NaN here
            assert one.timestamps == other.timestamps
        found += [one.array for one, _ in pairs]
    assert any(array.any() for array in found)
    return found


@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "cubic", "cubic_spline"])
def test_resampling_onto_other_grids_and_projections(tmp_path: Path, resampling: str) -> None:
    write_raster(tmp_path / "imagery" / "scene.tif", offset=(0.3, 0.7), nodata=0)
    found = _compare(tmp_path, [*WINDOWS, MERCATOR, DEGREES], resampling_method=resampling)
    assert len(found) == 4


BAND_SETS: dict[str, list[dict[str, Any]]] = {
    "order": [{"bands": ["B3", "B1"], "dtype": "float32", "nodata_value": -1}],
    "several": [{"bands": ["B1"], "dtype": "uint8"}, {"bands": ["B2", "B3"], "dtype": "uint16", "zoom_offset": -1}],
    "finer": [{"bands": ["B2"], "dtype": "uint16", "zoom_offset": 1}],
    "size": [{"bands": ["B2"], "dtype": "uint16", "spatial_size": [20, 10]}],
    "remap": [{"bands": ["B1", "B2"], "dtype": "uint8", "remap": {"name": "linear", "src": [0, 200], "dst": [0, 255]}}],
    "numpy": [
        {"bands": ["B1"], "dtype": "int32", "format": {"class_path": "rslearn.utils.raster_format.NumpyRasterFormat"}}
    ],
}


@pytest.mark.parametrize("band_sets", BAND_SETS.values(), ids=BAND_SETS.keys())
def test_band_sets(tmp_path: Path, band_sets: list[dict[str, Any]]) -> None:
    write_raster(tmp_path / "imagery" / "scene.tif", count=3, nodata=7)
    _compare(tmp_path, WINDOWS, band_sets=band_sets)


QUERIES: list[dict[str, Any]] = [
    {"space_mode": "MOSAIC", "max_matches": 2},
    {"space_mode": "INTERSECTS", "max_matches": 3},
]
MORE_QUERIES: list[dict[str, Any]] = [
    {"space_mode": "MOSAIC", "max_matches": 1},
    {"space_mode": "CONTAINS", "max_matches": 3},
    {"space_mode": "INTERSECTS", "max_matches": 3, "min_matches": 3},
    {"space_mode": "SINGLE_COMPOSITE"},
]
SPECS = [
    {"fnames": ["a.tif"], "bands": [["B1", "B2"]]},
    {"fnames": ["b.tif"], "bands": [["B2", "B1"]], "name": "other way round"},
    {"fnames": ["c.tif", "d.tif"], "bands": [["B1"], ["B2", "B3"]]},
    {"fnames": ["zone.tif"], "bands": [["B1", "B2"]]},
]


@pytest.mark.parametrize(
    "query", [*QUERIES, *(pytest.param(one, marks=pytest.mark.slow) for one in MORE_QUERIES)], ids=str
)
def test_queries_over_overlapping_items_of_one_and_of_several_files(tmp_path: Path, query: dict[str, Any]) -> None:
    folder = tmp_path / "imagery"
    write_raster(folder / "a.tif", seed=1, nodata=0)
    write_raster(folder / "b.tif", seed=2, offset=(30, 5), nodata=0)
    write_raster(folder / "c.tif", seed=3, offset=(-10, 20), count=1, nodata=0)
    write_raster(folder / "d.tif", seed=4, offset=(-10, 20), nodata=0)
    write_raster(
        folder / "zone.tif", seed=5, nodata=0, crs="EPSG:32632", transform=Affine(10, 0, 126_800, 0, -10, 5_011_500)
    )
    windows = [window(f"w{x}_{y}", x, y, 16) for x in (0, 40, 56) for y in (0, 24, 56)]
    _compare(tmp_path, [*windows, NEXT_ZONE], init_args={"raster_item_specs": SPECS}, query=query)


@pytest.mark.parametrize("method", ["FIRST_VALID", "MEAN", "MEDIAN"])
def test_compositing_methods(tmp_path: Path, method: str) -> None:
    write_raster(tmp_path / "imagery" / "a.tif", seed=1, nodata=0)
    write_raster(tmp_path / "imagery" / "b.tif", seed=2, offset=(4, 3), nodata=0)
    _compare(tmp_path, WINDOWS, query={"space_mode": "SINGLE_COMPOSITE"}, compositing_method=method)


FILES: dict[str, dict[str, Any]] = {
    "rgb": {"count": 3, "dtype": "uint8", "photometric": "rgb"},
    "four bytes": {"count": 4, "dtype": "uint8"},
    "alpha": {"count": 4, "dtype": "uint8", "photometric": "rgb", "alpha": "yes"},
    "not alpha": {"count": 4, "dtype": "uint8", "photometric": "minisblack", "alpha": "no"},
    "float": {"dtype": "float32", "nodata": float("nan")},
    "signed": {"dtype": "int16", "nodata": -99},
    "tiled": {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "deflate"},
    "rotated": {"transform": Affine(9, 3, 600_000, 3, -9, 5_000_000)},
}


@pytest.mark.parametrize("options", FILES.values(), ids=FILES.keys())
def test_kinds_of_files(tmp_path: Path, options: dict[str, Any]) -> None:
    write_raster(tmp_path / "imagery" / "scene.tif", **options)
    # In the middle, where footprints that rslearn gets wrong reach too.
    _compare(
        tmp_path,
        [window("middle", 24, 24, 16), MERCATOR],
        query={"space_mode": "INTERSECTS", "max_matches": 1},
        band_sets=[{"bands": ["B1", "B2"], "dtype": options.get("dtype", "uint16")}],
    )


def _with_points(path: Path) -> None:
    """Takes the projection of a file away and leaves ground control points."""
    crs, transform = "EPSG:32631", Affine(9, 3, 600_000, 3, -9, 5_000_000)
    points = [GroundControlPoint(row, col, *(transform * (col, row))) for row in (0, 64) for col in (0, 64)]
    write_raster(path, crs=None, transform=Affine.identity(), gcps=points, gcps_crs=crs)


def test_ground_control_points_in_place_of_a_projection(tmp_path: Path) -> None:
    _with_points(tmp_path / "imagery" / "scene.tif")
    _compare(tmp_path, [window("middle", 30, 24, 16), MERCATOR], query={"space_mode": "INTERSECTS", "max_matches": 1})
