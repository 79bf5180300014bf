from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from olmoearth_nb.errors import StorageError
from olmoearth_nb.remote import lease
from olmoearth_nb.remote.layout import LEASE
from olmoearth_nb.remote.lease import Lease
from olmoearth_nb.remote.places import Place
from olmoearth_nb.remote.transfer import Transfer


@pytest.fixture
def transfer(tmp_path: Path) -> Transfer:
    return Transfer(Place(f"memory://{uuid.uuid4().hex}/run"), tmp_path)


def _change(transfer: Transfer, **values: Any) -> None:
    transfer.write(LEASE, json.dumps(json.loads(transfer.read(LEASE) or b"") | values).encode())


def test_the_second_one_is_told_who_the_first_one_is(transfer: Transfer) -> None:
    first, second = Lease(transfer), Lease(transfer)
    first.take()
    with pytest.raises(StorageError, match=r"Another run.*process \d+, since 20.* UTC, last heard of at"):
        second.take()
    second.give_back()  # not its own
    assert transfer.read(LEASE) is not None
    first.give_back()
    assert transfer.read(LEASE) is None
    second.take()


def test_whoever_is_not_heard_of_is_gone(transfer: Transfer) -> None:
    Lease(transfer).take()
    _change(transfer, host="another")
    with pytest.raises(StorageError, match="on another"):
        Lease(transfer).take()
    _change(transfer, renewed=time.time() - 301)
    Lease(transfer).take()


def test_a_process_of_this_machine_that_has_ended_holds_nothing(transfer: Transfer) -> None:
    Lease(transfer).take()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    _change(transfer, pid=ended.pid)
    Lease(transfer).take()


def test_it_is_renewed_when_due(transfer: Transfer, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Lease(transfer)
    one.take()
    before = json.loads(transfer.read(LEASE) or b"")["renewed"]
    one.renew()
    assert json.loads(transfer.read(LEASE) or b"")["renewed"] == before
    monkeypatch.setattr(lease, "_RENEW", 0.0)
    one.renew()
    assert json.loads(transfer.read(LEASE) or b"")["renewed"] > before


def test_a_damaged_note_is_nobodys(transfer: Transfer) -> None:
    transfer.write(LEASE, b"{half")
    Lease(transfer).take()
