from __future__ import annotations

import shutil
from pathlib import Path

import geopandas as gpd
import label_files
import numpy as np
import pandas as pd
import pytest
import shapely

from olmoearth_nb import propose_project
from olmoearth_nb.errors import InputFileError, OlmoEarthError
from olmoearth_nb.newproject.reading import read_labels

LOCAL_CRS = "+proj=laea +lat_0=45 +lon_0=4 +x_0=1000 +y_0=2000 +ellps=GRS80 +units=m"


def written(frame: gpd.GeoDataFrame, path: Path) -> Path:
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    return path


@pytest.mark.parametrize("name", ["a.gpkg", "a.geojson", "a.shp", "a.fgb", "a.parquet"])
def test_every_format_gives_the_same_proposal(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    proposal = propose_project(written(label_files.points(), tmp_path / name), task="segmentation")
    expected = propose_project(label_files.points(), task="segmentation")
    assert [(one.name, one.count) for one in proposal.classes] == [(one.name, one.count) for one in expected.classes]
    assert proposal.split == expected.split


@pytest.mark.parametrize("crs", ["EPSG:32631", "EPSG:3857", "EPSG:2154", LOCAL_CRS])
def test_labels_in_any_crs_lie_where_they_are(tmp_path: Path, crs: str) -> None:
    path = written(label_files.points().to_crs(crs), tmp_path / "labels.gpkg")
    proposal = propose_project(path, task="classification")
    expected = propose_project(label_files.points(), task="classification")
    moved = shapely.get_coordinates(list(proposal.annotations.geometry))
    there = shapely.get_coordinates(list(expected.annotations.geometry))
    assert np.abs(moved - there).max() < 1e-6
    assert proposal.split.counts == expected.split.counts


def test_a_shapefile_without_prj_is_asked_for_its_crs(tmp_path: Path) -> None:
    path = written(label_files.points().to_crs(32631), tmp_path / "labels.shp")
    path.with_suffix(".prj").unlink()
    with pytest.raises(InputFileError, match="crs"):
        propose_project(path, task="segmentation")
    proposal = propose_project(path, task="segmentation", crs="EPSG:32631")
    assert proposal.split == propose_project(label_files.points(), task="segmentation").split


def test_swapped_longitude_and_latitude_are_named() -> None:
    frame = label_files.points()
    xy = shapely.get_coordinates(list(frame.geometry))
    swapped = frame.set_geometry(gpd.points_from_xy(xy[:, 1] + 60, xy[:, 0] + 120, crs=4326))
    with pytest.raises(InputFileError, match=r"(?i)globe|swapped|longitude"):
        propose_project(swapped, task="segmentation")


def table(names: tuple[str, str], frame: gpd.GeoDataFrame | None = None) -> pd.DataFrame:
    frame = label_files.points() if frame is None else frame
    data = pd.DataFrame(frame.drop(columns="geometry"))
    data[names[0]], data[names[1]] = frame.geometry.x, frame.geometry.y
    return data


@pytest.mark.parametrize(
    "names",
    [
        ("lon", "lat"),
        ("Longitude", "Latitude"),
        ("LONG", "LAT"),
        ("lng", "lat"),
        ("decimalLongitude", "decimalLatitude"),
    ],
)
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_tables_with_longitude_and_latitude(tmp_path: Path, names: tuple[str, str], separator: str) -> None:
    path = tmp_path / "labels.csv"
    table(names).to_csv(path, sep=separator, index=False)
    frame, said = read_labels(path)
    assert frame.crs.to_epsg() == 4326
    assert names[0] in said
    expected = label_files.points()
    assert np.allclose(frame.geometry.x, expected.geometry.x)
    assert np.allclose(frame.geometry.y, expected.geometry.y)
    assert list(frame["crop"]) == list(expected["crop"])


def test_a_table_of_metres_needs_a_crs(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    table(("x", "y"), label_files.points().to_crs(32631)).to_csv(path, index=False)
    with pytest.raises(InputFileError, match="--crs"):
        read_labels(path)
    frame, _ = read_labels(path, crs="EPSG:32631")
    assert frame.to_crs(4326).geometry.geom_equals_exact(label_files.points().geometry, 1e-6).all()


def test_a_table_of_wkt(tmp_path: Path) -> None:
    fields = label_files.fields()
    data = pd.DataFrame(fields.drop(columns="geometry")).assign(WKT=fields.geometry.to_wkt())
    data.to_csv(tmp_path / "labels.csv", index=False)
    frame, said = read_labels(tmp_path / "labels.csv")
    assert "WKT" in said
    assert len(frame) == len(fields)
    assert set(frame.geom_type) == {"Polygon"}


def test_rows_without_a_place_are_left_out(tmp_path: Path) -> None:
    data = table(("lon", "lat")).astype({"lon": object})
    data.loc[3, "lon"], data.loc[4, "lon"] = None, "unknown"
    data.to_csv(tmp_path / "labels.csv", index=False)
    proposal = propose_project(tmp_path / "labels.csv", task="segmentation")
    assert proposal.left_out == {"no geometry": 2}


def test_a_table_without_places_says_what_it_has(tmp_path: Path) -> None:
    label_files.points().drop(columns="geometry").to_csv(tmp_path / "labels.csv", index=False)
    with pytest.raises(InputFileError, match=r"lon and lat.*'crop'"):
        read_labels(tmp_path / "labels.csv")


@pytest.mark.parametrize("name", ["labels.geojson", "labels.csv", "labels.gpkg", "labels.shp", "labels.parquet"])
@pytest.mark.parametrize("content", [None, b"", b"\x00\xff\x00 no such thing"])
def test_files_that_are_no_labels_are_told_in_one_error(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(OlmoEarthError, match="labels"):
        propose_project(path, task="segmentation")


def test_a_file_without_features(tmp_path: Path) -> None:
    (tmp_path / "labels.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(OlmoEarthError, match=r"no features|no geometry"):
        propose_project(tmp_path / "labels.geojson", task="segmentation")
    shutil.copy(tmp_path / "labels.geojson", tmp_path / "labels.json")
    with pytest.raises(OlmoEarthError):
        propose_project(tmp_path / "labels.json", task="segmentation")
