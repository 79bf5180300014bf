"""Working copies of remote folders: on a real S3 server, and in the memory of this process."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import object_store
import pytest

from olmoearth_nb.errors import StorageError
from olmoearth_nb.remote.layout import LEDGER
from olmoearth_nb.remote.mirror import Mirror
from olmoearth_nb.remote.places import Place

LAYER = "dataset_0/windows/group/window/layers/output"
MARK = f"{LAYER}/completed"
RASTER = f"{LAYER}/output/geotiff.tif"
Machine = Callable[[str], Mirror]


def _everything(_: str) -> bool:
    return True


def _write(mirror: Mirror, path: str, content: str = "") -> Path:
    file = mirror.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    return file


def _here(mirror: Mirror) -> dict[str, str]:
    root = mirror.root
    return {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}


class Remote:
    """What lies remotely."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.files = place.open()

    def all(self) -> dict[str, str]:
        self.files.invalidate_cache()
        head = f"{self.place.path}/"  # the folder itself may be found too
        found = {path.partition(head)[2]: path for path in self.files.find(self.place.path) if head in path}
        return {name: self.files.cat_file(path).decode() for name, path in found.items()}

    def write(self, path: str, content: str) -> None:
        self.files.pipe_file(f"{self.place.path}/{path}", content.encode())


@pytest.fixture(params=["s3", "memory"])
def remote(request: pytest.FixtureRequest) -> Iterator[Remote]:
    if request.param == "memory":
        yield Remote(Place(f"memory://{uuid.uuid4().hex}/run"))
        fsspec.filesystem("memory").store.clear()
    else:
        store: object_store.ObjectStore = request.getfixturevalue("store")
        yield Remote(Place(f"s3://{store.shared}/{uuid.uuid4().hex}/run", store.options(object_store.OWNER)))


@pytest.fixture
def machine(remote: Remote, tmp_path: Path) -> Machine:
    return lambda name: Mirror(remote.place, tmp_path / name / "run")


def test_what_one_machine_makes_another_one_has(machine: Machine, remote: Remote) -> None:
    one, two = machine("one"), machine("two")
    _write(one, RASTER, "pixels")
    _write(one, MARK)
    _write(one, "results/a b [1].json", "{}")
    _write(one, "dataset_0/.result.12345678.json", "half")
    one.push()
    assert remote.all().keys() == {RASTER, MARK, "results/a b [1].json"}
    assert sorted(two.pull(_everything)) == sorted([RASTER, MARK, "results/a b [1].json"])
    assert _here(two) == {RASTER: "pixels", MARK: "", "results/a b [1].json": "{}"}
    two.look()
    assert two.pull(_everything) == []
    assert two.push() == one.push() == {}


def test_changes_and_removals_go_both_ways(machine: Machine, remote: Remote) -> None:
    one, two = machine("one"), machine("two")
    for name in "abc":
        _write(one, name, name)
    one.push()
    two.pull(_everything)
    _write(two, "a", "changed")
    (two.root / "b").unlink()
    assert two.push().keys() == {"a", "b"}
    one.look()
    assert one.pull(_everything) == ["a"]
    assert _here(one) == remote.all() == {"a": "changed", "c": "c"}


def test_only_what_is_wanted_is_fetched_and_the_rest_stays_there(machine: Machine, remote: Remote) -> None:
    one, two = machine("one"), machine("two")
    _write(one, "light", "1")
    _write(one, "heavy", "2")
    one.push()
    assert two.pull(lambda path: path == "light") == ["light"]
    assert two.push() == {}
    assert remote.all().keys() == {"light", "heavy"}


def test_times_of_change_are_the_same_everywhere(machine: Machine) -> None:
    one, two = machine("one"), machine("two")
    file = _write(one, "a", "1")
    os.utime(file, ns=(10**18, 10**18 + 123))
    one.push()
    one.note_times()
    two.pull(_everything)
    assert (two.root / "a").stat().st_mtime_ns == 10**18 + 123


def test_a_layer_that_is_not_whole_stays_here(machine: Machine, remote: Remote) -> None:
    one = machine("one")
    _write(one, RASTER, "half")
    one.push()
    assert remote.all() == {}
    _write(one, RASTER, "whole")
    _write(one, MARK)
    one.push()
    assert remote.all() == {RASTER: "whole", MARK: ""}


def test_a_layer_whose_mark_is_gone_is_removed_even_where_it_was_never_fetched(
    machine: Machine, remote: Remote
) -> None:
    one, two = machine("one"), machine("two")
    _write(one, RASTER, "pixels")
    _write(one, MARK)
    one.push()
    two.pull(lambda path: path == MARK)
    (two.root / MARK).unlink()
    two.push()
    assert remote.all() == {}


class _Orders:
    """Notes what is done to the remote folder; may fail at some step."""

    def __init__(self, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, fail_at: int | None = None) -> None:
        self.orders: list[tuple[str, str]] = []
        transfer = mirror.transfer

        def noting(name: str, inner: Any) -> Any:
            def called(paths: Any, *rest: Any) -> Any:
                paths = [paths] if isinstance(paths, str) else list(paths)
                if name == "send":
                    return sending(paths, *rest)
                self.note(name, paths)
                return inner(paths[0] if rest else paths, *rest)

            def sending(paths: list[str], *_: Any) -> Any:
                for path in paths:
                    self.note(name, [path])
                    yield from inner({path: mirror.root / path})

            return called

        self.fail_at = fail_at
        for name in ("send", "remove", "write"):
            monkeypatch.setattr(transfer, name, noting(name, getattr(transfer, name)))

    def note(self, name: str, paths: list[str]) -> None:
        for path in paths:
            if self.fail_at is not None and len(self.orders) >= self.fail_at:
                raise KeyboardInterrupt
            self.orders.append((name, path))


def test_marks_go_before_what_changes_and_come_after_it(
    machine: Machine, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine("one")
    _write(one, RASTER, "pixels")
    _write(one, MARK)
    one.push()
    raw = RASTER.replace("geotiff", "unprocessed")
    _write(one, raw, "pixels")
    _write(one, RASTER, "processed")
    _write(one, LEDGER, json.dumps({"postprocess": {}}))
    seen = _Orders(one, monkeypatch)
    one.push()
    assert seen.orders == [("remove", MARK), ("send", raw), ("send", RASTER), ("send", MARK), ("send", LEDGER)]
    assert remote.all()[RASTER] == "processed"


def test_the_ledger_has_only_what_holds_until_the_rest_has_arrived(
    machine: Machine, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine("one")
    _write(one, LEDGER, json.dumps({"a": 1, "b": 1}))
    _write(one, "content", "old")
    one.push()
    _write(one, LEDGER, json.dumps({"a": 1, "b": 2}))
    _write(one, "content", "new")
    seen = _Orders(one, monkeypatch, fail_at=1)
    with pytest.raises(KeyboardInterrupt):
        one.push()
    assert seen.orders == [("write", LEDGER)]
    assert json.loads(remote.all()[LEDGER]) == {"a": 1}


@pytest.mark.parametrize("fail_at", range(6))
def test_a_push_that_is_cut_off_loses_nothing(
    machine: Machine, remote: Remote, monkeypatch: pytest.MonkeyPatch, fail_at: int
) -> None:
    one = machine("one")
    for path, content in {RASTER: "old", MARK: "", "gone": "1", LEDGER: json.dumps({"a": 1})}.items():
        _write(one, path, content)
    one.push()
    raw = RASTER.replace("geotiff", "unprocessed")
    _write(one, raw, "old")
    _write(one, RASTER, "new")
    (one.root / "gone").unlink()
    _write(one, LEDGER, json.dumps({"a": 2}))
    wanted = _here(one)
    with monkeypatch.context() as patched:
        _Orders(one, patched, fail_at=fail_at)
        with pytest.raises(KeyboardInterrupt):
            one.push()
    left = remote.all()
    # What a mark speaks of is as it was before, or as it is now.
    assert MARK not in left or (left[RASTER], left.get(raw)) in (("old", None), ("new", "old"))
    again = Mirror(remote.place, one.root)  # another process on the same machine
    again.pull(_everything)
    again.push()
    assert _here(again) == remote.all() == wanted
    assert again.push() == {}


def test_a_process_that_is_killed_while_sending_is_no_conflict(machine: Machine, remote: Remote) -> None:
    one = machine("one")
    _write(one, "a", "mine")
    one._journal.begin(["a"])
    remote.write("a", "half of it")
    again = machine("one")
    again.pull(_everything)
    again.push()
    assert remote.all() == {"a": "mine"}


def test_what_both_have_changed_is_told_and_left_alone(machine: Machine, remote: Remote) -> None:
    one, two = machine("one"), machine("two")
    _write(one, "a", "1")
    one.push()
    two.pull(_everything)
    _write(two, "a", "of two")
    two.push()
    _write(one, "a", "of one, not sent")
    one.look()
    with pytest.raises(StorageError, match=r"changed in the working copy and remotely.*Remove .*one"):
        one.pull(_everything)
    assert (one.root / "a").read_text() == "of one, not sent"
    assert remote.all() == {"a": "of two"}


def test_files_of_this_moment_wait_for_the_next_time(machine: Machine, remote: Remote) -> None:
    one = machine("one")
    file = _write(one, "trainer_checkpoints/last.ckpt", "half")
    one.push(settled=True)
    assert remote.all() == {}
    os.utime(file, (1, 1))
    one.push(settled=True)
    assert remote.all().keys() == {"trainer_checkpoints/last.ckpt"}


def test_texts_name_the_folder_that_each_machine_has(remote: Remote, tmp_path: Path) -> None:
    one = Mirror(remote.place, tmp_path / "one/run", paths={"/home/one/project": "s3://bucket/project"})
    two = Mirror(remote.place, tmp_path / "two/run", paths={"/home/two": "s3://bucket/project"})
    _write(one, "dataset_0/config.json", '{"src_dir": "/home/one/project/scenes"}')
    _write(one, "results/config.json", '"/home/one/project"')
    one.push()
    assert remote.all()["dataset_0/config.json"] == '{"src_dir": "s3://bucket/project/scenes"}'
    two.pull(_everything)
    assert _here(two)["dataset_0/config.json"] == '{"src_dir": "/home/two/scenes"}'
    assert _here(two)["results/config.json"] == '"/home/one/project"'
    assert two.push() == one.push() == {}


def test_machines_tell_each_other_instead_of_looking(machine: Machine, remote: Remote) -> None:
    one, two = machine("one"), machine("two")
    _write(one, "a", "1")
    _write(one, "b", "1")
    one.push()
    two.expect({"a": one.there["a"]})
    assert two.pull(_everything) == ["a"]
    _write(two, RASTER, "pixels")
    _write(two, MARK)
    one.learn(two.push(under=[f"{LAYER}/"]))
    assert sorted(one.pull(_everything)) == sorted([RASTER, MARK])
    assert one.pull(_everything) == []
    one.look()
    assert one.pull(_everything) == []
    assert remote.all().keys() == {"a", "b", RASTER, MARK}


def test_a_file_that_is_removed_while_it_is_sent(
    machine: Machine, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine("one")
    for name in "abc":
        _write(one, name, name)
    put = one.transfer.files.put

    def put_late(sources: list[str], targets: list[str]) -> None:
        (one.root / "b").unlink(missing_ok=True)
        put(sources, targets)

    monkeypatch.setattr(one.transfer.files, "put", put_late)
    one.push()
    assert remote.all() == {"a": "a", "c": "c"}
