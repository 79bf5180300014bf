from __future__ import annotations

from pathlib import Path

import pytest

from olmoearth_nb.errors import InputFileError, StorageError
from olmoearth_nb.files import atomic_path, hash_json, read_json, read_text, shown_path, write_json, write_text


def test_a_block_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"x": 1})
    with pytest.raises(RuntimeError), atomic_path(path) as beside:
        beside.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"x": 1}
    assert [one.name for one in tmp_path.iterdir()] == ["a.json"]


def test_the_suffix_is_kept_for_gdal(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.tif") as beside:
        assert beside.suffix == ".tif"
        beside.touch()
    assert (tmp_path / "a.tif").exists()


def test_writing_where_a_file_is_the_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/a\.json: Can't write here"):
        write_text(tmp_path / "file" / "a.json", "x")


def test_reading_names_the_file_and_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"missing\.json: The request is missing"):
        read_text(tmp_path / "missing.json", what="request")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputFileError, match="not UTF-8"):
        read_text(tmp_path / "binary")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputFileError, match=r"bad\.json: The file is not JSON"):
        read_json(tmp_path / "bad.json")
    with pytest.raises(InputFileError, match="is a folder"):
        read_text(tmp_path)


def test_the_hash_of_json_does_not_depend_on_the_order_of_keys() -> None:
    assert hash_json({"a": 1, "b": [2]}) == hash_json({"b": [2], "a": 1})
    assert hash_json({"a": 1}) != hash_json({"a": 2})


def test_paths_are_shown_from_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "project" / "notebooks"
    here.mkdir(parents=True)
    monkeypatch.chdir(here)
    assert shown_path(here / "scratches" / "a.tif") == Path("scratches/a.tif")
    assert shown_path(tmp_path / "project" / "data") == Path("../data")
    assert shown_path(tmp_path / "elsewhere") == tmp_path / "elsewhere"
