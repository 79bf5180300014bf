"""Projects, scratches and results on an object store: the same files as on this machine, wherever a run goes on."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path

import object_store
import pytest
from upath import UPath

from olmoearth_nb import OlmoEarthRunPredictRunner

Cache = Callable[[str], Path]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """Makes this process another machine: one with another folder for working copies."""

    def use(name: str) -> Path:
        monkeypatch.setenv("OLMOEARTH_NB_CACHE", str(tmp_path / "machines" / name))
        return tmp_path / "machines" / name

    use("first")
    return use


@pytest.fixture
def folder(store: object_store.ObjectStore, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty folder, ``bucket/key``; fsspec and processes that are started are set to the server."""
    for protocol in ("s3",):
        for name, value in store.options(object_store.OWNER).items():
            monkeypatch.setenv(f"FSSPEC_{protocol.upper()}_{name.upper()}", value)
    import fsspec.config

    monkeypatch.setitem(fsspec.config.conf, "s3", store.options(object_store.OWNER))
    return f"{store.shared}/{uuid.uuid4().hex}"


def _made(root: Path) -> dict[str, bytes]:
    """What runs leave that people use, by path."""
    files = [path for path in root.rglob("[!.]*") if path.suffix in (".tif", ".geojson") and "tiles" not in path.parts]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def _remote(store: object_store.ObjectStore, folder: str) -> dict[str, bytes]:
    store.files.invalidate_cache()
    found = [path for path in store.files.find(folder) if f"{folder}/" in path]
    return {path.removeprefix(f"{folder}/"): store.files.cat_file(path) for path in found}


def _as_made(files: dict[str, bytes]) -> dict[str, bytes]:
    names = [name for name in files if name.endswith((".tif", ".geojson")) and "/tiles/" not in name]
    return {name: files[name] for name in names}


def test_a_prediction_whose_project_and_scratch_lie_on_s3(
    raster_project: Path, store: object_store.ObjectStore, folder: str, cache: Cache
) -> None:
    local = OlmoEarthRunPredictRunner(raster_project, raster_project.parent / "local", progress=False)
    wanted = [summary.counts for summary in local.run_pipeline()]
    store.upload(raster_project, f"{folder}/project")
    runner = OlmoEarthRunPredictRunner(f"s3://{folder}/project", UPath(f"s3://{folder}/run"), progress=False)
    assert repr(runner) == (f"OlmoEarthRunPredictRunner(project='s3://{folder}/project', scratch='s3://{folder}/run')")
    summaries = runner.run_pipeline()
    assert [summary.counts for summary in summaries] == wanted
    assert summaries[-1].notes == (f"All of it lies at s3://{folder}/run.",)
    made = _remote(store, f"{folder}/run")
    assert _as_made(made) == _made(local.workspace.root)
    assert not [name for name in made if "lease" in name or name.endswith("lock")]
    config = json.loads(made["dataset_0/config.json"])
    assert config["layers"]["scene"]["data_source"]["init_args"]["src_dir"] == f"s3://{folder}/project/scenes"

    cache("second")
    other = OlmoEarthRunPredictRunner(f"s3://{folder}/project", f"s3://{folder}/run", progress=False)
    assert other.status()["combine"] == "done"
    assert other.windows()["state"].tolist() == local.windows()["state"].tolist()
    again = other.run_pipeline()
    assert again[1].counts["built"] == again[2].counts["predicted"] == again[3].counts["processed"] == 0
    assert _made(other.workspace.root) == _made(local.workspace.root)
    assert _as_made(_remote(store, f"{folder}/run")) == _made(local.workspace.root)
