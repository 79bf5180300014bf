from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import Affine
from rslearn.config import QueryConfig, SpaceMode
from rslearn.utils.geometry import STGeometry
from shapely import box

from olmoearth_nb.errors import InputFileError, OlmoEarthError, UnsupportedError
from olmoearth_nb.sources import LocalRasters
from olmoearth_nb.store.local_listing import imagery_fingerprint

from .conftest import CORNER, OURS, build, layer, rasters, window, write_raster

ANY = QueryConfig(space_mode=SpaceMode.INTERSECTS, max_matches=100)


def _place(x: float, y: float, size: float = 8, times: Any = None) -> STGeometry:
    x0, y0 = CORNER[0] + x, CORNER[1] + y
    return STGeometry(window("w", 0, 0).projection, box(x0, y0, x0 + size, y0 + size), times)


def _names(source: LocalRasters, place: STGeometry, query: QueryConfig = ANY) -> list[str]:
    return [item.name for group in source.get_items([place], query)[0] for item in group.items]


def test_a_folder_that_can_only_be_read_is_enough_and_stays_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "imagery"
    path = write_raster(folder / "scene.tif")
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        dataset, outcome = build(tmp_path / "dataset", layer(OURS, folder), [window("w", 8, 20)])
    finally:
        folder.chmod(stat.S_IRWXU)
    assert outcome == {"w": None}
    assert [file.name for file in folder.iterdir()] == ["scene.tif"]
    assert not (tmp_path / "dataset" / "tiles").exists()
    with rasterio.open(path) as source:
        np.testing.assert_array_equal(
            rasters(dataset, window("w", 8, 20))[0].get_chw_array(), source.read()[:, 20:52, 8:40]
        )


def test_two_processes_give_the_same_as_one(tmp_path: Path) -> None:
    write_raster(tmp_path / "imagery" / "scene.tif", nodata=0)
    specs = [window(f"w{index}", index, index, 16) for index in range(20)]
    one, _ = build(tmp_path / "one", layer(OURS, tmp_path / "imagery"), specs)
    two, outcome = build(tmp_path / "two", layer(OURS, tmp_path / "imagery"), specs, workers=2)
    assert set(outcome.values()) == {None}
    for spec in specs:
        np.testing.assert_array_equal(rasters(one, spec)[0].array, rasters(two, spec)[0].array)


def test_files_that_change_come_and_go_are_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "imagery"
    config = layer(OURS, folder)
    prints = []
    write_raster(folder / "scene.tif", seed=1)
    prints.append(imagery_fingerprint({"layers": {"scene": config}}))
    build(tmp_path / "dataset", config, [window("a", 0, 0)])
    write_raster(folder / "scene.tif", seed=2, offset=(100, 0))
    os.utime(folder / "scene.tif", ns=(1, 1))
    prints.append(imagery_fingerprint({"layers": {"scene": config}}))
    _, outcome = build(tmp_path / "dataset", config, [window("b", 0, 0), window("c", 100, 0)])
    assert "no imagery of the source covers the window" in str(outcome["b"])
    assert outcome["c"] is None
    write_raster(folder / "more.tif", seed=3)
    prints.append(imagery_fingerprint({"layers": {"scene": config}}))
    _, outcome = build(tmp_path / "dataset", config, [window("d", 0, 0)])
    assert outcome == {"d": None}
    assert [len(found["layer scene"]) for found in prints] == [1, 1, 2]
    assert prints[0] != prints[1]
    (folder / "scene.tif.aux.xml").write_text("<PAMDataset/>")  # as viewers write it
    assert imagery_fingerprint({"layers": {"scene": config}}) == prints[2]


def test_a_file_that_is_replaced_after_it_was_listed_is_read_as_it_is_now(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "scene.tif", seed=1)
    source = LocalRasters(str(tmp_path))
    (item,) = source.list_items()
    projection, bounds = window("w", 0, 0).projection, (*CORNER, CORNER[0] + 64, CORNER[1] + 64)
    source.read_raster("scene", item, ["B1", "B2"], projection, bounds)
    write_raster(path, seed=2)
    with rasterio.open(path) as file:
        now = file.read()
    np.testing.assert_array_equal(
        source.read_raster("scene", item, ["B1", "B2"], projection, bounds).get_chw_array(), now
    )


def test_times_come_from_names_and_decide_what_matches(tmp_path: Path) -> None:
    for day in ("20240105", "20240210", "20240215"):
        write_raster(tmp_path / f"S2_{day}_T31.tif")
    source = LocalRasters(
        str(tmp_path), time_pattern=r"_(?P<date>\d{8})_", times={"S2_20240215*": ["2023-01-01", "2023-02-01"]}
    )
    february = (datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC))
    assert _names(source, _place(0, 0, times=february)) == ["S2_20240210_T31"]
    assert len(_names(source, _place(0, 0))) == 3


def test_timed_imagery_leaves_its_time_with_the_window(tmp_path: Path) -> None:
    write_raster(tmp_path / "imagery" / "20240105.tif")
    config = layer(OURS, tmp_path / "imagery", init_args={"time_pattern": r"(?P<date>\d{8})"})
    spec = window("w", 0, 0, times=(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)))
    dataset, _ = build(tmp_path / "dataset", config, [spec])
    assert rasters(dataset, spec)[0].array.shape == (2, 1, 32, 32)
    items = (tmp_path / "dataset/windows/default/w/items.json").read_text()
    assert "2024-01-05T00:00:00+00:00" in items
    assert "2024-01-06T00:00:00+00:00" in items


def test_names_of_items_are_rslearns_where_they_tell_files_apart(tmp_path: Path) -> None:
    for name in ("x.tif", "year.01.tif", "year.02.tif", "north/y.tif", "south/y.tif"):
        write_raster(tmp_path / name)
    source = LocalRasters(str(tmp_path))
    assert [item.name for item in source.list_items()] == ["north__y", "south__y", "x", "year.01", "year.02"]
    assert [item.name for item in LocalRasters(str(tmp_path), pattern="*.tif").list_items()] == [
        "x",
        "year.01",
        "year.02",
    ]


def test_bands_are_those_given_else_those_of_the_file_else_numbers(tmp_path: Path) -> None:
    write_raster(tmp_path / "named" / "scene.tif", descriptions=("red", "green"))
    write_raster(tmp_path / "plain" / "scene.tif")

    def bands(folder: str, **options: Any) -> Any:
        return LocalRasters(str(tmp_path / folder), **options).list_items()[0].spec.bands

    assert bands("named") == [["red", "green"]]
    assert bands("named", bands=["a", "b"]) == [["a", "b"]]
    assert bands("plain") == [["B1", "B2"]]
    with pytest.raises(InputFileError, match=r"scene\.tif: .*another number of bands.*Expected 3: a, b, c; found 2"):
        bands("plain", bands=["a", "b", "c"])


def test_a_layer_that_asks_for_other_bands_hears_which_file_and_what_to_set(tmp_path: Path) -> None:
    write_raster(tmp_path / "imagery" / "scene.tif")
    _, outcome = build(tmp_path / "dataset", layer(OURS, tmp_path / "imagery", bands=["red"]), [window("w", 0, 0)])
    assert "none of the bands" in str(outcome["w"])
    assert "scene.tif" in str(outcome["w"])


def _broken(path: Path) -> None:
    path.write_bytes(b"not a GeoTIFF")


def _nowhere(path: Path) -> None:
    write_raster(path, crs=None)


@pytest.mark.parametrize(("spoil", "says"), [(_broken, "can't be read as a raster"), (_nowhere, "reference system")])
def test_a_file_that_cannot_be_used_is_a_reason_of_each_window(tmp_path: Path, spoil: Any, says: str) -> None:
    folder = tmp_path / "imagery"
    write_raster(folder / "good.tif")
    spoil(folder / "poor.tif")
    _, outcome = build(tmp_path / "dataset", layer(OURS, folder), [window("a", 0, 0), window("b", 8, 0)])
    assert len(outcome) == 2
    with pytest.raises(InputFileError, match=rf"poor\.tif: .*{says}"):
        LocalRasters(str(folder)).list_items()
    assert all(says in str(reason) for reason in outcome.values())


def test_folders_that_are_missing_empty_or_elsewhere_are_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no imagery")
    with pytest.raises(InputFileError, match="is not there"):
        LocalRasters(str(tmp_path / "missing")).list_items()
    with pytest.raises(InputFileError, match="No file of the folder matches"):
        LocalRasters(str(tmp_path)).list_items()
    with pytest.raises(OlmoEarthError, match="leads out of src_dir"):
        LocalRasters(str(tmp_path), pattern="../*.tif").list_items()
    with pytest.raises(UnsupportedError, match="reads local files"):
        LocalRasters("s3://bucket/imagery")


def test_a_raster_whose_rows_go_northwards_lies_where_it_is(tmp_path: Path) -> None:
    write_raster(tmp_path / "imagery" / "up.tif", transform=Affine(10, 0, 600_000, 0, 10, 4_999_360))
    spec = window("w", 8, 20)
    config = layer(OURS, tmp_path / "imagery", resampling_method="nearest")
    dataset, outcome = build(tmp_path / "dataset", config, [spec])
    assert outcome == {"w": None}
    with rasterio.open(tmp_path / "imagery" / "up.tif") as source:
        expected = source.read()[:, ::-1][:, 20:52, 8:40]
    np.testing.assert_array_equal(rasters(dataset, spec)[0].get_chw_array(), expected)


def test_pixels_that_a_file_masks_are_missing(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "imagery" / "scene.tif")
    mask = np.full((64, 64), 255, dtype=np.uint8)
    mask[20:40, 20:40] = 0
    with rasterio.open(path, "r+") as target:
        target.write_mask(mask)
    spec = window("w", 0, 0, 64)
    dataset, _ = build(tmp_path / "dataset", layer(OURS, tmp_path / "imagery"), [spec])
    found = rasters(dataset, spec)[0].get_chw_array()
    np.testing.assert_array_equal(found[0] == 0, mask == 0)


def test_a_global_raster_of_one_degree_covers_a_window_anywhere(tmp_path: Path) -> None:
    folder = tmp_path / "imagery"
    folder.mkdir()
    pixels = np.arange(180 * 360, dtype=np.uint16).reshape(1, 180, 360)
    profile = {"driver": "GTiff", "width": 360, "height": 180, "count": 1, "dtype": "uint16", "crs": "EPSG:4326"}
    with rasterio.open(folder / "globe.tif", "w", transform=Affine(1, 0, -180, 0, -1, 90), **profile) as target:
        target.write(pixels)
    specs = [window("north", 10, 10), window("fiji", 80_000, -810_000, crs="EPSG:32660")]
    query = {"space_mode": "CONTAINS", "max_matches": 1}
    config = layer(OURS, folder, bands=["B1"], query=query, resampling_method="nearest")
    dataset, outcome = build(tmp_path / "dataset", config, specs)
    assert set(outcome.values()) == {None}
    # 4.27 E, 45.14 N, and whatever degree the other one lies in.
    assert set(np.unique(rasters(dataset, specs[0])[0].array)) == {int(pixels[0, 90 - 46, 180 + 4])}
    x, y = specs[1].bounds[0] * 10 + 160, -specs[1].bounds[1] * 10 - 160
    (longitude,), (latitude,) = rasterio.warp.transform("EPSG:32660", "EPSG:4326", [x], [y])
    there = int(pixels[0, int(90 - latitude), int(longitude + 180)])
    assert there in np.unique(rasters(dataset, specs[1])[0].array)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(-80, 80), st.integers(-80, 80)), min_size=1, max_size=6))
def test_an_item_matches_where_its_pixels_are(tmp_path_factory: pytest.TempPathFactory, offsets: Any) -> None:
    folder = tmp_path_factory.mktemp("many")
    for index, offset in enumerate(offsets):
        write_raster(folder / f"f{index}.tif", size=16, offset=offset, count=1)
    source = LocalRasters(str(folder))
    here = box(0, 0, 8, 8)
    expected = [f"f{i}" for i, (x, y) in enumerate(offsets) if box(x, y, x + 16, y + 16).intersection(here).area]
    touching = [f"f{i}" for i, (x, y) in enumerate(offsets) if box(x, y, x + 16, y + 16).intersects(here)]
    found = _names(source, _place(0, 0))
    assert set(expected) <= set(found) <= set(touching)
    assert found == sorted(found)
