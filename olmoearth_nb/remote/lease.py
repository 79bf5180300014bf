"""A note that says who works on a remote folder: object stores have no locks."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import socket
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from olmoearth_nb.errors import StorageError
from olmoearth_nb.remote.layout import LEASE
from olmoearth_nb.remote.transfer import Transfer

__all__ = ["Lease"]

# Seconds after which nobody is there any more who has not renewed it.
_STALE = 300.0
_RENEW = 60.0


@dataclass(frozen=True)
class _Holder:
    host: str
    pid: int
    user: str
    token: str
    since: float
    renewed: float

    @classmethod
    def read(cls, content: bytes | None) -> _Holder | None:
        try:
            return None if content is None else cls(**json.loads(content))
        except (ValueError, TypeError):
            return None  # nobody that can be named

    def is_there(self) -> bool:
        if self.host == socket.gethostname() and not _is_alive(self.pid):
            return False
        return time.time() - self.renewed < _STALE

    def __str__(self) -> str:
        since, heard_of = (
            f"{datetime.fromtimestamp(one, UTC):%Y-%m-%d %H:%M} UTC" for one in (self.since, self.renewed)
        )
        return f"{self.user} on {self.host}, process {self.pid}, since {since}, last heard of at {heard_of}"


class Lease:
    """The note of one run.

    Two that start in the same instant may both get it; the second look tells one of them.

    Args:
        transfer: The folder.
    """

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._token = uuid.uuid4().hex
        self._since = time.time()
        self._renewed = 0.0

    def take(self) -> None:
        """Writes the note.

        Raises:
            StorageError: If somebody else works there.
        """
        self._refuse_another()
        self._write()
        self._refuse_another()

    def renew(self) -> None:
        """Writes it again, if that is due."""
        if time.time() - self._renewed > _RENEW:
            self._write()

    def give_back(self) -> None:
        """Removes it; one that can't be removed is stale some minutes later."""
        with contextlib.suppress(StorageError):
            holder = _Holder.read(self._transfer.read(LEASE))
            if holder is not None and holder.token == self._token:
                self._transfer.remove([LEASE])

    def _refuse_another(self) -> None:
        holder = _Holder.read(self._transfer.read(LEASE))
        if holder is not None and holder.token != self._token and holder.is_there():
            raise StorageError(
                "Another run is working on this scratch.",
                where=self._transfer.place.url,
                found=str(holder),
                fix="Wait until it is done, or use another scratch. If it was killed, wait "
                f"{_STALE / 60:.0f} minutes, or remove {self._transfer.place.url}/{LEASE}.",
            )

    def _write(self) -> None:
        self._renewed = time.time()
        note: dict[str, Any] = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "user": _user(),
            "token": self._token,
            "since": self._since,
            "renewed": self._renewed,
        }
        self._transfer.write(LEASE, json.dumps(note).encode())


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container whose user has no name
        return f"user {os.getuid()}" if hasattr(os, "getuid") else "somebody"


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's
    return True
