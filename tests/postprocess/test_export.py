from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Point, box, mapping

from olmoearth_nb.errors import InputFileError, MissingDependencyError, StorageError, UsageError
from olmoearth_nb.legend import ClassEntry, ClassLegend, Legend, RangeLegend
from olmoearth_nb.postprocess import export
from olmoearth_nb.postprocess.export import Export, export_features

LEGEND = Legend(
    "VECTOR",
    classes=(ClassLegend("kind", None, (ClassEntry(1, "maize", (250, 200, 0)), ClassEntry(2, "rye", (0, 16, 255)))),),
    ranges=(RangeLegend("height", None, 0.0, 10.0, "gray"),),
)
SHAPES = [box(10, 50, 10.5, 50.25), MultiPolygon([box(11, 50, 11.5, 50.5)]), Point(12.125, 50.5)]
PROPERTIES: list[dict[str, Any]] = [
    {"kind": 1, "score": 0.25, "sure": True, "name": "größer", "probs": [0.25, 0.75], "mixed": 1, "big": 2**53 + 1},
    {"kind": 2, "score": 1, "sure": None, "name": "", "probs": None, "mixed": "one", "big": -1},
    {"kind": 7, "sure": False, "name": None, "probs": [1], "mixed": {"a": [1]}, "big": 0, "empty": None},
]
TABLES = [".parquet", ".fgb", ".gpkg"]


def source_of(folder: Path, shapes: list[Any], properties: list[dict[str, Any]]) -> Path:
    features = [
        {"type": "Feature", "geometry": None if shape is None else mapping(shape), "properties": own}
        for shape, own in zip(shapes, properties, strict=True)
    ]
    path = folder / "result.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return source_of(tmp_path, SHAPES, PROPERTIES)


def read(path: Path) -> gpd.GeoDataFrame:
    frame = gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path)
    # FlatGeobuf sorts features by place.
    order = np.argsort(frame.geometry.centroid.x.to_numpy())
    return frame.iloc[order].reset_index(drop=True)


@pytest.mark.filterwarnings("ignore:Geometry is in a geographic CRS")
@pytest.mark.parametrize("suffix", TABLES)
def test_tables_keep_places_types_and_values(source: Path, tmp_path: Path, suffix: str) -> None:
    done = export_features(source, tmp_path / "out" / f"fields{suffix}", legend=LEGEND)
    frame = read(done.path)
    assert frame.crs.to_epsg() == 4326
    assert [shapely.equals_exact(a, b) for a, b in zip(frame.geometry, SHAPES, strict=True)] == [True] * 3
    assert frame.geometry.geom_type.tolist() == ["Polygon", "MultiPolygon", "Point"]
    assert frame["kind"].tolist() == [1, 2, 7]
    assert frame["big"].tolist() == [2**53 + 1, -1, 0]
    assert frame["score"].tolist()[:2] == [0.25, 1.0]
    assert np.isnan(frame["score"].tolist()[2])
    assert frame["sure"].isna().tolist() == [False, True, False]
    assert [bool(frame["sure"][0]), bool(frame["sure"][2])] == [True, False]
    assert frame["name"].tolist()[:2] == ["größer", ""]
    assert frame["mixed"].tolist() == ["1", "one", '{"a": [1]}']
    assert [json.loads(text) for text in (frame["probs"][0], frame["probs"][2])] == [[0.25, 0.75], [1]]
    assert frame["empty"].isna().all()
    assert frame["label"].tolist()[:2] == ["maize", "rye"]
    assert frame["color"].tolist()[:2] == ["#fac800", "#0010ff"]
    assert frame[["label", "color"]].iloc[2].isna().all()
    assert done.columns == tuple(name for name in frame.columns if name != "geometry")
    assert [path.name for path in done.path.parent.iterdir()] == [done.path.name]


@pytest.mark.parametrize("suffix", [".fgb", ".gpkg"])
def test_columns_have_types_in_the_file(source: Path, tmp_path: Path, suffix: str) -> None:
    info = pyogrio.read_info(export_features(source, tmp_path / f"fields{suffix}").path)
    types = dict(zip(info["fields"].tolist(), info["dtypes"].tolist(), strict=True))
    assert types["kind"] == types["big"] == "int64"
    assert types["score"] == "float64"
    assert types["sure"] == "bool"
    assert info["layer_name"] == "fields"


def test_geojson_keeps_what_is_nested(source: Path, tmp_path: Path) -> None:
    done = export_features(source, tmp_path / "fields.geojson", legend=LEGEND)
    features = json.loads(done.path.read_text())["features"]
    assert [one["geometry"] for one in features] == [json.loads(json.dumps(mapping(shape))) for shape in SHAPES]
    assert features[0]["properties"] == {**PROPERTIES[0], "label": "maize", "color": "#fac800"}
    assert features[2]["properties"] == {**PROPERTIES[2], "label": None, "color": None}


def test_tiles_have_the_features_with_their_colours(source: Path, tmp_path: Path) -> None:
    done = export_features(source, tmp_path / "fields.pmtiles", legend=LEGEND)
    assert done.path.read_bytes()[:7] == b"PMTiles"
    frame = gpd.read_file(done.path).to_crs(4326)  # the finest level
    assert set(frame["kind"]) == {1, 2, 7}
    assert set(frame.loc[frame["kind"] == 2, "color"]) == {"#0010ff"}
    rye = shapely.union_all(frame.geometry[frame["kind"] == 2].to_numpy())
    assert np.allclose(rye.bounds, SHAPES[1].bounds, atol=1e-4)


def test_measurements_have_the_colours_of_their_range(tmp_path: Path) -> None:
    source = source_of(tmp_path, SHAPES, [{"height": 0}, {"height": 10.0}, {"height": "unknown"}])
    done = export_features(source, tmp_path / "trees.geojson", legend=LEGEND)
    properties = [one["properties"] for one in json.loads(done.path.read_text())["features"]]
    assert [one["color"] for one in properties] == ["#000000", "#ffffff", None]


def test_own_properties_are_not_replaced_and_names_do_not_clash(tmp_path: Path) -> None:
    own = {"kind": 1, "Color": "mine", "fid": 9, "FID": "x", "geometry": "flat", "": "nameless"}
    source = source_of(tmp_path, SHAPES[:1], [own])
    for suffix in TABLES:
        frame = read(export_features(source, tmp_path / f"own{suffix}", legend=LEGEND).path)
        row = frame.iloc[0].to_dict()
        assert row.pop("geometry").equals(SHAPES[0])
        assert row == {
            "kind": 1,
            "Color": "mine",
            "fid_": 9,
            "FID__": "x",
            "geometry_": "flat",
            "_": "nameless",
            "label": "maize",
        }


@pytest.mark.parametrize("suffix", [*TABLES, ".geojson"])
def test_an_empty_result_is_an_empty_file(tmp_path: Path, suffix: str) -> None:
    done = export_features(source_of(tmp_path, [], []), tmp_path / f"none{suffix}", legend=LEGEND)
    assert len(read(done.path)) == 0
    assert done.features == 0
    if suffix != ".geojson":
        assert read(done.path).crs.to_epsg() == 4326


@pytest.mark.parametrize("suffix", TABLES)
def test_features_without_a_place_are_kept(tmp_path: Path, suffix: str) -> None:
    source = source_of(tmp_path, [SHAPES[0], None], PROPERTIES[:2])
    done = export_features(source, tmp_path / f"some{suffix}")
    frame = gpd.read_parquet(done.path) if suffix == ".parquet" else gpd.read_file(done.path)
    assert frame.geometry.isna().tolist() == [False, True]


def test_no_tiles_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"There are no features.*\.parquet"):
        export_features(source_of(tmp_path, [], []), tmp_path / "none.pmtiles")
    assert not (tmp_path / "none.pmtiles").exists()


_CELLS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
)


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from("aAbc"), _CELLS | st.lists(st.integers()), max_size=4), min_size=1, max_size=5
    )
)
def test_whatever_properties_are_they_arrive(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]
) -> None:
    folder = tmp_path_factory.mktemp("export")
    source = source_of(folder, [Point(index, 0) for index in range(len(rows))], rows)
    for suffix in (".parquet", ".gpkg"):
        done = export_features(source, folder / f"out{suffix}")
        frame = gpd.read_parquet(done.path) if suffix == ".parquet" else gpd.read_file(done.path)
        assert len(frame) == len(rows)
        for key, name in zip(dict.fromkeys(key for row in rows for key in row), done.columns, strict=True):
            assert frame[name].isna().tolist() == [row.get(key) is None for row in rows]


def test_what_is_there_is_not_replaced_unless_wanted(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "labels.gpkg"
    target.write_text("labels of a year")
    with pytest.raises(UsageError, match=r"there already.*overwrite=True"):
        export_features(source, target)
    assert target.read_text() == "labels of a year"
    assert export_features(source, target, overwrite=True).features == 3
    with pytest.raises(UsageError, match="exported to itself"):
        export_features(source, source, overwrite=True)


def test_a_failure_leaves_what_was_there(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out" / "fields.fgb"
    export_features(source, target)
    before = target.read_bytes()

    def broken(_frame: object, path: Path, **_options: object) -> None:
        path.write_text("half")
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(pyogrio, "write_dataframe", broken)
    with pytest.raises(StorageError, match="FlatGeobuf can't be written: RuntimeError: the disk is full"):
        export_features(source, target, overwrite=True)
    assert target.read_bytes() == before
    assert [path.name for path in target.parent.iterdir()] == ["fields.fgb"]


def test_errors_say_what_is_possible(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"Expected \.parquet \(GeoParquet\), .*; found '\.shp'"):
        export_features(source, tmp_path / "fields.shp")
    with pytest.raises(InputFileError, match="is missing"):
        export_features(tmp_path / "nothing.geojson", tmp_path / "fields.fgb")
    monkeypatch.setattr(pyogrio, "list_drivers", lambda: {"PMTiles": "r"})
    with pytest.raises(MissingDependencyError, match="no driver that writes PMTiles"):
        export_features(source, tmp_path / "fields.pmtiles")
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingDependencyError, match=r"olmoearth-nb\[parquet\]"):
        export_features(source, tmp_path / "fields.parquet")


def test_an_export_shows_itself(source: Path, tmp_path: Path) -> None:
    done = export_features(source, tmp_path / "fields.fgb")
    assert isinstance(done, Export)
    assert "FlatGeobuf" in repr(done)
    assert "kind, score" in done._repr_html_()
    assert done.to_dict()["features"] == 3
    assert Path(done) == tmp_path / "fields.fgb"
