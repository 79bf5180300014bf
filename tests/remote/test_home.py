from __future__ import annotations

import sqlite3
import time
import uuid
from pathlib import Path

import pytest

from olmoearth_nb.errors import StorageError
from olmoearth_nb.remote import home as module
from olmoearth_nb.remote import mirror
from olmoearth_nb.remote.home import Home
from olmoearth_nb.remote.layout import LEASE, LISTING, Needs
from olmoearth_nb.remote.places import Place


@pytest.fixture
def place() -> Place:
    return Place(f"memory://{uuid.uuid4().hex}/run")


def _there(home: Home) -> set[str]:
    return set(home.mirror.transfer.listing()) - {LISTING, LEASE}


def test_what_is_made_is_sent_while_more_is_made(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INTERVAL", 0.01)
    monkeypatch.setattr(mirror, "_SETTLED", 0.0)
    home = Home(place, tmp_path / "one/run")
    with home.working(Needs()):
        (home.root / "results").mkdir(parents=True)
        (home.root / "results/a").write_text("1")
        end = time.monotonic() + 20
        while "results/a" not in _there(home) and time.monotonic() < end:
            time.sleep(0.01)
        assert _there(home) == {"results/a"}
        assert LEASE in home.mirror.transfer.listing()
    assert LEASE not in home.mirror.transfer.listing()


def test_a_step_that_fails_sends_what_it_made(place: Place, tmp_path: Path) -> None:
    home = Home(place, tmp_path / "one/run")
    with pytest.raises(ValueError, match="of the step"), home.working(Needs()):
        home.root.mkdir(parents=True)
        (home.root / "a").write_text("1")
        raise ValueError("of the step")
    assert _there(home) == {"a"}


def test_a_step_within_a_step_fetches_more(place: Place, tmp_path: Path) -> None:
    one, two = Home(place, tmp_path / "one/run"), Home(place, tmp_path / "two/run")
    with one.working(Needs()):
        (one.root / "results").mkdir(parents=True)
        (one.root / "results/a").write_text("1")
    with two.working(Needs()):
        assert not (two.root / "results/a").exists()
        with two.working(Needs(kinds=frozenset({"results"}))):
            assert (two.root / "results/a").read_text() == "1"


def test_rows_of_a_database_are_sent_whole(place: Place, tmp_path: Path) -> None:
    one, two = Home(place, tmp_path / "one/run"), Home(place, tmp_path / "two/run")
    raster = "dataset_0/windows/g/w/layers/output/x/geotiff.tif"
    with one.working(Needs()):
        (one.root / raster).parent.mkdir(parents=True)
        (one.root / raster).write_text("pixels")
        rows = sqlite3.connect(one.root / "dataset_0/windows.sqlite3", isolation_level=None)
        rows.execute("PRAGMA journal_mode=WAL")
        rows.execute("CREATE TABLE windows (name)")
        rows.execute("INSERT INTO windows VALUES ('w')")
    rows.close()
    assert _there(one) == {raster, "dataset_0/windows.sqlite3"}
    with two.looking(Needs(kinds=frozenset({"output"}))):
        assert (two.root / raster).read_text() == "pixels"
        with sqlite3.connect(two.root / "dataset_0/windows.sqlite3") as found:
            assert found.execute("SELECT name FROM windows").fetchall() == [("w",)]


def test_two_processes_of_one_machine(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    first, second = Home(place, tmp_path / "one/run"), Home(place, tmp_path / "one/run")
    with first.working(Needs()):
        with pytest.raises(StorageError, match="Another run on this machine is working on this scratch"):
            with second.working(Needs()):
                pass
        with second.looking(Needs()):  # at the copy that the first one works in
            pass
    with second.working(Needs()):
        pass
