from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rslearn.dataset.storage.file import FileWindowStorage
from rslearn.dataset.window import WindowLayerData

from olmoearth_nb.errors import StorageError
from olmoearth_nb.store.dataset import ScratchDataset
from olmoearth_nb.store.folders import FolderStorage, WindowFolders, write_file
from olmoearth_nb.store.windows import create_window, load_windows
from olmoearth_nb.types import WindowSpec

from .conftest import spec

GROUP = "group_partition_0"


def names(dataset: ScratchDataset) -> list[str]:
    return sorted(path.name for path in (Path(str(dataset.path)) / "windows" / GROUP).iterdir())


def window(dataset: ScratchDataset, name: str) -> Path:
    return Path(str(dataset.path)) / "windows" / GROUP / name


def test_a_window_is_there_when_its_files_are(dataset: ScratchDataset) -> None:
    folders = WindowFolders(dataset)
    assert folders.fits(dataset)
    with folders.making(spec("a", 0, 0), {"split": "train"}) as folder:
        write_file(f"{folder}/request.geojson", b"{}")
        assert "a" not in names(dataset)
        assert load_windows(dataset, groups=[GROUP]) == []
    assert names(dataset) == ["a"]
    assert sorted(path.name for path in window(dataset, "a").iterdir()) == ["metadata.json", "request.geojson"]
    found = load_windows(dataset, groups=[GROUP])[0]
    assert (found.name, found.bounds, found.options) == ("a", spec("a", 0, 0).bounds, {"split": "train"})


def test_metadata_are_those_of_a_single_window(dataset: ScratchDataset) -> None:
    with WindowFolders(dataset).making(spec("a", 5, 9), {"split": "val"}):
        pass
    create_window(dataset, spec("b", 5, 9), {"split": "val"})
    one, other = ((window(dataset, name) / "metadata.json").read_bytes() for name in "ab")
    assert one.replace(b'"a"', b'"b"') == other
    assert json.loads(one)["group"] == GROUP


def test_what_fails_or_is_killed_leaves_no_window(dataset: ScratchDataset) -> None:
    with pytest.raises(ValueError, match="broken"):
        with WindowFolders(dataset).making(spec("a", 0, 0)):
            raise ValueError("broken")
    assert names(dataset) == []
    left = window(dataset, ".window.0123abcd")
    left.mkdir()
    (left / "metadata.json").write_text("{")
    with WindowFolders(dataset).making(spec("b", 0, 0)):
        pass
    assert names(dataset) == ["b"]


def test_a_group_is_made_as_a_whole(dataset: ScratchDataset) -> None:
    windows = [(spec("a", 0, 0), {"request.geojson": b"{}"}), (spec("b", 5, 9), {})]
    left = Path(str(dataset.path)) / "windows" / ".window.0123abcd" / "half"
    left.mkdir(parents=True)
    WindowFolders(dataset).make_group(GROUP, windows)
    assert names(dataset) == ["a", "b"]
    assert [path.name for path in (Path(str(dataset.path)) / "windows").iterdir()] == [GROUP]
    assert (window(dataset, "a") / "request.geojson").read_bytes() == b"{}"
    create_window(dataset, spec("c", 5, 9))
    one, other = ((window(dataset, name) / "metadata.json").read_bytes() for name in "bc")
    assert one.replace(b'"b"', b'"c"') == other


def test_a_group_that_fails_is_not_there(dataset: ScratchDataset) -> None:
    def windows() -> Iterator[tuple[WindowSpec, dict[str, bytes]]]:
        yield spec("a", 0, 0), {}
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        WindowFolders(dataset).make_group(GROUP, windows())
    assert not any((Path(str(dataset.path)) / "windows").iterdir())


def test_files_go_into_a_folder_that_is_there(dataset: ScratchDataset) -> None:
    create_window(dataset, spec("a", 0, 0))
    kept = window(dataset, "a") / "layers" / "imagery" / "completed"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert not dataset.storage.is_layer_completed(GROUP, "a", "label")
    with WindowFolders(dataset).making(spec("a", 8, 8)) as folder:
        Path(folder, "layers", "label").mkdir(parents=True)
        write_file(f"{folder}/layers/label/completed", b"")
    assert kept.exists()
    assert dataset.storage.is_layer_completed(GROUP, "a", "label")
    assert names(dataset) == ["a"]
    assert load_windows(dataset, groups=[GROUP])[0].bounds == spec("a", 8, 8).bounds


def test_a_place_that_can_not_be_written_is_told(dataset: ScratchDataset) -> None:
    Path(str(dataset.path), "windows").write_text("")
    with pytest.raises(StorageError, match="Can't write here"):
        with WindowFolders(dataset).making(spec("a", 0, 0)):
            pass


def test_what_rslearn_asks_of_windows_in_folders(dataset: ScratchDataset) -> None:
    made = create_window(dataset, spec("a", 5, 9))
    theirs = FileWindowStorage(dataset.path)
    assert isinstance(dataset.storage, FolderStorage)
    assert made.window_root == theirs.get_window_root(GROUP, "a")
    items = WindowLayerData("scene", [[{"name": "é", "geometry": {"time_range": None}}], []])
    dataset.storage.save_layer_datas(GROUP, "a", {"scene": items})
    assert theirs.get_layer_datas(GROUP, "a")["scene"].serialize() == items.serialize()
    made.mark_layer_completed("scene", 2)
    for layer, index, there in (("scene", 2, True), ("scene", 0, False), ("other", 2, False)):
        for storage in (theirs, dataset.storage):
            assert storage.is_layer_completed(GROUP, "a", layer, index) is there
    assert dataset.storage.list_completed_layers(GROUP, "a") == [("scene", 2)]
    with pytest.raises(ValueError, match="must not contain"):
        made.is_layer_completed("scene.2")


def test_a_file_is_not_cut_off_without_a_word(dataset: ScratchDataset) -> None:
    resource = pytest.importorskip("resource")
    small, large = spec("small", 0, 0), spec("large", 0, 0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The system writes the first 5,000 bytes of a larger file, and says so; only the next call is an error.
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, before[1]))
    try:
        with pytest.raises(StorageError, match="too large"):
            WindowFolders(dataset).make_group(GROUP, [(small, {}), (large, {"request.geojson": b"x" * 9_000})])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not any((Path(str(dataset.path)) / "windows").glob("*"))
