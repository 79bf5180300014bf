"""Features of GeoJSON files, one after the other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from olmoearth_nb.errors import InputFileError, OlmoEarthError
from olmoearth_nb.geojson_text import load_features, stream_features, write_features

WRITTEN = '{"type":"FeatureCollection","features":[{"a":1},{"b":[2,{"c":"]}"}]}]}'
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def outcome(read: Any, path: Path) -> Any:
    try:
        return list(read(path, "result"))
    except OlmoEarthError as error:
        return str(error)


@given(features=st.lists(VALUES, max_size=4), ascii_only=st.booleans(), data=st.data())
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_stream_gives_what_a_whole_file_gives(tmp_path: Path, features: Any, ascii_only: bool, data: Any) -> None:
    path = tmp_path / "result.geojson"
    texts = [
        json.dumps(one, ensure_ascii=ascii_only, separators=(",", ":")).encode("utf-8", "replace") for one in features
    ]
    write_features(path, texts)
    assert outcome(stream_features, path) == outcome(load_features, path)
    text = path.read_text()
    start = data.draw(st.integers(0, len(text)))
    stop = data.draw(st.integers(start, min(len(text), start + 3)))
    path.write_text(
        text[:start] + data.draw(st.sampled_from(["", " ", ",", "]", "}", "]}", "{}", ',"bbox":1'])) + text[stop:]
    )
    assert outcome(stream_features, path) == outcome(load_features, path)


@pytest.mark.parametrize(
    "text",
    [
        WRITTEN.replace(",", ", "),
        WRITTEN.replace("},{", "} , {"),
        WRITTEN + "\n",
        WRITTEN[:-1] + ',"bbox":[0,0,1,1]}',
        WRITTEN[:-2] + ",]}",
        WRITTEN[:-2] + "]}]}",
        WRITTEN[:60],
        WRITTEN[:-2],
        '{"type":"FeatureCollection","features":[{"a":[1]}',
        '{"type":"FeatureCollection","features":[]}',
        '{"type":"FeatureCollection","features":["\\ud83d"]}',
        '{"type":"FeatureCollection","features":["\\ud83d\\ude00"]}',
        '{"type":"FeatureCollection","features":[' + "[" * 100_000 + "]}",
    ],
)
def test_files_of_others_and_damaged_ones_too(tmp_path: Path, text: str) -> None:
    path = tmp_path / "result.geojson"
    path.write_text(text)
    assert outcome(stream_features, path) == outcome(load_features, path)


def test_features_before_a_damage_are_given_first(tmp_path: Path) -> None:
    path = tmp_path / "result.geojson"
    path.write_text(WRITTEN.replace('"b"', "b"))
    features = stream_features(path, "result")
    assert next(features) == {"a": 1}
    with pytest.raises(InputFileError, match=r"result file is not JSON: Expecting property name.*char 49"):
        next(features)


def test_features_are_written_as_a_collection(tmp_path: Path) -> None:
    write_features(tmp_path / "new" / "result.geojson", iter([b'{"a":1}', b'{"b":[2,{"c":"]}"}]}']))
    assert (tmp_path / "new" / "result.geojson").read_text() == WRITTEN
