"""Windows in SQLite, and forked processes that write them."""

from __future__ import annotations

import sqlite3
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import scenes
from rslearn.dataset.storage.sqlite import SQLiteWindowStorage
from upath import UPath

from olmoearth_nb.forked import run_forked
from olmoearth_nb.store.dataset import open_dataset, write_dataset_config
from olmoearth_nb.store.sqlite import ThreadedStorage, completed, database_files, one_transaction, save_windows
from olmoearth_nb.store.windows import as_window

from .conftest import spec


def _rows(storage: ThreadedStorage) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in storage._get_connection().execute("SELECT * FROM windows ORDER BY name")]


def test_many_windows_are_the_rows_that_rslearn_writes(tmp_path: Path) -> None:
    times = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, 3, tzinfo=timezone(timedelta(hours=2)))
    specs = [spec("a", 0, 0), replace(spec("b", -3, 7), time_range=times), spec("c", 9, 9, size=5)]
    (tmp_path / "one").mkdir()
    (tmp_path / "many").mkdir()
    one, many = ThreadedStorage(UPath(tmp_path / "one")), ThreadedStorage(UPath(tmp_path / "many"))
    write_dataset_config(tmp_path / "dataset", scenes.raster_dataset_config())
    dataset = open_dataset(tmp_path / "dataset")
    for each in specs:
        SQLiteWindowStorage.create_or_update_window(one, as_window(dataset, each))
    with one_transaction(many):
        save_windows(many, [*specs, specs[0]])
    assert _rows(one) == _rows(many)
    assert len(_rows(many)) == 3


@pytest.mark.skipif(sys.platform != "linux", reason="forks only on Linux")
def test_forks_write_with_connections_of_their_own(tmp_path: Path) -> None:
    storage = ThreadedStorage(UPath(tmp_path))
    storage.mark_layer_completed("g", "before", "image")
    connection = storage._get_connection()

    def work(number: int) -> int:
        for index in range(20):
            storage.mark_layer_completed("g", f"{number}_{index}", "image")
        return len(completed(storage, ["g"]))

    counts = dict(run_forked(work, range(6), workers=3, where="here"))
    assert max(counts.values()) == 121
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):  # it was not carried into the forks
        connection.execute("SELECT 1")
    assert len(completed(storage, ["g"])) == 121
    assert storage._get_connection().execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    storage.close()
    assert [path.exists() for path in database_files(tmp_path)] == [True, False, False]
