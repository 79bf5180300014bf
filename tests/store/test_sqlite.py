from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import scenes
from rslearn.dataset.storage.sqlite import SQLiteWindowStorage
from upath import UPath

from olmoearth_nb.store.dataset import open_dataset, write_dataset_config
from olmoearth_nb.store.sqlite import ThreadedStorage, one_transaction, save_windows
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
