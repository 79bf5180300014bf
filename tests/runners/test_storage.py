"""Windows in SQLite instead of folders: the same results, from several threads, and there and back."""

from __future__ import annotations

import json
import pickle
import shutil
import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest
import rasterio

from olmoearth_nb import OlmoEarthRunFineTuneRunner, OlmoEarthRunPredictRunner, cli, migrate_windows
from olmoearth_nb.errors import MissingStepError, StorageError, UsageError
from olmoearth_nb.runners import predict
from olmoearth_nb.store.dataset import open_dataset
from olmoearth_nb.store.sqlite import ThreadedStorage, one_transaction
from olmoearth_nb.store.windows import load_windows


def _runner(project: Path, scratch: str = "scratch") -> OlmoEarthRunPredictRunner:
    return OlmoEarthRunPredictRunner(project, project.parent / scratch, progress=False)


def _pixels(runner: OlmoEarthRunPredictRunner) -> dict[str, np.ndarray]:
    found = {}
    for path in sorted(runner.workspace.rasters.glob("*.tif")):
        with rasterio.open(path) as source:
            found[path.name] = source.read()
    assert found
    return found


def _states(runner: OlmoEarthRunPredictRunner) -> dict[str, str]:
    frame = runner.windows()
    return dict(zip(frame["name"], frame["state"], strict=True))


def _metadata(dataset: Path) -> list[Path]:
    return sorted(dataset.glob("windows/*/*/metadata.json"))


def test_a_prediction_in_sqlite_is_the_same(raster_project: Path) -> None:
    files, rows = _runner(raster_project, "files"), _runner(raster_project, "rows")
    files.run_pipeline()
    summary = rows.partition(storage="sqlite")
    assert any("windows.sqlite3" in note for note in summary.notes)
    rows.run_pipeline()
    assert _states(rows) == _states(files)
    for name, pixels in _pixels(files).items():
        np.testing.assert_array_equal(_pixels(rows)[name], pixels)
    assert not _metadata(rows.workspace.dataset)
    assert len(_metadata(files.workspace.dataset)) == 16
    assert not list(rows.workspace.dataset.glob("windows/*/*/request.geojson"))
    assert rows.run_inference().counts["predicted before"] == 16
    # What is made anew is forgotten in the database too.
    assert rows.run_inference(overwrite=True).counts["predicted"] == 16
    assert rows.build_dataset(overwrite=True).counts["built"] == 16
    assert rows.run_inference().counts["predicted"] == 16


def test_many_windows_choose_sqlite(raster_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "MANY_WINDOWS", 15)
    assert isinstance(_many(raster_project, "auto").scratch.dataset.storage, ThreadedStorage)
    assert len(_metadata(_many(raster_project, "told", storage="files").workspace.dataset)) == 16
    monkeypatch.setattr(predict, "MANY_WINDOWS", 16)
    assert len(_metadata(_many(raster_project, "few").workspace.dataset)) == 16


def _many(project: Path, scratch: str, **options: object) -> OlmoEarthRunPredictRunner:
    runner = _runner(project, scratch)
    runner.partition(**options)  # type: ignore[arg-type]
    runner.build_dataset(runner.partition_ids()[0])
    assert len(runner.windows()) == 16
    return runner


def test_dataset_json_says_where_windows_are(raster_project: Path) -> None:
    path = raster_project / "dataset.json"
    told = {"class_path": "rslearn.dataset.storage.sqlite.SQLiteWindowStorageFactory"}
    path.write_text(json.dumps({**json.loads(path.read_text()), "storage": told}))
    tuning = OlmoEarthRunFineTuneRunner(raster_project, raster_project.parent / "tuning", progress=False)
    written = tuning.prepare_labeled_windows().counts["written"]
    assert isinstance(tuning.scratch.dataset.storage, ThreadedStorage)
    assert written == len(tuning.windows()) > 0
    assert tuning.prepare_labeled_windows().counts["written"] == 0
    assert tuning.build_dataset_from_windows().counts["built"] == written
    assert tuning.prepare_labeled_windows(overwrite=True).counts["written"] == written
    runner = _runner(raster_project)
    assert any("sqlite" in note for note in runner.partition().notes)


@pytest.mark.parametrize("first", ["files", "sqlite"])
def test_there_and_back_in_the_middle_of_a_run(raster_project: Path, first: str) -> None:
    second = {"files": "sqlite", "sqlite": "files"}[first]
    runner = _runner(raster_project)
    runner.partition(storage=first)  # type: ignore[arg-type]
    ids = runner.partition_ids()
    runner.build_dataset()
    runner.run_inference(ids[0])
    before = _states(runner)
    assert len(set(before.values())) == 2
    moved = migrate_windows(runner.workspace.root, second)  # type: ignore[arg-type]
    assert (moved.moved, moved.windows, moved.dataset) == (True, 16, runner.workspace.dataset)
    assert _states(runner) == before
    assert bool(_metadata(runner.workspace.dataset)) == (second == "files")
    assert (runner.workspace.dataset / "windows.sqlite3").exists() == (second == "sqlite")
    # The step that writes the configuration again leaves them where they are.
    assert runner.build_dataset().counts["built before"] == 16
    assert not migrate_windows(runner.workspace.dataset, second).moved  # type: ignore[arg-type]
    migrate_windows(runner.workspace.root, first)  # type: ignore[arg-type]
    assert _states(runner) == before
    runner.run_pipeline()
    other = _runner(raster_project, "other")
    other.run_pipeline()
    for name, pixels in _pixels(other).items():
        np.testing.assert_array_equal(_pixels(runner)[name], pixels)


def test_a_killed_migration_is_repeated(raster_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from olmoearth_nb.store import migrate

    runner = _runner(raster_project)
    runner.partition()
    before = _states(runner)

    def killed(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(migrate, "write_dataset_config", killed)
        with pytest.raises(KeyboardInterrupt):
            migrate_windows(runner.workspace.root, "sqlite")
    assert _states(runner) == before
    assert len(_metadata(runner.workspace.dataset)) == 16
    # A window that went meanwhile does not come back from what the killed run had written.
    gone = _metadata(runner.workspace.dataset)[0].parent
    shutil.rmtree(gone)
    assert migrate_windows(runner.workspace.root, "sqlite").windows == 15
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "_files_of_the_other", killed)
        with pytest.raises(KeyboardInterrupt):
            migrate_windows(runner.workspace.root, "files")
    assert migrate_windows(runner.workspace.root, "files").windows == 15
    assert not (runner.workspace.dataset / "windows.sqlite3").exists()


def test_migrate_says_what_it_can_not_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sqlite or files"):
        migrate_windows(tmp_path, "postgres")  # type: ignore[arg-type]
    with pytest.raises(MissingStepError, match="no dataset"):
        migrate_windows(tmp_path, "files")
    (tmp_path / "config.json").write_text('{"layers": {}}')
    (tmp_path / "windows.sqlite3").write_text("no database, but long enough to be looked at as one")
    with pytest.raises(StorageError, match="not a database"):
        migrate_windows(tmp_path, "sqlite")


def test_migrate_on_the_command_line(raster_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runner = _runner(raster_project)
    runner.partition()
    assert cli.main(["migrate", str(runner.workspace.root), "--to", "sqlite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["windows"] == 16


def test_threads_and_processes_have_their_own_connection(raster_project: Path) -> None:
    runner = _runner(raster_project)
    runner.partition(storage="sqlite")
    dataset = open_dataset(runner.workspace.dataset)
    groups = [f"group_{pid}" for pid in runner.partition_ids()]
    expected = [window.name for window in load_windows(dataset, groups=groups)]
    assert len(expected) == 16
    found: list[object] = []

    def look() -> None:
        try:
            found.append([window.name for window in load_windows(dataset, groups=groups)])
        except Exception as error:  # noqa: BLE001  shown by the assertion
            found.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
    copy = pickle.loads(pickle.dumps(dataset.storage))
    assert len(copy.get_windows()) == 16
    copy.close()


def test_a_transaction_is_kept_whole_or_not_at_all(raster_project: Path) -> None:
    runner = _runner(raster_project)
    runner.partition(storage="sqlite")
    storage = runner.scratch.dataset.storage
    window = storage.get_windows()[0]
    with pytest.raises(ZeroDivisionError), one_transaction(storage):
        storage.mark_layer_completed(window.group, window.name, "output")
        _ = 1 / 0
    assert not storage.is_layer_completed(window.group, window.name, "output")
    with one_transaction(storage):
        storage.mark_layer_completed(window.group, window.name, "output")
    with sqlite3.connect(runner.workspace.dataset / "windows.sqlite3") as other:
        assert other.execute("SELECT count(*) FROM completed_layers").fetchone() == (1,)
