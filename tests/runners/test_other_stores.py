"""A prediction on Google Cloud Storage and on Azure, by their emulators; left out where those are not (see README)."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import fsspec.config
import pytest
import scenes

from olmoearth_nb import OlmoEarthRunPredictRunner

# Of Azurite, the same for everybody.
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="

pytestmark = pytest.mark.slow


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.contextmanager
def _google(folder: Path) -> Iterator[dict[str, Any]]:
    pytest.importorskip("gcsfs")
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    port = _free_port()
    server = emulator.create_server("127.0.0.1", port, in_memory=False, data_dir=str(folder))
    server.start()
    url = f"http://127.0.0.1:{port}"
    try:
        request = urllib.request.Request(
            f"{url}/storage/v1/b?project=test", data=b'{"name": "bucket"}', headers={"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request).read()
        yield {"token": "anon", "endpoint_url": url, "project": "test"}
    finally:
        server.stop()


@contextlib.contextmanager
def _azure(folder: Path) -> Iterator[dict[str, Any]]:
    pytest.importorskip("adlfs")
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("azurite-blob is not on the PATH")
    port = _free_port()
    command = [program, "--location", str(folder), "--blobPort", str(port), "--silent", "--skipApiVersionCheck"]
    with subprocess.Popen(command) as server:
        try:
            end = time.monotonic() + 60
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert time.monotonic() < end, "Azurite does not start"
                time.sleep(0.2)
            place = f"http://127.0.0.1:{port}/{_ACCOUNT}"
            text = f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};BlobEndpoint={place};"
            fsspec.filesystem("az", connection_string=text).mkdir("bucket")
            yield {"connection_string": text}
        finally:
            server.kill()


_STORES = {"gs": _google, "az": _azure}


def _made(files: dict[str, bytes]) -> dict[str, bytes]:
    """Rasters and vectors that people use."""
    return {
        path: content
        for path, content in files.items()
        if path.endswith((".tif", ".geojson")) and "tiles" not in path.split("/") and "/." not in f"/{path}"
    }


@pytest.mark.parametrize("protocol", _STORES)
def test_a_prediction_goes_on_on_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    # The emulator does not know the calls by which newer gcsfs looks for another kind of bucket.
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    project = scenes.make_raster_project(tmp_path / "project")
    options: dict[str, Any] = {"random_weights": True, "progress": False}
    here = OlmoEarthRunPredictRunner(project, tmp_path / "scratch", **options)
    here.run(engine="serial")
    root = here.workspace.root
    wanted = _made({path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()})

    with _STORES[protocol](tmp_path / "store") as store:
        monkeypatch.setitem(fsspec.config.conf, protocol, store)
        files = fsspec.filesystem(protocol)
        for path in project.rglob("*"):
            if path.is_file():
                files.put_file(str(path), f"bucket/project/{path.relative_to(project)}")
        for machine, steps in (
            ("first", ["partition", "dataset_build"]),
            ("second", ["inference", "postprocess", "combine"]),
        ):
            monkeypatch.setenv("OLMOEARTH_NB_CACHE", str(tmp_path / machine))
            url = f"{protocol}://bucket"
            OlmoEarthRunPredictRunner(f"{url}/project", f"{url}/scratch", **options).run_pipeline(steps)
        found = {path.removeprefix("bucket/scratch/"): files.cat_file(path) for path in files.find("bucket/scratch")}
    assert len(wanted) > 10
    assert _made(found) == wanted
