from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
from rslearn.utils.feature import Feature
from shapely.geometry import LineString, Point, box

from olmoearth_nb.errors import ConfigError, InputFileError
from olmoearth_nb.sources import LocalRasters, LocalVectors
from olmoearth_nb.store.dataset import ScratchDataset
from olmoearth_nb.store.windows import as_window

from .conftest import THEIRS, build, window

VECTORS = "olmoearth_nb.sources.LocalVectors"
WINDOWS = [
    window("w", 8, 20),
    window("edge", -16, 0),
    window("outside", 900, 0),
    window("degrees", 42_730, -451_455, 32, crs="EPSG:4326", resolution=1e-4),
]


def _fields(crs: str = "EPSG:32631") -> geopandas.GeoDataFrame:
    rng = np.random.default_rng(0)
    places = np.array([600_000, 4_999_360]) + rng.random((40, 2)) * 640
    shapes: list[Any] = [box(x, y, x + 30, y + 20) for x, y in places[:30]]
    shapes += [Point(*place) for place in places[30:38]] + [LineString(places[38:])]
    table = {"crop": [f"c{index}" for index in range(39)], "size": range(39), "share": rng.random(39)}
    return geopandas.GeoDataFrame(table, geometry=shapes, crs="EPSG:32631").to_crs(crs)


def _layer(class_path: str, folder: Path, **init_args: Any) -> dict[str, Any]:
    query = {"space_mode": "INTERSECTS", "max_matches": 1}
    source = {"class_path": class_path, "init_args": {"src_dir": str(folder), **init_args}, "query_config": query}
    return {"type": "vector", "data_source": source}


def _features(dataset: ScratchDataset, spec: Any) -> list[Feature]:
    found = as_window(dataset, spec)
    if not found.is_layer_completed("scene"):
        return []
    return found.data.read_vector("scene", dataset.layers["scene"].instantiate_vector_format())


@pytest.mark.parametrize(("name", "crs"), [("f.geojson", "EPSG:4326"), ("f.gpkg", "EPSG:32631")])
def test_it_gives_the_features_of_local_files_and_writes_nothing_beside_them(
    tmp_path: Path, name: str, crs: str
) -> None:
    folder = tmp_path / "fields"
    folder.mkdir()
    _fields(crs).to_file(folder / name)
    ours, outcome = build(tmp_path / "ours", _layer(VECTORS, folder), WINDOWS)
    assert [path.name for path in folder.iterdir()] == [name]
    assert not (tmp_path / "ours" / "tiles").exists()
    theirs, expected = build(tmp_path / "theirs", _layer(THEIRS, folder), WINDOWS)
    assert outcome == expected
    for spec in WINDOWS:
        one, other = _features(ours, spec), _features(theirs, spec)
        assert [(f.properties, f.geometry.shp.wkt) for f in one] == [(f.properties, f.geometry.shp.wkt) for f in other]
    assert 5 < len(_features(ours, WINDOWS[0])) < 39


def test_a_window_of_one_metre_gets_what_lies_in_it(tmp_path: Path) -> None:
    (tmp_path / "fields").mkdir()
    _fields().to_file(tmp_path / "fields" / "f.gpkg")
    spec = window("metres", 600_080, -4_999_800, 200, resolution=1.0)
    dataset, outcome = build(tmp_path / "dataset", _layer(VECTORS, tmp_path / "fields"), [spec])
    assert outcome == {"metres": None}
    inside = _fields().intersects(box(600_080, 4_999_600, 600_280, 4_999_800)).sum()
    assert len(_features(dataset, spec)) == inside > 0


def test_layers_and_attributes_can_be_chosen(tmp_path: Path) -> None:
    _fields().to_file(tmp_path / "f.gpkg", layer="one")
    _fields().iloc[:2].to_file(tmp_path / "f.gpkg", layer="two")
    source = LocalVectors(str(tmp_path), pattern="*.gpkg", layer="two", properties=["crop"])
    (item,) = source.list_items()
    spec = window("w", 0, 0, 64)
    found = source.read_vector("fields", item, spec.projection, spec.bounds)
    assert [feature.properties for feature in found] == [{"crop": "c0"}, {"crop": "c1"}]
    with pytest.raises(InputFileError, match=r"lacks an attribute.*Expected kind; found crop, size, share"):
        LocalVectors(str(tmp_path), properties=["kind"]).list_items()
    with pytest.raises(InputFileError, match=r"f\.gpkg: The file can't be read as vectors"):
        LocalVectors(str(tmp_path), layer="three").list_items()


def test_a_raster_layer_and_a_vector_layer_each_want_their_own_source(tmp_path: Path) -> None:
    from rslearn.config import LayerType

    with pytest.raises(ConfigError, match="LocalRasters"):
        LocalVectors(str(tmp_path), layer_type=LayerType.RASTER)
    with pytest.raises(ConfigError, match="LocalVectors"):
        LocalRasters(str(tmp_path), layer_type=LayerType.VECTOR)
